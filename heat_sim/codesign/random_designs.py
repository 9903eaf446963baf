"""Random designs to measure estimates on: spread over all that a design space holds, from mild to destroyed."""

from __future__ import annotations

import numpy as np

from heat_sim.codesign.space import RANK_STEPS, DesignSpace
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization

_TOP = RANK_STEPS - 1
_NARROWEST, _WIDEST = _TOP / 8, _TOP / 4
"""Between these lies how far the rank genes of one design may be from their centre."""
_TRIES = 100
"""Draws per design before the space is held to have no other one."""


def random_genomes(space: DesignSpace, *, count: int, rng: np.random.Generator) -> tuple[dict[str, int], ...]:
    """Return genomes of `count` different designs, in random order; the dense design is never among them.

    Genes drawn uniformly, each for itself, would nearly all mean networks that guess: the network is as good as the
    class of matrices that lost most, and among several classes one is nearly always compressed hard. So each design
    draws one centre, and all its rank genes lie within a half-width of it, which is drawn too, from an eighth to a
    quarter of the range of a rank gene; beyond the ends of the range they are cut. The centres are stratified: one in
    each of `count` equal parts of the range. The options are uniform, class by class, so dense has its natural share.

    Args:
        space: The genes.
        count: Designs wanted.
        rng: Draws everything; the same state gives the same genomes.

    Raises:
        SpecError: A count below 1, or a space that has not so many designs.

    >>> from heat_sim.codesign.space import Slot
    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> modes = Tensorization(out_modes=(64,), in_modes=(64,))
    >>> space = DesignSpace(slots=(Slot(shape=(64, 64), matrices=("a", "b"), options=(("low-rank", modes),)),))
    >>> genomes = random_genomes(space, count=4, rng=np.random.default_rng(0))
    >>> sorted(space.decode(genome)[0].ranks for genome in genomes)
    [(10,), (16,), (20,), (30,)]
    """
    if count < 1:
        raise SpecError(
            describe("random designs", "none wanted", got=count, expected="at least 1", remedy="Raise the count.")
        )
    seen: set[tuple[Factorization, ...]] = set()
    found: list[dict[str, int]] = []
    for part in rng.permutation(count):
        for _ in range(_TRIES):
            genome = _draw(space, centre=float((part + rng.random()) / count * _TOP), rng=rng)
            meaning = space.decode(genome)
            if meaning not in seen and any(each.format != "dense" for each in meaning):
                break
        else:
            raise SpecError(
                describe("random designs", "the space has too few designs", got=f"{len(found)} different ones",
                         expected=f"{count} spread over the range of the ranks",
                         remedy="Ask for fewer designs, or for more formats.")
            )  # fmt: skip
        seen.add(meaning)
        found.append(genome)
    return tuple(found)


def _draw(space: DesignSpace, *, centre: float, rng: np.random.Generator) -> dict[str, int]:
    half_width = rng.uniform(_NARROWEST, _WIDEST)
    genome = {}
    for index, each in enumerate(space.slots):
        genome[f"option{index}"] = int(rng.integers(len(each.options)))
        for k in range(each.ranks):
            gene = round(centre + rng.uniform(-half_width, half_width))
            genome[f"rank{index}_{k}"] = min(max(gene, 0), _TOP)
    return genome
