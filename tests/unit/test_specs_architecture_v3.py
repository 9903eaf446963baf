"""v0.3 architectures: totals become fan-outs, and every refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.errors import SpecError

from .spec_texts import ERT, V3, changed, spec_of


def test_the_tree_gives_the_levels_of_the_flat_list(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, V3)
    assert spec.version == "0.3"
    assert spec.architecture == spec_of(tmp_path).architecture
    assert spec.spatial_targets == {"GLB": "GLB"}


def test_meshes_are_totals_over_the_chip(tmp_path: Path) -> None:
    text = changed(V3, "entries: 32, meshX: 4, meshY: 2}\n        - name: MAC\n", "entries: 32, meshX: 4, meshY: 2}\n"
                   "        - name: MAC[0..5]\n").replace("{meshX: 4, meshY: 2}", "{meshX: 12, meshY: 4}")  # fmt: skip
    levels = spec_of(tmp_path, text).architecture.levels
    assert [(level.fanout_x, level.fanout_y) for level in levels] == [(1, 1), (4, 2), (3, 2)]


def test_a_mesh_is_completed_along_x(tmp_path: Path) -> None:
    only_y = spec_of(tmp_path, V3.replace("meshX: 4, ", "")).architecture.levels[1]
    assert (only_y.fanout_x, only_y.fanout_y) == (4, 2)
    only_x = spec_of(tmp_path, V3.replace(", meshY: 2", "")).architecture.levels[1]
    assert (only_x.fanout_x, only_x.fanout_y) == (4, 2)
    neither = spec_of(tmp_path, V3.replace(", meshX: 4, meshY: 2", "").replace("{meshX: 4, meshY: 2}", "{}"))
    assert (neither.architecture.levels[1].fanout_x, neither.architecture.levels[1].fanout_y) == (8, 1)


def test_several_storages_of_one_node_stand_outermost_first(tmp_path: Path) -> None:
    text = changed(V3, "        - name: MAC\n", "        - name: Inner\n          class: regfile\n"
                   "          attributes: {entries: 2, meshX: 4, meshY: 2}\n        - name: MAC\n")  # fmt: skip
    energies = ERT.replace("  - name: MAC",
                           "  - name: Inner\n    actions: [{name: read, energy: 1}, {name: write, energy: 1}]\n"
                           "  - name: MAC")  # fmt: skip
    names = [level.name for level in spec_of(tmp_path, text, energies).architecture.levels]
    assert names == ["DRAM", "GLB", "RF", "Inner"]


def test_a_wide_row_is_shared_and_hyphens_are_underscores(tmp_path: Path) -> None:
    text = changed(
        V3, "{word_bits: 16, entries: 32,", "{word-bits: 16, block-size: 2, cluster-size: 2, width: 64, entries: 32,"
    )
    rf = spec_of(tmp_path, text).architecture.levels[2]
    # 64 bits hold two blocks of 2 x 16 bits: two instances share a row and its energy.
    assert (rf.words_per_access, rf.read_energy_pj) == (2, 0.25)


def test_the_clock(tmp_path: Path) -> None:
    text = changed(V3, "    local:\n", "    attributes: {technology: 45nm, global_cycle_seconds: 1e-9}\n    local:\n")
    assert spec_of(tmp_path, text).architecture.clock_hz == 1e9


REFUSALS = {
    "version": ("version: 0.3", "version: 0.4", r"architecture.version: unknown version \(got 0.4, expected 0.3\)"),
    "no version": ("  version: 0.3\n", "", "architecture: no version"),
    "tree key": ("      local:\n      - name: GLB", "      locl:\n      - name: GLB",
                 r"locl: unknown key .*mean local"),
    "two subtrees": ("    subtree:\n    - name: chip\n", "    subtree:\n    - name: other\n    - name: chip\n",
                     "not one chain of subtrees .got 2 nodes"),
    "count": ("PE[0..7]", "PE[1..8]", r"name: not a count of instances \(got PE\[1..8\]"),
    "mesh differs": ("PE[0..7]", "PE[0..8]",
                     r"RF: mesh and instances differ \(got meshX \* meshY = 4 \* 2, expected 9"),
    "mesh no multiple": ("attributes: {meshX: 4, meshY: 2}", "attributes: {meshX: 2, meshY: 4}",
                         r"MAC: mesh is no multiple of the level above \(got 2 x 4"),
    "many DRAMs": ("  - name: system\n", "  - name: system[0..1]\n", "DRAM: more than one outermost storage"),
    "node attributes": ("    - name: chip\n", "    - name: chip\n      attributes: {word_bits: 8}\n",
                        "word_bits: attribute of a tree node"),
    "class": ("class: SRAM", "class: sram", "GLB.class: unknown class"),
    "no class": ("        class: SRAM\n", "", "no class"),
    "word width twice": ("block_size: 4", "block_size: 4, datawidth: 16", "the word width is given twice"),
    "no size": (", entries: 400", "", "GLB: storage without a size"),
    "width alone": ("block_size: 4", "width: 64", "GLB.attributes.width: width without block_size"),
    "width not whole": ("block_size: 4", "block_size: 4, width: 60", "a row does not hold whole words"),
    "cluster": ("block_size: 4", "block_size: 4, cluster_size: 2", "GLB: instances do not fill whole rows"),
    "no MAC": ("class: intmac", "class: regfile", "no compute units"),
    "after the MAC": ("        - name: MAC\n", "        - name: Early\n          class: mac\n        - name: MAC\n",
                      "MAC: a component after the compute units"),
    "expression": ("entries: 400", "entries: 20 * 20", r"entries: not an integer in range \(got 20 \* 20"),
    "list": ("entries: 400", "entries: 400, read_bandwidth: [2]", "read_bandwidth: not a value"),
    "unsupported": ("entries: 400", "entries: 400, n_words: 4", "n_words: attribute is not read"),
    "repeated name": ("- name: RF", "- name: GLB", "architecture: name used twice .got GLB"),
    "nodes": ("architecture:", "architecture:\n  nodes: []", "nodes: unknown key"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(tmp_path, changed(V3, old, new))


def test_tags_have_no_place_in_a_tree(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unknown version"):
        spec_of(
            tmp_path,
            changed(changed(V3, "version: 0.3", "version: 0.2"), "- name: system", "- !Container\n    name: system"),
        )
