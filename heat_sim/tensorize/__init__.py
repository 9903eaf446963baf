"""Tensor decompositions of weight matrices: shapes, projection, reconstruction, contraction trees."""
