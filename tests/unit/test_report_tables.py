"""Tables: the three forms of one list of rows, with what each must escape."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import pytest

from heat_sim.codesign.front import FrontRow
from heat_sim.report.front_table import FRONT_COLUMNS
from heat_sim.report.tables import Column, format_cell, to_csv, to_latex, to_markdown, used


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    energy_pj: float
    accuracy: float | None = None


COLUMNS = (
    Column(field="name", heading="design", is_text=True),
    Column(field="energy_pj", heading="energy (pJ)", show="{:,.1f}".format),
    Column(field="accuracy", heading="accuracy (%)", show="{:.1%}".format),
)
ROWS = (
    Row(name="a", energy_pj=1234.56, accuracy=0.5),
    Row(name='comma, "quote"\nline', energy_pj=0.0),
    Row(name=r"50% & $x_1^2$ #{~\}", energy_pj=1.0),
)


def test_csv_reads_back_as_shown() -> None:
    read = list(csv.reader(io.StringIO(to_csv(ROWS, COLUMNS))))
    assert read[0] == ["design", "energy (pJ)", "accuracy (%)"]
    assert read[1:] == [
        ["a", "1,234.6", "50.0%"],
        ['comma, "quote"\nline', "0.0", "-"],
        [r"50% & $x_1^2$ #{~\}", "1.0", "-"],
    ]


def test_markdown_lines_up_and_escapes_its_own_sign() -> None:
    text = to_markdown([Row(name="a|b", energy_pj=1.0), ROWS[0]], COLUMNS)
    assert text == (
        "| design | energy (pJ) | accuracy (%) |\n"
        "| ------ | ----------: | -----------: |\n"
        "| a\\|b   |         1.0 |            - |\n"
        "| a      |     1,234.6 |        50.0% |\n"
    )


def test_latex_escapes_every_special_character_and_uses_booktabs() -> None:
    lines = to_latex([ROWS[2]], COLUMNS).splitlines()
    assert lines[0] == r"\begin{tabular}{lrr}"
    assert [lines[1], lines[3], lines[5]] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert lines[2] == r"design & energy (pJ) & accuracy (\%) \\"
    assert lines[4] == (r"50\% \& \$x\_1\textasciicircum{}2\$ \#\{\textasciitilde{}\textbackslash{}\} & 1.0 & - \\")


@pytest.mark.parametrize("write", [to_csv, to_markdown, to_latex])
def test_no_rows_is_a_table_of_headings(write: type) -> None:
    text = str(write([], COLUMNS))
    assert "energy (pJ)" in text
    assert "1,234.6" not in text


def test_an_unknown_field_is_not_silent() -> None:
    with pytest.raises(AttributeError, match="edp"):
        format_cell(ROWS[0], Column(field="edp", heading="EDP"))


def test_the_columns_of_the_front_show_a_row_in_its_units() -> None:
    row = FrontRow(
        design="d1",
        edp_gain=2.5,
        energy_pj=3.2e9,
        cycles=1_234_567,
        edp_pj_cycles=3.2e9 * 1_234_567,
        parameters=15_000_000,
        encoder_parameters=4_000_000,
        estimated_loss=0.1234,
        projected_accuracy=0.8615,
    )
    shown = {column.heading: format_cell(row, column) for column in used([row], FRONT_COLUMNS)}
    assert shown == {
        "design": "d1",
        "EDP gain": "2.50x",
        "energy (uJ)": "3,200",  # 3.2e9 pJ = 3.2e3 uJ
        "cycles": "1,234,567",
        "params (M)": "15.00",
        "encoder (M)": "4.00",
        "est. loss": "0.123",
        "projected (%)": "86.2",
        "distilled (%)": "-",
    }


def test_an_optional_column_is_left_out_where_no_row_has_a_value() -> None:
    columns = [Column(field="real", heading="Re"), Column(field="label", heading="what", optional=True)]
    named, nameless = (type("Row", (), {"real": 1.0, "label": label})() for label in ("x", None))
    assert to_csv([nameless], columns) == "Re\n1.0\n"
    assert to_csv([nameless, named], columns) == "Re,what\n1.0,-\n1.0,x\n"
