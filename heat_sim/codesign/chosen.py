"""From costed designs to design files and table rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from heat_sim.codesign.evaluator import DesignCost
from heat_sim.codesign.front import FrontRow
from heat_sim.codesign.joint import Groups
from heat_sim.networks import Network
from heat_sim.tensorize.design import Design, LayerDesign

DENSE = "dense"
"""Id of the row of the network as it is."""


def design_id(place: int) -> str:
    """Return the id of the chosen design at this place, counted from 0.

    >>> design_id(0)
    'd01'
    """
    return f"d{place + 1:02d}"


def chosen_designs(
    chosen: Sequence[DesignCost], *, network: Network, groups: Groups | None = None
) -> tuple[Design, ...]:  # fmt: skip
    """Return the designs with a factorization and a contraction order for every matrix.

    Args:
        chosen: Costed designs.
        network: The network they belong to.
        groups: Matrices that designs may stack, by the name of the stacked one.
    """
    return tuple(
        Design(
            id=design_id(place),
            model=network.name,
            tokens=network.tokens,
            architecture=cost.architecture.name,
            layers=tuple(_layers(cost, groups or {})),
        )
        for place, cost in enumerate(chosen)
    )


def _layers(cost: DesignCost, groups: Groups) -> Iterator[tuple[str, LayerDesign]]:
    for name, factorization in cost.design.items():
        trees = cost.ways[factorization].trees
        yield name, LayerDesign(factorization=factorization, trees=trees, members=groups.get(name, ()))


def front_rows(dense: DesignCost, chosen: Sequence[DesignCost], *, network: Network) -> tuple[FrontRow, ...]:
    """Return the dense row, then one row per chosen design, without measured accuracies."""
    return tuple(
        FrontRow(
            design=name,
            edp_gain=dense.edp_pj_cycles / cost.edp_pj_cycles,
            energy_pj=cost.energy_pj,
            cycles=cost.cycles,
            edp_pj_cycles=cost.edp_pj_cycles,
            parameters=cost.matrix_parameters + network.other_parameters,
            encoder_parameters=cost.matrix_parameters,
            estimated_loss=cost.estimated_loss,
            area_mm2=cost.area_mm2,
        )
        for name, cost in [(DENSE, dense), *((design_id(place), cost) for place, cost in enumerate(chosen))]
    )
