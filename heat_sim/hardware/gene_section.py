"""The ranges of a range file: which numbers of the machine vary, and what they may be."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from heat_sim.hardware.components import Mac, Storage
from heat_sim.hardware.genes import BANDWIDTHS, MESH_SIDES, SIZES, Gene, level_of_mesh, value_in
from heat_sim.specs import ArchitectureSpec
from heat_sim.specs.cursor import Cursor, suggest

MAX_VALUES = 64
"""Of one range."""

_VARIES = {"sram": (*SIZES, *BANDWIDTHS), "register": ("width", *BANDWIDTHS), "dram": ("width", *BANDWIDTHS)}
_LEAST_BANDWIDTH = 1e-6


def read_genes(section: Cursor, spec: ArchitectureSpec, parts: Mapping[str, Storage | Mac]) -> tuple[Gene, ...]:
    """Return the genes in the order of the file; refusals are recorded.

    Args:
        section: A table from OWNER.ATTRIBUTE to a list of values.
        spec: The machine.
        parts: What its components are made of, which decides what can vary.

    >>> from heat_sim.hardware.components import Sram
    >>> from heat_sim.specs import load_architecture
    >>> from heat_sim.specs.yaml_nodes import parse_yaml
    >>> spec = load_architecture(["arch_specs/simba_l/arch.yaml", "arch_specs/simba_l/ert.yaml"])
    >>> node, problems = parse_yaml("{GlobalBuffer.depth: [2048, 4096]}", source="demo")
    >>> top = Cursor(node=node, name="ranges", source="demo", problems=problems)
    >>> read_genes(top, spec, {"GlobalBuffer": Sram()})
    (Gene(owner='GlobalBuffer', attribute='depth', values=(2048, 4096)),)
    """
    kinds = {name: type(part).__name__.lower() for name, part in parts.items()}
    genes = []
    for name, at in section.table().items():
        owner, _, attribute = name.rpartition(".")
        if _is_known(at, owner, attribute, spec, kinds) and (values := _values(at, owner, attribute, spec)):
            genes.append(Gene(owner=owner, attribute=attribute, values=values))
    if section.node.kind == "table" and not section.node.keys:
        section.refuse("nothing varies", got="no range", expected="at least one", remedy="Add one.")
    return tuple(genes)


def _is_known(
    at: Cursor, owner: str, attribute: str, spec: ArchitectureSpec, kinds: Mapping[str, str]
) -> bool:  # fmt: skip
    if attribute in MESH_SIDES:
        meshes = list(spec.spatial_targets.values())
        if level_of_mesh(spec, owner) is None:
            at.refuse("no such mesh in the base", got=owner or "no name",
                      expected=f"one of {', '.join(meshes) or 'none'}",
                      remedy=f"Name a node whose mesh is larger than 1 x 1.{suggest(owner, meshes)}")  # fmt: skip
            return False
        return True
    levels = [level.name for level in spec.architecture.levels if not level.is_virtual]
    if owner not in levels:
        at.refuse("no such level", got=owner or "no name", expected=f"one of {', '.join(levels)}",
                  remedy=f"Write LEVEL.{attribute or 'depth'}.{suggest(owner, levels)}")  # fmt: skip
        return False
    if owner in kinds and attribute not in _VARIES[kinds[owner]]:
        known = _VARIES[kinds[owner]]
        at.refuse(f"not what can vary of kind {kinds[owner]}", got=attribute,
                  expected=f"one of {', '.join(known)}; {', '.join(MESH_SIDES)} of a mesh",
                  remedy=f"Correct or delete it.{suggest(attribute, known)}")  # fmt: skip
        return False
    return owner in kinds


def _values(at: Cursor, owner: str, attribute: str, spec: ArchitectureSpec) -> tuple[float, ...]:
    """Return the values of a range, ascending; nothing if one is refused."""
    before = len(at.problems)
    read = [
        item.number(minimum=_LEAST_BANDWIDTH) if attribute in BANDWIDTHS else item.integer(minimum=1)
        for item in at.items()
    ]
    values = tuple(value for value in read if value is not None)
    if len(at.problems) > before:
        return ()
    shown = ", ".join(f"{value:g}" for value in values)
    if not 1 <= len(values) <= MAX_VALUES or any(low >= high for low, high in itertools.pairwise(values)):
        at.refuse("not values in ascending order", got=shown, expected=f"1 to {MAX_VALUES} values, each above the last",
                  remedy="Sort them and delete repetitions.")  # fmt: skip
        return ()
    own = value_in(spec, owner=owner, attribute=attribute)
    if own is None:
        what = "unlimited" if attribute in BANDWIDTHS else "unbounded, or not whole rows"
        at.refuse("the base has no such value", got=f"{owner} is {what}", expected=f"a {attribute} in the architecture",
                  remedy="Give it one there, or delete the range.")  # fmt: skip
        return ()
    if own not in values:
        at.refuse("the value of the base is not among the values", got=shown, expected=f"{own:g} among them",
                  remedy="Add it.")  # fmt: skip
    if attribute == "width":
        _check_whole_words(at, values, next(each.word_bits for each in spec.architecture.levels if each.name == owner))
    return values


def _check_whole_words(at: Cursor, values: Iterable[float], word_bits: int) -> None:
    if wrong := [value for value in values if value % word_bits]:
        at.refuse("a row does not hold whole words", got=f"{wrong[0]:g} bit",
                  expected=f"multiples of {word_bits} bit", remedy="Correct it.")  # fmt: skip
