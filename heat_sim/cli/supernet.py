"""`heat-sim supernet`: train a network once that runs at any ranks, and show what it is worth at some."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from heat_sim.cli.bench import EMBEDDED_DATA, EMBEDDED_MODEL, prepare_bench
from heat_sim.cli.console import bars, write_json
from heat_sim.cli.options import Data, JsonFile, Model, Seed, TeacherEpochs

SuperNetEpochs = Annotated[int, typer.Option(min=0, help="Epochs of the SuperNet's training (cached).")]
SuperNetRows = Annotated[
    int | None, typer.Option(min=1, help="Training rows of the SuperNet, the first so many; all if left out.")
]


def supernet_command(
    model: Model = EMBEDDED_MODEL,
    data: Data = EMBEDDED_DATA,
    formats: Annotated[
        str, typer.Option(help="Formats of the matrices, with commas; each is an option of every matrix that it takes.")
    ] = "low-rank",
    max_ratio: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Parameters of a matrix at the largest ranks over the dense one's.")
    ] = 1.0,
    epochs: SuperNetEpochs = 2,
    rows: SuperNetRows = None,
    seed: Seed = 0,
    teacher_epochs: TeacherEpochs = 2,
    json: JsonFile = None,
) -> None:
    """Train a rank SuperNet: one network, every step at other ranks, that then runs at any ranks without training.

    It starts from a projection that is aware of the loss and is kept in the cache. The table is of equal shares of the
    largest ranks in all matrices, on the dev split: divergence from the dense model and accuracy, of the SuperNet and
    of the projection that it started from.

    Example: heat-sim supernet --model minilm-l6 --epochs 2
    """
    with bars() as add_bar:
        bench = prepare_bench(model, data, epochs=teacher_epochs, seed=seed, add_bar=add_bar)
        # Imported here: torch and the rest take seconds that the other commands do not need.
        from heat_sim.cli.bench import stage_bars
        from heat_sim.cli.estimate_shares import as_json, compare_shares, shares_text
        from heat_sim.distill.supernet_options import supernet_options
        from heat_sim.distill.supernet_settings import SuperNetSettings
        from heat_sim.distill.supernet_store import prepare_supernet

        names = tuple(dict.fromkeys(name.strip() for name in formats.split(",") if name.strip()))
        sizes = {name: (weight.shape[0], weight.shape[1]) for name, weight in bench.calibration.weights.items()}
        options = supernet_options(sizes, formats=names, share=max_ratio)
        settings = SuperNetSettings(epochs=epochs, max_rows=rows, seed=seed)
        supernet = prepare_supernet(
            bench.teacher, bench.task, options, calibration=bench.calibration, settings=settings,
            progress=stage_bars(add_bar),
        )  # fmt: skip
        table = compare_shares(bench, supernet.student, options, settings=settings, add_bar=add_bar)
    if json is not None:
        write_json(as_json(supernet, table), json)
    if json != "-":
        sys.stdout.write(shares_text(supernet, table))
