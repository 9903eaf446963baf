"""The table of a comparison of searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

from heat_sim.codesign.comparison import ComparisonRow
from heat_sim.report.tables import Column


def comparison_table(
    rows: Sequence[ComparisonRow],
    *,
    losses: Sequence[float],
    write: Callable[[Sequence[object], Sequence[Column]], str],
) -> str:
    """Return the table as text, one column per loss.

    Args:
        rows: One per run.
        losses: Bounds on the estimated loss, as in the rows.
        write: `to_markdown`, `to_latex` or `to_csv`.

    >>> from heat_sim.report.tables import to_csv
    >>> row = ComparisonRow(run="a", gains=(None, 2.0), hypervolume=0.4, designs=7, differs="")
    >>> print(comparison_table([row], losses=(0.1, 0.2), write=to_csv), end="")
    run,EDP gain at loss 0.1,EDP gain at loss 0.2,hypervolume,designs,differs in
    a,-,2.00x,0.4000,7,
    """
    shown = [
        SimpleNamespace(
            run=row.run, hypervolume=row.hypervolume, designs=row.designs, differs=row.differs,
            **{f"gain_{place}": gain for place, gain in enumerate(row.gains)},
        )
        for row in rows
    ]  # fmt: skip
    columns = [
        Column(field="run", heading="run", is_text=True),
        *(
            Column(field=f"gain_{place}", heading=f"EDP gain at loss {loss:g}", show="{:.2f}x".format)
            for place, loss in enumerate(losses)
        ),
        Column(field="hypervolume", heading="hypervolume", show="{:.4f}".format),
        Column(field="designs", heading="designs", show="{:,}".format),
        Column(field="differs", heading="differs in", is_text=True),
    ]
    return write(shown, columns)
