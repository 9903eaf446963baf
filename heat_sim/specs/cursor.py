"""A place in a spec file that knows its name, so that every refusal can say where it stands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heat_sim.errors import SpecError, describe
from heat_sim.specs.yaml_nodes import Node, parse_yaml, read_yaml

MAX_INTEGER = 2**53
"""Larger integers would lose digits in tools that keep them as doubles."""

MAX_SHOWN = 80
"""Characters of an offending value that a message repeats."""

MAX_EXPECTED = 600
"""Characters of what was expected, which may be a long list."""

MAX_COMPARED = 60
"""Comparing words is quadratic: longer words and lists get no suggestion."""

_INTEGER = re.compile(r"[-+]?(0|[1-9]\d{0,17})")
_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,14}")
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d{1,3})?")


def parse_number(text: str) -> int | float | None:
    """Return the integer or finite float that a scalar spells, None if it spells neither.

    >>> [parse_number(text) for text in ("512", "0x200", "1e3", "-.5", "1_024", "010", "4K")]
    [512, 512, 1000.0, -0.5, None, None, None]
    """
    if len(text) > 40:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text) and not (text.lstrip("+-").isdigit()):
        value = float(text)
        return value if abs(value) < float("inf") else None
    return None


def suggest(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean X?" for the known word closest to a misspelt one, or nothing.

    >>> suggest("read_bandwith", ["read_bandwidth", "depth"])
    ' Did you mean read_bandwidth?'
    >>> suggest("colour", ["depth"])
    ''
    """
    known = [name for name in known if len(name) <= MAX_COMPARED]
    if len(word) > MAX_COMPARED or len(known) > MAX_COMPARED:
        return ""
    if close := difflib.get_close_matches(word, known, n=1, cutoff=0.75):
        return f" Did you mean {close[0]}?"
    return ""


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    r"""One value of a file under its full name; the cursors of a file share one list of problems.

    Attributes:
        node: The value.
        name: What messages call it, for example "GLB.attributes.depth".
        source: The file.
        problems: Where refusals are collected, in the order they are found.

    >>> node, problems = parse_yaml("{depth: -4, wdth: 8}", source="demo")
    >>> keys = Cursor(node=node, name="GLB", source="demo", problems=problems).table(("depth", "width"))
    >>> keys["depth"].integer(minimum=1)
    >>> print("\n".join(problems))
    demo:1 GLB.wdth: unknown key (got wdth, expected one of depth, width). Correct or delete it. Did you mean width?
    demo:1 GLB.depth: not an integer in range (got -4, expected an integer >= 1). Write the integer out.
    """

    node: Node
    name: str
    source: str
    problems: list[str]

    @property
    def where(self) -> str:
        """File, line and name, as messages begin."""
        return f"{self.source}:{self.node.line} {self.name}".rstrip()

    def refuse(self, what: str, *, got: object = None, expected: object, remedy: str) -> None:
        """Record one problem; the value itself is what was got unless `got` says otherwise."""
        shown = _cut(str(self.node if got is None else got) or "nothing", MAX_SHOWN)
        known = _cut(str(expected), MAX_EXPECTED)
        self.problems.append(describe(self.where, what, got=shown, expected=known, remedy=remedy))

    def renamed(self, name: str) -> Cursor:
        """Return the same place under another name."""
        return Cursor(node=self.node, name=name, source=self.source, problems=self.problems)

    def table(
        self,
        known: Iterable[str] | None = None,
        *,
        required: Iterable[str] = (),
        elsewhere: Mapping[str, str] | None = None,
    ) -> dict[str, Cursor]:
        """Return the values of a table by key; refuses what is no table, unknown keys and missing ones.

        Args:
            known: The keys it may have; None lets every key pass. A key containing "ignore" is a comment.
            required: The keys it must have.
            elsewhere: For keys that users put here by mistake, the remedy.
        """
        if self.node.kind != "table":
            self.refuse("not a table of keys", expected="keys and values", remedy="Correct it, or leave the key out.")
            return {}
        entries = dict(self.entries())
        if known is not None:
            names = list(known)
            for key in [key for key in entries if key not in names]:
                cursor = entries.pop(key)
                if "ignore" not in key:
                    remedy = (elsewhere or {}).get(key) or f"Correct or delete it.{suggest(key, names)}"
                    cursor.refuse("unknown key", got=key, expected=f"one of {', '.join(names)}", remedy=remedy)
        for key in required:
            if key not in entries:
                self.refuse(f"no {key}", got=f"keys {', '.join(self.node.keys) or 'none'}", expected=f"a key {key}",
                            remedy=f"Add {key}.")  # fmt: skip
        return entries

    def entries(self) -> Iterator[tuple[str, Cursor]]:
        """Yield keys and values of a table, none of anything else, without judging anything."""
        prefix = f"{self.name}." if self.name else ""
        for key, child in zip(self.node.keys, self.node.children, strict=False):
            yield key, Cursor(node=child, name=f"{prefix}{key}", source=self.source, problems=self.problems)

    def peek(self, key: str) -> str:
        """Return the text under a key of a table, without judging anything; empty if there is none."""
        return next((at.node.text for known, at in self.entries() if known == key), "")

    def items(self) -> tuple[Cursor, ...]:
        """Return the entries of a list; refuses what is no list."""
        if self.node.kind != "list":
            self.refuse("not a list", expected="a list", remedy="Write it as a list.")
            return ()
        return tuple(
            Cursor(node=child, name=f"{self.name}[{place}]", source=self.source, problems=self.problems)
            for place, child in enumerate(self.node.children)
        )

    def word(self) -> str | None:
        """Return a scalar's text; refuses anything else, and an empty one."""
        if self.node.kind != "scalar" or not self.node.text.strip():
            self.refuse("not a word", expected="a word", remedy="Correct it.")
            return None
        return self.node.text.strip()

    def number(self, *, minimum: float) -> float | None:
        """Return a scalar's number; refuses anything else, and less than `minimum`."""
        value = parse_number(self.node.text) if self.node.kind == "scalar" else None
        if value is None or value < minimum:
            self.refuse("not a number in range", expected=f"a number >= {minimum:g}", remedy="Write the number out.")
            return None
        return float(value)

    def integer(self, *, minimum: int) -> int | None:
        """Return a scalar's integer; refuses anything else, less than `minimum`, and more than 2**53."""
        value = parse_number(self.node.text) if self.node.kind == "scalar" else None
        if not isinstance(value, int) or not minimum <= value <= MAX_INTEGER:
            self.refuse("not an integer in range", expected=f"an integer >= {minimum}", remedy="Write the integer out.")
            return None
        return value

    def version(self, *expected: str) -> None:
        """Refuse a version other than the expected ones."""
        if self.node.text not in expected:
            self.refuse("unknown version", expected=" or ".join(expected),
                        remedy=f"Convert the file to version {expected[-1]}.")  # fmt: skip

    def raise_problems(self) -> None:
        """Raise everything that was refused so far.

        Raises:
            SpecError: At least one value was refused.
        """
        if self.problems:
            raise SpecError(list(dict.fromkeys(self.problems)))


