"""Strategies that do not search: one format and one rule for the ranks of the whole network.

Where being joint is a choice, all but the random one leave everything apart.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from tensorly.cp_tensor import validate_cp_rank
from tensorly.tr_tensor import validate_tr_rank
from tensorly.tt_matrix import validate_tt_matrix_rank
from tensorly.tucker_tensor import validate_tucker_rank

from heat_sim.codesign.encoding import Encoding
from heat_sim.codesign.pareto import non_dominated
from heat_sim.codesign.space import RANK_STEPS, DesignSpace, Genome, Slot, dense_genome
from heat_sim.codesign.strategy import Generation, Search
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization

_SHARES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of the dense parameters, for which TensorLy is asked for ranks."""


def uniform_strategy(search: Search) -> None:
    """Cost the dense network and, as one tunes by hand, each option of each format with all ranks at one step."""
    _cost_all(search, [dense_genome(search.space), *_uniform(search.space)])


def tensorly_strategy(search: Search) -> None:
    """Cost the dense network and, for several sizes, the ranks that TensorLy chooses for each tensorized shape.

    Rank genes take the value nearest to it. Formats that TensorLy has no rule for are left out.
    """
    _cost_all(search, [dense_genome(search.space), *_tensorly(search.space)])


def random_strategy(search: Search) -> None:
    """Cost uniform random genomes, as many as the budget holds, the dense one first."""
    code = Encoding(search.space)
    rng = np.random.default_rng(search.seed)
    count = search.population * search.generations - 1
    rows = code.canonical(rng.integers(0, code.sizes, size=(count, len(code.sizes))))
    _cost_all(search, [dense_genome(search.space), *map(code.genome, rows)])


def _cost_all(search: Search, genomes: Sequence[Genome]) -> None:
    found: list[tuple[float, ...]] = []
    for index, start in enumerate(range(0, len(genomes), search.population), start=1):
        figures = search.judge(genomes[start : start + search.population])
        kept = [tuple(map(float, values)) for values, missed in figures if all(each <= 0 for each in missed)]
        found = non_dominated([*found, *kept], lambda values: values)
        report = Generation(index=index, evaluations=start + len(figures), front=tuple(found))
        search.report(report)


def _uniform(space: DesignSpace) -> Iterator[dict[str, int]]:
    for options in _options(space):
        for step in range(RANK_STEPS):
            yield {variable.name: step for variable in space.variables} | {
                f"option{index}": option for index, option in enumerate(options)
            }


def _options(space: DesignSpace) -> Iterator[tuple[int, ...]]:
    """Yield an option per slot: of each format the first tensorization of every slot, then the second, and so on."""
    formats = dict.fromkeys(name for slot in space.slots for name, _ in slot.options if name != "dense")
    for name in formats:
        of_slots = [
            [slot.dense] if index in space.optional else [i for i, (each, _) in enumerate(slot.options) if each == name]
            for index, slot in enumerate(space.slots)
        ]
        if all(of_slots):
            for place in range(max(map(len, of_slots))):
                yield tuple(options[min(place, len(options) - 1)] for options in of_slots)


def _tensorly(space: DesignSpace) -> Iterator[dict[str, int]]:
    for options in _options(space):
        for share in _SHARES:
            genome = {variable.name: 0 for variable in space.variables}
            genome |= {f"option{index}": option for index, option in enumerate(options)}
            ranks = [_ranks(slot, option, share) for slot, option in zip(space.slots, options, strict=True)]
            if any(each is None for each in ranks):
                break
            for index, (slot, option) in enumerate(zip(space.slots, options, strict=True)):
                genome |= _nearest(slot, index, option, ranks[index] or ())
            yield genome


def _ranks(slot: Slot, option: int, share: float) -> tuple[int, ...] | None:
    """Return TensorLy's ranks in the order of the format's own, the fixed ones at the ends too; None without a rule."""
    name, modes = slot.options[option]
    if name == "dense":
        return ()
    asked = tensorly_ranks(name, modes, share)
    if asked is None:
        return None
    limits = FORMATS[name].max_ranks(modes)
    return tuple(max(1, min(rank, limit)) for rank, limit in zip(asked, limits, strict=True))


def tensorly_ranks(name: str, modes: Tensorization, share: float) -> tuple[int, ...] | None:
    """Return the ranks that TensorLy's `validate_*_rank` gives for a share of the dense parameters.

    Args:
        name: Of the format.
        modes: The tensorized shape.
        share: Of the parameters of the dense matrix.

    >>> tensorly_ranks("low-rank", Tensorization(out_modes=(768,), in_modes=(768,)), 0.5)
    (192,)
    >>> tensorly_ranks("block-term", Tensorization(out_modes=(24, 32), in_modes=(24, 32)), 0.5) is None
    True
    """
    shape = modes.modes
    if name in ("low-rank", "cp"):  # a matrix of two modes is both
        return (int(validate_cp_rank(shape, rank=share)),)
    if name == "tt-matrix":
        with warnings.catch_warnings():  # that two cores are a matrix is no news
            warnings.simplefilter("ignore", UserWarning)
            return tuple(int(rank) for rank in validate_tt_matrix_rank(shape, rank=share))
    if name == "tucker":
        return tuple(int(rank) for rank in validate_tucker_rank(shape, rank=share))
    if name == "tensor-ring":
        return tuple(int(rank) for rank in validate_tr_rank(shape, rank=share)[:-1])
    return None


def _nearest(slot: Slot, index: int, option: int, ranks: Sequence[int]) -> dict[str, int]:
    name, modes = slot.options[option]
    inner = [rank for rank, limit in zip(ranks, FORMATS[name].max_ranks(modes), strict=True) if limit > 1]
    values = slot.rank_values[option]
    return {
        f"rank{index}_{k}": min(range(RANK_STEPS), key=lambda step: abs(values[k][step] - rank))
        for k, rank in enumerate(inner)
    }
