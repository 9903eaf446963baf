"""Our report beside Timeloop's, figure by figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from heat_sim.model import Report
from heat_sim.timeloop.stats import ROUNDING, printed_energies

_COUNTS = ("instances_used", "tile_words", "reads", "fills", "updates")
_NETWORK_COUNTS = ("ingresses_per_instance", "link_transfers_per_instance", "spatial_reductions_per_instance")
_NETWORK_ENERGIES = ("energy_pJ", "link_transfer_energy_pJ")

Value = bool | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One figure that both tools give.

    Attributes:
        level: Level or network; empty for the whole run.
        tensor: Its tensor; empty for all of them.
        field: What the figure is, with its unit.
        ours: As heat_sim has it.
        theirs: As Timeloop printed it; None if it printed nothing of this level and tensor.
        tolerance: How far rounding in print alone can put them apart; 0 for counts.
    """

    level: str
    tensor: str
    field: str
    ours: Value
    theirs: Value | None
    tolerance: float = 0.0

    @property
    def difference(self) -> float | None:
        """Ours minus theirs; None without a figure of theirs."""
        return None if self.theirs is None else self.ours - self.theirs

    @property
    def agrees(self) -> bool:
        """Whether the figures are the same but for rounding in print."""
        if self.theirs is None:
            return False
        return math.isclose(self.ours, self.theirs, rel_tol=1e-9 if self.tolerance else 0.0, abs_tol=self.tolerance)

    def to_json(self) -> dict[str, str | Value | None]:
        """Return the row as a plain dict."""
        return {
            "level": self.level, "tensor": self.tensor, "field": self.field, "ours": self.ours, "theirs": self.theirs,
            "difference": self.difference, "agrees": self.agrees,
        }  # fmt: skip


def compare(report: Report, stats: Mapping[str, Any]) -> list[ComparisonRow]:
    """Return a row per figure: of the whole run, of every level and tensor, of the networks Timeloop printed.

    Counts must be equal; energies and ratios may differ by the rounding of the text.

    Args:
        report: Of our model.
        stats: Of Timeloop for the same case, from `parse_stats`.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapping import LevelMapping, Loop, Mapping
    >>> from heat_sim.model import evaluate
    >>> tiny = Architecture(name="tiny", levels=(StorageLevel(name="DRAM"),), compute_name="MAC", compute_energy_pj=1.0)
    >>> nest = LevelMapping(level="DRAM", temporal=(Loop(rank_var="m", bound=4),), keep=frozenset("az"))
    >>> report = evaluate(parse_einsum("z[m] = a[m]", extents={"m": 4}), tiny, Mapping(levels=(nest,)))
    >>> [row.field for row in compare(report, {**report.to_json(), "cycles": 5}) if not row.agrees]
    ['cycles']
    """
    ours = report.to_json()
    levels = {level["name"]: level for level in stats["levels"]}
    return [
        ComparisonRow(
            level="", tensor="", field="energy_pJ", ours=ours["energy_pJ"], theirs=stats["energy_pJ"],
            tolerance=ROUNDING * len(printed_energies(stats)),
        ),
        _row("", "", "cycles", ours, stats),
        _row("", "", "utilization", ours, stats, ROUNDING / 100),
        *(_row(ours["compute"]["name"], "", key, ours["compute"], stats["compute"])
          for key in ("instances_used", "computes", "cycles")),
        _row(ours["compute"]["name"], "", "energy_pJ", ours["compute"], stats["compute"], ROUNDING),
        *(row for level in ours["levels"] for row in _level_rows(level, levels.get(level["name"]))),
        *_network_rows(ours, stats),
    ]  # fmt: skip


def _row(
    level: str, tensor: str, key: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], tolerance: float = 0.0
) -> ComparisonRow:
    return ComparisonRow(
        level=level, tensor=tensor, field=key, ours=ours[key], theirs=theirs.get(key), tolerance=tolerance
    )


def _level_rows(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> Iterator[ComparisonRow]:
    name = ours["name"]
    kept = any(tensor["kept"] for tensor in ours["data_spaces"].values())
    if theirs is None:
        # Timeloop leaves out a level without accesses and without energy.
        if kept:
            yield ComparisonRow(level=name, tensor="", field="kept", ours=True, theirs=None)
        return
    yield _row(name, "", "cycles", ours, theirs)
    yield _row(name, "", "throttle", ours, theirs, ROUNDING)
    yield _row(name, "", "leakage_energy_pJ", ours, theirs, ROUNDING)
    for tensor, counts in ours["data_spaces"].items():
        other = theirs["data_spaces"].get(tensor, {"kept": False})
        if counts["kept"] != other["kept"]:
            yield _row(name, tensor, "kept", counts, other)
        elif counts["kept"]:
            for key in _COUNTS:
                yield _row(name, tensor, key, counts, other)
            yield _row(name, tensor, "energy_pJ", counts, other, ROUNDING)


def _network_rows(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[ComparisonRow]:
    networks = {network["name"]: network["data_spaces"] for network in ours["networks"]}
    for network in theirs["networks"]:
        for tensor, counts in networks.get(network["name"], {}).items():
            other = network["data_spaces"].get(tensor, {})
            for key in _NETWORK_COUNTS:
                yield _row(network["name"], tensor, key, counts, other)
            for key in _NETWORK_ENERGIES:
                yield _row(network["name"], tensor, key, counts, other, ROUNDING)
