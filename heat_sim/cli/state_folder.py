"""Where `heat-sim distill` keeps the teacher's states while it trains, and whether it does."""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path

from heat_sim.cache_folder import content_key
from heat_sim.cli.bench import Bench
from heat_sim.cli.distill_plan import TeacherStatesChoice
from heat_sim.distill.batches import Rows, encode
from heat_sim.distill.progress import Progress
from heat_sim.distill.settings import DistillSettings
from heat_sim.distill.teacher_states import StateShape, TeacherStates, state_shape, store_teacher_states
from heat_sim.errors import HeatError, describe

_LARGEST_BYTES = 8 * 10**9
"""What is stored without being asked for."""


class StateFolder:
    """The stored states of one run's teacher.

    Args:
        run: Folder of the run.
        bench: Teacher and task.
        settings: Say which rows, cut to which length.
    """

    def __init__(self, run: Path, bench: Bench, settings: DistillSettings) -> None:
        self._bench, self._settings = bench, settings
        key = content_key({
            "teacher": bench.teacher.folder.name, "data": bench.task.sha256, "max_rows": settings.max_rows,
            "max_length": settings.max_length, "precision": settings.precision,
        })  # fmt: skip
        self._folder = run / "teacher-states" / key

    def settle(self, choice: TeacherStatesChoice, *, needed: bool) -> TeacherStatesChoice:
        """Return "store" or "ask"; of "auto" the first, if there is room for the states.

        Args:
            choice: What was asked for.
            needed: Whether a training has stage 1.

        Raises:
            HeatError: "store" is asked for, and the teacher's layers differ in size.
        """
        if choice == "ask" or not needed or self._settings.layerwise_mode == "blocks":
            return "ask"
        if choice == "store" and self._shape is None:
            raise HeatError(
                describe(self._bench.model, "states cannot be stored", got="layers of different sizes",
                         expected="one size of hidden states and attention maps", remedy="--teacher-states ask")
            )  # fmt: skip
        if choice == "store" or self._folder.is_dir():
            return "store"
        room = min(_LARGEST_BYTES, shutil.disk_usage(self._folder.parents[1]).free // 2)
        return "store" if self._shape is not None and self._shape.size_bytes(self._rows.lengths) <= room else "ask"

    def fill(self, progress: Progress) -> None:
        """Compute the states, if they are not there."""
        assert self._shape is not None  # settled
        store_teacher_states(
            self._bench.teacher.model, self._rows, self._folder, shape=self._shape,
            batch_size=self._settings.batch_size, precision=self._settings.precision, progress=progress,
        )  # fmt: skip

    def open(self) -> TeacherStates:
        """Return the states that `fill` has stored."""
        return TeacherStates(self._folder)

    def clear(self) -> None:
        """Give the disk space back."""
        shutil.rmtree(self._folder.parent, ignore_errors=True)

    @cached_property
    def _shape(self) -> StateShape | None:
        return state_shape(self._bench.teacher.model, self._rows)

    @cached_property
    def _rows(self) -> Rows:
        return encode(
            self._bench.teacher.tokenizer,
            self._bench.task,
            split="train",
            max_length=self._settings.max_length,
            max_rows=self._settings.max_rows,
        )
