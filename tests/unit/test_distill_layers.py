"""The factorised layer against a dense layer that holds the reconstructed matrix, for every format and every tree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from heat_sim.distill.layers import FactorizedLinear, torch_step  # noqa: E402
from heat_sim.einsum import parse_einsum  # noqa: E402
from heat_sim.errors import SpecError  # noqa: E402
from heat_sim.tensorize import reconstruct  # noqa: E402
from heat_sim.tensorize.contraction import contraction_trees, tree_to_text  # noqa: E402
from heat_sim.tensorize.design import LayerDesign  # noqa: E402
from heat_sim.tensorize.factorization import Factorization  # noqa: E402
from heat_sim.tensorize.formats import FORMATS  # noqa: E402
from heat_sim.tensorize.tensorization import Tensorization  # noqa: E402


def factorization(
    name: str, outs: tuple[int, ...], ins: tuple[int, ...], ranks: tuple[int, ...], padding: tuple[int, int] = (0, 0)
) -> Factorization:
    modes = Tensorization(out_modes=outs, in_modes=ins, padding=padding)
    return Factorization(format=name, tensorization=modes, ranks=ranks)


FACTORIZATIONS = (
    factorization("dense", (6,), (8,), ()),
    factorization("low-rank", (6,), (8,), (3,)),
    factorization("low-rank", (6,), (8,), (1,)),
    factorization("cp", (3, 2), (4,), (5,)),
    factorization("cp", (2, 3), (2, 2), (3,)),
    factorization("tucker", (3, 2), (4,), (2, 2, 3)),  # the middle mode has no factor
    factorization("tucker", (3, 3), (4,), (2, 2, 3)),
    factorization("tt-matrix", (2, 3), (4, 2), (1, 5, 1)),
    factorization("tt-matrix", (2, 3, 2), (2, 1, 4), (1, 3, 2, 1)),
    factorization("tensor-ring", (3, 2), (4,), (2, 3, 3)),
    factorization("btt", (3, 2), (2, 4), (2,)),
    factorization("block-low-rank", (2, 3), (2, 4), (3,)),
    factorization("block-term", (3, 2), (4,), (3, 2, 1, 3)),
    factorization("low-rank", (6,), (8,), (3,), (2, 3)),
    factorization("cp", (3, 2), (4,), (5,), (1, 0)),
    factorization("tucker", (3, 2), (4,), (2, 2, 3), (0, 1)),
    factorization("tt-matrix", (2, 3), (4, 2), (1, 5, 1), (1, 2)),
    factorization("tensor-ring", (3, 2), (4,), (2, 3, 3), (2, 1)),
    factorization("btt", (3, 2), (2, 4), (2,), (1, 3)),
    factorization("block-low-rank", (2, 3), (2, 4), (3,), (1, 3)),
    factorization("block-term", (3, 2), (4,), (3, 2, 1, 3), (1, 1)),
)


def designs(factorization: Factorization) -> list[LayerDesign]:
    """Return one design per contraction tree of each term."""
    trees = [contraction_trees(einsum) for einsum in factorization.einsums(4)]
    return [LayerDesign(factorization=factorization, trees=each) for each in itertools.product(*trees)]


def name_of(factorization: Factorization) -> str:
    return f"{factorization.format} {factorization.tensorization} {factorization.ranks}"


def random_cores(factorization: Factorization) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=shape) for shape in factorization.core_shapes]


def test_every_format_is_tried_with_and_without_padding() -> None:
    padded = {each.format for each in FACTORIZATIONS if each.tensorization.padding != (0, 0)}
    assert {each.format for each in FACTORIZATIONS} == set(FORMATS) == padded | {"dense"}


@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("factorization", FACTORIZATIONS, ids=name_of)
def test_values_and_gradients_are_those_of_the_reconstructed_dense_layer(
    factorization: Factorization, with_bias: bool
) -> None:
    cores = random_cores(factorization)
    rng = np.random.default_rng(6)
    bias = torch.tensor(rng.normal(size=factorization.out_features)) if with_bias else None
    x = torch.tensor(rng.normal(size=(2, 5, factorization.in_features)), requires_grad=True)
    upstream = torch.tensor(rng.normal(size=(2, 5, factorization.out_features)))
    weight = torch.tensor(reconstruct(cores, factorization), requires_grad=True)
    expected = torch.nn.functional.linear(x, weight, bias)
    (x_gradient, weight_gradient) = torch.autograd.grad(expected, (x, weight), upstream)
    # W is linear in each core, so <dL/dG, D> = <dL/dW, W(G + D) - W(G)> for every direction D, exactly.
    directions = [rng.normal(size=core.shape) for core in cores]
    changes = []
    for place, direction in enumerate(directions):
        moved = [*cores[:place], cores[place] + direction, *cores[place + 1 :]]
        change = reconstruct(moved, factorization) - reconstruct(cores, factorization)
        changes.append(float((weight_gradient.numpy() * change).sum()))

    for design in designs(factorization):
        trees = ", ".join(map(tree_to_text, design.trees))
        layer = FactorizedLinear(design, cores=[torch.tensor(core) for core in cores], bias=bias)
        y = layer(x)
        gradients = torch.autograd.grad(y, (x, *layer.parameters()), upstream)
        by_name = dict(zip((name for name, _ in layer.named_parameters()), gradients[1:], strict=True))
        close(y, expected, trees)
        close(gradients[0], x_gradient, trees)
        if with_bias:
            close(by_name["bias"], upstream.sum(dim=(0, 1)), trees)
        for name, direction, change in zip(factorization.core_names, directions, changes, strict=True):
            got = float((by_name[f"cores.{name}"].numpy() * direction).sum())
            assert got == pytest.approx(change, rel=1e-9, abs=1e-9), (trees, name)


def close(got: torch.Tensor, expected: torch.Tensor, where: str) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10, msg=lambda text: f"{where}: {text}")


def test_the_parameters_are_the_cores_and_the_bias() -> None:
    design = designs(FACTORIZATIONS[1])[0]
    cores = [torch.tensor(core) for core in random_cores(design.factorization)]
    layer = FactorizedLinear(design, cores=cores, bias=None)
    # low-rank 6 x 8 at rank 3: 6 * 3 + 3 * 8
    assert sum(parameter.numel() for parameter in layer.parameters()) == 6 * 3 + 3 * 8
    assert layer.bias is None
    assert "low-rank" in repr(layer)
    for factorization in FACTORIZATIONS:
        layer = FactorizedLinear(
            designs(factorization)[0], cores=[torch.tensor(core) for core in random_cores(factorization)], bias=None
        )
        assert tuple(layer.cores) == factorization.core_names  # in this order, B and F1 after G


@pytest.mark.parametrize("factorization", FACTORIZATIONS, ids=name_of)
def test_cores_are_laid_out_alike_however_they_come(factorization: Factorization) -> None:
    # Another layout may be another kernel and another last bit: a loaded student would not equal the saved one.
    cores = [torch.tensor(core) for core in random_cores(factorization)]
    backwards = [core.permute(*reversed(range(core.ndim))).contiguous() for core in cores]
    given = [core.permute(*reversed(range(core.ndim))) for core in backwards]
    layer = FactorizedLinear(designs(factorization)[0], cores=given, bias=None)
    assert all(core.is_contiguous() for core in layer.cores.values())
    assert all(torch.equal(core, own) for core, own in zip(layer.cores.values(), cores, strict=True))


@pytest.mark.parametrize("factorization", FACTORIZATIONS[-2:], ids=name_of)
def test_any_leading_shape_is_kept(factorization: Factorization) -> None:
    design = designs(factorization)[0]
    layer = FactorizedLinear(design, cores=[torch.tensor(core) for core in random_cores(factorization)], bias=None)
    x = torch.ones(3, 1, 2, factorization.in_features, dtype=torch.float64)
    y = layer(x)
    assert y.shape == (3, 1, 2, factorization.out_features)
    assert y.is_contiguous()
    torch.testing.assert_close(y[1, 0, 1], layer(x[1, 0, 1]))
    assert layer(x[:0]).shape == (0, 1, 2, factorization.out_features)


def test_a_borrowed_core_is_the_parameter_of_its_lender_alone() -> None:
    design = designs(FACTORIZATIONS[1])[0]
    first, second = (torch.tensor(core) for core in random_cores(design.factorization))
    lender = FactorizedLinear(design, cores=[first, second], bias=None)
    borrower = FactorizedLinear(design, cores=[2 * first], bias=None, lender=lender)
    assert [name for name, _ in borrower.named_parameters()] == ["cores.G1"]
    x = torch.ones(2, 8, dtype=torch.float64)
    close(borrower(x), 2 * lender(x), "G2 shared")
    with torch.no_grad():
        lender.cores["G2"].zero_()
    assert not borrower(x).any()


def test_cores_and_bias_that_do_not_fit_are_refused() -> None:
    design = designs(FACTORIZATIONS[1])[0]
    cores = [torch.tensor(core) for core in random_cores(design.factorization)]
    with pytest.raises(
        SpecError, match=r"cores do not fit the design \(got \(\(3, 8\), \(6, 3\)\), expected \(\(6, 3\)"
    ):
        FactorizedLinear(design, cores=cores[::-1], bias=None)
    with pytest.raises(SpecError, match=r"bias does not fit the design \(got \(8,\), expected \(6,\)"):
        FactorizedLinear(design, cores=cores, bias=torch.zeros(8))


def test_only_plain_einsums_run() -> None:
    convolution = parse_einsum("O[p] = I[p+r] * W[r]", extents={"p": 4, "r": 3})
    with pytest.raises(SpecError, match=r"O\[p\] = I\[p\+r\] \* W\[r\]: not one that torch\.einsum can run"):
        torch_step(convolution)
