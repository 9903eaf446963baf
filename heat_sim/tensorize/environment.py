"""What surrounds one core in a product: its normal equations, and the Gram matrices that make them easy to solve.

With the identity for a metric, the normal equations of a core are its own array times, rank by rank, the Gram matrices
of the parts into which the product falls when the core is taken out. Their inverses are the exact solution then, and
a good preconditioner for every metric near the identity.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import opt_einsum
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec, Term
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.term_arrays import contract

Array = NDArray[np.float64]

WORD_WRITTEN = 512
"""Multiplications that take as long as a word of a product takes to be written and read again."""
LARGEST_GRAM = 1024
"""Rows of a Gram matrix that is still inverted; a larger one is replaced by its diagonal."""
RIDGE = 1e-10
"""Of a Gram matrix's mean diagonal, added to it: unused ranks have nothing but zeros."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preconditioner:
    """The inverse of the Gram matrices around a core.

    Attributes:
        steps: For each part: the axes of the core that are batched, those that its matrix mixes, and the inverse,
            (batch..., mixed, mixed), or (batch..., mixed) if only the diagonal is kept.
    """

    steps: tuple[tuple[tuple[int, ...], tuple[int, ...], Array], ...]

    def __call__(self, core: Array) -> Array:
        """Return the preconditioned array, the shape of the core."""
        for batch, mixed, inverse in self.steps:
            rest = tuple(axis for axis in range(core.ndim) if axis not in batch + mixed)
            order = batch + mixed + rest
            moved = core.transpose(order)  # (batch..., mixed..., rest...)
            leading = moved.shape[: len(batch)]
            flat = moved.reshape(*leading, inverse.shape[len(batch)], -1)
            solved = inverse @ flat if inverse.ndim == len(batch) + 2 else inverse[..., None] * flat
            core = solved.reshape(moved.shape).transpose(np.argsort(order))
        return core


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """A product of the array that changes with one that does not.

    Attributes:
        order: Axes of the changing array, those that are batched first, then its own, then those that are summed.
        shape: What they are reshaped to, (batch, own, summed).
        known: The other array, (batch, summed, its own).
        product_shape: What the product, (batch, own, its own), is reshaped to.
    """

    order: tuple[int, ...]
    shape: tuple[int, int, int]
    known: Array
    product_shape: tuple[int, ...]

    def __call__(self, changing: Array) -> Array:
        left = changing.transpose(self.order).reshape(self.shape)
        product = left @ self.known if self.shape[2] > 1 else left * self.known
        return product.reshape(self.product_shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NormalOperator:
    """The left-hand side of a core's normal equations.

    Attributes:
        steps: From the core on.
        order: Axes of the last product in the order of the core.
        work_once: Multiplications, and words written with their weight, that it took to make the known arrays.
        work: The same of a call.
    """

    steps: tuple[_Step, ...]
    order: tuple[int, ...]
    work_once: int
    work: int

    def __call__(self, core: Array) -> Array:
        """Return the adjoint of ``D W(core) C``, the shape of the core."""
        for step in self.steps:
            core = step(core)
        return core.transpose(self.order)


def normal_operator(term: Term, cores: Sequence[Array], which: int, metric: Metric) -> NormalOperator:
    """Return what takes core `which`, whatever its numbers, to the adjoint of ``D W(core) C``.

    Moments and cores are multiplied in the order of the least work: the matrix is built only where nothing is cheaper,
    and what does not depend on the core is worked out once.
    """
    operands, output = _around(term, cores, which, metric)
    own = term.cores[which]
    names = (own.rank_vars, *(vars_ for _, vars_ in operands), output)
    shapes = (own.shape, *(array.shape for array, _ in operands))
    extents = {
        var: size for vars_, shape in zip(names, shapes, strict=False) for var, size in zip(vars_, shape, strict=True)
    }

    def sized(vars_: Sequence[str]) -> tuple[int, ...]:
        return tuple(extents[var] for var in vars_)

    held: list[tuple[Array | None, tuple[str, ...]]] = [(None, own.rank_vars), *operands]
    steps = []
    work_once = work = 0
    for places in _path(names, shapes):
        # None, the array that changes, comes last.
        joined = sorted((held[place] for place in places), key=lambda pair: pair[0] is None)
        held = [pair for place, pair in enumerate(held) if place not in places]
        left = {var for _, vars_ in held for var in vars_} | set(output)
        met = tuple(dict.fromkeys(var for _, vars_ in joined for var in vars_))
        kept = tuple(var for var in met if var in left)
        cost = math.prod(sized(met)) + WORD_WRITTEN * math.prod(sized(kept))
        known = [(array, vars_) for array, vars_ in joined if array is not None]
        if len(known) == len(joined):
            held.append((contract([vars_ for _, vars_ in known], [array for array, _ in known], kept), kept))
            work_once += cost
            continue
        here = joined[-1][1]
        if not known:  # a core that is the whole term
            held.append((None, here))
            continue
        ((array, there),) = known  # the path is one of pairs
        batch = tuple(var for var in here if var in there and var in left)
        summed = tuple(var for var in here if var in there and var not in left)
        ours, theirs = (tuple(var for var in vars_ if var not in batch + summed) for vars_ in (here, there))
        known_shape = (math.prod(sized(batch)), math.prod(sized(summed)), math.prod(sized(theirs)))
        arranged = np.ascontiguousarray(contract([there], [array], (*batch, *summed, *theirs)))
        steps.append(
            _Step(
                order=tuple(here.index(var) for var in (*batch, *ours, *summed)),
                shape=(known_shape[0], math.prod(sized(ours)), known_shape[1]),
                known=arranged.reshape(known_shape),
                product_shape=sized((*batch, *ours, *theirs)),
            )
        )
        held.append((None, (*batch, *ours, *theirs)))
        work += cost
    ((_, last),) = held
    return NormalOperator(
        steps=tuple(steps), order=tuple(last.index(var) for var in output), work_once=work_once, work=work
    )  # fmt: skip


def _around(
    term: Term, cores: Sequence[Array], which: int, metric: Metric
) -> tuple[list[tuple[Array, tuple[str, ...]]], tuple[str, ...]]:
    """Return what core `which` is multiplied with in its normal equations, and the rank variables of the product: those
    of the core, with a prime where they are not the same ones.
    """
    sides = ((metric.outputs, term.out_vars), (metric.inputs, term.in_vars))
    weighted = {var for moment, vars_ in sides if moment is not None for var in vars_}
    weighted -= {var for moment, vars_ in sides if moment is None for var in vars_}  # a diagonal: equal on both sides
    modes = set(term.mode_vars)

    def twins(vars_: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{var}'" if var in weighted or var not in modes else var for var in vars_)

    extents = term.extents
    operands = []
    for moment, vars_ in sides:
        if moment is not None:
            axes = (*vars_, *twins(vars_))
            distinct = tuple(dict.fromkeys(axes))
            operands.append((contract([axes], [moment.reshape([extents[v] for v in 2 * vars_])], distinct), distinct))
    for k, (core, spec) in enumerate(zip(cores, term.cores, strict=True)):
        if k != which:
            operands += [(core, spec.rank_vars), (core, twins(spec.rank_vars))]
    return operands, twins(term.cores[which].rank_vars)


@lru_cache(maxsize=1024)
def _path(names: tuple[tuple[str, ...], ...], shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """Return the order of pairwise products with the least work; the last names are those of the result."""
    letters = dict(zip(dict.fromkeys(var for vars_ in names for var in vars_), string.ascii_letters, strict=False))
    *inputs, output = ("".join(letters[var] for var in vars_) for vars_ in names)
    least = opt_einsum.DynamicProgramming(minimize=f"combo-{WORD_WRITTEN}")
    path, _ = opt_einsum.contract_path(f"{','.join(inputs)}->{output}", *shapes, shapes=True, optimize=least)
    return tuple(path)


def preconditioner(term: Term, cores: Sequence[Array], which: int) -> Preconditioner:
    """Return the preconditioner of core `which` of a term, given the others."""
    core = term.cores[which]
    modes = set(term.mode_vars)
    others = [k for k in range(len(cores)) if k != which]
    steps = []
    for part in _parts(term.cores, others):
        held = {var for k in part for var in term.cores[k].rank_vars}
        batch = tuple(axis for axis, var in enumerate(core.rank_vars) if var in held & modes)
        mixed = tuple(axis for axis, var in enumerate(core.rank_vars) if var in held - modes)
        steps.append((batch, mixed, _inverse_gram(term, cores, part, core=core, batch=batch, mixed=mixed)))
    return Preconditioner(steps=tuple(steps))


def _parts(specs: Sequence[CoreSpec], others: Sequence[int]) -> list[list[int]]:
    """Return the others in groups that share no rank variable, in order."""
    groups: list[list[int]] = []
    for k in others:
        mine = set(specs[k].rank_vars)
        joined = [group for group in groups if any(mine & set(specs[j].rank_vars) for j in group)]
        groups = [group for group in groups if group not in joined] + [sorted([k, *(j for g in joined for j in g)])]
    return sorted(groups)


def _inverse_gram(
    term: Term, cores: Sequence[Array], part: Sequence[int], *, core: CoreSpec, batch: tuple[int, ...],
    mixed: tuple[int, ...],
) -> Array:  # fmt: skip
    modes = set(term.mode_vars)
    batch_vars = tuple(core.rank_vars[axis] for axis in batch)
    mixed_vars = tuple(core.rank_vars[axis] for axis in mixed)
    size = int(np.prod([core.shape[axis] for axis in mixed], dtype=np.int64))
    whole = size <= LARGEST_GRAM
    twins = {
        var: var if var in modes or (var in mixed_vars and not whole) else f"{var}'"
        for k in part
        for var in term.cores[k].rank_vars
    }
    names = [term.cores[k].rank_vars for k in part]
    arrays = [cores[k] for k in part]
    output = batch_vars + mixed_vars + (tuple(twins[var] for var in mixed_vars) if whole else ())
    gram = contract([*names, *(tuple(twins[var] for var in vars_) for vars_ in names)], [*arrays, *arrays], output)
    leading = gram.shape[: len(batch)]
    if not whole:
        diagonal = gram.reshape(*leading, size)
        inverse: Array = 1.0 / (diagonal + RIDGE * diagonal.mean() + np.finfo(np.float64).tiny)
        return inverse
    square = gram.reshape(*leading, size, size)
    ridge = RIDGE * np.trace(square, axis1=-2, axis2=-1).mean() / size + np.finfo(np.float64).tiny
    values, vectors = np.linalg.eigh(square)
    result: Array = (vectors / np.maximum(values, ridge)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    return result
