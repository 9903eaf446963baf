"""Stored hidden states and attention maps: what the teacher says, and training with them; on the tiny encoder."""

from __future__ import annotations

import copy
import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from heat_sim.cli.bench import Bench  # noqa: E402
from heat_sim.cli.state_folder import StateFolder  # noqa: E402
from heat_sim.distill import teacher_states  # noqa: E402
from heat_sim.distill.batches import EncodedRows, encode  # noqa: E402
from heat_sim.distill.calibrate import prepare_calibration  # noqa: E402
from heat_sim.distill.forward import run  # noqa: E402
from heat_sim.distill.settings import DistillSettings  # noqa: E402
from heat_sim.distill.tasks import TextTask  # noqa: E402
from heat_sim.distill.teacher import Teacher  # noqa: E402
from heat_sim.distill.teacher_states import StatesRows, TeacherStates, state_shape, store_teacher_states  # noqa: E402
from heat_sim.distill.train import distill  # noqa: E402
from heat_sim.errors import HeatError  # noqa: E402

# pytest hands imported fixtures in by their names: F811 sees a redefinition in every argument.
from tests.integration.test_distill_resume import projected, task, teacher  # noqa: E402, F401  # fixtures

ROWS = 96


def stored(teacher: Teacher, task: TextTask, folder: Path) -> tuple[EncodedRows, TeacherStates]:  # noqa: F811
    rows = encode(teacher.tokenizer, task, split="train", max_rows=ROWS)
    assert isinstance(rows, EncodedRows)
    shape = state_shape(teacher.model, rows)
    assert shape is not None
    states = store_teacher_states(teacher.model, rows, folder, shape=shape, batch_size=16, precision="float32")
    on_disk = sum((folder / name).stat().st_size for name in ("hidden.npy", "maps.npy"))
    assert on_disk == shape.size_bytes(rows.lengths) + 2 * 128  # two headers of .npy
    return rows, states


def test_what_is_stored_is_what_the_teacher_says(teacher: Teacher, task: TextTask, tmp_path: Path) -> None:  # noqa: F811
    dropping = copy.deepcopy(teacher.model).train()
    rows, states = stored(replace(teacher, model=dropping), task, tmp_path / "states")
    assert dropping.training  # as it came; but what it says is said without dropout
    places = [int(place) for place in np.random.default_rng(0).permutation(ROWS)[:20]]
    batch = StatesRows(rows=rows, states=states).batch(places)
    assert len({rows.lengths[place] for place in places}) > 2  # rows are padded
    with torch.no_grad():
        said = run(teacher.model, rows.batch(places), internal=True)
    tokens = batch.attention_mask[:, :, None] == 1
    queries = batch.attention_mask[:, None, :, None] == 1
    for mine, its, of in (
        (batch.hidden_states, said.hidden_states[1:], tokens), (batch.attentions, said.attentions, queries),
    ):  # fmt: skip
        assert len(mine) == len(its) == teacher.model.config.num_hidden_layers
        for one, other in zip(mine, its, strict=True):
            assert one.shape == other.shape
            assert one.dtype == torch.float32
            torch.testing.assert_close(one, torch.where(of, other, 0.0), rtol=1e-3, atol=1e-5)  # half precision


def test_training_with_them_is_training_with_the_teacher(
    teacher: Teacher, task: TextTask, projected: object, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    _, states = stored(teacher, task, tmp_path / "states")
    settings = DistillSettings(
        layerwise_epochs=2, layerwise_learning_rate=3e-3, logit_epochs=0, max_rows=ROWS, validation_rows=20,
        precision="float32",
    )  # fmt: skip
    asked = distill(teacher, projected, task, settings=settings)
    calls = []
    handle = teacher.model.register_forward_hook(lambda *_: calls.append(1))
    with_states = distill(teacher, projected, task, settings=settings, teacher_states=states)
    handle.remove()
    assert len(calls) == 3  # only of the 20 dev rows, in one batch, at the start and after each epoch
    assert with_states.layerwise_losses == pytest.approx(asked.layerwise_losses, rel=0.01)
    assert asked.layerwise_losses[-1] < 0.9 * asked.layerwise_losses[0]


def test_a_full_disk_is_told_before_anything_is_written(
    teacher: Teacher, task: TextTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(teacher_states.os, "posix_fallocate", full)
    with pytest.raises(HeatError, match=r"no room.*No space left on device.*--teacher-states ask"):
        stored(teacher, task, tmp_path / "states")
    assert not list(tmp_path.iterdir())


def test_states_beyond_half_precision_are_refused(teacher: Teacher, task: TextTask, tmp_path: Path) -> None:  # noqa: F811
    model = copy.deepcopy(teacher.model)
    norm = next(module for module in reversed(list(model.modules())) if isinstance(module, torch.nn.LayerNorm))
    with torch.no_grad():
        norm.bias.fill_(1e5)
    with pytest.raises(HeatError, match="beyond half precision"):
        stored(replace(teacher, model=model), task, tmp_path / "states")
    assert not list(tmp_path.iterdir())


def test_layers_of_different_sizes_are_not_stored(teacher: Teacher, task: TextTask, tmp_path: Path) -> None:  # noqa: F811
    rows = encode(teacher.tokenizer, task, split="train", max_rows=3)
    bench = Bench(model="tiny", task=task, teacher=teacher, calibration=prepare_calibration(teacher, task))

    def shorten(_module: object, _inputs: object, output: object) -> object:
        output.hidden_states = (*output.hidden_states[:-1], output.hidden_states[-1][:, :-1])  # type: ignore[attr-defined]
        return output

    handle = teacher.model.register_forward_hook(shorten)
    try:
        assert state_shape(teacher.model, rows) is None
        folder = StateFolder(tmp_path, bench, DistillSettings(max_rows=3))
        assert folder.settle("auto", needed=True) == "ask"
        with pytest.raises(HeatError, match=r"tiny: states cannot be stored.*--teacher-states ask"):
            folder.settle("store", needed=True)
    finally:
        handle.remove()
    assert state_shape(teacher.model, rows) is not None
