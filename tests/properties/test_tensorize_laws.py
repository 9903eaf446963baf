"""Laws of decompositions and contraction trees, on random shapes, ranks and numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from heat_sim.tensorize import (
    FORMATS,
    Factorization,
    LayerDesign,
    Tensorization,
    contract,
    contraction_trees,
    project,
    reconstruct,
    relative_error,
)
from heat_sim.tensorize.design import Design, dump_design, parse_design

Array = NDArray[np.float64]


@st.composite
def tensorizations(draw: st.DrawFn, name: str) -> Tensorization:
    ndim = 1 if name != "tt-matrix" else draw(st.integers(2, 4))
    largest = 12 if ndim == 1 else 4 if ndim < 4 else 2
    modes = st.tuples(*[st.integers(1, largest)] * ndim)
    return Tensorization(out_modes=draw(modes), in_modes=draw(modes))


@st.composite
def factorizations(draw: st.DrawFn) -> Factorization:
    name = draw(st.sampled_from(sorted(FORMATS)))
    shape = draw(tensorizations(name))
    ranks = tuple(draw(st.integers(1, limit)) for limit in FORMATS[name].max_ranks(shape))
    return Factorization(format=name, tensorization=shape, ranks=ranks)


@st.composite
def weights(draw: st.DrawFn, factorization: Factorization) -> Array:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (factorization.out_features, factorization.in_features)
    weight = rng.normal(size=shape) * 10.0 ** draw(st.integers(-6, 6))
    rank = draw(st.integers(1, min(shape)))
    left, values, right = np.linalg.svd(weight, full_matrices=False)
    return np.asarray((left[:, :rank] * values[:rank]) @ right[:rank])  # any rank, full or not


@st.composite
def second_moments(draw: st.DrawFn, in_features: int) -> Array:
    """From well conditioned to singular, with eigenvalues over up to ten decades."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    decades = draw(st.floats(0.0, 10.0))
    samples = rng.normal(size=(draw(st.integers(1, 2 * in_features)), in_features))
    samples = (
        samples
        * 10.0 ** (-decades * rng.random(in_features) / 2)
        @ np.linalg.qr(rng.normal(size=(in_features, in_features)))[0]
    )
    return np.asarray(samples.T @ samples / len(samples))


def unfoldings(weight: Array, shape: Tensorization) -> list[Array]:
    """The matrix whose rank bounds TT-rank k, for every k: modes 1..k against the others."""
    ndim = shape.ndim
    axes = list(itertools.chain.from_iterable((k, ndim + k) for k in range(ndim)))
    tensor = weight.reshape(*shape.out_modes, *shape.in_modes).transpose(axes)
    rows = [math.prod(shape.out_modes[:k]) * math.prod(shape.in_modes[:k]) for k in range(1, ndim)]
    return [tensor.reshape(count, -1) for count in rows]


@given(factorizations(), st.data())
def test_full_ranks_reconstruct_exactly(factorization: Factorization, data: st.DataObject) -> None:
    form = FORMATS[factorization.format]
    full = Factorization(
        format=factorization.format,
        tensorization=factorization.tensorization,
        ranks=form.max_ranks(factorization.tensorization),
    )
    weight = data.draw(weights(full))
    moment = data.draw(st.none() | second_moments(full.in_features))
    found = reconstruct(project(weight, full, second_moment=moment), full)
    np.testing.assert_allclose(found, weight, rtol=0, atol=1e-9 * np.linalg.norm(weight))


@given(factorizations(), st.data())
def test_truncation_loses_at_most_the_dropped_singular_values(
    factorization: Factorization, data: st.DataObject
) -> None:
    """Low-rank: exactly those of the matrix. TT: at most the sum over the unfoldings (Oseledets 2011, theorem 2.2)."""
    weight = data.draw(weights(factorization))
    lost = np.linalg.norm(weight - reconstruct(project(weight, factorization), factorization)) ** 2
    rounding = 1e-12 * np.linalg.norm(weight) ** 2
    if factorization.format == "tt-matrix":
        matrices, ranks = unfoldings(weight, factorization.tensorization), factorization.ranks[1:-1]
    else:
        matrices, ranks = [weight], (*factorization.ranks, min(weight.shape))[:1]
    dropped = [
        float((np.linalg.svd(matrix, compute_uv=False)[rank:] ** 2).sum())
        for matrix, rank in zip(matrices, ranks, strict=True)
    ]
    if all(rank <= limit for rank, limit in zip(factorization.ranks, usable(factorization), strict=True)):
        assert lost <= sum(dropped) + rounding
    assert lost >= max(dropped) - rounding  # no matrix of that rank is nearer
    if factorization.format == "low-rank":
        assert lost <= dropped[0] + rounding


def usable(factorization: Factorization) -> tuple[int, ...]:
    """What the neighbours of every TT-rank can carry; the bound speaks of ranks that are all in use."""
    if factorization.format != "tt-matrix":
        return factorization.ranks
    sizes = [
        o * i for o, i in zip(factorization.tensorization.out_modes, factorization.tensorization.in_modes, strict=True)
    ]
    ranks = factorization.ranks
    inner = [min(ranks[k - 1] * sizes[k - 1], ranks[k + 1] * sizes[k]) for k in range(1, len(sizes))]
    return (1, *inner, 1)


