"""AccelForge's figures from our counts: its mappings, written out below, with the rules in which it differs.

``python tests/published/accelforge/check.py`` compares every action count, energy and latency per einsum and component
with expected.json (counts: equal; energies and latencies: 1e-6), then searches: map_cascade on energies into which the
rules are folded finds what AccelForge found, where its space is the same or can be demanded by constraints.

Rules of AccelForge that differ from docs/model.md:

* drain: a level that is not the outermost keeper of the output is read once more for every word that it hands up. So
  its reads, like its writes, are its updates and fills (we: updates less the first visits; rules 5.2 and 5.4).
* unicast: between the cores of tpu_v4i (may_reuse: Nothing) nothing is multicast (we: rule 4.2).
* leakage of all instances (we: of those at work, rule 7.3). The architectures here have all of it at MainMemory.
* time is not rounded up to whole cycles (we: rule 8.2). Else as ours: the slowest component, einsum after einsum.
* order: a storage of an inner level stands below those of all outer levels (force_memory_hierarchy_order), and a tile
  is fetched anew in every iteration of a loop above its storage (we: not by the innermost run of loops that do not
  touch it, rule 3.3). In eyeriss that forbids weights that stay in their scratchpad while the input scratchpad, an
  outer level, is refilled; in the others it costs nothing.
* min_usage: 1: every mesh axis is used as much as any mapping does.

With a rule taken out, accelforge 1.0.467 itself finds what map_cascade finds (by hand, not run here): tpu_v4i with
may_reuse: All, simba without min_usage, eyeriss with force_memory_hierarchy_order: False at WeightScratchpad.
"""

# ruff: noqa: T201
from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import replace
from pathlib import Path

from heat_sim.architecture import Architecture
from heat_sim.einsum import Cascade, Einsum, parse_cascade
from heat_sim.mapper.cascade import MappedCascade, map_cascade
from heat_sim.mapping import LevelConstraints, LevelMapping, Loop, Mapping
from heat_sim.model import Report, evaluate
from heat_sim.specs import ArchitectureSpec, load_architecture

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())
EXTENTS = {"matmuls": 64, "three": 128}
COUNTS = {"matmuls": 2, "three": 3}
HERTZ = {"simple": 1.0, "tpu_v4i": 1.05e9, "simba": 2.5e9, "eyeriss": 200e6}
JOULE = {"simple": 1.0, "tpu_v4i": 1e-12, "simba": 1e-12, "eyeriss": 1e-12}
ROLES = {"I": "Inputs", "W": "Weights", "O": "Outputs"}

_EYERISS = "/ m8x k8y | InputScratchpad[I]"
NESTS = {
    ("simple", "matmuls"): "GlobalBuffer[] m64 n64 k64",
    ("simple", "three"): "GlobalBuffer[] m128 n128 k128",
    ("tpu_v4i", "matmuls"): "GlobalBuffer[W] / m4x | LocalBuffer[IO] / n64x k64y | Register[W] m16",
    ("tpu_v4i", "three"): "GlobalBuffer[W] / m4x | LocalBuffer[IO] / n128x k128y | Register[W] m32",
    ("simba", "matmuls"): "GlobalBuffer[IO] / n2x k8x | InputBuffer[I] n4 | WeightBuffer[W] "
    "| AccumulationBuffer[O] / k8x n8y | Register[W] m64",
    ("simba", "three"): "GlobalBuffer[IO] / k16x | InputBuffer[I] n16 | WeightBuffer[W] "
    "| AccumulationBuffer[O] / k8x n8y | Register[W] m128",
    ("eyeriss", "matmuls"): f"GlobalBuffer[W] m4 {_EYERISS} n64 | WeightScratchpad[W] m2 | OutputScratchpad[O] k8",
    ("eyeriss", "three"): f"GlobalBuffer[WO] k4 m4 {_EYERISS} n128 | WeightScratchpad[W] m4 | OutputScratchpad[O] k4",
    # Its first of two fused, where the loop over m is the common one; the others have the nests above.
    ("eyeriss", "matmuls", 0): f"GlobalBuffer[W] m2 k2 {_EYERISS} n64 | WeightScratchpad[W] m4 "
    "| OutputScratchpad[O] k4",
    # The first two of three fused, likewise.
    ("eyeriss", "three", 0): f"GlobalBuffer[WO] m4 k4 {_EYERISS} n128 | WeightScratchpad[W] m4 "
    "| OutputScratchpad[O] k4",
    ("eyeriss", "three", 1): f"GlobalBuffer[WO] m4 k4 {_EYERISS} n128 | WeightScratchpad[W] m4 "
    "| OutputScratchpad[O] k4",
}
"""The mappings of accelforge 1.0.467 (each found again with it), below MainMemory. An intermediate is kept at
GlobalBuffer too when fused, and not at MainMemory."""


