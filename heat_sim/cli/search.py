"""The search half of the main job: from a calibrated model, or a configuration, and a plan to a run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from heat_sim.cli.bench import AddBar
from heat_sim.cli.console import err
from heat_sim.cli.inputs import read_architecture, searched_formats
from heat_sim.cli.live import Live
from heat_sim.cli.open_loss import open_loss
from heat_sim.cli.plan import SearchPlan
from heat_sim.cli.sites import LossSite, SuperNetSite
from heat_sim.cli.subject import Subject
from heat_sim.codesign.chosen import chosen_designs, front_rows
from heat_sim.codesign.estimate import LossEstimate
from heat_sim.codesign.machines import Machines
from heat_sim.codesign.points import PointStore
from heat_sim.codesign.prefetch import Prefetch
from heat_sim.codesign.search import SearchResult, SearchSettings, search_designs, spread
from heat_sim.codesign.sites import MachineSite
from heat_sim.codesign.space import design_space
from heat_sim.codesign.start import strong_start
from heat_sim.codesign.workers import Nobody, Workers
from heat_sim.errors import SpecError
from heat_sim.hardware import load_space
from heat_sim.mapper.cache import MODEL_VERSION, cache_path
from heat_sim.report.manifest import manifest, spec_hashes
from heat_sim.report.run_folder import POINTS, write_designs, write_front, write_machines, write_manifest


def search(
    subject: Subject,
    *,
    plan: SearchPlan,
    folder: Path,
    add_bar: AddBar,
    workers: Workers | None = None,
) -> SearchResult:
    """Search as planned, and write the front and the chosen designs into the folder of the run.

    Every point is kept in `points.jsonl` as it is costed; a search in a folder that has points goes on from them.

    Args:
        subject: The network, and where the estimated loss comes from.
        plan: What is asked for.
        folder: Of the run.
        add_bar: Adds a progress bar.
        workers: Who helps; the result is the same.
    """
    started = time.perf_counter()
    network, aims = subject.network, plan.aims
    loss = open_loss(subject, estimate=plan.estimate)
    machines = open_machines(subject, plan, loss=loss.estimate)
    hardware = machines.space
    evaluator = machines.at(machines.base_choice)
    space = replace(
        design_space(network, formats=searched_formats(plan.formats), per=plan.per, joint=plan.joint),
        hardware=machines.genes,
    )
    prefetch = Prefetch(workers=workers or Nobody(), machines=machines, of_errors=loss.of_errors, errors=loss.errors)
    write_manifest(folder, _manifest(plan, facts={}))
    start: tuple[dict[str, int], ...] = ()
    if plan.seeding:
        tick = add_bar("allot ranks", 1)
        start = strong_start(space, evaluator, estimate=loss.estimate, count=plan.population // 2, prefetch=prefetch)
        tick(1, f"{len(start)} designs to start from")
    live = Live(aims=aims, tick=add_bar("search designs", plan.generations))
    settings = SearchSettings(
        population=plan.population, generations=plan.generations, seed=plan.seed, strategy=plan.strategy
    )
    with PointStore(folder / POINTS, about=_about(plan, subject.site)) as store:
        result = search_designs(
            space, evaluator, settings=settings, seeds=start, store=store, aims=aims, machines=machines,
            prefetch=prefetch, report=live,
        )  # fmt: skip
    chosen = spread(result.front, dense=result.dense, count=plan.designs)
    if not chosen and not result.interrupted:
        raise SpecError(
            f"search on {machines.base.architecture.name}: no design {_that_keeps(plan.constraints)}has a lower EDP "
            "than the dense network. Search more formats, or more generations, or relax the constraints."
        )
    write_designs(folder, chosen_designs(chosen, network=network, groups=subject.groups))
    if hardware is not None:
        write_machines(folder, [replace(hardware.base, architecture=cost.architecture) for cost in chosen])
    write_front(folder, front_rows(result.dense, chosen, network=network))
    seconds = time.perf_counter() - started
    write_manifest(folder, _manifest(plan, facts=_facts(result, machines, seconds=seconds, live=live)))
    failed = f", {result.failed} failed (reasons in {POINTS})" if result.failed else ""
    err.print(
        f"{result.costed} designs costed{failed}, {len(result.front)} on the front, {len(chosen)} chosen; "
        f"{live.rate:.0f} designs/s"
    )
    return result


def open_machines(subject: Subject, plan: SearchPlan, *, loss: LossEstimate) -> Machines:
    """Return what costs designs as planned.

    Args:
        subject: The network, and where the estimated loss comes from.
        plan: What is asked for.
        loss: Estimated loss of a design.
    """
    spec = read_architecture(Path(plan.arch), None if plan.ert is None else Path(plan.ert))
    base = MachineSite(
        architecture=spec.architecture, constraints=spec.constraints, tokens=subject.network.tokens, fuse=plan.fuse,
        order=plan.order, cache_file=cache_path(),
    )  # fmt: skip
    return Machines(
        network=subject.network,
        estimate=loss,
        base=base,
        space=None if plan.hardware is None else load_space(plan.hardware, base=spec),
        groups=subject.groups,
    )


def _that_keeps(constraints: Sequence[str]) -> str:
    return f"with {' and '.join(constraints)} " if constraints else ""


def _about(plan: SearchPlan, loss_site: LossSite | SuperNetSite) -> dict[str, object]:
    """Return what the points of a search depend on."""
    return {
        "arguments": {**plan.arguments, "seed": plan.seed},
        "specs": spec_hashes(plan.spec_files),
        "calibration": loss_site.digest,
        "version": MODEL_VERSION,
    }


def _manifest(plan: SearchPlan, *, facts: dict[str, object]) -> dict[str, object]:
    return manifest(arguments=plan.arguments, seed=plan.seed, spec_files=plan.spec_files, facts=facts)


def _facts(result: SearchResult, machines: Machines, *, seconds: float, live: Live) -> dict[str, object]:
    return {
        "designs_costed": result.costed,
        "designs_failed": result.failed,
        "interrupted": result.interrupted,
        "front": len(result.front),
        "machines": len(machines.used),
        "layers_mapped": sum(each.ways.asked for each in machines.used),
        "layers_proven_optimal": sum(each.ways.proven for each in machines.used),
        "search_seconds": round(seconds, 1),
        "designs_per_second": round(live.rate, 1),
    }
