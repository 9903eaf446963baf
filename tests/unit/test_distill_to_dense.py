"""A student made dense again, and layers that build their matrix, against the layers that never do; every format."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from transformers import (  # noqa: E402
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
)
from transformers.pytorch_utils import Conv1D  # noqa: E402

from heat_sim.distill.calibrate import encoder_linears, weight_of  # noqa: E402
from heat_sim.distill.convert import factorize, project_design  # noqa: E402
from heat_sim.distill.embedding import compress_embedding  # noqa: E402
from heat_sim.distill.joint import JointMember, joint_layers  # noqa: E402
from heat_sim.distill.layers import (  # noqa: E402
    FactorizedLinear,
    execution_macs,
    matrix_terms,
    use_fastest_execution,
)
from heat_sim.distill.loop import seeded_torch  # noqa: E402
from heat_sim.distill.to_dense import to_dense  # noqa: E402
from heat_sim.tensorize import project, reconstruct  # noqa: E402
from heat_sim.tensorize.contraction import mac_optimal_tree, parse_tree  # noqa: E402
from heat_sim.tensorize.design import Design, LayerDesign  # noqa: E402
from heat_sim.tensorize.factorization import Factorization  # noqa: E402
from heat_sim.tensorize.formats import FORMATS  # noqa: E402
from heat_sim.tensorize.tensorization import Tensorization  # noqa: E402
from tests.unit.test_distill_joint import STACKED, format_of  # noqa: E402
from tests.unit.test_distill_layers import FACTORIZATIONS, designs, name_of, random_cores  # noqa: E402

JOINT = "joint"
"""Besides the formats: queries, keys and values as one padded tt-matrix, matrices of two layers with one core lent."""

MIXED = "mixed"
"""All formats in one model."""

STUDENTS = (*(name for name in FORMATS if name != "dense"), JOINT)


def layer_design(format_name: str, out_features: int, in_features: int, members: tuple[str, ...] = ()) -> LayerDesign:
    """Return a design of small ranks; block-low-rank and tucker are padded, tensors of other formats fit."""
    padding = {"block-low-rank": (2, 2), "tucker": (2, 0)}.get(format_name, (0, 0))
    rows, columns = out_features + padding[0], in_features + padding[1]
    if format_name == "block-low-rank":
        modes = Tensorization(out_modes=(2, rows // 2), in_modes=(2, columns // 2))
    else:
        modes = FORMATS[format_name].tensorizations(rows, columns)[0]
    padded = Tensorization(out_modes=modes.out_modes, in_modes=modes.in_modes, padding=padding)
    ranks = tuple(min(limit, 3) for limit in FORMATS[format_name].max_ranks(padded))
    factorization = Factorization(format=format_name, tensorization=padded, ranks=ranks)
    trees = tuple(map(mac_optimal_tree, factorization.einsums(16)))
    return LayerDesign(factorization=factorization, trees=trees, members=members)


def student_design(model: Any, kind: str) -> Design:
    """Return a design of one format for every matrix, of all in turn, or with joint entries; the last stays dense."""
    sizes = {name: tuple(weight_of(linear).shape) for name, linear in encoder_linears(model).items()}
    *names, last = sizes
    formats = {JOINT: ("low-rank",), MIXED: STUDENTS[:-1]}.get(kind, (kind,))
    layers = {name: layer_design(formats[place % len(formats)], *sizes[name]) for place, name in enumerate(names)}
    layers[last] = layer_design("dense", *sizes[last])
    if kind == JOINT:
        roles = tuple(names[:3])  # queries, keys and values of the first layer
        ups = tuple(name for name in names if sizes[name] == sizes[names[4]])[::-1]  # the lender is the later one
        rows, columns = sizes[names[0]]
        modes = Tensorization(out_modes=(3 * rows // 8, 9), in_modes=(columns // 4, 4), padding=(3 * rows // 8, 0))
        stacked = Factorization(format="tt-matrix", tensorization=modes, ranks=(1, 5, 1))
        trees = tuple(map(mac_optimal_tree, stacked.einsums(16)))
        for name in (*roles, *ups):
            del layers[name]
        layers["qkv"] = LayerDesign(factorization=stacked, trees=trees, members=roles)
        layers["ups"] = layer_design("low-rank", len(ups) * sizes[ups[0]][0], sizes[ups[0]][1], members=ups)
    return Design(id="d1", model="tiny", tokens=16, architecture="simba_l", layers=tuple(layers.items()))


def make_student(model: Any, design: Design) -> Any:
    """Return a student with random cores, of matrices about as large as the model's, in the model's number format."""
    rng = np.random.default_rng(8)
    cores = {}
    for name, layer in design.layers:
        drawn = [rng.normal(size=shape) for shape in layer.factorization.core_shapes]
        norm = np.linalg.norm(reconstruct(drawn, layer.factorization)) / np.sqrt(layer.factorization.out_features)
        # Every term is scaled alike: a term has one core or more, and each gets its root.
        factors = {
            core.name: norm ** (-1 / len(term.cores)) for term in layer.factorization.terms for core in term.cores
        }
        names = layer.factorization.core_names
        cores[name] = [factors[core] * array for core, array in zip(names, drawn, strict=True)]
    return factorize(model, design, cores=cores).eval()


def tiny_config(**more: object) -> dict[str, Any]:
    return {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
            "vocab_size": 40, "max_position_embeddings": 32, "initializer_range": 0.3, **more}  # fmt: skip


def random_model(model_class: Callable[[Any], Any], config: Any) -> Any:
    """Return a model in evaluation mode, biases drawn too."""
    with seeded_torch(3):
        model = model_class(config).eval()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.3)
    return model


def bert(kind: str) -> tuple[Any, Design]:
    model = random_model(BertForSequenceClassification, BertConfig(**tiny_config())).double()
    design = student_design(model, kind)
    return make_student(model, design), design


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def embedded(model: Any, seed: int = 4) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=(3, 7, model.config.hidden_size)), requires_grad=True)


@pytest.mark.parametrize("kind", STUDENTS)
def test_the_dense_form_of_a_student_is_a_stock_model_with_its_outputs_and_gradients(kind: str) -> None:
    student, _ = bert(kind)
    before = copy.deepcopy(student.state_dict())
    dense = to_dense(student)
    stock = BertForSequenceClassification(dense.config).double().eval()
    stock.load_state_dict(dense.state_dict())  # strict: the very same names and shapes
    assert {name: type(module) for name, module in dense.named_modules()} == {
        name: type(module) for name, module in stock.named_modules()
    }
    x = embedded(student)
    expected = student(inputs_embeds=x).logits
    upstream = torch.ones_like(expected)
    upstream[1] = -2.0
    (gradient,) = torch.autograd.grad(expected, x, upstream)
    assert float(gradient.abs().max()) > 1e-3
    for model in (dense, stock):
        got = model(inputs_embeds=x).logits
        close(got, expected)
        close(torch.autograd.grad(got, x, upstream)[0], gradient)
    assert not any(module.training for module in dense.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in dense.parameters())


def test_the_dense_form_holds_copies_and_draws_nothing() -> None:
    student, _ = bert(JOINT)
    state = torch.get_rng_state()
    dense = to_dense(student)
    assert torch.equal(torch.get_rng_state(), state)
    theirs = {parameter.data_ptr() for parameter in student.parameters()}
    assert theirs.isdisjoint(parameter.data_ptr() for parameter in dense.parameters())


def test_the_dense_form_is_saved_and_read_by_transformers(tmp_path: Path) -> None:
    student, _ = bert(JOINT)
    to_dense(student).save_pretrained(tmp_path)
    read = BertForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float64)
    x = embedded(student)
    close(read(inputs_embeds=x).logits, student(inputs_embeds=x).logits)


def test_gpt_2_gets_its_transposed_modules_back() -> None:
    config = GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=40, n_positions=32, pad_token_id=0)
    model = random_model(GPT2ForSequenceClassification, config).double()
    student = make_student(model, student_design(model, "low-rank"))
    dense = to_dense(student)
    assert type(student.transformer.h[0].mlp.c_fc) is FactorizedLinear
    assert type(dense.transformer.h[0].mlp.c_fc) is Conv1D
    model.load_state_dict(dense.state_dict())
    ids = torch.arange(1, 13).reshape(2, 6)
    close(model(input_ids=ids).logits, student(input_ids=ids).logits)


def test_a_factorised_embedding_becomes_a_table() -> None:
    model = random_model(BertModel, BertConfig(**tiny_config())).double()
    modes = Tensorization(out_modes=(6, 7), in_modes=(4, 4), padding=(2, 0))
    table = Factorization(format="tt-matrix", tensorization=modes, ranks=(1, 5, 1))
    name = "embeddings.word_embeddings"
    cores = project(model.get_submodule(name).weight.detach().numpy(), table)
    smaller = compress_embedding(model, name, factorization=table, cores=cores)
    dense = to_dense(smaller)
    assert dense.embeddings.word_embeddings.padding_idx == model.embeddings.word_embeddings.padding_idx
    assert dense.embeddings.word_embeddings.weight.requires_grad
    close(dense.embeddings.word_embeddings.weight, torch.tensor(reconstruct(cores, table)))
    ids = torch.arange(40).reshape(2, 20)
    close(dense(input_ids=ids).last_hidden_state, smaller(input_ids=ids).last_hidden_state)


@pytest.mark.parametrize("factorization", FACTORIZATIONS, ids=name_of)
def test_both_executions_are_one_function(factorization: Factorization) -> None:
    """Values, and gradients to the input, the bias and, through the reconstruction, every core."""
    rng = np.random.default_rng(6)
    cores = random_cores(factorization)
    bias = torch.tensor(rng.normal(size=factorization.out_features))
    x = torch.tensor(rng.normal(size=(2, 5, factorization.in_features)), requires_grad=True)
    upstream = torch.tensor(rng.normal(size=(2, 5, factorization.out_features)))
    layer = FactorizedLinear(designs(factorization)[-1], cores=[torch.tensor(core) for core in cores], bias=bias)
    assert layer.execution == "cascade"
    close(layer.matrix(), torch.tensor(reconstruct(cores, factorization)))
    results = {}
    for execution in ("cascade", "reconstructed"):
        layer.execution = execution
        y = layer(x)
        results[execution] = (y, *torch.autograd.grad(y, (x, *layer.parameters()), upstream))
    assert len(results["cascade"]) == 3 + len(cores)
    for got, expected in zip(results["reconstructed"], results["cascade"], strict=True):
        close(got, expected)
    dense = nn.Linear(factorization.in_features, factorization.out_features, dtype=torch.float64)
    with torch.no_grad():
        dense.weight.copy_(torch.tensor(reconstruct(cores, factorization)))
        dense.bias.copy_(bias)
    y = dense(x)
    x_gradient, bias_gradient = torch.autograd.grad(y, (x, dense.bias), upstream)
    by_name = dict(zip(("x", *dict(layer.named_parameters())), results["reconstructed"][1:], strict=True))
    close(results["reconstructed"][0], y)
    close(by_name["x"], x_gradient)
    close(by_name["bias"], bias_gradient)


def test_the_matrix_is_built_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    linear = functional.linear

    def count(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        calls.append(tuple(weight.shape))
        return linear(x, weight, bias)

    monkeypatch.setattr(functional, "linear", count)
    factorization = FACTORIZATIONS[1]
    layer = FactorizedLinear(
        designs(factorization)[0], cores=[torch.tensor(core) for core in random_cores(factorization)], bias=None
    )
    x = torch.ones(2, 8, dtype=torch.float64)
    layer(x)
    assert calls == []
    layer.execution = "reconstructed"
    layer(x)
    assert calls == [(6, 8)]


@pytest.mark.parametrize(
    ("design", "one_input"), [*((each, True) for each in STACKED), (STACKED[0], False)],
    ids=[*map(format_of, STACKED), "lender"],
)  # fmt: skip
def test_joint_matrices_are_one_function_in_both_executions(design: LayerDesign, one_input: bool) -> None:
    rng = np.random.default_rng(3)
    cores = [torch.tensor(rng.normal(size=shape)) for shape in design.factorization.core_shapes]
    biases = [torch.tensor(rng.normal(size=4)) for _ in design.members]
    members = nn.ModuleList(joint_layers(design, cores=cores, biases=biases, one_input=one_input))
    x = torch.tensor(rng.normal(size=(2, 5, 8)), requires_grad=True)
    upstream = [torch.tensor(rng.normal(size=(2, 5, 4))) for _ in members]
    layers = [module for module in members.modules() if isinstance(module, FactorizedLinear)]
    assert list(use_fastest_execution(members, tokens=1)) == (["0.held"] if one_input else ["0", "1", "2"])
    results = []
    for execution in ("cascade", "reconstructed"):
        for layer in layers:
            layer.execution = execution
        outputs = [member(x) for member in members]
        results.append((*outputs, *torch.autograd.grad(outputs, (x, *members.parameters()), upstream)))
    for got, expected in zip(results[1], results[0], strict=True):
        close(got, expected)


def test_the_fewest_multiply_accumulates_decide() -> None:
    def design(rank: int, tree: str) -> LayerDesign:
        modes = Tensorization(out_modes=(40,), in_modes=(60,))
        factorization = Factorization(format="low-rank", tensorization=modes, ranks=(rank,))
        return LayerDesign(factorization=factorization, trees=(parse_tree(tree),))

    # Steps of 100 tokens: X G2 100 * 60 * r, T1 G1 100 * r * 40; G1 G2 40 * r * 60, X W 100 * 60 * 40. Times 3.
    assert execution_macs(design(5, "((X G2) G1)"), tokens=100) == {
        "cascade": 3 * (100 * 60 * 5 + 100 * 5 * 40), "reconstructed": 3 * (40 * 5 * 60 + 100 * 60 * 40),
    }  # fmt: skip
    # A design that folds the cores ahead of time does in training what the reconstruction does.
    folded = execution_macs(design(5, "(X (G1 G2))"), tokens=100)
    assert folded["cascade"] == folded["reconstructed"] == 3 * (40 * 5 * 60 + 100 * 60 * 40)
    # 40 * 60 / (40 + 60) = 24: from there on the cores hold no fewer numbers than the matrix.
    student = nn.ModuleDict(
        {
            f"rank {rank}": FactorizedLinear(
                design(rank, tree), cores=[torch.ones(40, rank), torch.ones(rank, 60)], bias=None
            )
            for rank, tree in ((23, "((X G2) G1)"), (25, "((X G2) G1)"), (2, "(X (G1 G2))"))
        }
    )
    chosen = use_fastest_execution(student, tokens=10**6)
    assert chosen == {"rank 23": "cascade", "rank 25": "reconstructed", "rank 2": "cascade"}
    assert {name: module.execution for name, module in student.items()} == chosen
    assert set(use_fastest_execution(student, tokens=1).values()) == {"cascade"}


def test_a_dense_format_costs_the_same_either_way() -> None:
    # One core, no step to build the matrix: 3 * 10 * 6 * 8.
    dense = designs(FACTORIZATIONS[0])[0]
    assert execution_macs(dense, tokens=10) == {"cascade": 1440, "reconstructed": 1440}


@pytest.mark.parametrize("factorization", FACTORIZATIONS, ids=name_of)
def test_no_core_is_taken_for_an_identity_matrix(factorization: Factorization) -> None:
    inputs = {operand.name for steps in matrix_terms(factorization) for step in steps for operand in step.inputs}
    identities = {name for name in inputs if name.startswith("I")}
    assert identities.isdisjoint(factorization.core_names)
    assert set(factorization.core_names) <= inputs
    assert bool(identities) == (factorization.format == "block-low-rank")


@pytest.mark.parametrize("kind", STUDENTS)
def test_the_state_of_a_student_goes_through_safetensors(kind: str, tmp_path: Path) -> None:
    student, design = bert(kind)
    state = student.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    other = project_design(random_model(BertForSequenceClassification, student.config).double(), design).eval()
    x = embedded(student)
    expected = student(inputs_embeds=x).logits
    assert not torch.equal(other(inputs_embeds=x).logits, expected)
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other(inputs_embeds=x).logits, expected)
    assert list(other.state_dict()) == list(state)
    # Shared cores are there once, as parameters and in the file.
    assert sum(tensor.numel() for tensor in state.values()) == sum(p.numel() for p in student.parameters())
    has_joint = any(isinstance(module, JointMember) for module in student.modules())
    assert has_joint == (kind == JOINT)
