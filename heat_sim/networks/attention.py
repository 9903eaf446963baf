"""Attention as einsums: scores and context of one layer."""

from __future__ import annotations

from heat_sim.einsum import Einsum, parse_einsum


def attention_einsums(
    *, tokens: int, heads: int, key_value_heads: int, head_dim: int
) -> tuple[Einsum, Einsum]:  # fmt: skip
    """Return scores and context of one layer; every query meets every key.

    Where several heads of the queries share one of keys and values, g is the head of keys and values and h the query
    head within its group.

    Args:
        tokens: Queries and keys.
        heads: Of the queries.
        key_value_heads: A divisor of them.
        head_dim: Features of a head.

    >>> for einsum in attention_einsums(tokens=4, heads=2, key_value_heads=2, head_dim=8):
    ...     print(einsum, einsum.ops)
    S[h,q,t] = Q[h,q,d] * K[h,d,t] 256
    O[h,q,d] = P[h,q,t] * V[h,t,d] 256
    >>> for einsum in attention_einsums(tokens=4, heads=6, key_value_heads=2, head_dim=8):
    ...     print(einsum, dict(einsum.extents)["h"])
    S[g,h,q,t] = Q[g,h,q,d] * K[g,d,t] 3
    O[g,h,q,d] = P[g,h,q,t] * V[g,t,d] 3
    """
    extents = {"q": tokens, "t": tokens, "d": head_dim}
    if key_value_heads == heads:
        query, key = "h", "h"
        extents["h"] = heads
    else:
        query, key = "g,h", "g"
        extents |= {"g": key_value_heads, "h": heads // key_value_heads}
    return (
        parse_einsum(f"S[{query},q,t] = Q[{query},q,d] * K[{key},d,t]", extents=extents, name="scores"),
        parse_einsum(f"O[{query},q,d] = P[{query},q,t] * V[{key},t,d]", extents=extents, name="context"),
    )
