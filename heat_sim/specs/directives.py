"""Loop factors, permutations and keep/bypass lists: the vocabulary mappings and constraints share.

Files write permutations innermost first; so do the fields here. Nothing knows the problem yet.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from heat_sim.mapping import Limit
from heat_sim.specs.cursor import MAX_INTEGER, Cursor

Version = Literal["0.3", "0.4"]

# no_reuse and maximize_dims speak to Timeloop's mapper; no count of a given mapping depends on them.
LOOP_KEYS = ("factors", "factors_only", "permutation", "split", "no_reuse", "rmw_first_update", "maximize_dims")
DATASPACE_KEYS = ("keep", "bypass", "keep_only", "bypass_only")

_FACTOR = re.compile(r"[\s,]*([A-Za-z_]\w*)\s*(<=|>=|=)\s*(\d{1,18})(?:\s*,\s*(\d{1,18}))?(?![\w.])")
_BARE_FACTOR = re.compile(r"[\s,]*([A-Za-z])()(\d{1,18})(?:,(\d{1,18}))?(?![\w.])")
"""As v0.3 takes it, and as Timeloop's mapper writes it: M4."""


class Factor(NamedTuple):
    """The bound of a loop as written, 0 for the whole extent; the residual is None if every pass is full."""

    bound: int
    residual: int | None = None

    def __str__(self) -> str:
        return f"{self.bound}" if self.residual is None else f"{self.bound},{self.residual}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopDirective:
    """Factors and order of the temporal or the spatial loops at one place.

    Attributes:
        at: Where it stands.
        factors: Dimension to what is written.
        limits: Dimension to the least and the most its bound may be.
        only: Whether every dimension without a factor has bound 1 for certain (factors_only).
        permutation: Dimensions, innermost first; None if not given.
        split: How many entries of the completed permutation lie along x; None if not given.
    """

    at: Cursor
    factors: dict[str, Factor] = field(default_factory=dict)
    limits: dict[str, Limit] = field(default_factory=dict)
    only: bool = False
    permutation: tuple[str, ...] | None = None
    split: int | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it asks for no loop: every factor is written as 1, and 1 meets every limit."""
        return all(factor == Factor(1) for factor in self.factors.values()) and all(
            least <= 1 for least, _ in self.limits.values()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataspaceDirective:
    """Which data spaces one storage keeps and which bypass it.

    Attributes:
        at: Where it stands.
        keep: Names.
        bypass: Names.
        others: Where every data space that is not listed goes; None if it is left open.
    """

    at: Cursor
    keep: frozenset[str] = frozenset()
    bypass: frozenset[str] = frozenset()
    others: Literal["keep", "bypass"] | None = None


def read_loops(entries: dict[str, Cursor], at: Cursor, *, spatial: bool, version: Version) -> LoopDirective:
    """Return the loops that the keys of a directive or constraint describe.

    Args:
        entries: The keys in `LOOP_KEYS` that are there.
        at: The directive, for messages.
        spatial: Whether a split makes sense.
        version: v0.4 has no imperfect factors, as its front end has none.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> _, sections = open_spec_text("mapping: {factors: 'M=4,2 K=0 N<=8', permutation: KM}", source="demo")
    >>> loops = read_loops(sections["mapping"].table(), sections["mapping"], spatial=False, version="0.3")
    >>> {name: str(factor) for name, factor in loops.factors.items()}, loops.limits, loops.permutation
    ({'M': '4,2', 'K': '0'}, {'N': (1, 8)}, ('K', 'M'))
    """
    if "rmw_first_update" in entries:
        entries["rmw_first_update"].refuse("key is not read", expected="first updates that do not read",
                                           remedy="Delete it.")  # fmt: skip
    found = LoopDirective(at=at)
    for key in ("factors", "factors_only"):
        if key in entries:
            _merge_factors(found, entries[key], version)
    split = None
    if "split" in entries:
        if spatial:
            split = entries["split"].integer(minimum=0)
        else:
            entries["split"].refuse("temporal loops have no split", expected="no split", remedy="Delete it.")
    return replace(
        found,
        only="factors_only" in entries,
        permutation=_permutation(entries["permutation"]) if "permutation" in entries else None,
        split=split,
    )


def read_dataspaces(entries: dict[str, Cursor], at: Cursor) -> DataspaceDirective:
    """Return the keep and bypass lists that the keys in `DATASPACE_KEYS` describe.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> _, sections = open_spec_text("mapping: {keep_only: [A]}", source="demo")
    >>> read_dataspaces(sections["mapping"].table(), sections["mapping"]).others
    'bypass'
    """
    names = {key: set(_names(entries[key])) for key in DATASPACE_KEYS if key in entries}
    keep = names.get("keep", set()) | names.get("keep_only", set())
    bypass = names.get("bypass", set()) | names.get("bypass_only", set())
    others: set[Literal["keep", "bypass"]] = set()
    if "bypass_only" in names or "*" in keep:
        others.add("keep")
    if "keep_only" in names or "*" in bypass:
        others.add("bypass")
    if len(others) == 2:
        at.refuse("every data space that is not listed is kept and bypassed at once", got="keep_only or bypass: * "
                  "beside bypass_only or keep: *", expected="one of them", remedy="Write keep and bypass.")  # fmt: skip
    if both := sorted(keep & bypass - {"*"}):
        at.refuse("kept and bypassed at once", got=", ".join(both), expected="each name in one list",
                  remedy="Delete it from one.")  # fmt: skip
    return DataspaceDirective(
        at=at, keep=frozenset(keep - {"*"}), bypass=frozenset(bypass - {"*"}), others=others.pop() if others else None
    )


def _merge_factors(found: LoopDirective, cursor: Cursor, version: Version) -> None:
    parts = [cursor] if cursor.node.kind == "scalar" else cursor.items()
    for part in parts:
        text = (part.word() or "").rstrip(", ")
        place = 0
        while place < len(text):
            match = _FACTOR.match(text, place)
            if match is None and version == "0.3":
                match = _BARE_FACTOR.match(text, place)
            if match is None:
                part.refuse("not a factor", got=text[place:], expected="dimension=number, such as M=4",
                            remedy="Correct it; arithmetic is not read here.")  # fmt: skip
                break
            place = match.end()
            _merge_factor(found, part, match, version)


def _merge_factor(found: LoopDirective, part: Cursor, match: re.Match[str], version: Version) -> None:
    dimension, relation, digits, last = match.groups()
    bound, residual, written = int(digits), None if last is None else int(last), match.group().strip(" ,")
    if bound > MAX_INTEGER:
        part.refuse("factor too large", got=digits, expected=f"at most {MAX_INTEGER}", remedy="Correct it.")
    elif relation in ("<=", ">="):
        least, most = found.limits.get(dimension, (1, None))
        if relation == ">=":
            limit: Limit = max(least, bound), most
        else:
            limit = least, bound if most is None else min(most, bound)
        if residual is not None or (limit[1] is not None and limit[1] < limit[0]):
            part.refuse("a limit that nothing meets", got=written, expected=f"{dimension}<=number, at least {limit[0]}",
                        remedy="Correct it.")  # fmt: skip
        else:
            found.limits[dimension] = limit
    elif residual is not None and version == "0.4":
        part.refuse("imperfect factors are not read in v0.4", got=written, expected=f"one number, such as "
                    f"{dimension}={bound}", remedy="Use factors that multiply to the bound, or v0.3.")  # fmt: skip
    elif residual is not None and not 1 <= residual <= bound:
        part.refuse("not the iterations of a last pass", got=written,
                    expected=f"{dimension}={bound},r with r from 1 to {bound}", remedy="Correct it.")  # fmt: skip
    else:
        factor = Factor(bound, None if residual == bound else residual)
        if (first := found.factors.setdefault(dimension, factor)) != factor:
            part.refuse("two factors for one dimension", got=f"{dimension}={factor}", expected=f"{dimension}={first}",
                        remedy="Delete one.")  # fmt: skip


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
