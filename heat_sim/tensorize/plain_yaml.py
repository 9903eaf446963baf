"""YAML of plain values, read strictly: every problem of a document is noted with its line and key path."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from heat_sim.errors import SpecError, describe


class Reading:
    """One document being read: its plain values, the line of each key, and what was found wrong so far.

    Repeated keys, aliases and tags are refused; a key path joins the keys by dots.

    Attributes:
        root: The value of the whole document; None stands where something was refused.
        problems: One sentence per problem.
    """

    def __init__(self, text: str, *, source: str) -> None:
        self.source = source
        self.problems: list[str] = []
        self._lines: dict[str, int] = {}
        self._seen: set[int] = set()
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise SpecError(
                describe(source, "not YAML", got=" ".join(str(error).split()), expected="one YAML document",
                         remedy="Correct the syntax there.")
            ) from None  # fmt: skip
        self.root = None if node is None else self._value(node, "")

    def where(self, path: str) -> str:
        """Return file, line and key path of a value; the line is that of the nearest key above it that exists."""
        known = path
        while known and known not in self._lines:
            known = known.rpartition(".")[0]
        return f"{self.source}:{self._lines.get(known, 1)} {path}".rstrip()

    def refuse(self, path: str, what: str, *, got: object, expected: str, remedy: str) -> None:
        """Note one problem."""
        self.problems.append(describe(self.where(path), what, got=got, expected=expected, remedy=remedy))

    def entries(self, value: object, path: str, *, required: tuple[str, ...] | None) -> dict[str, object]:
        """Return a mapping as a dict of exactly the required keys, of any if None; note what differs."""
        if not isinstance(value, Mapping):
            self.refuse(path, "not a mapping", got=repr(value), expected="keys and values", remedy="Indent its keys.")
            return {}
        if required is not None:
            for key in required:
                if key not in value:
                    self.refuse(path, "key missing", got=", ".join(value) or "none", expected=key, remedy="Add it.")
            for key in value:
                if key not in required:
                    self.refuse(_inside(path, key), "unknown key", got=key, expected=", ".join(required),
                                remedy="Remove or rename it.")  # fmt: skip
        return dict(value)

    def _value(self, node: yaml.Node, path: str) -> object:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._seen:
            self.refuse(path, "an alias", got="a reference to another value", expected="the value",
                        remedy="Write it out.")  # fmt: skip
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self._value(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        try:
            scalar: object = yaml.SafeLoader("").construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError):
            self.refuse(path, "not a plain value", got=node.tag, expected="a number, a text, a list or a mapping",
                        remedy="Remove the tag.")  # fmt: skip
            return None
        return scalar

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, object]:
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            inside = _inside(path, key)
            self._lines[inside] = key_node.start_mark.line + 1
            if key in result:
                self.refuse(inside, "key given twice", got=key, expected="each key once", remedy="Remove one.")
            result[key] = self._value(value_node, inside)
        return result


def _inside(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
