"""`heat-sim map --cascade`: the best way to run einsums one after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heat_sim.cli.console import out, write_json
from heat_sim.mapper import Objective
from heat_sim.mapper.cascade import CascadeResult, MappedGroup, map_cascade
from heat_sim.specs import ArchitectureSpec, ConstraintSet, load_cascade


def map_a_cascade(
    path: Path, spec: ArchitectureSpec, *, demands: ConstraintSet, objective: Objective, fuse: bool, json: str | None
) -> None:
    """Print the best way to run the cascade of a file, and write it as JSON."""
    cascade = load_cascade(path)
    result = map_cascade(
        cascade, spec.architecture, constraints=demands.constraints, objective=objective, fuse=fuse
    )  # fmt: skip
    if json is not None:
        write_json(_as_json(result), json)
    if json == "-":
        return
    for group in result.best.groups:
        out.print(_picture(group, spec), markup=False)
        out.print()
    unfused = objective.value(result.unfused.energy_pj, result.unfused.cycles)
    out.print(
        f"{result.best.cycles:,} cycles, {result.best.energy_pj / 1e6:,.4f} uJ in {len(result.best.groups)} groups"
    )
    out.print(
        f"{objective.name} {result.value:.6g}, {unfused / result.value:.3f}x less than without fusion: "
        f"{'proven optimal under the rules' if result.optimal else 'no proof'}; {result.plans} plans, "
        f"{result.seconds:.2f} s"
    )


def _picture(group: MappedGroup, spec: ArchitectureSpec) -> str:
    """Return a group as text: the common loops, what is at home, then the nest of each einsum."""
    plan = group.plan
    lines: list[str] = []
    for var, bound in plan.loops:
        if bound > 1:
            lines.append(f"{'  ' * len(lines)}for {var} in 0..{bound - 1}")
    depth = "  " * len(lines)
    if plan.home is not None:
        home = spec.architecture.levels[plan.home].name
        stays = "".join(f"; {name} stays" for name in sorted(plan.residents))
        lines.append(f"{depth}at {home}: {', '.join(sorted(plan.intermediates))}{stays}")
    for einsum, mapped in zip(plan.einsums, group.mapped, strict=True):
        lines.append(f"{depth}{einsum}: {mapped.cycles:,} cycles, {mapped.energy_pj / 1e6:,.4f} uJ each time")
        lines += [f"{depth}  {line}" for line in str(mapped.mapping).splitlines()]
    return "\n".join(lines)


def _as_json(result: CascadeResult) -> dict[str, Any]:
    best, unfused = result.best, result.unfused
    return {
        "objective": result.objective.name,
        "energy_pJ": best.energy_pj,
        "cycles": best.cycles,
        "edp_pJ_cycles": best.energy_pj * best.cycles,
        "optimal": result.optimal,
        "unfused": {"energy_pJ": unfused.energy_pj, "cycles": unfused.cycles,
                    "edp_pJ_cycles": unfused.energy_pj * unfused.cycles},
        "plans": result.plans,
        "seconds": result.seconds,
        "groups": [_group_json(group) for group in best.groups],
    }  # fmt: skip


def _group_json(group: MappedGroup) -> dict[str, Any]:
    return {
        "loops": dict(group.plan.loops),
        "iterations": group.plan.iterations,
        "home": group.plan.home,
        "intermediates": sorted(group.plan.intermediates),
        "residents": sorted(group.plan.residents),
        "load_pJ": group.load_pj,
        "load_cycles": group.load_cycles,
        "energy_pJ": group.energy_pj,
        "cycles": group.cycles,
        "einsums": [
            {
                "einsum": str(einsum),
                "extents": dict(einsum.extents),
                "energy_pJ_per_iteration": mapped.energy_pj,
                "cycles_per_iteration": mapped.cycles,
                "mapping": str(mapped.mapping),
            }
            for einsum, mapped in zip(group.plan.einsums, group.mapped, strict=True)
        ],
    }
