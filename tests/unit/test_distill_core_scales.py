"""Scales of cores: the product stays, the gains become one, in every format."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from heat_sim.distill.core_scales import core_gain, scale_by_fan_in  # noqa: E402
from heat_sim.distill.layers import FactorizedLinear  # noqa: E402
from heat_sim.distill.optimiser import fan_in, learning_rate_scales, make_optimiser  # noqa: E402
from heat_sim.tensorize.contraction import mac_optimal_tree  # noqa: E402
from heat_sim.tensorize.design import LayerDesign  # noqa: E402
from heat_sim.tensorize.factorization import Factorization  # noqa: E402
from heat_sim.tensorize.formats import FORMATS  # noqa: E402

NAMES = tuple(name for name in FORMATS if name != "dense")


def layer_of(name: str) -> FactorizedLinear:
    modes = FORMATS[name].tensorizations(24, 36, keep=1)[0]
    ranks = tuple(min(3, limit) for limit in FORMATS[name].max_ranks(modes))
    factorization = Factorization(format=name, tensorization=modes, ranks=ranks)
    trees = tuple(map(mac_optimal_tree, factorization.einsums(16)))
    generator = torch.Generator().manual_seed(0)
    cores = [
        torch.randn(shape, dtype=torch.float64, generator=generator) * 10.0**k
        for k, shape in enumerate(factorization.core_shapes)
    ]
    return FactorizedLinear(LayerDesign(factorization=factorization, trees=trees), cores=cores, bias=None)


@pytest.mark.parametrize("name", NAMES)
def test_the_layer_computes_the_same_and_its_gains_are_one(name: str) -> None:
    layer = layer_of(name)
    x = torch.randn(5, 36, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before = layer(x)
    gains = {core: core_gain(layer, core) for core in layer.design.factorization.core_names}
    assert len(gains) < 2 or max(gains.values()) > 1.5 * min(gains.values())  # else nothing is tried
    scale_by_fan_in(layer)
    torch.testing.assert_close(layer(x), before, rtol=1e-10, atol=0)
    for term in layer.design.factorization.terms:
        first, *others = (core_gain(layer, core.name) for core in term.cores)
        assert others == pytest.approx([first] * len(others))


def test_cores_that_are_lent_stay_as_they_are() -> None:
    lender = layer_of("low-rank")
    borrower = FactorizedLinear(lender.design, cores=[torch.ones(24, 3, dtype=torch.float64)], bias=None, lender=lender)
    before = [core.clone() for core in (*lender.cores.values(), *borrower.cores.values())]
    scale_by_fan_in(torch.nn.ModuleList([lender, borrower]))
    after = (*lender.cores.values(), *borrower.cores.values())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_core_of_zeros_is_left_alone() -> None:
    layer = layer_of("low-rank")
    with torch.no_grad():
        layer.cores["G1"].zero_()
    scale_by_fan_in(layer)
    assert all(torch.isfinite(core).all() for core in layer.cores.values())


def test_rates_by_fan_in_are_those_of_the_dense_matrix_for_a_core_that_sums_over_all_inputs() -> None:
    layer = layer_of("low-rank")
    assert (fan_in(layer, "G2"), fan_in(layer, "G1")) == (36, 3)
    scales = learning_rate_scales(layer, "fan-in")
    assert scales == {id(layer.cores["G2"]): 1.0, id(layer.cores["G1"]): 12.0}
    groups = make_optimiser(layer, learning_rate=0.1, rates="fan-in").param_groups
    assert sorted(group["scale"] for group in groups) == [1.0, 12.0]
    assert learning_rate_scales(layer, "equal") == {}
