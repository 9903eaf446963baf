"""The three ratios of dense EDPs by which a stand-in for HEAT's hardware is judged.

HEAT publishes no hardware; these ratios of its published results do not need any, see `heat_rows` for the source.
"""

from __future__ import annotations

from dataclasses import dataclass

from heat_sim.codesign.evaluator import DesignCost
from heat_sim.codesign.heat_rows import BERT, DISTILBERT, dense_row
from heat_sim.networks import SIZES, Network, network_from_config

SHORT, LONG = 128, 384
"""Sequence lengths of SST-2 and SQuAD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseRatios:
    """Of the dense networks on one machine.

    Attributes:
        edp: EDP of BERT-base at 384 tokens over that at 128.
        distilbert: EDP of DistilBERT over that of BERT-base, at 384 tokens.
        short_share: Part of the energy at 128 tokens that does not grow with the tokens: above all the weights.
        long_share: Likewise at 384.
    """

    edp: float
    distilbert: float
    short_share: float
    long_share: float


def fixed_share(energy_ratio: float, growth: float) -> float:
    """Return which part of the energy at the shorter length does not depend on the length.

    With ``E = fixed + growing``, of which only the second grows, by the factor `growth`, the energies have the ratio
    ``1 + (growth - 1) (1 - share)``, so ``share = (growth - energy_ratio) / (growth - 1)``. The share at the longer
    length is this over the ratio.

    Args:
        energy_ratio: Energy at the longer length over that at the shorter.
        growth: Of what depends on the length; above 1.

    >>> fixed_share(2.0, 3.0), fixed_share(3.0, 3.0)
    (0.5, 0.0)
    """
    return (growth - energy_ratio) / (growth - 1)


def macs(network: Network) -> int:
    """Return the multiply-accumulates of the dense encoder, attention included.

    >>> round(macs(network_from_config(SIZES["bert-base"], tokens=384, name="bert-base")) / 1e9, 2)
    35.33
    """
    return network.matrix_parameters * network.tokens + network.layers * sum(each.ops for each in network.attention)


def mac_growth() -> float:
    """Return the multiply-accumulates of BERT-base at 384 tokens over those at 128.

    >>> round(mac_growth(), 3)
    3.162
    """
    short, long = (network_from_config(SIZES[BERT], tokens=tokens, name=BERT) for tokens in (SHORT, LONG))
    return macs(long) / macs(short)


def dense_ratios(short: DesignCost, long: DesignCost, distilbert: DesignCost) -> DenseRatios:
    """Return the ratios of dense costs.

    Args:
        short: BERT-base at 128 tokens.
        long: BERT-base at 384.
        distilbert: DistilBERT at 384.
    """
    energy_ratio = long.energy_pj / short.energy_pj
    share = fixed_share(energy_ratio, mac_growth())
    return DenseRatios(
        edp=long.edp_pj_cycles / short.edp_pj_cycles,
        distilbert=distilbert.edp_pj_cycles / long.edp_pj_cycles,
        short_share=share,
        long_share=share / energy_ratio,
    )


def published_ratios() -> tuple[DenseRatios, DenseRatios]:
    """Return HEAT's ratios, with the least and with the largest share of the weights.

    Delay is taken to be bound by arithmetic, as energy and time were not published apart: it grows 3-fold without
    attention (the least share), and by `mac_growth` with it (the largest).

    >>> low, high = published_ratios()
    >>> round(low.edp, 3), round(low.distilbert, 3)
    (6.585, 0.25)
    >>> [round(100 * each, 1) for each in (low.short_share, high.short_share, low.long_share, high.long_share)]
    [40.2, 49.9, 18.3, 24.0]
    """
    edp = dense_row(BERT, "SQuAD-v1.1").edp_uj_s / dense_row(BERT, "SST-2").edp_uj_s
    distilbert = dense_row(DISTILBERT, "SQuAD-v1.1").edp_uj_s / dense_row(BERT, "SQuAD-v1.1").edp_uj_s
    low, high = (
        DenseRatios(
            edp=edp, distilbert=distilbert, short_share=fixed_share(edp / growth, growth),
            long_share=fixed_share(edp / growth, growth) / (edp / growth),
        )
        for growth in (LONG / SHORT, mac_growth())
    )  # fmt: skip
    return low, high
