"""What every search strategy is given and what it does: it asks for the figures of genomes, generation by generation.

All that it asked for is kept by the search, so strategies are compared by the fronts of what they asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from heat_sim.codesign.space import DesignSpace, Genome

Figures = tuple[Sequence[float], Sequence[float]]
"""Objectives of a genome, minimised, and by how much it misses each constraint, at most 0 if it keeps to it."""

Judge = Callable[[Sequence[Genome]], Sequence[Figures]]
"""From the genomes of a generation to the figures of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Told after each generation.

    Attributes:
        index: From 1.
        evaluations: Genomes evaluated so far.
        front: Objectives of the current front.
    """

    index: int
    evaluations: int
    front: tuple[tuple[float, ...], ...]


Report = Callable[[Generation], None]


def no_report(_generation: Generation) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a strategy is given.

    Attributes:
        space: The genes.
        judge: Asked for a generation at a time.
        objectives: Names of what is minimised, in the order of the figures.
        constraints: How many.
        population: Genomes per generation.
        generations: How many generations, the first one included.
        seed: Of every random choice.
        first: Genomes of the first generation.
        report: Called after each generation.
    """

    space: DesignSpace
    judge: Judge
    objectives: tuple[str, ...]
    constraints: int
    population: int
    generations: int
    seed: int
    first: tuple[Genome, ...] = ()
    report: Report = field(default=no_report)


Strategy = Callable[[Search], None]
