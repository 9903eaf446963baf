"""`heat-sim evaluate`: what the model says of one mapping, or of a folder of cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from heat_sim.cli.console import err, out, write_json
from heat_sim.cli.inputs import read_architecture
from heat_sim.cli.options import ARCH, MAPPING, PROBLEM, ErtFile, JsonFile, LinkTransfers
from heat_sim.errors import HeatError, SpecError, describe
from heat_sim.mapping import Mapping
from heat_sim.model import Report, evaluate
from heat_sim.specs import load_mapping, load_problem

CASE_FILES = ("arch.yaml", "problem.yaml", "mapping.yaml", "ert.yaml")


def evaluate_command(
    arch: Annotated[Path | None, ARCH] = None,
    problem: Annotated[Path | None, PROBLEM] = None,
    mapping: Annotated[Path | None, MAPPING] = None,
    ert: ErtFile = None,
    json: JsonFile = None,
    cases: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help=f"In place of these options: evaluate every sub-folder that holds {', '.join(CASE_FILES)}.",
        ),
    ] = None,
    json_dir: Annotated[
        Path | None, typer.Option(metavar="OUT", help="With --cases: write the JSON of each case to OUT/<case>.json.")
    ] = None,
    link_transfers: LinkTransfers = True,
) -> None:
    """Count accesses, cycles and energy of one mapping, as Timeloop would.

    Prints the loop nest and a table per storage level and tensor. The JSON has the fields of
    Timeloop's report: words, cycles, pJ; a refused mapping is written as valid: false with the reason.

    Example: heat-sim evaluate --arch arch_specs/simba_l --problem mappings/simba_l/bert_ffn/problem.yaml
    --mapping mappings/simba_l/bert_ffn/weight_stationary.yaml
    """
    single = {"--arch": arch, "--problem": problem, "--mapping": mapping}
    if cases is not None:
        if given := [name for name, path in {**single, "--ert": ert, "--json": json}.items() if path is not None]:
            raise SpecError(
                describe("--cases", "does not go with options of one mapping", got=", ".join(given),
                         expected="--cases with --json-dir", remedy="Leave them out, or leave --cases out.")
            )  # fmt: skip
        _evaluate_cases(cases, json_dir=json_dir, link_transfers=link_transfers)
        return
    if json_dir is not None:
        raise SpecError("--json-dir: it goes with --cases. For one mapping say --json OUT.")
    if arch is None or problem is None or mapping is None:
        missing = [name for name, path in single.items() if path is None]
        raise SpecError(
            describe("evaluate", "something to evaluate is missing", got=f"no {', '.join(missing)}",
                     expected="--arch, --problem and --mapping, or --cases FOLDER", remedy="Give it.")
        )  # fmt: skip
    try:
        nest, report = _evaluate(arch, ert, problem=problem, mapping=mapping, link_transfers=link_transfers)
    except HeatError as error:
        if json is not None:
            write_json(_refused(error), json)
        raise
    if json is not None:
        write_json(report.to_json(), json)
    if json != "-":
        out.print(str(nest), markup=False)
        out.print()
        out.print(str(report), markup=False)


def _evaluate(
    arch: Path, ert: Path | None, *, problem: Path, mapping: Path, link_transfers: bool
) -> tuple[Mapping, Report]:
    spec = read_architecture(arch, ert)
    einsum = load_problem(problem)
    nest = load_mapping(mapping, einsum=einsum, spec=spec)
    return nest, evaluate(einsum, spec.architecture, nest, link_transfers=link_transfers)


def _refused(error: Exception) -> dict[str, Any]:
    return {"valid": False, "error": str(error).splitlines()}


def _evaluate_cases(folder: Path, *, json_dir: Path | None, link_transfers: bool) -> None:
    """Evaluate every case, whatever becomes of the others; exit with 1 if heat_sim itself failed on one."""
    if not folder.is_dir():
        raise SpecError(
            describe("--cases", "no such folder", got=folder, expected="a folder of cases", remedy="Correct the path.")
        )
    cases = sorted(case for case in folder.iterdir() if all((case / name).is_file() for name in CASE_FILES))
    if not cases:
        raise SpecError(
            describe("--cases", "no case in the folder", got=folder,
                     expected=f"sub-folders that hold {', '.join(CASE_FILES)}", remedy="Name the folder above them.")
        )  # fmt: skip
    refused = failed = 0
    for case in cases:
        arch, problem, mapping, ert = (case / name for name in CASE_FILES)
        try:
            report = _evaluate(arch, ert, problem=problem, mapping=mapping, link_transfers=link_transfers)[1]
        except (HeatError, OSError) as error:
            refused += 1
            result, line = _refused(error), f"refused: {str(error).splitlines()[0]}"
        except Exception as error:
            # A fault of ours must not cost the user the cases that come after it.
            failed += 1
            fault = f"heat_sim failed, please report it: {type(error).__name__}: {error}"
            result, line = {"valid": False, "error": [fault]}, fault
        else:
            result, line = report.to_json(), f"{report.cycles:,} cycles, {report.energy_pj / 1e6:,.4g} uJ"
        if json_dir is not None:
            write_json(result, str(json_dir / f"{case.name}.json"))
        out.print(f"{case.name}: {line}", markup=False)
    out.print(f"{len(cases)} cases: {len(cases) - refused - failed} evaluated, {refused} refused", markup=False)
    if failed:
        err.print(f"heat-sim: {failed} cases met a fault of heat_sim", style="red", markup=False)
        raise typer.Exit(1)
