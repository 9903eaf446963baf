"""`heat-sim ablate`: what each idea of a search is worth, in EDP at equal estimated loss."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from heat_sim.cli.bench import AddBar
from heat_sim.cli.compare import loss_bounds
from heat_sim.cli.console import bars, err, write_json
from heat_sim.cli.inputs import searched_formats
from heat_sim.cli.options import Dask, Jobs, JsonFile
from heat_sim.codesign.comparison import DEFAULT_LOSSES, compare
from heat_sim.errors import SpecError, describe
from heat_sim.report.ablation_table import ablation_table
from heat_sim.report.files import write_text
from heat_sim.report.run_folder import read_manifest, read_searched
from heat_sim.report.tables import to_csv, to_latex, to_markdown

FOLDER = "ablations"
"""Below the run."""
_JOINT = {"search": "joint", "apart": "no-joint", "always": "always-joint"}
"""What `--joint` may be, and the name of the ablation."""


def variants(arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what to change in the arguments of a run, by the name of the ablation.

    With the estimate of a SuperNet nothing that it was not trained for: other formats, projections, joint matrices.

    >>> list(variants({"fuse": False, "joint": "search", "formats": "low-rank,cp"}))[:4]
    ['fusion', 'mac-order', 'low-rank-only', 'cp-only']
    """
    fixed = arguments.get("estimate") == "supernet"
    formats = [name for name in searched_formats(arguments["formats"]) if name != "dense"]
    return {
        ("no-fusion" if arguments["fuse"] else "fusion"): {"fuse": not arguments["fuse"]},
        "mac-order": {"order": "macs"},
        **({f"{name}-only": {"formats": name} for name in formats} if len(formats) > 1 and not fixed else {}),
        **({} if fixed else {"frobenius": {"cores": "frobenius"}}),
        "no-seeding": {"seeding": False},
        **{name: {"joint": value} for value, name in _JOINT.items() if value != arguments["joint"] and not fixed},
        "heat": {"strategy": "heat", "order": "macs"},
        "uniform": {"strategy": "uniform"},
        "tensorly": {"strategy": "tensorly"},
        "random": {"strategy": "random"},
    }


def ablate_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that codesign or run wrote.")],
    only: Annotated[
        str | None, typer.Option(help="Names of ablations, with commas; all of them, but fusion, if left out.")
    ] = None,
    losses: Annotated[
        str, typer.Option(help="Estimated losses at which the EDP gains are compared, with commas.")
    ] = ",".join(map(str, DEFAULT_LOSSES)),
    form: Annotated[str, typer.Option("--format", help="markdown, latex or csv.")] = "markdown",
    jobs: Jobs = None,
    dask: Dask = None,
    json: JsonFile = None,
) -> None:
    """Search again without one idea at a time, and print the EDP gains at equal estimated loss.

    Ablations: fusion (no-fusion, if the run has it), mac-order (contraction orders by multiply-accumulates), each
    format by itself, frobenius (projection of weights instead of outputs), no-seeding, no-joint and always-joint
    (queries, keys and values; joint, if the run has them apart), and other strategies: heat (HEAT's three levels with
    orders by multiply-accumulates), uniform, tensorly, random. Each is a run of its own below RUN/ablations; what is
    there is not searched again, what was stopped goes on.

    Example: heat-sim ablate results/minilm-l6-simba_l-s128-seed0 --only mac-order,no-seeding
    """
    writers = {"markdown": to_markdown, "latex": to_latex, "csv": to_csv}
    if form not in writers:
        raise SpecError(describe("--format", "unknown", got=form, expected=", ".join(writers), remedy="Choose one."))
    bounds = loss_bounds(losses)
    whole = read_searched(run)
    known = variants(read_manifest(run)["arguments"])
    names = [name for name in known if name != "fusion"] if only is None else [each.strip() for each in only.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise SpecError(
            describe("--only", "unknown ablations", got=", ".join(unknown), expected=f"some of {', '.join(known)}",
                     remedy="Correct the names.")
        )  # fmt: skip
    with bars() as add_bar:
        for name in names:
            err.print(f"{name}: {', '.join(f'{key} {value}' for key, value in known[name].items())}", markup=False)
            _search(run, name, known[name], jobs=jobs, dask=dask, add_bar=add_bar)
    found = [read_searched(run / FOLDER / name) for name in names]
    rows = compare([whole, *found], losses=bounds)
    table = ablation_table(rows, losses=bounds, write=writers[form])
    write_text(run / FOLDER / "table.md", ablation_table(rows, losses=bounds, write=to_markdown))
    if json is not None:
        write_json([row.as_json(bounds) for row in rows], json)
    if json != "-":
        sys.stdout.write(table)


def _search(
    run: Path, name: str, changed: Mapping[str, Any], *, jobs: int | None, dask: str | None, add_bar: AddBar
) -> None:
    from heat_sim.cli.plan import recorded_plan
    from heat_sim.cli.search import search
    from heat_sim.cli.subject import prepare_subject
    from heat_sim.codesign.workers import workers_of

    folder = run / FOLDER / name
    if (folder / "front.csv").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    plan = replace(recorded_plan(run), **changed)
    subject = prepare_subject(plan, add_bar=add_bar)
    result = search(subject, plan=plan, folder=folder, add_bar=add_bar, workers=workers_of(jobs=jobs, dask=dask))
    if result.interrupted:
        (folder / "front.csv").unlink(missing_ok=True)  # so that the next call goes on
        raise KeyboardInterrupt
