"""Distillation losses: layer by layer on hidden states and attention maps, then on the logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from heat_sim.distill.batches import NO_LABEL
from heat_sim.distill.forward import cross_entropy


def layerwise_loss(
    student: tuple[Sequence[Tensor], Sequence[Tensor]],
    teacher: tuple[Sequence[Tensor], Sequence[Tensor]],
    *,
    attention_mask: Tensor,
) -> Tensor:
    """Return the mean relative squared error of hidden states plus that of attention maps: a scalar.

    The relative squared error of one tensor is ||s - t||^2 / ||t||^2 over tokens that are not padding, so no layer
    outweighs another and 1 means "no better than zeros" (TinyBERT's terms, Jiao et al. 2020 eq. 7 and 8, normalised).

    Args:
        student: Hidden states, each (rows, length, hidden), and attention maps, each (rows, heads, length, length).
        teacher: The same of the teacher.
        attention_mask: (rows, length), 1 on tokens and 0 on padding.

    >>> ones = (torch.ones(1, 2, 4),), (torch.ones(1, 1, 2, 2),)
    >>> zeros = (torch.zeros(1, 2, 4),), (torch.zeros(1, 1, 2, 2),)
    >>> layerwise_loss(zeros, ones, attention_mask=torch.ones(1, 2)).item()
    2.0
    """
    tokens = attention_mask[:, :, None].to(torch.float32)  # (rows, length, 1)
    queries = attention_mask[:, None, :, None].to(torch.float32)  # (rows, 1, length, 1); padded keys get 0 anyway
    (student_hidden, student_maps), (teacher_hidden, teacher_maps) = student, teacher
    hidden = [_relative_square(s, t, tokens) for s, t in zip(student_hidden, teacher_hidden, strict=True)]
    maps = [_relative_square(s, t, queries) for s, t in zip(student_maps, teacher_maps, strict=True)]
    return torch.stack(hidden).mean() + torch.stack(maps).mean()


def logit_loss(student: Tensor, teacher: Tensor, *, labels: Tensor, temperature: float, soft_weight: float) -> Tensor:
    """Return soft_weight * T^2 * KL(teacher || student, both softened by T) + (1 - soft_weight) * cross-entropy.

    Hinton, Vinyals and Dean 2015; T^2 keeps the gradient of the soft part of one size for every temperature.

    Args:
        student: Logits (rows, ..., classes).
        teacher: The same of the teacher.
        labels: (rows, ...) int64; places without label count in neither part.
        temperature: T.
        soft_weight: 0 (labels only) to 1 (teacher only).

    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> logit_loss(logits, logits, labels=torch.tensor([0]), temperature=2.0, soft_weight=1.0).item()
    0.0
    """
    counts = labels.reshape(-1) != NO_LABEL
    ours, theirs = (
        each.float().reshape(-1, each.shape[-1])[counts] for each in (student, teacher)
    )  # (places, classes)
    soft = functional.kl_div(
        functional.log_softmax(ours / temperature, dim=-1),
        functional.log_softmax(theirs / temperature, dim=-1),
        log_target=True,
        reduction="batchmean",
    )
    return soft_weight * temperature**2 * soft + (1 - soft_weight) * cross_entropy(student, labels)


def _relative_square(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    difference = ((student.float() - teacher.float()) * mask).square().sum()
    return difference / (teacher.float() * mask).square().sum().clamp_min(torch.finfo(torch.float32).tiny)
