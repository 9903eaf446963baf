"""The SuperNet against what it stands for: layers built from sliced cores, ordinary students, best approximations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification  # noqa: E402

from heat_sim.distill.batches import Batch  # noqa: E402
from heat_sim.distill.calibrate import encoder_linears, weight_of  # noqa: E402
from heat_sim.distill.layers import FactorizedLinear  # noqa: E402
from heat_sim.distill.loop import seeded_torch  # noqa: E402
from heat_sim.distill.supernet import (  # noqa: E402
    build_supernet,
    choose,
    elastic_layers,
    extract,
    plain_design,
    running,
    set_ranks,
    with_cores,
)
from heat_sim.distill.supernet_cores import ordered_cores, sorted_summands  # noqa: E402
from heat_sim.distill.supernet_estimate import SuperNetEstimate  # noqa: E402
from heat_sim.distill.supernet_layer import ElasticLinear, PrefixLinear, layer_design  # noqa: E402
from heat_sim.distill.supernet_loss import SuperNetLoss  # noqa: E402
from heat_sim.distill.supernet_options import (  # noqa: E402
    at_share,
    draw_end,
    draw_ranks,
    largest_factorization,
    supernet_options,
)
from heat_sim.distill.supernet_settings import SuperNetSettings  # noqa: E402
from heat_sim.distill.supernet_table import SuperNetTable, supernet_table  # noqa: E402
from heat_sim.errors import SpecError  # noqa: E402
from heat_sim.tensorize import FORMATS, rank_errors, reconstruct  # noqa: E402
from heat_sim.tensorize.factorization import Factorization  # noqa: E402
from heat_sim.tensorize.tensorization import Tensorization  # noqa: E402

QUERY = "encoder.layer.0.attention.self.query"


def factorization(
    name: str, outs: tuple[int, ...], ins: tuple[int, ...], ranks: tuple[int, ...], padding: tuple[int, int] = (0, 0)
) -> Factorization:
    return Factorization(
        format=name, tensorization=Tensorization(out_modes=outs, in_modes=ins, padding=padding), ranks=ranks
    )


# Largest factorization, and the ranks that are cut from it.
CUTS = (
    (factorization("dense", (6,), (8,), ()), ()),
    (factorization("low-rank", (6,), (8,), (5,)), (3,)),
    (factorization("low-rank", (6,), (8,), (5,), (1, 2)), (1,)),
    (factorization("cp", (3, 2), (4,), (6,)), (4,)),
    (factorization("tucker", (3, 2), (4,), (2, 1, 3)), (1, 1, 2)),
    (factorization("tucker", (3, 2), (4,), (2, 1, 3)), (2, 2, 1)),  # a mode of whole extent has no factor
    (factorization("tucker", (3, 2), (4,), (2, 1, 3)), (3, 2, 4)),
    (factorization("tt-matrix", (2, 3, 2), (2, 1, 4), (1, 4, 6, 1)), (1, 3, 2, 1)),
    (factorization("tensor-ring", (3, 2), (4,), (2, 3, 4)), (1, 2, 3)),
    (factorization("btt", (3, 2), (2, 4), (3,)), (2,)),
    (factorization("block-low-rank", (2, 3), (2, 4), (4,)), (2,)),
    (factorization("block-term", (3, 2), (4,), (3, 2, 1, 3)), (2, 1, 1, 2)),
    (factorization("block-term", (3, 2), (4,), (3, 2, 1, 3)), (2, 3, 2, 1)),
)


def random_cores(largest: Factorization) -> list[torch.Tensor]:
    rng = np.random.default_rng(5)
    return [torch.tensor(rng.normal(size=shape)) for shape in largest.core_shapes]


def sliced(cores: list[torch.Tensor], largest: Factorization, wanted: Factorization) -> torch.Tensor:
    """The matrix of the leading parts, axis by axis, independent of the code under test."""
    where = dict(zip(largest.core_names, cores, strict=True))
    extents = {var: extent for spec in largest.core_specs for var, extent in spec.dims}
    for spec in wanted.core_specs:
        extents |= {var: extent for var, extent in spec.dims if var in extents}
    parts = {}
    for spec in largest.core_specs:
        part = where[spec.name].numpy()
        for axis, (var, _) in enumerate(spec.dims):
            part = part.take(range(extents[var]), axis=axis)
        parts[spec.name] = part
    ranks = tuple(min(rank, most) for rank, most in zip(wanted.ranks, largest.ranks, strict=True))
    return torch.tensor(reconstruct(list(parts.values()), replace(largest, ranks=ranks)))


def ids(cut: object) -> str | None:
    return f"{cut.format} {cut.tensorization}" if isinstance(cut, Factorization) else None


def test_every_format_is_cut() -> None:
    assert {largest.format for largest, _ in CUTS} == set(FORMATS)


@pytest.mark.parametrize("execution", ["cascade", "reconstructed"])
@pytest.mark.parametrize(("largest", "ranks"), CUTS, ids=ids)
def test_a_prefix_is_the_layer_built_from_the_sliced_cores(
    largest: Factorization, ranks: tuple[int, ...], execution: str
) -> None:
    cores, wanted = random_cores(largest), replace(largest, ranks=ranks)
    layer = PrefixLinear(largest, cores=cores)
    layer.execution = execution
    x = torch.tensor(np.random.default_rng(6).normal(size=(2, 5, largest.in_features)))
    layer.use(wanted)
    small = FactorizedLinear(layer_design(wanted), cores=layer.cut_cores(wanted), bias=None)
    expected = x @ sliced(cores, largest, wanted).T
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(small(x), expected, rtol=1e-12, atol=1e-12)
    layer.use(largest)  # and nothing was lost
    whole = FactorizedLinear(layer_design(largest), cores=cores, bias=None)
    torch.testing.assert_close(layer(x), whole(x), rtol=1e-12, atol=1e-12)


def test_gradients_reach_the_prefix_alone() -> None:
    largest = factorization("low-rank", (6,), (8,), (5,))
    layer = PrefixLinear(largest, cores=random_cores(largest))
    layer.use(replace(largest, ranks=(2,)))
    layer(torch.ones(3, 8, dtype=torch.float64)).square().sum().backward()
    gradient = layer.cores["G1"].grad
    assert gradient[:, :2].abs().min() > 0
    assert gradient[:, 2:].abs().max() == 0


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            factorization("low-rank", (6,), (8,), (6,)),
            r"beyond its largest ranks \(got \(6,\), expected at most \(5,\)",
        ),
        (factorization("low-rank", (6,), (8,), (2,), (0, 1)), "not a prefix of it"),
        (factorization("btt", (3, 2), (2, 4), (2,)), r"not a prefix of it \(got btt"),
    ],
    ids=["too many", "padded", "another format"],
)
def test_what_is_no_prefix_is_refused(wanted: Factorization, message: str) -> None:
    largest = factorization("low-rank", (6,), (8,), (5,))
    layer = PrefixLinear(largest, cores=random_cores(largest))
    with pytest.raises(SpecError, match=message):
        layer.use(wanted)
    assert layer.used == largest


def test_a_factor_that_was_never_trained_is_refused() -> None:
    whole = factorization("tucker", (3, 2), (4,), (3, 1, 3))
    with pytest.raises(SpecError, match=r"a core that it does not have \(got F1"):
        PrefixLinear(whole, cores=random_cores(whole)).use(replace(whole, ranks=(2, 1, 3)))


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"dense"}))
def test_the_largest_has_fewer_parameters_and_every_factor(name: str) -> None:
    (modes, *_) = FORMATS[name].tensorizations(16, 24, keep=1)
    largest = largest_factorization(name, modes)
    assert largest.parameters < 16 * 24
    assert largest.core_names == at_share(largest, 0.0).core_names
    assert largest_factorization(name, modes, share=0.5).parameters <= largest.parameters


def test_sorting_summands_keeps_the_matrix_and_sorts() -> None:
    for largest, _ in CUTS:
        cores = [core.numpy() for core in random_cores(largest)]
        ordered = sorted_summands(cores, largest)
        np.testing.assert_allclose(reconstruct(ordered, largest), reconstruct(cores, largest), rtol=0, atol=1e-12)
        if largest.format == "cp":
            norms = np.prod([np.linalg.norm(core, axis=0) for core in ordered], axis=0)
            assert (np.diff(norms) <= 0).all()
            unsorted = np.prod([np.linalg.norm(core, axis=0) for core in cores], axis=0)
            assert (np.diff(unsorted) > 0).any()


def test_every_prefix_of_low_rank_is_the_best_of_its_rank_before_training() -> None:
    rng = np.random.default_rng(3)
    weight, samples = rng.normal(size=(6, 8)), rng.normal(size=(20, 8)) * np.arange(1, 9)
    moment = samples.T @ samples / 20
    largest = factorization("low-rank", (6,), (8,), (6,))
    cores = ordered_cores(weight, largest, second_moment=moment)
    best = rank_errors(weight, second_moment=moment)
    whole = np.trace(weight @ moment @ weight.T)
    for rank in range(1, 6):
        gap = weight - cores[0][:, :rank] @ cores[1][:rank]
        assert np.sqrt(np.trace(gap @ moment @ gap.T) / whole) == pytest.approx(best[rank - 1], rel=1e-9)


@pytest.mark.parametrize("prefixes", [True, False], ids=["sampled prefixes", "full rank only"])
def test_training_with_sampled_prefixes_finds_the_best_approximation_of_every_rank(prefixes: bool) -> None:
    """Maestro's theorem for a linear map (Horvath et al. 2024), from random cores; without sampling there is no order.

    The map has singular values 5, 4, .., 1 and the inputs are white, so that the best error of rank k is known.
    """
    rng = np.random.default_rng(1)
    (left, _), (right, _) = (np.linalg.qr(rng.normal(size=(5, 5))) for _ in range(2))
    values = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    inputs = torch.tensor(np.linalg.qr(rng.normal(size=(20, 5)))[0])  # (samples, 5), orthonormal columns
    target = inputs @ torch.tensor((left * values) @ right).T
    largest = factorization("low-rank", (5,), (5,), (5,))
    layer = PrefixLinear(largest, cores=[torch.tensor(rng.normal(size=(5, 5)) * 0.5) for _ in range(2)])
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.03)
    steps = 3000
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.03 * (1 - step / steps)
        layer.use(replace(largest, ranks=(int(rng.integers(1, 6)) if prefixes else 5,)))
        optimiser.zero_grad()
        (layer(inputs) - target).square().sum().backward()
        optimiser.step()
    excess = []
    for rank in range(1, 6):
        layer.use(replace(largest, ranks=(rank,)))
        error = (layer(inputs) - target).square().sum().item()
        excess.append((error - (values[rank:] ** 2).sum()) / (values**2).sum())
    assert min(excess) > -1e-9  # nothing is better than the best
    if prefixes:
        assert max(excess) < 0.01
    else:
        assert excess[-1] < 0.01 < 0.05 < max(excess)


def bert() -> BertForSequenceClassification:
    config = BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, vocab_size=11,
        initializer_range=0.5, attn_implementation="eager",
    )  # fmt: skip
    with seeded_torch(0):
        return BertForSequenceClassification(config).double().eval()


def sizes(model: object) -> dict[str, tuple[int, int]]:
    return {name: tuple(weight_of(linear).shape) for name, linear in encoder_linears(model).items()}


def batches() -> list[Batch]:
    rng = np.random.default_rng(2)
    ids, mask = torch.tensor(rng.integers(0, 11, size=(6, 5))), torch.ones(6, 5, dtype=torch.int64)
    mask[3:, 3:] = 0
    return [
        Batch.of_tokens(input_ids=ids[k : k + 3], attention_mask=mask[k : k + 3], labels=torch.tensor([0, 1, 1]))
        for k in (0, 3)
    ]


def outputs(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([model(**batch.inputs).logits for batch in batches()])


@pytest.fixture(scope="module")
def model() -> BertForSequenceClassification:
    return bert()


@pytest.fixture
def supernet(model: BertForSequenceClassification) -> object:
    """Dense, low-rank and one tensorization of every tensor format, with random cores."""
    options = supernet_options(sizes(model), formats=tuple(FORMATS))
    rng = np.random.default_rng(4)
    cores = {
        (name, place): tuple(rng.normal(size=shape) / 3 for shape in each.core_shapes)
        for name, some in options.items()
        for place, each in enumerate(some)
    }
    return with_cores(model, options, cores)


def test_an_extracted_student_equals_the_supernet_in_every_format(model: object, supernet: object) -> None:
    for seed in range(6):
        options = {name: layer.largest for name, layer in elastic_layers(supernet).items()}
        design = draw_ranks(options, steps=6, spread=1.0, rng=np.random.default_rng(seed))
        student = extract(supernet, plain_design(design))
        assert not any(isinstance(module, ElasticLinear) for module in student.modules())
        dense = sum(isinstance(module, torch.nn.Linear) for module in encoder_modules(student))
        assert dense == sum(each.format == "dense" for each in design.values())
        with running(supernet, design):
            torch.testing.assert_close(outputs(student), outputs(supernet), rtol=1e-12, atol=1e-12)
        assert (outputs(student) - outputs(model)).abs().max() > 1e-3
        assert (outputs(supernet) - outputs(model)).abs().max() > 1e-3


def encoder_modules(student: object) -> list[torch.nn.Module]:
    return [module for name, module in student.named_modules() if ".layer." in name]


def test_a_student_of_all_matrices_dense_is_the_teacher(model: object) -> None:
    student = build_supernet(model, supernet_options(sizes(model), formats=("dense", "low-rank")))
    torch.testing.assert_close(outputs(student), outputs(model), rtol=1e-12, atol=1e-12)
    dense = {name: layer.largest[0] for name, layer in elastic_layers(student).items()}
    torch.testing.assert_close(outputs(extract(student, dense)), outputs(model), rtol=1e-12, atol=1e-12)


def test_transposed_weights_come_back_transposed() -> None:
    config = GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=11, n_positions=8, n_inner=12, pad_token_id=0)
    with seeded_torch(0):
        model = GPT2ForSequenceClassification(config).double().eval()
    student = build_supernet(model, supernet_options(sizes(model), formats=("dense", "low-rank")))
    torch.testing.assert_close(outputs(student), outputs(model), rtol=1e-12, atol=1e-12)
    dense = {name: layer.largest[0] for name, layer in elastic_layers(student).items()}
    again = extract(student, dense)
    assert sizes(again) == sizes(model)
    torch.testing.assert_close(outputs(again), outputs(model), rtol=1e-12, atol=1e-12)


def test_ranks_are_set_for_the_named_matrices_and_given_back(model: object) -> None:
    student = build_supernet(model, supernet_options(sizes(model)))
    before = outputs(student)
    layers = elastic_layers(student)
    with running(student, {QUERY: replace(layers[QUERY].largest[0], ranks=(1,))}):
        assert layers[QUERY].used.ranks == (1,)
        assert {layer.used.ranks for name, layer in layers.items() if name != QUERY} == {(3,), (4,)}
        assert (outputs(student) - before).abs().max() > 1e-6
    assert torch.equal(outputs(student), before)
    set_ranks(student, {QUERY: (2,)})
    assert layers[QUERY].used.ranks == (2,)
    with running(student, {}):  # names nothing: everything at its largest
        assert torch.equal(outputs(student), before)
    assert layers[QUERY].used.ranks == (2,)


def test_misfits_are_refused_together_and_nothing_changes(model: object) -> None:
    student = build_supernet(model, supernet_options(sizes(model)))
    key = QUERY.replace("query", "key")
    with pytest.raises(SpecError, match=r"unknown matrices \(got nowhere"):
        set_ranks(student, {QUERY: (1,), "nowhere": (1,)})
    with pytest.raises(SpecError, match="wrong number of ranks"):
        set_ranks(student, {QUERY: (1, 1)})
    low, tt = (factorization("low-rank", (8,), (8,), (4,)), factorization("tt-matrix", (4, 2), (2, 4), (1, 1, 1)))
    with pytest.raises(SpecError) as caught:
        choose(student, {QUERY.replace("0", "1"): replace(low, ranks=(1,)), QUERY: low, key: tt, "nowhere": low})
    assert [part in str(caught.value) for part in ("beyond its largest", "not trained", "nowhere")] == [True] * 3
    assert {layer.used.ranks for layer in elastic_layers(student).values()} == {(3,), (4,)}
    with pytest.raises(SpecError, match="not a SuperNet"):
        set_ranks(model, {QUERY: (1,)})


def test_options_that_do_not_fit_the_model_are_refused_together(model: object) -> None:
    options = supernet_options(sizes(model))
    options["nowhere"] = options.pop(QUERY)
    options[QUERY.replace("query", "key")] = (factorization("low-rank", (8,), (12,), (2,)),)
    with pytest.raises(SpecError, match="another size") as caught:
        build_supernet(model, options)
    assert f"no option for {QUERY}" in str(caught.value)
    assert "the model has no matrix nowhere" in str(caught.value)
    largest = factorization("low-rank", (6,), (8,), (5,))
    with pytest.raises(SpecError, match="not distinct formats and modes"):
        ElasticLinear([PrefixLinear(largest, cores=random_cores(largest)) for _ in range(2)], bias=None)
    with pytest.raises(SpecError, match=r"unknown \(got tt,"):
        supernet_options(sizes(model), formats=("tt",))
    with pytest.raises(SpecError, match=r"no format takes it \(got none"):
        supernet_options(sizes(model), formats=())


def test_joint_designs_are_refused(model: object) -> None:
    student = build_supernet(model, supernet_options(sizes(model)))
    design = plain_design({name: layer.largest[0] for name, layer in elastic_layers(student).items()})
    _query, _key, *rest = design.layers
    both = replace(
        layer_design(factorization("low-rank", (16,), (8,), (2,))), members=(QUERY, QUERY.replace("query", "key"))
    )
    with pytest.raises(SpecError, match="joint matrices are not in a SuperNet"):
        extract(student, replace(design, layers=(("both", both), *rest)))


def test_draws_cover_the_steps_and_keep_to_their_window() -> None:
    largest = factorization("low-rank", (64,), (64,), (24,))
    options = {f"m{k}": (largest,) for k in range(30)}
    rng = np.random.default_rng(0)
    drawn = [[f.ranks[0] for f in draw_ranks(options, steps=12, spread=0.25, rng=rng).values()] for _ in range(300)]
    assert {rank for each in drawn for rank in each} == set(range(2, 25, 2))
    assert max(max(each) - min(each) for each in drawn) <= 2 * (2 * 0.25 * 11)
    means = [np.mean(each) for each in drawn]
    assert min(means) < 5 < 21 < max(means)  # small and large networks as a whole
    wide = [[f.ranks[0] for f in draw_ranks(options, steps=12, spread=1.0, rng=rng).values()] for _ in range(300)]
    assert min(np.mean(each) for each in wide) > 8  # independent ranks average out
    both = {f"m{k}": (factorization("dense", (64,), (64,), ()), largest) for k in range(30)}
    dense = [sum(not f.ranks for f in draw_ranks(both, steps=4, spread=1.0, rng=rng).values()) for _ in range(300)]
    assert min(dense) <= 2
    assert max(dense) >= 28
    assert {f.ranks for f in draw_end(both, share=0.5, rng=rng).values()} == {(12,)}


def test_the_same_generator_draws_the_same() -> None:
    options = {f"m{k}": (factorization("low-rank", (64,), (64,), (24,)),) for k in range(5)}
    one, same, other = (
        draw_ranks(options, steps=24, spread=0.5, rng=np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": -1}, r"SuperNetSettings.epochs: out of range \(got -1, expected 0 or more"),
        ({"rank_steps": 0}, "rank_steps: out of range"),
        ({"spread": 1.5}, "spread: not a share"),
        ({"soft_weight": 2.0}, "soft_weight: not a share"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SuperNetSettings(**changes)


def test_the_estimate_is_what_its_measures_say(model: object) -> None:
    student = build_supernet(model, supernet_options(sizes(model)))
    design = {name: replace(layer.largest[0], ranks=(1,)) for name, layer in elastic_layers(student).items()}
    with torch.no_grad():
        student.classifier.weight.neg_()  # so that it is wrong about something
    exact = outputs(model).softmax(dim=-1)
    with running(student, design):
        ours = outputs(student).softmax(dim=-1)
    labels = torch.cat([batch.labels for batch in batches()])
    rows = torch.arange(6)
    expected = {
        "divergence": (exact * (exact / ours).log()).sum(dim=-1).mean().item(),
        "cross-entropy": (exact[rows, labels].log() - ours[rows, labels].log()).mean().item(),
        "accuracy": ((exact.argmax(-1) == labels).double() - (ours.argmax(-1) == labels).double()).mean().item(),
    }
    for measure, value in expected.items():
        estimate = SuperNetEstimate(student, batches(), teacher=model, measure=measure)
        assert estimate(design) == pytest.approx(value, rel=1e-6, abs=1e-6)  # cross-entropy sums in single precision
    assert min(abs(value) for value in expected.values()) > 1e-3


def test_the_estimate_remembers_and_leaves_the_supernet_as_it_was(model: object, monkeypatch) -> None:
    student = build_supernet(model, supernet_options(sizes(model)))
    set_ranks(student, {QUERY: (2,)})
    estimate = SuperNetEstimate(student, batches(), teacher=model)
    design = {QUERY: replace(elastic_layers(student)[QUERY].largest[0], ranks=(1,))}
    first = estimate(design)
    assert elastic_layers(student)[QUERY].used.ranks == (2,)
    monkeypatch.setattr(student, "forward", None)  # a second run would fail
    assert estimate(dict(design)) == first
    with pytest.raises(SpecError, match="an option that was not trained"):
        estimate({QUERY: factorization("tt-matrix", (4, 2), (2, 4), (1, 1, 1))})


def test_the_table_is_the_estimate_of_one_matrix_at_a_time(model: object) -> None:
    student = build_supernet(model, supernet_options(sizes(model), formats=("dense", "low-rank")))
    options = {name: layer.largest for name, layer in elastic_layers(student).items()}
    estimate = SuperNetEstimate(student, batches(), teacher=model)
    table = supernet_table(estimate, options, steps=3)
    low = options[QUERY][1]
    costs = [estimate({QUERY: replace(low, ranks=(rank,))}) - estimate({}) for rank in (1, 2, 3)]
    found = [table.squared(QUERY, replace(low, ranks=(rank,))) for rank in (1, 2, 3)]
    assert found == pytest.approx([max(costs), max(costs[1:]), costs[2]], rel=1e-9)
    assert found[0] > 0
    assert table({QUERY: low, QUERY.replace("query", "key"): options[QUERY][0]}) == pytest.approx(costs[2], rel=1e-9)
    with pytest.raises(SpecError, match="no such option"):
        table.squared(QUERY, factorization("btt", (4, 2), (2, 4), (1,)))


def test_between_measured_ranks_the_table_is_linear_in_the_parameters_and_flat_beyond_them() -> None:
    low = factorization("low-rank", (8,), (8,), (3,))
    # Rank 1, 3 and 4 have 16, 48 and 64 parameters.
    table = SuperNetTable(curves={QUERY: {("low-rank", low.tensorization): ((16, 48, 64), (0.6, 0.2, 0.1))}})
    found = [table.squared(QUERY, replace(low, ranks=(rank,))) for rank in (1, 2, 3, 4, 5)]
    assert found == pytest.approx([0.6, 0.4, 0.2, 0.1, 0.1])


def test_the_loss_of_a_search_is_the_root_of_the_share_of_the_worst() -> None:
    key = QUERY.replace("query", "key")
    low, trains = factorization("low-rank", (8,), (8,), (1,)), factorization("tt-matrix", (4, 2), (2, 4), (1, 1, 1))
    table = SuperNetTable(
        curves={
            QUERY: {
                ("low-rank", low.tensorization): ((16, 48), (0.3, 0.1)),
                ("tt-matrix", trains.tensorization): ((16,), (0.5,)),
            },
            key: {("low-rank", low.tensorization): ((16, 48), (0.4, 0.2))},
        }
    )
    loss = SuperNetLoss(table=table)
    dense = factorization("dense", (8,), (8,), ())
    assert loss({QUERY: trains, key: low}) == pytest.approx(1.0)  # 0.5 and 0.4, the worst of both matrices
    assert loss({QUERY: low, key: dense}) == pytest.approx(math.sqrt(0.3 / (0.5 + 0.4)))
    assert loss({QUERY: dense, key: dense}) == 0.0
    assert loss.squared(key, replace(low, ranks=(3,))) == 0.2
    with pytest.raises(SpecError, match="no such option"):
        loss({key: trains})


def test_a_supernet_that_loses_nothing_is_no_estimate() -> None:
    low = factorization("low-rank", (8,), (8,), (1,))
    table = SuperNetTable(curves={QUERY: {("low-rank", low.tensorization): ((16, 48), (0.0, 0.0))}})
    with pytest.raises(SpecError, match=r"loses nothing at any ranks.*got a divergence of 0\.0, expected more than 0"):
        SuperNetLoss(table=table)
