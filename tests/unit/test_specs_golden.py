"""The golden cases as far as reading goes: hardware, loops and kept tensors as Timeloop understood them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heat_sim.einsum import Einsum
from heat_sim.errors import SpecError
from heat_sim.mapping import Mapping, check_mapping
from heat_sim.specs import ArchitectureSpec, dump_mapping, load_architecture, load_mapping, load_problem, parse_mapping

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {folder.name: folder for folder in sorted(GOLDEN.glob("timeloop*/[0-9]*"))}
REFUSED = {
    "08_bad_unknown_key": "arch.yaml:14 GLB.read_bandwidth: unknown key .*Move it into attributes",
    "09_bad_factor_product": r"yaml:2 mapping: factors of K do not multiply to its bound \(got 20, expected 24\)",
    "10_bad_mesh_missing": "mapping.yaml:11 .*spatial at pe: spatial loops where there is no mesh .*Give pe a mesh",
}
# Well formed, but its tiles do not fit: for the model to refuse.
TOO_LARGE = "22_invalid_capacity"


def read(folder: Path) -> tuple[Einsum, ArchitectureSpec, Mapping]:
    spec = load_architecture(folder / "arch.yaml", ert=folder / "ert.yaml")
    einsum = load_problem(folder / "problem.yaml")
    return einsum, spec, load_mapping(folder / "mapping.yaml", einsum=einsum, spec=spec)


def expected(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", [name for name in CASES if name not in REFUSED])
def test_what_timeloop_read(name: str) -> None:
    einsum, spec, mapping = read(CASES[name])
    check_mapping(einsum, spec.architecture, mapping)
    assert spec.warnings == ()
    report = expected(CASES[name])
    assert report["valid"] == (name != TOO_LARGE)
    if name == TOO_LARGE or not mapping.is_perfect:
        return
    assert einsum.ops == report["compute"]["computes"]
    assert spec.architecture.compute_name == report["compute"]["name"]
    assert spec.architecture.peak_ops_per_cycle == report["compute"]["instances_available"]
    storages = [(place, level) for place, level in enumerate(spec.architecture.levels) if not level.is_virtual]
    assert [level.name for _, level in storages] == [level["name"] for level in report["levels"]]
    for (place, _), seen in zip(storages, report["levels"], strict=True):
        assert spec.architecture.instances(place) == seen["instances_available"]
        assert mapping.levels[place].keep == {key for key, value in seen["data_spaces"].items() if value["kept"]}
        tile = mapping.tile_extents(place) | {
            var: 1 for var in einsum.rank_vars if var not in mapping.tile_extents(place)
        }
        for tensor in einsum.tensors:
            if tensor.name in mapping.levels[place].keep:
                words = 1
                for extent in tensor.shape(tile):
                    words *= extent
                assert words == seen["data_spaces"][tensor.name]["tile_words"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_names_the_culprit(name: str) -> None:
    with pytest.raises(SpecError, match=REFUSED[name]):
        read(CASES[name])


@pytest.mark.parametrize("name", [name for name in CASES if name not in REFUSED])
def test_writing_and_reading_back(name: str) -> None:
    einsum, spec, mapping = read(CASES[name])
    assert parse_mapping(dump_mapping(mapping, einsum=einsum, spec=spec), einsum=einsum, spec=spec) == mapping


def test_virtual_levels_stand_for_second_meshes_only() -> None:
    _, spec, mapping = read(CASES["03_eyeriss_bypass_in_arch"])
    assert [level.name for level in spec.architecture.levels if level.is_virtual] == ["inter_pe_spatial"]
    assert spec.spatial_targets == {"GLB": "column", "inter_pe_spatial": "pe"}
    place = spec.architecture.index("inter_pe_spatial")
    assert [str(loop) for loop in mapping.levels[place].spatial] == [
        "parallel-for-y K in 0..1",
        "parallel-for-y R in 0..2",
    ]


def test_network_attributes() -> None:
    _, simba, _ = read(CASES["20_bert_attention_simba"])
    glb, l1 = simba.architecture.levels[1:3]
    assert (glb.hop_energy_pj, glb.router_energy_pj, l1.hop_energy_pj, l1.router_energy_pj) == (0.08, 0.02, 0.01, 0.0)
    assert [(level.fanout_x, level.fanout_y) for level in simba.architecture.levels] == [(1, 1), (4, 4), (8, 8), (1, 1)]
    _, late, _ = read(CASES["24_leakage_latency_buffering"])
    glb = late.architecture.levels[1]
    assert (glb.network_fill_latency_cycles, glb.network_drain_latency_cycles) == (12, 7)
    assert late.architecture.levels[2].usable_words == 40
