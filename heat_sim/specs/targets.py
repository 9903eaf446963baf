"""Directives with a target and a type: those of mapping files, and those of lists of constraints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from heat_sim.specs.cursor import Cursor, suggest
from heat_sim.specs.directives import (
    DATASPACE_KEYS,
    LOOP_KEYS,
    DataspaceDirective,
    LoopDirective,
    Version,
    read_dataspaces,
    read_loops,
)  # fmt: skip

DATASPACE_TYPES: dict[Version, tuple[str, ...]] = {"0.3": ("bypass", "datatype"), "0.4": ("dataspace",)}
"""What a directive with keep and bypass is called: the first is what we write, the second what the mapper writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What the directives on an architecture may name.

    Attributes:
        version: Of the format.
        storages: Names of the storage levels.
        meshes: Name that carries spatial loops to the level whose children they run over.
        nodes: Every name of the architecture; those without a mesh take spatial loops of bound 1 only.
    """

    version: Version
    storages: Collection[str]
    meshes: Mapping[str, str]
    nodes: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """One directive: exactly one of `temporal`, `spatial` and `dataspaces` is there.

    Attributes:
        level: The storage level it is about; for spatial loops the one that has the mesh.
        temporal: Loops in time.
        spatial: Loops over the children of the level.
        dataspaces: What it keeps.
    """

    level: str
    temporal: LoopDirective | None = None
    spatial: LoopDirective | None = None
    dataspaces: DataspaceDirective | None = None


def read_directive(item: Cursor, targets: Targets, *, other_types: tuple[str, ...] = ()) -> Directive | None:
    """Return what one entry of a list of directives says; None if nothing, or with a problem recorded.

    Args:
        item: The entry.
        targets: What it may name.
        other_types: Types that the caller reads itself, for messages.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> _, sections = open_spec_text("mapping: [{target: RF, type: dataspace, keep: [A]}]", source="demo")
    >>> targets = Targets(version="0.4", storages=["RF"], meshes={})
    >>> read_directive(sections["mapping"].items()[0], targets).dataspaces.keep
    frozenset({'A'})
    """
    kind, target = item.peek("type"), item.peek("target")
    at = item.renamed(f"{item.name} {kind} at {target}" if kind and target else item.name)
    holding = DATASPACE_TYPES[targets.version]
    types = ("temporal", "spatial", *holding, *other_types)
    if kind and kind not in types:
        at.refuse("unknown type of directive", got=kind, expected=f"one of {', '.join(types)}",
                  remedy=f"Correct it; the architecture is version {targets.version}.{suggest(kind, types)}",
                  )  # fmt: skip
        return None
    keys = DATASPACE_KEYS if kind in holding else LOOP_KEYS
    entries = at.table(("target", "type", *keys), required=("target", "type"))
    if any(entries[key].word() is None for key in ("target", "type") if key in entries) or not (kind and target):
        return None
    if kind == "spatial":
        loops = read_loops(entries, at, spatial=True, version=targets.version)
        if target in targets.meshes:
            return Directive(level=targets.meshes[target], spatial=loops)
        if target not in targets.nodes or not loops.is_idle:
            _refuse_target(at, target, "spatial loops where there is no mesh", targets.meshes,
                           remedy=f"Give {target} a mesh, or correct the target.")  # fmt: skip
        return None
    if target not in targets.storages:
        _refuse_target(at, target, "not a storage level", targets.storages, remedy="Correct the target.")
        return None
    if kind == "temporal":
        return Directive(level=target, temporal=read_loops(entries, at, spatial=False, version=targets.version))
    return Directive(level=target, dataspaces=read_dataspaces(entries, at))


def _refuse_target(at: Cursor, target: str, what: str, known: Collection[str], *, remedy: str) -> None:
    at.refuse(what, got=target, expected=f"one of {', '.join(known) or '(no node has a mesh)'}",
              remedy=f"{remedy}{suggest(target, known)}")  # fmt: skip
