"""The figures that `heat-sim plot` draws: which there are, and what of a run each is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from heat_sim.codesign.chosen import DENSE
from heat_sim.codesign.comparison import Searched
from heat_sim.codesign.front import FrontRow
from heat_sim.errors import SpecError, describe
from heat_sim.report.run_folder import POINTS, design_path, read_front, read_searched
from heat_sim.tensorize.design import Design, load_design

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is drawn.

    Attributes:
        run: Folder of the run.
        others: Folders of runs beside it.
        rows: The front of the run.
    """

    run: Path
    others: tuple[Path, ...]
    rows: tuple[FrontRow, ...]

    @property
    def searched(self) -> tuple[Searched, ...]:
        """What the runs costed, the run first; runs of one name are told apart by their folders."""
        folders = (self.run, *self.others)
        runs = [read_searched(folder) for folder in folders]
        names = [run.name for run in runs]
        return tuple(
            run if names.count(run.name) == 1 else replace(run, name=str(folder))
            for run, folder in zip(runs, folders, strict=True)
        )

    @property
    def designs(self) -> tuple[Design, ...]:
        """The chosen designs."""
        return tuple(load_design(path) for path in self.design_paths)

    @property
    def trainings(self) -> tuple[Path, ...]:
        """Where the courses of its trainings are."""
        return tuple(sorted((self.run / "training").glob("*.csv")))

    @property
    def design_paths(self) -> tuple[Path, ...]:
        """Where they are."""
        return tuple(design_path(self.run, row.design) for row in self.rows if row.design != DENSE)


def read_subject(run: Path, others: Sequence[Path]) -> Subject:
    """Return what is to be drawn.

    Raises:
        SpecError: A folder is not that of a run.
    """
    fronts = [read_front(folder) for folder in (run, *others)]
    for folder, rows in zip((run, *others), fronts, strict=True):
        if not any(row.design == DENSE for row in rows):
            raise SpecError(
                describe(f"{folder}/front.csv", "no row of the dense network", got=f"{len(rows)} rows",
                         expected="the first to be dense", remedy="Give the folder of a run.")
            )  # fmt: skip
    return Subject(run=run, others=tuple(others), rows=fronts[0])


def _front(subject: Subject) -> Figure:
    from heat_sim.report.plots import front_figure

    return front_figure(subject.rows)


def _points(subject: Subject) -> Figure:
    from heat_sim.report.figures.points import points_figure

    run, *others = subject.searched
    return points_figure(run, subject.rows, others=others)


def _hypervolume(subject: Subject) -> Figure:
    from heat_sim.report.figures.hypervolume import hypervolume_figure

    return hypervolume_figure(subject.searched)


def _formats(subject: Subject) -> Figure:
    from heat_sim.report.figures.formats import formats_figure

    return formats_figure(subject.designs)


def _breakdown(subject: Subject) -> Figure:
    from heat_sim.cli.plot_costs import cost_bars
    from heat_sim.report.figures.breakdown import breakdown_figure

    return breakdown_figure(cost_bars(subject.run, subject.rows, subject.designs))


def _training(subject: Subject) -> Figure:
    from heat_sim.report.curves import read_curve
    from heat_sim.report.figures.training import training_figure

    return training_figure({path.stem: read_curve(path) for path in subject.trainings})


FIGURES: dict[str, Callable[[Subject], Figure]] = {
    "front": _front, "points": _points, "hypervolume": _hypervolume, "formats": _formats, "breakdown": _breakdown,
    "training": _training,
}  # fmt: skip
"""Name to what draws it."""


def chosen_figures(text: str | None, subject: Subject) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the figures to draw, and one line per figure that is left out.

    Args:
        text: Names with commas; None for all that need no costing and whose data are there.
        subject: What they are of.

    Raises:
        SpecError: There is no such figure.
    """
    if text is not None:
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        if not names or (unknown := [name for name in names if name not in FIGURES]):
            raise SpecError(
                describe("--figures", "unknown", got=", ".join(unknown) if names else repr(text),
                         expected=", ".join(FIGURES), remedy="Choose among these, with commas between.")
            )  # fmt: skip
        return names, ()
    left_out: dict[str, str] = {}
    if missing := [folder / POINTS for folder in (subject.run, *subject.others) if not (folder / POINTS).exists()]:
        left_out |= dict.fromkeys(("points", "hypervolume"), f"there is no {missing[0]}")
    if absent := [path for path in subject.design_paths if not path.exists()]:
        left_out["formats"] = f"there is no {absent[0]}"
    elif not subject.design_paths:
        left_out["formats"] = "no design was chosen"
    if not subject.trainings:
        left_out["training"] = "nothing was distilled"
    left_out["breakdown"] = "it costs the designs anew, ask for it with --figures breakdown"
    return (
        tuple(name for name in FIGURES if name not in left_out),
        tuple(f"{name} not drawn: {reason}" for name, reason in left_out.items()),
    )


def targets(out: Path, name: str) -> tuple[Path, ...]:
    """Return the files of a figure.

    Args:
        out: The file of the front, beside which the others are put; or a folder, for all as PNG and PDF.
        name: Of the figure.

    >>> [str(each) for each in targets(Path("front.pdf"), "points")]
    ['points.pdf']
    >>> [str(each) for each in targets(Path("new.png"), "points")]
    ['new-points.png']
    >>> [str(each) for each in targets(Path("paper"), "points")]
    ['paper/points.png', 'paper/points.pdf']
    """
    if out.is_dir() or not out.suffix:
        return out / f"{name}.png", out / f"{name}.pdf"
    if name == "front":
        return (out,)
    return (out.with_stem(name if out.stem == "front" else f"{out.stem}-{name}"),)
