"""The designs under arch_specs/: they load clean, say in their README what their files hold, and can be mapped.

Published figures of these designs are compared in tests/integration/test_published.py.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from heat_sim.einsum import parse_einsum
from heat_sim.mapper import map_einsum
from heat_sim.mapping import check_mapping
from heat_sim.model import Report, evaluate
from heat_sim.specs import ArchitectureSpec, load_architecture, load_mapping, load_problem

ROOT = Path(__file__).parents[2]
DESIGNS = sorted(path.parent.name for path in ROOT.glob("arch_specs/*/arch.yaml"))
NO_MAPPING = ("problem.yaml", "cascade.yaml")
WORKED = sorted(path for path in ROOT.glob("mappings/*/*/*.yaml") if path.name not in NO_MAPPING)
BERT_FFN = 128 * 3072 * 768
"""Ops: tokens x features out x features in."""


def load(design: str) -> ArchitectureSpec:
    folder = ROOT / "arch_specs" / design
    return load_architecture(folder / "arch.yaml", ert=folder / "ert.yaml")


def readme(design: str) -> str:
    return (ROOT / "arch_specs" / design / "README.md").read_text(encoding="utf-8")


def evaluated(path: Path) -> Report:
    """Return the report of a worked mapping, checked for validity on the way."""
    spec = load(path.parts[-3])
    einsum = load_problem(path.parent / "problem.yaml")
    mapping = load_mapping(path, einsum=einsum, spec=spec)
    check_mapping(einsum, spec.architecture, mapping)
    return evaluate(einsum, spec.architecture, mapping)


def test_the_designs_that_are_promised_are_there() -> None:
    assert set(DESIGNS) >= {"edge_16x16", "eyeriss_like", "output_stationary", "simba", "simba_l", "tpu_v4i_like",
                            "weight_stationary"}  # fmt: skip
    assert {path.parts[-3] for path in WORKED if path.parts[-2] == "bert_ffn"} == set(DESIGNS)


@pytest.mark.parametrize(
    ("design", "peak", "sizes_kib"),
    [
        ("eyeriss_like", 14 * 12, {"GlobalBuffer": 128, "InputSpad": 24 / 1024, "WeightSpad": 384 / 1024,
                                   "PsumSpad": 16 * 2 / 1024}),
        ("simba", 16 * 8 * 8, {"GlobalBuffer": 64, "InputBuffer": 8, "WeightBuffer": 32, "AccumulationBuffer": 3,
                               "WeightRegister": 1 / 1024}),
        ("tpu_v4i_like", 4 * 128 * 128, {"GlobalBuffer": 128 * 1024, "LocalBuffer": 4 * 1024,
                                         "WeightRegister": 1 / 1024}),
        ("edge_16x16", 16 * 16, {"GlobalBuffer": 128, "InputSpad": 64 / 1024, "WeightSpad": 256 / 1024,
                                 "PsumSpad": 32 * 4 / 1024}),
        ("weight_stationary", 16 * 16, {"GlobalBuffer": 128, "Spad": 384 / 1024, "WeightRegister": 2 / 1024,
                                        "InputRegister": 2 / 1024, "OutputRegister": 2 / 1024}),
        ("output_stationary", 16 * 16, {"GlobalBuffer": 128, "Spad": 384 / 1024, "WeightRegister": 2 / 1024,
                                        "InputRegister": 2 / 1024, "OutputRegister": 2 / 1024}),
    ],
)  # fmt: skip
def test_peak_and_sizes(design: str, peak: int, sizes_kib: dict[str, float]) -> None:
    spec = load(design)
    assert spec.warnings == ()
    assert spec.architecture.peak_ops_per_cycle == peak
    levels = [level for level in spec.architecture.levels if not level.is_virtual]
    assert levels[0].capacity_words is None
    assert {level.name: (level.capacity_words or 0) * level.word_bits / 8192 for level in levels[1:]} == sizes_kib


@pytest.mark.parametrize("design", [name for name in DESIGNS if name != "simba_l"])
def test_the_readme_gives_the_energies_of_the_file(design: str) -> None:
    text = readme(design)
    architecture = load(design).architecture
    for level in architecture.levels:
        if not level.is_virtual:
            assert level.write_energy_pj == level.update_energy_pj
            row = f"| {level.name} | {level.read_energy_pj:g} | {level.write_energy_pj:g} |"
            if "leak per cycle" in text:
                row += f" {level.leakage_energy_pj_per_cycle:g} |"
            assert row in text
    assert f"| MAC | {architecture.compute_energy_pj:g} per op |" in text


@pytest.mark.parametrize("design", ["simba", "tpu_v4i_like"])
def test_energies_per_word_are_the_energies_per_bit_of_the_readme(design: str) -> None:
    """Rows end with ``bits x read`` or ``bits x read / write``, in pJ or (simba) fJ per bit."""
    unit = 1e-3 if design == "simba" else 1
    levels = {level.name: level for level in load(design).architecture.levels}
    row = r"^\| (\w+) \|.*\| (\d+) x ([\d.]+)(?: / (?:\d+ x )?([\d.]+))?[^|]*\|$"
    rows = re.findall(row, readme(design), re.MULTILINE)
    assert len(rows) >= 3
    for name, bits, read, write in rows:
        assert levels[name].word_bits == int(bits)
        assert levels[name].read_energy_pj == pytest.approx(int(bits) * float(read) * unit, rel=1e-5)
        assert levels[name].write_energy_pj == pytest.approx(int(bits) * float(write or read) * unit, rel=1e-5)


def test_bandwidths_follow_from_those_published() -> None:
    simba = {level.name: level for level in load("simba").architecture.levels}
    gbit_per_s = {"DRAM": 3.3554432, "GlobalBuffer": 1812.5, "InputBuffer": 640, "WeightBuffer": 1280,
                  "AccumulationBuffer": 392.5}  # fmt: skip
    for name, rate in gbit_per_s.items():
        assert simba[name].shared_bandwidth_words_per_cycle == pytest.approx(rate / simba[name].word_bits / 2.5)
    tpu = {level.name: level for level in load("tpu_v4i_like").architecture.levels}
    clock_ghz = 1.05
    assert load("tpu_v4i_like").architecture.clock_hz == pytest.approx(clock_ghz * 1e9)
    assert tpu["DRAM"].shared_bandwidth_words_per_cycle == pytest.approx(614 / clock_ghz)
    assert tpu["GlobalBuffer"].read_bandwidth_words_per_cycle == pytest.approx(2048 / clock_ghz)
    assert tpu["GlobalBuffer"].write_bandwidth_words_per_cycle == pytest.approx(1024 / clock_ghz)


@pytest.mark.parametrize("path", WORKED, ids=lambda path: "/".join(path.parts[-3:]))
def test_worked_mappings_are_valid_and_as_the_readme_says(path: Path) -> None:
    report = evaluated(path)
    if path.parts[-3] != "simba_l":  # its own tests say it
        row = (
            f"| {path.parts[-2]}/{path.stem} | {report.cycles:,} | {report.utilization:.1%} "
            f"| {report.energy_pj / 1e6:.4g} |"
        )
        assert row in readme(path.parts[-3])
    for level, storage in zip(report.levels, (s for s in report.architecture.levels if not s.is_virtual), strict=True):
        assert storage.usable_words is None or level.occupied_words <= storage.usable_words


@pytest.mark.parametrize(
    ("name", "cycles"),
    [
        ("eyeriss_like/bert_ffn/weight_stationary", BERT_FFN // (12 * 12)),
        ("edge_16x16/bert_ffn/output_stationary", BERT_FFN // (16 * 16)),
        # 16 inputs in every cycle, and each partial sum of the first half of K once; the port gives 16 words
        ("weight_stationary/bert_ffn/weight_stationary", (BERT_FFN // 16 + 128 * 3072) // 16),
        # 16 weights in every cycle and 16 inputs in every 24th; the port gives 16 words
        ("output_stationary/bert_ffn/output_stationary", BERT_FFN // 256 * 25 // 24),
        # all words once over DRAM, which gives 614 bytes per ns
        ("tpu_v4i_like/bert_ffn/weight_stationary", math.ceil((3072 * 768 + 128 * 768 + 128 * 3072) / (614 / 1.05))),
        # weights and outputs once over DRAM, inputs 8 times
        ("simba/bert_ffn/output_at_buffer", (3072 * 768 + 8 * 128 * 768 + 128 * 3072) / 0.16777216),
    ],
)
def test_cycles_of_the_worked_matrices(name: str, cycles: float) -> None:
    assert evaluated(ROOT / "mappings" / f"{name}.yaml").cycles == cycles


def test_the_teaching_designs_do_what_they_are_called() -> None:
    weight = evaluated(ROOT / "mappings/weight_stationary/bert_ffn/weight_stationary.yaml")
    assert weight.level("DRAM").tensors["Weights"].reads == 3072 * 768
    assert weight.level("Spad").tensors["Weights"].fills == 3072 * 768  # each weight enters its PE once
    output = evaluated(ROOT / "mappings/output_stationary/bert_ffn/output_stationary.yaml")
    assert output.level("Spad").tensors["Outputs"].fills == 0  # no partial sum comes back
    assert output.level("DRAM").tensors["Outputs"].updates == 128 * 3072  # each output leaves its PE once


@pytest.mark.parametrize("design", DESIGNS)
def test_a_matmul_can_be_mapped(design: str) -> None:
    spec = load(design)
    einsum = parse_einsum("Outputs[m,n] = Inputs[m,k] * Weights[k,n]", extents=dict(m=64, n=64, k=64))
    result = map_einsum(einsum, spec.architecture, constraints=spec.constraints)
    best = evaluate(einsum, spec.architecture, result.best.mapping)
    assert best.energy_pj * best.cycles == pytest.approx(result.value)
    assert result.value >= result.lower_bound > 0
    for level in result.best.mapping.levels:
        if level.level in spec.constraints:
            demanded = spec.constraints[level.level]
            assert level.keep >= demanded.keep
            assert not level.keep & demanded.bypass
