"""The machine that a range file varies: a file, a folder, or the name of a preset."""

from __future__ import annotations

from pathlib import Path

from heat_sim.errors import SpecError, describe
from heat_sim.specs import ArchitectureSpec, load_architecture

_PACKAGE = Path(__file__).resolve().parents[1]
_PRESETS = (_PACKAGE / "data" / "arch_specs", _PACKAGE.parent / "arch_specs")
"""Where the accelerators that come with heat_sim lie: in an installed package, in a source tree."""


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
    places = [beside / named, *(root / named for root in _PRESETS if Path(named).name == named)]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        known = sorted({path.parent.name for root in _PRESETS for path in root.glob("*/arch.yaml")})
        raise SpecError(
            describe("base", "no such file, folder or preset", got=named,
                     expected=f"a path from {beside}, or {', '.join(known)}", remedy="Correct it.")
        )  # fmt: skip
    if not found.is_dir():
        return load_architecture(found)
    ert = found / "ert.yaml"
    return load_architecture(found / "arch.yaml", ert=ert if ert.is_file() else None)
