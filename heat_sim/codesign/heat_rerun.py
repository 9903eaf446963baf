"""HEAT's published rows costed by our model: the same parameters, uniform ranks, the best orders and mappings."""

from __future__ import annotations

from dataclasses import dataclass, field

from heat_sim.codesign.evaluator import DesignCost, Evaluator
from heat_sim.codesign.heat_ratios import LONG, SHORT, DenseRatios, dense_ratios
from heat_sim.codesign.heat_rows import BERT, DISTILBERT, HeatRow, heat_row
from heat_sim.codesign.layer_ways import LayerWays, Order
from heat_sim.codesign.space import dense_genome, design_space
from heat_sim.codesign.uniform_size import UniformDesign, uniform_design, with_rank
from heat_sim.mapper.layer import Machine
from heat_sim.networks import SIZES, Network, count_parameters, network_from_config

_TWO_FACTORS = "low-rank"


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunRow:
    """A published row beside ours.

    Attributes:
        published: What HEAT says.
        rank: Of all our matrices, cut where one has no use for so much.
        parameters: Of our network, embeddings and head included.
        cost: Of our encoder.
        dense: Of the dense encoder.
        two_factors: Of an encoder of that size in format "low-rank": what a matrix as a product of two gains, each
            parameter used once per token.
    """

    published: HeatRow
    rank: int
    parameters: int
    cost: DesignCost
    dense: DesignCost
    two_factors: DesignCost

    @property
    def edp_gain(self) -> float:
        """EDP of the dense encoder over ours."""
        return self.dense.edp_pj_cycles / self.cost.edp_pj_cycles

    @property
    def energy_gain(self) -> float:
        """Energy likewise."""
        return self.dense.energy_pj / self.cost.energy_pj

    @property
    def delay_gain(self) -> float:
        """Cycles likewise."""
        return self.dense.cycles / self.cost.cycles

    @property
    def two_factor_gain(self) -> float:
        """EDP of the dense encoder over that of two factors a matrix."""
        return self.dense.edp_pj_cycles / self.two_factors.edp_pj_cycles

    @property
    def over_published(self) -> float:
        """Our gain over HEAT's: 1 is agreement."""
        return self.edp_gain / self.published.edp_gain


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeatRerun:
    """Costs HEAT's networks on one machine; nothing is costed twice.

    Attributes:
        machine: The stand-in hardware; its cache serves as that of the ways, too.
        order: By what contraction orders are chosen.
    """

    machine: Machine
    order: Order = "edp"
    _ways: dict[int, LayerWays] = field(default_factory=dict)
    _uniform: dict[tuple[str, float], UniformDesign] = field(default_factory=dict)

    def dense(self, name: str, tokens: int) -> DesignCost:
        """Return the cost of a dense encoder.

        Args:
            name: In `SIZES`.
            tokens: Sequence length.
        """
        space = design_space(_network(name, tokens), formats=("dense",))
        return self._evaluator(name, tokens).cost(space.per_matrix(dense_genome(space)))

    @property
    def proven(self) -> int:
        """How many of the parts costed so far are proven: nothing under the mapper's rules is better."""
        return sum(ways.proven for ways in self._ways.values())

    @property
    def asked(self) -> int:
        """How many parts were costed: matrices of one factorization, and attention einsums, at a number of tokens."""
        return sum(ways.asked for ways in self._ways.values())

    def ratios(self) -> DenseRatios:
        """Return the ratios by which the machine is judged."""
        return dense_ratios(self.dense(BERT, SHORT), self.dense(BERT, LONG), self.dense(DISTILBERT, LONG))

    def row(self, published: HeatRow) -> RerunRow:
        """Return a published row beside ours.

        The common rank is that at which BERT-base comes nearest to the total of table 1. HEAT publishes no totals of
        DistilBERT: it gets the rank of BERT's row of the same name, and so BERT's gain.
        """
        rank = self._rank(published, published.format)
        network = _network(published.network, published.tokens)
        design = with_rank(network, published.format, rank)
        two_factors = with_rank(network, _TWO_FACTORS, self._rank(published, _TWO_FACTORS))
        evaluator = self._evaluator(published.network, published.tokens)
        return RerunRow(
            published=published,
            rank=rank,
            parameters=count_parameters(network, design.values()).total,
            cost=evaluator.cost(design),
            dense=self.dense(published.network, published.tokens),
            two_factors=evaluator.cost(two_factors),
        )

    def _rank(self, published: HeatRow, form: str) -> int:
        """Return the common rank at which BERT-base in this format is as large as the row."""
        wanted = heat_row(BERT, "SQuAD-v1.1", published.format, published.setting).parameters_millions
        assert wanted is not None
        if (form, wanted) not in self._uniform:
            self._uniform[form, wanted] = uniform_design(_network(BERT, LONG), form, parameters=1e6 * wanted)
        return self._uniform[form, wanted].rank

    def _evaluator(self, name: str, tokens: int) -> Evaluator:
        if tokens not in self._ways:
            self._ways[tokens] = LayerWays(
                machine=self.machine, tokens=tokens, cache=self.machine.cache, order=self.order
            )  # fmt: skip
        return Evaluator(network=_network(name, tokens), ways=self._ways[tokens], estimate=_no_estimate)


def _network(name: str, tokens: int) -> Network:
    return network_from_config(SIZES[name], tokens=tokens, name=name)


def _no_estimate(_design: object, /) -> float:
    """Return 0: no accuracy is estimated here."""
    return 0.0