def cascade_of(workload: str) -> Cascade:
    """Return T1 = T0 * W0, T2 = T1 * W1, ..."""
    count, extent = COUNTS[workload], EXTENTS[workload]
    return parse_cascade(
        [f"T{i + 1}[m,n{i + 1}] = T{i}[m,n{i}] * W{i}[n{i},n{i + 1}]" for i in range(count)],
        extents=dict.fromkeys(("m", *(f"n{i}" for i in range(count + 1))), extent),
        name=workload,
    )


def mapping_of(einsum: Einsum, place: int, *, text: str, stays: frozenset[str]) -> Mapping:
    """Return the mapping of a line; ``stays`` are the tensors that never see MainMemory."""
    names = {"I": f"T{place}", "W": f"W{place}", "O": f"T{place + 1}"}
    variables = {"m": "m", "k": f"n{place}", "n": f"n{place + 1}"}
    levels = [LevelMapping(level="MainMemory", keep=frozenset(tensor.name for tensor in einsum.tensors) - stays)]
    for part in text.split("|"):
        head, _, loops = part.strip().partition("]")
        level, _, kept = head.partition("[")
        keep = frozenset(names[letter] for letter in kept)
        if level == "GlobalBuffer":
            keep |= stays & frozenset(names.values())
        temporal, _, spatial = loops.partition("/")
        levels.append(
            LevelMapping(
                level=level,
                keep=keep,
                temporal=tuple(Loop(rank_var=variables[word[0]], bound=int(word[1:])) for word in temporal.split()),
                spatial=tuple(
                    Loop(rank_var=variables[word[0]], bound=int(word[1:-1]), dimension="x" if word[-1] == "x" else "y")
                    for word in spatial.split()
                ),
            )
        )
    return Mapping(levels=tuple(levels))


Actions = dict[str, dict[str, dict[str, float]]]


def actions_of(einsum: Einsum, mapping: Mapping, report: Report, *, unicast_below: str | None) -> Actions:
    """Return words by level, tensor and action as AccelForge counts them."""
    output = einsum.output.name
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
            if tensor == output:
                assert copies == 1, "sums between cores are not needed here"
                outermost = all(tensor not in mapping.levels[at].keep for at in range(place))
                writes = counts.updates + counts.fills
                found.setdefault(level.name, {})[tensor] = {
                    "read": counts.reads if outermost else writes,
                    "write": writes,
                }
            else:
                found.setdefault(level.name, {})[tensor] = {"read": counts.reads * copies, "write": counts.fills}
    return found