SECTIONS = ("architecture", "variables", "problem", "mapping", "constraints", "ERT", "ERT_summary", "ART",
            "ART_summary", "mapper", "mapspace", "components", "compound_components")  # fmt: skip
"""Top-level keys a spec may have, and every key with "constraints" in it; each loader reads its own."""

Paths = str | Path | Sequence[str | Path]
"""A spec in one file, or in several that together are one."""


def open_spec(*paths: Paths) -> tuple[Cursor, dict[str, Cursor]]:
    """Return a cursor at the top of a spec, and its sections by name.

    Args:
        paths: The files; one that is named twice is read once. They share one list of problems.

    Raises:
        SpecError: A file is no readable YAML. Unknown sections, and those given twice, are recorded as problems.

    >>> top, sections = open_spec("mappings/simba_l/bert_ffn/problem.yaml")
    >>> list(sections), top.problems
    (['problem'], [])
    """
    files: dict[Path, str | Path] = {}
    for entry in paths:
        for path in (entry,) if isinstance(entry, str | Path) else entry:
            files.setdefault(Path(path).resolve(), path)
    if not files:
        raise SpecError(describe("spec", "no file", got="an empty list", expected="at least one", remedy="Name it."))
    opened: list[tuple[Node, list[str], str]] = []
    refused: list[str] = []
    for path in files.values():
        try:
            opened.append((*read_yaml(path), str(path)))
        except SpecError as error:
            refused += error.problems
    if refused:
        raise SpecError(refused)
    return _open(opened)


def open_spec_text(text: str, *, source: str) -> tuple[Cursor, dict[str, Cursor]]:
    """Return a cursor at the top of the text of a spec file, and its sections by name; see `open_spec`.

    >>> list(open_spec_text("mapping: []", source="demo")[1])
    ['mapping']
    """
    return _open([(*parse_yaml(text, source=source), source)])


def _open(files: Sequence[tuple[Node, list[str], str]]) -> tuple[Cursor, dict[str, Cursor]]:
    problems = [problem for _, found, _ in files for problem in found]
    sections: dict[str, Cursor] = {}
    for node, _, source in files:
        known = (*SECTIONS, *(key for key in node.keys if "constraints" in key))
        for name, section in Cursor(node=node, name="", source=source, problems=problems).table(known).items():
            if (first := sections.setdefault(name, section)) is not section:
                section.refuse("section given twice", got="a second one", remedy="Delete one of them.",
                               expected=f"one; the first is in {first.source}:{first.node.line}")  # fmt: skip
    return Cursor(node=files[0][0], name="", source=files[0][2], problems=problems), sections
