"""The best mapping of an einsum, the best contraction order of a factorised layer, the EDP of a network."""
