"""`heat-sim timeloop`: export to Timeloop, compare with it, import what its mapper found."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.console import out, write_json
from heat_sim.cli.inputs import architecture_files, read_architecture
from heat_sim.cli.options import ArchFile, ErtFile, JsonFile, LinkTransfers, MappingFile, ProblemFile

timeloop_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Work with Timeloop: **export** a folder it runs, **compare** its report with ours, **import-mapping**.",
)


@timeloop_app.command("export")
def export_command(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    arch: ArchFile,
    problem: ProblemFile,
    mapping: MappingFile,
    ert: ErtFile = None,
) -> None:
    """Write a folder that timeloop-model runs as it is; files that are v0.3 already are copied.

    Example: heat-sim timeloop export --arch simba_l --problem mappings/simba_l/bert_ffn/problem.yaml
    --mapping mappings/simba_l/bert_ffn/weight_stationary.yaml out/bert_ffn
    """
    from heat_sim.timeloop.export import command_line, export_case

    files = export_case(target, architecture=architecture_files(arch, ert), problem=problem, mapping=mapping)
    out.print(f"written to {target}; in that folder run:\n  {command_line(files)}", markup=False)


@timeloop_app.command("compare")
def compare_command(
    arch: ArchFile,
    problem: ProblemFile,
    mapping: MappingFile,
    ert: ErtFile = None,
    stats: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Stats text of a run elsewhere, in place of a run here.")
    ] = None,
    link_transfers: LinkTransfers = True,
    limit: Annotated[float, typer.Option(min=1, help="Seconds that Timeloop may take.")] = 600.0,
    json: JsonFile = None,
) -> None:
    """Print our report beside the one of an installed timeloop-model, figure by figure.

    Counts must be equal; Timeloop prints energies and ratios to two decimals, so these may differ by that.

    Example: heat-sim timeloop compare --arch simba_l --problem mappings/simba_l/bert_ffn/problem.yaml
    --mapping mappings/simba_l/bert_ffn/weight_stationary.yaml
    """
    from heat_sim.errors import HeatError
    from heat_sim.model import evaluate
    from heat_sim.report.tables import Column, to_markdown
    from heat_sim.specs import load_mapping, load_problem
    from heat_sim.timeloop import compare, parse_stats, run_timeloop
    from heat_sim.timeloop.export import export_case

    spec = read_architecture(arch, ert)
    einsum = load_problem(problem)
    nest = load_mapping(mapping, einsum=einsum, spec=spec)
    if stats is not None:
        theirs = parse_stats(stats.read_text(encoding="utf-8", errors="replace"))
    else:
        with tempfile.TemporaryDirectory(prefix="heat-sim-case-") as folder:
            files = export_case(
                Path(folder), architecture=architecture_files(arch, ert), problem=problem, mapping=mapping
            )
            theirs = run_timeloop(files, link_transfers=link_transfers, limit_s=limit)
    refusal = None
    try:
        report = evaluate(einsum, spec.architecture, nest, link_transfers=link_transfers)
    except HeatError as error:
        refusal = error
    if refusal is not None or not theirs["valid"]:
        ours = None if refusal is None else str(refusal).splitlines()
        both = {"ours": ours, "theirs": theirs.get("error"), "agrees": refusal is not None and not theirs["valid"]}
        if json is not None:
            write_json(both, json)
        if json != "-":
            out.print(f"heat_sim refuses: {ours or 'no'}\nTimeloop refuses: {both['theirs'] or 'no'}", markup=False)
        return
    rows = compare(report, theirs)
    if json is not None:
        write_json({"rows": [row.to_json() for row in rows], "agrees": all(row.agrees for row in rows)}, json)
    if json != "-":
        columns = [
            Column(field="level", heading="level", is_text=True),
            Column(field="tensor", heading="tensor", is_text=True),
            Column(field="field", heading="figure", is_text=True),
            Column(field="ours", heading="heat_sim", show=_figure),
            Column(field="theirs", heading="Timeloop", show=_figure),
            Column(field="difference", heading="difference", show=_figure),
            Column(field="agrees", heading="agrees", show=lambda agrees: "yes" if agrees else "NO", is_text=True),
        ]
        out.print(to_markdown(rows, columns), markup=False)
        differing = sum(not row.agrees for row in rows)
        out.print(f"{differing} of {len(rows)} figures differ" if differing else f"all {len(rows)} figures agree")


def _figure(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"


@timeloop_app.command("import-mapping")
def import_mapping_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="timeloop-mapper's .map.yaml or .map.txt.")],
    arch: ArchFile,
    problem: ProblemFile,
    ert: ErtFile = None,
    save_mapping: Annotated[
        Path | None, typer.Option(metavar="M.yaml", help="Write the mapping as a file that evaluate reads.")
    ] = None,
) -> None:
    """Read the mapping that timeloop-mapper found, show it, and write it in the form of the architecture's version.

    Example: heat-sim timeloop import-mapping timeloop-mapper.map.yaml --arch simba_l
    --problem mappings/simba_l/bert_ffn/problem.yaml --save-mapping mapping.yaml
    """
    from heat_sim.report.files import write_text
    from heat_sim.specs import dump_mapping, load_problem
    from heat_sim.timeloop import import_mapping

    spec = read_architecture(arch, ert)
    einsum = load_problem(problem)
    nest = import_mapping(file, einsum=einsum, spec=spec)
    if save_mapping is not None:
        write_text(save_mapping, dump_mapping(nest, einsum=einsum, spec=spec))
    out.print(str(nest), markup=False)
    if save_mapping is not None:
        out.print(f"mapping written to {save_mapping}", markup=False)
