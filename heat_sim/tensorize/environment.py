"""What surrounds one core in a product: the Gram matrices that make its least-squares problem easy.

With the identity for a metric, the normal equations of a core are its own array times, rank by rank, the Gram matrices
of the parts into which the product falls when the core is taken out. Their inverses are the exact solution then, and
a good preconditioner for every metric near the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec, Term
from heat_sim.tensorize.term_arrays import contract

Array = NDArray[np.float64]

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
