"""Plots of a front: what is drawn, what the axes say, and the same bytes each time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from heat_sim.errors import SpecError
from heat_sim.report.plots import front_figure, plot_front


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    design: str
    edp_gain: float
    estimated_loss: float
    projected_accuracy: float | None = None
    distilled_accuracy: float | None = None


ESTIMATED = (
    Row(design="dense", edp_gain=1.0, estimated_loss=0.0),
    Row(design="d2", edp_gain=6.0, estimated_loss=0.3),
    Row(design="d1", edp_gain=2.0, estimated_loss=0.1),
)
MEASURED = (
    Row(design="dense", edp_gain=1.0, estimated_loss=0.0, projected_accuracy=0.86),
    Row(design="d1", edp_gain=2.0, estimated_loss=0.1, projected_accuracy=0.8, distilled_accuracy=0.85),
    Row(design="d2", edp_gain=6.0, estimated_loss=0.3, projected_accuracy=0.6),
    Row(design="d3", edp_gain=9.0, estimated_loss=0.4),
)


def drawn(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Label of each line of points to its points."""
    return {
        str(line.get_label()): list(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True))
        for line in axes.get_lines()
        if not str(line.get_label()).startswith("_")
    }


def test_without_measurements_there_is_one_panel() -> None:
    (axes,) = front_figure(ESTIMATED).axes
    assert drawn(axes) == {"front": [(0.1, 2.0), (0.3, 6.0)], "dense": [(0.0, 1.0)]}
    assert axes.get_xlabel() == "estimated loss"
    assert axes.get_ylabel() == "EDP gain over dense"
    assert axes.get_yscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1x", "2x", "5x"]


def test_measured_accuracies_are_a_second_panel() -> None:
    left, right = front_figure(MEASURED).axes
    assert drawn(left)["front"] == [(0.1, 2.0), (0.3, 6.0), (0.4, 9.0)]
    points = drawn(right)
    assert points["projected"] == [(80.0, 2.0), (60.0, 6.0)]
    assert points["distilled"] == [(85.0, 2.0)]
    assert points["dense"] == [(86.0, 1.0)]
    assert right.get_xlabel() == "measured accuracy (%)"
    assert {text.get_text() for text in right.get_legend().get_texts()} == {"projected", "distilled", "dense"}


def test_png_and_pdf_are_written_and_are_the_same_each_time(tmp_path: Path) -> None:
    for suffix, signature in ((".png", b"\x89PNG\r\n\x1a\n"), (".pdf", b"%PDF-")):
        first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        plot_front(MEASURED, first)
        plot_front(MEASURED, second)
        assert first.read_bytes().startswith(signature)
        assert first.read_bytes() == second.read_bytes()
    # The header chunk of a PNG holds width and height in bytes 16 to 24: 7 in by 2.9 in at 200 dpi.
    header = (tmp_path / "a.png").read_bytes()
    assert (int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == (1400, 580)


def test_the_pdf_carries_no_date(tmp_path: Path) -> None:
    plot_front(ESTIMATED, tmp_path / "front.pdf")
    assert b"CreationDate" not in (tmp_path / "front.pdf").read_bytes()


def test_another_kind_of_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"unknown kind of picture .got front.svg, expected a name ending in .png or .pdf"
    ):
        plot_front(ESTIMATED, tmp_path / "front.svg")
    assert not list(tmp_path.iterdir())
