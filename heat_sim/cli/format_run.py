"""The loop of `heat-sim decompose`: every cell of a plan, written as soon as it is measured."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from heat_sim.cli.bench import AddBar, Bench
from heat_sim.cli.console import Tick
from heat_sim.cli.format_cells import Cell, Record, load_record, save_record
from heat_sim.cli.format_choice import choose_factorizations, why_none
from heat_sim.cli.format_measure import measure_cell, right_rows
from heat_sim.cli.format_plan import Plan
from heat_sim.cli.format_table import accuracy, as_markdown
from heat_sim.distill.batches import encode, sorted_batches
from heat_sim.distill.settings import DistillSettings
from heat_sim.report.files import write_text
from heat_sim.tensorize.projection_cache import ProjectionCache


def measure_cells(
    folder: Path, bench: Bench, plan: Plan, *, arguments: Mapping[str, object], add_bar: AddBar
) -> Record:
    """Return the record with every cell of the plan; a call that is stopped loses at most the one it is at.

    Args:
        folder: A new one, or where an earlier call wrote its cells, which are not measured again.
        bench: The dense model on its task.
        plan: What to measure.
        arguments: Everything that a cell depends on, but for the teacher.
        add_bar: Adds a progress bar.

    Raises:
        SpecError: The folder holds cells of other arguments or of another teacher.
    """
    settings = DistillSettings()
    texts = encode(bench.teacher.tokenizer, bench.task, split="test", max_length=settings.max_length)
    batches = sorted_batches(texts, batch_size=settings.batch_size)
    weights = bench.calibration.weights
    arguments = {**arguments, "teacher": bench.teacher.folder.name}
    record = load_record(folder, arguments=arguments)
    if record is None:
        dense = sum(weight.size for weight in weights.values())
        record = Record(arguments=arguments, dense_parameters=dense, dense_right=right_rows(bench, {}, batches))
        save_record(folder, record)
    project, tick = ProjectionCache(), add_bar("decompose", len(plan))
    for form, compression in plan.pairs:
        known = {cell.key for cell in record.cells}
        missing = [name for name in plan.projections if (form, compression, name) not in known]
        if not missing:
            continue
        tick(len(record.cells), f"{form} {compression:g}x")
        reason = why_none(weights, form, compression=compression)
        if reason is None:
            chosen = choose_factorizations(weights, form, compression=compression, project=project)
        for projection in missing:
            note = f"{form} {compression:g}x {projection}"
            cell = Cell(format=form, compression=compression, projection=projection, reason=reason)
            if reason is None:
                report = functools.partial(_show, tick, len(record.cells), note)
                cell = measure_cell(cell, bench, chosen, batches=batches, project=project, report=report)
                note += f" {100 * accuracy(cell.right):.1f} %"
            record = record.with_cell(cell)
            save_record(folder, record)
            write_text(folder / "table.md", as_markdown(record, plan))
            tick(len(record.cells), note)
    return record


def _show(tick: Tick, done: int, note: str, state: str) -> None:
    tick(done, f"{note}: {state}")
