"""What map_cascade finds on AccelForge's designs: under our rules, and under AccelForge's as far as they can be had.

Two more of AccelForge's rules change what there is to find:

* order: a storage of an inner level stands below those of all outer levels (force_memory_hierarchy_order), and a tile
  is fetched anew in every iteration of a loop above its storage (we: not by the innermost run of loops that do not
  touch it, rule 3.3). In eyeriss that forbids weights that stay in their scratchpad while the input scratchpad, an
  outer level, is refilled; in the others it costs nothing.
* min_usage: 1: every axis of a mesh is used as much as any mapping does. It matters in simba.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from heat_sim.architecture import Architecture
from heat_sim.mapper.cascade import CascadeResult, MappedCascade, map_cascade
from heat_sim.mapper.result import MappedEinsum
from heat_sim.mapping import LevelConstraints
from tests.published.accelforge.cases import Chain, cascade_of, spec_of
from tests.published.accelforge.rules import figures_of


class Cost(NamedTuple):
    """Energy in J and latency in s."""

    energy: float
    latency: float

    @property
    def edp(self) -> float:
        """Energy-delay product."""
        return self.energy * self.latency


@cache
def plain(chain: Chain) -> CascadeResult:
    """Return what map_cascade finds under our rules."""
    spec = spec_of(chain.design)
    return map_cascade(cascade_of(chain.workload), spec.architecture, constraints=spec.constraints)


@cache
def under_its_rules(chain: Chain) -> dict[bool, Cost]:
    """Return the least EDP that map_cascade finds with AccelForge's rules folded in, by whether it may fuse.

    Costs are AccelForge's: see `recosted`.
    """
    found: dict[bool, list[Cost]] = {False: [], True: []}
    for architecture, constraints in _searches(chain.design):
        result = map_cascade(cascade_of(chain.workload), architecture, constraints=constraints)
        assert result.optimal
        found[False].append(recosted(chain.design, result.unfused))
        found[True].append(recosted(chain.design, result.best))
    return {fused: min(costs, key=lambda cost: cost.edp) for fused, costs in found.items()}


def recosted(design: str, cascade: MappedCascade) -> Cost:
    """Return what was found at AccelForge's charges: drain, unicast and time; order and min_usage are not looked at."""
    energy = latency = 0.0
    for group in cascade.groups:
        assert not group.plan.transfers(), "nothing is charged for these here"
        for part, mapped in zip(group.parts, group.mapped, strict=True):
            assert isinstance(mapped, MappedEinsum)
            figures = figures_of(design, mapped.einsum, mapped.mapping)
            energy += part.count * figures.energy
            latency += part.count * figures.latency
    return Cost(energy, latency)


def _charged(design: str) -> Architecture:
    """Return the design with drain and unicast folded into its energies, as far as they fold (see `_searches`)."""
    architecture = spec_of(design).architecture
    levels = {level.name: level for level in architecture.levels}

    def charge(level: str, **energies: float) -> None:
        levels[level] = replace(levels[level], **energies)  # type: ignore[arg-type]  # the keys are fields of a level

    holder = {"simba": "AccumulationBuffer", "eyeriss": "OutputScratchpad"}.get(design)
    if holder is not None:  # keeps outputs alone: it is read as often as it is written
        both = levels[holder].read_energy_pj + levels[holder].write_energy_pj
        charge(holder, read_energy_pj=0.0, write_energy_pj=both, update_energy_pj=both)
    main, buffer = levels["MainMemory"], levels["GlobalBuffer"]
    if design == "simba":  # every output that comes to MainMemory was read from GlobalBuffer
        charge("MainMemory", update_energy_pj=main.update_energy_pj + buffer.read_energy_pj)
    if design == "tpu_v4i":  # or from LocalBuffer; and each core's weights were read for it
        drain = levels["LocalBuffer"].read_energy_pj
        charge("MainMemory", update_energy_pj=main.update_energy_pj + drain)
        charge("GlobalBuffer", update_energy_pj=buffer.update_energy_pj + drain)
        charge("Register", write_energy_pj=buffer.read_energy_pj * 3 / 4)
    return replace(architecture, levels=tuple(levels[level.name] for level in architecture.levels))


def _searches(design: str) -> Iterator[tuple[Architecture, dict[str, LevelConstraints]]]:
    """Yield what to search under, so that the folded charges are exact and AccelForge's rules kept; the best counts.

    tpu_v4i: rows over the cores, weights through GlobalBuffer: the charge for unicast is that of this case. simba: all
    16 PEs (min_usage). eyeriss: loops over columns right below the input scratchpad, so that no weight stays while
    inputs change (order); the results all through GlobalBuffer, with its drain, or none, or either and the drain left
    out.
    """
    base, charged = dict(spec_of(design).constraints), _charged(design)
    buffer = base.get("GlobalBuffer", LevelConstraints())
    weights, outputs = frozenset(("Weights",)), frozenset(("Outputs",))
    match design:
        case "tpu_v4i":
            bounds = {"b": 1, "m": 4, "n": 1, "k": 1}
            yield charged, base | {"GlobalBuffer": replace(buffer, keep=weights, spatial_bounds=bounds)}
        case "simba":
            for m, n in itertools.product((1, 2, 4, 8, 16), repeat=2):
                if m * n <= 16:
                    bounds = {"b": 1, "m": m, "n": n, "k": 16 // (m * n)}
                    yield charged, base | {"GlobalBuffer": replace(buffer, spatial_bounds=bounds)}
        case "eyeriss":
            base["InputScratchpad"] = replace(base["InputScratchpad"], temporal_limits={"n": (2, None)})
            main, near, *inner = charged.levels
            drain = near.read_energy_pj / near.words_per_access
            drained = replace(main, update_energy_pj=main.update_energy_pj + drain)
            yield charged, base
            yield charged, base | {"GlobalBuffer": replace(buffer, bypass=outputs)}
            yield (
                replace(charged, levels=(drained, near, *inner)),
                base | {"GlobalBuffer": replace(buffer, keep=outputs)},
            )
        case _:
            yield charged, base
