"""Whether the packages of the extra `distill` are there, asked before a module that needs them is imported."""

from __future__ import annotations

import importlib.util

from heat_sim.errors import MissingDependencyError, describe

_PACKAGES = ("torch", "transformers", "safetensors")


def require_torch() -> None:
    """Return if torch, transformers and safetensors are installed; they are looked for, not imported.

    Within heat_sim.distill only cache, calibration, progress, settings, sources and tasks work without them.

    Raises:
        MissingDependencyError: One of them is not installed.

    >>> require_torch()
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise MissingDependencyError(
            describe(
                "heat_sim.distill",
                "packages are not installed",
                got=f"no {', '.join(missing)}",
                expected=", ".join(_PACKAGES),
                remedy='Run: pip install "heat_sim[distill]"',
            )
        )