def as_accelforge(
    name: str, architecture: Architecture, einsum: Einsum, mapping: Mapping
) -> tuple[Actions, dict[str, dict[str, float]], dict[str, float]]:
    """Return actions in AccelForge's unit, energies in J by component and action, latencies in s by component."""
    report = evaluate(einsum, architecture, mapping, link_transfers=False)
    words = actions_of(einsum, mapping, report, unicast_below="GlobalBuffer" if name == "tpu_v4i" else None)
    energies: dict[str, dict[str, float]] = {"MAC": {"compute": report.ops * architecture.compute_energy_pj}}
    cycles_of_ops = math.prod(loop.bound for level in mapping.levels for loop in level.temporal)
    seconds = {"MAC": cycles_of_ops / HERTZ[name]}
    actions: Actions = {"MAC": {"None": {"compute": float(report.ops)}}}
    for level, storage in zip(report.levels, architecture.levels, strict=True):
        tensors = words.get(level.name, {})
        if not tensors:
            continue
        read = sum(counts["read"] for counts in tensors.values())
        written = sum(counts["write"] for counts in tensors.values())
        energies[level.name] = {
            "read": read / storage.words_per_access * storage.read_energy_pj,
            "write": written / storage.words_per_access * storage.write_energy_pj,
        }
        rates = (
            (read, storage.read_bandwidth_words_per_cycle),
            (written, storage.write_bandwidth_words_per_cycle),
            (read + written, storage.shared_bandwidth_words_per_cycle),
        )
        cycles = [moved / level.instances_used / rate for moved, rate in rates if rate is not None]
        seconds[level.name] = max(cycles, default=0.0) / HERTZ[name]
        unit = 1 / storage.words_per_access if storage.words_per_access > 1 else storage.word_bits
        actions[level.name] = {
            tensor: {action: count * unit for action, count in counts.items()} for tensor, counts in tensors.items()
        }
    leaked = sum(level.leakage_energy_pj_per_cycle for level in architecture.levels) * HERTZ[name]
    energies["leak"] = {"leak": leaked * max(seconds.values())}
    in_joule = {
        component: {action: value * JOULE[name] for action, value in each.items()}
        for component, each in energies.items()
    }
    return actions, in_joule, seconds


