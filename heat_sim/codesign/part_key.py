"""What tells a part of a network on one machine from every other part on every other machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

from heat_sim.einsum import Cascade
from heat_sim.mapper.cache import MODEL_VERSION
from heat_sim.mapper.layer import Machine
from heat_sim.tensorize.factorization import Factorization


def part_key(machine: Machine, what: Sequence[object]) -> str:
    """Return a hexadecimal SHA-256 of the machine, its settings, the model's version, and the part.

    Args:
        machine: The hardware and how it is searched.
        what: A kind of part, then what it consists of: factorizations, cascades, texts and numbers.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> toy = Machine(architecture=Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=9.0, update_energy_pj=9.0),)))
    >>> part_key(toy, ("layer", 8)) == part_key(toy, ("layer", 9))
    False
    """
    unit = machine.vector_unit
    parts = {
        "network part": [_as_json(each) for each in what],
        "model": MODEL_VERSION,
        "architecture": asdict(machine.architecture),
        "constraints": {level: asdict(demand) for level, demand in machine.constraints.items()},
        "vector_unit": None if unit is None else asdict(unit),
        "settings": [machine.budget, machine.fuse, machine.gap, machine.merged],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=sorted).encode()).hexdigest()


def _as_json(what: object) -> object:
    if isinstance(what, Factorization):
        return what.to_json()
    if isinstance(what, Cascade):
        return [str(what), [einsum.extents for einsum in what.einsums]]
    return what
