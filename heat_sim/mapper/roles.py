"""A contraction with its tensors named by role, as the constraints of a spec name them.

The co-design costs every contraction as ``Outputs[b,m,n] = Inputs[b,m,k] * Weights[b,k,n]``: the operand that carries
the activations is Inputs, the other one Weights. A class of several rank variables keeps its members (m1, m2, ...):
they may lie along both axes of a mesh, which one rank variable may not.
"""

from __future__ import annotations

from functools import lru_cache

from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.mapper.matmul import as_matmul

Shape = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Extents of the members of each class (batch, m, n, k), the largest first; one 1 for an empty class."""

_CLASSES = "bmnk"


@lru_cache(maxsize=2**16)
def matmul_shape(einsum: Einsum, *, inputs: str, merged: bool = False) -> Shape:
    """Return the shape of a contraction when the named operand plays Inputs.

    Args:
        einsum: Of two plain tensors.
        inputs: Name of one of them.
        merged: Whether the members of a class count as one.

    >>> einsum = parse_einsum("Z[m,n] = B[k,j,n] * A[m,k,j]", extents=dict(m=2, n=3, k=5, j=7))
    >>> matmul_shape(einsum, inputs="A"), matmul_shape(einsum, inputs="A", merged=True)
    (((1,), (2,), (3,), (7, 5)), ((1,), (2,), (3,), (35,)))
    """
    matmul = as_matmul(einsum)
    members = [
        tuple(sorted((extent for var in group if (extent := einsum.extent(var)) > 1), reverse=True)) or (1,)
        for group in matmul.members
    ]
    if merged:
        members = [(extent,) for extent in matmul.extents]
    b, m, n, k = members
    return (b, m, n, k) if einsum.inputs[0].name == inputs else (b, n, m, k)


def role_einsum(shape: Shape) -> Einsum:
    """Return the batched matmul of this shape, its tensors named by role.

    >>> print(role_einsum(((1,), (2,), (3,), (7, 5))))
    Outputs[b,m,n] = Inputs[b,m,k1,k2] * Weights[b,k1,k2,n]
    """
    names = {
        c: [c] if len(extents) == 1 else [f"{c}{i}" for i in range(1, len(extents) + 1)]
        for c, extents in zip(_CLASSES, shape, strict=True)
    }
    b, m, n, k = (",".join(names[c]) for c in _CLASSES)
    return parse_einsum(
        f"Outputs[{b},{m},{n}] = Inputs[{b},{m},{k}] * Weights[{b},{k},{n}]",
        extents={
            var: extent
            for c, extents in zip(_CLASSES, shape, strict=True)
            for var, extent in zip(names[c], extents, strict=True)
        },
        name="x".join("*".join(map(str, extents)) for extents in shape),
    )


def plain_shape(b: int, m: int, n: int, k: int) -> Shape:
    """Return the shape of a batched matmul of one rank variable per class.

    >>> plain_shape(1, 2, 3, 4)
    ((1,), (2,), (3,), (4,))
    """
    return (b,), (m,), (n,), (k,)
