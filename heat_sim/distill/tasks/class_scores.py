"""Accuracy and macro F1 of one class a row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.distill.tasks.task import Scores


def class_scores(labels: Sequence[int], logits: Sequence[NDArray[np.float32]]) -> Scores:
    """Return the share of rows whose highest logit is the label's, and the macro F1: the mean of the classes' F1.

    The F1 of a class is 2 TP / (2 TP + FP + FN); the mean is over classes that occur as label or prediction.

    Args:
        labels: One per row.
        logits: (classes,) of each row.

    >>> scores = class_scores([0, 0, 1], [np.array(row, np.float32) for row in ([1, 0], [0, 1], [0, 1])])
    >>> round(scores.value, 3), scores.per_row.tolist()
    (0.667, [1.0, 0.0, 1.0])
    """
    wanted = np.asarray(labels, dtype=np.int64)
    got = np.stack(list(logits)).argmax(axis=-1)
    right = got == wanted
    classes = np.union1d(wanted, got)
    f1 = [2 * np.sum(right & (wanted == each)) / (np.sum(wanted == each) + np.sum(got == each)) for each in classes]
    return Scores(
        metric="accuracy",
        value=int(right.sum()) / len(right),
        further={"macro_f1": float(np.mean(f1))},
        per_row=right.astype(np.float64),
    )
