"""Our own front on the machine of HEAT's rows: the EDP gain of a search at the estimated loss of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from heat_sim.codesign.estimate import WeightError
from heat_sim.codesign.heat_rerun import RerunRow
from heat_sim.codesign.machines import Machines
from heat_sim.codesign.points import Point, PointStore
from heat_sim.codesign.prefetch import Prefetch
from heat_sim.codesign.search import SearchSettings, search_designs
from heat_sim.codesign.sites import MachineSite, StandInSite
from heat_sim.codesign.space import design_space
from heat_sim.codesign.start import strong_start
from heat_sim.codesign.strategy import Report, no_report
from heat_sim.codesign.uniform_size import with_rank
from heat_sim.codesign.workers import Workers
from heat_sim.networks import Network

FORMATS = ("dense", "low-rank", "tt-matrix")
"""That are searched; all may be mixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideRow:
    """A row of HEAT, and what a search finds that loses no more.

    Attributes:
        row: HEAT's, costed by our model.
        loss: Estimated loss of its design: weight error of stand-ins, see `StandInErrors`.
        edp_gain: Largest EDP gain of a searched design with at most this loss; 1 is the dense network.
    """

    row: RerunRow
    loss: float
    edp_gain: float


def search_beside(
    rows: Sequence[RerunRow],
    network: Network,
    *,
    machine: MachineSite,
    workers: Workers,
    settings: SearchSettings,
    report: Report = no_report,
) -> tuple[BesideRow, ...]:
    """Search the network once and return the rows with the gain at their loss.

    Args:
        rows: Of this network and sequence length.
        network: Its configuration is enough.
        machine: The one that the rows were costed on.
        workers: Who helps.
        settings: Budget of the search.
        report: Called after each generation.
    """
    loss_site = StandInSite(network=network, cache_file=None)
    errors = loss_site.open()
    estimate = WeightError(errors=errors)
    machines = Machines(network=network, estimate=estimate, base=replace(machine, tokens=network.tokens))
    prefetch = Prefetch(workers=workers, machines=machines, of_errors=loss_site, errors=errors)
    space, evaluator = design_space(network, formats=FORMATS), machines.at(())
    seeds = strong_start(space, evaluator, estimate=estimate, count=settings.population // 2, prefetch=prefetch)
    store = PointStore(None, about={})
    found = search_designs(
        space, evaluator, settings=settings, seeds=seeds, store=store, prefetch=prefetch, report=report
    )  # fmt: skip
    dense = found.dense.edp_pj_cycles
    points = [point for point in store.points() if point.failure is None]
    losses = [estimate(with_rank(network, row.published.format, row.rank)) for row in rows]
    return tuple(
        BesideRow(row=row, loss=loss, edp_gain=_gain(points, dense, loss))
        for row, loss in zip(rows, losses, strict=True)
    )


def _gain(points: Sequence[Point], dense: float, loss: float) -> float:
    return max((dense / point.edp_pj_cycles for point in points if point.estimated_loss <= loss), default=1.0)
