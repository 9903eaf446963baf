"""AccelForge's figures of a mapping, from the counts of our model and the rules in which AccelForge differs from it.

Rules that change what a mapping costs, in the order in which docs/validation.md adds them:

* drain: a level that is not the outermost keeper of the output is read once more for every word that it hands up. So
  its reads, like its writes, are its updates and fills (we: updates less the first visits; rules 5.2 and 5.4).
* unicast: between the cores of tpu_v4i (may_reuse: Nothing) nothing is multicast (we: rule 4.2).
* time: it is not rounded up to whole cycles (we: rule 8.2). Else as ours: the slowest component, einsum after einsum.

A fourth one, leakage of all instances (we: of those at work, rule 7.3), is in the designs: MainMemory has all of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass

from heat_sim.einsum import Einsum
from heat_sim.mapping import Mapping
from heat_sim.model import Report, evaluate
from tests.published.accelforge.cases import HERTZ, JOULE, spec_of

RULES = ("drain", "unicast", "time")

Actions = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a mapping does and costs.

    Attributes:
        actions: By component, tensor and action, in AccelForge's unit.
        joule: By component and action; leakage under "leak".
        seconds: By component.
    """

    actions: Actions
    joule: dict[str, dict[str, float]]
    seconds: dict[str, float]

    @property
    def energy(self) -> float:
        """In J."""
        return sum(leaves(self.joule).values())

    @property
    def latency(self) -> float:
        """In s."""
        return max(self.seconds.values())


def figures_of(design: str, einsum: Einsum, mapping: Mapping, *, rules: Iterable[str] = RULES) -> Figures:
    """Return what a mapping does and costs by our model and these rules; by none of them, what the model says."""
    architecture, rules = spec_of(design).architecture, frozenset(rules)
    report = evaluate(einsum, architecture, mapping, link_transfers=False)
    words = _words(design, einsum, mapping, report, rules)
    picojoule: dict[str, dict[str, float]] = {"MAC": {"compute": report.ops * architecture.compute_energy_pj}}
    cycles = {"MAC": float(math.prod(loop.bound for level in mapping.levels for loop in level.temporal))}
    actions: Actions = {"MAC": {"None": {"compute": float(report.ops)}}}
    for level, storage in zip(report.levels, architecture.levels, strict=True):
        tensors = words.get(level.name, {})
        if not tensors:
            continue
        read = sum(counts["read"] for counts in tensors.values())
        written = sum(counts["write"] for counts in tensors.values())
        picojoule[level.name] = {
            "read": read / storage.words_per_access * storage.read_energy_pj,
            "write": written / storage.words_per_access * storage.write_energy_pj,
        }
        rates = (
            (read, storage.read_bandwidth_words_per_cycle),
            (written, storage.write_bandwidth_words_per_cycle),
            (read + written, storage.shared_bandwidth_words_per_cycle),
        )
        busy = [moved / level.instances_used / rate for moved, rate in rates if rate is not None]
        cycles[level.name] = max(busy, default=0.0)
        unit = 1 / storage.words_per_access if storage.words_per_access > 1 else storage.word_bits
        actions[level.name] = {
            tensor: {action: count * unit for action, count in counts.items()} for tensor, counts in tensors.items()
        }
    if "time" not in rules:
        cycles = {component: math.ceil(value) for component, value in cycles.items()}
    leaked = sum(level.leakage_energy_pj_per_cycle for level in architecture.levels)
    picojoule["leak"] = {"leak": leaked * max(cycles.values())}
    return Figures(
        actions=actions,
        joule={
            component: {action: value * JOULE[design] for action, value in each.items()}
            for component, each in picojoule.items()
        },
        seconds={component: value / HERTZ[design] for component, value in cycles.items()},
    )


def _words(design: str, einsum: Einsum, mapping: Mapping, report: Report, rules: frozenset[str]) -> Actions:
    """Return words by level, tensor and action."""
    output = einsum.output.name
    unicast_below = "GlobalBuffer" if design == "tpu_v4i" and "unicast" in rules else None
    found: Actions = {}
    for place, level in enumerate(report.levels):
        for tensor, counts in level.tensors.items():
            if not counts.kept:
                continue
            copies = 1
            keepers = [at for at, here in enumerate(mapping.levels) if at > place and tensor in here.keep]
            for at in range(place, keepers[0] if keepers else len(mapping.levels)):
                if mapping.levels[at].level == unicast_below:
                    touching = einsum.tensor(tensor).rank_vars
                    copies *= math.prod(x.bound for x in mapping.levels[at].spatial if x.rank_var not in touching)
            reads, writes = counts.reads * copies, counts.fills
            if tensor == output:
                assert copies == 1, "sums between cores are not needed here"
                writes += counts.updates
                if "drain" in rules and any(tensor in here.keep for here in mapping.levels[:place]):
                    reads = writes
            found.setdefault(level.name, {})[tensor] = {"read": float(reads), "write": float(writes)}
    return found


def leaves(tree: AbstractMapping[str, object]) -> dict[tuple[str, ...], float]:
    """Return the numbers of nested tables that are not zero, by path."""
    return dict(_leaves(tree, ()))


def _leaves(tree: AbstractMapping[str, object], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], float]]:
    for key, value in tree.items():
        if isinstance(value, AbstractMapping):
            yield from _leaves(value, (*path, key))
        elif isinstance(value, int | float) and value:
            yield (*path, key), float(value)
