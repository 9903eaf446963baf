"""Alternating least squares on a weighted error, for any format: one core after the other, by conjugate gradients.

The error is quadratic in each core, so every step lowers it (Holtz, Rohwedder and Schneider 2012 for tensor trains;
the argument is the same for every multilinear format). The steps are taken in coordinates in which the moment of
every single mode is the identity, preconditioned by what surrounds the core: then they come close to the exact
solution of each core. tensorly minimises the plain error only, so this is written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from heat_sim.tensorize.core_spec import Term
from heat_sim.tensorize.environment import normal_operator, preconditioner
from heat_sim.tensorize.metric import PLAIN, Metric
from heat_sim.tensorize.tensorization import Tensorization
from heat_sim.tensorize.term_arrays import adjoint, matrix_of

Array = NDArray[np.float64]
Cores = list[Array]
Start = Callable[[Array], Cores]

SWEEPS = 3
STEPS_PER_CORE = 3
ENOUGH = 1e-3
"""A sweep that lowers the squared error by less than this share is the last one."""
LARGEST_WORK = 300_000_000_000
"""Work, in multiplications, after which no core is improved any more: about ten seconds. Only matrices of thousands of
rows or columns get there."""
ROUNDING = 1e-20
"""A squared error this small beside the squared weight, or a squared residual beside the first one, is none."""
RIDGE = 1e-8
"""Of a moment's mean eigenvalue, added to all of them: where nothing reaches, the weights decide."""


def fitted(
    weight: Array,
    tensorization: Tensorization,
    terms: Sequence[Term],
    metric: Metric,
    *,
    start: Start,
    sweeps: int = SWEEPS,
) -> tuple[Array, ...]:
    """Return the cores of a format with a small weighted error: at most that of `start(weight)` and of the plain fit.

    Args:
        weight: W, (out_features, in_features).
        tensorization: Of the weight.
        terms: Of the format; the cores are returned in their order.
        metric: The norm to make small.
        start: Returns cores for a matrix, by a decomposition that minimises the plain error or nearly so. It is asked
            for the weight itself and, if there is a metric, for the weight in coordinates where that is nearly plain.
        sweeps: Times every core is improved, at most.
    """
    begun = start(weight)
    plain = _Problem.of(weight, tensorization, terms, PLAIN)
    best = plain.improved([begun], sweeps=sweeps)
    if metric.inputs is not None or metric.outputs is not None:
        problem = _Problem.of(weight, tensorization, terms, metric)
        candidates = [problem.changed(cores, problem.roots) for cores in (begun, best)]
        if problem.roots:
            candidates.append(start(problem.target))
        best = problem.changed(problem.improved(candidates, sweeps=sweeps), problem.inverses)
    return tuple(balanced(best, terms))


