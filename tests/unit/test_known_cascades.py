"""What is known of a cascade before its search: the result is no worse, and still says what fusing nothing costs."""

from __future__ import annotations

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import parse_cascade
from heat_sim.mapper.layer import Machine
from heat_sim.mapper.objective import OBJECTIVES

ROOMY = Architecture(
    name="roomy", compute_name="MAC", compute_energy_pj=1.0,
    levels=(
        StorageLevel(name="DRAM", read_energy_pj=90.0, update_energy_pj=90.0),
        StorageLevel(
            name="GLB", capacity_words=64, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0, fanout_x=2
        ),
    ),
)  # fmt: skip
CHAIN = parse_cascade(
    ["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"], extents={"m": 4, "k": 4, "f": 2, "n": 4}, name="chain"
)


def test_known_ways_leave_the_best_unfused_one_known() -> None:
    first = Machine(architecture=ROOMY).map_cascade(CHAIN, objective=OBJECTIVES["edp"])
    assert first.best.is_fused
    for objective in (OBJECTIVES["edp"], OBJECTIVES["hull"]):
        again = Machine(architecture=ROOMY).map_cascade(CHAIN, objective=objective, known=[first.front])
        assert again.best.point == first.best.point
        assert not again.unfused.is_fused
        assert again.unfused.energy_pj * again.unfused.cycles == first.unfused_value
