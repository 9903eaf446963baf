"""The reasons given for a mapspace without a valid mapping, each against a search that tries everything."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import InfeasibleError
from heat_sim.mapper.diagnosis import explain_infeasible
from heat_sim.mapper.space import MapSpace, map_space
from heat_sim.mapping import Dimension, LevelConstraints, LevelMapping, Loop, Mapping, check_mapping

MATMUL = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": 4, "k": 6, "n": 2}, name="matmul")
WINDOW = parse_einsum("O[p] = I[p+r] * W[r]", extents={"p": 4, "r": 3}, name="window")
DRAM = StorageLevel(name="DRAM")


def machine(*levels: StorageLevel) -> Architecture:
    return Architecture(name="toy", levels=levels, compute_name="MAC", compute_energy_pj=1.0)


def only(**bounds: int) -> LevelConstraints:
    """Bounds fixed in time."""
    return LevelConstraints(temporal_bounds=bounds)


def no_loops(einsum: Einsum = MATMUL) -> LevelConstraints:
    return LevelConstraints(temporal_bounds=dict.fromkeys(einsum.rank_vars, 1))


def keeping(names: str, **bounds: int) -> LevelConstraints:
    return LevelConstraints(keep=frozenset(names), temporal_bounds=bounds)


def told(einsum: Einsum, architecture: Architecture, *, both_axes: bool = False, min_parallelism: float = 0.0,
         **demands: LevelConstraints) -> MapSpace:  # fmt: skip
    return map_space(einsum, architecture, constraints=demands, both_axes=both_axes, min_parallelism=min_parallelism)


def is_feasible(space: MapSpace) -> bool:
    """Whether one of all loop nests and keep masks is in the space and fits; loop orders as demanded."""
    return any(_keeps(space, levels) for levels in _nests(space))


def _nests(space: MapSpace) -> Iterator[tuple[LevelMapping, ...]]:
    einsum, storages = space.einsum, space.architecture.levels
    axes: tuple[tuple[Dimension, int], ...] = (("temporal", 0), ("x", 0), ("y", 0))
    slots = [
        (level, axis)
        for level, storage in enumerate(storages)
        for axis, _ in axes
        if {"temporal": 2, "x": storage.fanout_x, "y": storage.fanout_y}[axis] > 1
    ]
    splits = [
        [split for split in itertools.product(*[[d for d in range(1, extent + 1) if extent % d == 0]] * len(slots))
         if math.prod(split) == extent and _within(space, var, dict(zip(slots, split, strict=True)))]
        for var, extent in einsum.extents
    ]  # fmt: skip
    for chosen in itertools.product(*splits):
        levels = []
        for level, storage in enumerate(storages):
            inner = space.inner_order(level)
            outermost_first = [*(var for var in einsum.rank_vars if var not in inner), *reversed(inner)]
            bounds = {
                (var, slots[place][1]): split[place]
                for var, split in zip(einsum.rank_vars, chosen, strict=True)
                for place in range(len(slots))
                if slots[place][0] == level and split[place] > 1
            }
            levels.append(
                LevelMapping(
                    level=storage.name,
                    temporal=tuple(Loop(rank_var=v, bound=bounds[v, "temporal"]) for v in outermost_first
                                   if (v, "temporal") in bounds),
                    spatial=tuple(Loop(rank_var=v, bound=b, dimension=axis) for (v, axis), b in bounds.items()
                                  if axis != "temporal"),
                )
            )  # fmt: skip
        yield tuple(levels)


def _within(space: MapSpace, var: str, bounds: dict[tuple[int, Dimension], int]) -> bool:
    """Whether the bounds of one rank variable keep its limits and fit the axes; `holds` judges the rest."""
    for level, storage in enumerate(space.architecture.levels):
        in_time, x, y = (bounds.get((level, axis), 1) for axis in ("temporal", "x", "y"))
        least, most = space.temporal_limit(level, var)
        least_over, most_over = space.spatial_limit(level, var)
        if not (least <= in_time <= most and least_over <= x * y <= most_over):
            return False
        if x > storage.fanout_x or y > storage.fanout_y:
            return False
    return True


def _keeps(space: MapSpace, levels: tuple[LevelMapping, ...]) -> bool:
    """Whether the nest is in the space with some choice of what is kept where."""
    names = [tensor.name for tensor in space.einsum.tensors]
    bare = Mapping(levels=levels)
    masks = []
    for index, storage in enumerate(space.architecture.levels):
        runs = dict.fromkeys(space.einsum.rank_vars, 1) | bare.tile_extents(index)
        words = {tensor.name: math.prod(tensor.shape(runs)) for tensor in space.einsum.tensors}
        subsets = [frozenset(s) for size in range(len(names) + 1) for s in itertools.combinations(names, size)]
        usable = storage.usable_words
        masks.append([
            mask for mask in subsets
            if usable is None
            or math.ceil(storage.min_utilization * usable) <= sum(words[name] for name in mask) <= usable
        ])  # fmt: skip
    for chosen in itertools.product(*masks):
        if frozenset().union(*chosen) < frozenset(names):
            continue
        mapping = Mapping(levels=tuple(replace(each, keep=mask) for each, mask in zip(levels, chosen, strict=True)))
        if space.holds(mapping):
            try:
                check_mapping(space.einsum, space.architecture, mapping)
            except InfeasibleError:
                return False
            return True
    return False


def explained(space: MapSpace, message: str, *, level: str, need: int, capacity: int) -> InfeasibleError:
    """Assert that there is no mapping, and that this is the reason given."""
    error = explain_infeasible(space)
    with pytest.raises(InfeasibleError, match=message):
        raise error
    assert (error.level, error.need, error.capacity) == (level, need, capacity)
    assert not is_feasible(space)
    return error


def test_a_main_memory_that_cannot_hold_the_whole_tensors() -> None:
    # A 4 x 6, B 6 x 2, Z 4 x 2: 24 + 12 + 8 words.
    chip = machine(StorageLevel(name="DRAM", capacity_words=40), StorageLevel(name="RF"))
    explained(
        told(MATMUL, chip),
        r"mapspace of matmul on toy, level DRAM: it must hold whole tensors, but is too small \(got 44 words: "
        r"A 24 \(4 x 6\), B 12 \(6 x 2\), Z 8 \(4 x 2\), expected at most 40 words\)\. Enlarge DRAM to at least 44 "
        r"words or let A bypass it\.$",
        level="DRAM", need=44, capacity=40,
    )  # fmt: skip
    assert is_feasible(told(MATMUL, machine(replace(chip.levels[0], capacity_words=44), chip.levels[1])))
    assert is_feasible(told(MATMUL, chip, DRAM=LevelConstraints(bypass=frozenset("A"))))


def test_no_other_level_can_take_a_tensor_of_the_only_one() -> None:
    explained(told(MATMUL, machine(StorageLevel(name="DRAM", capacity_words=40))),
              r"Enlarge DRAM to at least 44 words\.$", level="DRAM", need=44, capacity=40)  # fmt: skip


def test_a_chip_buffer_that_must_hold_a_whole_tensor_for_itself() -> None:
    # The result stays on the chip, and no loop outside cuts it.
    chip = machine(DRAM, StorageLevel(name="GLB", capacity_words=7))
    space = told(MATMUL, chip, DRAM=LevelConstraints(bypass=frozenset("Z"), temporal_bounds={"m": 1, "n": 1}))
    explained(space, r"level GLB: it must hold whole tensors, .*got 8 words: Z 8 \(4 x 2\), expected at most 7 words.*"
              r"Enlarge GLB to at least 8 words, let another level keep Z, or free the bounds? of m "
              r"\(m=1 in time at DRAM\)", level="GLB", need=8, capacity=7)  # fmt: skip


def test_bounds_at_and_inside_a_level_make_its_tiles_too_large() -> None:
    # k: 3 in time at RF and 2 over its children; m and n 1. A 1 x 6, B 6 x 1, Z 1 x 1.
    rf = StorageLevel(name="RF", capacity_words=16, multiple_buffering=2, fanout_x=2)
    space = told(MATMUL, machine(DRAM, rf),
                 RF=replace(keeping("ABZ", k=3), spatial_bounds={"k": 2}))  # fmt: skip
    explained(
        space,
        r"level RF: the smallest tiles of what it must keep do not fit \(got 13 words: A 6 \(1 x 6\), B 6 \(6 x 1\), "
        r"Z 1 \(1 x 1\), expected at most 8 words\)\. Enlarge RF to at least 26 words, let A bypass it, or free the "
        r"bound of k \(k=3 in time at RF, k=2 over the children of RF\)\.$",
        level="RF", need=13, capacity=8,
    )  # fmt: skip
    enough = replace(rf, capacity_words=26)
    assert is_feasible(replace(space, architecture=machine(DRAM, enough)))
    assert not is_feasible(replace(space, architecture=machine(DRAM, replace(enough, capacity_words=25))))
    assert is_feasible(told(MATMUL, machine(DRAM, rf), RF=replace(keeping("BZ", k=3), spatial_bounds={"k": 2})))
    assert is_feasible(told(MATMUL, machine(DRAM, rf), RF=keeping("ABZ")))


def test_limits_outside_a_level_make_its_tiles_too_large() -> None:
    # DRAM cuts m by 2 at the most and n not at all: Z is at least 2 x 2 below.
    space = told(MATMUL, machine(DRAM, StorageLevel(name="RF", capacity_words=3)), RF=keeping("Z"),
                 DRAM=LevelConstraints(temporal_limits={"m": (1, 2)}, temporal_bounds={"n": 1}))  # fmt: skip
    explained(space, r"level RF: .*got 4 words: Z 4 \(2 x 2\), expected at most 3 words.*or free the bound of m "
              r"\(m<=2 in time at DRAM\)\.$", level="RF", need=4, capacity=3)  # fmt: skip


def test_single_words_that_do_not_fit_leave_no_bound_to_free() -> None:
    explained(told(MATMUL, machine(DRAM, StorageLevel(name="RF", capacity_words=2)), RF=keeping("ABZ")),
              r"got 3 words: A 1 \(1 x 1\), .*Enlarge RF to at least 3 words or let A bypass it\.$",
              level="RF", need=3, capacity=2)  # fmt: skip


def test_two_tensors_and_two_bounds_where_one_is_not_enough() -> None:
    space = told(MATMUL, machine(DRAM, StorageLevel(name="RF", capacity_words=2)), RF=keeping("ABZ", m=2, n=2))
    # A 2 x 1, B 1 x 2, Z 2 x 2.
    explained(space, r"Enlarge RF to at least 8 words or let A and Z bypass it\.$", level="RF", need=8, capacity=2)


def test_a_window_is_as_long_as_its_rank_variables_reach() -> None:
    # p = 2 and r = 3 touch I[0..3]: 2 + 3 - 1 words.
    space = told(WINDOW, machine(DRAM, StorageLevel(name="RF", capacity_words=8)), RF=keeping("IWO", p=2, r=3))
    explained(space, r"got 9 words: I 4 \(4\), W 3 \(3\), O 2 \(2\), expected at most 8 words", level="RF", need=9,
              capacity=8)  # fmt: skip


def test_a_tensor_that_only_one_level_may_keep_counts_there() -> None:
    everything = LevelConstraints(bypass=frozenset("A"), temporal_bounds={"m": 1, "k": 1})
    space = told(MATMUL, machine(DRAM, StorageLevel(name="GLB"), StorageLevel(name="RF", capacity_words=23)),
                 DRAM=everything, GLB=everything)  # fmt: skip
    explained(space, r"level RF: it must hold whole tensors, .*got 24 words: A 24 \(4 x 6\).*let another level keep A",
              level="RF", need=24, capacity=23)  # fmt: skip


@pytest.mark.parametrize(
    ("demands", "message", "need", "capacity", "level"),
    [
        ({"DRAM": only(k=2), "RF": only(k=2)}, r"toy: the bounds fixed for k multiply to what does not divide its "
         r"extent \(got 4: k=2 in time at DRAM, k=2 in time at RF, expected a divisor of 6\)", 4, 6, "RF"),
        ({"RF": only(k=12)}, r"the bounds fixed for k .*got 12: k=12 in time at RF, expected a divisor of 6", 12, 6,
         "RF"),
        ({"DRAM": LevelConstraints(temporal_limits={"k": (3, None)}), "RF": only(k=3)},
         r"the least bounds of k multiply to more than its extent \(got 9: k>=3 in time at DRAM, k=3 in time at RF, "
         r"expected at most 6\)\. Lower", 9, 6, "RF"),
        ({"DRAM": LevelConstraints(temporal_limits={"k": (1, 2)}), "GLB": only(k=1),
          "RF": LevelConstraints(temporal_limits={"k": (1, 2)})},
         r"the largest bounds that k may have multiply to less than its extent \(got 4: 2 in time at DRAM, 1 in time "
         r"at GLB, 2 in time at RF, expected 6\)\. Raise", 6, 4, "GLB"),
        ({"DRAM": LevelConstraints(temporal_limits={"k": (1, 2)}), "GLB": only(k=2), "RF": only(k=1)},
         r"the largest bounds that k may have multiply to less", 6, 4, "RF"),
        ({"DRAM": LevelConstraints(temporal_limits={"k": (4, 5)})},
         r"no bounds within the limits of k multiply to its extent \(got k>=4 in time at DRAM, expected bounds that "
         r"multiply to 6\)\. Free", 6, 0, "DRAM"),
    ],
)  # fmt: skip
def test_bounds_that_do_not_multiply_to_the_extent(
    demands: dict[str, LevelConstraints], message: str, need: int, capacity: int, level: str
) -> None:
    space = told(MATMUL, machine(DRAM, StorageLevel(name="GLB"), StorageLevel(name="RF")), **demands)
    explained(space, message, level=level, need=need, capacity=capacity)


GRID = StorageLevel(name="GLB", fanout_x=4, fanout_y=2)


@pytest.mark.parametrize(
    ("demand", "message", "need", "capacity"),
    [
        # m 4 * k 3
        (LevelConstraints(spatial_bounds={"m": 4, "k": 3}), r"level GLB: the spatial bounds demanded exceed its mesh "
         r"\(got 12: m=4 over the children of GLB, k=3 over the children of GLB, expected at most 4 x 2 children\)", 12,
         8),
        # The least divisor of 6 from 4 on is 6: alone along x.
        (LevelConstraints(spatial_limits={"k": (4, None)}), r"demanded fit its mesh in no arrangement \(got 6 along x: "
         r"k>=4 over the children of GLB, expected at most 4 children along x\)\..*or allow .* both axes", 6, 4),
        (LevelConstraints(spatial_bounds={"m": 2, "n": 2}, spatial_order=("n", "m"), split=0),
         r"demanded do not fit along y \(got 4 along y: m=2 .*, n=2 .*expected at most 2 children along y\)\. "
         r"Lower one of them, or change the split", 4, 2),
        # 3 takes x; 2 takes y; the second 2 is left over.
        (LevelConstraints(spatial_bounds={"k": 3, "m": 2}, spatial_order=("k", "m"), split=2),
         r"demanded do not fit along x \(got 6 along x: m=2", 6, 4),
    ],
)  # fmt: skip
def test_spatial_bounds_beyond_the_mesh(demand: LevelConstraints, message: str, need: int, capacity: int) -> None:
    space = told(MATMUL, machine(DRAM, GRID), GLB=demand)
    explained(space, message, level="GLB", need=need, capacity=capacity)


def test_a_bound_may_need_both_axes() -> None:
    einsum = parse_einsum("z[m] = a[m]", extents={"m": 16})
    chip = machine(DRAM, replace(GRID, fanout_x=4, fanout_y=4))
    demand = LevelConstraints(spatial_bounds={"m": 8})
    explained(told(einsum, chip, GLB=demand), "or allow a rank variable to run along both axes", level="GLB", need=8,
              capacity=4)  # fmt: skip
    assert is_feasible(told(einsum, chip, GLB=demand, both_axes=True))
    chip = machine(DRAM, replace(GRID, fanout_x=2, fanout_y=2))
    space = told(parse_einsum("z[m] = a[m]", extents={"m": 9}), chip, both_axes=True,
                 GLB=LevelConstraints(spatial_bounds={"m": 3}))  # fmt: skip
    explained(space, "fit its mesh in no arrangement .*or demand one of another level than GLB", level="GLB", need=3,
              capacity=2)  # fmt: skip


def test_what_the_bounds_in_time_leave_to_the_meshes() -> None:
    # m 4 and n 2 have nowhere else to go than the mesh of 4, on which each alone would fit.
    chip = machine(DRAM, StorageLevel(name="GLB", fanout_x=4))
    space = told(MATMUL, chip, DRAM=only(m=1, n=1), GLB=only(m=1, n=1))
    explained(space, r"toy: the meshes cannot take what the bounds in time leave to them \(got 8 units: m 4, n 2, "
              r"expected at most 4 units\)\. Raise or free a bound in time \(m=1 in time at DRAM, n=1 in time at ",
              level="GLB", need=8, capacity=4)  # fmt: skip


def test_parallelism_that_no_divisors_reach() -> None:
    # Of 5 x 3 children, k takes 3 along either axis and m 4 along x: 4 * 3 of 15.
    chip = machine(DRAM, StorageLevel(name="GLB", fanout_x=5, fanout_y=3))
    space = told(MATMUL, chip, min_parallelism=0.9)
    explained(space, r"toy: fewer compute units can work at once than min_parallelism demands \(got at most 12 of 15 "
              r"units, expected at least 14, a share of 0.9\)\. Lower min_parallelism to 12/15, .*: only 12 of the 15 "
              r"children of GLB can\.$", level="GLB", need=14, capacity=12)  # fmt: skip
    assert is_feasible(told(MATMUL, chip, min_parallelism=12 / 15))
    # Either mesh alone would take all of m; together they have only one m to share.
    einsum = parse_einsum("z[m] = a[m]", extents={"m": 4})
    space = told(einsum, machine(DRAM, StorageLevel(name="GLB", fanout_x=4), StorageLevel(name="RF", fanout_x=4)),
                 min_parallelism=0.5)  # fmt: skip
    explained(space, r"got at most 4 of 16 units.*: one mesh takes from the next\.$", level="RF", need=8, capacity=4)
    # 2 of m at each of two meshes would be 4, which does not divide 6.
    space = told(parse_einsum("z[m] = a[m]", extents={"m": 6}), machine(replace(DRAM, fanout_x=2), StorageLevel(
        name="GLB", fanout_x=2)), min_parallelism=0.75)  # fmt: skip
    explained(space, r"got at most 2 of 4 units", level="GLB", need=3, capacity=2)


def test_a_utilisation_that_no_tiles_reach() -> None:
    # All of A, B and Z are 44 words, a fifth of 200 is 40; half is 100.
    chip = machine(DRAM, StorageLevel(name="RF", capacity_words=200, min_utilization=0.5))
    explained(told(MATMUL, chip), r"level RF: no tiles that it may hold fill its min_utilization of 0.5 \(model "
              r"section 2\) \(got at most 44 words, expected at least 100 of 200 words\)\. Lower min_utilization",
              level="RF", need=100, capacity=200)  # fmt: skip
    assert is_feasible(told(MATMUL, machine(DRAM, replace(chip.levels[1], min_utilization=0.2))))
    # Z is 1, 2, 4 or 8 words: of 7, at most 4, which is less than 5.
    chip = machine(DRAM, StorageLevel(name="RF", capacity_words=7, min_utilization=0.7))
    explained(told(MATMUL, chip, RF=LevelConstraints(bypass=frozenset("AB"))), r"got at most 4 words, expected at "
              r"least 5 of 7 words", level="RF", need=5, capacity=7)  # fmt: skip


def test_a_tensor_that_every_level_bypasses() -> None:
    away = LevelConstraints(bypass=frozenset("B"))
    chip = machine(DRAM, replace(DRAM, name="inter", is_virtual=True), StorageLevel(name="RF"))
    explained(told(MATMUL, chip, DRAM=away, RF=away), r"no level may keep B \(got bypassed at DRAM, RF, expected kept "
              r"by one level at least \(model section 2.4\)\)\. Let DRAM keep it", level="DRAM", need=12,
              capacity=0)  # fmt: skip
    both = LevelConstraints(keep=frozenset("AB"), bypass=frozenset("B"))
    explained(told(MATMUL, chip, RF=both), r"level RF: told to keep and to bypass the same tensors \(got B", level="RF",
              need=12, capacity=0)  # fmt: skip


def together() -> MapSpace:
    """A and Z have 7 words in GLB and 3 in RF, k = 2 * 3 fills them, and half of the mesh wants m or n beside it."""
    chip = machine(DRAM, StorageLevel(name="GLB", capacity_words=7, fanout_x=4), StorageLevel(name="RF",
                   capacity_words=3))  # fmt: skip
    return told(MATMUL, chip, GLB=replace(keeping("AZ"), temporal_bounds={"k": 3}), RF=keeping("AZ", k=2),
                min_parallelism=0.5)  # fmt: skip


def test_demands_that_only_clash_together() -> None:
    # Half of the 4 children: m = 2 gives A 2 x 6 at GLB; n = 2 gives A 1 x 6 and Z 1 x 2: 8 words. GLB has 7.
    space = together()
    explained(space, r"toy: its demands can be met one by one, but not together; GLB is the tightest level, where what "
              r"must be kept needs at least 7 of 7 words \(got no valid mapping, expected at least one\)\. Try without "
              r"the loop constraints at GLB first\.$", level="GLB", need=7, capacity=7)  # fmt: skip
    assert is_feasible(replace(space, min_parallelism=0.0))
    asked: list[MapSpace] = []

    def never(relaxed: MapSpace) -> bool:
        asked.append(relaxed)
        return False

    found = explain_infeasible(space, is_feasible=is_feasible)
    assert str(found).endswith("Relax the loop constraints at GLB: then there is a mapping.")
    hopeless = str(explain_infeasible(space, is_feasible=never))
    assert hopeless.endswith(
        "Relax two of them, one alone is not enough: the loop constraints at GLB, the loop constraints at RF, what "
        "must be kept or bypassed at GLB, what must be kept or bypassed at RF, the capacity of GLB and 2 more."
    )
    assert len(asked) == 7
    assert [relaxed.architecture.levels[1].capacity_words for relaxed in asked] == [7, 7, 7, 7, None, 7, 7]
    assert [relaxed.min_parallelism for relaxed in asked] == [0.5] * 6 + [0.0]
    assert asked[0].demand(1) == LevelConstraints(keep=frozenset("AZ")), "what is kept stays"
    assert asked[2].demand(1) == only(k=3), "the loops stay"


@pytest.mark.parametrize(
    ("group", "named"),
    [(0, "the loop constraints at GLB"), (3, "what must be kept or bypassed at RF"), (4, "the capacity of GLB"),
     (6, "min_parallelism")],
)  # fmt: skip
def test_the_first_relaxation_that_leaves_a_mapping_is_named(group: int, named: str) -> None:
    seen = itertools.count()
    error = explain_infeasible(together(), is_feasible=lambda _: next(seen) == group)
    assert f"Relax {named}: then there is a mapping." in str(error)


def test_long_lists_are_cut() -> None:
    levels = [StorageLevel(name=f"L{place}") for place in range(8)]
    space = told(MATMUL, machine(*levels), **{level.name: only(k=2) for level in levels})
    assert "k=2 in time at L4 and 3 more, expected" in str(explain_infeasible(space))


def random_space(rng: np.random.Generator) -> MapSpace:
    text, m, k = [("z[m] = a[m,k] * x[k]", (2, 4, 6), (1, 3, 4)), ("o[m] = i[m+k] * w[k]", (3, 4), (2, 3))][
        int(rng.integers(2))
    ]
    einsum = parse_einsum(text, extents={"m": int(rng.choice(m)), "k": int(rng.choice(k))})
    names = [tensor.name for tensor in einsum.tensors]
    levels, demands = [], {}
    for place in range(int(rng.integers(1, 4))):
        is_bounded = rng.random() < (0.2 if place == 0 else 0.7)
        level = StorageLevel(
            name=f"L{place}",
            capacity_words=int(rng.integers(1, 40 if place == 0 else 16)) if is_bounded else None,
            min_utilization=float(rng.choice([0, 0, 0.3, 0.8])),
            multiple_buffering=float(rng.choice([1, 1, 1.5])),
            fanout_x=int(rng.choice([1, 1, 2, 3])),
            fanout_y=int(rng.choice([1, 1, 2])),
            is_virtual=bool(place == 1 and rng.random() < 0.2),
        )
        levels.append(level)
        bounds, limits = ({}, {}), ({}, {})
        for kind in (0, 1):
            for var in einsum.rank_vars:
                draw = rng.random()
                if draw < 0.15:
                    bounds[kind][var] = int(rng.choice([1, 2, 3]))
                elif draw < 0.3:
                    limits[kind][var] = [(1, 2), (2, None), (1, 3), (2, 3)][int(rng.integers(4))]
        lists = [frozenset(name for name in names if rng.random() < share) for share in (0.3, 0.15)]
        demands[level.name] = LevelConstraints(
            keep=lists[0] - lists[1], bypass=lists[1], temporal_bounds=bounds[0], spatial_bounds=bounds[1],
            temporal_limits=limits[0], spatial_limits=limits[1],
            temporal_order=("m",) if rng.random() < 0.2 else None,
            spatial_order=("k", "m") if rng.random() < 0.3 else None, split=int(rng.integers(3)),
        )  # fmt: skip
        if rng.random() < 0.5:
            demands[level.name] = LevelConstraints(keep=lists[0] - lists[1], bypass=lists[1])
    return told(einsum, machine(*levels), both_axes=bool(rng.random() < 0.3),
                min_parallelism=float(rng.choice([0, 0, 0.5, 1])), **demands)  # fmt: skip


def test_no_reason_is_given_against_a_space_that_has_a_mapping() -> None:
    rng = np.random.default_rng(7)
    proofs = together = feasible = 0
    for _ in range(150):
        space = random_space(rng)
        error = explain_infeasible(space)
        only_together = "can be met one by one, but not together" in str(error)
        if is_feasible(space):
            assert only_together, f"{error}\n{space}"
            feasible += 1
        elif only_together:
            together += 1
        else:
            proofs += 1
        assert error.level in [level.name for level in space.architecture.levels]
    assert feasible > 40
    assert proofs > 80
    assert proofs > 20 * together, "most clashes have a reason of their own"
