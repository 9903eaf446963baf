"""The search half of the main job: from a calibrated model and a plan to a run folder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from heat_sim.cli.bench import AddBar
from heat_sim.cli.console import err
from heat_sim.cli.inputs import read_architecture, searched_formats
from heat_sim.cli.plan import SearchPlan
from heat_sim.codesign.chosen import chosen_designs, front_rows
from heat_sim.codesign.estimate import ESTIMATES
from heat_sim.codesign.evaluator import Evaluator
from heat_sim.codesign.layer_ways import LayerWays
from heat_sim.codesign.matrix_errors import MatrixErrors
from heat_sim.codesign.nsga2 import Generation
from heat_sim.codesign.points import PointStore
from heat_sim.codesign.search import SearchResult, SearchSettings, search_designs, spread
from heat_sim.codesign.space import design_space
from heat_sim.codesign.start import strong_start
from heat_sim.distill.calibration import Calibration
from heat_sim.errors import SpecError
from heat_sim.mapper.cache import MODEL_VERSION, MappingCache
from heat_sim.mapper.layer import Machine
from heat_sim.networks import Network
from heat_sim.report.manifest import manifest, spec_hashes
from heat_sim.report.run_folder import POINTS, write_designs, write_front, write_manifest
from heat_sim.tensorize.projection_cache import ProjectionCache


def search(
    calibration: Calibration, network: Network, *, plan: SearchPlan, folder: Path, add_bar: AddBar
) -> SearchResult:  # fmt: skip
    """Search as planned, and write the front and the chosen designs into the folder of the run.

    Every point is kept in `points.jsonl` as it is costed; a search in a folder that has points goes on from them.

    Args:
        calibration: Weights and moments of the model.
        network: The same model as the simulator sees it.
        plan: What is asked for.
        folder: Of the run.
        add_bar: Adds a progress bar.
    """
    started = time.perf_counter()
    aims = plan.aims
    spec = read_architecture(Path(plan.arch), None if plan.ert is None else Path(plan.ert))
    space = design_space(network, formats=searched_formats(plan.formats), per=plan.per)
    loss = ESTIMATES[plan.estimate](
        errors=MatrixErrors(
            weights=calibration.weights, second_moments=calibration.second_moments, project=ProjectionCache(),
            gradient_moments=calibration.gradient_moments if plan.estimate == "fisher" else {},
        )
    )  # fmt: skip
    cache = MappingCache()
    machine = Machine(
        architecture=spec.architecture, constraints=spec.constraints, cache=cache, fuse=plan.fuse, merged=True
    )  # fmt: skip
    evaluator = Evaluator(
        network=network, ways=LayerWays(machine=machine, tokens=network.tokens, cache=cache), estimate=loss
    )  # fmt: skip
    write_manifest(folder, _manifest(plan, facts={}))
    start: tuple[dict[str, int], ...] = ()
    if plan.seeding:
        tick = add_bar("allot ranks", 1)
        start = strong_start(space, evaluator, estimate=loss, count=plan.population // 2)
        tick(1, f"{len(start)} designs to start from")
    tick = add_bar("search designs", plan.generations)

    def report(generation: Generation) -> None:
        note = f"{generation.evaluations} designs, front {len(generation.front)}"
        if "edp" in aims.objectives:
            least = min(values[aims.objectives.index("edp")] for values in generation.front)
            note += f", EDP gain to {1 / least:.1f}x"
        tick(generation.index, note)

    settings = SearchSettings(population=plan.population, generations=plan.generations, seed=plan.seed)
    with PointStore(folder / POINTS, about=_about(plan, calibration)) as store:
        result = search_designs(space, evaluator, settings=settings, seeds=start, store=store, aims=aims, report=report)
    chosen = spread(result.front, dense=result.dense, count=plan.designs)
    if not chosen and not result.interrupted:
        raise SpecError(
            f"search on {spec.architecture.name}: no design {_that_keeps(plan.constraints)}has a lower EDP than the "
            "dense network. Search more formats, or more generations, or relax the constraints."
        )
    write_designs(folder, chosen_designs(chosen, network=network, architecture=spec.architecture.name))
    write_front(folder, front_rows(result.dense, chosen, network=network))
    write_manifest(folder, _manifest(plan, facts=_facts(result, evaluator, seconds=time.perf_counter() - started)))
    failed = f", {result.failed} failed (reasons in {POINTS})" if result.failed else ""
    err.print(f"{result.costed} designs costed{failed}, {len(result.front)} on the front, {len(chosen)} chosen")
    return result


def _that_keeps(constraints: Sequence[str]) -> str:
    return f"with {' and '.join(constraints)} " if constraints else ""


def _about(plan: SearchPlan, calibration: Calibration) -> dict[str, object]:
    """Return what the points of a search depend on."""
    content = hashlib.sha256()
    for arrays in (calibration.weights, calibration.second_moments, calibration.gradient_moments):
        for name in sorted(arrays):
            content.update(np.ascontiguousarray(arrays[name]).data)
    return {
        "arguments": {**plan.arguments, "seed": plan.seed},
        "specs": spec_hashes(plan.spec_files),
        "calibration": content.hexdigest(),
        "version": MODEL_VERSION,
    }


def _manifest(plan: SearchPlan, *, facts: dict[str, object]) -> dict[str, object]:
    return manifest(arguments=plan.arguments, seed=plan.seed, spec_files=plan.spec_files, facts=facts)


def _facts(result: SearchResult, evaluator: Evaluator, *, seconds: float) -> dict[str, object]:
    return {
        "designs_costed": result.costed,
        "designs_failed": result.failed,
        "interrupted": result.interrupted,
        "front": len(result.front),
        "layers_mapped": evaluator.ways.asked,
        "layers_proven_optimal": evaluator.ways.proven,
        "search_seconds": round(seconds, 1),
    }
