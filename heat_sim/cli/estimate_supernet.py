"""The SuperNet as one more estimate of an estimate check: trained once, run at the ranks of every design."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from heat_sim.cli.bench import AddBar, Bench, stage_bars
from heat_sim.cli.estimate_measure import SUPERNET
from heat_sim.cli.estimate_samples import Check
from heat_sim.codesign.space import DesignSpace
from heat_sim.distill.batches import encode, sorted_batches
from heat_sim.distill.supernet_estimate import SuperNetEstimate
from heat_sim.distill.supernet_options import largest_factorization
from heat_sim.distill.supernet_settings import SuperNetSettings
from heat_sim.distill.supernet_store import prepare_supernet, supernet_folder
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization


def space_options(space: DesignSpace) -> dict[str, tuple[Factorization, ...]]:
    """Return what every matrix may become in a design space, each option at the largest ranks that save parameters.

    Args:
        space: With options for every matrix.
    """
    return {
        name: tuple(largest_factorization(form, modes) for form, modes in slot.options)
        for slot in space.slots
        for name in slot.matrices
    }


def with_supernet(
    check: Check,
    bench: Bench,
    space: DesignSpace,
    *,
    settings: SuperNetSettings,
    save: Callable[[Check], None],
    add_bar: AddBar,
) -> Check:
    """Return the check with the estimate of a SuperNet for every sample: its divergence from the teacher on dev rows.

    Args:
        check: With all designs measured.
        bench: Model, task and calibration.
        space: Whose slots the designs fill.
        settings: Of the training.
        save: Called after every design.
        add_bar: Adds a progress bar.

    Raises:
        SpecError: Some samples have the estimate of another SuperNet.
    """
    options = space_options(space)
    folder = supernet_folder(
        bench.teacher, bench.task, options, calibration=bench.calibration, settings=settings
    )  # fmt: skip
    if check.supernet not in (None, folder.name):
        raise SpecError(
            describe("estimate check", "the folder is of a check with another SuperNet", got=folder.name,
                     expected=check.supernet, remedy="Give the same --supernet-epochs and -rows, or another --out.")
        )  # fmt: skip
    todo = [place for place, sample in enumerate(check.samples) if SUPERNET not in sample.estimates]
    if not todo:
        return check
    supernet = prepare_supernet(
        bench.teacher, bench.task, options, calibration=bench.calibration, settings=settings,
        progress=stage_bars(add_bar),
    )  # fmt: skip
    check = replace(check, supernet=folder.name, supernet_seconds=supernet.seconds)
    rows = encode(bench.teacher.tokenizer, bench.task, split="dev", max_length=settings.max_length)
    estimate = SuperNetEstimate(
        supernet.student, sorted_batches(rows, batch_size=settings.batch_size), teacher=bench.teacher.model
    )  # fmt: skip
    tick = add_bar("run SuperNet", len(todo))
    for done, place in enumerate(todo, start=1):
        sample = check.samples[place]
        started = time.perf_counter()
        value = estimate(space.by_name(sample.factorizations))
        milliseconds = 1e3 * (time.perf_counter() - started)
        more = replace(
            sample,
            estimates={**sample.estimates, SUPERNET: value},
            milliseconds={**sample.milliseconds, SUPERNET: milliseconds},
        )
        check = replace(check, samples=(*check.samples[:place], more, *check.samples[place + 1 :]))
        save(check)
        tick(done, f"divergence {value:.3f}")
    return check
