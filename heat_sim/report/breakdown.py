"""Where energy and cycles of a cascade or a network go: per einsum and level, with the roofline of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from heat_sim.architecture import Architecture
from heat_sim.mapper.cascade import MappedCascade
from heat_sim.mapper.cascade.result import HasRows
from heat_sim.report.tables import Column, to_markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakdownRow:
    """One einsum, vector operation or transfer, all its runs together.

    Attributes:
        layer: Whose it is; empty in a single cascade.
        what: The statement.
        times: How often it runs.
        ops: Multiply-accumulates.
        cycles: In all.
        energy_pj: By level name; compute under the name of the compute units, vector operations under "vector".
        main_words: Words read from and written to the outermost level.
        intensity: Multiply-accumulates per word of the outermost level; None if it moves none.
        achieved_ops_per_cycle: Multiply-accumulates per cycle.
        attainable_ops_per_cycle: The roofline: the least of all compute units and intensity x bandwidth.
        bound: "compute" or "bandwidth", whichever the roofline has; "-" without multiply-accumulates.
    """

    layer: str
    what: str
    times: int
    ops: int
    cycles: int
    energy_pj: dict[str, float]
    main_words: int
    intensity: float | None
    achieved_ops_per_cycle: float
    attainable_ops_per_cycle: float
    bound: str

    @property
    def total_pj(self) -> float:
        """Energy in all."""
        return sum(self.energy_pj.values())


def breakdown(
    parts: Iterable[tuple[str, int, HasRows]], architecture: Architecture
) -> tuple[BreakdownRow, ...]:  # fmt: skip
    """Return one row per einsum, vector operation and transfer of every part.

    Args:
        parts: Name, how often it runs, and how.
        architecture: The hardware.
    """
    main = architecture.levels[0]
    peak = float(architecture.peak_ops_per_cycle)
    rates = (main.read_bandwidth_words_per_cycle, main.shared_bandwidth_words_per_cycle)
    rate = min((each for each in rates if each is not None), default=float("inf"))
    rows: list[BreakdownRow] = []
    for layer, times, mapped in parts:
        for row in mapped.rows():
            intensity = row.ops / row.main_words if row.main_words else None
            attainable = peak if intensity is None else min(peak, intensity * rate)
            bound = "-" if row.ops == 0 else "compute" if attainable == peak else "bandwidth"
            rows.append(
                BreakdownRow(
                    layer=layer, what=row.what, times=times * row.count, ops=times * row.ops,
                    cycles=times * row.cycles, energy_pj={name: times * pj for name, pj in row.energy_pj.items()},
                    main_words=times * row.main_words, intensity=intensity,
                    achieved_ops_per_cycle=row.ops / row.cycles if row.cycles else 0.0,
                    attainable_ops_per_cycle=attainable, bound=bound,
                )
            )  # fmt: skip
    return tuple(rows)


def breakdown_rows(mapped: MappedCascade, architecture: Architecture) -> list[dict[str, Any]]:
    """Return the rows of one cascade as JSON values."""
    return [as_json(row) for row in breakdown([("", 1, mapped)], architecture)]


def as_json(row: BreakdownRow) -> dict[str, Any]:
    """Return a row as JSON values."""
    return {
        "layer": row.layer, "what": row.what, "times": row.times, "ops": row.ops, "cycles": row.cycles,
        "energy_pJ": row.energy_pj, "main_words": row.main_words, "intensity_ops_per_word": row.intensity,
        "achieved_ops_per_cycle": row.achieved_ops_per_cycle,
        "attainable_ops_per_cycle": row.attainable_ops_per_cycle, "bound": row.bound,
    }  # fmt: skip


def breakdown_table(rows: Sequence[BreakdownRow], architecture: Architecture) -> str:
    """Return the rows, and their sum, as a Markdown table: energy in uJ per level, cycles, roofline.

    >>> from heat_sim.architecture import StorageLevel
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"),))
    >>> row = BreakdownRow(layer="", what="Z = A * B", times=2, ops=8, cycles=8, energy_pj={"DRAM": 3e6, "MAC": 1e6},
    ...                    main_words=4, intensity=2.0, achieved_ops_per_cycle=1.0, attainable_ops_per_cycle=1.0,
    ...                    bound="compute")
    >>> print(breakdown_table([row], machine), end="")
    | what      | times | cycles | DRAM uJ | MAC uJ | sum uJ | MAC/word | of attainable | bound   |
    | --------- | ----: | -----: | ------: | -----: | -----: | -------: | ------------: | ------- |
    | Z = A * B |     2 |      8 |   3.000 |  1.000 |  4.000 |      2.0 |          100% | compute |
    | sum       |     - |      8 |   3.000 |  1.000 |  4.000 |      2.0 |          100% | -       |
    """
    levels = [level.name for level in architecture.levels if not level.is_virtual]
    names = [*levels, architecture.compute_name, "vector"]
    names = [name for name in names if any(name in row.energy_pj for row in rows)]
    words, ops, cycles = (sum(getattr(row, name) for row in rows) for name in ("main_words", "ops", "cycles"))
    attainable = sum(row.ops / row.attainable_ops_per_cycle for row in rows if row.ops)
    shown = [
        SimpleNamespace(
            layer=row.layer, what=row.what, times=row.times, cycles=row.cycles, total=row.total_pj,
            intensity=row.intensity if row.ops else None, bound=row.bound,
            share=row.achieved_ops_per_cycle / row.attainable_ops_per_cycle if row.ops else None,
            **{f"pj_{place}": row.energy_pj.get(name, 0.0) for place, name in enumerate(names)},
        )
        for row in rows
    ]  # fmt: skip
    shown.append(
        SimpleNamespace(
            layer="", what="sum", times=None, cycles=cycles, total=sum(row.total_pj for row in rows),
            intensity=ops / words if words else None, bound="-", share=attainable / cycles if cycles else None,
            **{f"pj_{place}": sum(row.energy_pj.get(name, 0.0) for row in rows) for place, name in enumerate(names)},
        )
    )  # fmt: skip
    columns = [Column(field="layer", heading="layer", is_text=True)] if any(row.layer for row in rows) else []
    columns += [
        Column(field="what", heading="what", is_text=True),
        Column(field="times", heading="times", show="{:,}".format),
        Column(field="cycles", heading="cycles", show="{:,}".format),
        *(Column(field=f"pj_{place}", heading=f"{name} uJ", show=_micro) for place, name in enumerate(names)),
        Column(field="total", heading="sum uJ", show=_micro),
        Column(field="intensity", heading="MAC/word", show="{:.1f}".format),
        Column(field="share", heading="of attainable", show="{:.0%}".format),
        Column(field="bound", heading="bound", is_text=True),
    ]
    return to_markdown(shown, columns)


def _micro(energy_pj: object) -> str:
    assert isinstance(energy_pj, (int, float))
    return f"{energy_pj / 1e6:.3f}"
