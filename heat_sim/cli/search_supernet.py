"""The SuperNet as the estimate of a search: trained on the options of the search, measured as a table."""

from __future__ import annotations

from heat_sim.cache_folder import content_key
from heat_sim.cli.bench import AddBar, Bench, stage_bars
from heat_sim.cli.estimate_supernet import space_options
from heat_sim.cli.inputs import searched_formats
from heat_sim.cli.plan import SearchPlan
from heat_sim.cli.sites import SuperNetSite
from heat_sim.codesign.space import design_space
from heat_sim.distill.supernet_loss import SuperNetLoss
from heat_sim.distill.supernet_settings import SuperNetSettings
from heat_sim.distill.supernet_table_store import prepare_supernet_table, table_json
from heat_sim.networks import Network


def supernet_site(bench: Bench, network: Network, plan: SearchPlan, *, add_bar: AddBar) -> SuperNetSite:
    """Return where the estimated loss comes from, trained and measured if that is not cached.

    Args:
        bench: Model, task and calibration.
        network: As the simulator sees it.
        plan: What is asked for; `prepare_subject` refuses what cannot be.
        add_bar: Adds a progress bar.

    Raises:
        HeatError: Training diverged, or the SuperNet loses nothing at any ranks.

    >>> supernet_site(bench, network, plan, add_bar=add_bar).estimate(design)  # doctest: +SKIP
    0.113
    """
    space = design_space(network, formats=searched_formats(plan.formats), per=plan.per, joint=plan.joint)
    table = prepare_supernet_table(
        bench.teacher,
        bench.task,
        space_options(space),
        calibration=bench.calibration,
        settings=SuperNetSettings(epochs=plan.supernet_epochs, max_rows=plan.supernet_rows, seed=plan.seed),
        progress=stage_bars(add_bar),
    )
    return SuperNetSite(estimate=SuperNetLoss(table=table), digest=f"SuperNet {content_key(table_json(table))}")
