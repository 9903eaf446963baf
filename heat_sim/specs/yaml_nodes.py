"""Strict YAML: a file becomes a tree of nodes with line numbers, and nothing in it is executed.

Refused: templating, foreign tags, repeated keys, recursive merges, and files too large, too deep or
too long once their aliases are written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import yaml

from heat_sim.errors import SpecError, describe

MAX_BYTES = 256 * 1024
MAX_DEPTH = 30
MAX_NODES = 20_000
"""Nodes of one file, aliases written out; the largest golden case has about 400."""

COMPONENT_TAGS = ("!Component", "!Container", "!Hierarchical", "!Parallel", "!Pipelined", "!Nothing")
"""The tags of a Timeloop v0.4 architecture."""

_TEMPLATING = ("{{", "{%", "{#")
_CORE_TAG = "tag:yaml.org,2002:"
_PLAIN_TYPES = ("map", "seq", "str", "int", "float", "bool", "null", "merge", "timestamp", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One value of a YAML file, and where it stands.

    Attributes:
        kind: A scalar, a list, or a table of keys and values.
        line: Its line in the file, the line of its key if it has one.
        tag: The tag of the file, such as "!Component"; empty if it has none.
        text: What a scalar says, not interpreted.
        quoted: Whether the scalar stands in quotes.
        keys: Keys of a table, one per child.
        children: Entries of a list, or values of a table.
    """

    kind: Literal["scalar", "list", "table"]
    line: int
    tag: str = ""
    text: str = ""
    quoted: bool = False
    keys: tuple[str, ...] = ()
    children: tuple[Node, ...] = ()

    def __str__(self) -> str:
        if self.kind == "scalar":
            return self.text if len(self.text) <= 60 else f"{self.text[:57]}..."
        return f"a {self.kind} of {len(self.children)}"


def read_yaml(path: str | Path) -> tuple[Node, list[str]]:
    """Return the tree of a YAML file, and its problems that do not keep one from reading on.

    Args:
        path: The file.

    Raises:
        SpecError: The file cannot be read, is no YAML, is too large, or asks for templating.

    >>> root, problems = read_yaml("arch_specs/simba_l/ert.yaml")
    >>> root.keys, problems
    (('ERT',), [])
    """
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(
            describe(
                str(path), "cannot be read", got=error.strerror, expected="a YAML file", remedy="Correct the path."
            )
        ) from error
    if len(data) > MAX_BYTES:
        raise SpecError(
            describe(str(path), "too large for a spec", got=f"more than {MAX_BYTES:,} bytes",
                     expected=f"at most {MAX_BYTES:,}", remedy="Split it into one file per section.")
        )  # fmt: skip
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SpecError(
            describe(f"{path}:{line}", "not UTF-8 text", got=f"byte {error.start}",
                     expected="UTF-8", remedy="Save the file as UTF-8.")
        ) from error  # fmt: skip
    return parse_yaml(text, source=str(path))


