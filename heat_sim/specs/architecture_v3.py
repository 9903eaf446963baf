"""Timeloop v0.3 architectures: a tree with one chain of subtrees, outermost first.

``X[0..n-1]`` multiplies instances. meshX and meshY are totals over the chip, so the fan-out of a level
is the quotient of its child's mesh and its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from heat_sim.specs.cursor import Cursor, parse_number
from heat_sim.specs.draft import ArchitectureDraft, ComponentSpec, clock_of
from heat_sim.specs.expressions import Value
from heat_sim.specs.storage import (
    READ,
    REFUSED,
    Attribute,
    check_names,
    draft_storage,
    is_compute,
    is_storage,
)  # fmt: skip

NODE_KEYS = ("name", "attributes", "local", "subtree")
LOCAL_KEYS = ("name", "class", "attributes", "subclass")

_COUNTED = re.compile(r"(?P<name>[^\[\]]+)\[0\.\.(?P<last>\d{1,9})\]")
_NULLS = ("", "null", "~", "inf", ".inf")


def read_architecture_v3(section: Cursor) -> ArchitectureDraft:
    """Return the draft of a v0.3 ``architecture:`` section.

    >>> from heat_sim.specs.cursor import open_spec
    >>> _, sections = open_spec("tests/golden/timeloop/09_spatial_xy_reduction/arch.yaml")
    >>> draft = read_architecture_v3(sections["architecture"])
    >>> [(storage.level.name, storage.level.fanout) for storage in draft.levels]
    [('DRAM', 1), ('GLB', 32), ('RF', 1)]
    """
    keys = section.table(("version", "subtree"), required=("version", "subtree"))
    if "version" in keys:
        keys["version"].version("0.3")
    draft = ArchitectureDraft(name="architecture")
    meshes: list[_Mesh] = []
    inherited: dict[str, Value] = {}
    place, instances, first = keys.get("subtree"), 1, True
    while place is not None:
        node = _only_node(place)
        if node is None:
            break
        entries = node.table(NODE_KEYS, required=("name",))
        name, count = _counted_name(entries["name"]) if "name" in entries else ("architecture", 1)
        instances *= count
        if first:
            draft.name, first = name, False
        if "attributes" in entries:
            inherited |= _node_attributes(entries["attributes"], draft)
        for item in entries["local"].items() if "local" in entries else ():
            mesh = _read_local(item, instances, draft, inherited)
            if mesh is not None:
                meshes.append(mesh)
        place = entries.get("subtree")
    if draft.compute is None:
        section.refuse(
            "no compute units",
            got="none",
            expected="a last local entry whose class has mac or compute in it",
            remedy="Add it.",
        )
    names = [*(storage.level.name for storage in draft.levels), *(draft.compute or ())[:1]]
    if repeated := sorted(str(name) for name, count in Counter(names).items() if count > 1):
        section.refuse("name used twice", got=", ".join(repeated), expected="unique names", remedy="Rename one.")
    _derive_fanouts(draft, meshes)
    return draft


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mesh:
    """All copies of a component on the chip."""

    x: int
    y: int
    at: Cursor


def _only_node(place: Cursor) -> Cursor | None:
    nodes = place.items()
    if len(nodes) != 1:
        place.refuse("not one chain of subtrees", got=f"{len(nodes)} nodes side by side", expected="one",
                     remedy="Give each level one subtree.")  # fmt: skip
    return nodes[0] if nodes else None


def _counted_name(at: Cursor) -> tuple[str, int]:
    """Read ``PE[0..15]`` as (PE, 16)."""
    text = at.word() or "architecture"
    if match := _COUNTED.fullmatch(text):
        return match["name"], int(match["last"]) + 1
    if "[" in text or "]" in text:
        at.refuse("not a count of instances", expected="a name like PE[0..15]", remedy="Start at 0.")
    return text.partition("[")[0] or text, 1


def _node_attributes(section: Cursor, draft: ArchitectureDraft) -> dict[str, Value]:
    """Read what a tree node hands to estimators; Timeloop hands nothing down to the storages itself."""
    entries = section.table()
    draft.warnings += check_names(entries)
    for key, at in entries.items():
        if key == "global_cycle_seconds":
            if seconds := at.number(minimum=0):
                draft.clock_hz = clock_of(seconds)
        elif key in READ and key != "technology":
            at.refuse("attribute of a tree node", got=key, expected="technology, global_cycle_seconds or free ones",
                      remedy="Write it on the storage itself.")  # fmt: skip
    return {key: _attribute(at).value for key, at in entries.items()}


def _read_local(item: Cursor, instances: int, draft: ArchitectureDraft, inherited: Mapping[str, Value]) -> _Mesh | None:
    entries = item.table(LOCAL_KEYS, required=("name", "class"))
    if "name" not in entries:
        return None
    name, count = _counted_name(entries["name"])
    node = item.renamed(name)
    if draft.compute is not None:
        node.refuse("a component after the compute units", got=name, expected="the compute units last",
                    remedy="Move it up.")  # fmt: skip
        return None
    section = entries["attributes"].renamed(f"{name}.attributes").table() if "attributes" in entries else {}
    # Timeloop takes word-bits for word_bits.
    written = {key.replace("-", "_"): at for key, at in section.items()}
    draft.warnings += check_names(written)
    attributes = {key: _attribute(at) for key, at in written.items() if key not in REFUSED}
    class_name = (entries["class"].word() if "class" in entries else None) or ""
    draft.nodes.setdefault(name, item.node.line)
    draft.components[name] = ComponentSpec(
        class_name=class_name,
        subclass=entries["subclass"].word() if "subclass" in entries else None,
        attributes={**inherited, **{key: attribute.value for key, attribute in attributes.items()}},
    )
    if is_storage(class_name):
        if {"datawidth", "word_bits"} <= set(attributes):
            node.refuse("the word width is given twice", got="datawidth and word_bits", expected="one of them",
                        remedy="Delete one.")  # fmt: skip
        if "width" in attributes and "block_size" not in attributes:
            attributes["width"].at.refuse("width without block_size",
                                          expected="both, since releases read it differently",
                                          remedy="Add block_size, the words of one access.")  # fmt: skip
        storage = draft_storage(name, class_name=class_name, attributes=attributes, at=node)
        if (instances * count) % storage.cluster_size:
            node.refuse("instances do not fill whole rows", got=f"{instances * count} instances",
                        expected=f"a multiple of the cluster size {storage.cluster_size}",
                        remedy="Correct width or block_size.")  # fmt: skip
        draft.levels.append(storage)
    elif is_compute(class_name):
        draft.compute = (name, node)
    elif class_name:
        entries["class"].renamed(f"{name}.class").refuse(
            "unknown class", expected="a name with DRAM, SRAM, regfile, smartbuffer, storage, mac or compute in it",
            remedy="Correct the class.",
        )  # fmt: skip
        return None
    return _mesh(written, instances * count, node)


def _attribute(at: Cursor) -> Attribute:
    """v0.3 has no expressions: a number, null, or a word."""
    if at.node.kind != "scalar":
        at.refuse("not a value", expected="a number or a word", remedy="Write one value.")
    text = at.node.text.strip()
    number = parse_number(text)
    if number is None and not at.node.quoted and text in _NULLS:
        return Attribute(value=None, at=at)
    return Attribute(value=text if number is None else number, at=at)


def _mesh(written: dict[str, Cursor], instances: int, node: Cursor) -> _Mesh:
    """Complete the mesh as Timeloop does: all along x unless meshX or meshY says otherwise."""
    x = written["meshX"].integer(minimum=1) if "meshX" in written else None
    y = written["meshY"].integer(minimum=1) if "meshY" in written else None
    if x is None:
        x = instances // y if y is not None else instances
    if y is None:
        y = instances // x
    if x * y != instances:
        node.refuse("mesh and instances differ", got=f"meshX * meshY = {x} * {y}", expected=f"{instances} instances",
                    remedy="Correct meshX, meshY or the [0..n-1] of the names.")  # fmt: skip
    return _Mesh(x=x, y=y, at=node)


def _derive_fanouts(draft: ArchitectureDraft, meshes: list[_Mesh]) -> None:
    for place, (storage, parent, child) in enumerate(zip(draft.levels, meshes, meshes[1:], strict=False)):
        if place == 0 and parent.x * parent.y > 1:
            parent.at.refuse("more than one outermost storage", got=f"{parent.x} x {parent.y}", expected="one",
                             remedy="Move the [0..n-1] to a subtree below it.")  # fmt: skip
        if child.x % parent.x or child.y % parent.y:
            child.at.refuse(
                "mesh is no multiple of the level above",
                got=f"{child.x} x {child.y}",
                expected=f"multiples of {parent.x} x {parent.y}",
                remedy="Correct meshX or meshY.",
            )
        level = replace(storage.level, fanout_x=max(1, child.x // parent.x), fanout_y=max(1, child.y // parent.y))
        draft.levels[place] = replace(storage, level=level)
        draft.spatial_targets[level.name] = level.name
