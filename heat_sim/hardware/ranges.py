"""Range files: which numbers of an architecture may vary, and what its levels are made of."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

from heat_sim.errors import SpecError
from heat_sim.hardware.base import load_base
from heat_sim.hardware.component_section import read_components
from heat_sim.hardware.components import Mac
from heat_sim.hardware.gene_section import read_genes
from heat_sim.hardware.genes import Gene, rows, width_bits
from heat_sim.hardware.logic import logic_nodes_nm
from heat_sim.hardware.pricing import Technology
from heat_sim.hardware.space import HardwareSpace
from heat_sim.specs import ArchitectureSpec
from heat_sim.specs.cursor import Cursor
from heat_sim.specs.yaml_nodes import parse_yaml, read_yaml

NODES_NM = tuple(node for node in logic_nodes_nm() if node <= 22 or node == 45)
"""Nodes that both the logic and the SRAM of the tables have."""


def load_space(path: str | Path, *, base: ArchitectureSpec | None = None) -> HardwareSpace:
    """Return the machines of a range file: a key ``hardware`` with the keys that docs/hardware.md lists.

    Args:
        path: The file.
        base: The machine to vary, instead of the one that the file names.

    Raises:
        SpecError: Every problem of the file, one sentence each, also where some machine would be outside the tables.

    >>> space = load_space("arch_specs/simba_l/ranges.yaml")
    >>> space.genes[0].name, space.genes[0].values
    ('GlobalBuffer.depth', (512, 1024, 2048, 4096, 8192))
    """
    node, problems = read_yaml(path)
    return _read(Cursor(node=node, name="", source=str(path), problems=problems), base, Path(path).parent)


def parse_space(text: str, *, base: ArchitectureSpec) -> HardwareSpace:
    """Return the machines of the text of a range file; see `load_space`.

    >>> from heat_sim.specs import parse_architecture
    >>> tiny = parse_architecture('''
    ... architecture: {version: 0.4, nodes: [
    ...   !Component {name: DRAM, class: DRAM, attributes: {datawidth: 8, shared_bandwidth: 2}},
    ...   !Component {name: MAC, class: intmac, spatial: {meshX: 4}}]}
    ... ERT: {version: 0.4, tables: [{name: DRAM, actions: [{name: read, energy: 1}, {name: write, energy: 1}]},
    ...                              {name: MAC, actions: [{name: compute, energy: 1}]}]}
    ... ''')
    >>> space = parse_space('''
    ... hardware:
    ...   version: 1
    ...   node_nm: 16
    ...   components: {DRAM: {kind: dram, type: LPDDR4}, MAC: {kind: mac, multiplier: 8, accumulator: 24}}
    ...   ranges: {MAC.meshX: [2, 4, 8], DRAM.shared_bandwidth: [2, 4]}
    ... ''', base=tiny)
    >>> space.size, space.base_choice, space.point((2, 1)).architecture.name
    (6, (1, 0), 'architecture (MAC.meshX 8, DRAM.shared_bandwidth 4)')
    """
    node, problems = parse_yaml(text, source="hardware")
    return _read(Cursor(node=node, name="", source="hardware", problems=problems), base, Path())


def _read(top: Cursor, base: ArchitectureSpec | None, folder: Path) -> HardwareSpace:
    keys = top.table(("hardware",), required=("hardware",))
    if "hardware" not in keys:
        top.raise_problems()
    required = ("version", "node_nm", "components", "ranges")
    entries = keys["hardware"].table((*required[:1], "base", *required[1:]), required=required)
    if "version" in entries:
        entries["version"].version("1")
    spec = _base(keys["hardware"], entries.get("base"), base, folder)
    node_nm = entries["node_nm"].number(minimum=1) if "node_nm" in entries else None
    if node_nm is not None and node_nm not in NODES_NM:
        entries["node_nm"].refuse("no table for this node", expected=f"one of {', '.join(map(str, NODES_NM))} nm",
                                  remedy="Take a node of the tables.")  # fmt: skip
    if spec is None or not {"components", "ranges"} <= set(entries):
        top.raise_problems()
    assert spec is not None
    parts, places = read_components(entries["components"], spec)
    genes = read_genes(entries["ranges"], spec, parts)
    top.raise_problems()
    assert node_nm is not None
    compute = parts.pop(spec.architecture.compute_name)
    assert isinstance(compute, Mac)
    storages = {name: part for name, part in parts.items() if not isinstance(part, Mac)}
    technology = Technology(node_nm=node_nm, storages=storages, compute=compute)
    _check_tables(spec, technology, genes, places)
    top.raise_problems()
    return HardwareSpace(base=spec, technology=technology, genes=genes)


def _base(
    section: Cursor, at: Cursor | None, given: ArchitectureSpec | None, folder: Path
) -> ArchitectureSpec | None:  # fmt: skip
    """Return the machine to vary; one that is given goes before the one in the file."""
    named = at.word() if at is not None else None
    spec = given
    if spec is None and at is None:
        section.refuse("no architecture to vary", got="no base", expected="a key base, or one given beside the file",
                       remedy="Add base, or name the architecture.")  # fmt: skip
    elif spec is None and at is not None and named is not None:
        try:
            spec = load_base(named, beside=folder)
        except SpecError as error:
            section.problems.extend(f"{at.where}: {problem}" for problem in error.problems)
    return spec


def _check_tables(
    spec: ArchitectureSpec, technology: Technology, genes: tuple[Gene, ...], places: Mapping[str, Cursor]
) -> None:
    """Record the first size of each component that its table does not have; no machine can fail later."""
    ranges = {(gene.owner, gene.attribute): gene.values for gene in genes}
    compute = spec.architecture.compute_name
    try:
        technology.compute.cost(node_nm=technology.node_nm)
    except SpecError as error:
        places[compute].problems.extend(f"{places[compute].where}: {problem}" for problem in error.problems)
    for level in spec.architecture.levels:
        if level.is_virtual:
            continue
        at = places[level.name]
        depths: tuple[float | None, ...] = ranges.get((level.name, "depth")) or (rows(level),)
        for depth, width in itertools.product(depths, ranges.get((level.name, "width")) or (width_bits(level),)):
            try:
                technology.storages[level.name].cost(
                    depth=None if depth is None else int(depth), width_bits=int(width), node_nm=technology.node_nm
                )
            except SpecError as error:
                at.problems.extend(f"{at.where}: {problem}" for problem in error.problems)
                break
        if level.leakage_energy_pj_per_cycle > 0 and spec.architecture.clock_hz is None:
            at.refuse("no clock to count its leakage per cycle", got="no global_cycle_seconds",
                      expected="one, as the ERT has a leak action", remedy="Add it to the architecture.")  # fmt: skip
