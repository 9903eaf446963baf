"""A strong first generation: the designs of least error for their energy and delay, before any search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from threadpoolctl import threadpool_limits

from heat_sim.codesign.estimate import AdditiveEstimate
from heat_sim.codesign.evaluator import Evaluator
from heat_sim.codesign.prefetch import Needed
from heat_sim.codesign.seeds import STEPS, seed_genomes, table_genomes
from heat_sim.codesign.space import DesignSpace, dense_genome
from heat_sim.tensorize.factorization import Factorization


def strong_start(
    space: DesignSpace,
    evaluator: Evaluator,
    *,
    estimate: AdditiveEstimate,
    count: int,
    steps: tuple[int, ...] = STEPS,
    prefetch: Callable[[Sequence[Needed]], None] = lambda _needed: None,
) -> tuple[dict[str, int], ...]:
    """Return at most `count` genomes on the lower hull of squared error against energy and delay, cheapest first.

    The cost of a matrix is ``energy / E0 + cycles / T0`` under its best mapping, E0 and T0 those of the dense network:
    the sum over the matrices rises with the logarithm of the EDP where energy and delay have fallen alike.

    Args:
        space: The genes.
        evaluator: Of the network and the machine.
        estimate: What a matrix adds to the error of a design; it need not be the estimate of the search.
        count: Genomes wanted.
        steps: Values of the rank genes that are costed, see `seed_genomes`.
        prefetch: Told of all that will be costed, see `Prefetch`.
    """
    dense = evaluator.cost(space.per_matrix(dense_genome(space)))

    def cost(factorization: Factorization) -> float:
        return min(
            way.energy_pj / dense.energy_pj + way.cycles / dense.cycles for way in evaluator.ways(factorization)
        )  # fmt: skip

    tables = table_genomes(space, steps=steps)
    prefetch([(space.machine(genome), space.per_matrix(genome)) for genome in tables])
    with threadpool_limits(limits=1, user_api="blas"):
        return seed_genomes(space, squared_error=estimate.squared, cost=cost, count=count, steps=steps)
