"""A mapspace of any einsum as the plain arrays that the general search runs on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import InfeasibleError, describe
from heat_sim.mapper.general_orders import Order, distinct_orders
from heat_sim.mapper.space import MapSpace
from heat_sim.model.nest import coefficients_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Problem(NamedTuple):
    """The space as arrays: L storage levels, T tensors of at most D ranks, V rank variables; unused entries are 0.

    A virtual level belongs to the storage level outside it, whose children are then spread over several meshes. A tile
    is a number: its extents are one divisor per rank variable, the number is that of their places in `divisors` by
    `radix`. Bounds over children are a row of `mesh`, an order of loops a row of `orders`, what a level keeps a column
    of `keep` with one bit per tensor. A *configuration* of a level says where the parent of each tensor is: the
    innermost level, at or outside this one, that keeps it.

    Attributes:
        extents: (V,).
        divisors: (V, .) of each extent, ascending.
        radix: (V, 2) stride, and number of divisors.
        coefficient: (T, D, V) of the projections.
        plain: (T,).
        relevant: (T, V).
        covers: (T, V, V) whether the second rank variable moves the box along all ranks the first does.
        hardware: (L, 8) as `model.batch` has it: words per access; read, write, update and leakage energy; read, write
            and shared bandwidth.
        capacity: (L, 2) usable words (-1 is unbounded), and the least to be used.
        temporal: (L, V, 2) the least and the most that a bound in time may be.
        inner: (L, V) the place of each rank variable among those that must be innermost; V if it is free.
        counts: (L + 1, 4) how many meshes, spreads, choices of what is kept, and configurations each level has.
        mesh: (L, G, V) bounds over the children of a level, all axes and meshes together.
        parts: (L, G, M, V) the same, mesh by mesh, outermost first.
        units: (L, G) children in use.
        spread: (L + 1, S) the numbers of compute units that the meshes at and inside a level can make of an instance.
        spread_of: (L, G, S) which entry of `spread` the mesh makes of each entry further in.
        keep: (L, K) one bit per tensor.
        parent: (L, C, T) per configuration of the level; -1 if nothing keeps the tensor so far.
        step: (L, C, K) the configuration of the level that a configuration of the level before and a choice make.
        orders: (O, V) innermost first, -1 after the last loop.
        order_range: (L, 2 ** V, 2) where those of a set of loops begin and end.
        place: (L,) of each storage level among all levels.
        all_hardware: As `hardware`, with virtual levels.
        all_limits: As `model.batch` has them, with virtual levels and meshes that hold everything.
        ops: Of the einsum.
        latency: Cycles of the networks.
        compute_energy_pj: Of all ops.
        least_units: Compute units to be used at least.
        stalls: Whether any bandwidth is finite.
    """

    extents: Ints
    divisors: Ints
    radix: Ints
    coefficient: Ints
    plain: Flags
    relevant: Flags
    covers: Flags
    hardware: Floats
    capacity: Ints
    temporal: Ints
    inner: Ints
    counts: Ints
    mesh: Ints
    parts: Ints
    units: Ints
    spread: Ints
    spread_of: Ints
    keep: Ints
    parent: Ints
    step: Ints
    orders: Ints
    order_range: Ints
    place: Ints
    all_hardware: Floats
    all_limits: Ints
    ops: int
    latency: int
    compute_energy_pj: float
    least_units: float
    stalls: bool


Layout = tuple[Order, Order]
"""Bounds of one mesh along x and along y."""


def lower_space(space: MapSpace) -> tuple[Problem, list[list[tuple[Layout, ...]]]]:
    """Return the arrays of a space, and per storage level the layouts that the rows of `Problem.mesh` stand for.

    Raises:
        HeatError: Counts could exceed 64 bits.
        InfeasibleError: No bounds over the children of a level are allowed.
    """
    einsum, machine = space.einsum, space.architecture
    levels, names = machine.levels, einsum.rank_vars
    places = [place for place, level in enumerate(levels) if not level.is_virtual]
    storages = [levels[place] for place in places]
    coefficient, plain = coefficients_of(einsum)
    divisors = [[d for d in range(1, extent + 1) if extent % d == 0] for _, extent in einsum.extents]
    counts = [len(each) for each in divisors]
    routes = any(level.router_energy_pj for level in levels)
    wires = routes or any(level.hop_energy_pj for level in levels)
    layouts = [
        _layouts(space, range(place, after), divisors=divisors, merge=not wires)
        for place, after in itertools.pairwise([*places, len(levels)])
    ]
    if not all(layouts):
        raise nothing_fits(space)
    parts = [
        [[[a * b for a, b in zip(x, y, strict=True)] for x, y in row] for row in here] for here in layouts
    ]  # fmt: skip
    meshes = [[[math.prod(bounds) for bounds in zip(*row, strict=True)] for row in here] for here in parts]
    units = [[math.prod(row) for row in here] for here in meshes]
    spreads = [[1]]
    for here in reversed(units):
        spreads.append(sorted({count * inner for count in here for inner in spreads[-1]}))
    spreads.reverse()
    keeps = [
        [sum(1 << t for t, tensor in enumerate(einsum.tensors) if tensor.name in kept)
         for kept in space.keep_options(place)]
        for place in places
    ]  # fmt: skip
    parents, steps = _configurations(keeps, tensors=len(einsum.tensors))
    orders, order_range = _orders(space, places, coefficient=coefficient, plain=plain.tolist(), merge=not routes)
    rates = [
        [
            np.inf if bandwidth is None else bandwidth
            for bandwidth in (
                level.read_bandwidth_words_per_cycle, level.write_bandwidth_words_per_cycle,
                level.shared_bandwidth_words_per_cycle,
            )
        ]
        for level in levels
    ]  # fmt: skip
    hardware = np.array(
        [
            [level.words_per_access, level.read_energy_pj, level.write_energy_pj, level.update_energy_pj,
             level.leakage_energy_pj_per_cycle, *rate]
            for level, rate in zip(levels, rates, strict=True)
        ]
    )  # fmt: skip
    capacity = [
        [-1 if level.usable_words is None else level.usable_words,
         math.ceil(level.min_utilization * (level.usable_words or 0))]
        for level in levels
    ]  # fmt: skip
    ranks = coefficient > 0
    return Problem(
        extents=np.array([extent for _, extent in einsum.extents], dtype=np.int64),
        divisors=_padded(divisors),
        radix=np.array([(math.prod(counts[:v]), count) for v, count in enumerate(counts)], dtype=np.int64),
        coefficient=coefficient,
        plain=plain,
        relevant=np.any(ranks, axis=1),
        covers=np.all(ranks[:, :, :, None] <= ranks[:, :, None, :], axis=1),
        hardware=hardware[places],
        capacity=np.array([capacity[place] for place in places], dtype=np.int64),
        temporal=np.array([[space.temporal_limit(place, var) for var in names] for place in places], dtype=np.int64),
        inner=np.array(
            [[(*space.inner_order(place), *names).index(var) if var in space.inner_order(place) else len(names)
              for var in names] for place in places], dtype=np.int64,
        ),
        counts=_padded(
            [*([len(e) for e in here] for here in zip(layouts, spreads[:-1], keeps, parents, strict=True)), [0, 1]]
        ),
        mesh=_padded(meshes, fill=1),
        parts=_padded(parts, fill=1),
        units=_padded(units, fill=1),
        spread=_padded(spreads),
        spread_of=_padded(
            [
                [[spreads[level].index(count * inner) for inner in spreads[level + 1]] for count in here]
                for level, here in enumerate(units)
            ]
        ),
        keep=_padded(keeps),
        parent=_padded([list(map(list, each)) for each in parents]),
        step=_padded(steps),
        orders=orders,
        order_range=order_range,
        place=np.array(places, dtype=np.int64),
        all_hardware=hardware,
        all_limits=np.array(
            [[usable, einsum.ops, einsum.ops, level.is_virtual, least]
             for level, (usable, least) in zip(levels, capacity, strict=True)], dtype=np.int64,
        ),
        ops=einsum.ops,
        latency=sum(level.network_fill_latency_cycles + level.network_drain_latency_cycles for level in levels),
        compute_energy_pj=einsum.ops * machine.compute_energy_pj,
        least_units=space.min_parallelism * machine.peak_ops_per_cycle,
        stalls=any(rate != np.inf for level in storages for rate in (
            level.read_bandwidth_words_per_cycle or np.inf, level.write_bandwidth_words_per_cycle or np.inf,
            level.shared_bandwidth_words_per_cycle or np.inf,
        )),
    ), layouts  # fmt: skip


def nothing_fits(space: MapSpace) -> InfeasibleError:
    """Return the error to raise if no mapping of the space fits; who wants to know why has to look further."""
    level = space.architecture.levels[0]
    return InfeasibleError(
        describe(
            f"mapping of {space.einsum.name} on {space.architecture.name}", "nothing in the space fits",
            got="no mapping", expected="at least one", remedy="Enlarge the levels or relax the constraints.",
        ),
        level=level.name, need=0, capacity=level.usable_words or 0,
    )  # fmt: skip


def _padded(rows: Sequence[object], *, fill: int = 0) -> Ints:
    """Return nested lists of unequal lengths as one array."""

    def shape(part: object) -> tuple[int, ...]:
        if not isinstance(part, list | tuple):
            return ()
        inner = [shape(each) for each in part]
        return (len(part), *(max(sizes) for sizes in itertools.zip_longest(*inner, fillvalue=0)))

    def put(into: Ints, part: object) -> None:
        if isinstance(part, list | tuple):
            for place, each in enumerate(part):
                if isinstance(each, list | tuple):
                    put(into[place], each)
                else:
                    into[place] = each

    padded = np.full(shape(rows), fill, dtype=np.int64)
    put(padded, rows)
    return padded


def _layouts(
    space: MapSpace, places: range, *, divisors: Sequence[Sequence[int]], merge: bool
) -> list[tuple[Layout, ...]]:
    """Return the ways to lay loops over the meshes of a level and of the virtual levels after it."""
    found = []
    for row in itertools.product(*(_meshes(space, place, divisors=divisors, merge=merge) for place in places)):
        totals = [math.prod(bounds) for bounds in zip(*(part for layout in row for part in layout), strict=True)]
        if all(sizes[-1] % total == 0 for sizes, total in zip(divisors, totals, strict=True)):
            found.append(row)
    return found


def _meshes(space: MapSpace, place: int, *, divisors: Sequence[Sequence[int]], merge: bool) -> list[Layout]:
    """Return the bounds along x and along y that one mesh may have.

    With `merge` one layout stands for all with the same bound of every rank variable over both axes together, since no
    count depends on the axes (model section 2.2).
    """
    storage = space.architecture.levels[place]
    found: list[Layout] = [((), ())]
    for var, sizes in zip(space.einsum.rank_vars, divisors, strict=True):
        least, most = space.spatial_limit(place, var)
        axes = space.axes(place, var)
        options = [
            (x, y)
            for x in sizes
            for y in sizes
            if least <= x * y <= most
            and sizes[-1] % (x * y) == 0
            and (space.both_axes or x == 1 or y == 1)
            and (x == 1 or "x" in axes)
            and (y == 1 or "y" in axes)
        ]
        wider: dict[object, Layout] = {}
        for (xs, ys), (x, y) in itertools.product(found, options):
            along_x = math.prod(xs) * x
            if along_x <= storage.fanout_x and math.prod(ys) * y <= storage.fanout_y:
                totals = tuple(a * b for a, b in zip((*xs, x), (*ys, y), strict=True))
                # Given the totals, what is used along x says what is used along y.
                wider.setdefault((totals, along_x) if merge else (*xs, x, *ys, y), ((*xs, x), (*ys, y)))
        found = list(wider.values())
    if merge:
        found = list({tuple(a * b for a, b in zip(x, y, strict=True)): (x, y) for x, y in found}.values())
    return found


def _configurations(
    keeps: Sequence[Sequence[int]], *, tensors: int
) -> tuple[list[list[tuple[int, ...]]], list[list[list[int]]]]:
    """Return the configurations of each level, and those that the choices make of the ones of the level before."""
    before: list[tuple[int, ...]] = [(-1,) * tensors]
    parents, steps = [], []
    for place, here in enumerate(keeps):
        made = [[tuple(place if kept >> t & 1 else old[t] for t in range(tensors)) for kept in here] for old in before]
        after = sorted({each for row in made for each in row})
        numbers = {each: number for number, each in enumerate(after)}
        steps.append([[numbers[each] for each in row] for row in made])
        parents.append(after)
        before = after
    return parents, steps


def _orders(
    space: MapSpace, places: Sequence[int], *, coefficient: Ints, plain: list[bool], merge: bool
) -> tuple[Ints, Ints]:
    """Return the orders of every set of loops at every storage level, and where each set begins and ends."""
    names = space.einsum.rank_vars
    rows: list[Order] = []
    known: dict[object, tuple[int, int]] = {}
    ranges = np.zeros((len(places), 1 << len(names), 2), dtype=np.int64)
    splittable = sum(1 << number for number, (_, extent) in enumerate(space.einsum.extents) if extent > 1)
    for level, place in enumerate(places):
        inner = tuple(names.index(var) for var in space.inner_order(place))
        # Loops at the innermost level are outside nothing that could stay in place (model section 3.4).
        inside = min(len(places) - 1 - level, 2)
        for chosen in range(1 << len(names)):
            if chosen & ~splittable:
                continue
            loops = tuple(var for var in range(len(names)) if chosen >> var & 1)
            if (loops, inner, inside) not in known:
                found = distinct_orders(
                    loops, coefficient=coefficient, plain=plain, inner=inner, merge=merge, last=inside <= 1
                )
                found = found[:1] if inside == 0 else found
                known[loops, inner, inside] = len(rows), len(rows) + len(found)
                rows += [(*order, *[-1] * (len(names) - len(order))) for order in found]
            ranges[level, chosen] = known[loops, inner, inside]
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(names)), ranges
