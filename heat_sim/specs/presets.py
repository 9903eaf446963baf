"""The accelerators that come with heat_sim, by name."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_ROOTS = (_PACKAGE / "data" / "arch_specs", _PACKAGE.parent / "arch_specs")
"""Where they lie: in an installed package, in a source tree."""


def preset_names() -> tuple[str, ...]:
    """Return their names.

    >>> "simba_l" in preset_names()
    True
    """
    return tuple(sorted({path.parent.name for root in _ROOTS for path in root.glob("*/arch.yaml")}))


def preset_folder(name: str) -> Path | None:
    """Return the folder of a preset, with ``arch.yaml`` and ``ert.yaml``; None if there is no such one.

    >>> preset_folder("simba_l").name, preset_folder("../simba_l")
    ('simba_l', None)
    """
    if name not in preset_names():
        return None
    return next(root / name for root in _ROOTS if (root / name / "arch.yaml").is_file())
