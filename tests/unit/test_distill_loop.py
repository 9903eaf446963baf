"""The training loop: batches, schedule, seeds, and what happens when training diverges."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from heat_sim.distill.batches import Batch, EncodedRows, shuffled_batches, sorted_batches  # noqa: E402
from heat_sim.distill.loop import schedule, seeded_torch, train_epochs  # noqa: E402
from heat_sim.distill.progress import ProgressEvent, ignore_progress  # noqa: E402
from heat_sim.distill.settings import DistillSettings, FineTuneSettings  # noqa: E402
from heat_sim.errors import HeatError, SpecError  # noqa: E402

ROWS = EncodedRows(
    tokens=tuple(tuple(range(1, 2 + n % 7)) for n in range(100)), labels=tuple(n % 2 for n in range(100)), pad=0
)


def rows_of(batches: tuple[Batch, ...]) -> list[tuple[tuple[int, ...], int]]:
    return [
        (tuple(ids[mask == 1].tolist()), int(label))
        for batch in batches
        for ids, mask, label in zip(batch.input_ids, batch.attention_mask, batch.labels, strict=True)
    ]


def test_each_epoch_has_every_row_once_with_its_label() -> None:
    expected = sorted(zip(ROWS.tokens, ROWS.labels, strict=True))
    assert sorted(rows_of(sorted_batches(ROWS, batch_size=8))) == expected
    shuffled = shuffled_batches(ROWS, batch_size=8, rng=np.random.default_rng(0))
    assert sorted(rows_of(shuffled)) == expected
    assert rows_of(shuffled) != rows_of(shuffled_batches(ROWS, batch_size=8, rng=np.random.default_rng(1)))


def test_rows_of_like_length_share_a_batch() -> None:
    batches = shuffled_batches(ROWS, batch_size=10, rng=np.random.default_rng(0))
    padding = sum(int((batch.attention_mask == 0).sum()) for batch in batches)
    # Seven lengths in ten sorted batches: at most six batches hold two lengths, which differ by 1.
    assert padding <= 6 * 10


def test_padding_is_the_pad_token_under_a_zero_mask() -> None:
    rows = EncodedRows(tokens=((5,), (6, 7)), labels=(0, 1), pad=9)
    (batch,) = sorted_batches(rows, batch_size=2)
    assert batch.input_ids.tolist() == [[5, 9], [6, 7]]
    assert batch.attention_mask.tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_the_schedule_rises_to_one_and_falls_towards_zero(steps: int) -> None:
    shares = [schedule(step, steps) for step in range(steps)]
    peak = shares.index(1.0)
    assert all(a < b for a, b in pairwise(shares[: peak + 1]))
    assert all(a >= b > 0 for a, b in pairwise(shares[peak:]))


def test_a_line_is_learnt_and_every_step_reported() -> None:
    events: list[ProgressEvent] = []
    model = torch.nn.Linear(1, 1)
    history = train_epochs(
        model,
        ROWS,
        loss=lambda batch: (model(batch.labels[:, None].float())[:, 0] - 3 * batch.labels + 1).square().mean(),
        stage="line",
        epochs=40,
        learning_rate=0.2,
        batch_size=10,
        precision="float32",
        rng=np.random.default_rng(0),
        progress=events.append,
    )
    assert len(history) == 40 * 10 == events[-1].steps
    assert history[-1] < 0.01 * history[0]
    assert [event.loss for event in events] == list(history)
    assert [event.step for event in events] == list(range(1, 401))


def test_divergence_is_refused_and_the_last_good_weights_stay() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    seen: list[float] = []

    def loss(batch: Batch) -> torch.Tensor:
        seen.append(model.weight.item())
        value = (model(batch.labels[:, None].float()) - 1).square().mean()
        return value if len(seen) < 5 else value * math.nan

    with pytest.raises(
        HeatError, match=r"line, step 5 of 10: training has diverged \(got loss nan.*Lower the learning"
    ):
        train_epochs(
            model,
            ROWS,
            loss=loss,
            stage="line",
            epochs=1,
            learning_rate=0.1,
            batch_size=10,
            precision="float32",
            rng=np.random.default_rng(0),
            progress=ignore_progress,
        )
    assert model.weight.item() == seen[-1]


def test_seeding_ends_with_the_block() -> None:
    state = torch.random.get_rng_state()
    with seeded_torch(3):
        torch.rand(5)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: FineTuneSettings(epochs=0, learning_rate=-1.0), r"epochs: out of range .*\n.*learning_rate: out of"),
        (lambda: FineTuneSettings(max_rows=0), r"max_rows: out of range \(got 0, expected more than 0\)"),
        (lambda: FineTuneSettings(learning_rate=math.nan), "learning_rate: out of range"),
        (lambda: DistillSettings(temperature=0.0), "temperature: out of range"),
        (lambda: DistillSettings(soft_weight=1.5), r"soft_weight: not a share \(got 1\.5, expected 0 to 1\)"),
    ],
)
def test_settings_out_of_range_are_refused(settings: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        settings()  # type: ignore[operator]


def test_a_stage_may_have_no_epochs() -> None:
    assert DistillSettings(layerwise_epochs=0, logit_epochs=0).seed == 0
