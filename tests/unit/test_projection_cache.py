"""Projections kept on disk and made by several threads: the same cores as made anew, whatever lies in the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heat_sim.tensorize import Factorization, Tensorization, project
from heat_sim.tensorize.project_all import Task, project_all
from heat_sim.tensorize.projection_cache import ProjectionCache

RNG = np.random.default_rng(0)
WEIGHT, OTHER = RNG.normal(size=(2, 6, 8))
INPUTS, GRADIENTS = np.cov(RNG.normal(size=(8, 30))), np.cov(RNG.normal(size=(6, 30)))
TRAIN = Factorization(
    format="tt-matrix", tensorization=Tensorization(out_modes=(2, 3), in_modes=(4, 2)), ranks=(1, 3, 1)
)


def equal(left: tuple[np.ndarray, ...], right: tuple[np.ndarray, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_a_second_process_finds_what_the_first_made(tmp_path: Path) -> None:
    first, second = ProjectionCache(tmp_path), ProjectionCache(tmp_path)
    made = first(WEIGHT, TRAIN, second_moment=INPUTS, gradient_moment=GRADIENTS)
    found = second(WEIGHT.copy(), TRAIN, second_moment=INPUTS.copy(), gradient_moment=GRADIENTS.copy())
    assert equal(made, found)
    assert equal(made, project(WEIGHT, TRAIN, second_moment=INPUTS, gradient_moment=GRADIENTS))
    assert (first.made, first.found, second.made, second.found) == (1, 0, 0, 1)


def test_whatever_makes_a_projection_is_in_its_key(tmp_path: Path) -> None:
    cache = ProjectionCache(tmp_path)
    smaller = Factorization(format="tt-matrix", tensorization=TRAIN.tensorization, ranks=(1, 2, 1))
    calls = [
        (WEIGHT, TRAIN, {}),
        (OTHER, TRAIN, {}),
        (WEIGHT.astype(np.float32), TRAIN, {}),
        (WEIGHT, smaller, {}),
        (WEIGHT, TRAIN, {"second_moment": INPUTS}),
        (WEIGHT, TRAIN, {"second_moment": 2 * INPUTS}),
        (WEIGHT, TRAIN, {"gradient_moment": GRADIENTS}),
    ]
    for weight, factorization, moments in calls:
        assert equal(cache(weight, factorization, **moments), project(weight, factorization, **moments))
    assert (cache.made, cache.found) == (len(calls), 0)


def test_an_array_in_the_place_of_one_that_is_gone_is_not_taken_for_it(tmp_path: Path) -> None:
    cache, rng = ProjectionCache(tmp_path), np.random.default_rng(1)
    for _ in range(20):  # each weight dies before the next is made, most often at the same address
        weight = rng.normal(size=(6, 8))
        assert equal(cache(weight, TRAIN), project(weight, TRAIN))
    assert cache.made == 20


@pytest.mark.parametrize("damage", [b"", b"no archive", b"cut"], ids=["empty", "text", "cut off"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    made = ProjectionCache(tmp_path)(WEIGHT, TRAIN)
    (path,) = tmp_path.glob("*/*.npz")
    path.write_bytes(path.read_bytes()[:200] if damage == b"cut" else damage)
    cache = ProjectionCache(tmp_path)
    assert equal(cache(WEIGHT, TRAIN), made)
    assert cache.made == 1
    assert equal(ProjectionCache(tmp_path)(WEIGHT, TRAIN), made)
    assert [each.name for each in tmp_path.glob("*/*")] == [path.name]  # no draft is left


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    assert equal(ProjectionCache(file / "projections")(WEIGHT, TRAIN), project(WEIGHT, TRAIN))


def test_the_oldest_go_when_there_is_no_room(tmp_path: Path) -> None:
    cache = ProjectionCache(tmp_path, max_bytes=5_000)
    for seed in range(12):
        cache(np.random.default_rng(seed).normal(size=(6, 8)), TRAIN)
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*.npz")) <= 5_000
    assert any(tmp_path.glob("*/*.npz"))


@pytest.mark.parametrize("workers", [1, 2, None])
def test_all_are_projected_in_order_whatever_the_workers(workers: int | None) -> None:
    tasks = {
        "a": Task(weight=WEIGHT, factorization=TRAIN, second_moment=INPUTS),
        "b": Task(weight=OTHER, factorization=TRAIN, gradient_moment=GRADIENTS),
    }
    seen: list[int] = []
    found = project_all(tasks, workers=workers, report=seen.append)
    assert list(found) == ["a", "b"]
    assert seen == [1, 2]
    assert equal(found["a"], project(WEIGHT, TRAIN, second_moment=INPUTS))
    assert equal(found["b"], project(OTHER, TRAIN, gradient_moment=GRADIENTS))
