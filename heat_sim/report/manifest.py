"""What made a run: arguments, seeds, versions, hashes of the specs."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from heat_sim import __version__

_PACKAGES = ("numpy", "scipy", "numba", "pymoo", "opt_einsum", "torch", "transformers")


def manifest(
    *, arguments: Mapping[str, object], seed: int, spec_files: Sequence[Path], facts: Mapping[str, object]
) -> dict[str, Any]:
    """Return the manifest of a run.

    Args:
        arguments: As given on the command line, defaults included.
        seed: Of every random choice.
        spec_files: Architecture and energy files; they are recorded by SHA-256.
        facts: What the run found out about itself.
    """
    return {
        "heat_sim": __version__,
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
        "seed": seed,
        "arguments": dict(arguments),
        "spec_sha256": spec_hashes(spec_files),
        "facts": dict(facts),
    }


def spec_hashes(files: Sequence[Path]) -> dict[str, str]:
    """Return the hexadecimal SHA-256 of every file, by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
