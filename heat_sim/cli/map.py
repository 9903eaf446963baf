"""`heat-sim map`: the best mapping of one einsum."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from heat_sim.cli.console import err, out, write_json
from heat_sim.cli.inputs import read_architecture
from heat_sim.cli.map_cascade import map_a_cascade
from heat_sim.cli.options import PROBLEM, ArchFile, ErtFile, JsonFile
from heat_sim.einsum import Einsum
from heat_sim.errors import SpecError, describe
from heat_sim.mapper import MappedEinsum, MappingCache, MappingResult, map_einsum, parse_objective, trimmed
from heat_sim.mapper.baselines import SEARCHES
from heat_sim.mapper.cascade.plans import MOST_LOOPS
from heat_sim.mapper.space import map_space
from heat_sim.report.files import write_text
from heat_sim.specs import ArchitectureSpec, ConstraintSet, dump_mapping, dump_problem, load_constraints, load_problem

OPTIMAL = "optimal"


def map_command(
    arch: ArchFile,
    problem: Annotated[Path | None, PROBLEM] = None,
    cascade: Annotated[
        Path | None, typer.Option(metavar="C.yaml", help="Several einsums in place of one: a cascade YAML.")
    ] = None,
    ert: ErtFile = None,
    constraints: Annotated[
        list[Path] | None,
        typer.Option(help="Timeloop constraint or mapper file, on top of the architecture's own; may be repeated."),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="edp, energy, cycles, ed2p, weighted:PJ_PER_CYCLE, or a front: pareto, hull.",
            show_default="edp, or what a mapper file says",
        ),
    ] = None,
    search: Annotated[
        str, typer.Option(help=f"{OPTIMAL}, or one to compare it with: {', '.join(SEARCHES)}.")
    ] = OPTIMAL,
    fuse: Annotated[
        bool, typer.Option("--fuse/--no-fuse", help="Whether einsums of a cascade may share outer loops.")
    ] = True,
    padded: Annotated[
        bool, typer.Option("--padded", help="Allow extents to be rounded up, so that primes can fill a mesh.")
    ] = False,
    both_axes: Annotated[
        bool, typer.Option("--both-axes", help="Allow a rank variable along x and y of one mesh.")
    ] = False,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Steps of the search at the most.", show_default="some seconds")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random searches.")] = 0,
    most_loops: Annotated[
        int, typer.Option(min=0, metavar="N", help="Common loops of a fused group at the most.")
    ] = MOST_LOOPS,
    pipeline: Annotated[
        bool, typer.Option("--pipeline", help="Let einsums of a fused group work at once too, on parts of the array.")
    ] = False,
    cached: Annotated[
        bool, typer.Option("--cache", help="Look the result up in the mapping cache, and keep it there.")
    ] = False,
    save_mapping: Annotated[
        Path | None,
        typer.Option(
            metavar="M.yaml", help="Write the mapping as a file that evaluate reads; of a cascade, a folder of them."
        ),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Find the best mapping of an einsum, or the best way to run a cascade, and say whether it is proven to be that.

    The space is every perfect factorisation over levels and meshes, every loop order, every keep and bypass choice that
    the constraints allow. Contractions of two tensors take a blink; convolutions and others take the general search.

    Example: heat-sim map --arch simba_l --problem mappings/simba_l/bert_ffn/problem.yaml
    """
    if (problem is None) == (cascade is None):
        raise SpecError(
            describe("map", "not one workload", got="both" if problem else "neither",
                     expected="either --problem or --cascade", remedy="Give one of them.")
        )  # fmt: skip
    spec = read_architecture(arch, ert)
    demands = load_constraints(constraints, spec=spec) if constraints else ConstraintSet(constraints=spec.constraints)
    if demands.ignored:
        err.print(f"not needed by this search: {', '.join(demands.ignored)}", style="yellow", markup=False)
    goal = parse_objective(objective or demands.objective or "edp")
    if cascade is not None:
        if search != OPTIMAL or padded or both_axes or budget or cached or demands.min_parallelism:
            raise SpecError(
                describe("map --cascade", "an option that only one einsum has", got="more than these",
                         expected="--fuse, --most-loops, --pipeline, --objective, --save-mapping or --json",
                         remedy="Leave it out.")
            )  # fmt: skip
        map_a_cascade(
            cascade, spec, demands=demands, objective=goal, fuse=fuse, json=json, save_to=save_mapping,
            most_loops=most_loops, pipelined=pipeline,
        )  # fmt: skip
        return
    assert problem is not None
    einsum = load_problem(problem)
    if search == OPTIMAL:
        cache = MappingCache() if cached else None
        result = map_einsum(
            einsum, spec.architecture, objective=goal, constraints=demands.constraints, both_axes=both_axes,
            min_parallelism=demands.min_parallelism, padded=padded, budget=budget, cache=cache,
        )  # fmt: skip
    else:
        _check_baseline(search, padded=padded)
        space = map_space(
            einsum, spec.architecture, constraints=demands.constraints, both_axes=both_axes,
            min_parallelism=demands.min_parallelism,
        )  # fmt: skip
        limit = {} if budget is None else {"budget": budget}
        result = SEARCHES[search](space, objective=goal, rng=np.random.default_rng(seed), **limit)
    best = trimmed(result.best, einsum)
    written = None if save_mapping is None else _save(save_mapping, result, best, einsum=einsum, spec=spec)
    if json is not None:
        write_json({"search": search, **result.to_json(), **_padding(result, best)}, json)
    if json != "-":
        _print(result, best, search=search)
        if written is not None:
            out.print(f"mapping written to {written}", markup=False)


