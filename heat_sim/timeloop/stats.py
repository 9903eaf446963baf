"""Reading the stats text of timeloop-model and timeloop-mapper.

The text prints counts in full and everything else to two decimals. It comes in two parts: what every level and
network did, innermost first, and a summary. Levels and networks that cost nothing may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from heat_sim.errors import SpecError, describe

ROUNDING = 0.0050001
"""Half of the last printed digit of what is no count (pJ, words per cycle, throttle, per cent), and a hair for ties."""

Number = int | float
Fields = dict[str, str]

_TITLE = re.compile(r"=== (?P<name>.+) ===\s*")
_NETWORK = re.compile(r"(?P<name>\S+ <==> \S+)\s*")
_TENSOR = re.compile(r"    (?P<name>\S+):\s*")
_FIELD = re.compile(r"\s*(?P<key>\S.*?)\s*:\s+(?P<value>\S.*?)\s*")
_GROUP = re.compile(r"\s*@multicast (?:\(distributed\) )?(\d+)(?: @scatter (\d+))?: (\d+)\s*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


@dataclass(slots=True, kw_only=True)
class _Block:
    """The lines of one level or network."""

    name: str
    fields: Fields = field(default_factory=dict)
    tensors: dict[str, Fields] = field(default_factory=dict)
    groups: dict[str, list[dict[str, int]]] = field(default_factory=dict)

    def number(self, key: str, fields: Fields | None = None) -> Number | None:
        """Return the number of a field; None if it is not there or is a dash."""
        match = _NUMBER.match((self.fields if fields is None else fields).get(key, ""))
        if match is None:
            return None
        return float(match[0]) if set(match[0]) & set(".eE") else int(match[0])

    def need(self, key: str, fields: Fields | None = None) -> Number:
        value = self.number(key, fields)
        if value is None:
            raise SpecError(
                describe(f"Timeloop's stats, {self.name}", f"no number for {key!r}", got="none",
                         expected="the report of a dense design", remedy="Give the whole .stats.txt file.")
            )  # fmt: skip
        return value


def parse_stats(text: str) -> dict[str, Any]:
    r"""Return a stats text in the schema of `Report.to_json`, as far as the text tells (units: words, cycles, pJ).

    The total energy is the sum of its parts, which are printed with more digits than the total.

    Args:
        text: Content of ``timeloop-model.stats.txt`` or ``timeloop-mapper.stats.txt``.

    Raises:
        SpecError: It is no such text, or the parts do not add up to the total it states.

    >>> level = "=== {} ===\n    STATS\n    -----\n    {}\n    Cycles : 8\n    Energy (total) : 16.00 pJ\n"
    >>> text = level.format("MAC", "Utilized instances : 1") + "Summary Stats\nUtilization: 100.00%\nCycles: 8\n"
    >>> stats = parse_stats(text + "Energy: 0.00 uJ\nComputes = 8\n")
    >>> stats["cycles"], stats["energy_pJ"], stats["compute"]["computes"]
    (8, 16.0, 8)
    """
    levels, networks, summary = _blocks(text)
    computes = [block for block in levels if not block.tensors and "Energy (total)" in block.fields]
    if len(computes) != 1:
        raise SpecError(
            describe("Timeloop's stats", "not the stats of one run", got=f"{len(computes)} compute levels",
                     expected="one", remedy="Give a .stats.txt file of timeloop-model or timeloop-mapper.")
        )  # fmt: skip
    storages = [block for block in reversed(levels) if block is not computes[0]]
    names = sorted({name for block in storages for name in block.tensors})
    order = {block.name: place for place, block in enumerate(storages)}
    networks.sort(key=lambda block: order.get(block.name.split(" <==> ")[0], -1))
    result: dict[str, Any] = {
        "valid": True,
        "compute": _compute(computes[0], summary),
        "levels": [_level(block, names) for block in storages],
        "networks": [_network(block) for block in networks],
        "cycles": summary.need("Cycles"),
    }
    parts = printed_energies(result)
    result["network_energy_pJ"] = sum(_network_energies(result))
    result["energy_pJ"] = sum(parts)
    stated_pj = summary.need("Energy") * 1e6
    if abs(result["energy_pJ"] - stated_pj) > ROUNDING * (1e6 + len(parts)) + 1e-9 * stated_pj:
        raise SpecError(
            describe("Timeloop's stats", "the energies of the parts do not add up to the total",
                     got=f"{result['energy_pJ']:.2f} pJ", expected=f"{stated_pj:.0f} pJ",
                     remedy="Give the whole file; sparse designs are not read.")
        )  # fmt: skip
    share = summary.need("Utilization")
    result["utilization"] = share / 100 if "%" in summary.fields["Utilization"] else share
    return result


def printed_energies(stats: Mapping[str, Any]) -> list[float]:
    """Return every energy the text printed, in pJ; each may be off by `ROUNDING`.

    >>> printed_energies({"compute": {"energy_pJ": 2.5}, "levels": [], "networks": []})
    [2.5]
    """
    energies = [stats["compute"]["energy_pJ"]]
    for level in stats["levels"]:
        energies.append(level["leakage_energy_pJ"])
        for tensor in level["data_spaces"].values():
            if tensor["kept"]:
                energies += [tensor.get(key, 0.0) for key in ("energy_pJ", "reduction_energy_pJ", "address_energy_pJ")]
    return energies + _network_energies(stats)


def _network_energies(stats: Mapping[str, Any]) -> list[float]:
    return [
        tensor[key]
        for network in stats["networks"]
        for tensor in network["data_spaces"].values()
        for key in ("energy_pJ", "link_transfer_energy_pJ", "spatial_reduction_energy_pJ")
    ]


def _blocks(text: str) -> tuple[list[_Block], list[_Block], _Block]:
    """Return levels, networks and the summary, in the order of the text."""
    levels: list[_Block] = []
    networks: list[_Block] = []
    summary = _Block(name="Summary Stats")
    block: _Block | None = None
    tensor = ""
    in_levels = True
    for line in text.splitlines():
        if line.startswith("Operational Intensity Stats"):
            block, in_levels = None, False
        elif line.startswith("Summary Stats"):
            block, tensor, in_levels = summary, "", False
        elif in_levels and (match := _TITLE.fullmatch(line)):
            block, tensor = _Block(name=match["name"]), ""
            levels.append(block)
        elif in_levels and (match := _NETWORK.fullmatch(line)):
            block, tensor = _Block(name=match["name"]), ""
            networks.append(block)
        elif block is None:
            continue
        elif block is summary and (match := re.fullmatch(r"(?:MACCs|Computes|Actual Computes) = (\d+)\s*", line)):
            block.fields["Computes"] = match[1]
        elif block is not summary and (match := _TENSOR.fullmatch(line)) and match["name"] != "Shared":
            tensor = match["name"]
            block.tensors[tensor] = {}
        elif match := _GROUP.fullmatch(line):
            multicast, scatter, accesses = match.groups()
            group = {"multicast": int(multicast), "accesses": int(accesses)}
            block.groups.setdefault(tensor, []).append(group if scatter is None else {**group, "scatter": int(scatter)})
        elif match := _FIELD.fullmatch(line):
            (block.tensors[tensor] if tensor else block.fields).setdefault(match["key"], match["value"])
    return levels, networks, summary


def _compute(block: _Block, summary: _Block) -> dict[str, Any]:
    used = block.number("Utilized instances")
    return {
        "name": block.name,
        "instances_available": block.number("Instances"),
        "instances_used": block.need("Utilized instances (max)") if used is None else used,
        "computes": summary.need("Computes"),
        "cycles": block.need("Cycles"),
        "energy_pJ": block.need("Energy (total)"),
    }


def _level(block: _Block, names: Sequence[str]) -> dict[str, Any]:
    return {
        "name": block.name,
        "instances_available": block.number("Instances"),
        "cycles": block.need("Cycles"),
        "throttle": block.need("Bandwidth throttling"),
        "data_spaces": {
            name: _tensor(block, block.tensors[name]) if name in block.tensors else {"kept": False} for name in names
        },
        "leakage_energy_pJ": block.number("Leakage energy (total)") or 0.0,
    }


def _tensor(block: _Block, fields: Fields) -> dict[str, Any]:
    used = block.need("Utilized instances (max)", fields)
    counts = {word: block.need(f"Scalar {word} (per-instance)", fields) for word in ("reads", "fills", "updates")}
    return {
        "kept": True,
        "tile_words": block.need("Utilized capacity", fields),
        "partition_words": block.number("Partition size", fields),
        "instances_used": used,
        **{f"{word}_per_instance": count for word, count in counts.items()},
        "temporal_reductions_per_instance": block.number("Temporal reductions (per-instance)", fields),
        **{word: count * used for word, count in counts.items()},
        "read_bandwidth_words_per_cycle_per_instance": block.number("Read Bandwidth (per-instance)", fields),
        "write_bandwidth_words_per_cycle_per_instance": block.number("Write Bandwidth (per-instance)", fields),
        "energy_pJ": block.need("Energy (total)", fields),
        "reduction_energy_pJ": block.number("Temporal Reduction Energy (total)", fields) or 0.0,
        "address_energy_pJ": block.number("Address Generation Energy (total)", fields) or 0.0,
    }


def _network(block: _Block) -> dict[str, Any]:
    def tensor(name: str, fields: Fields) -> dict[str, Any]:
        return {
            "fanout": block.number("Fanout", fields),
            "multicast_factor": block.number("Multicast factor", fields),
            "ingresses_per_instance": block.number("Ingresses", fields),
            "ingress_breakdown_per_instance": block.groups.get(name, []),
            "link_transfers_per_instance": block.number("Link transfers", fields),
            "spatial_reductions_per_instance": block.number("Spatial reductions", fields),
            "average_hops": block.number("Average number of hops", fields),
            "energy_per_hop_pJ": (block.number("Energy (per-hop)", fields) or 0.0) / 1000,
            "energy_per_instance_pJ": block.number("Energy (per-instance)", fields) or 0.0,
            "energy_pJ": block.number("Energy (total)", fields) or 0.0,
            "link_transfer_energy_pJ": block.number("Link transfer energy (total)", fields) or 0.0,
            "spatial_reduction_energy_pJ": block.number("Spatial Reduction Energy (total)", fields) or 0.0,
        }

    return {"name": block.name, "data_spaces": {name: tensor(name, fields) for name, fields in block.tensors.items()}}
