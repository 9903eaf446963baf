"""The table of an ablation: gains at equal loss, and by what factor the whole search is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

from heat_sim.codesign.comparison import ComparisonRow
from heat_sim.report.tables import Column


def ablation_table(
    rows: Sequence[ComparisonRow],
    *,
    losses: Sequence[float],
    write: Callable[[Sequence[object], Sequence[Column]], str],
) -> str:
    """Return the table as text: per loss the EDP gain, and how many times the EDP of the first row it costs.

    Args:
        rows: The whole search first.
        losses: Bounds on the estimated loss, as in the rows.
        write: `to_markdown`, `to_latex` or `to_csv`.

    >>> from heat_sim.report.tables import to_csv
    >>> whole, part = (ComparisonRow(run=run, gains=(gain,), hypervolume=0.4, designs=7, differs=differs)
    ...                for run, gain, differs in (("a", 3.0, ""), ("b", 2.0, "order macs")))
    >>> print(ablation_table([whole, part], losses=(0.1,), write=to_csv), end="")
    search,EDP gain at loss 0.1,times the EDP at 0.1,hypervolume,designs
    whole,3.00x,1.00,0.4000,7
    b,2.00x,1.50,0.4000,7
    """
    best = rows[0].gains
    shown = [
        SimpleNamespace(
            run="whole" if place == 0 else row.run, hypervolume=row.hypervolume, designs=row.designs,
            **{f"gain_{k}": gain for k, gain in enumerate(row.gains)},
            **{f"cost_{k}": _ratio(best[k], gain) for k, gain in enumerate(row.gains)},
        )
        for place, row in enumerate(rows)
    ]  # fmt: skip
    per_loss = [
        column
        for place, loss in enumerate(losses)
        for column in (
            Column(field=f"gain_{place}", heading=f"EDP gain at loss {loss:g}", show="{:.2f}x".format),
            Column(field=f"cost_{place}", heading=f"times the EDP at {loss:g}", show="{:.2f}".format),
        )
    ]
    columns = [
        Column(field="run", heading="search", is_text=True),
        *per_loss,
        Column(field="hypervolume", heading="hypervolume", show="{:.4f}".format),
        Column(field="designs", heading="designs", show="{:,}".format),
    ]
    return write(shown, columns)


def _ratio(best: float | None, gain: float | None) -> float | None:
    return None if best is None or gain is None else best / gain
