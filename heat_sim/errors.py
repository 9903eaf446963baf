"""The exceptions of heat_sim, and the one form of their messages.

Every message reads ``<where>: <what is wrong> (got G, expected E). <one remedy>.``
"""

from __future__ import annotations

from collections.abc import Sequence


def describe(where: str, what: str, *, got: object, expected: object, remedy: str) -> str:
    """Return one refusal in the house form.

    >>> describe("a.yaml:3 RF.depth", "not a size", got="-4", expected="an integer > 0",
    ...          remedy="Leave the key out for an unbounded level.")
    'a.yaml:3 RF.depth: not a size (got -4, expected an integer > 0). Leave the key out for an unbounded level.'
    """
    return f"{where}: {what} (got {got}, expected {expected}). {remedy}"


class HeatError(Exception):
    """Base of every error that is the input's fault; the command line turns it into exit code 2."""


class SpecError(HeatError, ValueError):
    """A file or text that cannot be read as what it should be.

    All problems found in one spec are reported together.

    Attributes:
        problems: One sentence per problem, in the order of the file.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class MappingError(HeatError, ValueError):
    """A malformed mapping: it names what is not there or does not multiply out to the extents."""


class InfeasibleError(HeatError):
    """A well-formed mapping that the architecture cannot hold.

    Attributes:
        level: Name of the level that is too small.
        need: What the mapping asks of it.
        capacity: What it has, in the same unit.
    """

    def __init__(self, message: str, *, level: str, need: int, capacity: int) -> None:
        super().__init__(message)
        self.level = level
        self.need = need
        self.capacity = capacity


class MissingDependencyError(HeatError, ImportError):
    """An optional package that the call needs is not installed; the message names the extra."""
