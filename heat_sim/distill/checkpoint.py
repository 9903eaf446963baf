"""Where a training run stands, on disk: enough to go on bit for bit after a kill."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from heat_sim.errors import HeatError, describe

FILE = "checkpoint.pt"


@dataclass(kw_only=True, eq=False)
class TrainingState:
    """Where one stage of training stands.

    Attributes:
        stage: Name of the stage.
        step: Steps done.
        losses: Training loss of each step.
        rates: Learning rate of each step, as a share of the peak.
        checks: What validation found: (step, loss, accuracy) each time, in order.
        model: Trained parameters by name; of a stage that has ended its last ones, until the next one overwrites them.
        optimiser: State of the optimiser.
        best: Trained parameters at the best validation; None before the first.
        best_step: Step of the best validation.
        done: Whether the stage has ended, by its last step or early.
        seconds: Wall time of these steps.
        random: State of torch's generator.
    """

    stage: str
    step: int = 0
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    checks: list[tuple[int, float, float]] = field(default_factory=list)
    model: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Tensor] | None = None
    best_step: int = 0
    done: bool = False
    seconds: float = 0.0
    random: Tensor = field(default_factory=torch.get_rng_state)

    def close(self, parameters: Mapping[str, Tensor]) -> None:
        """Note that the stage has ended with these parameters; what only going on with it needs is dropped."""
        self.done = True
        self.model = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self.optimiser, self.best = {}, None
        self.random = torch.get_rng_state()


class Checkpoints:
    """The checkpoint of one training run: a file that is replaced as a whole, so that a kill leaves the last one.

    Args:
        folder: Where the file is kept; made if need be.
        key: Tells runs apart: a file of another run is refused.
        every: Steps between two checkpoints.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = Checkpoints(Path(folder), key="k", every=10)
    ...     kept.save([TrainingState(stage="distill logits", step=20)])
    ...     [state.step for state in kept.load()]
    [20]
    """

    def __init__(self, folder: Path, *, key: str, every: int = 200) -> None:
        self.folder, self.key, self.every = folder, key, every

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    def save(self, states: list[TrainingState]) -> None:
        """Write the states of all stages begun.

        Raises:
            HeatError: It cannot be written, for example because the disk is full; the last checkpoint stays.
        """
        content = {"key": self.key, "states": [vars(state) for state in states]}
        draft = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".checkpoint-", delete=False) as file:
                draft = Path(file.name)
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except (OSError, RuntimeError) as problem:  # torch wraps a full disk into a RuntimeError
            if draft is not None:
                draft.unlink(missing_ok=True)
            raise HeatError(
                describe(str(self.path), "the checkpoint cannot be written", got=problem,
                         expected="room on the disk and leave to write",
                         remedy="Make room and go on with --resume: the last checkpoint is there still.")
            ) from None  # fmt: skip

    def load(self) -> list[TrainingState]:
        """Return the states as they were saved, nothing if there is no checkpoint.

        Raises:
            HeatError: The file is broken, or of another run.
        """
        if not self.path.is_file():
            return []
        key, states = self._read()
        if key != self.key:
            raise HeatError(
                describe(str(self.path), "of another training run", got=key, expected=self.key,
                         remedy="Go on with the settings of that run, or delete the file.")
            )  # fmt: skip
        return states

    def _read(self) -> tuple[str, list[TrainingState]]:
        """Return key and states of the file."""
        try:
            content = torch.load(self.path, weights_only=True)
            return str(content["key"]), [TrainingState(**state) for state in content["states"]]
        except Exception as problem:  # whatever torch raises on a broken file
            raise HeatError(
                describe(str(self.path), "cannot be read", got=" ".join(str(problem).split())[:200],
                         expected="a checkpoint of ours", remedy="Delete it: that training starts again.")
            ) from None  # fmt: skip

    def load_own(self) -> list[TrainingState]:
        """Return the states as they were saved; nothing if what is there is of another run.

        Raises:
            HeatError: The file is broken.
        """
        if not self.path.is_file():
            return []
        key, states = self._read()
        return states if key == self.key else []

    def stage(self, name: str) -> TrainingState:
        """Return where a training of one stage stands: as it was saved, or at its beginning."""
        return next((state for state in self.load() if state.stage == name), TrainingState(stage=name))

    def save_stage(self, state: TrainingState) -> None:
        """Write the state of a training of one stage; HeatError as `save`."""
        self.save([state])

    def clear(self) -> None:
        """Delete the file and, if it is empty, the folder: the run is finished."""
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
