"""Timeloop v0.4 architectures: a flat list of tagged nodes, outermost first.

A mesh multiplies its node and everything after it, so it is the fan-out of the storage before it.
A second mesh with no storage in between becomes a virtual level, named as Timeloop's own helper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from heat_sim.architecture import StorageLevel
from heat_sim.errors import SpecError
from heat_sim.specs.constraints import Branch, add_directive
from heat_sim.specs.cursor import MAX_INTEGER, Cursor, parse_number
from heat_sim.specs.directives import DATASPACE_KEYS, LOOP_KEYS, read_dataspaces, read_loops
from heat_sim.specs.draft import ArchitectureDraft, ComponentSpec, clock_of
from heat_sim.specs.expressions import Value, evaluate_expression
from heat_sim.specs.storage import (
    READ,
    REFUSED,
    Attribute,
    StorageDraft,
    check_names,
    draft_storage,
    is_compute,
    is_storage,
)  # fmt: skip
from heat_sim.specs.targets import Directive

CONTAINER_KEYS = ("name", "attributes", "spatial", "constraints")
COMPONENT_KEYS = ("name", "class", "attributes", "spatial", "constraints", "subclass", "required_actions",
                  "area_scale", "energy_scale", "enabled")  # fmt: skip
"""The last five change nothing that is computed here: energies come from the ERT alone."""

NOT_INHERITED = ("multiple_buffering", "cluster_size", "min_utilization", "datawidth", "meshX", "meshY")
"""Attributes of a Container that Timeloop does not hand to the storages after it."""

_ELSEWHERE = {
    **dict.fromkeys(READ, "Move it into attributes."),
    **dict.fromkeys(("sparse_optimizations",), "Delete it; it is not modelled."),
    "subtree": "That is v0.3; convert the file, or set version to 0.3.",
}
_CONSTANTS: dict[str, Value] = {
    "": None, "null": None, "~": None, "inf": math.inf, ".inf": math.inf,
    "true": True, "True": True, "yes": True, "false": False, "False": False, "no": False,
}  # fmt: skip


def read_value(at: Cursor, *, scope: Mapping[str, Value]) -> Attribute | None:
    """Return the value of a scalar: plain text is an expression, quoted text a number or a word.

    None, with a problem recorded, if it has no value.

    >>> from heat_sim.specs.yaml_nodes import parse_yaml
    >>> node, problems = parse_yaml("2**4 + rows", source="demo")
    >>> read_value(Cursor(node=node, name="depth", source="demo", problems=problems), scope={"rows": 2}).value
    18
    """
    if at.node.kind != "scalar":
        at.refuse("not a value", expected="a number or a word", remedy="Write one value.")
        return None
    text = at.node.text.strip()
    number = parse_number(text)
    if number is not None or at.node.quoted:
        return Attribute(value=text if number is None else number, at=at)
    if text in _CONSTANTS:
        return Attribute(value=_CONSTANTS[text], at=at)
    try:
        return Attribute(value=evaluate_expression(text, scope=scope), at=at)
    except SpecError as error:
        at.refuse(f"not an expression: {error}", expected="numbers, names in scope, + - * / // % ** << >> ( )",
                  remedy="Correct it, or put plain words in quotes.")  # fmt: skip
        return None


def read_variables(section: Cursor | None) -> dict[str, Value]:
    """Return the values of a ``variables:`` section, each computed from the ones above it."""
    scope: dict[str, Value] = {}
    if section is not None:
        for name, at in section.table().items():
            if name == "version":
                at.version("0.4")
            elif (attribute := read_value(at, scope=scope)) is not None:
                scope[name] = attribute.value
    return scope


def read_architecture_v4(section: Cursor, *, variables: Mapping[str, Value]) -> ArchitectureDraft:
    """Return the draft of a v0.4 ``architecture:`` section.

    >>> from heat_sim.specs.cursor import open_spec
    >>> _, sections = open_spec("arch_specs/simba_l/arch.yaml")
    >>> draft = read_architecture_v4(sections["architecture"], variables={})
    >>> [storage.level.name for storage in draft.levels][:2]
    ['DRAM', 'GlobalBuffer']
    """
    keys = section.table(("version", "nodes"), required=("nodes",))
    if "version" in keys:
        keys["version"].version("0.4")
    draft = ArchitectureDraft(name="architecture")
    if "nodes" in keys:
        _Walk(draft=draft, scope=dict(variables)).read_all(keys["nodes"])
    if draft.compute is None and "nodes" in keys:
        section.refuse(
            "no compute units",
            got="none",
            expected="a last !Component whose class has mac or compute in it",
            remedy="Add it.",
        )
    return draft


@dataclass(slots=True, kw_only=True)
class _Walk:
    """The nodes read from the outside in.

    Attributes:
        draft: What they have given so far.
        scope: Names that expressions may use.
        inherited: Attributes that Containers hand to the components after them.
        instances: Copies of a component at this place.
        passing: Inside a branch of a !Parallel, the data spaces that pass it by without a storage.
    """

    draft: ArchitectureDraft
    scope: dict[str, Value]
    inherited: dict[str, Attribute] = field(default_factory=dict)
    instances: int = 1
    passing: set[str] | None = None

    def read_all(self, nodes: Cursor) -> None:
        for node in nodes.items():
            self.read(node.renamed(node.peek("name") or node.name))

    def read(self, node: Cursor) -> None:
        """Read one node; brackets vanish."""
        match node.node.tag:
            case "!Component" | "!Container":
                if self.draft.compute is None:
                    self._read_leaf(node)
                else:
                    node.refuse("a node after the compute units", got=node.name, expected="the compute units last",
                                remedy="Move it up.")  # fmt: skip
            case "!Hierarchical" | "!Pipelined":
                if "nodes" in (inner := node.table(("nodes", "name"), required=("nodes",))):
                    self.read_all(inner["nodes"])
            case "!Parallel":
                self._read_parallel(node)
            case "!Nothing":
                pass
            case _:
                node.refuse("node without a tag", got="no tag", expected="!Component, !Container or !Hierarchical",
                            remedy="Add the tag after the dash.")  # fmt: skip

    def _read_parallel(self, node: Cursor) -> None:
        """Read the branches one after the other; what each bypasses is known when all constraints are."""
        inner = node.table(("nodes", "name"), required=("nodes",))
        if self.passing is not None:
            node.refuse("a !Parallel inside a !Parallel", got=node.name, expected="one at a time",
                        remedy="Flatten them.")  # fmt: skip
            return
        branches: list[Branch] = []
        for branch in inner["nodes"].items() if "nodes" in inner else ():
            first, self.passing = len(self.draft.levels), set()
            self.read(branch.renamed(branch.peek("name") or branch.name))
            names = tuple(storage.level.name for storage in self.draft.levels[first:])
            branches.append(Branch(levels=names, keep=frozenset(self.passing)))
            self.passing = None
            if self.draft.compute is not None:
                node.refuse("compute units in a !Parallel", got=self.draft.compute[0], expected="storages",
                            remedy="Move them below it.")  # fmt: skip
        self.draft.parallel.append((tuple(branches), node))

    def _read_leaf(self, node: Cursor) -> None:
        component = node.node.tag == "!Component"
        if not (component or self.draft.nodes):
            self.draft.name = node.name
        known, required = (COMPONENT_KEYS, ("name", "class")) if component else (CONTAINER_KEYS, ("name",))
        entries = node.table(known, required=required, elsewhere=_ELSEWHERE)
        if "name" in entries:
            entries["name"].word()
        if "enabled" in entries and entries["enabled"].node.text.lower() not in ("true", "yes"):
            entries["enabled"].refuse("a node that is not enabled", expected="true", remedy="Delete the node.")
        if node.name in self.draft.nodes:
            node.refuse("name used twice", got=node.name, remedy="Rename one.",
                        expected=f"unique names; line {self.draft.nodes[node.name]} has it")  # fmt: skip
        self.draft.nodes.setdefault(node.name, node.node.line)
        own, complete = self._attributes(entries.get("attributes"), node)
        if not component:
            self._hand_down(own)
        constraints = (
            entries["constraints"].table(("temporal", "spatial", "dataspace")) if "constraints" in entries else {}
        )
        holder = self._mesh(entries["spatial"], node) if "spatial" in entries else None
        if "spatial" in constraints:
            self._constrain_mesh(constraints["spatial"], holder)
        class_name = (entries["class"].word() if "class" in entries else None) or ""
        if component:
            self.draft.components[node.name] = ComponentSpec(
                class_name=class_name,
                subclass=entries["subclass"].word() if "subclass" in entries else None,
                attributes={key: attribute.value for key, attribute in {**self.inherited, **own}.items()},
            )
        if is_storage(class_name):
            if complete:
                self._storage(node, class_name, own)
            else:
                # What else seems wrong may only follow from what could not be read.
                self.draft.levels.append(StorageDraft(level=StorageLevel(name=node.name), cluster_size=1, at=node))
            self._constrain(node.name, constraints)
            return
        if self.passing is not None and not component and "dataspace" in constraints:
            at = constraints.pop("dataspace")
            directive = read_dataspaces(at.table(DATASPACE_KEYS), at)
            self.passing |= directive.keep
            if directive.others is not None:
                at.refuse("a branch without a storage does not know every data space", got="* or a list of the rest",
                          expected="keep with names", remedy="List the names.")  # fmt: skip
        for key in ("temporal", "dataspace"):
            if key in constraints:
                constraints[key].refuse("only a storage has loops in time and holds data", got=f"a {key} constraint",
                                        expected="spatial only", remedy="Move it to a storage.")  # fmt: skip
        if is_compute(class_name):
            self.draft.compute = (node.name, node)
        elif class_name:
            entries["class"].refuse("unknown class", expected="a name with DRAM, SRAM, regfile, smartbuffer, storage, "
                                    "mac or compute in it", remedy="Correct the class.")  # fmt: skip

    def _attributes(self, section: Cursor | None, node: Cursor) -> tuple[dict[str, Attribute], bool]:
        """Evaluate the node's own attributes, each with those above it; say whether all have a value."""
        own: dict[str, Attribute] = {}
        if section is None:
            return own, True
        entries = section.table()
        self.draft.warnings += check_names(entries)
        scope = dict(self.scope)
        for key, at in entries.items():
            if key not in REFUSED and (attribute := read_value(at, scope=scope)) is not None:
                own[key] = attribute
                scope[key] = self.scope[f"{node.name}.attributes.{key}"] = attribute.value
        return own, all(key in own or key in REFUSED for key in entries)

    def _hand_down(self, own: dict[str, Attribute]) -> None:
        for key, attribute in own.items():
            self.scope[key] = attribute.value
            if key not in NOT_INHERITED:
                self.inherited[key] = attribute
            elif key != "datawidth":
                self.draft.warnings.append(f"{attribute.at.where}: not handed to the storages below. Write it on them.")
        if "global_cycle_seconds" in own:
            seconds = own["global_cycle_seconds"]
            if isinstance(seconds.value, bool) or not isinstance(seconds.value, int | float) or not seconds.value > 0:
                seconds.at.refuse("not a cycle time", expected="seconds > 0", remedy="Correct it.")
            else:
                self.draft.clock_hz = clock_of(seconds.value)

    def _mesh(self, section: Cursor, node: Cursor) -> str | None:
        """Make the mesh the fan-out of the storage before it; return the level that has it, None for 1 x 1."""
        sizes = {"meshX": 1, "meshY": 1}
        for key, at in section.table(tuple(sizes)).items():
            value = attribute.value if (attribute := read_value(at, scope=self.scope)) is not None else 1
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_INTEGER:
                at.refuse("not a mesh", got=value, expected="an integer >= 1", remedy="Write // where it is computed.")
            else:
                sizes[key] = value
                self.scope[f"{node.name}.spatial.{key}"] = value
        fanout_x, fanout_y = sizes.values()
        if fanout_x * fanout_y == 1:
            return None
        if self.passing is not None:
            section.refuse("a mesh inside a !Parallel", got=f"{fanout_x} x {fanout_y}", expected="1 x 1",
                           remedy="Move the mesh above or below the !Parallel.")  # fmt: skip
            return None
        self.instances *= fanout_x * fanout_y
        if self.instances > MAX_INTEGER:
            section.refuse("too many instances", got=f"{fanout_x} x {fanout_y} more", expected="at most 2**53 in all",
                           remedy="Correct the mesh.")  # fmt: skip
            self.instances = 1
        if "block_size" in self.inherited:
            self.inherited["block_size"].at.refuse("block_size of a Container above a mesh", expected="it on storages",
                                                   remedy="Move it there; Timeloop fails on it.")  # fmt: skip
        if not self.draft.levels:
            section.refuse("a mesh outside the outermost storage", got=f"{fanout_x} x {fanout_y}",
                           expected="one outermost storage", remedy="Move the mesh below it.")  # fmt: skip
            return None
        levels = self.draft.levels
        if levels[-1].level.name in self.draft.spatial_targets:
            virtual = StorageLevel(name=f"inter_{node.name}_spatial", is_virtual=True)
            levels.append(StorageDraft(level=virtual, cluster_size=1, at=node))
        levels[-1] = replace(levels[-1], level=replace(levels[-1].level, fanout_x=fanout_x, fanout_y=fanout_y))
        holder = levels[-1].level.name
        self.draft.spatial_targets[holder] = node.name
        return holder

    def _constrain_mesh(self, at: Cursor, holder: str | None) -> None:
        loops = read_loops(at.table(LOOP_KEYS), at, spatial=True, version="0.4")
        if holder is not None:
            add_directive(self.draft.constraints, Directive(level=holder, spatial=loops))
        elif not loops.is_idle:
            at.refuse(
                "a spatial constraint without a mesh",
                got="no mesh, or 1 x 1",
                expected="spatial: {meshX, meshY}",
                remedy="Give the node a mesh, or delete the constraint.",
            )

    def _storage(self, node: Cursor, class_name: str, own: dict[str, Attribute]) -> None:
        if "datawidth" not in own:
            node.refuse(
                "storage without datawidth",
                got="none of its own",
                expected="bits per word on the storage itself",
                remedy="Add datawidth to its attributes.",
            )
        for key in ("word_bits", "meshX", "meshY"):
            if key in own:
                own.pop(key).at.refuse("not an attribute of v0.4", got=key, expected="datawidth, spatial",
                                       remedy="Write datawidth, or a mesh under spatial.")  # fmt: skip
        storage = draft_storage(node.name, class_name=class_name, attributes={**self.inherited, **own}, at=node)
        if self.instances % storage.cluster_size:
            node.refuse(
                "instances do not fill whole rows",
                got=f"{self.instances} instances",
                expected=f"a multiple of cluster_size {storage.cluster_size}",
                remedy="Correct one.",
            )
        self.draft.levels.append(storage)

    def _constrain(self, name: str, constraints: dict[str, Cursor]) -> None:
        if (at := constraints.get("temporal")) is not None:
            loops = read_loops(at.table(LOOP_KEYS), at, spatial=False, version="0.4")
            add_directive(self.draft.constraints, Directive(level=name, temporal=loops))
        if (at := constraints.get("dataspace")) is not None:
            dataspaces = read_dataspaces(at.table(DATASPACE_KEYS), at)
            add_directive(self.draft.constraints, Directive(level=name, dataspaces=dataspaces))
