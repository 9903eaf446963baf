"""Timeloop problem files: dimensions, data spaces and bounds become one `Einsum`.

Dimensions become rank variables under their own names, data spaces become tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from heat_sim.einsum import Einsum, Projection, TensorAccess, Term
from heat_sim.specs.architecture_v4 import read_value, read_variables
from heat_sim.specs.cursor import MAX_INTEGER, Cursor, Paths, open_spec, open_spec_text, suggest
from heat_sim.specs.expressions import Value

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TRUE = ("true", "yes")
_FALSE = ("false", "no")


def load_problem(path: Paths) -> Einsum:
    """Return the einsum of a problem file; the data space with ``read_write: true`` is the output.

    Dimensions have one letter, as Timeloop demands; a problem that says ``version: 0.3`` may use longer names.
    The output comes after the inputs, wherever it stands in the file.

    Args:
        path: The file, v0.3 or v0.4, or several; other sections in them are left alone.

    Raises:
        SpecError: Every problem of the file, one sentence each.

    >>> print(load_problem("mappings/simba_l/bert_ffn/problem.yaml"))
    Outputs[M,N] = Inputs[M,K] * Weights[K,N]
    """
    return _read_problem(open_spec(path))


def parse_problem(text: str) -> Einsum:
    """Return the einsum of the text of a problem file; see `load_problem`.

    >>> from heat_sim.specs import dump_problem, load_problem
    >>> ffn = load_problem("mappings/simba_l/bert_ffn/problem.yaml")
    >>> parse_problem(dump_problem(ffn, version="0.4")) == ffn
    True
    """
    return _read_problem(open_spec_text(text, source="problem"))


def _read_problem(opened: tuple[Cursor, dict[str, Cursor]]) -> Einsum:
    top, sections = opened
    if "problem" not in sections:
        top.refuse("no problem section", got=f"keys {', '.join(sections) or 'none'}", expected="a key problem",
                   remedy="Add it.")  # fmt: skip
        top.raise_problems()
    section = sections["problem"]
    keys = section.table(("version", "shape", "instance"), required=("shape", "instance"))
    if "version" in keys:
        keys["version"].version("0.3", "0.4")
    shape = (
        keys["shape"].table(
            ("name", "dimensions", "coefficients", "data_spaces"), required=("dimensions", "data_spaces")
        )
        if "shape" in keys
        else {}
    )
    long_names = "version" in keys and keys["version"].node.text == "0.3"
    dimensions = _dimensions(shape["dimensions"], long_names=long_names) if "dimensions" in shape else ()
    defaults = _coefficients(shape["coefficients"]) if "coefficients" in shape else {}
    scope = read_variables(sections.get("variables"))
    extents, coefficients = _instance(keys["instance"], dimensions, defaults, scope) if "instance" in keys else ({}, {})
    tensors: list[TensorAccess] = []
    outputs: list[TensorAccess] = []
    for item in shape["data_spaces"].items() if "data_spaces" in shape else ():
        entries = item.table(("name", "projection", "read_write"), required=("name", "projection"))
        name = (entries["name"].word() if "name" in entries else None) or item.name
        if any(tensor.name == name for tensor in (*tensors, *outputs)):
            item.refuse("data space given twice", got=name, expected="unique names", remedy="Rename one.")
            continue
        if "projection" in entries:
            at = entries["projection"].renamed(f"{name}.projection")
            access = TensorAccess(name=name, projection=_projection(at, dimensions, coefficients))
            writes = "read_write" in entries and _truth(entries["read_write"].renamed(f"{name}.read_write"))
            (outputs if writes else tensors).append(access)
    if "data_spaces" in shape and len(outputs) != 1:
        got = ", ".join(tensor.name for tensor in outputs) or "none"
        shape["data_spaces"].refuse("not exactly one output", got=got, expected="one data space with read_write: true",
                                    remedy="Mark the output, and only it.")  # fmt: skip
    top.raise_problems()
    return Einsum(
        name=(shape["name"].word() if "name" in shape else None) or "problem",
        inputs=tuple(tensors),
        output=outputs[0],
        extents=tuple((dimension, extents[dimension]) for dimension in dimensions),
    )


def _dimensions(at: Cursor, *, long_names: bool) -> tuple[str, ...]:
    names: list[str] = []
    for item in at.items():
        name = item.word()
        if name is None:
            continue
        if not _NAME.fullmatch(name) or (len(name) > 1 and not long_names):
            expected = "a letter, then letters, digits or _" if long_names else "one letter, as Timeloop demands"
            item.refuse("not a dimension name", expected=expected,
                        remedy="Rename it; longer names need version: 0.3 in the problem.")  # fmt: skip
        if name in names:
            item.refuse("dimension given twice", expected="unique names", remedy="Delete one.")
        else:
            names.append(name)
    return tuple(names)


def _coefficients(at: Cursor) -> dict[str, int]:
    """Name to default."""
    found: dict[str, int] = {}
    for item in at.items():
        entries = item.table(("name", "default"), required=("name", "default"))
        name = entries["name"].word() if "name" in entries else None
        if name is not None:
            found[name] = (entries["default"].integer(minimum=1) if "default" in entries else None) or 1
    return found


def _instance(
    at: Cursor, dimensions: tuple[str, ...], defaults: Mapping[str, int], scope: Mapping[str, Value]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the extents and the coefficients; other names are Timeloop's to ignore, unless misspelt."""
    coefficients = dict(defaults)
    extents: dict[str, int] = {}
    entries = at.table()
    for name, entry in entries.items():
        missing = [known for known in defaults if known not in entries]
        if name not in dimensions and name not in defaults:
            if meant := suggest(name, missing):
                entry.refuse("unknown coefficient", got=name, expected=f"one of {', '.join(defaults)}",
                             remedy=f"Correct it.{meant}")  # fmt: skip
            continue
        attribute = read_value(entry, scope=scope)
        value = None if attribute is None else attribute.value
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_INTEGER:
            entry.refuse("not a bound", got=None if attribute is None else value, expected="an integer >= 1",
                         remedy="Correct it.")  # fmt: skip
            value = 1
        (extents if name in dimensions else coefficients)[name] = value
    for dimension in dimensions:
        if dimension not in entries:
            at.refuse(
                "dimension without a bound",
                got=dimension,
                expected=f"a bound for each of {', '.join(dimensions)}",
                remedy=f"Add {dimension}.",
            )
    return extents, coefficients


