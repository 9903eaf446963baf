"""Every worked cascade under mappings/ runs through `heat-sim map --cascade`, and fusion never hurts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heat_sim.specs import load_architecture, load_cascade

ROOT = Path(__file__).parents[2]
CASCADES = sorted(ROOT.glob("mappings/*/*/cascade.yaml"))


def test_the_worked_cascades_are_there() -> None:
    found = {"/".join(path.parts[-3:-1]) for path in CASCADES}
    assert found >= {"edge_16x16/bert_ffn_low_rank", "simba_l/bert_attention", "simba_l/bert_ffn_block",
                     "simba_l/bert_ffn_tt", "tpu_v4i_like/bert_attention"}  # fmt: skip


@pytest.mark.parametrize("path", CASCADES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_a_worked_cascade_is_optimal_and_adds_up(run, path: Path) -> None:
    code, out, err = run("map", "--arch", path.parts[-3], "--cascade", path, "--json", "-")
    assert code == 0, err
    result = json.loads(out)
    assert result["optimal"]
    assert result["edp_pJ_cycles"] == result["energy_pJ"] * result["cycles"]
    for rows in (result["groups"], result["breakdown"]):
        energies = [sum(row["energy_pJ"].values()) if "what" in row else row["energy_pJ"] for row in rows]
        assert sum(energies) == pytest.approx(result["energy_pJ"])
        assert sum(row["cycles"] for row in rows) == result["cycles"]
    assert result["edp_pJ_cycles"] <= result["unfused"]["edp_pJ_cycles"] * (1 + 1e-9)
    if "mac_optimal" in result:
        assert result["edp_pJ_cycles"] <= result["mac_optimal"]["edp_pJ_cycles"] * (1 + 1e-9)


@pytest.mark.parametrize("path", CASCADES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_the_vector_unit_is_that_of_the_benchmark(path: Path) -> None:
    """A lane per column of the array, an operation for the energy of a MAC, as benchmarks.cascade has it."""
    unit = load_cascade(path).vector_unit
    if unit is not None:
        folder = ROOT / "arch_specs" / path.parts[-3]
        architecture = load_architecture(folder / "arch.yaml", ert=folder / "ert.yaml").architecture
        columns = 1
        for level in architecture.levels:
            columns *= level.fanout_x
        assert unit.operations_per_cycle == columns
        assert unit.energy_pj == architecture.compute_energy_pj
