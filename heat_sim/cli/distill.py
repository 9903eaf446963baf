"""`heat-sim distill`: measured accuracy of the designs of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from heat_sim.cli.bench import prepare_bench
from heat_sim.cli.console import bars
from heat_sim.cli.options import LayerEpochs, LogitEpochs, Projection, RunFolder
from heat_sim.cli.show import print_run


def distill_command(
    run: RunFolder,
    design: Annotated[
        list[str] | None, typer.Option(help="Id of a design to distil; may be given again. Default: picked.")
    ] = None,
    projection: Projection = "sequential",
    layer_epochs: LayerEpochs = 1,
    logit_epochs: LogitEpochs = 1,
) -> None:
    """Measure the designs of a run on held-out text: as projected, and one or more after distillation.

    The factorised layers execute the contraction order the simulator chose. Distillation has two stages:
    layer-wise (hidden states and attention maps of the dense model), then logits. The run's tables and plot
    are written anew, the trained model goes to RUN/students/<design>.

    Example: heat-sim distill results/minilm-l6-simba_l-s128-seed0 --design d03
    """
    # The run is read first: a wrong folder is refused before torch is loaded.
    from heat_sim.report.run_folder import read_manifest

    recorded = read_manifest(run)
    arguments, seed = recorded["arguments"], recorded["seed"]
    with bars() as add_bar:
        bench = prepare_bench(
            str(arguments["model"]), str(arguments["data"]), epochs=int(str(arguments["teacher_epochs"])),
            seed=seed, add_bar=add_bar,
        )  # fmt: skip
        from heat_sim.cli.measure import measure

        measure(run, bench, designs=design, projection=projection, layer_epochs=layer_epochs,
                logit_epochs=logit_epochs, seed=seed, add_bar=add_bar)  # fmt: skip
    print_run(run)
