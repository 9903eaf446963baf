"""Points of a search on disk: whatever a killed process leaves, the whole lines of it are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heat_sim.codesign.points import Point, PointStore
from heat_sim.errors import SpecError

ABOUT = {"seed": 3, "model": "abc"}
POINTS = {
    (0, 4, 2): Point(energy_pj=1.5, cycles=7, matrix_parameters=10, estimated_loss=0.1),
    (1, 0, 0): Point(energy_pj=2.5, cycles=6, matrix_parameters=20, estimated_loss=0.0),
    (2, 3, 1): Point(energy_pj=0.0, cycles=0, matrix_parameters=0, estimated_loss=0.0, failure="does not fit"),
}


def write(path: Path) -> bytes:
    with PointStore(path, about=ABOUT) as store:
        for genome, point in POINTS.items():
            store.put(genome, point)
    return path.read_bytes()


@given(st.data())
def test_a_file_cut_anywhere_gives_back_its_whole_lines_and_goes_on(tmp_path_factory, data) -> None:
    path = tmp_path_factory.mktemp("run") / "points.jsonl"
    whole = write(path)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    lines = whole[:cut].count(b"\n")
    with PointStore(path, about=ABOUT) as store:
        assert len(store) == max(0, lines - 1)
        for n, (genome, point) in enumerate(POINTS.items()):
            assert store.get(genome) == (point if n < lines - 1 else None)
            if store.get(genome) is None:
                store.put(genome, point)
    assert path.read_bytes() == whole


def test_points_of_another_search_are_refused_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "points.jsonl"
    whole = write(path)
    with pytest.raises(SpecError, match=r"points of another search .got other extra, model"):
        PointStore(path, about={"seed": 3, "model": "xyz", "extra": 1})
    assert path.read_bytes() == whole


@pytest.mark.parametrize("text", ["{}\n{}\n", "[]\nnothing\n", '{"seed": 3, "model": "abc"}\n{"genome": 5}\n'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "points.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="not the points of a search"):
        PointStore(path, about=ABOUT)


def test_without_a_file_points_are_held_in_memory() -> None:
    store = PointStore(None, about=ABOUT)
    for genome, point in POINTS.items():
        store.put(genome, point)
    store.flush()
    assert [store.get(genome) for genome in POINTS] == list(POINTS.values())
