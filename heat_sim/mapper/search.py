"""The best mapping of one einsum: the way in to every exact search."""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence
from dataclasses import replace

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.errors import HeatError, InfeasibleError, describe
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.diagnosis import explain_infeasible
from heat_sim.mapper.general import search_general
from heat_sim.mapper.matmul import as_matmul, is_matmul
from heat_sim.mapper.matmul_problem import speaks_of_classes
from heat_sim.mapper.matmul_search import search_matmul
from heat_sim.mapper.objective import OBJECTIVES, Objective, parse_objective
from heat_sim.mapper.padding import padded_spaces
from heat_sim.mapper.result import MappedEinsum, MappingResult, front_of
from heat_sim.mapper.space import MapSpace, map_space
from heat_sim.mapper.stored import stored_key, stored_result, to_stored
from heat_sim.mapping import LevelConstraints
from heat_sim.model.nest import check_countable


def map_einsum(
    einsum: Einsum,
    architecture: Architecture,
    *,
    objective: Objective | str = "edp",
    constraints: AbstractMapping[str, LevelConstraints] | None = None,
    both_axes: bool = False,
    min_parallelism: float = 0.0,
    padded: bool = False,
    budget: int | None = None,
    cache: MappingCache | None = None,
) -> MappingResult:
    """Return the best mapping of the space, proven to be the best unless the budget ends the search.

    Costs are those of the model without link transfers.

    Args:
        einsum: Any; contractions of two plain tensors take milliseconds, others the general search.
        architecture: The hardware.
        objective: What to minimise; a name as in `parse_objective`.
        constraints: Demands per level; the outermost level keeps everything unless told otherwise.
        both_axes: Whether a rank variable may run along x and y of one mesh.
        min_parallelism: Share of the compute units that must be used at least.
        padded: Whether extents may be rounded up (`padded_spaces`); the mapping is then one of `result.best.einsum`.
        budget: Steps of the search at the most; None is some seconds.
        cache: Where results are looked up and kept.

    Raises:
        SpecError: A constraint or the objective names something that is not there.
        InfeasibleError: No mapping of the space is valid; the message says which level and tensor make it so.

    >>> from heat_sim.architecture import StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=100.0, update_energy_pj=100.0),
    ...     StorageLevel(name="RF", capacity_words=48, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0)))
    >>> result = map_einsum(parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents=dict(m=4, n=4, k=4)), machine)
    >>> result.optimal, result.best.report.level("DRAM").tensors["A"].reads  # all fits: each word is read once
    (True, 16)
    """
    if isinstance(objective, str):
        objective = parse_objective(objective)
    check_countable(einsum)
    space = map_space(
        einsum, architecture, constraints=constraints, both_axes=both_axes, min_parallelism=min_parallelism
    )
    key = "" if cache is None else stored_key(space, objective=objective, padded=padded, budget=budget)
    if cache is not None and (value := cache.get(key)) is not None:
        result = stored_result(value, space, objective=objective)
    else:
        result = _search_padded(space, objective, budget) if padded else search_space(space, objective, budget=budget)
        if cache is not None:
            cache.put(key, to_stored(result))
    return replace(result, paddings=tuple(padded_spaces(space))) if padded else result


def search_space(
    space: MapSpace, objective: Objective, *, budget: int | None = None, known: Sequence[MappedEinsum] = ()
) -> MappingResult:
    """Return the best mapping of a space by the search that suits it.

    Args:
        space: What to search.
        objective: What to minimise.
        budget: Steps at the most; None is the search's own.
        known: Mappings, of this space or another, that help to set branches aside; the result may be one of them.

    Raises:
        InfeasibleError: No mapping is valid, with the reason.
    """
    try:
        return _search(space, objective, budget=budget, known=known)
    except InfeasibleError:
        raise explain_infeasible(space, is_feasible=_is_feasible) from None


def _search(
    space: MapSpace, objective: Objective, *, budget: int | None = None, known: Sequence[MappedEinsum] = ()
) -> MappingResult:
    limit = {} if budget is None else {"budget": budget}
    networks_cost = any(level.hop_energy_pj or level.router_energy_pj for level in space.architecture.levels)
    if is_matmul(space.einsum) and not networks_cost and speaks_of_classes(space, as_matmul(space.einsum)):
        return search_matmul(space, objective=objective, known=known, **limit)
    if space.residence is not None:
        raise HeatError(
            describe(f"einsum {space.einsum.name}", "only contractions of two plain tensors can be fused",
                     got=space.einsum, expected="a statement like Z[m,n] = A[m,k] * B[k,n], no network energies",
                     remedy="Map it without fusion.")
        )  # fmt: skip
    return search_general(space, objective=objective, **limit)


def _is_feasible(space: MapSpace) -> bool:
    try:
        _search(space, OBJECTIVES["cycles"])
    except InfeasibleError:
        return False
    return True


def _search_padded(space: MapSpace, objective: Objective, budget: int | None) -> MappingResult:
    """Return the best over all paddings."""
    parts: list[MappingResult] = []
    front: tuple[MappedEinsum, ...] = ()
    for candidate in padded_spaces(space):
        try:
            part = _search(candidate, objective, budget=budget, known=front)
        except InfeasibleError:
            continue
        parts.append(part)
        front = front_of([*front, *part.front], objective=objective)
    if not parts:
        raise explain_infeasible(space, is_feasible=_is_feasible)
    return replace(
        parts[0],
        best=min(front, key=lambda each: objective.value(each.energy_pj, each.cycles)),
        front=front,
        lower_bound=min(part.lower_bound for part in parts),
        ran_through=all(part.ran_through for part in parts),
        costed=sum(part.costed for part in parts),
        pruned=sum(part.pruned for part in parts),
        seconds=sum(part.seconds for part in parts),
        space=space,
    )
