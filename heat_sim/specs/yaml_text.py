"""Words, numbers and tables as YAML that every reader takes for the same."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping

from heat_sim.specs.expressions import Value

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SPECIAL = ("null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan")


def name_text(name: str) -> str:
    """Return a name as YAML, in quotes unless no reader could take it for anything else.

    >>> name_text("GLB"), name_text("yes"), name_text("a: b")
    ('GLB', '"yes"', '"a: b"')
    """
    return name if _PLAIN.fullmatch(name) and name.lower() not in _SPECIAL else json.dumps(name)


def value_text(value: Value) -> str:
    """Return an attribute as YAML; words in quotes, for v0.4 takes plain ones for expressions.

    >>> [value_text(value) for value in (16, 0.5, "45nm", True, None)]
    ['16', '0.5', '"45nm"', 'true', 'null']
    """
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ".inf"
    return json.dumps(value)


def table_text(entries: Mapping[str, Value]) -> str:
    """Return a table of attributes on one line.

    >>> table_text({"depth": 4, "type": "LPDDR4"})
    '{depth: 4, type: "LPDDR4"}'
    """
    return f"{{{', '.join(f'{name_text(key)}: {value_text(value)}' for key, value in entries.items())}}}"


def list_text(names: Iterable[str]) -> str:
    """Return a list of names on one line.

    >>> list_text(["A", "B"])
    '[A, B]'
    """
    return f"[{', '.join(name_text(name) for name in names)}]"
