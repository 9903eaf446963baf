"""docs/results.md: its tables are what `heat-sim validate` makes of the measurements that are kept beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.report.accuracy_table import ACCURACY_COLUMNS, accuracy_rows
from heat_sim.report.measured import read_measured
from heat_sim.report.run_folder import read_baselines, read_front
from heat_sim.report.seed_table import SEED_COLUMNS, seed_rows
from heat_sim.report.tables import to_markdown

DOCS = Path(__file__).parents[2] / "docs"
RUN = DOCS / "measured" / "sst2-minilm-l6"


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "results.md").read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_measurements(page: str) -> None:
    front, records = (*read_front(RUN), *read_baselines(RUN)), read_measured(RUN)
    assert to_markdown(accuracy_rows(front, records), ACCURACY_COLUMNS) in page
    assert to_markdown(seed_rows(front, records), SEED_COLUMNS) in page


def test_the_measurements_are_of_the_whole_test_split(page: str) -> None:
    rows = {len(record.per_row) for record in read_measured(RUN)}
    assert rows == {2693}
    for record in read_measured(RUN):
        assert record.value == pytest.approx(sum(record.per_row) / 2693)
    assert "2,693" in page


def test_its_figures_are_there() -> None:
    for name in ("accuracy.png", "estimate.png"):
        assert (RUN / name).stat().st_size > 0
