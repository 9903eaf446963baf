"""Matrices factorised jointly against dense layers that hold their rows; cores held once; no stale product."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig, DistilBertModel  # noqa: E402

from heat_sim.distill.calibrate import encoder_linears  # noqa: E402
from heat_sim.distill.convert import factorize, load_student, project_design, save_student  # noqa: E402
from heat_sim.distill.joint import JointMember, JointProduct, have_one_input, joint_layers  # noqa: E402
from heat_sim.distill.layers import FactorizedLinear  # noqa: E402
from heat_sim.distill.progress import ProgressEvent  # noqa: E402
from heat_sim.errors import SpecError  # noqa: E402
from heat_sim.tensorize import project, reconstruct  # noqa: E402
from heat_sim.tensorize.contraction import mac_optimal_tree  # noqa: E402
from heat_sim.tensorize.design import Design, LayerDesign  # noqa: E402
from heat_sim.tensorize.factorization import Factorization  # noqa: E402
from heat_sim.tensorize.tensorization import Tensorization  # noqa: E402

ROLES = ("query", "key", "value")


def layer_design(
    name: str,
    outs: tuple[int, ...],
    ins: tuple[int, ...],
    ranks: tuple[int, ...],
    padding: tuple[int, int] = (0, 0),
    members: tuple[str, ...] = (),
) -> LayerDesign:
    modes = Tensorization(out_modes=outs, in_modes=ins, padding=padding)
    factorization = Factorization(format=name, tensorization=modes, ranks=ranks)
    trees = tuple(map(mac_optimal_tree, factorization.einsums(16)))
    return LayerDesign(factorization=factorization, trees=trees, members=members)


# Three members of 4 rows and 8 columns: 12 rows in all, or 15 less 3 of padding.
STACKED = (
    layer_design("low-rank", (12,), (8,), (3,), members=ROLES),
    layer_design("cp", (4, 3), (8,), (5,), members=ROLES),
    layer_design("tucker", (4, 3), (8,), (2, 2, 3), members=ROLES),
    layer_design("tt-matrix", (3, 5), (4, 2), (1, 3, 1), padding=(3, 0), members=ROLES),
    layer_design("tensor-ring", (4, 3), (8,), (2, 3, 3), members=ROLES),
    layer_design("btt", (3, 4), (2, 4), (2,), members=ROLES),
    layer_design("block-low-rank", (4, 3), (4, 2), (3,), members=ROLES),
    layer_design("block-term", (4, 3), (8,), (2, 2, 2, 3), members=ROLES),
)


def format_of(design: LayerDesign) -> str:
    return design.factorization.format


def joint(
    design: LayerDesign, *, one_input: bool = True, bias: bool = True
) -> tuple[nn.ModuleList, torch.Tensor, list[torch.Tensor | None]]:
    """Return the members, the stacked dense weight and the biases, all float64."""
    rng = np.random.default_rng(3)
    cores = [rng.normal(size=shape) for shape in design.factorization.core_shapes]
    biases = [torch.tensor(rng.normal(size=4)) if bias else None for _ in design.members]
    modules = joint_layers(design, cores=[torch.tensor(core) for core in cores], biases=biases, one_input=one_input)
    return nn.ModuleList(modules), torch.tensor(reconstruct(cores, design.factorization)), biases


def random_input(seed: int = 4) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=(2, 5, 8)))


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def count_products(members: nn.ModuleList) -> list[None]:
    """Return a list that grows by one with every product."""
    calls: list[None] = []
    members[0].held.register_forward_hook(lambda *_: calls.append(None))
    return calls


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("design", STACKED, ids=format_of)
def test_members_with_one_input_are_the_rows_of_the_dense_matrix(design: LayerDesign, bias: bool) -> None:
    members, weight, biases = joint(design, bias=bias)
    x = random_input().requires_grad_()
    outputs = [member(x) for member in members]
    expected = [
        nn.functional.linear(x, rows, offset) for rows, offset in zip(weight.split(4), biases, strict=True)
    ]  # fmt: skip
    upstream = [random_input(seed)[..., :4] for seed in range(3)]
    (x_gradient,) = torch.autograd.grad(expected, x, upstream)
    got_x, *got_cores = torch.autograd.grad(outputs, (x, *members[0].held.parameters()), upstream)
    for got, want in zip((*outputs, got_x), (*expected, x_gradient), strict=True):
        close(got, want)
        assert got.is_contiguous()
    # The gradients of the cores are those of the stacked layer, whose own are proven in test_distill_layers.
    stacked = FactorizedLinear(design, cores=list(members[0].held.parameters()), bias=None)
    core_gradients = torch.autograd.grad(stacked(x), tuple(stacked.parameters()), torch.cat(upstream, dim=-1))
    for got, want in zip(got_cores, core_gradients, strict=True):
        close(got, want)


def test_the_product_of_one_input_is_computed_once_and_not_kept() -> None:
    members, weight, biases = joint(STACKED[0])
    calls = count_products(members)
    x, other = random_input(), random_input(5)
    for each in (x, other, x):
        for place, member in enumerate(members):
            close(member(each), nn.functional.linear(each, weight[4 * place : 4 * place + 4], biases[place]))
    assert len(calls) == 3
    assert members[0].held._pass is None
    members[0](x), members[1](other), members[2](x.clone())  # three tensor objects
    assert len(calls) == 6


def double_input(x: torch.Tensor, _members: nn.ModuleList) -> None:
    with torch.no_grad():
        x.mul_(2)


def double_core(_x: torch.Tensor, members: nn.ModuleList) -> None:
    with torch.no_grad():
        members[0].held.cores["G2"].mul_(2)


def replace_core(_x: torch.Tensor, members: nn.ModuleList) -> None:
    cores = members[0].held.cores
    cores["G1"] = nn.Parameter(3 * cores["G1"].detach())


def load_state(_x: torch.Tensor, members: nn.ModuleList) -> None:
    members.load_state_dict({name: -tensor for name, tensor in members.state_dict().items()})


def nothing(_x: torch.Tensor, _members: nn.ModuleList) -> None:
    return None


@pytest.mark.parametrize("inference", [False, True], ids=["grad", "inference"])
@pytest.mark.parametrize("change", [nothing, double_input, double_core, replace_core, load_state])
def test_no_member_reads_a_product_of_what_has_changed(
    change: Callable[[torch.Tensor, nn.ModuleList], None], inference: bool
) -> None:
    members, _, _ = joint(STACKED[0])
    with torch.inference_mode(inference):
        x = random_input()
        calls = count_products(members)
        members[0](x)
        change(x, members)
        got = members[1](x)
        fresh = copy.deepcopy(members)[1](x.clone())
        close(got, fresh)
        assert len(calls) == (1 if change is nothing else 2) + 1  # the copy has the same counter


def test_grad_mode_and_autocast_make_a_product_of_their_own() -> None:
    members, _, _ = joint(STACKED[0])
    x = random_input()
    with torch.no_grad():
        assert not members[0](x).requires_grad
    assert members[1](x).requires_grad
    single = members.float()
    x = x.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert single[0](x).dtype == torch.float32  # the bias is
    torch.testing.assert_close(single[1](x), copy.deepcopy(single)[1](x), rtol=0, atol=0)


def test_a_backward_pass_between_two_members_is_that_of_dense_layers() -> None:
    members, weight, biases = joint(STACKED[0])
    x = random_input().requires_grad_()
    for place, member in enumerate(members):
        (got,) = torch.autograd.grad(member(x).sum(), x)
        rows = weight[4 * place : 4 * place + 4]
        (expected,) = torch.autograd.grad(nn.functional.linear(x, rows, biases[place]).sum(), x)
        close(got, expected)
    first, again = members[0](x), members[0](x)  # two graphs
    torch.autograd.grad(first.sum(), x)
    torch.autograd.grad(again.sum(), x)


def test_a_member_may_change_its_output_in_place() -> None:
    members, weight, _ = joint(STACKED[0], bias=False)
    x = random_input()
    query = members[0](x)
    query *= 10
    close(members[1](x), x @ weight[4:8].T)
    (query.square().sum() + members[1](x).square().sum()).backward()


def test_cores_are_held_once_and_a_copy_has_its_own(tmp_path: Path) -> None:
    members, _, _ = joint(STACKED[0])
    # low-rank 12 x 8 at rank 3, and three biases of 4
    assert sum(parameter.numel() for parameter in members.parameters()) == 12 * 3 + 3 * 8 + 3 * 4
    assert set(members.state_dict()) == {"0.held.cores.G1", "0.held.cores.G2", "0.bias", "1.bias", "2.bias"}
    x = random_input().requires_grad_()
    members[0](x)  # half a pass: its product has a graph, which cannot be copied
    copied = copy.deepcopy(members)
    torch.save(members, tmp_path / "members.pt")
    with torch.no_grad():
        copied[0].held.cores["G1"].zero_()
    close(copied[2](x), copied[2].bias.expand(2, 5, 4))
    assert copied[1].product is copied[0].held is not members[0].held
    assert members[2](x).sub(members[2].bias).abs().max() > 0.1


def test_members_with_other_inputs_share_the_second_core() -> None:
    design = STACKED[0]
    members, weight, biases = joint(design, one_input=False)
    assert set(members.state_dict()) == {"0.cores.G1", "0.cores.G2", "0.bias", "1.cores.G1", "1.bias", "2.cores.G1", "2.bias"}  # fmt: skip  # noqa: E501
    assert sum(parameter.numel() for parameter in members.parameters()) == 12 * 3 + 3 * 8 + 3 * 4
    whole = torch.zeros(3, 8, dtype=torch.float64)
    for place, member in enumerate(members):
        x = random_input(place)
        close(member(x), nn.functional.linear(x, weight[4 * place : 4 * place + 4], biases[place]))
        first = member.cores["G1"]
        # y = G1 G2 x, so dL/dG2 = G1^T (sum over tokens of 1 x^T)
        whole += first.detach().T @ torch.ones(4, 1, dtype=torch.float64) @ x.sum(dim=(0, 1))[None]
        member(x).sum().backward()
    close(members[0].cores["G2"].grad, whole)
    copied = copy.deepcopy(members)
    with torch.no_grad():
        copied[0].cores["G2"].zero_()
    close(copied[2](x), copied[2].bias.expand(2, 5, 4))
    assert copied[2].tensors["G2"] is copied[0].cores["G2"] is not members[0].cores["G2"]


def test_a_bias_of_another_size_is_refused() -> None:
    product = JointProduct(STACKED[0], cores=[torch.zeros(12, 3), torch.zeros(3, 8)])
    with pytest.raises(SpecError, match=r"member key: the bias does not fit the design \(got \(12,\), expected \(4,\)"):
        JointMember(product, place=1, bias=torch.zeros(12))


# A BERT of two layers, hidden 8, inner 16.


def tiny_bert() -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=9,
        initializer_range=0.5, attn_implementation="eager",
    )  # fmt: skip
    return BertForSequenceClassification(config).eval()


def in_layer(layer: int, name: str) -> str:
    return f"encoder.layer.{layer}.{name}"


QKV = tuple(tuple(in_layer(layer, f"attention.self.{role}") for role in ROLES) for layer in (0, 1))
UPS = tuple(in_layer(layer, "intermediate.dense") for layer in (0, 1))


def tiny_design(*, rank: int, qkv: str = "tt-matrix") -> Design:
    """Return a design in which query, key and value are joint in each layer, and the two up matrices are."""
    layers = []
    for layer in (0, 1):
        if qkv == "tt-matrix":
            entry = layer_design("tt-matrix", (3, 8), (4, 2), (1, min(rank, 12), 1), members=QKV[layer])
        else:
            entry = layer_design("low-rank", (24,), (8,), (min(rank, 8),), members=QKV[layer])
        layers.append((f"qkv.{layer}", entry))
        square = layer_design("low-rank", (8,), (8,), (min(rank, 8),))
        layers.append((in_layer(layer, "attention.output.dense"), square))
        layers.append((in_layer(layer, "output.dense"), layer_design("dense", (8,), (16,), ())))
    layers.append(("ups", layer_design("low-rank", (32,), (8,), (min(rank, 8),), members=UPS)))
    return Design(id="j1", model="tiny", tokens=4, architecture="simba_l", layers=tuple(layers))


def logits_of(model: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0]])).logits


def moments(sizes: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    roots = {name: rng.normal(size=(size, 2 * size)) for name, size in sizes.items()}
    return {name: root @ root.T for name, root in roots.items()}


@pytest.mark.parametrize("qkv", ["tt-matrix", "low-rank"])
def test_a_full_rank_joint_student_is_the_teacher_and_has_the_parameters_of_the_design(qkv: str) -> None:
    model = tiny_bert()
    design = tiny_design(rank=99, qkv=qkv)
    student = project_design(model, design)
    torch.testing.assert_close(logits_of(student), logits_of(model), rtol=1e-4, atol=1e-4)
    dense = sum(linear.weight.numel() for linear in encoder_linears(model).values())
    assert model.num_parameters() - student.num_parameters() == dense - design.parameters
    kinds = [
        type(student.bert.encoder.layer[1].attention.self.key),
        type(student.bert.encoder.layer[1].intermediate.dense),
    ]
    assert kinds == [JointMember, FactorizedLinear]


def test_a_forward_pass_computes_each_joint_product_once() -> None:
    student = project_design(tiny_bert(), tiny_design(rank=2))
    products = [module for module in student.modules() if isinstance(module, JointProduct)]
    calls: list[JointProduct] = []
    for product in products:
        product.register_forward_hook(lambda module, *_: calls.append(module))
    logits_of(student)
    assert calls == products
    assert all(product._pass is None for product in products)
    assert len(products) == 2


def test_stacked_weights_are_projected_with_stacked_moments() -> None:
    model, design = tiny_bert(), tiny_design(rank=2)
    linears = encoder_linears(model)
    inputs = moments({name: linear.in_features for name, linear in linears.items()}, seed=1)
    for members in QKV:
        inputs |= dict.fromkeys(members, inputs[members[0]])
    gradients = moments({name: linear.out_features for name, linear in linears.items()}, seed=2)
    given: dict[Factorization, list[dict[str, np.ndarray]]] = {}
    events: list[ProgressEvent] = []

    def spy(weight, factorization, *, second_moment=None, gradient_moment=None):  # type: ignore[no-untyped-def]
        given.setdefault(factorization, []).append(
            {"weight": weight, "second": second_moment, "gradient": gradient_moment}
        )
        return project(weight, factorization, second_moment=second_moment, gradient_moment=gradient_moment)

    student = project_design(
        model, design, second_moments=inputs, gradient_moments=gradients, project=spy, progress=events.append
    )
    assert [(event.stage, event.step, event.steps) for event in events] == [
        ("project", step, 5) for step in range(1, 6)
    ]
    entries = dict(design.layers)
    for entry, members in design.joint.items():
        factorization = entries[entry].factorization
        call = given[factorization][int(entry == "qkv.1")]
        rows = linears[members[0]].out_features
        for place, name in enumerate(members):
            block = slice(place * rows, (place + 1) * rows)
            np.testing.assert_array_equal(call["weight"][block], linears[name].weight.detach().numpy())
            np.testing.assert_array_equal(call["gradient"][block, block], gradients[name])
        assert np.count_nonzero(call["gradient"]) == len(members) * rows**2
        mean = sum(inputs[name] for name in members) / len(members)
        np.testing.assert_allclose(call["second"], mean, rtol=1e-12)
        # The student holds what the projection returned.
        cores = project(call["weight"], factorization, second_moment=call["second"], gradient_moment=call["gradient"])
        whole = reconstruct(cores, factorization)
        x = torch.randn(3, factorization.in_features)
        for place, name in enumerate(members):
            module, bias = student.bert.get_submodule(name), linears[name].bias
            expected = x @ torch.tensor(whole[place * rows : (place + 1) * rows], dtype=torch.float32).T + bias
            torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)
    assert given[entries["qkv.0"].factorization][0]["second"] is inputs[QKV[0][0]]


def test_moments_are_optional_and_reach_matrices_of_their_own() -> None:
    model, design = tiny_bert(), tiny_design(rank=2)
    name = in_layer(0, "attention.output.dense")
    weight = encoder_linears(model)[name].weight.detach().numpy()
    gradients = moments({each: linear.out_features for each, linear in encoder_linears(model).items()}, seed=2)
    factorization = dict(design.layers)[name].factorization
    for given in (None, gradients):
        module = project_design(model, design, gradient_moments=given).bert.get_submodule(name)
        cores = project(weight, factorization, gradient_moment=None if given is None else given[name])
        for got, want in zip(module.cores.values(), cores, strict=True):
            torch.testing.assert_close(got.detach(), torch.tensor(want, dtype=torch.float32))


def test_a_saved_joint_student_is_read_back(tmp_path: Path) -> None:
    design = tiny_design(rank=2)
    student = project_design(tiny_bert(), design)
    save_student(student, design, tmp_path / "j1")
    again, read = load_student(tmp_path / "j1")
    assert read == design
    assert torch.equal(logits_of(again), logits_of(student))
    assert again.num_parameters() == student.num_parameters()
    words = sum(tensor.numel() for tensor in student.state_dict().values())
    assert words == student.num_parameters()  # nothing twice


def test_training_a_copied_student_leaves_it_as_it_is() -> None:
    student = project_design(tiny_bert(), tiny_design(rank=2))
    before = logits_of(student)
    trained = copy.deepcopy(student)
    optimiser = torch.optim.AdamW(trained.parameters(), lr=0.01, fused=True)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(
            trained(input_ids=torch.tensor([[1, 2], [3, 4]])).logits, torch.tensor([0, 1])
        )
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None for name, parameter in trained.named_parameters() if "cores" in name)
    assert torch.equal(logits_of(student), before)


def test_joint_entries_that_do_not_fit_are_refused_together() -> None:
    design = tiny_design(rank=2)
    model = tiny_bert()
    entries = dict(design.layers)
    two_inputs = layer_design("tt-matrix", (4, 8), (4, 2), (1, 2, 1), members=UPS)
    other_size = layer_design("low-rank", (48,), (8,), (2,), members=QKV[0])
    misnamed = layer_design("low-rank", (24,), (8,), (2,), members=(*QKV[1][:2], in_layer(7, "attention.self.value")))
    wrong = entries | {"ups": two_inputs, "qkv.0": other_size, "qkv.1": misnamed}
    with pytest.raises(SpecError, match=r"design j1, ups: .*cannot be cut into the rows of members") as caught:
        project_design(model, Design(id="j1", model="t", tokens=4, architecture="a", layers=tuple(wrong.items())))
    text = str(caught.value)
    assert "attention.self.query: another size (got (16, 8), expected (8, 8))" in text
    assert "the model has no matrix encoder.layer.7.attention.self.value" in text
    assert "no layer for encoder.layer.1.attention.self.value" in text


def test_dense_members_stay_as_they_are() -> None:
    model = tiny_bert()
    entries = dict(tiny_design(rank=99).layers)
    entries |= {"ups": layer_design("dense", (32,), (8,), (), members=UPS)}
    layers = tuple((name, each) for name, each in entries.items())
    student = factorize(
        model,
        Design(id="j2", model="t", tokens=4, architecture="a", layers=layers),
        cores={name: [np.zeros(s) for s in each.factorization.core_shapes] for name, each in layers},
    )
    assert isinstance(student.bert.get_submodule(UPS[1]), nn.Linear)


def test_queries_keys_and_values_of_one_layer_have_one_input_whatever_their_names() -> None:
    config = DistilBertConfig(dim=8, n_layers=2, n_heads=2, hidden_dim=16, vocab_size=9)
    model = DistilBertModel(config)
    names = [f"transformer.layer.1.attention.{name}" for name in ("q_lin", "k_lin", "v_lin", "out_lin")]
    assert have_one_input(model, names[:3])
    assert not have_one_input(model, names)
