"""Tensor trains of matrices as arrays: TT-SVD, and alternating least squares on a weighted error.

A train is a list of cores of shape (r_{k-1}, o_k, i_k, r_k) with r_0 = r_d = 1. NumPy's SVD of the
unfoldings is all it takes, so no tensor library is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.error import weighted_square
from heat_sim.tensorize.tensorization import Tensorization

Array = NDArray[np.float64]

SWEEPS = 2
STEPS_PER_CORE = 3
ROUNDING = 1e-20
"""A squared error this small beside the squared weight, or a squared residual beside the first one, is none."""
RIDGE = 1e-8
"""Of the second moment's mean eigenvalue, added to all of them: where no activation reaches, the weights decide."""


def tt_svd(weight: Array, tensorization: Tensorization, *, ranks: tuple[int, ...]) -> list[Array]:
    """Return the train of the weight by truncated SVDs of its unfoldings, from the left (Oseledets 2011, algorithm 1).

    Its squared error is at most the sum over the unfoldings of the squared singular values they drop.

    Args:
        weight: (out_features, in_features).
        tensorization: As many output as input modes.
        ranks: The full tuple, each at most what its neighbours can carry.

    >>> shape = Tensorization(out_modes=(2, 2), in_modes=(2, 3))
    >>> weight = np.arange(24.0).reshape(4, 6)
    >>> bool(np.allclose(matrix_of(tt_svd(weight, shape, ranks=(1, 4, 1)), shape), weight))
    True
    """
    ndim = tensorization.ndim
    interleaved = [axis for k in range(ndim) for axis in (k, ndim + k)]
    rest = weight.reshape(*tensorization.out_modes, *tensorization.in_modes).transpose(interleaved)
    train = []
    for k, (out, in_) in enumerate(zip(tensorization.out_modes[:-1], tensorization.in_modes[:-1], strict=True)):
        left, values, right = np.linalg.svd(rest.reshape(ranks[k] * out * in_, -1), full_matrices=False)
        kept = ranks[k + 1]
        train.append(left[:, :kept].reshape(ranks[k], out, in_, kept))
        rest = values[:kept, None] * right[:kept]  # (r_k, everything to the right)
    train.append(rest.reshape(ranks[ndim - 1], tensorization.out_modes[-1], tensorization.in_modes[-1], 1))
    return train


def matrix_of(train: Sequence[Array], tensorization: Tensorization) -> Array:
    """Return the matrix a train stands for, (out_features, in_features)."""
    left = _join_left(train[:-1])
    last = train[-1]
    return _insert(last, left, np.ones((1, 1, 1))).reshape(tensorization.out_features, tensorization.in_features)


def improve(
    train: Sequence[Array], weight: Array, *, tensorization: Tensorization, second_moment: Array
) -> list[Array]:
    """Return a train whose weighted error ``||(W - W') C^(1/2)||_F`` is at most the given one's.

    Alternating least squares (Holtz, Rohwedder and Schneider 2012): the error is quadratic in each core,
    and each step of conjugate gradients on that quadratic lowers it. The steps are taken in coordinates in
    which the second moment of every single input mode is the identity, where they converge faster.

    Args:
        train: Where to start, with usable ranks.
        weight: W, (out_features, in_features).
        tensorization: Of the train.
        second_moment: C, (in_features, in_features), symmetric.
    """
    ridged = second_moment + RIDGE * np.trace(second_moment) / len(second_moment) * np.eye(len(second_moment))
    roots, inverse_roots = _mode_roots(ridged, tensorization.in_modes)
    target = _along_modes(weight, roots)
    metric, goal = (_along_modes(_along_modes(c, inverse_roots).T, inverse_roots) for c in (second_moment, ridged))
    best = _change_modes(train, roots)
    error = first_error = weighted_square(target - matrix_of(best, tensorization), metric)
    if error <= ROUNDING * weighted_square(target, metric):
        return list(train)
    for _ in range(SWEEPS):
        swept = _sweep(best, target, tensorization=tensorization, metric=goal)
        after = weighted_square(target - matrix_of(swept, tensorization), metric)
        if after >= error:
            break
        best, error = swept, after
    return _change_modes(best, inverse_roots) if error < first_error else list(train)


def balance(train: Sequence[Array]) -> list[Array]:
    """Return the same matrix as a train whose neighbours, at every rank between them, have slices of equal norm.

    The decompositions leave all the size in one core; equal sizes train and quantise better. Zero slices stay.
    """
    cores = list(train)
    for k in range(len(cores) - 1, 0, -1):
        before, after = (cores[k - 1] ** 2).sum((0, 1, 2)), (cores[k] ** 2).sum((1, 2, 3))  # (r_k,)
        scale = np.where(before * after > 0, after / np.where(before > 0, before, 1.0), 1.0) ** 0.25
        cores[k - 1] = cores[k - 1] * scale
        cores[k] = cores[k] / scale[:, None, None, None]
    return cores


def _sweep(train: Sequence[Array], target: Array, *, tensorization: Tensorization, metric: Array) -> list[Array]:
    """Return the train after one pass to the right and one back, each core improved with the others orthonormal."""
    cores = list(train)
    last = len(cores) - 1
    gap = (target - matrix_of(cores, tensorization)) @ metric  # (out_features, in_features)
    for k in range(last, 0, -1):
        _push_left(cores, k)
    for k in range(last):
        gap = _improve_core(cores, k, gap=gap, metric=metric)
        _push_right(cores, k)
    for k in range(last, -1, -1):
        gap = _improve_core(cores, k, gap=gap, metric=metric)
        if k > 0:
            _push_left(cores, k)
    return cores


