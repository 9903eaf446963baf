"""The benchmark of the search over cascades runs, and its tables say what they should; no time is asserted."""

from __future__ import annotations

import math

import pytest

from benchmarks import cascade, cascade_cases

Row = dict[str, str]


def tables(text: str) -> dict[str, list[Row]]:
    """Return the rows of each table, by the first words of its title."""
    found: dict[str, list[Row]] = {}
    for part in text.split("### ")[1:]:
        title, *lines = part.splitlines()
        header, _, *rows = [
            [cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("|")
        ]  # fmt: skip
        assert len(set(header)) == len(header)
        assert all(len(row) == len(header) for row in rows), title
        found[" ".join(title.split()[:2])] = [dict(zip(header, row, strict=True)) for row in rows]
    return found


@pytest.fixture(scope="module")
def printed() -> dict[str, list[Row]]:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        cascade.main(["--quick"])
    return tables("\n".join(lines))


def at_least_one(row: Row, *columns: str) -> bool:
    return all(float(row[column]) >= 1 for column in columns)


def test_there_is_a_table_for_everything_and_proofs(printed):
    assert list(printed) == [
        "Two chained",
        "A tensor",
        "MAC-optimal against",
        "The same,",
        "Attention (2",
        "Whole encoders",
    ]
    for title, rows in printed.items():
        assert rows
        if title != "The same,":
            assert {row["optimum"] for row in rows} <= {"proven", "gap 1%"}
            if title != "Whole encoders":
                assert {row["optimum"] for row in rows} == {"proven"}


def test_fused_is_never_worse(printed):
    for title in ("Two chained", "MAC-optimal against", "Whole encoders"):
        assert all(at_least_one(row, "unfused / fused") for row in printed[title])
    for row in printed["A tensor"]:
        dense, unfused, fused = (float(row[name]) for name in ("dense EDP", "unfused EDP", "fused EDP"))
        assert dense >= unfused >= fused > 0
    blocks = printed["Attention (2"]
    assert [row["how"] for row in blocks] == 2 * [
        "unfused", "fused, softmax", "fused, online_softmax", "unfused", "fused"
    ]  # fmt: skip
    assert all(at_least_one(row, "unfused / this") for row in blocks)
    for first, *others in (blocks[0:3], blocks[3:5], blocks[5:8], blocks[8:10]):
        words = [int(row["DRAM words"].replace(",", "")) for row in (first, *others)]
        assert words[0] >= max(words[1:])
        assert first["unfused / this"] == "1.000"
    for once in (1, 6):
        assert float(blocks[once + 1]["EDP"]) <= float(blocks[once]["EDP"])  # online_softmax may do what softmax may


def test_no_tree_is_better_than_the_edp_optimal_one(printed):
    for title in ("A tensor", "MAC-optimal against"):
        assert all(at_least_one(row, "MAC / EDP unfused", "MAC / EDP fused") for row in printed[title])
    for row in printed["MAC-optimal against"]:
        assert at_least_one(row, "MAC unfused / EDP fused")
        if row["EDP-optimal tree"] == row["MAC-optimal tree"]:
            assert float(row["MAC / EDP fused"]) == 1
    *parts, whole = printed["The same,"]
    assert sum(int(row["cases"]) for row in parts) == int(whole["cases"]) == len(printed["MAC-optimal against"])
    costs_more = sum(float(row["MAC / EDP fused"]) > 1 for row in printed["MAC-optimal against"])
    assert whole["fused: costs more"] == f"{costs_more / int(whole['cases']):.0%}"


def test_every_layer_of_a_grid_is_the_same_matrix():
    for grid in cascade_cases.FULL.grids:
        for rank in grid.ranks:
            layer = grid.layer(128, rank)
            assert (layer.words("X"), layer.words("Y")) == (128 * 384, 128 * 1536)
            (weights,) = (math.prod(cascade_cases.dense(layer).tensor("W").shape(dict(layer.extents))),)
            assert weights == 384 * 1536
    tokens, in_modes, out_modes = cascade_cases.FULL.train
    assert (tokens, math.prod(in_modes), math.prod(out_modes)) == (512, 768, 3072)


@pytest.mark.parametrize(("preset", "lanes"), [("edge_16x16", 16), ("simba_l", 4 * 8), ("tpu_v4i_like", 4 * 128)])
def test_the_vector_unit_has_a_lane_per_column(preset, lanes):
    on = cascade_cases.machine(preset)
    assert on.vector_unit is not None
    assert on.vector_unit.operations_per_cycle == lanes
    assert on.vector_unit.energy_pj == on.architecture.compute_energy_pj
