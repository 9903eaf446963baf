"""How long-running functions report how far they are: a callback, so that no library code prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """One finished step.

    Attributes:
        stage: What is running, for example `"fine-tune"`.
        step: Steps finished, from 1.
        steps: Steps in all.
        loss: The training loss of this step; None where nothing is trained.
        accuracy: Share of held-out rows that are right, 0 to 1, at the last check; None before the first.
    """

    stage: str
    step: int
    steps: int
    loss: float | None = None
    accuracy: float | None = None


Progress = Callable[[ProgressEvent], None]
"""Called after each step, from the thread that runs; an exception it raises stops the run."""


def ignore_progress(_event: ProgressEvent) -> None:
    """Return nothing and show nothing: the default callback.

    >>> ignore_progress(ProgressEvent(stage="fine-tune", step=1, steps=2, loss=0.7))
    """
