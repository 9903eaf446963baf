"""Fitting what is unknown of HEAT's main memory, so that the stand-in hardware meets the ratios of `heat_ratios`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from scipy.optimize import minimize_scalar

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.codesign.heat_ratios import DenseRatios, published_ratios

_ENERGY = (0.25, 16.0)
"""Factors on the energy of main memory that are looked at."""

_BANDWIDTHS = (1.0, 2.0, 0.5)
"""Factors on its bandwidth, in this order, until one is good enough."""

_GOOD = 0.005
"""Distance at which the search ends: half a percent."""

_PROBES = 12
"""Factors on the energy that are costed per bandwidth at the most."""

_STEP = 0.02
"""Relative accuracy of the factor on the energy."""

MOST_PROBES = _PROBES * len(_BANDWIDTHS)
"""Machines that are costed at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryScales:
    """Factors on the main memory of an architecture; all else stays.

    Attributes:
        energy: On the energy of an access.
        bandwidth: On words per cycle.
    """

    energy: float = 1.0
    bandwidth: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The outcome of a calibration.

    Attributes:
        scales: The factors.
        ratios: With these factors.
        distance: As in `distance`.
        costed: Machines that were costed.
    """

    scales: MemoryScales
    ratios: DenseRatios
    distance: float
    costed: int

    @property
    def is_met(self) -> bool:
        """Whether the ratios are met to half a percent."""
        return self.distance < _GOOD


def scaled(architecture: Architecture, scales: MemoryScales) -> Architecture:
    """Return the architecture with another main memory.

    >>> memory = StorageLevel(name="DRAM", read_energy_pj=2.0, shared_bandwidth_words_per_cycle=4.0)
    >>> chip = Architecture(name="chip", levels=(memory,), compute_name="MAC", compute_energy_pj=1.0)
    >>> found = scaled(chip, MemoryScales(energy=3.0, bandwidth=0.5)).levels[0]
    >>> found.read_energy_pj, found.shared_bandwidth_words_per_cycle
    (6.0, 2.0)
    """
    memory, *others = architecture.levels
    energies = ("read_energy_pj", "write_energy_pj", "update_energy_pj")
    rates = ("read", "write", "shared")
    changes: dict[str, float] = {name: getattr(memory, name) * scales.energy for name in energies}
    for name in (f"{rate}_bandwidth_words_per_cycle" for rate in rates):
        if (words := getattr(memory, name)) is not None:
            changes[name] = words * scales.bandwidth
    return replace(architecture, levels=(_replaced(memory, changes), *others))


def _replaced(level: StorageLevel, changes: dict[str, float]) -> StorageLevel:
    return replace(level, **changes)  # type: ignore[arg-type]  # the fields are looked up by name


def distance(ratios: DenseRatios) -> float:
    """Return how far ratios are from HEAT's: the root of the sum of squared logarithms.

    Of a share it counts how far it lies outside of the published range. That DistilBERT has a quarter is no question of
    the hardware.

    >>> low, high = published_ratios()
    >>> distance(low) == 0.0, round(distance(replace(low, edp=1.1 * low.edp)), 4)
    (True, 0.0953)
    """
    low, high = published_ratios()
    pairs = [(ratios.edp, low.edp, high.edp)]
    pairs += [(getattr(ratios, name), getattr(low, name), getattr(high, name)) for name in _SHARES]
    return math.sqrt(sum(_outside(*each) ** 2 for each in pairs))


_SHARES = ("short_share", "long_share")


def _outside(value: float, low: float, high: float) -> float:
    if value <= 0:
        return math.inf
    return max(0.0, math.log(low / value), math.log(value / high))


def calibrate(ratios_of: Callable[[MemoryScales], DenseRatios]) -> Fit:
    """Return the factors of least distance.

    The energy is fitted with the bandwidth as it is. Only if that leaves more than half a percent are other bandwidths
    tried, each with its own best energy. Factors are rounded to two decimals before they are costed.

    Args:
        ratios_of: Costs the dense networks; takes seconds to minutes.
    """
    known: dict[MemoryScales, DenseRatios] = {}

    def missed(bandwidth: float, log_energy: float) -> float:
        scales = MemoryScales(energy=round(math.exp(log_energy), 2), bandwidth=bandwidth)
        if scales not in known:
            known[scales] = ratios_of(scales)
        return distance(known[scales]) ** 2

    low, high = map(math.log, _ENERGY)
    for bandwidth in _BANDWIDTHS:
        minimize_scalar(
            partial(missed, bandwidth), bounds=(low, high), method="bounded",
            options={"xatol": _STEP, "maxiter": _PROBES},
        )  # fmt: skip
        if min(map(distance, known.values())) < _GOOD:
            break
    best = min(known, key=lambda scales: distance(known[scales]))
    return Fit(scales=best, ratios=known[best], distance=distance(known[best]), costed=len(known))
