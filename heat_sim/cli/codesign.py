"""`heat-sim codesign`: search designs that trade EDP against estimated loss."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.bench import EMBEDDED_DATA, EMBEDDED_MODEL, AddBar, Bench, prepare_bench
from heat_sim.cli.console import bars, err
from heat_sim.cli.inputs import architecture_files, read_architecture
from heat_sim.cli.options import (
    ALL_FORMATS,
    Data,
    Designs,
    ErtFile,
    Formats,
    Generations,
    Model,
    Out,
    Population,
    Seed,
    TeacherEpochs,
    Tokens,
)
from heat_sim.cli.show import print_run
from heat_sim.codesign.chosen import chosen_designs, front_rows
from heat_sim.codesign.estimate import ActivationError
from heat_sim.codesign.evaluator import Evaluator
from heat_sim.codesign.nsga2 import Generation
from heat_sim.codesign.search import SearchResult, SearchSettings, search_designs, spread
from heat_sim.codesign.space import design_space
from heat_sim.errors import SpecError
from heat_sim.mapper.layer import Machine
from heat_sim.networks import load_network
from heat_sim.report.manifest import manifest
from heat_sim.report.run_folder import new_run_folder, write_designs, write_front, write_manifest

Arch = Annotated[
    Path, typer.Option("--arch", help="Architecture: a file, a folder with arch.yaml, or a preset's name.")
]


def codesign_command(
    model: Model = EMBEDDED_MODEL,
    arch: Arch = Path("simba_l"),
    ert: ErtFile = None,
    data: Data = EMBEDDED_DATA,
    tokens: Tokens = 128,
    formats: Formats = ALL_FORMATS,
    population: Population = 32,
    generations: Generations = 12,
    designs: Designs = 8,
    seed: Seed = 0,
    teacher_epochs: TeacherEpochs = 2,
    out: Out = None,
) -> None:
    """Search format, tensorization shape and ranks of every class of weight matrices with NSGA-II.

    Objectives: EDP of the encoder (every contraction order, every step under its best mapping) and the
    activation-weighted error of the projected matrices on calibration text. Writes a run folder with the
    front as table and plot, one file per chosen design, and a manifest.

    Example: heat-sim codesign --model minilm-l6 --arch simba_l --tokens 128
    """
    with bars() as add_bar:
        bench = prepare_bench(model, data, epochs=teacher_epochs, seed=seed, add_bar=add_bar)
        folder = search(
            bench, arch=arch, ert=ert, tokens=tokens, formats=formats, designs=designs, out=out, add_bar=add_bar,
            settings=SearchSettings(population=population, generations=generations, seed=seed),
            arguments={"model": model, "data": data, "teacher_epochs": teacher_epochs},
        )  # fmt: skip
    print_run(folder)


def search(
    bench: Bench,
    *,
    arch: Path,
    ert: Path | None,
    tokens: int,
    formats: str,
    designs: int,
    out: Path | None,
    settings: SearchSettings,
    arguments: dict[str, object],
    add_bar: AddBar,
) -> Path:
    """Return the folder of a new run that holds the front and the chosen designs."""
    started = time.perf_counter()
    spec = read_architecture(arch, ert)
    network = load_network(bench.teacher.folder, tokens=tokens, name=bench.model)
    names = tuple(dict.fromkeys(("dense", *(name.strip() for name in formats.split(",") if name.strip()))))
    space = design_space(network, formats=names)
    evaluator = Evaluator(
        network=network,
        machine=Machine(architecture=spec.architecture, constraints=spec.constraints),
        estimate=ActivationError(
            weights=bench.calibration.weights, second_moments=bench.calibration.second_moments
        ),
    )  # fmt: skip
    folder = new_run_folder(
        out, name=f"{bench.model}-{spec.architecture.name}-s{tokens}-seed{settings.seed}"
    )  # fmt: skip
    tick = add_bar("search designs", settings.generations)

    def report(generation: Generation) -> None:
        best = 1 / min(edp for edp, _ in generation.front)
        tick(
            generation.index,
            f"{generation.evaluations} designs, front {len(generation.front)}, EDP gain to {best:.1f}x",
        )

    result = search_designs(space, evaluator, settings=settings, report=report)
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
                **arguments, "arch": str(arch), "ert": None if ert is None else str(ert), "tokens": tokens,
                "formats": ",".join(names), "population": settings.population, "generations": settings.generations,
                "designs": designs,
            },
            seed=settings.seed,
            spec_files=architecture_files(arch, ert),
            facts=_facts(result, evaluator, seconds=time.perf_counter() - started),
        ),
    )  # fmt: skip
    err.print(f"{result.costed} designs costed, {len(result.front)} on the front, {len(chosen)} chosen")
    return folder


def _facts(result: SearchResult, evaluator: Evaluator, *, seconds: float) -> dict[str, object]:
    found = evaluator.machine.results.values()
    return {
        "designs_costed": result.costed,
        "front": len(result.front),
        "einsums_mapped": len(found),
        "einsums_proven_optimal": sum(each.optimal for each in found),
        "search_seconds": round(seconds, 1),
    }
