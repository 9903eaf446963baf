"""What of a machine may vary, by name: what it is in a given machine, and the machine with another value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.specs import ArchitectureSpec

SIZES = ("depth", "width")
"""Rows of one instance, and bits of a row: what energy and area depend on."""

BANDWIDTHS = ("read_bandwidth", "write_bandwidth", "shared_bandwidth")
"""Words per cycle of one instance; they change neither energy nor area."""

MESH_SIDES = {"meshX": "fanout_x", "meshY": "fanout_y"}
"""Instances along one side of a mesh; a mesh has the name that mapping files give it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gene:
    """One number of a machine that may vary.

    Attributes:
        owner: Name of a storage level, or of a mesh as mapping files name it.
        attribute: One of `SIZES` or `BANDWIDTHS` of a level, or of `MESH_SIDES`.
        values: What it may be, ascending: rows, bits, words per cycle, or instances.
    """

    owner: str
    attribute: str
    values: tuple[float, ...]

    @property
    def name(self) -> str:
        """As range files write it.

        >>> Gene(owner="PE", attribute="meshX", values=(2, 4)).name
        'PE.meshX'
        """
        return f"{self.owner}.{self.attribute}"


def rows(level: StorageLevel) -> int | None:
    """Return the rows of one instance; None if it is unbounded or does not hold whole rows.

    >>> rows(StorageLevel(name="GLB", capacity_words=65536, words_per_access=32))
    2048
    """
    if level.capacity_words is None or level.capacity_words % level.words_per_access:
        return None
    return level.capacity_words // level.words_per_access


def width_bits(level: StorageLevel) -> int:
    """Return the bits that one access of one instance moves.

    >>> width_bits(StorageLevel(name="GLB", word_bits=8, words_per_access=32))
    256
    """
    return level.words_per_access * level.word_bits


def level_of_mesh(spec: ArchitectureSpec, mesh: str) -> str | None:
    """Return the name of the level whose children a mesh arranges; None if there is no such mesh.

    >>> from heat_sim.specs import load_architecture
    >>> level_of_mesh(load_architecture(["arch_specs/simba_l/arch.yaml", "arch_specs/simba_l/ert.yaml"]), "PE")
    'GlobalBuffer'
    """
    return next((level for level, name in spec.spatial_targets.items() if name == mesh), None)


def value_in(spec: ArchitectureSpec, *, owner: str, attribute: str) -> float | None:
    """Return the value that a machine has; None if it has none: no whole rows, no limit, no such owner.

    >>> from heat_sim.specs import load_architecture
    >>> spec = load_architecture(["arch_specs/simba_l/arch.yaml", "arch_specs/simba_l/ert.yaml"])
    >>> [value_in(spec, owner=owner, attribute=attribute)
    ...  for owner, attribute in (("GlobalBuffer", "depth"), ("PE", "meshX"), ("DRAM", "shared_bandwidth"))]
    [2048, 4, 25.6]
    """
    named = level_of_mesh(spec, owner) if attribute in MESH_SIDES else owner
    level = next((level for level in spec.architecture.levels if level.name == named), None)
    if level is None:
        return None
    if attribute in SIZES:
        return rows(level) if attribute == "depth" else width_bits(level)
    value: float | None = getattr(level, MESH_SIDES.get(attribute) or f"{attribute}_words_per_cycle")
    return value


def resized(spec: ArchitectureSpec, values: Mapping[tuple[str, str], float]) -> Architecture:
    """Return the architecture with other values; energies and areas are left as they were.

    A level with another width keeps its rows: its capacity changes with the width.

    Args:
        spec: The machine.
        values: (Owner, attribute) to value, for genes that the machine has.

    >>> from heat_sim.specs import load_architecture
    >>> spec = load_architecture(["arch_specs/simba_l/arch.yaml", "arch_specs/simba_l/ert.yaml"])
    >>> wide = resized(spec, {("GlobalBuffer", "width"): 512, ("PE", "meshX"): 8})
    >>> wide.levels[1].capacity_words, wide.levels[1].words_per_access, wide.peak_ops_per_cycle
    (131072, 64, 2048)
    """
    levels = []
    for level in spec.architecture.levels:
        own = {attribute: value for (owner, attribute), value in values.items() if owner == level.name}
        depth = own.get("depth", rows(level))
        words = int(own["width"]) // level.word_bits if "width" in own else level.words_per_access
        capacity = level.capacity_words if depth is None else int(depth) * words
        changes: dict[str, object] = {"words_per_access": words, "capacity_words": capacity}
        changes |= {f"{name}_words_per_cycle": float(own[name]) for name in BANDWIDTHS if name in own}
        mesh = spec.spatial_targets.get(level.name)
        changes |= {field: int(values[mesh, side]) for side, field in MESH_SIDES.items()
                    if mesh is not None and (mesh, side) in values}  # fmt: skip
        levels.append(replace(level, **changes))  # type: ignore[arg-type]  # the fields are looked up by name
    return replace(spec.architecture, levels=tuple(levels))


def count_of(genes: tuple[Gene, ...]) -> int:
    """Return the number of machines that the genes span.

    >>> count_of((Gene(owner="PE", attribute="meshX", values=(2, 4)), Gene(owner="PE", attribute="meshY", values=(1,))))
    2
    """
    return math.prod(len(gene.values) for gene in genes)