@given(st.data())
def test_low_rank_without_a_moment_is_the_truncated_svd(data: st.DataObject) -> None:
    shape = data.draw(tensorizations("low-rank"))
    rank = data.draw(st.integers(1, min(shape.out_features, shape.in_features)))
    factorization = Factorization(format="low-rank", tensorization=shape, ranks=(rank,))
    weight = data.draw(weights(factorization))
    left, values, right = np.linalg.svd(weight, full_matrices=False)
    truncated = (left[:, :rank] * values[:rank]) @ right[:rank]
    for moment in (None, np.eye(shape.in_features)):
        found = reconstruct(project(weight, factorization, second_moment=moment), factorization)
        # Equal singular values leave the matrix open, never its error.
        assert np.isclose(
            np.linalg.norm(weight - found),
            np.linalg.norm(weight - truncated),
            rtol=0,
            atol=1e-9 * np.linalg.norm(weight),
        )
        gap = values[rank - 1] - (values[rank] if rank < len(values) else 0.0)
        if gap > 1e-3 * values[0]:
            np.testing.assert_allclose(found, truncated, rtol=0, atol=1e-9 * values[0])


@given(factorizations(), st.data())
def test_weighting_never_harms_the_weighted_error(factorization: Factorization, data: st.DataObject) -> None:
    weight = data.draw(weights(factorization))
    moment = data.draw(second_moments(factorization.in_features))
    plain, weighted = (
        reconstruct(project(weight, factorization, second_moment=given), factorization) for given in (None, moment)
    )
    scale = np.linalg.norm(weight) * np.sqrt(
        np.linalg.eigvalsh(moment)[-1]
    )  # ||W C^(1/2)|| may be as small as rounding

    def error(approximation: Array) -> float:
        gap = weight - approximation
        return float(np.sqrt(max(0.0, np.vdot(gap @ moment, gap)))) / scale

    assert error(weighted) <= error(plain) * (1 + 1e-9) + 1e-6
    if factorization.format == "tt-matrix":  # the sweeps start from the plain one and are checked
        assert error(weighted) ** 2 <= error(plain) ** 2 + 1e-12


@given(factorizations(), st.data())
def test_more_rank_never_harms_low_rank_nor_one_inner_rank(factorization: Factorization, data: st.DataObject) -> None:
    if len(factorization.ranks) not in (1, 3):
        return
    weight = data.draw(weights(factorization))
    form = FORMATS[factorization.format]
    limits = form.max_ranks(factorization.tensorization)
    larger = tuple(min(rank + 1, limit) for rank, limit in zip(factorization.ranks, limits, strict=True))
    more = Factorization(format=factorization.format, tensorization=factorization.tensorization, ranks=larger)
    before, after = (relative_error(weight, reconstruct(project(weight, f), f)) for f in (factorization, more))
    assert after <= before + 1e-9


@given(factorizations())
def test_parameters_are_the_sum_of_the_cores(factorization: Factorization) -> None:
    cores = project(np.ones((factorization.out_features, factorization.in_features)), factorization)
    assert sum(core.size for core in cores) == factorization.parameters
    assert tuple(core.shape for core in cores) == factorization.core_shapes


@given(factorizations(), st.integers(1, 3), st.data())
def test_every_tree_of_a_layer_gives_the_dense_layers_output(
    factorization: Factorization, tokens: int, data: st.DataObject
) -> None:
    einsum = factorization.einsum(tokens)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    tree = data.draw(st.sampled_from(contraction_trees(einsum)))
    known = dict(
        zip(factorization.core_names, [rng.normal(size=shape) for shape in factorization.core_shapes], strict=True)
    )
    matrix = reconstruct(list(known.values()), factorization)
    x = rng.normal(size=(tokens, factorization.in_features))
    known["X"] = x.reshape(tokens, *factorization.tensorization.in_modes)
    contraction = contract(einsum, tree, ahead_of_time=frozenset(factorization.core_names))
    for step in (*contraction.offline, *contraction.online.einsums):
        letters = {var: chr(ord("a") + k) for k, var in enumerate(step.rank_vars)}
        terms = ["".join(letters[var] for var in tensor.rank_vars) for tensor in step.tensors]
        known[step.output.name] = np.einsum(
            f"{terms[0]},{terms[1]}->{terms[2]}", *(known[tensor.name] for tensor in step.inputs)
        )
    found = known["Y"].reshape(tokens, -1)
    np.testing.assert_allclose(found, x @ matrix.T, rtol=0, atol=1e-9 * (1 + np.abs(matrix).max()))
    # What the online steps read is stored; nothing else of the weights is.
    assert {name for name, _ in contraction.stored}.isdisjoint({"X", "Y"})
    assert all(known[name].size == words for name, words in contraction.stored)


@given(st.lists(factorizations(), min_size=1, max_size=4), st.integers(1, 512), st.data())
def test_designs_survive_their_file(layers: list[Factorization], tokens: int, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.text(min_size=1), min_size=len(layers), max_size=len(layers), unique=True))
    trees = [data.draw(st.sampled_from(contraction_trees(layer.einsum(1)))) for layer in layers]
    chosen = [LayerDesign(factorization=layer, tree=tree) for layer, tree in zip(layers, trees, strict=True)]
    design = Design(
        id=data.draw(st.text(min_size=1)),
        model="m",
        tokens=tokens,
        architecture="a",
        layers=tuple(zip(names, chosen, strict=True)),
    )
    assert parse_design(dump_design(design)) == design
