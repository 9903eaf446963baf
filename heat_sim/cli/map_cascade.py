"""`heat-sim map --cascade`: the best way to run einsums one after another, or to contract one of many operands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heat_sim.cli.console import out, write_json
from heat_sim.errors import SpecError, describe
from heat_sim.mapper import MappedEinsum, Objective
from heat_sim.mapper.cascade import CascadeResult, MappedCascade, MappedGroup, map_cascade
from heat_sim.mapper.cascade.plans import MOST_LOOPS
from heat_sim.mapper.layer import LayerResult, Machine
from heat_sim.report.breakdown import breakdown, breakdown_rows, breakdown_table
from heat_sim.report.files import write_text
from heat_sim.specs import ArchitectureSpec, CascadeSpec, ConstraintSet, dump_mapping, dump_problem, load_cascade
from heat_sim.tensorize.contraction import mac_optimal_tree, tree_to_text


def map_a_cascade(
    path: Path, spec: ArchitectureSpec, *, demands: ConstraintSet, objective: Objective, fuse: bool, json: str | None,
    save_to: Path | None, most_loops: int = MOST_LOOPS, pipelined: bool = False,
) -> None:  # fmt: skip
    """Print the best way to run the cascade of a file, and write it as JSON; its mappings go to a folder."""
    workload = load_cascade(path)
    if workload.activations is not None:
        _map_layer(workload, spec, demands=demands, objective=objective, fuse=fuse, json=json, save_to=save_to)
        return
    result = map_cascade(
        workload.cascade, spec.architecture, constraints=demands.constraints, objective=objective, fuse=fuse,
        vector_unit=workload.vector_unit, weights=workload.weights, most_loops=most_loops,
        pipelined=pipelined,
    )  # fmt: skip
    _show(result, spec, json=json, save_to=save_to, more={})


def _map_layer(
    workload: CascadeSpec, spec: ArchitectureSpec, *, demands: ConstraintSet, objective: Objective, fuse: bool,
    json: str | None, save_to: Path | None,
) -> None:  # fmt: skip
    """Print the best contraction order of one einsum beside the one with the fewest multiply-accumulates."""
    (einsum,) = workload.cascade.einsums
    if len(einsum.inputs) < 2:
        raise SpecError(describe(f"einsum {einsum.name}", "nothing to contract", got=einsum,
                                 expected="two operands or more", remedy="Leave 'activations' out."))  # fmt: skip
    activations = workload.activations
    assert activations is not None
    machine = Machine(architecture=spec.architecture, constraints=demands.constraints, fuse=fuse)
    found = machine.map_layer(einsum, activations=activations, objective=objective)
    by_macs = machine.map_mac_optimal(einsum, activations=activations, objective=objective)
    _show(found.result, spec, json=json, save_to=save_to, more=_orders(found, by_macs))
    if json != "-":
        order = found.best.order
        assert order is not None
        for step in order.contraction.offline:
            out.print(f"ahead of time: {step}", markup=False)
        out.print(
            f"order {tree_to_text(order.tree)} of {found.orders} ({found.pruned} set aside by bounds); fewest "
            f"multiply-accumulates: {tree_to_text(mac_optimal_tree(einsum))}, {objective.name} "
            f"{by_macs.result.value / found.result.value:.3f}x of the best",
            markup=False,
        )


def _orders(found: LayerResult, by_macs: LayerResult) -> dict[str, Any]:
    order, other = found.best.order, by_macs.best.order
    assert order is not None
    assert other is not None
    return {
        "tree": tree_to_text(order.tree),
        "ahead_of_time": [str(step) for step in order.contraction.offline],
        "stored_words": found.best.stored_words,
        "orders": found.orders,
        "orders_pruned": found.pruned,
        "mac_optimal": {
            "tree": tree_to_text(other.tree), "energy_pJ": by_macs.best.energy_pj, "cycles": by_macs.best.cycles,
            "edp_pJ_cycles": by_macs.best.energy_pj * by_macs.best.cycles,
        },
    }  # fmt: skip


def _show(
    result: CascadeResult, spec: ArchitectureSpec, *, json: str | None, save_to: Path | None, more: dict[str, Any]
) -> None:  # fmt: skip
    if save_to is not None:
        _save(result.best, save_to, spec)
    if json is not None:
        write_json({**_as_json(result, spec), **more}, json)
    if json == "-":
        return
    for group in result.best.groups:
        out.print(_picture(group, spec), markup=False)
        out.print()
    rows = breakdown([("", 1, result.best)], spec.architecture)
    out.print(breakdown_table(rows, spec.architecture), markup=False, soft_wrap=True)
    out.print(
        f"{result.best.cycles:,} cycles, {result.best.energy_pj / 1e6:,.4f} uJ in {len(result.best.groups)} groups"
    )
    out.print(
        f"{result.objective.name} {result.value:.6g}, {result.unfused_value / result.value:.3f}x less than without "
        f"fusion: {'proven optimal under the rules' if result.optimal else 'no proof'}; {result.plans} plans, "
        f"{result.seconds:.2f} s"
    )
    if save_to is not None:
        out.print(f"mappings written to {save_to}", markup=False)


def _picture(group: MappedGroup, spec: ArchitectureSpec) -> str:
    """Return a group as text: the common loops, what is at home, then the nest of each einsum."""
    plan = group.plan
    lines: list[str] = []
    for var, bound in plan.loops:
        lines.append(f"{'  ' * len(lines)}for {var} in 0..{bound - 1}")
    depth = "  " * len(lines)
    if plan.home is not None:
        home = spec.architecture.levels[plan.home].name
        what = [f"{name} passes through" for name in sorted(plan.intermediates)]
        what += [f"{name} stays" for name in sorted(plan.residents)]
        what += [f"{name} adds up" for name in sorted(plan.accumulators)]
        what += [f"{name} is stored too" for name in sorted(plan.stored)]
        lines.append(f"{depth}at {home}: {'; '.join(what)}")
    if group.pipeline is not None:
        level = spec.architecture.levels[group.pipeline.level].name
        lines.append(f"{depth}at the same time, on {', '.join(map(str, group.pipeline.columns))} columns below {level}")
    for part, mapped in zip(group.parts, group.mapped, strict=True):
        again = " on partial sums" if part.residence is not None and part.residence.accumulates else ""
        often = f"{mapped.cycles:,} cycles, {mapped.energy_pj / 1e6:,.4f} uJ each, {part.count:,} times"
        lines.append(f"{depth}{part.einsum}{again}: {often}")
        if isinstance(mapped, MappedEinsum):
            lines += [f"{depth}  {line}" for line in str(mapped.mapping).splitlines()]
    return "\n".join(lines)


def _save(best: MappedCascade, folder: Path, spec: ArchitectureSpec) -> None:
    """Write problem and mapping of every part, in the names of the roles, as files that evaluate reads.

    What passes through or stays at home is kept by no level outside it; partial sums that were there before, and the
    transfers of the group, are not in these files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for group in best.groups:
        for mapped in group.mapped:
            number += 1
            if isinstance(mapped, MappedEinsum):
                stem = folder / f"{number:02d}"
                write_text(
                    stem.with_suffix(".problem.yaml"), dump_problem(mapped.einsum, version=spec.version)
                )  # fmt: skip
                write_text(
                    stem.with_suffix(".mapping.yaml"), dump_mapping(mapped.mapping, einsum=mapped.einsum, spec=spec)
                )


