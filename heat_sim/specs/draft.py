"""An architecture as its file gives it, before the energies are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from heat_sim.mapping import LevelConstraints
from heat_sim.specs.constraints import Branch
from heat_sim.specs.cursor import Cursor
from heat_sim.specs.expressions import Value
from heat_sim.specs.storage import StorageDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSpec:
    """What a file says of one component, for energy and area estimators.

    Attributes:
        class_name: Its Timeloop class.
        subclass: What Accelergy calls it; None if it has only a class.
        attributes: Everything written on it or inherited, evaluated.
    """

    class_name: str
    subclass: str | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ArchitectureDraft:
    """What the reading of an architecture has found so far, outermost first.

    Attributes:
        name: What messages and tables call it.
        levels: Storage levels; their meshes are filled in as the nodes below them are read.
        constraints: Level name to what is demanded there.
        spatial_targets: Level name to the name under which mapping files put loops on its mesh.
        nodes: Name of each node to its line.
        components: What the file says of each component.
        parallel: Groups of storages side by side, and where they stand.
        compute: Name of the compute units and where they stand.
        clock_hz: Cycles per second.
        warnings: What looks like a mistake but changes nothing.
    """

    name: str
    levels: list[StorageDraft] = field(default_factory=list)
    constraints: dict[str, LevelConstraints] = field(default_factory=dict)
    spatial_targets: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    components: dict[str, ComponentSpec] = field(default_factory=dict)
    parallel: list[tuple[tuple[Branch, ...], Cursor]] = field(default_factory=list)
    compute: tuple[str, Cursor] | None = None
    clock_hz: float | None = None
    warnings: list[str] = field(default_factory=list)


def clock_of(cycle_seconds: float) -> float:
    """Return the cycles per second; rounded to 12 digits, for 1 / 1e-9 is not 1e9 in binary.

    >>> clock_of(1e-9)
    1000000000.0
    """
    return float(f"{1 / cycle_seconds:.12g}")
