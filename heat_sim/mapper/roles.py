"""A contraction with its tensors named by role, as the constraints of a spec name them.

The co-design costs every contraction as ``Outputs[b,m,n] = Inputs[b,m,k] * Weights[b,k,n]``: the
operand that carries the activations is Inputs, the other one Weights.
"""

from __future__ import annotations

from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.mapper.matmul import as_matmul

Bounds = tuple[int, int, int, int]
"""One number per class (batch, m, n, k)."""


def matmul_extents(einsum: Einsum, *, inputs: str) -> Bounds:
    """Return the extents (b, m, n, k) of a contraction when the named operand plays Inputs.

    >>> einsum = parse_einsum("Z[m,n] = B[k,n] * A[m,k]", extents=dict(m=2, n=3, k=5))
    >>> matmul_extents(einsum, inputs="A")
    (1, 2, 3, 5)
    """
    b, m, n, k = as_matmul(einsum).extents
    return (b, m, n, k) if einsum.inputs[0].name == inputs else (b, n, m, k)


def role_einsum(extents: Bounds) -> Einsum:
    """Return the batched matmul of these extents, its tensors named by role."""
    return parse_einsum(
        "Outputs[b,m,n] = Inputs[b,m,k] * Weights[b,k,n]",
        extents=dict(zip(("b", "m", "n", "k"), extents, strict=True)),
        name="x".join(map(str, extents)),
    )