def _as_json(result: CascadeResult, spec: ArchitectureSpec) -> dict[str, Any]:
    best, unfused = result.best, result.unfused
    return {
        "objective": result.objective.name,
        "energy_pJ": best.energy_pj,
        "cycles": best.cycles,
        "edp_pJ_cycles": best.energy_pj * best.cycles,
        "optimal": result.optimal,
        "unfused": {"energy_pJ": unfused.energy_pj, "cycles": unfused.cycles,
                    "edp_pJ_cycles": unfused.energy_pj * unfused.cycles},
        "front": [{"energy_pJ": each.energy_pj, "cycles": each.cycles} for each in result.front],
        "plans": result.plans,
        "seconds": result.seconds,
        "breakdown": breakdown_rows(best, spec.architecture),
        "groups": [_group_json(group) for group in best.groups],
    }  # fmt: skip


def _group_json(group: MappedGroup) -> dict[str, Any]:
    plan = group.plan
    return {
        "loops": [{"rank_var": var, "bound": bound} for var, bound in plan.loops],
        "iterations": plan.iterations,
        "home": None if plan.home is None else group.architecture.levels[plan.home].name,
        "intermediates": sorted(plan.intermediates),
        "residents": sorted(plan.residents),
        "accumulators": sorted(plan.accumulators),
        "stored": sorted(plan.stored),
        "pipeline": None if group.pipeline is None else list(group.pipeline.columns),
        "transfers": [transfer._asdict() for transfer in plan.transfers()],
        "energy_pJ": group.energy_pj,
        "cycles": group.cycles,
        "einsums": [
            {
                "einsum": str(part.einsum),
                "extents": dict(part.einsum.extents),
                "times": part.count,
                "accumulates": part.residence is not None and part.residence.accumulates,
                "energy_pJ_each": mapped.energy_pj,
                "cycles_each": mapped.cycles,
                "mapping": str(mapped.mapping) if isinstance(mapped, MappedEinsum) else None,
            }
            for part, mapped in zip(group.parts, group.mapped, strict=True)
        ],
    }
