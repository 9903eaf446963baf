"""Terms as numbers: the matrix of a term, and the adjoint of the map from one of its cores to that matrix."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import Term

Array = NDArray[np.float64]

LARGEST_INTERMEDIATE = 2**28
"""Entries of an intermediate product at the most: 2 GiB."""


def matrix_of(term: Term, cores: Sequence[Array]) -> Array:
    """Return the matrix of a term, (product of the output modes, product of the input modes)."""
    distinct = tuple(dict.fromkeys(term.mode_vars))
    tensor = contract([core.rank_vars for core in term.cores], cores, distinct)
    extents = term.extents
    shape = [extents[var] for var in term.mode_vars]
    if len(distinct) < len(shape):
        whole = np.zeros(shape)
        letters = dict(zip(distinct, string.ascii_letters, strict=False))
        diagonal = np.einsum(f"{''.join(letters[var] for var in term.mode_vars)}->{''.join(letters.values())}", whole)
        diagonal[...] = tensor  # einsum without a sum is a view
        tensor = whole
    return tensor.reshape(math.prod(shape[: len(term.out_vars)]), -1)


def adjoint(term: Term, cores: Sequence[Array], which: int, matrix: Array) -> Array:
    """Return the core ``G`` with ``<G, H> = <matrix, matrix_of(term, cores with H in place of core `which`)>`` for
    all H.

    Args:
        term: Of the cores.
        cores: All of them; core `which` is not read.
        which: Index of the core.
        matrix: Of the size of the term's.
    """
    extents = term.extents
    distinct = tuple(dict.fromkeys(term.mode_vars))
    tensor = matrix.reshape([extents[var] for var in term.mode_vars])
    if len(distinct) < tensor.ndim:
        letters = dict(zip(distinct, string.ascii_letters, strict=False))
        tensor = np.einsum(f"{''.join(letters[var] for var in term.mode_vars)}->{''.join(letters.values())}", tensor)
    others = [k for k in range(len(cores)) if k != which]
    return contract(
        [distinct, *(term.cores[k].rank_vars for k in others)],
        [tensor, *(cores[k] for k in others)],
        term.cores[which].rank_vars,
    )


def contract(inputs: Sequence[tuple[str, ...]], arrays: Sequence[Array], output: tuple[str, ...]) -> Array:
    """Return the sum of products of arrays whose ranks are indexed by named variables.

    >>> contract([("o", "r"), ("r", "i")], [np.ones((2, 3)), np.ones((3, 4))], ("i", "o")).shape
    (4, 2)
    """
    distinct = dict.fromkeys(var for vars_ in (*inputs, output) for var in vars_)
    letters = dict(zip(distinct, string.ascii_letters, strict=False))
    equation = (
        f"{','.join(''.join(letters[v] for v in vars_) for vars_ in inputs)}->{''.join(letters[v] for v in output)}"
    )
    # Without a limit of ours, NumPy takes that of the largest operand, and loops over everything at once instead.
    strategy = "greedy" if len(arrays) > 5 else "optimal"
    result: Array = np.einsum(equation, *arrays, optimize=(strategy, LARGEST_INTERMEDIATE))
    return result
