"""Tucker ranks under a budget, against every choice of ranks on small tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from heat_sim.errors import SpecError
from heat_sim.tensorize import FORMATS, Factorization, Tensorization, project, reconstruct
from heat_sim.tensorize.core_shape import core_shape, core_shape_of_spectra, dropped_squares, mode_spectra

Array = NDArray[np.float64]
TUCKER = FORMATS["tucker"]


@st.composite
def shapes(draw: st.DrawFn) -> Tensorization:
    outs, ins = draw(st.sampled_from([(2, 1), (1, 2), (2, 2), (1, 3)]))
    modes = st.integers(1, 4)
    padding = (draw(st.integers(0, 1)), 0)
    out = tuple(draw(modes) for _ in range(outs))
    return Tensorization(
        out_modes=out,
        in_modes=tuple(draw(modes) for _ in range(ins)),
        padding=padding if math.prod(out) > 1 else (0, 0),
    )


@st.composite
def weights(draw: st.DrawFn, shape: Tensorization) -> Array:
    """Spectra from flat to steep."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    decay = draw(st.floats(0.0, 3.0))
    tensor = rng.standard_normal((shape.out_features, shape.in_features))
    scales = np.exp(-decay * np.arange(shape.out_features)), np.exp(-decay * np.arange(shape.in_features))
    return np.asarray(scales[0][:, None] * tensor * scales[1])


def all_ranks(shape: Tensorization) -> Iterator[tuple[tuple[int, ...], int]]:
    """Every choice of ranks and its parameters."""
    for ranks in itertools.product(*(range(1, limit + 1) for limit in TUCKER.max_ranks(shape))):
        yield ranks, Factorization(format="tucker", tensorization=shape, ranks=ranks).parameters


def unfolding(weight: Array, shape: Tensorization, mode: int) -> Array:
    tensor = np.pad(weight, [(0, more) for more in shape.padding]).reshape(shape.modes)
    return np.moveaxis(tensor, mode, 0).reshape(shape.modes[mode], -1)


def lost(weight: Array, shape: Tensorization, ranks: tuple[int, ...]) -> float:
    """Of the padded matrix: the surrogate speaks of all of the tensor."""
    whole = np.pad(weight, [(0, more) for more in shape.padding])
    factorization = Factorization(format="tucker", tensorization=shape.padded, ranks=ranks)
    return float(np.linalg.norm(whole - reconstruct(project(whole, factorization), factorization)) ** 2)


@given(st.data())
def test_spectra_are_those_of_the_unfoldings(data: st.DataObject) -> None:
    shape = data.draw(shapes())
    weight = data.draw(weights(shape))
    spectra = mode_spectra(weight, shape)
    assert tuple(map(len, spectra)) == TUCKER.max_ranks(shape)
    for mode, spectrum in enumerate(spectra):
        values = np.linalg.svd(unfolding(weight, shape, mode), compute_uv=False)
        np.testing.assert_allclose(spectrum, values**2, rtol=0, atol=1e-12 * np.linalg.norm(weight) ** 2)


@given(st.data())
@settings(max_examples=200)
def test_no_other_ranks_within_the_budget_drop_less(data: st.DataObject) -> None:
    shape = data.draw(shapes())
    spectra = mode_spectra(data.draw(weights(shape)), shape)
    every = dict(all_ranks(shape))
    budget = data.draw(st.integers(min(every.values()), max(every.values()) + 1))
    within = [ranks for ranks, parameters in every.items() if parameters <= budget]
    least = min(dropped_squares(spectra, ranks) for ranks in within)
    found = core_shape_of_spectra(spectra, shape, budget=budget)
    rounding = 1e-12 * sum(float(spectrum.sum()) for spectrum in spectra)
    assert every[found] <= budget
    assert dropped_squares(spectra, found) <= least + rounding

    ratio = data.draw(st.floats(1.0, 3.0))
    coarse = core_shape_of_spectra(spectra, shape, budget=budget, ratio=ratio)
    total = sum(float(spectrum.sum()) for spectrum in spectra)
    assert every[coarse] <= budget
    assert total - dropped_squares(spectra, coarse) >= (total - least) / ratio - rounding


