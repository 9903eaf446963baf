"""Errors of single matrices and the estimates made of them, against projecting and measuring each by itself."""

from __future__ import annotations

import numpy as np
import pytest

from heat_sim.codesign.estimate import ActivationError, FisherError, WeightError
from heat_sim.codesign.forest import ForestEstimate
from heat_sim.codesign.matrix_errors import MatrixErrors
from heat_sim.errors import SpecError
from heat_sim.tensorize import Factorization, Tensorization, project, reconstruct, relative_error
from heat_sim.tensorize.formats import FORMATS

RNG = np.random.default_rng(0)
SIZES = {"query": (12, 12), "up": (24, 12), "down": (12, 24)}


def moment(size: int) -> np.ndarray:
    samples = RNG.normal(size=(3 * size, size)) * np.geomspace(1, 0.05, size)
    return samples.T @ samples / len(samples)


WEIGHTS = {name: RNG.normal(size=shape) for name, shape in SIZES.items()}
INPUTS = {name: moment(columns) for name, (_, columns) in SIZES.items()}
GRADIENTS = {name: 1e-4 * moment(rows) for name, (rows, _) in SIZES.items()}
ERRORS = MatrixErrors(weights=WEIGHTS, second_moments=INPUTS, gradient_moments=GRADIENTS)


def low_rank(name: str, rank: int) -> Factorization:
    rows, columns = SIZES[name]
    return Factorization(
        format="low-rank", tensorization=Tensorization(out_modes=(rows,), in_modes=(columns,)), ranks=(rank,)
    )


def split(form: str, name: str, scale: float = 0.5) -> Factorization:
    shape = FORMATS[form].tensorizations(*SIZES[name], keep=1)[0]
    ranks = tuple(max(1, round(scale * limit)) for limit in FORMATS[form].max_ranks(shape))
    return Factorization(format=form, tensorization=shape, ranks=ranks)


def measured(name: str, factorization: Factorization) -> tuple[float, float, float]:
    """By the definition, of the activation-aware projection."""
    gap = WEIGHTS[name] - reconstruct(project(WEIGHTS[name], factorization, second_moment=INPUTS[name]), factorization)
    return (
        float(np.sum(gap**2)),
        float(np.trace(gap @ INPUTS[name] @ gap.T)),
        float(np.trace(GRADIENTS[name] @ gap @ INPUTS[name] @ gap.T)),
    )


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_low_rank_squares_are_those_of_the_projection(name: str, rank: int) -> None:
    found = ERRORS(name, low_rank(name, rank))
    whole = measured(name, low_rank(name, 1))
    for got, expected, scale in zip(found, measured(name, low_rank(name, rank)), whole, strict=True):
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-9 * scale)


@pytest.mark.parametrize("form", ["tt-matrix", "tucker", "btt"])
def test_leading_parts_bound_the_activation_error_from_above(form: str) -> None:
    for name in SIZES:
        factorization = split(form, name)
        assert ERRORS(name, factorization).activation >= measured(name, factorization)[1] * (1 - 1e-5)


@pytest.mark.parametrize("form", ["cp", "tensor-ring", "block-low-rank", "block-term"])
def test_other_formats_are_projected(form: str) -> None:
    found, expected = ERRORS("up", split(form, "up", 0.3)), measured("up", split(form, "up", 0.3))
    assert tuple(found) == pytest.approx(expected, rel=1e-4)


def test_estimates_by_hand() -> None:
    design = {name: low_rank(name, 4) for name in SIZES} | {"down": low_rank("down", 9)}
    matrices = {
        name: reconstruct(project(WEIGHTS[name], f, second_moment=INPUTS[name]), f) for name, f in design.items()
    }
    plain = [relative_error(WEIGHTS[n], matrices[n]) for n in design]
    active = [relative_error(WEIGHTS[n], matrices[n], second_moment=INPUTS[n]) for n in design]
    fisher = [measured(n, f)[2] for n, f in design.items()]
    whole = [float(np.trace(GRADIENTS[n] @ WEIGHTS[n] @ INPUTS[n] @ WEIGHTS[n].T)) for n in design]
    assert WeightError(errors=ERRORS)(design) == pytest.approx(np.sqrt(np.mean(np.square(plain))), rel=1e-5)
    assert ActivationError(errors=ERRORS)(design) == pytest.approx(np.sqrt(np.mean(np.square(active))), rel=1e-5)
    assert FisherError(errors=ERRORS)(design) == pytest.approx(np.sqrt(sum(fisher) / sum(whole)), rel=1e-5)


def test_estimates_grow_with_a_sum_over_the_matrices() -> None:
    design = {name: low_rank(name, 4) for name in SIZES}
    for estimate in (WeightError(errors=ERRORS), ActivationError(errors=ERRORS), FisherError(errors=ERRORS)):
        sums = []
        for smaller in ({}, {"up": low_rank("up", 2)}):
            changed = design | smaller
            sums.append((sum(estimate.squared(name, f) for name, f in changed.items()), estimate(changed) ** 2))
        (first, before), (second, after) = sums
        assert second > first
        assert after / before == pytest.approx(second / first, rel=1e-9)


def test_dense_loses_nothing() -> None:
    dense = {
        name: Factorization(format="dense", tensorization=Tensorization(out_modes=(rows,), in_modes=(columns,)))
        for name, (rows, columns) in SIZES.items()
    }
    for estimate in (WeightError(errors=ERRORS), ActivationError(errors=ERRORS), FisherError(errors=ERRORS)):
        assert estimate(dense) == 0.0


def test_refusals() -> None:
    with pytest.raises(SpecError, match=r"unknown matrix .got key, expected one of 3"):
        ERRORS("key", low_rank("query", 1))
    with pytest.raises(SpecError, match=r"no gradient moment for some matrices .got down"):
        MatrixErrors(
            weights=WEIGHTS, second_moments=INPUTS, gradient_moments={n: GRADIENTS[n] for n in ("query", "up")}
        )
    with pytest.raises(SpecError, match="estimate fisher: the calibration has no gradient moments"):
        FisherError(errors=MatrixErrors(weights=WEIGHTS, second_moments=INPUTS))


def test_forest_learns_which_matrix_matters() -> None:
    """A made-up loss that depends on `up` alone: unseen designs are ranked by it, which no fixed mean can do."""
    rng = np.random.default_rng(1)
    designs = [{name: low_rank(name, int(rng.integers(1, 13))) for name in SIZES} for _ in range(60)]
    losses = [ERRORS("up", design["up"]).activation for design in designs]
    forest = ForestEstimate(errors=ERRORS, designs=designs, losses=losses)
    unseen = [{"query": low_rank("query", q), "up": low_rank("up", u), "down": low_rank("down", q)}
              for q, u in ((9, 1), (6, 4), (6, 8), (4, 12))]  # fmt: skip
    expected = [forest(design) for design in unseen]
    assert expected == sorted(expected, reverse=True)
    held_out = forest.out_of_fold()
    assert np.corrcoef(held_out, losses)[0, 1] > 0.8
    again = ForestEstimate(errors=ERRORS, designs=designs, losses=losses)
    assert [again(design) for design in unseen] == expected  # the same seed, the same forest
    with pytest.raises(SpecError, match=r"too few measured designs .got 3, expected at least 8"):
        ForestEstimate(errors=ERRORS, designs=designs[:3], losses=losses[:3])
