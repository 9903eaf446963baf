"""The normal equations of a core against the matrix that is built and multiplied with the moments."""

from __future__ import annotations

import numpy as np
import pytest

from heat_sim.tensorize import Factorization, Tensorization
from heat_sim.tensorize.environment import normal_operator
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.term_arrays import adjoint, matrix_of

CASES = (
    Factorization(format="low-rank", tensorization=Tensorization(out_modes=(5,), in_modes=(6,)), ranks=(2,)),
    Factorization(format="cp", tensorization=Tensorization(out_modes=(2, 3), in_modes=(4, 2)), ranks=(5,)),
    Factorization(format="tucker", tensorization=Tensorization(out_modes=(2, 3), in_modes=(6,)), ranks=(2, 2, 3)),
    Factorization(
        format="tt-matrix", tensorization=Tensorization(out_modes=(2, 3, 2), in_modes=(3, 2, 2)), ranks=(1, 3, 2, 1)
    ),
    Factorization(format="tensor-ring", tensorization=Tensorization(out_modes=(3, 2), in_modes=(4,)), ranks=(2, 3, 2)),
    Factorization(format="btt", tensorization=Tensorization(out_modes=(3, 2), in_modes=(2, 4)), ranks=(2,)),
    Factorization(format="block-low-rank", tensorization=Tensorization(out_modes=(2, 3), in_modes=(2, 4)), ranks=(2,)),
    Factorization(
        format="block-term", tensorization=Tensorization(out_modes=(2, 3), in_modes=(6,)), ranks=(2, 1, 2, 3)
    ),
)  # fmt: skip


def moment(rng: np.random.Generator, size: int) -> np.ndarray:
    root = rng.standard_normal((size, size))
    return root @ root.T


@pytest.mark.parametrize("outputs", [False, True])
@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("factorization", CASES, ids=lambda f: f.format)
def test_normal_equations_are_those_of_the_matrix(factorization: Factorization, inputs: bool, outputs: bool) -> None:
    rng = np.random.default_rng(3)
    metric = Metric(
        inputs=moment(rng, factorization.in_features) if inputs else None,
        outputs=moment(rng, factorization.out_features) if outputs else None,
    )
    for term in factorization.terms:
        cores = [rng.standard_normal(core.shape) for core in term.cores]
        for which in range(len(cores)):
            normal = normal_operator(term, cores, which, metric)
            for core in (rng.standard_normal(cores[which].shape) for _ in range(2)):
                built = matrix_of(term, [*cores[:which], core, *cores[which + 1 :]])
                expected = adjoint(term, cores, which, metric.times(built))
                np.testing.assert_allclose(normal(core), expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
