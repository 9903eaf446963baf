"""Networks in one format with one rank everywhere, of a wanted number of parameters."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from heat_sim.errors import SpecError, describe
from heat_sim.networks import Network, count_parameters
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization, entropy

Shape = tuple[int, int]
"""(out_features, in_features)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformDesign:
    """A network whose matrices have one format and one rank.

    Attributes:
        format: Of all matrices.
        rank: Of all matrices, cut where a matrix has no use for so much.
        factorizations: By the name of the matrix.
        parameters: Of the whole network: embeddings, biases, norms and head as they were.
    """

    format: str
    rank: int
    factorizations: Mapping[str, Factorization]
    parameters: int


@lru_cache(maxsize=256)
def most_uniform(form: str, out_features: int, in_features: int) -> Tensorization:
    """Return the tensorization with the fewest modes that a format takes, each side split by the largest entropy.

    HEAT (Gu et al. 2022) keeps tensorizations by entropy but publishes no number of modes; its one worked example, CP
    of 768 x 768 as 12 x 64 x 768, has the fewest. Where one side of two is split, it is that which leaves the larger
    entropy of all modes together: the longer one; of equally long ones the output side.

    Args:
        form: Name of the format.
        out_features: Rows of the matrix.
        in_features: Columns of the matrix.

    >>> [str(most_uniform("cp", *shape)) for shape in ((768, 768), (768, 3072))]
    ['(24*32)x(768)', '(768)x(48*64)']
    >>> str(most_uniform("tt-matrix", 768, 768))
    '(24*32)x(32*24)'
    """
    shapes = FORMATS[form].tensorizations(out_features, in_features, keep=1)
    fewest = min(len(shape.modes) for shape in shapes)
    return max((shape for shape in shapes if len(shape.modes) == fewest), key=lambda shape: entropy(shape.modes))


def with_rank(network: Network, form: str, rank: int) -> dict[str, Factorization]:
    """Return the factorization of every matrix with a common rank, cut to the largest that each can use.

    Args:
        network: Whose matrices are factorised.
        form: Name of the format.
        rank: At least 1.
    """
    of_shape = {shape: _factorization(form, shape, rank) for shape in network.classes}
    return {matrix.name: of_shape[matrix.out_features, matrix.in_features] for matrix in network.matrices}


def uniform_design(network: Network, form: str, *, parameters: float) -> UniformDesign:
    """Return the design whose common rank brings the whole network nearest to a number of parameters.

    Found by bisection: below the size of the dense network, sizes grow with the rank. Of two ranks that come equally
    near, the smaller one.

    Args:
        network: Whose matrices are factorised.
        form: Name of the format.
        parameters: Wanted, of the whole network.

    Raises:
        SpecError: So many are in no matrix, or the dense network has no more.

    >>> from heat_sim.networks import SIZES, network_from_config
    >>> design = uniform_design(network_from_config(SIZES["bert-base"], name="bert-base"), "cp", parameters=48.88e6)
    >>> design.rank, design.parameters
    (401, 48877056)
    """
    whole = count_parameters(network).total
    if not network.other_parameters < parameters < whole:
        raise SpecError(
            describe(f"uniform {form} of {network.name}", "no such size", got=f"{parameters:,.0f} parameters",
                     expected=f"more than {network.other_parameters:,}, fewer than {whole:,}",
                     remedy="Ask for the total with embeddings and head.")
        )  # fmt: skip

    def size(rank: int) -> int:
        return count_parameters(network, with_rank(network, form, rank).values()).total

    ranks = range(1, max(_limit(form, shape) for shape in network.classes) + 1)
    place = bisect_left(ranks, parameters, key=size)
    rank = min(ranks[max(0, place - 1) : place + 1], key=lambda each: abs(size(each) - parameters))
    return UniformDesign(
        format=form, rank=rank, factorizations=with_rank(network, form, rank), parameters=size(rank)
    )  # fmt: skip


def _limit(form: str, shape: Shape) -> int:
    return max(FORMATS[form].max_ranks(most_uniform(form, *shape)), default=1)


def _factorization(form: str, shape: Shape, rank: int) -> Factorization:
    modes = most_uniform(form, *shape)
    ranks = tuple(min(rank, limit) for limit in FORMATS[form].max_ranks(modes))
    return Factorization(format=form, tensorization=modes, ranks=ranks)
