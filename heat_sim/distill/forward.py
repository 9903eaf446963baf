"""One forward pass, whatever the task: the model's outputs, its logits as one tensor, their cross-entropy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from heat_sim.distill.batches import NO_LABEL, Batch


def run(model: Any, batch: Batch, *, internal: bool = False) -> Any:
    """Return what the model says of a batch; with `internal` hidden states and attention maps of every layer too."""
    return model(**batch.inputs, output_hidden_states=internal, output_attentions=internal)


def logits_of(output: Any) -> Tensor:
    """Return the logits, (rows, ..., classes): one set a row, a token, or for the start and the end of an answer.

    For question answering the classes are the tokens: (rows, 2, length).

    >>> from transformers.modeling_outputs import QuestionAnsweringModelOutput
    >>> zeros = torch.zeros(3, 7)
    >>> logits_of(QuestionAnsweringModelOutput(start_logits=zeros, end_logits=zeros)).shape
    torch.Size([3, 2, 7])
    """
    if getattr(output, "start_logits", None) is not None:
        return torch.stack((output.start_logits, output.end_logits), dim=1)
    logits: Tensor = output.logits
    return logits


def cross_entropy(logits: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy of logits (rows, ..., classes) with labels (rows, ...), places without label left out.

    >>> labels = torch.tensor([[0, NO_LABEL]])
    >>> round(cross_entropy(torch.zeros(1, 2, 4), labels).item(), 3)  # log 4
    1.386
    """
    flat = logits.float().reshape(-1, logits.shape[-1])
    return functional.cross_entropy(flat, labels.reshape(-1), reduction=reduction, ignore_index=NO_LABEL)
