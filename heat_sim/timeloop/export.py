"""A case as a folder that timeloop-model runs as it is: old-style (v0.3) files under fixed names."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.errors import SpecError, describe
from heat_sim.mapping import Loop, Mapping
from heat_sim.report.files import write_text
from heat_sim.specs import (
    dump_architecture,
    dump_ert,
    dump_mapping,
    dump_problem,
    load_architecture,
    load_mapping,
    load_problem,
    parse_architecture,
)
from heat_sim.specs.cursor import open_spec

FILES = {"architecture": "arch.yaml", "problem": "problem.yaml", "mapping": "mapping.yaml", "ERT": "ert.yaml"}
"""Section to the file that holds it, in the order of the command line."""


def export_case(target: Path, *, architecture: Sequence[Path], problem: Path, mapping: Path) -> tuple[Path, ...]:
    """Return the files written, in the order of timeloop-model's command line.

    Files that are v0.3 already and hold one section each are copied. Otherwise all four are written anew; then
    dimensions with names of several letters, which Timeloop cannot read, get one letter each (the README says which).
    The case is read first, so what heat_sim refuses is not exported.

    Args:
        target: The folder; files in it are replaced.
        architecture: The architecture's file, or files where the energy table is a file of its own.
        problem: The einsum.
        mapping: The nest.

    Raises:
        HeatError: The case cannot be read, or cannot be said in v0.3.

    >>> import tempfile
    >>> case = Path("tests/golden/timeloop/09_spatial_xy_reduction")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = export_case(Path(folder), architecture=(case / "arch.yaml", case / "ert.yaml"),
    ...                         problem=case / "problem.yaml", mapping=case / "mapping.yaml")
    ...     command_line(files)
    'timeloop-model arch.yaml problem.yaml mapping.yaml ert.yaml -o out'
    """
    spec = load_architecture(*architecture[:1], ert=architecture[1] if len(architecture) > 1 else None)
    einsum = load_problem(problem)
    nest = load_mapping(mapping, einsum=einsum, spec=spec)
    given = dict(zip(FILES, (architecture[0], problem, mapping, architecture[-1]), strict=True))
    letters = _letters(einsum)
    if spec.version == "0.3" and not letters and all(_holds_only(path, name) for name, path in given.items()):
        texts = {name: path.read_text(encoding="utf-8") for name, path in given.items()}
    else:
        einsum, nest = _renamed(einsum, nest, letters)
        hardware = _without_virtual_levels(spec.architecture)
        texts = {
            "architecture": dump_architecture(hardware, version="0.3"),
            "problem": dump_problem(einsum, version="0.3"),
            "ERT": dump_ert(hardware),
        }
        old = parse_architecture(texts["architecture"] + texts["ERT"])
        texts["mapping"] = dump_mapping(nest, einsum=einsum, spec=old)
    for section, name in FILES.items():
        write_text(target / name, texts[section])
    files = tuple(target / name for name in FILES.values())
    write_text(target / "README.md", _readme(files, einsum.name, letters))
    return files


def command_line(files: Sequence[Path]) -> str:
    """Return how to run Timeloop in the folder of the files.

    >>> command_line([Path("case/arch.yaml")])
    'timeloop-model arch.yaml -o out'
    """
    return f"timeloop-model {' '.join(path.name for path in files)} -o out"


def _without_virtual_levels(architecture: Architecture) -> Architecture:
    """Make storages of one word of the meshes without a storage, as Timeloop's front end does; they keep nothing."""
    levels = (
        replace(level, is_virtual=False, capacity_words=1, word_bits=1) if level.is_virtual else level
        for level in architecture.levels
    )
    return replace(architecture, levels=tuple(levels))


def _holds_only(path: Path, section: str) -> bool:
    return list(open_spec(path)[1]) == [section]


def _letters(einsum: Einsum) -> dict[str, str]:
    """Return a letter for every dimension; nothing if each of them is one already."""
    if all(len(name) == 1 for name in einsum.rank_vars):
        return {}
    if len(einsum.rank_vars) > len(string.ascii_uppercase):
        raise SpecError(
            describe(f"problem {einsum.name}", "Timeloop has one letter for a dimension", got=len(einsum.rank_vars),
                     expected=f"at most {len(string.ascii_uppercase)} dimensions", remedy="Merge some.")
        )  # fmt: skip
    return dict(zip(einsum.rank_vars, string.ascii_uppercase, strict=False))


def _renamed(einsum: Einsum, nest: Mapping, letters: dict[str, str]) -> tuple[Einsum, Mapping]:
    if not letters:
        return einsum, nest

    def access(tensor: TensorAccess) -> TensorAccess:
        projection = tuple(tuple((letters[var], factor) for var, factor in rank) for rank in tensor.projection)
        return replace(tensor, projection=projection)

    def loops(found: tuple[Loop, ...]) -> tuple[Loop, ...]:
        return tuple(replace(loop, rank_var=letters[loop.rank_var]) for loop in found)

    renamed = replace(
        einsum,
        inputs=tuple(map(access, einsum.inputs)),
        output=access(einsum.output),
        extents=tuple((letters[var], extent) for var, extent in einsum.extents),
    )
    levels = (replace(level, temporal=loops(level.temporal), spatial=loops(level.spatial)) for level in nest.levels)
    return renamed, Mapping(levels=tuple(levels))


def _readme(files: Sequence[Path], name: str, letters: dict[str, str]) -> str:
    text = f"# {name}\n\nWritten by `heat-sim timeloop export`. In this folder run:\n\n    {command_line(files)}\n"
    if letters:
        text += "\nTimeloop's dimensions have one letter each:\n\n| here | in the problem |\n| --- | --- |\n"
        text += "".join(f"| {letter} | {var} |\n" for var, letter in letters.items())
    return text
