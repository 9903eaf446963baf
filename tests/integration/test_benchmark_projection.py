"""The benchmark of the projection runs, and its tables say what they should; no time is asserted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import projection
from heat_sim.tensorize import FORMATS


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, list[dict[str, object]]]]:
    target = tmp_path_factory.mktemp("benchmark") / "rows.json"
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        projection.main(["--quick", "--json", str(target)])
    return "\n".join(lines), json.loads(target.read_text(encoding="utf-8"))


def test_every_format_is_there_in_both_norms_and_all_sizes(printed):
    _, found = printed
    kinds = {(row["format"], row["fewer"], row["norm"]) for row in found["matrix"]}
    names = set(FORMATS) - {"dense"}
    assert kinds == {(name, fewer, norm) for name in names for fewer in (2, 3) for norm in ("plain", "activation")}
    assert {(row["format"], row["norm"]) for row in found["network"]} == {
        (name, norm) for name in names for norm in ("plain", "activation")
    }


def test_errors_are_those_of_projections(printed):
    """Below 1, and of low-rank the root of the dropped squares of singular values k^-0.35."""
    _, found = printed
    assert all(0 < row["error"] < 1 for row in found["matrix"])
    squares = np.arange(1.0, 25) ** -0.7
    ranks = {3: 24 * 48 // 3 // (24 + 48), 2: 24 * 48 // 2 // (24 + 48)}
    for row in found["matrix"]:
        if (row["format"], row["norm"]) == ("low-rank", "plain"):
            rank = ranks[row["fewer"]]
            assert row["ranks"] == [rank]
            assert row["error"] == pytest.approx(np.sqrt(squares[rank:].sum() / squares.sum()))


def test_the_second_time_all_matrices_come_from_the_cache(printed):
    _, found = printed
    assert {row["matrices"] for row in found["network"]} == {6}
    assert {row["found"] for row in found["network"]} == {6}


def test_tables_have_a_line_per_row(printed):
    text, found = printed
    matrix, network = ([line for line in part.splitlines() if line.startswith("| ")] for part in text.split("###")[1:])
    assert len(matrix) == 1 + len(found["matrix"])
    assert len(network) == 1 + len(found["network"])


def test_the_encoder_is_bert_base():
    shapes = projection.encoder_shapes(projection.FULL)
    assert len(shapes) == 72
    assert sum(rows * columns for rows, columns in shapes) == 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    assert set(shapes) == {(768, 768), (3072, 768), (768, 3072)}


def test_moments_fall_over_four_decades():
    values = np.linalg.eigvalsh(projection.random_moment(np.random.default_rng(0), 12))
    assert values.max() / values.min() == pytest.approx(1e4)
