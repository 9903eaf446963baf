"""Laws of decompositions and contraction trees, on random shapes, ranks and numbers."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

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
from heat_sim.tensorize.metric import Metric, checked_metric

Array = NDArray[np.float64]


@st.composite
def tensorizations(draw: st.DrawFn, name: str, *, padded: bool = False) -> Tensorization:
    """Modes that suit the format, at most some hundred entries."""
    if name in ("dense", "low-rank"):
        outs, ins = (draw(st.integers(1, 12)),), (draw(st.integers(1, 12)),)
    elif name in ("btt", "block-low-rank"):
        outs, ins = (tuple(draw(st.integers(1, 4)) for _ in range(2)) for _ in range(2))
        ins = (outs[0], ins[1]) if name == "block-low-rank" else ins
    elif name == "tt-matrix":
        ndim = draw(st.integers(2, 4))
        modes = st.tuples(*[st.integers(1, 4 if ndim < 4 else 2)] * ndim)
        outs, ins = draw(modes), draw(modes)
    else:
        sides = draw(st.sampled_from([(1, 2), (2, 1), (2, 2), (3, 1)]))
        outs, ins = (tuple(draw(st.integers(1, 4)) for _ in range(count)) for count in sides)
    padding = (
        (draw(st.integers(0, min(2, math.prod(outs) - 1))), draw(st.integers(0, min(2, math.prod(ins) - 1))))
        if padded
        else (0, 0)
    )
    return Tensorization(out_modes=outs, in_modes=ins, padding=padding)


@st.composite
def factorizations(draw: st.DrawFn, *, padded: bool = False) -> Factorization:
    name = draw(st.sampled_from(sorted(FORMATS)))
    shape = draw(tensorizations(name, padded=padded))
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


@given(factorizations(padded=True), st.data())
def test_full_ranks_reconstruct_exactly(factorization: Factorization, data: st.DataObject) -> None:
    form = FORMATS[factorization.format]
    full = replace(factorization, ranks=form.max_ranks(factorization.tensorization))
    weight = data.draw(weights(full))
    moment = data.draw(st.none() | second_moments(full.in_features))
    gradients = data.draw(st.none() | second_moments(full.out_features))
    found = reconstruct(project(weight, full, second_moment=moment, gradient_moment=gradients), full)
    # Where D is taken into account it is inverted, and its condition is up to 1e10.
    tolerance = 1e-9 if gradients is None else 1e-6
    np.testing.assert_allclose(found, weight, rtol=0, atol=tolerance * np.linalg.norm(weight))


@given(factorizations(), st.data())
def test_truncation_loses_at_most_the_dropped_singular_values(
    factorization: Factorization, data: st.DataObject
) -> None:
    """Low-rank and btt: exactly those of the matrix or its blocks. TT: at most the sum over the unfoldings (Oseledets
    2011, theorem 2.2). Tucker: at most the sum over the modes (De Lathauwer et al. 2000, property 10)."""
    weight = data.draw(weights(factorization))
    lost = np.linalg.norm(weight - reconstruct(project(weight, factorization), factorization)) ** 2
    rounding = 1e-12 * np.linalg.norm(weight) ** 2
    shape, ranks = factorization.tensorization, factorization.ranks
    if factorization.format == "tt-matrix":
        matrices, kept = unfoldings(weight, shape), list(ranks[1:-1])
    elif factorization.format == "tucker":
        tensor = weight.reshape(shape.modes)
        matrices = [np.moveaxis(tensor, k, 0).reshape(mode, -1) for k, mode in enumerate(shape.modes)]
        kept = list(ranks)
    elif factorization.format == "btt":
        blocks = weight.reshape(*shape.modes).transpose(1, 2, 0, 3)
        matrices = list(blocks.reshape(-1, shape.out_modes[0], shape.in_modes[1]))
        kept = [ranks[0]] * len(matrices)
    elif factorization.format == "low-rank":
        matrices, kept = [weight], list(ranks)
    else:
        return
    dropped = [
        float((np.linalg.svd(matrix, compute_uv=False)[rank:] ** 2).sum())
        for matrix, rank in zip(matrices, kept, strict=True)
    ]
    if all(rank <= limit for rank, limit in zip(ranks, usable(factorization), strict=True)):
        assert lost <= sum(dropped) + rounding
    assert lost >= max(dropped) - rounding  # no matrix of that rank is nearer


@given(factorizations(padded=True), st.data())
def test_no_format_is_worse_than_nothing(factorization: Factorization, data: st.DataObject) -> None:
    """The zero matrix has every format and the error 1: a projection must not be worse, in whatever norm."""
    weight = data.draw(weights(factorization))
    moment = data.draw(st.none() | second_moments(factorization.in_features))
    gradients = data.draw(st.none() | second_moments(factorization.out_features))
    metric = {"second_moment": moment, "gradient_moment": gradients}
    found = reconstruct(project(weight, factorization, **metric), factorization)
    if np.linalg.norm(weight @ (np.eye(weight.shape[1]) if moment is None else moment)) > 0:
        assert relative_error(weight, found, **metric) <= 1 + 1e-6


@given(factorizations(), st.data())
def test_projection_is_deterministic_and_scales(factorization: Factorization, data: st.DataObject) -> None:
    weight = data.draw(weights(factorization))
    moment = data.draw(st.none() | second_moments(factorization.in_features))
    once, again, double = (
        project(matrix, factorization, second_moment=moment) for matrix in (weight, weight.copy(), 2 * weight)
    )
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    twice = reconstruct(double, factorization) - 2 * reconstruct(once, factorization)
    if factorization.format in ("dense", "low-rank", "btt") and moment is None:
        np.testing.assert_allclose(twice, 0, rtol=0, atol=1e-9 * np.linalg.norm(weight))


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


@given(factorizations(padded=True), st.data())
def test_weighting_never_harms_the_weighted_error(factorization: Factorization, data: st.DataObject) -> None:
    """With the second moments of inputs, of gradients or of both. Rows of padding are zeros that count like others."""
    weight = data.draw(weights(factorization))
    moment = data.draw(second_moments(factorization.in_features))
    gradients = data.draw(st.none() | second_moments(factorization.out_features))
    rows, columns = factorization.tensorization.padding
    whole = replace(factorization, tensorization=factorization.tensorization.padded)
    plain = reconstruct(project(weight, factorization), whole)
    weighted = reconstruct(project(weight, factorization, second_moment=moment, gradient_moment=gradients), whole)
    metric = Metric(
        inputs=np.pad(moment, (0, columns)), outputs=None if gradients is None else np.pad(gradients, (0, rows))
    )
    exact = np.pad(weight, ((0, rows), (0, columns)))
    scale = np.linalg.norm(weight) * np.sqrt(np.linalg.eigvalsh(moment)[-1])  # the error itself may be rounding
    scale *= 1.0 if gradients is None else np.sqrt(np.linalg.eigvalsh(gradients)[-1])
    before, after = (np.sqrt(metric.square(exact - found)) / scale for found in (plain, weighted))
    assert after <= before * (1 + 1e-9) + 1e-6
    if factorization.format not in ("dense", "low-rank"):  # the plain fit is among what they start from
        assert after**2 <= before**2 + 1e-12


@given(factorizations(), st.data())
def test_more_rank_never_harms_low_rank_nor_one_inner_rank(factorization: Factorization, data: st.DataObject) -> None:
    if factorization.format not in ("low-rank", "btt") and not (
        factorization.format == "tt-matrix" and len(factorization.ranks) == 3
    ):
        return
    weight = data.draw(weights(factorization))
    form = FORMATS[factorization.format]
    limits = form.max_ranks(factorization.tensorization)
    larger = tuple(min(rank + 1, limit) for rank, limit in zip(factorization.ranks, limits, strict=True))
    more = Factorization(format=factorization.format, tensorization=factorization.tensorization, ranks=larger)
    before, after = (relative_error(weight, reconstruct(project(weight, f), f)) for f in (factorization, more))
    assert after <= before + 1e-9


@given(factorizations(padded=True))
def test_parameters_are_the_sum_of_the_cores(factorization: Factorization) -> None:
    cores = project(np.ones((factorization.out_features, factorization.in_features)), factorization)
    assert sum(core.size for core in cores) == factorization.parameters
    assert tuple(core.shape for core in cores) == factorization.core_shapes


@given(factorizations(padded=True), st.integers(1, 3), st.data())
def test_every_tree_of_a_layer_gives_the_dense_layers_output(
    factorization: Factorization, tokens: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = factorization.tensorization
    cores = dict(
        zip(factorization.core_names, [rng.normal(size=each) for each in factorization.core_shapes], strict=True)
    )
    matrix = reconstruct(list(cores.values()), factorization)
    x = rng.normal(size=(tokens, factorization.in_features))
    padded = np.pad(x, ((0, 0), (0, shape.padding[1])))
    whole = np.zeros((tokens, math.prod(shape.out_modes)))
    for einsum in factorization.einsums(tokens):
        own = {tensor.name for tensor in einsum.inputs} - {"X"}
        known = {name: core for name, core in cores.items() if name in own} | {
            "X": padded.reshape(tokens, *shape.in_modes)
        }
        tree = data.draw(st.sampled_from(contraction_trees(einsum)))
        contraction = contract(einsum, tree, ahead_of_time=frozenset(own))
        for step in (*contraction.offline, *contraction.online.einsums):
            letters = {var: chr(ord("a") + k) for k, var in enumerate(step.rank_vars)}
            terms = ["".join(letters[var] for var in tensor.rank_vars) for tensor in step.tensors]
            known[step.output.name] = np.einsum(
                f"{terms[0]},{terms[1]}->{terms[2]}", *(known[tensor.name] for tensor in step.inputs)
            )
        whole += known["Y"].reshape(tokens, -1)
        # What the online steps read is stored; nothing else of the weights is.
        assert {name for name, _ in contraction.stored}.isdisjoint({"X", "Y"})
        assert all(known[name].size == words for name, words in contraction.stored)
    scale = 1 + np.abs(matrix).max() + max(np.abs(core).max() for core in cores.values()) ** len(cores)
    found = whole[:, : factorization.out_features]
    np.testing.assert_allclose(found, x @ matrix.T, rtol=0, atol=1e-9 * scale)


@given(st.lists(factorizations(padded=True), min_size=1, max_size=4), st.integers(1, 512), st.data())
def test_designs_survive_their_file(layers: list[Factorization], tokens: int, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.text(min_size=1), min_size=len(layers), max_size=len(layers), unique=True))
    trees = [
        tuple(data.draw(st.sampled_from(contraction_trees(einsum))) for einsum in layer.einsums(1)) for layer in layers
    ]
    chosen = [LayerDesign(factorization=layer, trees=tree) for layer, tree in zip(layers, trees, strict=True)]
    design = Design(
        id=data.draw(st.text(min_size=1)),
        model="m",
        tokens=tokens,
        architecture="a",
        layers=tuple(zip(names, chosen, strict=True)),
    )
    assert parse_design(dump_design(design)) == design


@given(factorizations(), st.data())
def test_leading_parts_have_the_format_and_are_exact_at_full_ranks(
    factorization: Factorization, data: st.DataObject
) -> None:
    """And least squares, which start from what they approximate, end no worse."""
    form, shape = FORMATS[factorization.format], factorization.tensorization
    weight = data.draw(weights(factorization))
    moment = data.draw(st.none() | second_moments(factorization.in_features))
    metric = checked_metric(moment, None, shape=(weight.shape[0], weight.shape[1]))
    leading = form.leading(weight, shape, metric=metric)
    if leading is None:
        assert factorization.format in ("cp", "tensor-ring", "block-low-rank", "block-term")
        return
    full = replace(factorization, ranks=form.max_ranks(shape))
    np.testing.assert_allclose(
        reconstruct(leading(full.ranks), full), weight, rtol=0, atol=1e-7 * np.linalg.norm(weight)
    )
    quick = reconstruct(leading(factorization.ranks), factorization)
    fitted = reconstruct(project(weight, factorization, second_moment=moment), factorization)
    scale = np.linalg.norm(weight) * (1.0 if moment is None else np.sqrt(np.linalg.eigvalsh(moment)[-1]))
    before, after = (np.sqrt(metric.square(weight - found)) / scale for found in (quick, fitted))
    if factorization.format in ("low-rank", "btt"):  # of the others the start differs: iterated, or of usable ranks
        assert after <= before * (1 + 1e-9) + 1e-6