def test_a_coarse_grid_keeps_its_share_on_longer_modes() -> None:
    """Modes of 2 to 4 hardly have a grid; these do. The oracle is the same enumeration, of 12 * 12 * 12 ranks."""
    shape = Tensorization(out_modes=(12, 12), in_modes=(12,))
    rng = np.random.default_rng(4)
    spectra = [np.sort(rng.random(12) ** power)[::-1] for power in (1, 3, 9)]
    every = dict(all_ranks(shape))
    total = sum(float(spectrum.sum()) for spectrum in spectra)
    seen = set()
    for budget, ratio in itertools.product((60, 150, 300, 700), (1.3, 2.0, 4.0)):
        most = max(total - dropped_squares(spectra, ranks) for ranks, size in every.items() if size <= budget)
        found = core_shape_of_spectra(spectra, shape, budget=budget, ratio=ratio)
        assert every[found] <= budget
        assert most / ratio <= total - dropped_squares(spectra, found) <= most + 1e-12
        seen.add(found == core_shape_of_spectra(spectra, shape, budget=budget))
    assert seen == {True, False}  # the coarse grid is really another one


@given(st.data())
def test_the_surrogate_is_between_the_loss_and_n_times_the_loss(data: st.DataObject) -> None:
    shape = data.draw(shapes())
    weight = data.draw(weights(shape))
    ranks = data.draw(st.sampled_from([ranks for ranks, _ in all_ranks(shape)]))
    surrogate = dropped_squares(mode_spectra(weight, shape), ranks)
    rounding = 1e-10 * float(np.linalg.norm(weight) ** 2)
    found = lost(weight, shape, ranks)
    assert found <= surrogate + rounding
    assert surrogate <= len(shape.modes) * found + rounding


@given(st.data())
@settings(max_examples=30)
def test_the_ranks_lose_at_most_n_times_what_any_others_do(data: st.DataObject) -> None:
    shape = data.draw(shapes())
    weight = data.draw(weights(shape))
    every = dict(all_ranks(shape))
    budget = data.draw(st.sampled_from(sorted(set(every.values()))))
    best = min(lost(weight, shape, ranks) for ranks, parameters in every.items() if parameters <= budget)
    found = lost(weight, shape, core_shape(weight, shape, budget=budget))
    assert found <= len(shape.modes) * best + 1e-10 * float(np.linalg.norm(weight) ** 2)


def test_exact_ranks_are_found_where_they_are_affordable() -> None:
    """A 6x6x6 tensor of ranks (2, 3, 2): 2 * 3 * 2 of core and 6 * (2 + 3 + 2) of factors."""
    rng = np.random.default_rng(3)
    factors = [np.linalg.qr(rng.standard_normal((6, rank)))[0] for rank in (2, 3, 2)]
    tensor = np.einsum("abc,xa,yb,zc->xyz", rng.standard_normal((2, 3, 2)), *factors)
    shape = Tensorization(out_modes=(6, 6), in_modes=(6,))
    found = core_shape(tensor.reshape(36, 6), shape, budget=2 * 3 * 2 + 6 * (2 + 3 + 2))
    assert found == (2, 3, 2)


def test_refusals_say_what_to_do() -> None:
    shape = Tensorization(out_modes=(4, 4), in_modes=(4,))
    spectra = [np.array([4.0, 3.0, 2.0, 1.0])] * 3
    least = min(parameters for _, parameters in all_ranks(shape))
    with pytest.raises(SpecError, match=rf"no ranks fit the budget \(got 3, expected at least {least} parameters"):
        core_shape_of_spectra(spectra, shape, budget=3)
    with pytest.raises(SpecError, match="no ranks fit the budget"):
        core_shape_of_spectra(spectra, shape, budget=least - 1)
    with pytest.raises(SpecError, match=r"not of these modes \(got lengths \(4, 4\), expected lengths \(4, 4, 4\)\)"):
        core_shape_of_spectra(spectra[:2], shape, budget=30)
    with pytest.raises(SpecError, match=r"not a ratio of ranks \(got 0.5"):
        core_shape_of_spectra(spectra, shape, budget=30, ratio=0.5)
    with pytest.raises(SpecError, match="modes that the format does not take"):
        core_shape(np.eye(4), Tensorization(out_modes=(4,), in_modes=(4,)), budget=30)
    with pytest.raises(SpecError, match="not a weight of these modes"):
        mode_spectra(np.eye(4), shape)
    with pytest.raises(SpecError, match="expected finite numbers"):
        mode_spectra(np.full((16, 4), np.nan), shape)


def test_too_many_shapes_are_refused_and_a_ratio_helps() -> None:
    large = Tensorization(out_modes=(3000, 3000), in_modes=(3000,))
    spectra = [np.arange(3000.0, 0.0, -1.0)] * 3
    with pytest.raises(SpecError, match=r"too many shapes to try \(got 9000000, .* Raise the ratio above 1.0"):
        core_shape_of_spectra(spectra, large, budget=10**8)
    found = core_shape_of_spectra(spectra, large, budget=10**8, ratio=1.05)
    assert Factorization(format="tucker", tensorization=large, ranks=found).parameters <= 10**8