def leaves(tree: AbstractMapping[str, object], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield the numbers of nested tables that are not zero."""
    for key, value in tree.items():
        if isinstance(value, AbstractMapping):
            yield from leaves(value, (*path, key))
        elif value:
            yield (*path, key), float(value)  # type: ignore[arg-type]


def differences(what: str, ours: AbstractMapping, theirs: AbstractMapping, tolerance: float) -> list[str]:
    """Return a line per number that is not there or differs."""
    mine, published = dict(leaves(ours)), dict(leaves(theirs))
    return [
        f"{what} {'/'.join(key)}: ours {mine.get(key)}, published {published.get(key)}"
        for key in sorted(mine.keys() | published.keys())
        if not math.isclose(mine.get(key, 0.0), published.get(key, 0.0), rel_tol=tolerance)
    ]


def check_mappings(name: str, workload: str, mode: str, spec: ArchitectureSpec) -> list[str]:
    """Return what differs between the published figures and ours with the rules, for AccelForge's mappings."""
    published = EXPECTED[name][workload][mode]
    cascade = cascade_of(workload)
    fused = mode == "fused" and name != "simple"
    problems: list[str] = []
    joule = latency = 0.0
    for place, (einsum, label) in enumerate(zip(cascade.einsums, published["actions"], strict=True)):
        text = NESTS[name, workload]
        if fused:
            text = NESTS.get((name, workload, place), text)  # type: ignore[call-overload]
        stays = frozenset(cascade.intermediates) & {tensor.name for tensor in einsum.tensors} if fused else frozenset()
        mapping = mapping_of(einsum, place, text=text, stays=stays)
        actions, energies, seconds = as_accelforge(name, spec.architecture, einsum, mapping)
        theirs = {each: dict(value) for each, value in published["energy_per_action"][label].items()}
        theirs["leak"] = {"leak": sum(value.pop("leak", 0.0) for value in theirs.values())}
        problems += differences(f"{label} actions", actions, published["actions"][label], 0.0)
        problems += differences(f"{label} energy", energies, theirs, 1e-6)
        problems += differences(f"{label} latency", seconds, published["latency_per_component"][label], 1e-6)
        joule += sum(value for _, value in leaves(energies))
        latency += max(seconds.values())
    problems += differences("total", {"energy": joule, "latency": latency},
                            {key: published[key] for key in ("energy", "latency")}, 1e-6)  # fmt: skip
    return problems


def with_its_charges(name: str, architecture: Architecture) -> Architecture:
    """Return the architecture with AccelForge's rules folded into the energies, as far as they fold (see `demands`)."""
    levels = {level.name: level for level in architecture.levels}

    def charge(level: str, **energies: float) -> None:
        levels[level] = replace(levels[level], **energies)  # type: ignore[arg-type]

    holder = {"simba": "AccumulationBuffer", "eyeriss": "OutputScratchpad"}.get(name)
    if holder is not None:  # keeps outputs alone: it is read as often as it is written
        both = levels[holder].read_energy_pj + levels[holder].write_energy_pj
        charge(holder, read_energy_pj=0.0, write_energy_pj=both, update_energy_pj=both)
    main, buffer = levels["MainMemory"], levels.get("GlobalBuffer")
    assert buffer is not None
    if name == "simba":  # every output that comes to MainMemory was read from GlobalBuffer
        charge("MainMemory", update_energy_pj=main.update_energy_pj + buffer.read_energy_pj)
    if name == "tpu_v4i":  # or from LocalBuffer; and each core's weights were read for it
        drain = levels["LocalBuffer"].read_energy_pj
        charge("MainMemory", update_energy_pj=main.update_energy_pj + drain)
        charge("GlobalBuffer", update_energy_pj=buffer.update_energy_pj + drain)
        charge("Register", write_energy_pj=buffer.read_energy_pj * 3 / 4)
    return replace(architecture, levels=tuple(levels[level.name] for level in architecture.levels))


def demands(
    name: str, spec: ArchitectureSpec, charged: Architecture
) -> Iterator[tuple[Architecture, dict[str, LevelConstraints]]]:
    """Yield what to search under, so that the folded charges are exact and the space is AccelForge's; the best counts.

    tpu_v4i: rows over the cores, weights through GlobalBuffer. simba: all 16 PEs (min_usage). eyeriss: loops over
    columns right below the input scratchpad, so that no weight stays while inputs change (order); the results all
    through GlobalBuffer, with its drain, or none, or either and the drain left out.
    """
    base = dict(spec.constraints)
    buffer = base.get("GlobalBuffer", LevelConstraints())
    weights, outputs = frozenset(("Weights",)), frozenset(("Outputs",))
    match name:
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
            main, glb, *inner = charged.levels
            drain = glb.read_energy_pj / glb.words_per_access
            drained = replace(main, update_energy_pj=main.update_energy_pj + drain)
            with_drain = replace(charged, levels=(drained, glb, *inner))
            yield charged, base
            yield charged, base | {"GlobalBuffer": replace(buffer, bypass=outputs)}
            yield with_drain, base | {"GlobalBuffer": replace(buffer, keep=outputs)}
        case _:
            yield charged, base


def recosted(name: str, architecture: Architecture, found: MappedCascade) -> tuple[float, float]:
    """Return J and s of what was found, under AccelForge's rules but that of order; only of groups of one iteration."""
    joule = latency = 0.0
    for group in found.groups:
        assert group.plan.iterations == 1
        assert not group.plan.residents
        for each in group.mapped:
            _, energies, seconds = as_accelforge(name, architecture, each.einsum, each.mapping)
            joule += sum(value for _, value in leaves(energies))
            latency += max(seconds.values())
    return joule, latency


def search(name: str, workload: str, mode: str, spec: ArchitectureSpec) -> tuple[float, float]:
    """Return J and s of the best that map_cascade finds with AccelForge's charges, counted as AccelForge does."""
    charged = with_its_charges(name, spec.architecture)
    found: list[tuple[float, float]] = []
    for architecture, constraints in demands(name, spec, charged):
        result = map_cascade(cascade_of(workload), architecture, constraints=constraints)
        assert result.optimal
        best = result.unfused if mode == "unfused" else result.best
        found.append(recosted(name, spec.architecture, best))
    return min(found, key=lambda each: each[0] * each[1])


def main() -> None:
    """Print what agrees."""
    for name in HERTZ:
        spec = load_architecture(HERE / f"{name}.yaml")
        for workload, mode in itertools.product(EXTENTS, ("unfused", "fused")):
            problems = check_mappings(name, workload, mode, spec)
            print(f"{name} {workload} {mode}, its mappings: {'equal' if not problems else ''}")
            for problem in problems:
                print(f"  {problem}")
        for workload, mode in itertools.product(EXTENTS, ("unfused", "fused")):
            joule, seconds = search(name, workload, mode, spec)
            published = EXPECTED[name][workload][mode]
            print(f"{name} {workload} {mode}, searched: {joule:.8g} J, {joule / published['energy'] - 1:+.1e}; "
                  f"{seconds:.8g} s, {seconds / published['latency'] - 1:+.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
