"""The machine that a range file varies: a file, a folder, or the name of a preset."""

from __future__ import annotations

from pathlib import Path

from heat_sim.errors import SpecError, describe
from heat_sim.specs import ArchitectureSpec, load_architecture
from heat_sim.specs.presets import preset_folder, preset_names


def load_base(named: str, *, beside: Path) -> ArchitectureSpec:
    """Return the architecture that a range file names; in a folder, ``arch.yaml`` with ``ert.yaml`` if it is there.

    Args:
        named: A path, relative to `beside`, or else the name of a preset.
        beside: The folder of the range file.

    Raises:
        SpecError: There is none, or it cannot be read.

    >>> load_base("simba_l", beside=Path("docs")).architecture.name
    'simba_l'
    """
    found = beside / named if (beside / named).exists() else preset_folder(named)
    if found is None:
        raise SpecError(
            describe("base", "no such file, folder or preset", got=named,
                     expected=f"a path from {beside}, or {', '.join(preset_names())}", remedy="Correct it.")
        )  # fmt: skip
    if not found.is_dir():
        return load_architecture(found)
    ert = found / "ert.yaml"
    return load_architecture(found / "arch.yaml", ert=ert if ert.is_file() else None)
