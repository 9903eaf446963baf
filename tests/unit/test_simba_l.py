"""The Simba-L spec: its peak, its capacities, and that its energies follow from their sources."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from heat_sim.mapping import check_mapping
from heat_sim.model import evaluate
from heat_sim.specs import ArchitectureSpec, load_architecture, load_mapping, load_problem

ROOT = Path(__file__).parents[2]
SIMBA = ROOT / "arch_specs" / "simba_l"
FFN = ROOT / "mappings" / "simba_l" / "bert_ffn"


@pytest.fixture
def simba() -> ArchitectureSpec:
    return load_architecture(SIMBA / "arch.yaml", ert=SIMBA / "ert.yaml")


def test_peak_and_capacities(simba: ArchitectureSpec) -> None:
    architecture = simba.architecture
    assert simba.warnings == ()
    assert architecture.peak_ops_per_cycle == 1024
    assert architecture.clock_hz == 1e9
    kib = {
        level.name: level.capacity_words and level.capacity_words * level.word_bits / 8192
        for level in architecture.levels
    }
    assert kib == {"DRAM": None, "GlobalBuffer": 64, "InputBuffer": 8, "WeightBuffer": 32, "AccumulationBuffer": 3,
                   "WeightRegister": 1 / 1024}  # fmt: skip
    assert [architecture.instances(place) for place in range(6)] == [1, 1, 16, 16, 16, 1024]
    assert simba.spatial_targets == {"GlobalBuffer": "PE", "AccumulationBuffer": "lanes"}


def test_each_buffer_keeps_one_kind_of_tensor(simba: ArchitectureSpec) -> None:
    kept = {name: set(demanded.keep) for name, demanded in simba.constraints.items()}
    assert kept == {
        "GlobalBuffer": {"Inputs", "Outputs"},
        "InputBuffer": {"Inputs"},
        "WeightBuffer": {"Weights"},
        "AccumulationBuffer": {"Outputs"},
        "WeightRegister": {"Weights"},
    }
    for demanded in simba.constraints.values():
        assert demanded.keep | demanded.bypass == {"Inputs", "Weights", "Outputs"}
        assert not demanded.temporal_bounds
        assert not demanded.spatial_bounds


def test_energies_follow_from_the_sources_in_the_readme(simba: ArchitectureSpec) -> None:
    to_16_nm = math.sqrt(16 / 22)
    width_24_of_32 = 0.7 * 24 / 32 + 0.3
    sources = {
        "DRAM": (8.0 * 64, 8.0 * 64),
        "GlobalBuffer": (13.6217 * to_16_nm, 14.3464 * to_16_nm),
        "InputBuffer": (1.59026 * to_16_nm, 1.77144 * to_16_nm),
        "WeightBuffer": (8 * 1.17092 * to_16_nm, 8 * 1.24601 * to_16_nm),
        "AccumulationBuffer": (8 * width_24_of_32 * 0.189606 * to_16_nm, 8 * width_24_of_32 * 0.391801 * to_16_nm),
        "WeightRegister": (0.0143795, 0.0143795),
    }
    readme = (SIMBA / "README.md").read_text(encoding="utf-8")
    for level in simba.architecture.levels:
        read, write = sources[level.name]
        assert level.read_energy_pj == pytest.approx(read, rel=1e-4)
        assert level.write_energy_pj == level.update_energy_pj == pytest.approx(write, rel=1e-4)
        assert f"| {level.name} | {level.read_energy_pj:g} | {level.write_energy_pj:g} |" in readme
    assert simba.architecture.compute_energy_pj == pytest.approx(0.189729, rel=1e-4)


def test_the_worked_mapping_is_weight_stationary_and_fills_the_machine(simba: ArchitectureSpec) -> None:
    einsum = load_problem(FFN / "problem.yaml")
    mapping = load_mapping(FFN / "weight_stationary.yaml", einsum=einsum, spec=simba)
    check_mapping(einsum, simba.architecture, mapping)
    report = evaluate(einsum, simba.architecture, mapping)
    # 128 x 3072 x 768 ops, 1024 at a time, and no level too slow.
    assert report.cycles == 128 * 3072 * 768 // 1024
    assert report.utilization == 1
    levels = {level.name: level for level in report.levels}
    # Weight stationary: every weight crosses from DRAM once and enters a register once.
    assert levels["DRAM"].tensors["Weights"].reads == 3072 * 768
    assert levels["WeightRegister"].tensors["Weights"].fills == 3072 * 768
    assert levels["GlobalBuffer"].occupied_words == simba.architecture.levels[1].capacity_words
    assert levels["AccumulationBuffer"].occupied_words == simba.architecture.levels[4].capacity_words
