"""The search half of the main job: from a bench and a spec to a run folder."""

from __future__ import annotations

import time
from pathlib import Path

from heat_sim.cli.bench import AddBar
from heat_sim.cli.console import err
from heat_sim.cli.inputs import architecture_files, read_architecture, searched_formats
from heat_sim.codesign.chosen import chosen_designs, front_rows
from heat_sim.codesign.estimate import ESTIMATES
from heat_sim.codesign.evaluator import Evaluator
from heat_sim.codesign.layer_ways import LayerWays
from heat_sim.codesign.matrix_errors import MatrixErrors
from heat_sim.codesign.nsga2 import Generation
from heat_sim.codesign.search import SearchResult, SearchSettings, search_designs, spread
from heat_sim.codesign.space import design_space
from heat_sim.codesign.start import strong_start
from heat_sim.distill.calibration import Calibration
from heat_sim.errors import SpecError
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.layer import Machine
from heat_sim.networks import Network
from heat_sim.report.manifest import manifest
from heat_sim.report.run_folder import new_run_folder, write_designs, write_front, write_manifest
from heat_sim.tensorize.projection_cache import ProjectionCache


def search(
    calibration: Calibration,
    network: Network,
    *,
    arch: Path,
    ert: Path | None,
    formats: str,
    designs: int,
    out: Path | None,
    estimate: str,
    seeding: bool,
    settings: SearchSettings,
    arguments: dict[str, object],
    add_bar: AddBar,
) -> Path:
    """Return the folder of a new run that holds the front and the chosen designs."""
    started = time.perf_counter()
    spec = read_architecture(arch, ert)
    names = searched_formats(formats)
    space = design_space(network, formats=names)
    loss = ESTIMATES[estimate](
        errors=MatrixErrors(
            weights=calibration.weights, second_moments=calibration.second_moments, project=ProjectionCache(),
            gradient_moments=calibration.gradient_moments if estimate == "fisher" else {},
        )
    )  # fmt: skip
    cache = MappingCache()
    evaluator = Evaluator(
        network=network,
        ways=LayerWays(
            machine=Machine(
                architecture=spec.architecture, constraints=spec.constraints, cache=cache, fuse=False, merged=True
            ),
            tokens=network.tokens,
            cache=cache,
        ),
        estimate=loss,
    )  # fmt: skip
    folder = new_run_folder(
        out, name=f"{network.name}-{spec.architecture.name}-s{network.tokens}-seed{settings.seed}"
    )  # fmt: skip
    start: tuple[dict[str, int], ...] = ()
    if seeding:
        tick = add_bar("allot ranks", 1)
        start = strong_start(space, evaluator, estimate=loss, count=settings.population // 2)
        tick(1, f"{len(start)} designs to start from")
    tick = add_bar("search designs", settings.generations)

    def report(generation: Generation) -> None:
        best = 1 / min(edp for edp, _ in generation.front)
        tick(
            generation.index,
            f"{generation.evaluations} designs, front {len(generation.front)}, EDP gain to {best:.1f}x",
        )

    result = search_designs(space, evaluator, settings=settings, seeds=start, report=report)
    chosen = spread(result.front, dense=result.dense, count=designs)
    if not chosen:
        raise SpecError(
            f"search on {spec.architecture.name}: no design has a lower EDP than the dense network. "
            "Search more formats, or more generations."
        )
    rows = front_rows(result.dense, chosen, network=network)
    write_designs(
        folder, chosen_designs(chosen, network=network, architecture=spec.architecture.name)
    )  # fmt: skip
    write_front(folder, rows)
    write_manifest(
        folder,
        manifest(
            arguments={
                **arguments, "arch": str(arch), "ert": None if ert is None else str(ert), "tokens": network.tokens,
                "formats": ",".join(names), "population": settings.population, "generations": settings.generations,
                "designs": designs, "estimate": estimate, "seeding": seeding,
            },
            seed=settings.seed,
            spec_files=architecture_files(arch, ert),
            facts=_facts(result, evaluator, seconds=time.perf_counter() - started),
        ),
    )  # fmt: skip
    err.print(f"{result.costed} designs costed, {len(result.front)} on the front, {len(chosen)} chosen")
    return folder


def _facts(result: SearchResult, evaluator: Evaluator, *, seconds: float) -> dict[str, object]:
    return {
        "designs_costed": result.costed,
        "front": len(result.front),
        "layers_mapped": evaluator.ways.asked,
        "layers_proven_optimal": evaluator.ways.proven,
        "search_seconds": round(seconds, 1),
    }
