"""The leading singular vectors against an SVD."""

from __future__ import annotations

import numpy as np
import pytest

from heat_sim.tensorize.leading_vectors import leading_vectors


def matrix_of(shape: tuple[int, int], values: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(4)
    left, right = (np.linalg.qr(rng.standard_normal((size, len(values))))[0] for size in shape)
    return (left * values) @ right.T


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6)])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_they_are_orthonormal_and_those_of_the_svd(shape: tuple[int, int], count: int) -> None:
    matrix = matrix_of(shape, np.array([5.0, 4.0, 3.0, 2.0, 1.0]))
    found = leading_vectors(matrix, count)
    exact, _, _ = np.linalg.svd(matrix)
    assert found.shape == (shape[0], count)
    np.testing.assert_allclose(np.abs(found.T @ exact[:, :count]), np.eye(count), atol=1e-12)


@pytest.mark.parametrize("shape", [(20, 40), (40, 20)])
def test_what_squares_would_hide_is_found(shape: tuple[int, int]) -> None:
    """Singular values of 1e-9 beside 1 have squares below rounding; that they are kept is seen in what is left."""
    matrix = matrix_of(shape, np.array([1.0, 1e-9, 1e-9, 1e-14]))
    found = leading_vectors(matrix, 3)
    assert np.linalg.norm(matrix - found @ (found.T @ matrix)) < 1e-12


@pytest.mark.parametrize("shape", [(20, 40), (40, 20)])
def test_they_keep_as_much_as_any(shape: tuple[int, int]) -> None:
    values = np.concatenate([np.ones(5), np.full(5, 0.999), np.full(5, 1e-4)])
    for count in (3, 7, 12):
        matrix = matrix_of(shape, values)
        found = leading_vectors(matrix, count)
        lost = np.linalg.norm(matrix - found @ (found.T @ matrix)) ** 2
        assert lost == pytest.approx((values[count:] ** 2).sum(), rel=1e-6)
