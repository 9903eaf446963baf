"""`heat-sim map`: the best mapping of one einsum."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.console import out, write_json
from heat_sim.cli.inputs import read_architecture
from heat_sim.cli.options import ArchFile, ErtFile, JsonFile, ProblemFile
from heat_sim.mapper import map_einsum
from heat_sim.mapper.objective import ObjectiveName
from heat_sim.mapper.search import DEFAULT_BUDGET
from heat_sim.report.files import write_text
from heat_sim.specs import dump_mapping, load_problem


def map_command(
    arch: ArchFile,
    problem: ProblemFile,
    ert: ErtFile = None,
    objective: Annotated[ObjectiveName, typer.Option(help="What to minimise.")] = "edp",
    budget: Annotated[int, typer.Option(min=1, help="Spatial choices to open at the most.")] = DEFAULT_BUDGET,
    save_mapping: Annotated[
        Path | None, typer.Option(metavar="M.yaml", help="Write the mapping as a file that evaluate reads.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Find the best mapping of a matmul or any contraction of two tensors.

    Says whether the mapping is proven to be the best of all perfect-factor mappings, and the bound.

    Example: heat-sim map --arch arch_specs/simba_l --problem mappings/simba_l/bert_ffn/problem.yaml
    """
    spec = read_architecture(arch, ert)
    einsum = load_problem(problem)
    result = map_einsum(einsum, spec.architecture, objective=objective, constraints=spec.constraints, budget=budget)
    if save_mapping is not None:
        write_text(save_mapping, dump_mapping(result.best.mapping, einsum=einsum, spec=spec))
    if json is not None:
        write_json(result.to_json(), json)
    if json != "-":
        out.print(str(result.best.mapping), markup=False)
        out.print()
        out.print(str(result.best.report), markup=False)
        proof = (
            "proven optimal" if result.optimal else f"within {result.value / result.lower_bound - 1:.2%} of the bound"
        )
        out.print(
            f"\n{objective} {result.value:.6g}: {proof}; {result.solved} spatial choices opened, "
            f"{result.pruned} set aside by their bounds, {result.seconds:.2f} s"
        )
        if save_mapping is not None:
            out.print(f"mapping written to {save_mapping}", markup=False)
