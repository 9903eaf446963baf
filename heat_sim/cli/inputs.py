"""Reading what the options name."""

from __future__ import annotations

from pathlib import Path

from heat_sim.cli.console import err
from heat_sim.codesign.space import check_formats
from heat_sim.errors import SpecError, describe
from heat_sim.report.run_folder import check_is_new
from heat_sim.specs import ArchitectureSpec, load_architecture
from heat_sim.specs.presets import preset_folder, preset_names


def architecture_files(arch: Path, ert: Path | None) -> tuple[Path, ...]:
    """Return the files of an architecture given as a file, a folder with arch.yaml, or the name of a preset."""
    if not arch.exists() and len(arch.parts) == 1:
        preset = preset_folder(arch.name)
        if preset is None:
            raise SpecError(
                describe("--arch", "no such file, folder or preset", got=arch,
                         expected=f"a path, or {', '.join(preset_names())}", remedy="Correct the name.")
            )  # fmt: skip
        arch = preset
    if arch.is_dir():
        beside = arch / "ert.yaml"
        ert = ert or (beside if beside.is_file() else None)
        arch = arch / "arch.yaml"
    return (arch,) if ert is None else (arch, ert)


def read_architecture(arch: Path, ert: Path | None) -> ArchitectureSpec:
    """Return the architecture of these files; show its warnings."""
    files = architecture_files(arch, ert)
    spec = load_architecture(files[0], ert=files[1] if len(files) > 1 else None)
    for warning in spec.warnings:
        err.print(f"warning: {warning}", style="yellow", markup=False)
    return spec


def check_before_training(arch: Path, ert: Path | None, *, formats: str, out: Path | None) -> str:
    """Return the name of the architecture; raise on what a search would refuse only after the minutes of training."""
    files = architecture_files(arch, ert)
    spec = load_architecture(files[0], ert=files[1] if len(files) > 1 else None)
    check_formats(searched_formats(formats))
    check_is_new(out)
    return spec.architecture.name


def searched_formats(formats: str) -> tuple[str, ...]:
    """Return the names of a list with commas; dense is always the first."""
    return tuple(dict.fromkeys(("dense", *(name.strip() for name in formats.split(",") if name.strip()))))
