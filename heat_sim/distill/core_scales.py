"""How the size of a matrix is shared among its cores: the product is the same, training is not."""

from __future__ import annotations

import math

import torch
from torch import nn

from heat_sim.distill.layers import FactorizedLinear
from heat_sim.distill.optimiser import fan_in


def scale_by_fan_in(student: nn.Module) -> None:
    """Scale the cores of every factorised layer so that each passes a signal on as strongly as the others do.

    The gain of a core is the root mean square of its entries times the root of its fan-in: how much larger its outputs
    are than its inputs, were its entries random. Within a product of cores all gains become their geometric mean, so
    that the product stays as it is (Qiu et al. 2024 initialise the cores of structured matrices so). Cores that are
    lent to other layers, and those of the borrowers, stay as they are.

    Args:
        student: Changed in place.

    >>> from heat_sim.tensorize import Factorization, LayerDesign, Tensorization
    >>> shape = Tensorization(out_modes=(4,), in_modes=(6,))
    >>> design = LayerDesign(factorization=Factorization(format="low-rank", tensorization=shape, ranks=(2,)),
    ...                      trees=((("X", "G2"), "G1"),))
    >>> layer = FactorizedLinear(design, cores=[torch.full((4, 2), 9.0), torch.ones(2, 6)], bias=None)
    >>> scale_by_fan_in(layer)
    >>> [round(core_gain(layer, name), 3) for name in ("G1", "G2")], round(layer(torch.ones(1, 6))[0, 0].item(), 3)
    ([5.584, 5.584], 108.0)
    """
    layers = [module for module in student.modules() if isinstance(module, FactorizedLinear)]
    lent = {id(core) for layer in layers if layer.lender is not None for core in layer.tensors.values()}
    for layer in layers:
        for term in layer.design.factorization.terms:
            names = [core.name for core in term.cores]
            gains = [core_gain(layer, name) for name in names]
            if any(id(layer.tensors[name]) in lent for name in names) or not all(gains):
                continue
            mean = math.exp(sum(map(math.log, gains)) / len(gains))
            with torch.no_grad():
                for name, gain in zip(names, gains, strict=True):
                    layer.tensors[name].mul_(mean / gain)


def core_gain(layer: FactorizedLinear, core: str) -> float:
    """Return the root mean square of a core's entries times the root of its fan-in.

    >>> from heat_sim.tensorize import Factorization, LayerDesign, Tensorization
    >>> shape = Tensorization(out_modes=(4,), in_modes=(9,))
    >>> design = LayerDesign(factorization=Factorization(format="low-rank", tensorization=shape, ranks=(1,)),
    ...                      trees=((("X", "G2"), "G1"),))
    >>> core_gain(FactorizedLinear(design, cores=[torch.ones(4, 1), torch.ones(1, 9)], bias=None), "G2")
    3.0
    """
    return float(layer.tensors[core].detach().double().square().mean().sqrt()) * math.sqrt(fan_in(layer, core))
