"""Genomes as rows of integers, one spelling per design, for optimisers that work on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from heat_sim.codesign.space import RANK_STEPS, DesignSpace, Genome

Rows = NDArray[np.int64]
"""Genomes, (genomes, genes)."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """The genes of a design space in a fixed order: slot by slot, the option first; then those of the machine.

    Attributes:
        space: The genes.

    >>> from heat_sim.codesign.space import design_space
    >>> from heat_sim.networks import SIZES, network_from_config
    >>> network = network_from_config(SIZES["bert-base"], tokens=128, name="bert-base")
    >>> code = Encoding(design_space(network, formats=("dense", "low-rank")))
    >>> code.rows([{"option0": 0, "rank0_0": 7, "option1": 1, "rank1_0": 3, "option2": 1, "rank2_0": 9}])
    array([[0, 0, 1, 3, 1, 9]])
    """

    space: DesignSpace

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the genes."""
        return (*(each.name for each in self.space.variables), *(each.name for each in self.space.hardware))

    @cached_property
    def sizes(self) -> Rows:
        """How many values each gene takes, (genes,)."""
        sizes = [*(each.size for each in self.space.variables), *(each.size for each in self.space.hardware)]
        return np.array(sizes, dtype=np.int64)

    @cached_property
    def slot_of(self) -> Rows:
        """The slot of each gene, (genes,); every gene of the machine counts as one more."""
        genes = [*(1 + slot.ranks for slot in self.space.slots), *(1 for _ in self.space.hardware)]
        return np.repeat(np.arange(len(genes)), genes)

    @cached_property
    def is_option(self) -> NDArray[np.bool_]:
        """Which genes are options; the others are rank genes."""
        options = [not variable.ordered for variable in self.space.variables]
        return np.array([*options, *(False for _ in self.space.hardware)])

    @cached_property
    def is_hardware(self) -> NDArray[np.bool_]:
        """Which genes are the machine's."""
        return np.array([*(False for _ in self.space.variables), *(True for _ in self.space.hardware)])

    @cached_property
    def base(self) -> Rows:
        """The genes of the base machine, 0 for all others, (genes,)."""
        return np.array([*(0 for _ in self.space.variables), *(gene.base for gene in self.space.hardware)])

    def rows(self, genomes: Sequence[Genome]) -> Rows:
        """Return genomes as rows, each in its one spelling, see `canonical`."""
        machine = {gene.name: gene.base for gene in self.space.hardware}
        raw = np.array([[(machine | {**genome})[name] for name in self.names] for genome in genomes], dtype=np.int64)
        return self.canonical(raw.reshape(len(genomes), len(self.names)))

    def genome(self, row: Rows) -> dict[str, int]:
        """Return one row as a genome."""
        return {name: int(value) for name, value in zip(self.names, row, strict=True)}

    def canonical(self, rows: Rows) -> Rows:
        """Return the rows in the one spelling of their designs.

        A rank gene that the option has no use for is 0, and of all values that mean the same rank the least is taken.
        All genes of a slot are 0 whose matrices are all in stacked ones.
        """
        result = rows.copy()
        for slot, spelling, start in zip(self.space.slots, self._spellings, self.starts, strict=True):
            option = rows[:, start]
            for k in range(slot.ranks):
                result[:, start + 1 + k] = spelling[option, k, rows[:, start + 1 + k]]
        for slot, owners, start in zip(self.space.slots, self.space.owners, self.starts, strict=True):
            if owners:
                idle = np.all([self.is_joint(rows, owner) for owner in owners], axis=0)
                result[idle, start : start + 1 + slot.ranks] = 0
        return result

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The column of the option of each slot; its rank genes follow."""
        return tuple(self.is_option.nonzero()[0].tolist())

    def is_joint(self, rows: Rows, stacked: int) -> NDArray[np.bool_]:
        """Return in which rows a stacked slot takes the place of its members, (genomes,)."""
        joint: NDArray[np.bool_] = rows[:, self.starts[stacked]] != self.space.slots[stacked].dense
        return joint

    @cached_property
    def _spellings(self) -> tuple[Rows, ...]:
        """For every slot what a rank gene becomes, (options, rank genes, values)."""
        tables = []
        for slot in self.space.slots:
            table = np.zeros((len(slot.options), slot.ranks, RANK_STEPS), dtype=np.int64)
            for option in range(len(slot.options)):
                for k, ranks in enumerate(slot.rank_values[option]):
                    table[option, k] = [ranks.index(rank) for rank in ranks]
            tables.append(table)
        return tuple(tables)