def near_plain(
    weight: Array, tensorization: Tensorization, terms: Sequence[Term], metric: Metric
) -> tuple[Array, Callable[[Sequence[Array]], Cores]]:
    """Return the weight in coordinates where the metric is nearly plain, and the way back for cores of such terms.

    Args:
        weight: W, (out_features, in_features).
        tensorization: Of the weight.
        terms: Of the format; the ranks of the cores that go back may be others.
        metric: The norm.
    """
    problem = _Problem.of(weight, tensorization, terms, metric)
    return problem.target, lambda cores: problem.changed(cores, problem.inverses)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    """The least-squares problem, and the coordinates in which it is solved.

    Attributes:
        terms: Of the format.
        weight: The matrix to approximate.
        metric: The norm.
        target: The weight, each mode that lies in one core alone multiplied by its root.
        goal: The metric in these coordinates, of moments with a ridge: what the steps lower.
        roots: (core index, axis) to the matrix that, from the right, takes the core's mode into these coordinates.
        inverses: The way back.
    """

    terms: tuple[Term, ...]
    weight: Array
    metric: Metric
    target: Array
    goal: Metric
    roots: dict[tuple[int, int], Array]
    inverses: dict[tuple[int, int], Array]

    @classmethod
    def of(cls, weight: Array, tensorization: Tensorization, terms: Sequence[Term], metric: Metric) -> _Problem:
        target, goal = weight, PLAIN
        roots: dict[tuple[int, int], Array] = {}
        inverses: dict[tuple[int, int], Array] = {}
        if metric.inputs is not None:
            side = _side(
                metric.inputs,
                tensorization.in_modes,
                [_place(terms, "in", k) for k in range(len(tensorization.in_modes))],
            )
            target, goal = _along(target, side.there), replace(goal, inputs=side.goal)
            roots, inverses = roots | side.roots, inverses | side.inverses
        if metric.outputs is not None:
            side = _side(
                metric.outputs,
                tensorization.out_modes,
                [_place(terms, "out", k) for k in range(len(tensorization.out_modes))],
            )
            target, goal = _along(target.T, side.there).T, replace(goal, outputs=side.goal)
            roots, inverses = roots | side.roots, inverses | side.inverses
        return cls(terms=tuple(terms), weight=weight, metric=metric, target=target, goal=goal, roots=roots,
                   inverses=inverses)  # fmt: skip

    def improved(self, candidates: Sequence[Cores], *, sweeps: int) -> Cores:
        """Return the best of the candidates after some sweeps, in these coordinates like all cores here."""
        errors = [self.error(cores) for cores in candidates]
        best, error = min(zip(candidates, errors, strict=True), key=lambda pair: pair[1])
        enough = ROUNDING * self.metric.square(self.weight)
        work = 0
        for _ in range(sweeps):
            if error <= enough or work > LARGEST_WORK:
                break
            swept, work = self.sweep(best, work=work)
            after = self.error(swept)
            if after >= error:
                break
            gained, best, error = error - after, swept, after
            if gained < ENOUGH * error:
                break
        return best

    def changed(self, cores: Sequence[Array], matrices: dict[tuple[int, int], Array]) -> Cores:
        """Return the cores with their modes multiplied by matrices from the right."""
        moved = list(cores)
        for (index, axis), matrix in matrices.items():
            moved[index] = np.moveaxis(np.tensordot(matrix, moved[index], (0, axis)), 0, axis)
        return moved

    def error(self, cores: Sequence[Array]) -> float:
        """Return the squared weighted error of cores in these coordinates."""
        return self.metric.square(self.weight - self.matrix(self.changed(cores, self.inverses)))

    def matrix(self, cores: Sequence[Array]) -> Array:
        """Return the matrix of the cores."""
        return sum((matrix_of(term, part) for term, part in self.split(cores)), np.zeros_like(self.weight))

    def split(self, cores: Sequence[Array]) -> list[tuple[Term, list[Array]]]:
        """Return every term with its cores."""
        parts, first = [], 0
        for term in self.terms:
            parts.append((term, list(cores[first : first + len(term.cores)])))
            first += len(term.cores)
        return parts

    def sweep(self, cores: Sequence[Array], *, work: int) -> tuple[Cores, int]:
        """Return the cores after each was improved once, there and back, and the work with that of before.

        Beyond the largest work the others stay as they are.
        """
        parts = self.split(cores)
        places = [(n, k) for n, (term, _) in enumerate(parts) for k in range(len(term.cores))]
        image = self.goal.times(self.target)  # D W C
        wanted, current = image, None
        for n, k in (*places, *places[-2::-1]):
            if work > LARGEST_WORK:
                break
            term, own = parts[n]
            if n != current and len(parts) > 1:
                others = [matrix_of(*part) for m, part in enumerate(parts) if m != n]
                wanted, current = image - self.goal.times(np.sum(others, axis=0)), n
            own[k], more = self._improved(term, own, k, wanted)
            work += more
        return [core for _, own in parts for core in own], work

    def _improved(self, term: Term, cores: Cores, k: int, wanted: Array) -> tuple[Array, int]:
        """Return core k of a term after some steps on its own least-squares problem, and the work of that.

        Args:
            term: Of the cores.
            cores: Its cores.
            k: Index of the core.
            wanted: What ``D W' C`` of the term should be.
        """
        solve, normal = preconditioner(term, cores, k), normal_operator(term, cores, k, self.goal)
        core = cores[k]
        residual = adjoint(term, cores, k, wanted) - normal(core)
        direction = solved = solve(residual)
        square = float(np.vdot(residual, solved))
        enough = ROUNDING * square
        for _ in range(STEPS_PER_CORE):
            if square <= enough:
                break
            image = normal(direction)
            curvature = float(np.vdot(direction, image))
            if curvature <= 0.0:  # only if rounding made a moment indefinite
                break
            step = square / curvature
            core = core + step * direction
            residual = residual - step * image
            solved = solve(residual)
            square, before = float(np.vdot(residual, solved)), square
            direction = solved + (square / before) * direction
        # Of the adjoint: the matrix is multiplied with one of the other cores, and is much smaller then.
        ranks = [math.prod(size for var, size in spec.dims if var not in term.mode_vars) for spec in term.cores]
        adjoint_work = wanted.size * min((*ranks[:k], *ranks[k + 1 :]), default=1)
        return core, normal.work_once + (1 + STEPS_PER_CORE) * normal.work + adjoint_work


