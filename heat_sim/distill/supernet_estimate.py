"""Estimate of what a design costs in accuracy: the trained SuperNet, run at the design's ranks on held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from heat_sim.distill.batches import NO_LABEL, Batch
from heat_sim.distill.calibrate import evaluation_mode
from heat_sim.distill.forward import cross_entropy, logits_of
from heat_sim.distill.supernet import running
from heat_sim.tensorize.factorization import Factorization

Measure: TypeAlias = Literal["divergence", "cross-entropy", "accuracy"]
"""What the SuperNet is measured by, see `SuperNetEstimate`."""


class SuperNetEstimate:
    """What the SuperNet loses at the ranks of a design, on rows that it was not trained on; smaller is better.

    * divergence: mean KL divergence from the teacher's probabilities to the SuperNet's, in nats; the finest.
    * cross-entropy: mean cross-entropy with the labels, less the teacher's.
    * accuracy: share of the rows classified as labelled, the teacher's less the SuperNet's.

    Every design is run once. Unlike the other estimates it has seen training, so it is to predict the accuracy after
    distillation.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> from heat_sim.distill.supernet import build_supernet, encoder_linears
    >>> from heat_sim.distill.supernet_options import supernet_options
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> model = BertForSequenceClassification(tiny).eval()
    >>> student = build_supernet(model, supernet_options({name: (8, 8) for name in encoder_linears(model)}))
    >>> one = torch.ones(1, 4, dtype=torch.int64)
    >>> batches = [Batch.of_tokens(input_ids=one, attention_mask=one, labels=one[:, 0])]
    >>> estimate = SuperNetEstimate(student, batches, teacher=model)
    >>> estimate({}) > 0.0  # at the largest ranks
    True
    """

    def __init__(
        self, student: Any, batches: Sequence[Batch], *, teacher: Any, measure: Measure = "divergence"
    ) -> None:
        """Run the teacher once.

        Args:
            student: A trained SuperNet, kept: no other thread may use it during a call.
            batches: Held-out rows, for example `sorted_batches` of the dev split.
            teacher: The dense model.
            measure: What is returned.
        """
        self._student, self._batches = student, batches
        self._lost = _MEASURES[measure]
        self._target = self._logits(teacher)
        self._known: dict[frozenset[tuple[str, Factorization]], float] = {}

    def __call__(self, design: Mapping[str, Factorization], /) -> float:
        """Return the estimate for a design; matrices that it does not name run in their first option, largest ranks.

        Raises:
            SpecError: The SuperNet has no such matrix, option or ranks.
        """
        key = frozenset(design.items())
        if key not in self._known:
            with running(self._student, design):
                logits = self._logits(self._student)
            labels = [batch.labels for batch in self._batches]
            self._known[key] = self._lost(logits, self._target, labels)
        return self._known[key]

    def _logits(self, model: Any) -> list[Tensor]:
        with evaluation_mode(model), torch.inference_mode():
            return [logits_of(model(**batch.inputs)).to(torch.float64) for batch in self._batches]


_Several = Sequence[Tensor]
"""One tensor per batch."""


def _divergence(ours: _Several, theirs: _Several, _labels: _Several) -> float:
    terms = []
    for own, exact in zip(ours, theirs, strict=True):
        log_own, log_exact = own.log_softmax(dim=-1), exact.log_softmax(dim=-1)
        terms.append((log_exact.exp() * (log_exact - log_own)).sum(dim=-1).flatten())  # (places,)
    return max(0.0, float(torch.cat(terms).mean()))


def _cross_entropy(ours: _Several, theirs: _Several, labels: _Several) -> float:
    sums = [sum(float(cross_entropy(x, y, reduction="sum")) for x, y in zip(several, labels, strict=True))
            for several in (ours, theirs)]  # fmt: skip
    return (sums[0] - sums[1]) / _places(labels)


def _accuracy(ours: _Several, theirs: _Several, labels: _Several) -> float:
    right = [sum(int((x.argmax(dim=-1) == y).sum()) for x, y in zip(several, labels, strict=True))
             for several in (ours, theirs)]  # fmt: skip
    return (right[1] - right[0]) / _places(labels)


def _places(labels: _Several) -> int:
    return sum(int((each != NO_LABEL).sum()) for each in labels)


_MEASURES: Mapping[Measure, Callable[[_Several, _Several, _Several], float]] = {
    "divergence": _divergence,
    "cross-entropy": _cross_entropy,
    "accuracy": _accuracy,
}
