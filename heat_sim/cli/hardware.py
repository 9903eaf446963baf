"""`heat-sim hardware`: the machines that a range file spans, with their energies and areas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from heat_sim.architecture import Architecture
from heat_sim.cli.console import out, write_json
from heat_sim.cli.inputs import read_architecture
from heat_sim.cli.options import ErtFile, JsonFile
from heat_sim.hardware import HardwarePoint, HardwareSpace, load_space
from heat_sim.report.tables import Column, to_markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class _ComponentRow:
    """One component of one machine, with the energies that the base's own energy table has for it."""

    name: str
    instances: int
    size_bits: int | None
    area_mm2: float
    read_energy_pj: float
    write_energy_pj: float | None
    file_read_energy_pj: float
    file_write_energy_pj: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _GeneRow:
    name: str
    values: tuple[float, ...]
    base: float


def hardware_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ranges: YAML as docs/hardware.md says.")],
    arch: Annotated[
        Path | None,
        typer.Option("--arch", help="The architecture to vary, in place of the one that the file names as its base."),
    ] = None,
    ert: ErtFile = None,
    json: JsonFile = None,
) -> None:
    """Print what varies, how many machines that makes, and area and energies of the base, smallest and largest one.

    Energies and areas follow from component tables (SRAM by CACTI, logic by Aladdin, main memory per bit). The area is
    that of the storages on the chip and the MAC units; wires and control are not counted.

    Example: heat-sim hardware arch_specs/simba_l/ranges.yaml
    """
    space = load_space(file, base=None if arch is None else read_architecture(arch, ert))
    machines = {
        "base": space.point(space.base_choice),
        "smallest": space.point([0] * len(space.genes)),
        "largest": space.point([len(gene.values) - 1 for gene in space.genes]),
    }
    if json is not None:
        write_json(_as_json(space, machines), json)
    if json == "-":
        return
    base = space.base.architecture
    out.print(to_markdown(_gene_rows(space), _GENE_COLUMNS), markup=False, soft_wrap=True)
    out.print(
        f"{base.name}: {space.size:,} machines of {len(space.genes)} ranges at {space.technology.node_nm:g} nm\n",
        markup=False,
    )
    for name, machine in machines.items():
        chip = machine.architecture
        out.print(f"{name}: {chip.peak_ops_per_cycle:,} x {chip.compute_name}, {machine.area_mm2:.4g} mm2",
                  markup=False)  # fmt: skip
        columns = _COMPONENT_COLUMNS + (_FILE_COLUMNS if name == "base" else [])
        out.print(to_markdown(_component_rows(machine, base), columns), markup=False, soft_wrap=True)
    out.print("area: storages on the chip and MAC units; no wires, no control", markup=False)


def _gene_rows(space: HardwareSpace) -> list[_GeneRow]:
    return [
        _GeneRow(name=gene.name, values=gene.values, base=gene.values[place])
        for gene, place in zip(space.genes, space.base_choice, strict=True)
    ]


def _component_rows(machine: HardwarePoint, base: Architecture) -> list[_ComponentRow]:
    chip, areas_mm2 = machine.architecture, machine.area_by_component_mm2
    rows = [
        _ComponentRow(
            name=level.name, instances=chip.instances(place),
            size_bits=None if level.capacity_words is None else level.capacity_words * level.word_bits,
            area_mm2=areas_mm2[level.name],
            read_energy_pj=level.read_energy_pj, write_energy_pj=level.write_energy_pj,
            file_read_energy_pj=own.read_energy_pj, file_write_energy_pj=own.write_energy_pj,
        )
        for place, (level, own) in enumerate(zip(chip.levels, base.levels, strict=True)) if not level.is_virtual
    ]  # fmt: skip
    rows.append(
        _ComponentRow(
            name=chip.compute_name, instances=chip.peak_ops_per_cycle, size_bits=None,
            area_mm2=areas_mm2[chip.compute_name], read_energy_pj=chip.compute_energy_pj, write_energy_pj=None,
            file_read_energy_pj=base.compute_energy_pj, file_write_energy_pj=None,
        )
    )  # fmt: skip
    return rows


def _as_json(space: HardwareSpace, machines: dict[str, HardwarePoint]) -> dict[str, Any]:
    base = space.base.architecture
    return {
        "architecture": base.name,
        "node_nm": space.technology.node_nm,
        "size": space.size,
        "genes": [{"name": row.name, "values": row.values, "base": row.base} for row in _gene_rows(space)],
        "machines": {
            name: {
                "values": machine.values,
                "compute_units": machine.architecture.peak_ops_per_cycle,
                "area_mm2": machine.area_mm2,
                "components": [
                    {
                        "name": row.name, "instances": row.instances, "size_bits": row.size_bits,
                        "area_mm2": row.area_mm2, "read_energy_pJ": row.read_energy_pj,
                        "write_energy_pJ": row.write_energy_pj,
                    }
                    for row in _component_rows(machine, base)
                ],
            }
            for name, machine in machines.items()
        },
    }  # fmt: skip


def _number(value: object) -> str:
    return f"{value:.5g}"


def _kib(bits: object) -> str:
    assert isinstance(bits, int)
    return f"{bits / 8192:,.4g}"


def _listed(values: object) -> str:
    assert isinstance(values, tuple)
    return ", ".join(f"{value:g}" for value in values)


_GENE_COLUMNS = [
    Column(field="name", heading="range", is_text=True),
    Column(field="values", heading="values", show=_listed, is_text=True),
    Column(field="base", heading="base", show="{:g}".format),
]
_COMPONENT_COLUMNS = [
    Column(field="name", heading="component", is_text=True),
    Column(field="instances", heading="instances", show="{:,}".format),
    Column(field="size_bits", heading="KiB each", show=_kib),
    Column(field="area_mm2", heading="mm2 in all", show=_number),
    Column(field="read_energy_pj", heading="pJ per read or op", show=_number),
    Column(field="write_energy_pj", heading="pJ per write", show=_number),
]
_FILE_COLUMNS = [
    Column(field="file_read_energy_pj", heading="its file: read or op", show=_number),
    Column(field="file_write_energy_pj", heading="its file: write", show=_number),
]
