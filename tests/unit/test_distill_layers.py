"""The factorised layer against a dense layer that holds the reconstructed matrix, for every format and every tree."""

from __future__ import annotations

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
from heat_sim.tensorize.tensorization import Tensorization  # noqa: E402

FACTORIZATIONS = (
    Factorization(format="dense", tensorization=Tensorization(out_modes=(6,), in_modes=(8,))),
    Factorization(format="low-rank", tensorization=Tensorization(out_modes=(6,), in_modes=(8,)), ranks=(3,)),
    Factorization(format="low-rank", tensorization=Tensorization(out_modes=(6,), in_modes=(8,)), ranks=(1,)),
    Factorization(format="tt-matrix", tensorization=Tensorization(out_modes=(2, 3), in_modes=(4, 2)), ranks=(1, 5, 1)),
    Factorization(
        format="tt-matrix", tensorization=Tensorization(out_modes=(2, 3, 2), in_modes=(2, 1, 4)), ranks=(1, 3, 2, 1)
    ),
)
DESIGNS = [
    LayerDesign(factorization=factorization, tree=tree)
    for factorization in FACTORIZATIONS
    for tree in contraction_trees(factorization.einsum(4))
]


def name_of(design: LayerDesign) -> str:
    return f"{design.factorization.format} {design.factorization.ranks} {tree_to_text(design.tree)}"


def random_cores(factorization: Factorization) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=shape) for shape in factorization.core_shapes]


@pytest.mark.parametrize("design", DESIGNS, ids=name_of)
def test_values_and_gradients_are_those_of_the_reconstructed_dense_layer(design: LayerDesign) -> None:
    factorization = design.factorization
    cores = random_cores(factorization)
    rng = np.random.default_rng(6)
    bias = torch.tensor(rng.normal(size=factorization.out_features))
    x = torch.tensor(rng.normal(size=(2, 5, factorization.in_features)), requires_grad=True)
    upstream = torch.tensor(rng.normal(size=(2, 5, factorization.out_features)))

    layer = FactorizedLinear(design, cores=[torch.tensor(core) for core in cores], bias=bias)
    layer(x).backward(upstream)

    weight = torch.tensor(reconstruct(cores, factorization), requires_grad=True)
    dense_x = x.detach().clone().requires_grad_()
    expected = torch.nn.functional.linear(dense_x, weight, bias)
    expected.backward(upstream)

    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(x.grad, dense_x.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer.bias.grad, upstream.sum(dim=(0, 1)), rtol=1e-10, atol=1e-10)
    # W is linear in each core, so <dL/dG, D> = <dL/dW, W(G + D) - W(G)> for every direction D, exactly.
    for place, (name, core) in enumerate(zip(factorization.core_names, cores, strict=True)):
        direction = rng.normal(size=core.shape)
        moved = [*cores[:place], core + direction, *cores[place + 1 :]]
        change = reconstruct(moved, factorization) - reconstruct(cores, factorization)
        got = float((layer.cores[name].grad.numpy() * direction).sum())
        assert got == pytest.approx(float((weight.grad.numpy() * change).sum()), rel=1e-9, abs=1e-9)


def test_the_parameters_are_the_cores_and_the_bias() -> None:
    design = DESIGNS[1]
    cores = [torch.tensor(core) for core in random_cores(design.factorization)]
    layer = FactorizedLinear(design, cores=cores, bias=None)
    # low-rank 6 x 8 at rank 3: 6 * 3 + 3 * 8
    assert sum(parameter.numel() for parameter in layer.parameters()) == 6 * 3 + 3 * 8
    assert layer.bias is None
    assert "low-rank" in repr(layer)


def test_any_leading_shape_is_kept() -> None:
    design = DESIGNS[-1]
    layer = FactorizedLinear(
        design, cores=[torch.tensor(core) for core in random_cores(design.factorization)], bias=None
    )
    x = torch.ones(3, 1, 2, 8, dtype=torch.float64)
    assert layer(x).shape == (3, 1, 2, 12)
    torch.testing.assert_close(layer(x)[1, 0, 1], layer(x[1, 0, 1]))


def test_cores_and_bias_that_do_not_fit_are_refused() -> None:
    design = DESIGNS[1]
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
