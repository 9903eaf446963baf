"""`heat-sim evaluate`: what the model says of one mapping."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.console import out, write_json
from heat_sim.cli.inputs import read_architecture
from heat_sim.cli.options import ArchFile, ErtFile, JsonFile, ProblemFile
from heat_sim.errors import HeatError
from heat_sim.model import evaluate
from heat_sim.specs import load_mapping, load_problem


def evaluate_command(
    arch: ArchFile,
    problem: ProblemFile,
    mapping: Annotated[Path, typer.Option("--mapping", help="The loop nest: a Timeloop mapping YAML.")],
    ert: ErtFile = None,
    json: JsonFile = None,
) -> None:
    """Count accesses, cycles and energy of one mapping, as Timeloop would.

    Prints the loop nest and a table per storage level and tensor. The JSON has the fields of
    Timeloop's report: words, cycles, pJ; a refused mapping is written as valid: false with the reason.

    Example: heat-sim evaluate --arch arch_specs/simba_l --problem mappings/simba_l/bert_ffn/problem.yaml
    --mapping mappings/simba_l/bert_ffn/weight_stationary.yaml
    """
    try:
        spec = read_architecture(arch, ert)
        einsum = load_problem(problem)
        nest = load_mapping(mapping, einsum=einsum, spec=spec)
        report = evaluate(einsum, spec.architecture, nest)
    except HeatError as error:
        if json is not None:
            write_json({"valid": False, "error": str(error).splitlines()}, json)
        raise
    if json is not None:
        write_json(report.to_json(), json)
    if json != "-":
        out.print(str(nest), markup=False)
        out.print()
        out.print(str(report), markup=False)
