"""v0.4 architectures: meshes, inheritance, rows and words, constraints, and every refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.architecture import StorageLevel
from heat_sim.errors import SpecError
from heat_sim.mapping import LevelConstraints
from heat_sim.specs import ArchitectureSpec, load_architecture, spec_from_architecture

from .spec_texts import ERT, V4, changed, spec_of, written


def level(spec: ArchitectureSpec, name: str) -> StorageLevel:
    return spec.architecture.levels[spec.architecture.index(name)]


def test_the_whole_of_a_small_file(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    assert (spec.architecture.name, spec.version, spec.warnings) == ("system", "0.4", ())
    assert spec.architecture.levels == (
        StorageLevel(name="DRAM", word_bits=16, read_energy_pj=200, write_energy_pj=220, update_energy_pj=230,
                     drains_in_place=False),
        # update is missing in the ERT: the write energy. 100 rows of 64 / 16 words.
        StorageLevel(name="GLB", word_bits=16, capacity_words=400, words_per_access=4, read_energy_pj=6,
                     write_energy_pj=7, update_energy_pj=7, fanout_x=4, fanout_y=2),
        StorageLevel(name="RF", word_bits=16, capacity_words=32, read_energy_pj=0.5, write_energy_pj=0.75,
                     update_energy_pj=1, leakage_energy_pj_per_cycle=2),
    )  # fmt: skip
    assert (spec.architecture.compute_name, spec.architecture.compute_energy_pj) == ("MAC", 1.25)
    assert spec.spatial_targets == {"GLB": "pe"}
    assert spec.constraints == {}


def test_energies_may_stand_in_the_same_file(tmp_path: Path) -> None:
    both = load_architecture(written(tmp_path, V4 + ERT))
    assert both == spec_of(tmp_path)


def test_a_second_mesh_becomes_a_virtual_level(tmp_path: Path) -> None:
    text = changed(V4, "  - !Container\n    name: pe\n", "  - !Container\n    name: column\n    spatial: {meshX: 3}\n"
                   "  - !Hierarchical\n    nodes: []\n  - !Container\n    name: pe\n")  # fmt: skip
    spec = spec_of(tmp_path, text)
    assert [storage.name for storage in spec.architecture.levels] == ["DRAM", "GLB", "inter_pe_spatial", "RF"]
    virtual = level(spec, "inter_pe_spatial")
    assert virtual.is_virtual
    assert [(one.fanout_x, one.fanout_y) for one in spec.architecture.levels] == [(1, 1), (3, 1), (4, 2), (1, 1)]
    assert spec.spatial_targets == {"GLB": "column", "inter_pe_spatial": "pe"}
    assert spec.architecture.instances(3) == 24


def test_a_mesh_on_a_component_multiplies_it(tmp_path: Path) -> None:
    text = changed(V4, "    class: regfile\n", "    class: regfile\n    spatial: {meshY: 3}\n")
    text = changed(text, "    class: intmac\n", "    class: intmac\n    spatial: {meshX: 1 + 1}\n")
    spec = spec_of(tmp_path, text)
    assert spec.spatial_targets == {"GLB": "pe", "inter_RF_spatial": "RF", "RF": "MAC"}
    assert spec.architecture.peak_ops_per_cycle == 8 * 3 * 2


def test_containers_hand_attributes_down(tmp_path: Path) -> None:
    text = changed(V4, "    name: system\n", "    name: system\n    attributes: {read_bandwidth: 3, bits: 16, "
                   "global_cycle_seconds: 2e-9, multiple_buffering: 2}\n")  # fmt: skip
    text = changed(text, "spatial: {meshX: 4, meshY: 2}\n", "spatial: {meshX: 4, meshY: 2}\n"
                   "    attributes: {read_bandwidth: 5}\n")  # fmt: skip
    text = changed(
        text, "{datawidth: 16, depth: 32}", "{datawidth: bits, depth: GLB.attributes.depth // 2 + pe.spatial.meshX}"
    )
    spec = spec_of(tmp_path, text)
    assert [one.read_bandwidth_words_per_cycle for one in spec.architecture.levels] == [3, 3, 5]
    assert level(spec, "RF").capacity_words == 54
    assert level(spec, "GLB").multiple_buffering == 1
    assert spec.architecture.clock_hz == 5e8
    assert len(spec.warnings) == 1
    assert "system.attributes.multiple_buffering: not handed to the storages below" in spec.warnings[0]


def test_variables_are_computed_in_order(tmp_path: Path) -> None:
    text = "variables:\n  version: 0.4\n  bits: 4 * 4\n  rows: bits * 10\n" + changed(V4, "depth: 100", "depth: rows")
    assert level(spec_of(tmp_path, text), "GLB").capacity_words == 160 * 4


def test_rows_and_words(tmp_path: Path) -> None:
    def glb(attributes: str) -> StorageLevel:
        return level(spec_of(tmp_path, changed(V4, "{datawidth: 16, width: 64, depth: 100}", attributes)), "GLB")

    assert glb("{datawidth: 16, depth: 100}").words_per_access == 1
    two = glb("{datawidth: 16, block_size: 2, depth: 12}")
    assert (two.words_per_access, two.capacity_words) == (2, 24)
    assert glb("{datawidth: 16, width: 64, entries: 90, depth: 100}").capacity_words == 90
    assert glb("{datawidth: 16, sizeKB: 3}").capacity_words == 3 * 8192 // 16
    assert glb('{datawidth: 16, depth: "512"}').capacity_words == 512
    half = glb("{datawidth: 16, entries: 9, multiple_buffering: 1.5}")
    assert half.usable_words == 6
    free = glb("{datawidth: 16, entries: 9, read_bandwidth: null, write_bandwidth: inf, shared_bandwidth: .5}")
    assert free.read_bandwidth_words_per_cycle is None
    assert free.write_bandwidth_words_per_cycle is None
    assert free.shared_bandwidth_words_per_cycle == 0.5
    dram = glb('{datawidth: 16, technology: "DRAM"}')
    assert (dram.capacity_words, dram.drains_in_place) == (None, False)
    network = glb("{datawidth: 16, entries: 9, energy_per_hop: .5, router_energy: .25, network_fill_latency: 3}")
    assert (network.hop_energy_pj, network.router_energy_pj, network.network_fill_latency_cycles) == (0.5, 0.25, 3)


def test_a_shared_row_is_paid_in_shares(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path, changed(V4, "{datawidth: 16, depth: 32}", "{datawidth: 16, width: 64, cluster_size: 2, depth: 4}")
    )
    rf = level(spec, "RF")
    # 64 / (16 * 2) = 2 words per access; 4 rows hold 8 words of each instance; half of 0.5, 0.75, 1 pJ.
    assert (rf.words_per_access, rf.capacity_words) == (2, 8)
    assert (rf.read_energy_pj, rf.write_energy_pj, rf.update_energy_pj) == (0.25, 0.375, 0.5)
    assert rf.leakage_energy_pj_per_cycle == 2


def test_constraints_go_to_their_levels(tmp_path: Path) -> None:
    text = changed(V4, "depth: 100}\n", "depth: 100}\n    constraints:\n      dataspace: {keep: [A, Z], bypass: [B]}\n"
                   "      temporal: {factors: [K=2], permutation: [K, M], maximize_dims: [[N]]}\n")  # fmt: skip
    text = changed(text, "meshY: 2}\n", "meshY: 2}\n    constraints:\n      spatial: {factors: M=4 N=2, "
                   "permutation: MNK, split: 1}\n")  # fmt: skip
    assert spec_of(tmp_path, text).constraints == {
        "GLB": LevelConstraints(
            keep=frozenset("AZ"), bypass=frozenset("B"), temporal_bounds={"K": 2}, temporal_order=("M", "K"),
            spatial_bounds={"M": 4, "N": 2}, spatial_order=("K", "N", "M"), split=1,
        )
    }  # fmt: skip


def test_an_idle_spatial_constraint_needs_no_mesh(tmp_path: Path) -> None:
    text = changed(V4, "depth: 100}\n", "depth: 100}\n    constraints: {spatial: {factors: [M=1], split: 999}}\n")
    assert spec_of(tmp_path, text).constraints == {}


def test_brackets_vanish_and_comments_are_dropped(tmp_path: Path) -> None:
    text = changed(
        V4, "    class: SRAM\n", "    class: SRAM\n    _ignore_note: {a: 1}\n    enabled: True\n    subclass: x\n"
    )
    text = changed(
        text, "  - !Component\n    name: RF\n", "  - !Nothing\n    name: none\n  - !Component\n    name: RF\n"
    )
    spec = spec_of(tmp_path, text)
    assert spec.architecture == spec_of(tmp_path).architecture
    assert spec.components["GLB"].subclass == "x"


def test_free_attributes_warn_only_if_they_look_misspelt(tmp_path: Path) -> None:
    text = changed(V4, "width: 64, depth: 100", 'width: 64, depth: 100, colour: "red", n_banks: 4, read_bandwith: 3')
    spec = spec_of(tmp_path, text)
    assert len(spec.warnings) == 1
    assert (
        "GLB.attributes.read_bandwith: free attribute without effect. Did you mean read_bandwidth?" in spec.warnings[0]
    )


def test_an_architecture_made_in_python_names_meshes_by_the_level_below(tmp_path: Path) -> None:
    architecture = spec_of(tmp_path).architecture
    spec = spec_from_architecture(architecture)
    assert (spec.spatial_targets, spec.constraints, spec.version) == ({"GLB": "RF"}, {}, "0.4")


GLB = "{datawidth: 16, width: 64, depth: 100}"
REFUSALS = {
    "key beside attributes": ("    class: SRAM\n", "    class: SRAM\n    read_bandwidth: 4\n",
                              r":13 GLB.read_bandwidth: unknown key .*Move it into attributes"),
    "misspelt key": ("    class: SRAM\n", "    clas: SRAM\n", r"GLB.clas: unknown key .*Did you mean class\?"),
    "not modelled": ("    class: SRAM\n", "    class: SRAM\n    sparse_optimizations: {}\n",
                     "sparse_optimizations: unknown key .*not modelled"),
    "not enabled": ("    class: SRAM\n", "    class: SRAM\n    enabled: false\n",
                    "GLB.enabled: a node that is not enabled .got false, expected true"),
    "misspelt section": ("architecture:", "architectures: {}\narchitecture:", "Did you mean architecture"),
    "no class": ("    class: SRAM\n", "", r"spec.yaml:10 GLB: no class"),
    "no name": ("    name: GLB\n", "", r"nodes\[2\]: no name"),
    "name is a list": ("    name: GLB\n", "    name: [GLB]\n", "name: not a word"),
    "repeated name": ("    name: RF\n", "    name: GLB\n", r"GLB: name used twice .*line 10"),
    "unknown class": ("class: regfile", "class: dram", "RF.class: unknown class"),
    "tag missing": ("  - !Component\n    name: GLB", "  - name: GLB", r":10 GLB: node without a tag"),
    "version": ("version: 0.4", "version: 0.5", r":2 architecture.version: unknown version \(got 0.5, expected 0.4\)"),
    "no nodes": ("  nodes:", "  knots:", "architecture: no nodes"),
    "no MAC": ("class: intmac", "class: regfile\n    attributes: {datawidth: 1, depth: 1}", "no compute units"),
    "node after MAC": ("    class: intmac\n", "    class: intmac\n  - !Container\n    name: late\n",
                       "late: a node after the compute units"),
    "nothing but a MAC": (V4[V4.index("  - !Container"):V4.index("  - !Component\n    name: MAC")], "", "no storage"),
    "attributes empty": (f"    attributes: {GLB}\n", "    attributes:\n", "GLB.attributes: not a table of keys"),
    "no datawidth": ("datawidth: 16, width", "width", "GLB: storage without datawidth"),
    "word_bits": ("datawidth: 16, width", "word_bits: 16, datawidth: 16, width", "word_bits: not an attribute of v0.4"),
    "mesh in attributes": ("datawidth: 16, width", "meshX: 2, datawidth: 16, width", "meshX: not an attribute of v0.4"),
    "unbounded SRAM": (GLB, "{datawidth: 16}", "GLB: storage without a size .*depth, entries or sizeKB"),
    "size twice": (GLB, "{datawidth: 16, depth: 4, sizeKB: 4}", "sizeKB: the size is given twice"),
    "width not whole": ("width: 64", "width: 60", r"GLB.attributes.width: a row does not hold whole words"),
    "width and block": ("width: 64", "width: 64, block_size: 2", r"got width 64, expected .*2 \* 16 \* 1"),
    "cluster does not divide": ("{datawidth: 16, depth: 32}", "{datawidth: 16, depth: 32, cluster_size: 3}",
                                "RF: instances do not fill whole rows .*8 instances"),
    "cluster of DRAM": ("    class: DRAM\n    attributes: {datawidth: 16}",
                        "    class: DRAM\n    attributes: {datawidth: 16, cluster_size: 2}",
                        "a DRAM row is not shared"),
    "float depth": ("depth: 100", "depth: 200 / 2", r"depth: not an integer in range \(got 100.0.*Write // or int"),
    "zero depth": ("depth: 100", "depth: 0", r"depth: not an integer in range \(got 0, expected an integer >= 1"),
    "huge depth": ("depth: 100", f"depth: {2**60}", r"depth: not an expression: a number beyond 2\*\*53"),
    "null depth": ("depth: 100", "depth: null", "depth: not an integer in range .got null"),
    "depth is a list": ("depth: 100", "depth: [100]", "depth: not a value"),
    "quoted expression": ("depth: 100", "depth: '2**9'", r"depth: not an integer in range \(got 2\*\*9"),
    "plain word": ("depth: 100", "depth: 100, technology: 45nm",
                   "technology: not an expression: .*plain words in quotes"),
    "unknown variable": ("depth: 100", "depth: rows", "name rows is not in scope"),
    "later attribute": ("width: 64, depth: 100", "width: 4 * bits, bits: 16, depth: 100", "name bits is not in scope"),
    "no bandwidth": ("depth: 100", "depth: 100, read_bandwidth: 0", "read_bandwidth: not a bandwidth"),
    "negative bandwidth": ("depth: 100", "depth: 100, write_bandwidth: -1", "write_bandwidth: not a bandwidth"),
    "buffering": ("depth: 100", "depth: 100, multiple_buffering: 0.5", "multiple_buffering: not a number in range"),
    "utilization": ("depth: 100", "depth: 100, min_utilization: 1.5",
                    "min_utilization: not a number in range .got 1.5, expected a number >= 0 and <= 1"),
    "n_words": ("depth: 100", "depth: 100, n_words: 4", "n_words: attribute is not read .*Write block_size"),
    "instances": ("depth: 100", "depth: 100, instances: 4", "instances: attribute is not read .*Write a mesh"),
    "vector energy": ("depth: 100", "depth: 100, vector_access_energy: 4",
                      "vector_access_energy: attribute is not read"),
    "bandwidth": ("depth: 100", "depth: 100, bandwidth: 4", "bandwidth: attribute is not read .*half of it each"),
    "mesh zero": ("meshX: 4", "meshX: 0", r"pe.spatial.meshX: not a mesh \(got 0"),
    "mesh float": ("meshX: 4", "meshX: 8 / 2", r"pe.spatial.meshX: not a mesh \(got 4.0"),
    "mesh key": ("meshX: 4", "meshZ: 4", "pe.spatial.meshZ: unknown key"),
    "mesh above DRAM": ("    name: system\n", "    name: system\n    spatial: {meshX: 2}\n",
                        "system.spatial: a mesh outside the outermost storage"),
    "too many": ("meshX: 4, meshY: 2", f"meshX: {2**30}, meshY: {2**30}", "too many instances"),
    "clock": ("    name: system\n", "    name: system\n    attributes: {global_cycle_seconds: 0}\n",
              "not a cycle time"),
    "block above mesh": ("    name: system\n", "    name: system\n    attributes: {block_size: 4}\n",
                         "block_size of a Container above a mesh"),
    "container holds nothing": ("meshY: 2}\n", "meshY: 2}\n    constraints: {temporal: {factors: [M=2]}}\n",
                                "pe.constraints.temporal: only a storage has loops in time"),
    "MAC holds nothing": ("    class: intmac\n", "    class: intmac\n    constraints: {dataspace: {keep: [A]}}\n",
                          "MAC.constraints.dataspace: only a storage"),
    "spatial without mesh": ("depth: 100}\n", "depth: 100}\n    constraints: {spatial: {factors: [M=2]}}\n",
                             "GLB.constraints.spatial: a spatial constraint without a mesh"),
    "constraint key": ("depth: 100}\n", "depth: 100}\n    constraints: {dataspaces: {}}\n", "Did you mean dataspace"),
    "types": ("depth: 100}\n", "depth: 100}\n    constraints: {dataspace: {types: [A]}}\n", "types: unknown key"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(tmp_path, changed(V4, old, new))


def test_all_problems_are_reported_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = changed(V4, "depth: 100", "depth: 0")
    text = changed(text, "meshX: 4", "meshX: 0")
    text = changed(text, "class: regfile", "class: file")
    with pytest.raises(SpecError, match="not a mesh") as refusal:
        spec_of(tmp_path, text, changed(ERT, "energy: 6}", "energy: -6}"))
    assert len(refusal.value.problems) == 4
    places = [problem.split("yaml:")[1].split(":")[0] for problem in refusal.value.problems]
    assert places == ["13 GLB.attributes.depth", "16 pe.spatial.meshX", "19 RF.class", "7 ERT GLB.read"]


def test_neither_nor_both_energies(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no energies .*expected a key ERT.* Add it, or name the file that has it"):
        load_architecture(written(tmp_path, V4))
    with pytest.raises(SpecError, match=r"ert.yaml:1 ERT: section given twice .*the first is in .*spec.yaml:24"):
        spec_of(tmp_path, V4 + ERT)
    with pytest.raises(SpecError, match=r"no energies .got keys architecture, problem"):
        spec_of(tmp_path, V4, "problem: {}\n")
    with pytest.raises(SpecError, match="no architecture section"):
        load_architecture(written(tmp_path, ERT))