def balanced(cores: Sequence[Array], terms: Sequence[Term]) -> Cores:
    """Return the same matrix from cores whose slices along every shared rank are equally large.

    The decompositions leave all the size in one core; equal sizes train and quantise better. Zero slices stay.
    """
    result = list(cores)
    first = 0
    for term in terms:
        modes = set(term.mode_vars)
        for var in dict.fromkeys(v for core in term.cores for v in core.rank_vars if v not in modes):
            places = [
                (first + k, spec.rank_vars.index(var)) for k, spec in enumerate(term.cores) if var in spec.rank_vars
            ]
            norms = [_slice_norms(result[k], axis) for k, axis in places]
            product = np.prod(norms, axis=0)
            usable = product > 0
            mean = np.where(usable, product, 1.0) ** (1 / len(places))
            for (k, axis), norm in zip(places, norms, strict=True):
                scale = np.where(usable, mean / np.where(norm > 0, norm, 1.0), 1.0)
                shape = [1] * result[k].ndim
                shape[axis] = -1
                result[k] = result[k] * scale.reshape(shape)
        first += len(term.cores)
    return result


def _slice_norms(core: Array, axis: int) -> Array:
    flat = np.moveaxis(core, axis, 0).reshape(core.shape[axis], -1)
    largest = float(np.abs(flat).max(initial=0.0)) or 1.0
    norms: Array = np.linalg.norm(flat / largest, axis=1) * largest
    return norms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """One side of the coordinates.

    Attributes:
        there: Per mode, the matrix into the coordinates.
        goal: The ridged moment in them; None if it is the identity.
        roots: As in the problem.
        inverses: As in the problem.
    """

    there: list[Array]
    goal: Array | None
    roots: dict[tuple[int, int], Array]
    inverses: dict[tuple[int, int], Array]


def _side(moment: Array, modes: tuple[int, ...], places: Sequence[tuple[tuple[int, int], ...]]) -> _Side:
    """Return the coordinates in which the own moment of every mode that has a place is the identity."""
    ridged = moment + RIDGE * np.trace(moment) / len(moment) * np.eye(len(moment))
    pairs = [
        _mode_root(ridged, modes, k) if place else (np.eye(mode), np.eye(mode))
        for k, (mode, place) in enumerate(zip(modes, places, strict=True))
    ]
    goal: Array | None = None
    if len(modes) > 1 or not places[0]:
        back = [inverse for _, inverse in pairs]
        goal = _along(_along(ridged, back).T, back)
        goal = (goal + goal.T) / 2
    return _Side(
        there=[root for root, _ in pairs],
        goal=goal,
        roots={spot: root for place, (root, _) in zip(places, pairs, strict=True) for spot in place},
        inverses={spot: inverse for place, (_, inverse) in zip(places, pairs, strict=True) for spot in place},
    )


def _place(terms: Sequence[Term], side: Literal["out", "in"], position: int) -> tuple[tuple[int, int], ...]:
    """Return (core, axis) of a mode in every term, or nothing if some term has it in more than one place."""
    places, first = [], 0
    for term in terms:
        var = (term.out_vars if side == "out" else term.in_vars)[position]
        found = [(first + k, spec.rank_vars.index(var)) for k, spec in enumerate(term.cores) if var in spec.rank_vars]
        if len(found) != 1 or term.mode_vars.count(var) != 1:
            return ()
        places += found
        first += len(term.cores)
    return tuple(places)


def _mode_root(moment: Array, modes: tuple[int, ...], position: int) -> tuple[Array, Array]:
    """Return a root R of one mode's own moment (of mean eigenvalue 1), ``R R^T``, and its inverse.

    It is the symmetric one where there are other modes. A mode alone may be thousands long: its root is triangular,
    from a Cholesky decomposition, which takes a tenth of the time; the two differ by a rotation of the coordinates.
    """
    before, mode, after = math.prod(modes[:position]), modes[position], math.prod(modes[position + 1 :])
    own = np.einsum("pispjs->ij", moment.reshape(before, mode, after, before, mode, after))
    if len(modes) == 1:
        with suppress(np.linalg.LinAlgError):  # rounding may have made eigenvalues negative
            lower = np.linalg.cholesky(own / (np.trace(own) / mode))
            return lower, solve_triangular(lower, np.eye(mode), lower=True)
    values, vectors = np.linalg.eigh(own)
    values = np.maximum(values, RIDGE * values[-1])
    scales = np.sqrt(values / values.mean())
    return (vectors * scales) @ vectors.T, (vectors / scales) @ vectors.T


def _along(rows: Array, matrices: Sequence[Array]) -> Array:
    """Return the rows, (any, product of the modes), with every mode multiplied by its matrix from the right."""
    tensor = rows.reshape(len(rows), *(len(matrix) for matrix in matrices))
    for matrix in matrices:
        tensor = np.tensordot(tensor, matrix, (1, 0))  # takes the first mode away, appends its product at the end
    return tensor.reshape(rows.shape)
