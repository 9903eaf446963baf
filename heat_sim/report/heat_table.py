"""The tables of a re-run of HEAT's published rows."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

from heat_sim.codesign.heat_front import BesideRow
from heat_sim.codesign.heat_ratios import DenseRatios
from heat_sim.codesign.heat_rerun import RerunRow
from heat_sim.codesign.heat_rows import FORMATS
from heat_sim.report.tables import Column, to_markdown


def ratio_table(ours: DenseRatios, published: tuple[DenseRatios, DenseRatios]) -> str:
    """Return the ratios of dense networks beside HEAT's, as Markdown.

    Args:
        ours: On our machine.
        published: With the least and with the largest share of the weights.

    >>> low = DenseRatios(edp=6.5, distilbert=0.25, short_share=0.4, long_share=0.2)
    >>> high = DenseRatios(edp=6.5, distilbert=0.25, short_share=0.5, long_share=0.24)
    >>> print(ratio_table(DenseRatios(edp=6.5, distilbert=0.25, short_share=0.3, long_share=0.22), (low, high)), end="")
    | ratio of dense networks                           | HEAT         |  ours | off by |
    | ------------------------------------------------- | ------------ | ----: | -----: |
    | EDP of BERT, 384 over 128 tokens                  | 6.500        | 6.500 |   0.0% |
    | EDP of DistilBERT over BERT, 384 tokens           | 0.250        | 0.250 |   0.0% |
    | energy that no token adds to, part of 128 tokens' | 40.0 - 50.0% | 30.0% | -25.0% |
    | energy that no token adds to, part of 384 tokens' | 20.0 - 24.0% | 22.0% |   0.0% |
    """
    low, high = published
    lines = [
        ("EDP of BERT, 384 over 128 tokens", f"{low.edp:.3f}", f"{ours.edp:.3f}", ours.edp / low.edp - 1),
        ("EDP of DistilBERT over BERT, 384 tokens", f"{low.distilbert:.3f}", f"{ours.distilbert:.3f}",
         ours.distilbert / low.distilbert - 1),
        *(
            (f"energy that no token adds to, part of {tokens} tokens'", f"{100 * least:.1f} - {100 * most:.1f}%",
             f"{share:.1%}", _outside(share, least, most))
            for tokens, share, least, most in (
                (128, ours.short_share, low.short_share, high.short_share),
                (384, ours.long_share, low.long_share, high.long_share),
            )
        ),
    ]  # fmt: skip
    rows = [
        SimpleNamespace(what=what, heat=heat, ours=value, off=f"{off:+.1%}" if off else "0.0%")
        for what, heat, value, off in lines
    ]
    return to_markdown(
        rows,
        [
            Column(field="what", heading="ratio of dense networks", is_text=True),
            Column(field="heat", heading="HEAT", is_text=True),
            Column(field="ours", heading="ours"),
            Column(field="off", heading="off by"),
        ],
    )


def beside_table(rows: Sequence[BesideRow]) -> str:
    """Return the gain of a search at the estimated loss of each row, as Markdown."""
    shown = [
        SimpleNamespace(
            row=f"{FORMATS[each.row.published.format]} {each.row.published.setting}", loss=each.loss,
            heat=each.row.published.edp_gain, rerun=each.row.edp_gain, ours=each.edp_gain,
            over_rerun=each.edp_gain / each.row.edp_gain, over_heat=each.edp_gain / each.row.published.edp_gain,
        )
        for each in rows
    ]  # fmt: skip
    return to_markdown(
        shown,
        [
            Column(field="row", heading="row", is_text=True),
            Column(field="loss", heading="its estimated loss", show="{:.3f}".format),
            Column(field="heat", heading="EDP gain, HEAT", show="{:.2f}x".format),
            Column(field="rerun", heading="EDP gain, the row here", show="{:.2f}x".format),
            Column(field="ours", heading="EDP gain of our front at that loss", show="{:.2f}x".format),
            Column(field="over_rerun", heading="over the row here", show="{:.2f}".format),
            Column(field="over_heat", heading="over HEAT", show="{:.2f}".format),
        ],
    )


def _outside(value: float, least: float, most: float) -> float:
    """Return by which part the value is below or above the range; 0 inside."""
    return value / least - 1 if value < least else value / most - 1 if value > most else 0.0


ROW_COLUMNS = (
    Column(field="row", heading="row", is_text=True),
    Column(field="wanted", heading="HEAT, M parameters", show="{:.2f}".format),
    Column(field="got", heading="ours, M parameters", show="{:.2f}".format),
    Column(field="rank", heading="rank", show="{:,}".format),
    Column(field="read", heading="weights read, M words", show="{:.2f}".format),
    Column(field="metric", heading="HEAT, F1 or accuracy", show="{:+.2f}".format),
    Column(field="heat", heading="HEAT, EDP gain", show="{:.2f}x".format),
    Column(field="ours", heading="ours, EDP gain", show="{:.2f}x".format),
    Column(field="energy", heading="energy gain", show="{:.2f}x".format),
    Column(field="delay", heading="delay gain", show="{:.2f}x".format),
    Column(field="over", heading="ours / HEAT", show="{:.2f}".format),
    Column(field="two", heading="EDP gain of low-rank", show="{:.2f}x".format),
)
"""Of the table of rows. "Weights read" are those at run time, after products of cores formed ahead of time; the last
column is format low-rank at the same number of parameters."""


def row_table(rows: Sequence[RerunRow]) -> str:
    """Return published rows beside ours, as Markdown.

    Args:
        rows: Of one network on one task.
    """
    return to_markdown([SimpleNamespace(**_cells(row)) for row in rows], ROW_COLUMNS)


def _cells(row: RerunRow) -> dict[str, object]:
    published = row.published
    return {
        "row": f"{FORMATS[published.format]} {published.setting}", "wanted": published.parameters_millions,
        "got": row.parameters / 1e6, "rank": row.rank, "read": row.cost.matrix_parameters / 1e6,
        "metric": published.metric_change, "heat": published.edp_gain, "ours": row.edp_gain,
        "energy": row.energy_gain, "delay": row.delay_gain, "over": row.over_published, "two": row.two_factor_gain,
    }  # fmt: skip


def row_json(row: RerunRow) -> dict[str, object]:
    """Return a row as JSON values, exact."""
    published = row.published
    return {
        "network": published.network, "task": published.task, "tokens": published.tokens, "row": published.name,
        "heat": {
            "parameters_millions": published.parameters_millions, "metric_percent": published.metric_percent,
            "edp_uj_s": published.edp_uj_s, "edp_gain": published.edp_gain,
        },
        "rank": row.rank, "parameters": row.parameters, "weights_read_words": row.cost.matrix_parameters,
        "energy_pJ": row.cost.energy_pj, "cycles": row.cost.cycles, "edp_pJ_cycles": row.cost.edp_pj_cycles,
        "edp_gain": row.edp_gain, "energy_gain": row.energy_gain, "delay_gain": row.delay_gain,
        "over_published": row.over_published, "low_rank_edp_gain": row.two_factor_gain,
    }  # fmt: skip
