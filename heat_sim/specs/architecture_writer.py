"""Writing an architecture as a Timeloop v0.3 tree or v0.4 list of nodes, and its energies as Accelergy tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.errors import SpecError, describe
from heat_sim.mapping import LevelConstraints, Limit
from heat_sim.specs.architecture_spec import ArchitectureSpec, parse_architecture, spec_from_architecture
from heat_sim.specs.directives import Version
from heat_sim.specs.expressions import Value
from heat_sim.specs.storage import READ
from heat_sim.specs.targets import DATASPACE_TYPES
from heat_sim.specs.yaml_text import list_text, name_text, table_text, value_text


def dump_architecture(spec: ArchitectureSpec | Architecture, *, version: Version) -> str:
    r"""Return the text of an architecture file; with `dump_ert` beside it, it reads back to an equal architecture.

    That is checked. Constraints follow as a section of their own; storages side by side (!Parallel) are
    written one after the other, with the constraints that part them.

    Args:
        spec: The hardware, with or without what its files said beside it.
        version: Of the format; v0.3 has no meshes without a storage.

    Raises:
        SpecError: The version has no words for this architecture.

    >>> tiny = Architecture(name="tiny", levels=(StorageLevel(name="DRAM", drains_in_place=False, fanout_x=4),),
    ...                     compute_name="MAC", compute_energy_pj=1.0)
    >>> print(dump_architecture(tiny, version="0.4"))
    architecture:
      version: 0.4
      nodes:
      - !Container
        name: tiny
      - !Component
        name: DRAM
        class: DRAM
        attributes: {datawidth: 16, width: 16, block_size: 1}
      - !Component
        name: MAC
        class: mac
        spatial: {meshX: 4, meshY: 1}
    <BLANKLINE>
    """
    if isinstance(spec, Architecture):
        spec = spec_from_architecture(spec)
    if version != spec.version:
        spec = _converted(spec, version)
    where = f"architecture {spec.architecture.name} as v{version}"
    for level in spec.architecture.levels:
        if version == "0.3" and level.is_virtual:
            raise SpecError(
                describe(where, "v0.3 has no mesh without a storage", got=f"level {level.name}",
                         expected="storages only", remedy="Write v0.4.")
            )  # fmt: skip
    text = "\n".join(["architecture:", f"  version: {version}", *(_tree(spec) if version == "0.3" else _nodes(spec)),
                      *_constraints(spec, where)]) + "\n"  # fmt: skip
    try:
        read = parse_architecture(text + dump_ert(spec.architecture))
    except SpecError as error:
        raise SpecError([f"{where} cannot be written: {problem}" for problem in error.problems]) from error
    written = (spec.architecture, *spec.architecture.levels, spec.constraints, spec.spatial_targets)
    found = (read.architecture, *read.architecture.levels, read.constraints, read.spatial_targets)
    for ours, theirs in reversed(list(itertools.zip_longest(written, found))):
        if ours != theirs:
            raise SpecError(
                describe(where, "a file cannot say this", got=ours, expected=theirs,
                         remedy="Name a virtual level inter_NAME_spatial, put it below a level with a mesh only, "
                         "and bound every storage but main memories.")
            )  # fmt: skip
    return text


def dump_ert(architecture: Architecture) -> str:
    """Return the text of the energy reference table of an architecture, and of its areas where they are known.

    Energies are in pJ per access of one instance, areas (ART) in um^2 of one instance.

    >>> print(dump_ert(Architecture(name="tiny", levels=(StorageLevel(name="DRAM", read_energy_pj=200.0),),
    ...                             compute_name="MAC", compute_energy_pj=1.0)))
    ERT:
      version: 0.4
      tables:
      - name: DRAM
        actions:
        - {name: read, arguments: {}, energy: 200.0}
        - {name: write, arguments: {}, energy: 0.0}
        - {name: update, arguments: {}, energy: 0.0}
        - {name: leak, arguments: {}, energy: 0.0}
      - name: MAC
        actions:
        - {name: compute, arguments: {}, energy: 1.0}
    <BLANKLINE>
    """
    storages = [level for level in architecture.levels if not level.is_virtual]
    lines = ["ERT:", "  version: 0.4", "  tables:"]
    for level in storages:
        lines += _table(level.name, read=level.read_energy_pj, write=level.write_energy_pj,
                        update=level.update_energy_pj, leak=level.leakage_energy_pj_per_cycle)  # fmt: skip
    lines += _table(architecture.compute_name, compute=architecture.compute_energy_pj)
    areas = [(level.name, level.area_mm2) for level in storages]
    areas.append((architecture.compute_name, architecture.compute_area_mm2))
    known = [(name, area) for name, area in areas if area is not None]
    if known:
        lines += ["ART:", "  version: 0.4", "  tables:"]
        lines += [f"  - {{name: {name_text(name)}, area: {float(Decimal(repr(area)).scaleb(6))}}}"
                  for name, area in known]  # fmt: skip
    return "\n".join(lines) + "\n"


def _table(name: str, **energies_pj: float) -> list[str]:
    actions = [f"    - {{name: {action}, arguments: {{}}, energy: {value_text(energy)}}}"
               for action, energy in energies_pj.items()]  # fmt: skip
    return [f"  - name: {name_text(name)}", "    actions:", *actions]


def _converted(spec: ArchitectureSpec, version: Version) -> ArchitectureSpec:
    """Return the spec with the names that mapping files of the other version use for meshes."""
    targets = spec_from_architecture(spec.architecture).spatial_targets
    if version == "0.3":
        targets = {level: level for level in targets}
    return replace(spec, version=version, spatial_targets=targets)


def _nodes(spec: ArchitectureSpec) -> Iterator[str]:
    architecture = spec.architecture
    yield "  nodes:"
    yield from _node("!Container", architecture.name)
    if architecture.clock_hz is not None:
        yield f"    attributes: {table_text({'global_cycle_seconds': 1 / architecture.clock_hz})}"
    names = [*(level.name for level in architecture.levels), architecture.compute_name]
    mesh: list[str] = []
    for level, below in zip(architecture.levels, names[1:], strict=True):
        yield from mesh if level.is_virtual else _component(spec, level, mesh)
        mesh = []
        if level.fanout > 1:
            target = spec.spatial_targets[level.name]
            mesh = [] if target == below else _node("!Container", target)
            mesh.append(f"    spatial: {{meshX: {level.fanout_x}, meshY: {level.fanout_y}}}")
    yield from _component(spec, None, mesh)


def _component(spec: ArchitectureSpec, level: StorageLevel | None, mesh: list[str]) -> Iterator[str]:
    """Yield a !Component, the compute units if `level` is None, below the Container of its mesh or with its own."""
    own = len(mesh) == 1
    yield from () if own else mesh
    name = spec.architecture.compute_name if level is None else level.name
    yield from _node("!Component", name)
    yield from _described(spec, level, name, indent="    ")
    yield from mesh if own else ()


def _described(spec: ArchitectureSpec, level: StorageLevel | None, name: str, *, indent: str,
               mesh: dict[str, Value] | None = None) -> Iterator[str]:  # fmt: skip
    """Yield class, subclass and attributes: those of the model, then those that are free."""
    component = spec.components.get(name)
    default = "mac" if level is None else "SRAM" if level.drains_in_place else "DRAM"
    yield f"{indent}class: {name_text(component.class_name if component else default)}"
    if component is not None and component.subclass is not None:
        yield f"{indent}subclass: {name_text(component.subclass)}"
    attributes = {} if level is None else _storage_attributes(level, spec.version)
    if component is not None:
        known = READ if level is not None else ("meshX", "meshY", "global_cycle_seconds")
        attributes |= {key: value for key, value in component.attributes.items()
                       if key not in known or key == "technology"}  # fmt: skip
    if attributes := attributes | (mesh or {}):
        yield f"{indent}attributes: {table_text(attributes)}"


def _storage_attributes(level: StorageLevel, version: Version) -> dict[str, Value]:
    new = version == "0.4"
    found: dict[str, Value] = {"datawidth" if new else "word_bits": level.word_bits}
    if new:
        found["width"] = level.word_bits * level.words_per_access
    found["block_size"] = level.words_per_access
    if level.capacity_words is not None:
        whole = new and level.capacity_words % level.words_per_access == 0
        rows = level.capacity_words // level.words_per_access
        found |= {"depth": rows} if whole else {"entries": level.capacity_words}
    optional: dict[str, tuple[Value, Value]] = {
        "read_bandwidth": (level.read_bandwidth_words_per_cycle, None),
        "write_bandwidth": (level.write_bandwidth_words_per_cycle, None),
        "shared_bandwidth": (level.shared_bandwidth_words_per_cycle, None),
        "multiple_buffering": (level.multiple_buffering, 1.0),
        "min_utilization": (level.min_utilization, 0.0),
        "network_fill_latency": (level.network_fill_latency_cycles, 0),
        "network_drain_latency": (level.network_drain_latency_cycles, 0),
        "energy_per_hop": (level.hop_energy_pj, 0.0),
        "router_energy": (level.router_energy_pj, 0.0),
    }
    return found | {key: value for key, (value, default) in optional.items() if value != default}


def _tree(spec: ArchitectureSpec) -> Iterator[str]:
    """Yield one tree node per level; meshes are totals over the chip."""
    architecture = spec.architecture
    x = y = count = 1
    for place, level in enumerate(architecture.levels):
        indent = "  " * (place + 1)
        yield f"{indent}subtree:"
        node = architecture.name if place == 0 else f"{level.name}_tile"
        yield f"{indent}- name: {name_text(node) if count == 1 else f'{name_text(node)}[0..{count - 1}]'}"
        if place == 0 and architecture.clock_hz is not None:
            yield f"{indent}  attributes: {table_text({'global_cycle_seconds': 1 / architecture.clock_hz})}"
        yield f"{indent}  local:"
        yield f"{indent}  - name: {name_text(level.name)}"
        yield from _described(spec, level, level.name, indent=f"{indent}    ", mesh=_totals(x, y))
        x, y, count = x * level.fanout_x, y * level.fanout_y, level.fanout
        if place == len(architecture.levels) - 1:
            name = name_text(architecture.compute_name)
            yield f"{indent}  - name: {name if count == 1 else f'{name}[0..{count - 1}]'}"
            yield from _described(spec, None, architecture.compute_name, indent=f"{indent}    ", mesh=_totals(x, y))


def _totals(x: int, y: int) -> dict[str, Value]:
    return {} if x * y == 1 else {"meshX": x, "meshY": y}


def _node(tag: str, name: str) -> list[str]:
    return [f"  - {tag}", f"    name: {name_text(name)}"]


def _constraints(spec: ArchitectureSpec, where: str) -> Iterator[str]:
    lines = [line for level, demand in spec.constraints.items() for line in _targets(spec, level, demand, where)]
    if lines:
        yield "constraints:" if spec.version == "0.4" else "architecture_constraints:"
        yield "  targets:"
        yield from lines


def _targets(spec: ArchitectureSpec, level: str, demand: LevelConstraints, where: str) -> Iterator[str]:
    if spec.version == "0.3" and (demand.others or demand.temporal_only or demand.spatial_only):
        raise SpecError(
            describe(f"{where}, constraints at {level}", "v0.3 has no keep_only, bypass_only, * or factors_only",
                     got="one of them", expected="names and numbers", remedy="List them, or write v0.4.")
        )  # fmt: skip
    if demand.keep or demand.bypass or demand.others:
        keep = "keep_only" if demand.others == "bypass" else "keep"
        bypass = "bypass_only" if demand.others == "keep" else "bypass"
        yield (f"  - {{target: {name_text(level)}, type: {DATASPACE_TYPES[spec.version][0]}, "
               f"{keep}: {list_text(sorted(demand.keep))}, {bypass}: {list_text(sorted(demand.bypass))}}}")  # fmt: skip
    for kind, target, bounds, limits, only, order, split in (
        ("temporal", level, demand.temporal_bounds, demand.temporal_limits, demand.temporal_only,
         demand.temporal_order, None),
        ("spatial", spec.spatial_targets.get(level, level), demand.spatial_bounds, demand.spatial_limits,
         demand.spatial_only, demand.spatial_order, demand.split),
    ):  # fmt: skip
        factors = [f"{name}={bound}" for name, bound in bounds.items()]
        factors += [text for name, limit in limits.items() for text in _limit_texts(name, limit)]
        written = f'"{" ".join(factors)}"' if spec.version == "0.3" else f"[{', '.join(factors)}]"
        parts = [f"{'factors_only' if only else 'factors'}: {written}"] if factors or only else []
        parts += [f"permutation: {list_text(order[::-1])}"] if order is not None else []
        parts += [f"split: {split}"] if split is not None else []
        if parts:
            yield f"  - {{target: {name_text(target)}, type: {kind}, {', '.join(parts)}}}"


def _limit_texts(name: str, limit: Limit) -> list[str]:
    least, most = limit
    return [f"{name}>={least}"] * (least > 1) + [f"{name}<={most}"] * (most is not None)