def _projection(at: Cursor, dimensions: tuple[str, ...], coefficients: Mapping[str, int]) -> Projection:
    """Read ``[[[P, stride], [R]], [[K]]]``, or ``[M, K]`` for plain ranks."""
    ranks: list[tuple[Term, ...]] = []
    for rank in at.items():
        if rank.node.kind == "scalar":
            terms = [_term(rank, (rank,), dimensions, coefficients)]
        else:
            terms = []
            for term in rank.items():
                if term.node.kind == "list":
                    terms.append(_term(term, term.items(), dimensions, coefficients))
                else:
                    term.refuse("not a term", expected="[dimension] or [dimension, coefficient]",
                                remedy=f"Write [[{term.node}]] for a plain rank.")  # fmt: skip
        names = [name for name, _ in terms]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            rank.refuse("dimension twice in one rank", got=", ".join(repeated), expected="each once",
                        remedy="Add the coefficients up.")  # fmt: skip
        ranks.append(tuple(term for term in terms if term[0] in dimensions))
    return tuple(ranks)


def _term(at: Cursor, parts: tuple[Cursor, ...], dimensions: tuple[str, ...], coefficients: Mapping[str, int]) -> Term:
    words = [word for part in parts if (word := part.word()) is not None]
    if not 1 <= len(words) <= 2:
        at.refuse("not a term", expected="[dimension] or [dimension, coefficient]", remedy="Correct it.")
        return ("", 1)
    if words[0] not in dimensions:
        at.refuse("unknown dimension", got=words[0], expected=f"one of {', '.join(dimensions)}", remedy="Correct it.")
    if len(words) == 1:
        return (words[0], 1)
    if words[1] not in coefficients:
        at.refuse("unknown coefficient", got=words[1], expected=f"one of {', '.join(coefficients) or 'none'}",
                  remedy=f"Declare it under coefficients.{suggest(words[1], coefficients)}")  # fmt: skip
    return (words[0], coefficients.get(words[1], 1))


def _truth(at: Cursor) -> bool:
    word = at.node.text.lower()
    if at.node.kind != "scalar" or word not in (*_TRUE, *_FALSE):
        at.refuse("not true or false", expected="true or false", remedy="Correct it.")
    return word in _TRUE
