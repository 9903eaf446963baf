"""Which mappings are refused (model section 2), each with its own sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import parse_einsum
from heat_sim.errors import InfeasibleError, MappingError
from heat_sim.mapping import LevelMapping, Loop, Mapping, check_mapping

EINSUM = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": 4, "n": 6, "k": 8})
MACHINE = Architecture(
    name="toy",
    levels=(
        StorageLevel(name="DRAM"),
        StorageLevel(name="mesh", fanout_x=4, fanout_y=2, is_virtual=True),
        StorageLevel(name="RF"),
    ),
    compute_name="MAC",
    compute_energy_pj=1.0,
)
ALL = frozenset("ABZ")
DRAM = LevelMapping(level="DRAM", temporal=(Loop(rank_var="n", bound=6), Loop(rank_var="k", bound=4)), keep=ALL)
MESH = LevelMapping(
    level="mesh",
    spatial=(Loop(rank_var="m", bound=4, dimension="x"), Loop(rank_var="k", bound=2, dimension="y")),
)
RF = LevelMapping(level="RF", keep=ALL)
GOOD = Mapping(levels=(DRAM, MESH, RF))


def test_a_good_mapping_passes_and_draws_itself() -> None:
    check_mapping(EINSUM, MACHINE, GOOD)
    assert str(GOOD).splitlines() == [
        "DRAM [A, B, Z]",
        "| for n in 0..5",
        "  | for k in 0..3",
        "    mesh [keeps nothing]",
        "    | parallel-for-x m in 0..3",
        "      | parallel-for-y k in 0..1",
        "        RF [A, B, Z]",
    ]


def test_tile_extents_are_the_bounds_at_and_inside_a_level() -> None:
    assert GOOD.tile_extents(0) == {"n": 6, "k": 4 * 2, "m": 4}
    assert GOOD.tile_extents(1) == {"m": 4, "k": 2}
    assert GOOD.tile_extents(2) == {}
    assert GOOD.bound("k") == 4 * 2


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((DRAM, RF), r"mapping: its levels are not the architecture's \(got DRAM, RF, expected DRAM, mesh, RF\)"),
        ((DRAM, RF, MESH), r"its levels are not the architecture's \(got DRAM, RF, mesh"),
        (
            (DRAM, MESH, replace(RF, keep=ALL | {"W"})),
            r"mapping at RF: keeps an unknown tensor \(got W, expected some of A, B, Z\)",
        ),
        ((DRAM, replace(MESH, keep=frozenset("A")), RF), r"mapping at mesh: it has no storage, yet it keeps A"),
        (
            (DRAM, MESH, replace(RF, temporal=(Loop(rank_var="q", bound=1),))),
            r"mapping at RF: unknown rank variable \(got q, expected one of m, k, n\)",
        ),
        (
            (DRAM, MESH, replace(RF, temporal=(Loop(rank_var="m", bound=0),))),
            r"mapping at RF, loop m: bad bound \(got 0, expected an integer >= 1\)",
        ),
        (
            (DRAM, replace(MESH, spatial=(Loop(rank_var="m", bound=4),)), RF),
            r"mapping at mesh: loop m is spatial but has no axis",
        ),
        (
            (replace(DRAM, temporal=DRAM.temporal[:1]), MESH, RF),
            r"bounds of k do not multiply to its extent \(got 2, expected 8\)",
        ),
        (
            tuple(replace(level, keep=level.keep - {"B"}) for level in (DRAM, MESH, RF)),
            r"mapping of Z: no level keeps B\. Keep it at one level at least",
        ),
    ],
)
def test_malformed_mappings_are_refused(levels: tuple[LevelMapping, ...], message: str) -> None:
    with pytest.raises(MappingError, match=message):
        check_mapping(EINSUM, MACHINE, Mapping(levels=levels))


def test_spatial_bounds_beyond_the_mesh_are_infeasible() -> None:
    crowded = replace(MESH, spatial=(*MESH.spatial, Loop(rank_var="n", bound=2, dimension="x")))
    message = r"mapping at mesh: spatial loops along x do not fit \(got 8, expected at most 4 children\)"
    with pytest.raises(InfeasibleError, match=message) as refusal:
        check_mapping(EINSUM, MACHINE, Mapping(levels=(DRAM, crowded, RF)))
    along_x = 4 * 2  # m, then n
    assert (refusal.value.level, refusal.value.need, refusal.value.capacity) == ("mesh", along_x, 4)
