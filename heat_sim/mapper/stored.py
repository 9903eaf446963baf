"""Mapping results as JSON values without names, for the cache."""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from dataclasses import replace
from typing import Any

from heat_sim.mapper.cache_key import cache_key, canonical_rank_vars, decode_mapping, encode_mapping
from heat_sim.mapper.objective import Objective
from heat_sim.mapper.result import MappedEinsum, MappingResult
from heat_sim.mapper.space import MapSpace


def stored_key(space: MapSpace, *, objective: Objective, padded: bool, budget: int | None) -> str:
    """Return the key of a search."""
    return cache_key(space, objective=objective, imperfect=padded, settings={"budget": budget})


def to_stored(result: MappingResult) -> dict[str, Any]:
    """Return a result as JSON values."""
    names = canonical_rank_vars(result.space.einsum)
    return {
        "front": [
            {
                "extents": [dict(each.einsum.extents)[var] for var in names],
                "mapping": encode_mapping(each.mapping, each.einsum, each.architecture),
                "energy_pj": each.energy_pj,
                "cycles": each.cycles,
            }
            for each in dict.fromkeys((result.best, *result.front))
        ],
        "of_front": len(result.front),
        "lower_bound": result.lower_bound,
        "ran_through": result.ran_through,
        "costed": result.costed,
        "pruned": result.pruned,
        "seconds": result.seconds,
    }


def stored_result(value: AbstractMapping[str, Any], space: MapSpace, *, objective: Objective) -> MappingResult:
    """Return the result of a search of an einsum that is alike but for names; seconds are those of the search."""
    names = canonical_rank_vars(space.einsum)
    found: list[MappedEinsum] = []
    for each in value["front"]:
        extents = dict(space.einsum.extents) | dict(zip(names, each["extents"], strict=True))
        einsum = replace(space.einsum, extents=tuple(extents.items()))
        found.append(
            MappedEinsum(
                einsum=einsum,
                architecture=space.architecture,
                mapping=decode_mapping(each["mapping"], einsum, space.architecture),
                energy_pj=each["energy_pj"],
                cycles=each["cycles"],
            )
        )
    front = sorted(found, key=lambda each: each.cycles)[: value["of_front"]]
    return MappingResult(
        objective=objective,
        best=found[0],
        front=tuple(front),
        lower_bound=value["lower_bound"],
        ran_through=value["ran_through"],
        costed=value["costed"],
        pruned=value["pruned"],
        seconds=value["seconds"],
        space=space,
    )