def parse_yaml(text: str, *, source: str) -> tuple[Node, list[str]]:
    r"""Return the tree of a YAML text, and its problems that do not keep one from reading on.

    Args:
        text: The text.
        source: What messages call it, for example its path.

    Raises:
        SpecError: It is no YAML, nested too deep, too long, or asks for templating.

    >>> root, problems = parse_yaml("a: 1\nb: [x, 'y']\na: 2", source="demo")
    >>> root.keys, [child.line for child in root.children]
    (('a', 'b'), [1, 2])
    >>> print(problems[0])
    demo:3 a: key given twice (got a second value, expected one; the first is in line 1). Delete one of them.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        for opening in _TEMPLATING:
            if opening in line:
                raise SpecError(
                    describe(f"{source}:{number}", "templating is not read", got=opening, expected="plain YAML",
                             remedy="Write the result of the template into the file.")
                )  # fmt: skip
    try:
        root = _Composer(text, source).get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark is not None else ""
        got = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpecError(
            describe(f"{source}{place}", "not YAML", got=got, expected="well-formed YAML", remedy="Correct the syntax.")
        ) from error
    if root is None:
        raise SpecError(
            describe(source, "empty", got="no YAML at all", expected="a table of sections", remedy="Fill the file.")
        )
    reading = _Reading(source)
    return reading.convert(root, 0, root.start_mark.line + 1), reading.problems


class _Composer(yaml.SafeLoader):
    """Composes nodes but stops at a depth that would otherwise exhaust the stack, and at too many."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self._source = source
        self._depth = 0
        self._count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH or self._count > MAX_NODES:
            _refuse_size(f"{self._source}:{self.line + 1}", self._depth)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _refuse_size(where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise SpecError(
            describe(where, "nested too deep", got=f"more than {MAX_DEPTH} levels (an alias may contain itself)",
                     expected=f"at most {MAX_DEPTH}", remedy="Flatten the file.")
        )  # fmt: skip
    raise SpecError(
        describe(where, "too many values", got=f"more than {MAX_NODES:,}, aliases written out",
                 expected=f"at most {MAX_NODES:,}", remedy="Split the file, or use fewer aliases.")
    )  # fmt: skip


class _Reading:
    """One walk over composed nodes; counts every node as often as aliases repeat it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[str] = []
        self.count = 0

    def convert(self, node: yaml.Node, depth: int, line: int) -> Node:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            _refuse_size(f"{self.source}:{line}", depth)
        tag = self._tag(node)
        if isinstance(node, yaml.ScalarNode):
            return Node(kind="scalar", line=line, tag=tag, text=node.value, quoted=node.style is not None)
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self.convert(item, depth + 1, item.start_mark.line + 1) for item in node.value)
            return Node(kind="list", line=line, tag=tag, children=items)
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in node.value:
            key_line = key.start_mark.line + 1
            where = f"{self.source}:{key_line}"
            child = self.convert(value, depth + 1, key_line)
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(
                    describe(where, "a key is not a word", got="a list or table", expected="a word",
                             remedy="Correct the key.")
                )  # fmt: skip
            elif key.value == "<<" and key.style is None:
                for table in child.children if child.kind == "list" else (child,):
                    if table.kind != "table":
                        self.problems.append(
                            describe(f"{where} <<", "not a table to merge", got=table, expected="an alias of a table",
                                     remedy="Correct the alias.")
                        )  # fmt: skip
                    for name, inherited in zip(table.keys, table.children, strict=False):
                        merged.setdefault(name, inherited)
            elif key.value == "<<<":
                self.problems.append(
                    describe(f"{where} <<<", "recursive merge is not read", got="<<<", expected="<< or plain keys",
                             remedy="Write the merged keys out.")
                )  # fmt: skip
            elif key.value in own:
                self.problems.append(
                    describe(f"{where} {key.value}", "key given twice", got="a second value",
                             expected=f"one; the first is in line {own[key.value].line}",
                             remedy="Delete one of them.")
                )  # fmt: skip
            else:
                own[key.value] = replace(child, line=key_line)
        entries = {**own, **{name: child for name, child in merged.items() if name not in own}}
        return Node(kind="table", line=line, tag=tag, keys=tuple(entries), children=tuple(entries.values()))

    def _tag(self, node: yaml.Node) -> str:
        tag = str(node.tag)
        if tag in COMPONENT_TAGS:
            return tag
        if tag.removeprefix(_CORE_TAG) in _PLAIN_TYPES:
            return ""
        self.problems.append(
            describe(f"{self.source}:{node.start_mark.line + 1}", "tag is not read", got=tag.replace(_CORE_TAG, "!!"),
                     expected=f"none, or one of {_listed(COMPONENT_TAGS)}",
                     remedy="Paste the included text." if "include" in tag else "Correct or delete the tag.")
        )  # fmt: skip
        return ""


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
