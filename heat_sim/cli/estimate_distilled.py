"""Accuracy after distillation, for the first designs of an estimate check: what a trained estimate is to predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from heat_sim.cli.bench import AddBar, Bench, stage_bars
from heat_sim.cli.estimate_samples import Check
from heat_sim.cli.start import Start
from heat_sim.codesign.space import DesignSpace
from heat_sim.distill.batches import encode, sorted_batches
from heat_sim.distill.measure import measure_accuracy
from heat_sim.distill.settings import DistillSettings
from heat_sim.distill.supernet import plain_design
from heat_sim.distill.train import distill
from heat_sim.errors import SpecError, describe


def with_distilled(
    check: Check,
    bench: Bench,
    space: DesignSpace,
    *,
    count: int,
    settings: DistillSettings,
    save: Callable[[Check], None],
    add_bar: AddBar,
) -> Check:
    """Return the check with the first designs distilled from their activation-aware projection and measured again.

    The designs are in random order, so the first ones are a random part; no student starts from a SuperNet.

    Args:
        check: With all designs measured.
        bench: Model, task and calibration.
        space: Whose slots the designs fill.
        count: Designs to distil; those distilled before count.
        settings: Of the distillation.
        save: Called after every design.
        add_bar: Adds a progress bar.

    Raises:
        SpecError: Some samples were distilled in another way.
    """
    way = {
        "layer_epochs": settings.layerwise_epochs, "logit_epochs": settings.logit_epochs, "rows": settings.max_rows,
        "logit_rate": settings.logit_peak, "seed": settings.seed,
    }  # fmt: skip
    if check.distilled not in (None, way):
        raise SpecError(
            describe("estimate check", "the folder has designs that were distilled otherwise", got=way,
                     expected=check.distilled, remedy="Give the same epochs and rows, or another --out.")
        )  # fmt: skip
    places = range(min(count, len(check.samples)))
    todo = [place for place in places if check.samples[place].distilled_accuracy is None]
    if not todo:
        return check
    check = replace(check, distilled=way)
    texts = encode(bench.teacher.tokenizer, bench.task, split="test", max_length=settings.max_length)
    batches = sorted_batches(texts, batch_size=settings.batch_size)
    start, progress = Start(bench=bench, projection="activation"), stage_bars(add_bar)
    tick = add_bar("distil designs", len(todo))
    for done, place in enumerate(todo, start=1):
        sample = check.samples[place]
        student = start(plain_design(space.by_name(sample.factorizations), model=bench.model))
        trained = distill(bench.teacher, student, bench.task, settings=settings, progress=progress)
        accuracy = measure_accuracy(trained.student, batches, precision=settings.precision)
        more = replace(sample, distilled_accuracy=accuracy)
        check = replace(check, samples=(*check.samples[:place], more, *check.samples[place + 1 :]))
        save(check)
        tick(done, f"accuracy {100 * accuracy:.1f} %")
    return check
