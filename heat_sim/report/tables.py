"""Tables of dataclass rows: CSV, Markdown, LaTeX, all from one list of columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        field: Attribute of the row.
        heading: With the unit.
        show: Turns the value into text.
        is_text: Left-aligned if so; numbers stand to the right.
        optional: Left out of tables in which no row has a value.
    """

    field: str
    heading: str
    show: Callable[[object], str] = str
    is_text: bool = False
    optional: bool = False


def format_cell(row: object, column: Column) -> str:
    """Return the text of one cell; a missing value is a dash.

    >>> format_cell(1 + 2j, Column(field="imag", heading="Im", show="{:.2f}".format))
    '2.00'
    """
    value = getattr(row, column.field)
    return "-" if value is None else column.show(value)


def as_percent(value: object) -> str:
    """Return a share as percent.

    >>> as_percent(0.9035)
    '90.35'
    """
    return f"{100 * float(str(value)):.2f}"


def as_points(value: object) -> str:
    """Return a change of a share as percentage points, with its sign.

    >>> as_points(-0.0105)
    '-1.05'
    """
    return f"{100 * float(str(value)):+.2f}"


def used(rows: Sequence[object], columns: Sequence[Column]) -> list[Column]:
    """Return the columns without the optional ones that no row has a value for."""
    return [each for each in columns if not each.optional or any(getattr(row, each.field) is not None for row in rows)]


def to_csv(rows: Sequence[object], columns: Sequence[Column]) -> str:
    """Return the table as CSV, cells as shown.

    >>> print(to_csv([1 + 2j], [Column(field="real", heading="Re"), Column(field="imag", heading="Im")]), end="")
    Re,Im
    1.0,2.0
    """
    columns = used(rows, columns)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.heading for column in columns])
    writer.writerows([[format_cell(row, column) for column in columns] for row in rows])
    return text.getvalue()


def to_markdown(rows: Sequence[object], columns: Sequence[Column]) -> str:
    r"""Return the table in GitHub's Markdown, padded so that it reads as text too.

    >>> print(to_markdown([1 + 2j], [Column(field="real", heading="a|b")]), end="")
    | a\|b |
    | ---: |
    |  1.0 |
    """
    columns = used(rows, columns)
    cells = [[column.heading for column in columns]]
    cells += [[format_cell(row, column) for column in columns] for row in rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    widths = [max(4, *(len(line[place]) for line in cells)) for place in range(len(columns))]

    def line(values: Sequence[str]) -> str:
        padded = (
            value.ljust(width) if column.is_text else value.rjust(width)
            for value, width, column in zip(values, widths, columns, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if column.is_text else "-" * (width - 1) + ":"
        for width, column in zip(widths, columns, strict=True)
    ]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])]) + "\n"


def to_latex(rows: Sequence[object], columns: Sequence[Column]) -> str:
    r"""Return the table as a LaTeX tabular for the package booktabs.

    >>> print(to_latex([1 + 2j], [Column(field="real", heading="50 %")]), end="")
    \begin{tabular}{r}
    \toprule
    50 \% \\
    \midrule
    1.0 \\
    \bottomrule
    \end{tabular}
    """
    columns = used(rows, columns)

    def line(values: Sequence[str]) -> str:
        return " & ".join("".join(_LATEX.get(char, char) for char in value) for value in values) + r" \\"

    return "\n".join([
        rf"\begin{{tabular}}{{{''.join('l' if column.is_text else 'r' for column in columns)}}}",
        r"\toprule",
        line([column.heading for column in columns]),
        r"\midrule",
        *(line([format_cell(row, column) for column in columns]) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]) + "\n"  # fmt: skip
