"""What `heat-sim decompose` is asked to measure, checked before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.formats import FORMATS

FROBENIUS = "frobenius"
PROJECTIONS = (FROBENIUS, "activation", "fisher", "sequential")
"""Ways to project, the baseline first."""

COMPRESSING = tuple(name for name in FORMATS if name != "dense")
"""Formats that make a matrix smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The cells of the table: every format at every compression by every projection.

    Attributes:
        formats: Names in `COMPRESSING`.
        compressions: Parameters of the matrices are divided by these; each above 1.
        projections: Names in `PROJECTIONS`.
    """

    formats: tuple[str, ...]
    compressions: tuple[float, ...]
    projections: tuple[str, ...]

    @property
    def pairs(self) -> Iterator[tuple[str, float]]:
        """Every format at every compression, in the order of the table."""
        return ((form, compression) for form in self.formats for compression in self.compressions)

    def __len__(self) -> int:
        """Return how many cells there are."""
        return len(self.formats) * len(self.compressions) * len(self.projections)


def parse_plan(*, formats: str, compressions: str, projections: str) -> Plan:
    """Return the plan that three lists with commas give; what is named twice is measured once.

    Args:
        formats: For example ``"low-rank,cp"``.
        compressions: For example ``"2,3,5"``.
        projections: For example ``"frobenius,activation"``.

    Raises:
        SpecError: All names and numbers that are none, together.

    >>> plan = parse_plan(formats="low-rank, cp", compressions="2,2.5", projections="frobenius")
    >>> plan.formats, plan.compressions, len(plan)
    (('low-rank', 'cp'), (2.0, 2.5), 4)
    """
    names, numbers, ways = _items(formats), _items(compressions), _items(projections)
    problems = [
        describe(option, "unknown or none", got=", ".join(unknown) or "none",
                 expected=f"some of {', '.join(known)}", remedy="Correct the names.")
        for option, given, known in (("--formats", names, COMPRESSING), ("--projections", ways, PROJECTIONS))
        if (unknown := [name for name in given if name not in known]) or not given
    ]  # fmt: skip
    factors = {text: _number(text) for text in numbers}
    bad = [text for text, number in factors.items() if not 1 < number < math.inf]
    if bad or not numbers:
        problems.append(
            describe("--compressions", "not numbers above 1", got=", ".join(bad) or "none", expected="such as 2,3,5",
                     remedy="Each is how many times fewer parameters are kept.")
        )  # fmt: skip
    if problems:
        raise SpecError(problems)
    return Plan(formats=names, compressions=tuple(dict.fromkeys(factors.values())), projections=ways)


def _items(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
