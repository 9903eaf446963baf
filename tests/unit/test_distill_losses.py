"""Distillation losses against their definitions, written out row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from heat_sim.distill.losses import layerwise_loss, logit_loss  # noqa: E402


def test_the_logit_loss_is_its_definition_summed_row_by_row() -> None:
    rng = np.random.default_rng(0)
    student, teacher, labels = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), [0, 2, 1, 1, 0]
    temperature, soft_weight = 2.0, 0.3
    expected = 0.0
    for row, label in enumerate(labels):
        p = np.exp(teacher[row] / temperature) / np.exp(teacher[row] / temperature).sum()
        q = np.exp(student[row] / temperature) / np.exp(student[row] / temperature).sum()
        kl = sum(p[c] * math.log(p[c] / q[c]) for c in range(3))
        cross_entropy = -math.log(np.exp(student[row][label]) / np.exp(student[row]).sum())
        expected += (soft_weight * temperature**2 * kl + (1 - soft_weight) * cross_entropy) / len(labels)
    got = logit_loss(
        torch.tensor(student),
        torch.tensor(teacher),
        labels=torch.tensor(labels),
        temperature=temperature,
        soft_weight=soft_weight,
    )
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_equal_models_have_no_distillation_loss() -> None:
    logits = torch.tensor([[1.0, -2.0], [0.5, 0.5]])
    labels = torch.tensor([0, 1])
    assert logit_loss(logits, logits, labels=labels, temperature=3.0, soft_weight=1.0).item() == 0
    states = ((torch.ones(2, 3, 4),), (torch.ones(2, 2, 3, 3),))
    assert layerwise_loss(states, states, attention_mask=torch.ones(2, 3)).item() == 0


def test_padding_does_not_reach_the_layerwise_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    student = torch.randn(2, 3, 4, generator=generator), torch.rand(2, 2, 3, 3, generator=generator)
    teacher = torch.randn(2, 3, 4, generator=generator), torch.rand(2, 2, 3, 3, generator=generator)
    before = layerwise_loss(((student[0],), (student[1],)), ((teacher[0],), (teacher[1],)), attention_mask=mask)
    student[0][0, 2] = 1e6  # the padded token's hidden state
    student[1][0, :, 2] = 1e6  # and the row of attention it pays
    after = layerwise_loss(((student[0],), (student[1],)), ((teacher[0],), (teacher[1],)), attention_mask=mask)
    assert after.item() == before.item()


def test_every_layer_weighs_alike_whatever_its_size() -> None:
    mask = torch.ones(1, 2)
    maps = (torch.full((1, 1, 2, 2), 0.5),) * 2
    teacher = (torch.full((1, 2, 4), 1e-3), torch.full((1, 2, 4), 1e3))
    off_in_first = (torch.zeros(1, 2, 4), teacher[1])
    off_in_second = (teacher[0], torch.zeros(1, 2, 4))
    first, second = (
        layerwise_loss((hidden, maps), (teacher, maps), attention_mask=mask).item()
        for hidden in (off_in_first, off_in_second)
    )
    assert first == pytest.approx(0.5)  # one of two layers is all wrong (relative square 1), the maps are right
    assert second == pytest.approx(first)