def _check_baseline(search: str, *, padded: bool) -> None:
    if search not in SEARCHES:
        raise SpecError(describe("--search", "no such search", got=search, expected=f"{OPTIMAL}, {', '.join(SEARCHES)}",
                                 remedy="Correct the name."))  # fmt: skip
    if padded:
        raise SpecError(describe("--padded", "the searches to compare with take perfect bounds only", got=search,
                                 expected=OPTIMAL, remedy="Leave it out."))  # fmt: skip


def _padding(result: MappingResult, best: MappedEinsum) -> dict[str, object]:
    """Return what padding was chosen and what is left of the cost without it; nothing if there is none."""
    if best is result.best:
        return {}
    return {
        "padded_extents": dict(result.best.einsum.extents),
        "trimmed": {"energy_pJ": best.energy_pj, "cycles": best.cycles, "edp_pJ_cycles": best.edp_pj_cycles},
    }


def _save(
    path: Path, result: MappingResult, best: MappedEinsum, *, einsum: Einsum, spec: ArchitectureSpec
) -> str:  # fmt: skip
    """Write the mapping; v0.4 has no imperfect factors, so a padded one gets its padded problem beside it."""
    if best is result.best or spec.version == "0.3":
        write_text(path, dump_mapping(best.mapping, einsum=einsum, spec=spec))
        return str(path)
    beside = path.with_suffix(".problem.yaml")
    write_text(path, dump_mapping(result.best.mapping, einsum=result.best.einsum, spec=spec))
    write_text(beside, dump_problem(result.best.einsum, version=spec.version))
    return f"{path}, for the padded problem in {beside}"


def _print(result: MappingResult, best: MappedEinsum, *, search: str) -> None:
    out.print(str(best.mapping), markup=False)
    out.print()
    out.print(str(best.report), markup=False)
    if best is not result.best:
        extents = ", ".join(f"{var}={extent}" for var, extent in result.best.einsum.extents)
        out.print(f"\npadded to {extents}; the loops are cut short where there is no work", markup=False)
    if result.optimal:
        proof = "proven optimal"
    elif search == OPTIMAL and result.lower_bound > 0:
        proof = f"within {result.value / result.lower_bound - 1:.2%} of the bound"
    else:
        proof = "no proof"
    out.print(
        f"\n{result.objective.name} {result.value:.6g}: {proof}; {result.space_size:.3g} mappings in the space, "
        f"{result.costed} costed, {result.pruned} branches set aside by bounds, {result.seconds:.3f} s"
    )
    if result.objective.is_front:
        out.print("\n     cycles    energy (uJ)", markup=False)
        for each in result.front:
            out.print(f"{each.cycles:>11,} {each.energy_pj / 1e6:>14,.4f}", markup=False)
