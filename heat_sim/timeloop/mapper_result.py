"""Mappings as timeloop-mapper writes them: ``timeloop-mapper.map.yaml`` and ``timeloop-mapper.map.txt``.

Both name levels as the old-style architecture has them: the spatial loops of a level fan out below it. Where the
mapper ran behind the v0.4 front end, each node with a mesh is a level of its own, ``inter_<node>_spatial``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heat_sim.einsum import Einsum
from heat_sim.errors import SpecError, describe
from heat_sim.mapping import Dimension, LevelMapping, Loop, Mapping, check_mapping
from heat_sim.specs import ArchitectureSpec
from heat_sim.specs.cursor import Cursor, open_spec, suggest

_HEADER = re.compile(r"(?P<level>\S+) \[ (?P<tensors>.*)\]\s*")
_KEPT = re.compile(r"(\S+):\d+ \(\d+\)")
_LOOP = re.compile(r"\|\s+for (\S+) in \[0:(\d+)(?:[/,](\d+))?\)(?: \(Spatial-([XY])\))?\s*")
_END = re.compile(r"[-\s]*|\|\s+<< Compute >>\s*")
_INSERTED = re.compile(r"inter_(?P<node>.+)_spatial")
_TYPES = ("temporal", "spatial", "datatype", "dataspace", "bypass")


@dataclass(slots=True, kw_only=True)
class _Found:
    """What the file says of one of its levels; loops outermost first."""

    keep: frozenset[str] = frozenset()
    temporal: list[Loop] = field(default_factory=list)
    spatial: list[Loop] = field(default_factory=list)


def import_mapping(path: str | Path, *, einsum: Einsum, spec: ArchitectureSpec) -> Mapping:
    r"""Return the mapping that timeloop-mapper found.

    Args:
        path: Its ``.map.yaml``, or its ``.map.txt``, which alone tells imperfect factors.
        einsum: The problem the mapper was run on.
        spec: The architecture it was run on, in the version of the user's choice.

    Raises:
        SpecError: Every problem of the file.
        MappingError: It is no mapping of this einsum on this architecture.
        InfeasibleError: Its loops do not fit the meshes.

    >>> import tempfile
    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.specs import spec_from_architecture
    >>> tiny = Architecture(name="tiny", levels=(StorageLevel(name="DRAM"),), compute_name="MAC", compute_energy_pj=1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "timeloop-mapper.map.txt"
    ...     _ = file.write_text("DRAM [ a:4 (4) z:4 (4) ] \n---\n| for m in [0:4)\n|   << Compute >>\n")
    ...     print(import_mapping(file, einsum=parse_einsum("z[m] = a[m]", extents={"m": 4}),
    ...                          spec=spec_from_architecture(tiny)))
    DRAM [a, z]
    | for m in 0..3
    """
    path = Path(path)
    found = _read_text(path) if path.suffix == ".txt" else _read_directives(path, einsum)
    mapping = _assemble(found, source=str(path), spec=spec)
    check_mapping(einsum, spec.architecture, mapping)
    return mapping


def _assemble(found: dict[str, _Found], *, source: str, spec: ArchitectureSpec) -> Mapping:
    """Put the levels of the file on those of the architecture; meshes go to the level above them."""
    levels = {level.name: _Found() for level in spec.architecture.levels}
    above = {target: level for level, target in spec.spatial_targets.items()}
    problems: list[str] = []
    for name, told in found.items():
        inserted = _INSERTED.fullmatch(name)
        home = above.get(inserted["node"]) if inserted else None
        if name in levels:
            levels[name].keep, levels[name].temporal = told.keep, told.temporal
            levels[name].spatial += told.spatial
        elif home is not None and not told.keep and not told.temporal:
            levels[home].spatial += told.spatial
        elif told.keep or told.temporal or told.spatial:
            what = "loops or data where the architecture has none" if home is not None else "unknown level"
            problems.append(
                describe(source, what, got=name, expected=f"one of {', '.join(levels)}",
                         remedy=f"Give the architecture that the mapper was run on.{suggest(name, levels)}")
            )  # fmt: skip
    if problems:
        raise SpecError(problems)
    return Mapping(
        levels=tuple(
            LevelMapping(level=name, temporal=tuple(told.temporal), spatial=tuple(told.spatial), keep=told.keep)
            for name, told in levels.items()
        )
    )


def _read_text(path: Path) -> dict[str, _Found]:
    """Read the picture of a loop nest; loops of bound 1 are not drawn."""
    found: dict[str, _Found] = {}
    current: _Found | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if match := _HEADER.fullmatch(line):
            current = found[match["level"]] = _Found(keep=frozenset(_KEPT.findall(match["tensors"])))
        elif current is not None and (match := _LOOP.fullmatch(line)):
            rank_var, bound, residual, axis = match.groups()
            loop = Loop(
                rank_var=rank_var, bound=int(bound), dimension=_axis(axis),
                residual=None if residual is None else int(residual),
            )  # fmt: skip
            (current.temporal if axis is None else current.spatial).append(loop)
        elif not _END.fullmatch(line):
            raise SpecError(
                describe(f"{path}:{number}", "not a line of a mapper's loop nest", got=line.strip()[:60],
                         expected="a level such as 'DRAM [ A:16 (16) ]' or a loop such as '| for M in [0:4)'",
                         remedy="Give a .map.txt or .map.yaml file of timeloop-mapper.")
            )  # fmt: skip
    return found


def _axis(letter: str | None) -> Dimension:
    if letter is None:
        return "temporal"
    return "x" if letter == "X" else "y"


def _read_directives(path: Path, einsum: Einsum) -> dict[str, _Found]:
    top, sections = open_spec(path)
    if "mapping" not in sections:
        top.refuse("no mapping section", got=f"keys {', '.join(sections) or 'none'}", expected="a key mapping",
                   remedy="Give a .map.yaml or .map.txt file of timeloop-mapper.")  # fmt: skip
        top.raise_problems()
    found: dict[str, _Found] = {}
    for item in sections["mapping"].items():
        entries = item.table(
            ("target", "type", "factors", "permutation", "split", "keep", "bypass"), required=("target", "type")
        )
        target, kind = item.peek("target"), item.peek("type")
        if not target or kind not in _TYPES:
            item.refuse("unknown type of directive", got=kind, expected=f"one of {', '.join(_TYPES)}",
                        remedy="Give a file of timeloop-mapper.")  # fmt: skip
            continue
        told = found.setdefault(target, _Found())
        if kind not in ("temporal", "spatial"):
            keep = entries["keep"].items() if "keep" in entries else []
            told.keep = frozenset(name for each in keep if (name := each.word()) is not None)
            continue
        split = (entries["split"].integer(minimum=0) if "split" in entries else None) or 0
        bounds = _factors(entries["factors"], einsum.rank_vars) if "factors" in entries else {}
        inner_first = _names(entries["permutation"], einsum.rank_vars) if "permutation" in entries else ()
        loops = [
            Loop(
                rank_var=name, bound=bounds[name],
                dimension="temporal" if kind == "temporal" else "x" if place < split else "y",
            )
            for place, name in enumerate(inner_first)
            if bounds.get(name, 1) > 1
        ][::-1]  # fmt: skip
        if missing := sorted({name for name, bound in bounds.items() if bound > 1} - set(inner_first)):
            item.refuse("factors without a place in the permutation", got=", ".join(missing),
                        expected="every dimension in it", remedy="Give the .map.txt file.")  # fmt: skip
        (told.temporal if kind == "temporal" else told.spatial).extend(loops)
    top.raise_problems()
    return found


def _factors(at: Cursor, names: Sequence[str]) -> dict[str, int]:
    """Read ``M4 K2``; the mapper writes every dimension once and no equals sign."""
    bounds: dict[str, int] = {}
    for token in re.split(r"[\s,]+", at.node.text.strip()):
        readings = [
            (name, int(token[len(name) :].removeprefix("=")))
            for name in names
            if token.startswith(name) and re.fullmatch(r"=?\d{1,18}", token[len(name) :])
        ]
        if len(readings) == 1:
            bounds[readings[0][0]] = readings[0][1]
        else:
            at.refuse("factor with no or several readings", got=token,
                      expected=f"one of {', '.join(names)} and a number, such as {names[0]}4",
                      remedy="Give the .map.txt file.")  # fmt: skip
    return bounds


def _names(at: Cursor, names: Sequence[str]) -> tuple[str, ...]:
    """Read ``MKN``, in which names of several letters are not set apart either."""
    text = at.node.text.strip()

    def readings(place: int, used: tuple[str, ...]) -> list[tuple[str, ...]]:
        if place == len(text):
            return [used]
        return [
            reading
            for name in names
            if name not in used and text.startswith(name, place)
            for reading in readings(place + len(name), (*used, name))
        ]

    found = readings(0, ())
    if len(found) == 1:
        return found[0]
    at.refuse("permutation with no or several readings", got=text, expected=f"each of {', '.join(names)} once",
              remedy="Give the .map.txt file.")  # fmt: skip
    return ()
