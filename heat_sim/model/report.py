"""What the model says of one mapping: counts, cycles, energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heat_sim.architecture import Architecture
from heat_sim.model.network import NetworkCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorCounts:
    """Words of one tensor at one level; totals over the instances in use.

    Attributes:
        kept: Whether the level holds the tensor; if not, everything is 0.
        tile_words: Resident tile of one instance.
        partition_words: Words of the tensor that ever live in one instance.
        reads: Words taken out.
        fills: Words written from the parent.
        updates: Words written from below.
        energy_pj: Dynamic energy of these accesses.
    """

    kept: bool = False
    tile_words: int = 0
    partition_words: int = 0
    reads: int = 0
    fills: int = 0
    updates: int = 0
    energy_pj: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelReport:
    """One storage level.

    Attributes:
        name: Of the level.
        instances_available: Physical copies.
        instances_used: Copies the mapping uses.
        cycles: Cycles this level alone would need.
        throttle: Bandwidth given over bandwidth needed, at most 1.
        occupied_words: Words of all kept tiles in one instance.
        leakage_energy_pj: Over the whole run.
        tensors: Counts by tensor name.
        networks: Traffic to the children by tensor name.
    """

    name: str
    instances_available: int
    instances_used: int
    cycles: int
    throttle: float
    occupied_words: int
    leakage_energy_pj: float
    tensors: dict[str, TensorCounts]
    networks: dict[str, NetworkCounts]

    @property
    def network_energy_pj(self) -> float:
        """Words to and from the children, and between them."""
        return sum(n.energy_pj + n.link_transfer_energy_pj for n in self.networks.values())

    @property
    def energy_pj(self) -> float:
        """Accesses, leakage and the network to the children."""
        return sum(t.energy_pj for t in self.tensors.values()) + self.network_energy_pj + self.leakage_energy_pj


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Counts, cycles and energy of one einsum under one mapping.

    Printing it gives a table: totals, then a row per level and tensor.

    Attributes:
        einsum: Name of the einsum.
        architecture: The hardware.
        ops: Multiply-accumulates.
        units_used: Compute units the mapping uses.
        compute_cycles: Cycles without stalls.
        cycles: Cycles with stalls and network latency.
        compute_energy_pj: Energy of the ops.
        levels: Outermost first, without virtual levels.
    """

    einsum: str
    architecture: Architecture
    ops: int
    units_used: int
    compute_cycles: int
    cycles: int
    compute_energy_pj: float
    levels: tuple[LevelReport, ...]

    @property
    def energy_pj(self) -> float:
        """Total energy."""
        return sum(level.energy_pj for level in self.levels) + self.compute_energy_pj

    @property
    def edp_pj_cycles(self) -> float:
        """Energy-delay product in pJ x cycles."""
        return self.energy_pj * self.cycles

    @property
    def network_energy_pj(self) -> float:
        """Share of the energy spent on the networks between levels."""
        return sum(level.network_energy_pj for level in self.levels)

    @property
    def utilization(self) -> float:
        """Compute utilisation: ops over what all units could have done in these cycles."""
        return self.ops / (self.architecture.peak_ops_per_cycle * self.cycles)

    def level(self, name: str) -> LevelReport:
        """Return the report of the named level; KeyError if there is none."""
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(name)

    def energy_breakdown_pj(self) -> dict[str, float]:
        """Return where the energy goes: accesses by level, networks, leakage and the ops themselves."""
        parts = {level.name: sum(t.energy_pj for t in level.tensors.values()) for level in self.levels}
        parts["networks"] = self.network_energy_pj
        parts["leakage"] = sum(level.leakage_energy_pj for level in self.levels)
        parts[self.architecture.compute_name] = self.compute_energy_pj
        return parts

    def to_rows(self) -> list[dict[str, str | int | float]]:
        """Return one flat row per level and kept tensor, for tables and data frames."""
        return [
            {
                "level": level.name,
                "tensor": name,
                "instances": level.instances_used,
                "tile_words": counts.tile_words,
                "reads": counts.reads,
                "fills": counts.fills,
                "updates": counts.updates,
                "energy_pj": counts.energy_pj,
            }
            for level in self.levels
            for name, counts in level.tensors.items()
            if counts.kept
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the report in the schema of the golden cases (units: words, cycles, pJ)."""
        names = [level.name for level in self.levels] + [self.architecture.compute_name]
        return {
            "valid": True,
            "compute": {
                "name": self.architecture.compute_name,
                "instances_available": self.architecture.peak_ops_per_cycle,
                "instances_used": self.units_used,
                "instances_used_avg": self.units_used,
                "computes": self.ops,
                "cycles": self.compute_cycles,
                "energy_pJ": self.compute_energy_pj,
            },
            "levels": [_level_json(level, self.compute_cycles) for level in self.levels],
            "networks": [
                _network_json(level, self.architecture, f"{level.name} <==> {child}")
                for level, child in zip(self.levels, names[1:], strict=True)
            ],
            "cycles": self.cycles,
            "network_energy_pJ": self.network_energy_pj,
            "energy_pJ": self.energy_pj,
            "utilization": self.utilization,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.einsum} on {self.architecture.name}: {self.cycles:,} cycles, {self.energy_pj / 1e6:,.4g} uJ, "
            f"EDP {self.edp_pj_cycles:.4g} pJ*cycles, compute utilisation {self.utilization:.1%}",
            f"{'level':<20}{'tensor':<10}{'tile words':>14}{'reads':>16}{'fills':>16}{'updates':>16}{'energy nJ':>14}",
        ]
        lines += [
            f"{row['level']:<20}{row['tensor']:<10}{row['tile_words']:>14,}{row['reads']:>16,}{row['fills']:>16,}"
            f"{row['updates']:>16,}{float(row['energy_pj']) / 1e3:>14,.3f}"
            for row in self.to_rows()
        ]
        lines.append(
            f"{self.architecture.compute_name:<20}{f'{self.ops:,} ops on {self.units_used:,} units':<72}"
            f"{self.compute_energy_pj / 1e3:>14,.3f}"
        )
        parts = self.energy_breakdown_pj()
        shares = (f"{name} {part / self.energy_pj:.1%}" for name, part in parts.items() if part)
        lines.append(f"energy: {', '.join(shares) or 'none'}")
        return "\n".join(lines)


def _level_json(level: LevelReport, compute_cycles: int) -> dict[str, Any]:
    used = level.instances_used

    def tensor_json(counts: TensorCounts) -> dict[str, Any]:
        if not counts.kept:
            return {"kept": False}
        reads, fills, updates = (_average(words, used) for words in (counts.reads, counts.fills, counts.updates))
        # Every read of an output is a partial sum that is added to.
        reductions = reads if counts.updates else 0
        return {
            "kept": True,
            "tile_words": counts.tile_words,
            "partition_words": counts.partition_words,
            "instances_used": used,
            "reads_per_instance": reads,
            "fills_per_instance": fills,
            "updates_per_instance": updates,
            "temporal_reductions_per_instance": reductions,
            "reads": counts.reads,
            "fills": counts.fills,
            "updates": counts.updates,
            "read_bandwidth_words_per_cycle_per_instance": reads / compute_cycles * level.throttle,
            "write_bandwidth_words_per_cycle_per_instance": (fills + updates) / compute_cycles * level.throttle,
            "energy_pJ": counts.energy_pj,
        }

    return {
        "name": level.name,
        "instances_available": level.instances_available,
        "cycles": level.cycles,
        "throttle": level.throttle,
        "data_spaces": {name: tensor_json(counts) for name, counts in level.tensors.items()},
        "leakage_energy_pJ": level.leakage_energy_pj,
    }


def _average(words: int, instances: int) -> int | float:
    """Return the words per instance, an integer wherever all instances do the same."""
    return words // instances if words % instances == 0 else words / instances


def _network_json(level: LevelReport, architecture: Architecture, name: str) -> dict[str, Any]:
    hop_energy_pj = architecture.levels[architecture.index(level.name)].hop_energy_pj

    def tensor_json(counts: NetworkCounts) -> dict[str, Any]:
        groups = [
            {"multicast": each.multicast, "scatter": each.scatter, "accesses": each.words} for each in counts.classes
        ]
        return {
            "fanout": counts.fanout,
            "multicast_factor": counts.multicast,
            "ingresses_per_instance": counts.words,
            "ingress_breakdown_per_instance": groups,
            "link_transfers_per_instance": counts.link_transfers,
            "spatial_reductions_per_instance": counts.spatial_reductions,
            "average_hops": counts.average_hops,
            "energy_per_hop_pJ": hop_energy_pj,
            "energy_per_instance_pJ": counts.energy_pj / level.instances_used,
            "energy_pJ": counts.energy_pj,
            "link_transfer_energy_pJ": counts.link_transfer_energy_pj,
            "spatial_reduction_energy_pJ": 0.0,
        }

    return {"name": name, "data_spaces": {tensor: tensor_json(counts) for tensor, counts in level.networks.items()}}
