"""What two mapping searches must share to have the same answer, and that answer without names.

Names of tensors, rank variables and levels change no cost, so positions stand for them: an entry of the cache serves
every einsum and architecture of the same structure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping as AbstractMapping
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum
from heat_sim.errors import HeatError, MappingError
from heat_sim.mapper.matmul import as_matmul
from heat_sim.mapper.objective import Objective
from heat_sim.mapper.space import MapSpace
from heat_sim.mapping import LevelConstraints, LevelMapping, Loop, Mapping, check_mapping

_COSTLESS = frozenset({"name", "area_mm2"})
"""Fields of a storage level that change no cost."""

_SOURCES = (
    "einsum.py", "architecture.py", "mapping.py", "vector_op.py", "model/*.py", "mapper/**/*.py", "tensorize/*.py",
    "codesign/network_cascades.py",
    "codesign/network_cost.py",
)  # fmt: skip
"""The files that determine costs and the results of searches."""


@lru_cache(maxsize=1)
def model_version() -> str:
    """Return the hexadecimal SHA-256 of the source files that determine costs and results.

    >>> len(model_version())
    64
    """
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in package.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


# Taken when the code itself is loaded: in a long run the files may change later.
MODEL_VERSION = model_version()


def cache_key(
    space: MapSpace,
    *,
    objective: Objective,
    imperfect: bool = False,
    settings: AbstractMapping[str, object] | None = None,
) -> str:
    """Return 64 hexadecimal digits that are equal only for searches with the same answer, but for names.

    A pairwise contraction counts by the extents of the members of its classes (`as_matmul`), which is more than the
    class sizes: several members of a class may lie along both axes of a mesh, one may not.

    Args:
        space: What is searched.
        objective: What is minimised.
        imperfect: Whether bounds need not divide the extents.
        settings: Everything else that the answer depends on, such as name, budget and seed of the search; JSON values.

    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapper.objective import OBJECTIVES
    >>> from heat_sim.mapper.space import map_space
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"),))
    >>> layers = [("Z[m,n] = A[m,k] * B[k,n]", dict(m=2, n=3, k=5)), ("y[t,o] = x[t,i] * w[o,i]", dict(t=2, o=3, i=5))]
    >>> spaces = [map_space(parse_einsum(text, extents=extents), machine) for text, extents in layers]
    >>> len({cache_key(space, objective=OBJECTIVES["edp"]) for space in spaces})
    1
    """
    structure, variables = _canonical(space.einsum)
    place = {
        "tensors": {tensor.name: position for position, tensor in enumerate(space.einsum.tensors)},
        "rank_vars": {var: position for position, var in enumerate(variables)},
    }
    architecture = space.architecture
    parts = {
        "model": MODEL_VERSION,
        "einsum": structure,
        "compute_energy_pj": architecture.compute_energy_pj,
        "levels": [
            {field.name: getattr(level, field.name) for field in fields(StorageLevel) if field.name not in _COSTLESS}
            for level in architecture.levels
        ],
        "constraints": [
            _positional(space.demand(level), tensors=place["tensors"], rank_vars=place["rank_vars"])
            for level in range(len(architecture.levels))
        ],
        "both_axes": space.both_axes,
        "min_parallelism": space.min_parallelism,
        "residence": None
        if space.residence is None
        else [
            space.residence.level,
            sorted(place["tensors"][name] for name in space.residence.tensors),
            space.residence.reserved_words,
            space.residence.accumulates,
        ],
        "objective": asdict(objective),
        "imperfect": imperfect,
        "settings": dict(settings or {}),
    }
    text = json.dumps(_numbers_alike(parts), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def encode_mapping(mapping: Mapping, einsum: Einsum, architecture: Architecture) -> dict[str, Any]:
    """Return the mapping as JSON values without names; loops of bound 1 are left out.

    Args:
        mapping: The loop nest.
        einsum: Its workload.
        architecture: Its hardware.

    Raises:
        MappingError: It is not a mapping of this einsum on this architecture.

    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", fanout_x=2),))
    >>> einsum = parse_einsum("z[m] = a[m,k] * x[k]", extents={"m": 4, "k": 2})
    >>> nest = Mapping(levels=(LevelMapping(
    ...     level="DRAM", keep=frozenset("axz"), temporal=(Loop(rank_var="m", bound=4),),
    ...     spatial=(Loop(rank_var="k", bound=2, dimension="x"),)),))
    >>> encode_mapping(nest, einsum, machine)
    {'levels': [{'keep': [0, 1, 2], 'loops': [[0, 4, 'temporal', None], [1, 2, 'x', None]]}]}
    """
    check_mapping(einsum, architecture, mapping)
    place = {var: position for position, var in enumerate(_canonical(einsum)[1])}
    return {
        "levels": [
            {
                "keep": [position for position, tensor in enumerate(einsum.tensors) if tensor.name in level.keep],
                "loops": [
                    [place[loop.rank_var], loop.bound, loop.dimension, loop.residual]
                    for loop in level.loops
                    if loop.bound > 1
                ],
            }
            for level in mapping.levels
        ]
    }


def decode_mapping(value: AbstractMapping[str, Any], einsum: Einsum, architecture: Architecture) -> Mapping:
    """Return the mapping that `encode_mapping` gave for an einsum and an architecture of the same structure.

    Args:
        value: JSON values.
        einsum: The workload whose names it gets.
        architecture: The hardware whose names it gets.

    Raises:
        MappingError: It is not a mapping of this einsum on this architecture.
        InfeasibleError: It does not fit the meshes.

    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"),))
    >>> einsum = parse_einsum("y[i] = w[i]", extents={"i": 4})
    >>> print(decode_mapping({"levels": [{"keep": [0, 1], "loops": [[0, 4, "temporal", None]]}]}, einsum, machine))
    DRAM [w, y]
    | for i in 0..3
    """
    variables = _canonical(einsum)[1]
    try:
        levels: list[LevelMapping] = []
        for storage, here in zip(architecture.levels, value["levels"], strict=True):
            loops = [
                Loop(rank_var=variables[position], bound=bound, dimension=dimension, residual=residual)
                for position, bound, dimension, residual in here["loops"]
            ]
            levels.append(
                LevelMapping(
                    level=storage.name,
                    keep=frozenset(einsum.tensors[position].name for position in here["keep"]),
                    temporal=tuple(loop for loop in loops if loop.dimension == "temporal"),
                    spatial=tuple(loop for loop in loops if loop.dimension != "temporal"),
                )
            )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise MappingError(
            f"cached mapping of {einsum.name}: not in the form of encode_mapping ({error!r}). Search anew."
        ) from None
    mapping = Mapping(levels=tuple(levels))
    check_mapping(einsum, architecture, mapping)
    return mapping


def canonical_rank_vars(einsum: Einsum) -> tuple[str, ...]:
    """Return the rank variables in the order of their positions in a key and in an encoded mapping."""
    return _canonical(einsum)[1]


def _canonical(einsum: Einsum) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the einsum's structure, and its rank variables in the order of their positions there.

    In a pairwise contraction of plain tensors, neither the order of a tensor's ranks nor rank variables of extent 1
    change a cost; the latter come last, so that they shift no position.
    """
    try:
        classes = as_matmul(einsum).members
    except HeatError:
        used = (var for tensor in einsum.tensors for var in tensor.rank_vars)
        variables = tuple(dict.fromkeys((*used, *einsum.rank_vars)))
        place = {var: position for position, var in enumerate(variables)}
        return {
            "extents": [einsum.extent(var) for var in variables],
            "projections": [
                [[[place[var], coefficient] for var, coefficient in rank] for rank in tensor.projection]
                for tensor in einsum.tensors
            ],
        }, variables
    members = [
        sorted((var for var in group if einsum.extent(var) > 1), key=lambda var: -einsum.extent(var))
        for group in classes
    ]
    ones = (var for var in einsum.rank_vars if einsum.extent(var) == 1)
    return {"classes": [[einsum.extent(var) for var in group] for group in members]}, (
        *(var for group in members for var in group),
        *ones,
    )


def _positional(
    demand: LevelConstraints, *, tensors: AbstractMapping[str, int], rank_vars: AbstractMapping[str, int]
) -> dict[str, object]:
    """Return every field of the constraints with positions for names; entries sorted where their order says nothing."""
    positional: dict[str, object] = {}
    for field in fields(LevelConstraints):
        value = getattr(demand, field.name)
        if isinstance(value, frozenset):
            value = sorted(tensors[name] for name in value)
        elif isinstance(value, AbstractMapping):
            value = sorted([rank_vars[name], bound] for name, bound in value.items())
        elif isinstance(value, tuple):
            value = [rank_vars[name] for name in value]
        positional[field.name] = value
    return positional


def _numbers_alike(value: object) -> object:
    """Return JSON values in which equal numbers look alike: 2 for 2.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, AbstractMapping):
        return {key: _numbers_alike(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers_alike(entry) for entry in value]
    return value