def _improve_core(cores: list[Array], k: int, *, gap: Array, metric: Array) -> Array:
    """Replace core k after some conjugate gradient steps on its own least-squares problem; return the new gap.

    Args:
        cores: The train, all cores but k orthonormal towards it.
        k: Which core.
        gap: (Target - matrix of the train) times metric, (out_features, in_features).
        metric: (in_features, in_features).
    """
    left, right = _join_left(cores[:k]), _join_right(cores[k + 1 :])
    core = cores[k]
    residual = _extract(gap, core.shape, left=left, right=right)
    direction = residual
    square = float(np.vdot(residual, residual))
    enough = ROUNDING * square
    for _ in range(STEPS_PER_CORE):
        if square <= enough:
            break
        moved = _insert(direction, left, right) @ metric
        image = _extract(moved, core.shape, left=left, right=right)
        curvature = float(np.vdot(direction, image))
        if curvature <= 0.0:  # only if rounding made the second moment indefinite
            break
        step = square / curvature
        core = core + step * direction
        gap = gap - step * moved
        residual = residual - step * image
        square, before = float(np.vdot(residual, residual)), square
        direction = residual + (square / before) * direction
    cores[k] = core
    return gap


def _insert(core: Array, left: Array, right: Array) -> Array:
    """Return the matrix of a core between its interfaces, (out_features, in_features).

    Letters: a, b the ranks before and after the core; O, o, P the output modes to its left, its own and to its
    right; I, i, J likewise the input modes.

    Args:
        core: (a, o, i, b).
        left: (O, I, a).
        right: (b, P, J).
    """
    whole = np.tensordot(np.tensordot(left, core, 1), right, 1)  # (O, I, o, i, P, J)
    outs, ins = whole.shape[0] * whole.shape[2] * whole.shape[4], whole.shape[1] * whole.shape[3] * whole.shape[5]
    return whole.transpose(0, 2, 4, 1, 3, 5).reshape(outs, ins)


def _extract(matrix: Array, shape: tuple[int, ...], *, left: Array, right: Array) -> Array:
    """Return the adjoint of `_insert` applied to a matrix: a core of the given shape (a, o, i, b)."""
    whole = matrix.reshape(left.shape[0], shape[1], right.shape[1], left.shape[1], shape[2], right.shape[2])
    part = np.tensordot(left, whole, ((0, 1), (0, 3)))  # (a, o, P, i, J)
    return np.tensordot(part, right, ((2, 4), (1, 2)))  # (a, o, i, b)


def _join_left(cores: Sequence[Array]) -> Array:
    """Return the interface of the cores from the left end, (O, I, a)."""
    joined = np.ones((1, 1, 1))
    for core in cores:
        whole = np.tensordot(joined, core, 1).transpose(0, 2, 1, 3, 4)  # (O, o, I, i, b)
        joined = whole.reshape(whole.shape[0] * whole.shape[1], whole.shape[2] * whole.shape[3], core.shape[3])
    return joined


def _join_right(cores: Sequence[Array]) -> Array:
    """Return the interface of the cores up to the right end, (b, P, J)."""
    joined = np.ones((1, 1, 1))
    for core in reversed(cores):
        whole = np.tensordot(core, joined, 1).transpose(0, 1, 3, 2, 4)  # (a, o, P, i, J)
        joined = whole.reshape(core.shape[0], whole.shape[1] * whole.shape[2], whole.shape[3] * whole.shape[4])
    return joined


def _push_right(cores: list[Array], k: int) -> None:
    """Make core k orthonormal towards the right and let its neighbour take what is left; the matrix stays."""
    shape = cores[k].shape
    basis, factor = np.linalg.qr(cores[k].reshape(-1, shape[3]))
    cores[k] = basis.reshape(shape)
    cores[k + 1] = np.tensordot(factor, cores[k + 1], 1)


def _push_left(cores: list[Array], k: int) -> None:
    """Make core k orthonormal towards the left and let its neighbour take what is left; the matrix stays."""
    shape = cores[k].shape
    basis, factor = np.linalg.qr(cores[k].reshape(shape[0], -1).T)
    cores[k] = basis.T.reshape(shape)
    cores[k - 1] = np.tensordot(cores[k - 1], factor.T, 1)


def _change_modes(train: Sequence[Array], matrices: Sequence[Array]) -> list[Array]:
    """Return the train with the input mode of core k multiplied by the symmetric matrix k."""
    return [np.einsum("aoib,ij->aojb", core, matrix) for core, matrix in zip(train, matrices, strict=True)]


def _along_modes(rows: Array, matrices: Sequence[Array]) -> Array:
    """Return the rows, (any, in_features), with every input mode multiplied by its symmetric matrix."""
    tensor = rows.reshape(len(rows), *(len(matrix) for matrix in matrices))
    for matrix in matrices:
        tensor = np.tensordot(tensor, matrix, (1, 0))  # takes the first mode away, appends its product at the end
    return tensor.reshape(rows.shape)


def _mode_roots(second_moment: Array, in_modes: tuple[int, ...]) -> tuple[list[Array], list[Array]]:
    """Return, per input mode, the symmetric root of its own second moment (of mean eigenvalue 1) and its inverse."""
    roots, inverses = [], []
    for k, mode in enumerate(in_modes):
        before, after = math.prod(in_modes[:k]), math.prod(in_modes[k + 1 :])
        moment = np.einsum("pispjs->ij", second_moment.reshape(before, mode, after, before, mode, after))
        values, vectors = np.linalg.eigh(moment)
        values = np.maximum(values, RIDGE * values[-1])  # rounding may have made them negative
        scales = np.sqrt(values / values.mean())
        roots.append((vectors * scales) @ vectors.T)
        inverses.append((vectors / scales) @ vectors.T)
    return roots, inverses
