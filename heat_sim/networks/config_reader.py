"""Reading a configuration: sizes, flags and functions by key; all that is wrong is collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heat_sim.errors import describe

_FUNCTIONS = {
    "gelu": "gelu", "gelu_accurate": "gelu", "gelu_fast": "gelu", "gelu_new": "gelu", "gelu_python": "gelu",
    "gelu_python_tanh": "gelu", "gelu_pytorch_tanh": "gelu", "quick_gelu": "gelu",
    "relu": "relu",
    "silu": "silu", "swish": "silu",
}  # fmt: skip
"""Activation functions of transformers, and the vector function that each is costed as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReader:
    """Reads one configuration.

    What is missing or wrong goes to `problems`, and a stand-in is returned so that reading can go on.

    Attributes:
        config: A Hugging Face configuration as a dict. A key that is null counts as missing.
        model: What messages call it.
        problems: One sentence per problem so far.
    """

    config: Mapping[str, Any]
    model: str
    problems: list[str] = field(default_factory=list)
    _bad: set[str] = field(default_factory=set)

    def size(self, key: str, default: int | None = None) -> int:
        """Return an integer of at least 1; without a default the key is required.

        >>> reader = ConfigReader(config={"n_layer": 12, "n_head": "many"}, model="toy")
        >>> reader.size("n_layer"), reader.size("n_inner", 3072), reader.size("n_head")
        (12, 3072, 1)
        >>> reader.problems
        ['model toy, config.n_head: missing or not a size (got many, expected an integer >= 1). Correct the config.']
        """
        value = self.config.get(key)
        if value is None and default is not None:
            return default
        if type(value) is int and value >= 1:
            return value
        self._bad.add(key)
        self._refuse(key, "missing or not a size", got=value, expected="an integer >= 1")
        return 1

    def sides(self, key: str) -> tuple[int, int]:
        """Return height and width of a rectangle, given as one size (a square) or two.

        >>> ConfigReader(config={"image_size": 224, "patch_size": [16, 8]}, model="toy").sides("patch_size")
        (16, 8)
        """
        value = self.config.get(key)
        pair = [value, value] if type(value) is int else value
        if isinstance(pair, list | tuple) and len(pair) == 2 and all(type(side) is int and side >= 1 for side in pair):
            return pair[0], pair[1]
        self._refuse(key, "missing or not a size", got=value, expected="an integer >= 1, or two of them")
        return 1, 1

    def divide(self, key: str, by: str, *, whole: int, parts: int) -> int:
        """Return whole / parts, the values of two keys that `size` has read.

        >>> reader = ConfigReader(config={"hidden_size": 10, "num_attention_heads": 4}, model="toy")
        >>> reader.divide("hidden_size", "num_attention_heads", whole=10, parts=4)
        2
        >>> reader.problems
        ['model toy, config.hidden_size: not a multiple of num_attention_heads (got 10, expected a multiple of 4). \
Correct the config.']
        """
        if whole % parts and not self._bad & {key, by}:
            self._refuse(key, f"not a multiple of {by}", got=whole, expected=f"a multiple of {parts}")
        return max(1, whole // parts)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false.

        >>> ConfigReader(config={"qkv_bias": False}, model="toy").flag("qkv_bias", True)
        False
        """
        value = self.config.get(key)
        if isinstance(value, bool):
            return value
        if value is not None:
            self._refuse(key, "not a flag", got=value, expected="true or false")
        return default

    def function(self, key: str, default: str) -> str:
        """Return the vector function that an activation function is costed as.

        >>> ConfigReader(config={"hidden_act": "gelu_new"}, model="toy").function("hidden_act", "relu")
        'gelu'
        """
        value = self.config.get(key)
        name = default if value is None else value
        if isinstance(name, str) and name in _FUNCTIONS:
            return _FUNCTIONS[name]
        self._refuse(key, "unknown activation function", got=name, expected=f"one of {', '.join(_FUNCTIONS)}")
        return default

    def refuse_if_set(self, key: str, *, why: str) -> None:
        """Note a problem if the flag is true.

        >>> reader = ConfigReader(config={"add_cross_attention": True}, model="toy")
        >>> reader.refuse_if_set("add_cross_attention", why="cross-attention is not covered")
        >>> reader.problems
        ['model toy, config.add_cross_attention: cross-attention is not covered (got True, expected false). \
Correct the config.']
        """
        if self.flag(key, False):
            self._refuse(key, why, got=True, expected="false")

    def _refuse(self, key: str, what: str, *, got: object, expected: str) -> None:
        problem = describe(
            f"model {self.model}, config.{key}", what, got=got, expected=expected, remedy="Correct the config."
        )
        if problem not in self.problems:  # a key may be read twice
            self.problems.append(problem)
