"""Loop factors, permutations and keep/bypass lists: the vocabulary mappings and constraints share.

Files write permutations innermost first; so do the fields here. Nothing knows the problem yet.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from heat_sim.specs.cursor import MAX_INTEGER, Cursor

# no_reuse and maximize_dims speak to Timeloop's mapper; no count of a given mapping depends on them.
LOOP_KEYS = ("factors", "factors_only", "permutation", "split", "no_reuse", "rmw_first_update", "maximize_dims")
DATASPACE_KEYS = ("keep", "bypass", "keep_only", "bypass_only")

_FACTOR = re.compile(r"[\s,]*([A-Za-z_]\w*)\s*(<=|>=|=)\s*(\d{1,18})((?:\s*,\s*\d+)*)(?![\w.])")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopDirective:
    """Factors and order of the temporal or the spatial loops at one place.

    Attributes:
        at: Where it stands.
        factors: Dimension to bound as written; 0 stands for the full extent.
        only: Whether every dimension without a factor has bound 1 for certain (factors_only).
        permutation: Dimensions, innermost first; None if not given.
        split: How many entries of the completed permutation lie along x; None if not given.
    """

    at: Cursor
    factors: dict[str, int] = field(default_factory=dict)
    only: bool = False
    permutation: tuple[str, ...] | None = None
    split: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataspaceDirective:
    """Which data spaces one storage keeps and which bypass it.

    Attributes:
        at: Where it stands.
        keep: Names; "*" stands for all.
        bypass: Names; "*" stands for all.
        rest: Where every data space that is not listed goes; None if it is left open.
    """

    at: Cursor
    keep: frozenset[str] = frozenset()
    bypass: frozenset[str] = frozenset()
    rest: str | None = None


def read_loops(entries: dict[str, Cursor], at: Cursor, *, spatial: bool) -> LoopDirective:
    """Return the loops that the keys of a directive or constraint describe.

    Args:
        entries: The keys in `LOOP_KEYS` that are there.
        at: The directive, for messages.
        spatial: Whether a split makes sense.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> _, sections = open_spec_text("mapping: {factors: M=4 K=0, permutation: KM}", source="demo")
    >>> loops = read_loops(sections["mapping"].table(), sections["mapping"], spatial=False)
    >>> loops.factors, loops.permutation
    ({'M': 4, 'K': 0}, ('K', 'M'))
    """
    if "rmw_first_update" in entries:
        entries["rmw_first_update"].refuse("key is not read", expected="first updates that do not read",
                                           remedy="Delete it.")  # fmt: skip
    factors: dict[str, int] = {}
    for key in ("factors", "factors_only"):
        if key in entries:
            _merge_factors(factors, entries[key])
    split = None
    if "split" in entries:
        if spatial:
            split = entries["split"].integer(minimum=0)
        else:
            entries["split"].refuse("temporal loops have no split", expected="no split", remedy="Delete it.")
    return LoopDirective(
        at=at,
        factors=factors,
        only="factors_only" in entries,
        permutation=_permutation(entries["permutation"]) if "permutation" in entries else None,
        split=split,
    )


def read_dataspaces(entries: dict[str, Cursor], at: Cursor) -> DataspaceDirective:
    """Return the keep and bypass lists that the keys in `DATASPACE_KEYS` describe.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> _, sections = open_spec_text("mapping: {keep_only: [A]}", source="demo")
    >>> read_dataspaces(sections["mapping"].table(), sections["mapping"]).rest
    'bypass'
    """
    names = {key: _names(entries[key]) for key in DATASPACE_KEYS if key in entries}
    keep = frozenset((*names.get("keep", ()), *names.get("keep_only", ())))
    bypass = frozenset((*names.get("bypass", ()), *names.get("bypass_only", ())))
    rest = "bypass" if "keep_only" in names else "keep" if "bypass_only" in names else None
    if "keep_only" in names and "bypass_only" in names:
        at.refuse("keep_only beside bypass_only", got="both", expected="one of them",
                  remedy="Write keep and bypass.")  # fmt: skip
    if both := sorted(keep & bypass):
        at.refuse("kept and bypassed at once", got=", ".join(both), expected="each name in one list",
                  remedy="Delete it from one.")  # fmt: skip
    return DataspaceDirective(at=at, keep=keep, bypass=bypass, rest=rest)


def _merge_factors(factors: dict[str, int], cursor: Cursor) -> None:
    parts = [cursor] if cursor.node.kind == "scalar" else cursor.items()
    for part in parts:
        text = (part.word() or "").rstrip(", ")
        place = 0
        while place < len(text):
            match = _FACTOR.match(text, place)
            if match is None:
                part.refuse("not a factor", got=text[place:], expected="dimension=number, such as M=4",
                            remedy="Correct it; arithmetic is not read here.")  # fmt: skip
                break
            dimension, relation, number, residual = match.groups()
            place = match.end()
            if residual:
                part.refuse("imperfect factors are not read", got=match.group().strip(),
                            expected=f"one number, such as {dimension}={number}",
                            remedy="Use factors that multiply to the bound.")  # fmt: skip
            elif relation != "=":
                part.refuse("limits on factors are not read", got=match.group().strip(), expected=f"{dimension}=number",
                            remedy="Fix the factor or leave it out.")  # fmt: skip
            elif int(number) > MAX_INTEGER:
                part.refuse("factor too large", got=number, expected=f"at most {MAX_INTEGER}", remedy="Correct it.")
            elif factors.setdefault(dimension, int(number)) != int(number):
                part.refuse("two factors for one dimension", got=f"{dimension}={number}",
                            expected=f"{dimension}={factors[dimension]}", remedy="Delete one.")  # fmt: skip


def _permutation(cursor: Cursor) -> tuple[str, ...]:
    """A list, a text with commas or blanks, or letters of one-letter dimensions such as KNM."""
    if cursor.node.kind == "scalar":
        text = cursor.word() or ""
        names = re.split(r"[\s,]+", text) if re.search(r"[\s,]", text) else list(text)
    else:
        names = [name for item in cursor.items() if (name := item.word()) is not None]
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        cursor.refuse("a dimension appears twice", got=", ".join(repeated), expected="each dimension once",
                      remedy="Delete one of them.")  # fmt: skip
    return tuple(dict.fromkeys(names))


def _names(cursor: Cursor) -> tuple[str, ...]:
    if cursor.node.kind == "scalar":
        return tuple(re.split(r"[\s,]+", cursor.node.text.strip())) if cursor.node.text.strip() else ()
    return tuple(name for item in cursor.items() if (name := item.word()) is not None)
