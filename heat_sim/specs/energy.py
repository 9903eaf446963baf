"""Accelergy reference tables: energy in pJ of each action (ERT) and area (ART) of each component."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from heat_sim.specs.cursor import Cursor, suggest

STORAGE_ACTIONS = ("read", "write", "update", "leak")
COMPUTE_ACTION = "compute"

_INSTANCES = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTable:
    """The actions of one component.

    Attributes:
        at: Where the table stands, for messages.
        energies_pj: Action to energy; a storage action moves one block of words.
    """

    at: Cursor
    energies_pj: Mapping[str, float]


def component_name(name: str) -> str:
    """Return the component an Accelergy table is about: the last part of its name, without instances.

    >>> component_name("system_top_level.accel.PE[1..16]")
    'PE'
    """
    return _INSTANCES.sub("", name).rpartition(".")[2]


def read_energy_tables(section: Cursor) -> dict[str, EnergyTable]:
    """Return the tables of an ``ERT:`` section by component.

    Several entries for one action are reduced to the largest, as Timeloop does.

    >>> from heat_sim.specs.cursor import open_spec
    >>> _, sections = open_spec("arch_specs/simba_l/ert.yaml")
    >>> sorted(read_energy_tables(sections["ERT"])["MAC"].energies_pj)
    ['compute']
    """
    return {
        component: EnergyTable(at=at, energies_pj=_energies(entry.renamed(at.name).items(), component))
        for component, at, entry in _tables(section, "ERT", "actions")
    }


def read_areas(section: Cursor) -> dict[str, float]:
    """Return the area in mm^2 of one instance of each component of an ``ART:`` section, which is in um^2.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> text = "ART: {version: 0.4, tables: [{name: 'system.PE[0..167].RF', area: 379.68}]}"
    >>> read_areas(open_spec_text(text, source="demo")[1]["ART"])
    {'RF': 0.00037968}
    """
    areas: dict[str, float] = {}
    for component, at, entry in _tables(section, "ART", "area"):
        area = entry.renamed(f"{at.name}.area").number(minimum=0)
        # Shifted in decimal, so that what is written from mm^2 reads back as it was.
        areas[component] = float(Decimal(repr(area or 0.0)).scaleb(-6))
    return areas


def _tables(section: Cursor, title: str, content: str) -> Iterator[tuple[str, Cursor, Cursor]]:
    """Yield per table the component, where it stands and its content; refuses a second one for a component."""
    keys = section.table(("version", "tables"), required=("version", "tables"))
    if "version" in keys:
        keys["version"].version("0.3", "0.4")
    lines: dict[str, int] = {}
    for item in keys["tables"].items() if "tables" in keys else ():
        entry = item.table(("name", content), required=("name", content))
        name = entry["name"].word() if "name" in entry else None
        if name is None or content not in entry:
            continue
        component = component_name(name)
        if component in lines:
            entry["name"].refuse("two tables for one component", expected=f"one table for {component}",
                                 remedy=f"The first is in line {lines[component]}; delete one.")  # fmt: skip
            continue
        lines[component] = item.node.line
        yield component, item.renamed(f"{title} {component}"), entry[content]


def _energies(actions: tuple[Cursor, ...], component: str) -> dict[str, float]:
    energies: dict[str, float] = {}
    for item in actions:
        entry = item.table(("name", "arguments", "energy"), required=("name", "energy"))
        action = entry["name"].word() if "name" in entry else None
        if action is None or "energy" not in entry:
            continue
        energy = entry["energy"].renamed(f"ERT {component}.{action}").number(minimum=0)
        energies[action] = max(energy or 0.0, energies.get(action, 0.0))
    return energies


def required_energy(table: EnergyTable, action: str, *, default: float | None = None) -> float:
    """Return the energy in pJ of one action; refuses a missing one, unless there is a default.

    A default is not taken when an unknown action looks like a misspelling of the missing one.

    >>> from heat_sim.specs.cursor import open_spec
    >>> _, sections = open_spec("arch_specs/simba_l/ert.yaml")
    >>> tables = read_energy_tables(sections["ERT"])
    >>> required_energy(tables["DRAM"], "read") > 0, required_energy(tables["DRAM"], "leak", default=0.0)
    (True, 0.0)
    """
    if action in table.energies_pj:
        return table.energies_pj[action]
    unknown = [name for name in table.energies_pj if name not in (*STORAGE_ACTIONS, COMPUTE_ACTION)]
    misspelt = suggest(action, unknown)
    if default is None or misspelt:
        table.at.refuse(f"no energy for action {action}", got=f"actions {', '.join(table.energies_pj) or 'none'}",
                        expected=f"an action {action}", remedy=f"Add it, in pJ.{misspelt}")  # fmt: skip
    return default or 0.0
