"""Extents rounded up, and what is left of a padded mapping when the padding is taken out again (model section 12)."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.mapper import map_einsum
from heat_sim.mapper.padding import padded_extents, padded_spaces, trimmed
from heat_sim.mapper.result import MappedEinsum
from heat_sim.mapper.space import map_space
from heat_sim.mapping import LevelMapping, Loop, Mapping
from heat_sim.model import evaluate

MACHINE = Architecture(
    name="toy", compute_name="MAC", compute_energy_pj=1.0,
    levels=(
        StorageLevel(name="DRAM", read_energy_pj=100.0, write_energy_pj=100.0, update_energy_pj=100.0, fanout_x=4),
        StorageLevel(name="RF", read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0),
    ),
)  # fmt: skip


def matvec(*, m: int, k: int = 1) -> Einsum:
    return parse_einsum("z[m] = a[m,k] * x[k]", extents=dict(m=m, k=k))


@given(st.integers(1, 400), st.integers(1, 300))
def test_extents_are_the_next_multiples(extent: int, children: int) -> None:
    """Of every divisor of the children and every power of two up to 64; an extent of 1 has nothing to pad."""
    steps = [step for step in range(1, 400) if children % step == 0 or step in (1, 2, 4, 8, 16, 32, 64)]
    expected = {math.ceil(extent / step) * step for step in steps} if extent > 1 else {1}
    assert padded_extents(extent, children=children) == tuple(sorted(expected))


def test_spaces_are_all_choices_fewest_ops_first() -> None:
    space = map_space(matvec(m=7, k=3), MACHINE, min_parallelism=0.5, both_axes=True)
    every = list(padded_spaces(space))
    assert every[0] == space
    options = {var: padded_extents(extent, children=4) for var, extent in space.einsum.extents}
    extents = [each.einsum.extents for each in every]
    assert sorted(extents) == sorted(tuple(zip(options, chosen, strict=True))
                                     for chosen in itertools.product(*options.values()))  # fmt: skip
    ops = [each.einsum.ops for each in every]
    assert ops == sorted(ops)
    assert all((each.architecture, each.min_parallelism, each.both_axes) == (MACHINE, 0.5, True) for each in every)


def mapped(einsum: Einsum, *levels: LevelMapping) -> MappedEinsum:
    mapping = Mapping(levels=levels)
    report = evaluate(einsum, MACHINE, mapping, link_transfers=False)
    return MappedEinsum(
        einsum=einsum, architecture=MACHINE, mapping=mapping, energy_pj=report.energy_pj, cycles=report.cycles
    )


KEEP = frozenset("axz")


def test_without_padding_nothing_is_trimmed() -> None:
    best = map_einsum(matvec(m=8), MACHINE).best
    assert trimmed(best, matvec(m=8)) is best


def test_the_last_pass_is_cut_short_from_the_inside_out() -> None:
    """7 of 8 rows: 2 steps of 4 units, and in the last step 3 of them."""
    padded = mapped(
        matvec(m=8),
        LevelMapping(level="DRAM", keep=KEEP, temporal=(Loop(rank_var="m", bound=2),),
                     spatial=(Loop(rank_var="m", bound=4, dimension="x"),)),
        LevelMapping(level="RF", keep=KEEP),
    )  # fmt: skip
    cut = trimmed(padded, matvec(m=7))
    assert cut.mapping.levels[0].temporal == (Loop(rank_var="m", bound=2),)
    assert cut.mapping.levels[0].spatial == (Loop(rank_var="m", bound=4, dimension="x", residual=3),)
    assert cut.cycles == padded.cycles == 2
    # Every word of a and z that is not there any more is one read, one fill and one update less.
    assert cut.energy_pj < padded.energy_pj


def test_loops_that_would_run_once_are_left_out() -> None:
    """3 of 8 rows need one step only; the 3 that are left are the inner loop's."""
    padded = mapped(
        matvec(m=8),
        LevelMapping(level="DRAM", keep=KEEP, temporal=(Loop(rank_var="m", bound=2),)),
        LevelMapping(level="RF", keep=KEEP, temporal=(Loop(rank_var="m", bound=4),)),
    )
    cut = trimmed(padded, matvec(m=3))
    assert cut.mapping.levels[0].temporal == ()
    assert cut.mapping.levels[1].temporal == (Loop(rank_var="m", bound=3),)
    assert cut.cycles == 3


def test_other_loops_and_their_order_stay() -> None:
    padded = mapped(
        matvec(m=8, k=4),
        LevelMapping(level="DRAM", keep=KEEP, temporal=(Loop(rank_var="k", bound=2), Loop(rank_var="m", bound=8),
                                                        Loop(rank_var="k", bound=2))),
        LevelMapping(level="RF", keep=frozenset("z")),
    )  # fmt: skip
    cut = trimmed(padded, matvec(m=5, k=3))
    assert cut.mapping.levels[0].temporal == (
        Loop(rank_var="k", bound=2), Loop(rank_var="m", bound=5), Loop(rank_var="k", bound=2, residual=1)
    )  # fmt: skip
    assert [level.keep for level in cut.mapping.levels] == [KEEP, frozenset("z")]
    assert [cut.mapping.bound(var) for var in "mk"] == [5, 3]


@pytest.mark.parametrize("prime", [5, 7, 127, 509])
def test_a_prime_number_of_rows_fills_the_mesh(prime: int) -> None:
    """On 4 units a prime takes a quarter of the steps, rounded up, instead of one step for each row."""
    perfect = map_einsum(matvec(m=prime), MACHINE, objective="cycles")
    padded = map_einsum(matvec(m=prime), MACHINE, objective="cycles", padded=True)
    assert perfect.best.cycles == prime
    assert trimmed(padded.best, matvec(m=prime)).cycles == math.ceil(prime / 4)
    assert padded.optimal
    assert padded.space.einsum == matvec(m=prime)


def test_a_padded_result_counts_the_mappings_of_all_paddings() -> None:
    einsum = matvec(m=7, k=3)
    padded = map_einsum(einsum, MACHINE, padded=True)
    assert padded.space_size > map_einsum(einsum, MACHINE).space_size
    assert padded.space_size == sum(
        map_einsum(each.einsum, MACHINE).space_size for each in padded_spaces(map_space(einsum, MACHINE))
    )
