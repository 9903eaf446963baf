"""The parts of `heat-sim decompose` that need no model: plan, choice of factorization, record, table, summary."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from heat_sim.cli.format_cells import Cell, Record, load_record, save_record
from heat_sim.cli.format_choice import choose_factorizations, why_none
from heat_sim.cli.format_plan import Plan, parse_plan
from heat_sim.cli.format_table import FormatRow, as_markdown, format_rows, paired_standard_error, summaries
from heat_sim.codesign.fixed_size import of_size
from heat_sim.errors import SpecError
from heat_sim.tensorize.projection import project, reconstruct

RNG = np.random.default_rng(5)


def exact_for(factorization):
    """Return a random matrix that the factorization holds without error."""
    return reconstruct([RNG.normal(size=shape) for shape in factorization.core_shapes], factorization)


@pytest.mark.parametrize("place", [0, 1])
def test_the_choice_is_the_candidate_that_fits_the_first_matrix_of_a_shape(place):
    candidates = of_size("tt-matrix", 16, 16, parameters=128)
    assert len(candidates) >= 2
    first, other = exact_for(candidates[place]), exact_for(candidates[1 - place])
    chosen = choose_factorizations({"first": first, "other": other}, "tt-matrix", compression=2)
    assert chosen == {"first": candidates[place], "other": candidates[place]}


@pytest.mark.parametrize("form", ["cp", "btt", "block-term"])
def test_the_choice_has_the_least_error_of_all_candidates_and_fits_the_budget(form):
    weights = {"square": RNG.normal(size=(12, 12)), "tall": RNG.normal(size=(24, 12)), "again": np.eye(12)}
    chosen = choose_factorizations(weights, form, compression=3)
    assert chosen["again"] == chosen["square"]
    for name in ("square", "tall"):
        weight = weights[name]
        errors = {
            candidate: np.linalg.norm(weight - reconstruct(project(weight, candidate), candidate))
            for candidate in of_size(form, *weight.shape, parameters=weight.size // 3)
        }
        assert errors[chosen[name]] == pytest.approx(min(errors.values()), rel=1e-9)
        assert chosen[name].parameters <= weight.size / 3


def test_a_format_with_nothing_so_small_says_for_which_shape():
    weights = {"large": np.ones((64, 64)), "small": np.ones((8, 8))}
    # rank 1 takes 64 + 64 parameters of 4096 / 5, but 8 + 8 are more than 64 / 5
    assert why_none(weights, "low-rank", compression=5) == "no factorization of 8 x 8 with at most 12 parameters"
    assert why_none(weights, "low-rank", compression=4) is None


def test_the_paired_standard_error_is_that_of_the_mean_of_the_differences():
    for _ in range(20):
        one, other = RNG.integers(0, 2, size=(2, 50))
        texts = ("".join(map(str, rights)) for rights in (one, other))
        assert paired_standard_error(*texts) == pytest.approx(np.std(one - other) / math.sqrt(50))


def test_the_paired_standard_error_by_hand():
    # 3 rows only the one gets right, 1 only the other, of 4: sqrt(3 + 1 - 2 * 2 / 4) / 4
    assert paired_standard_error("1110", "0001") == pytest.approx(math.sqrt(3) / 4)
    # rows that both get right or wrong add nothing but their number
    assert paired_standard_error("11101100", "00011100") == pytest.approx(math.sqrt(4 - 2 * 2 / 8) / 8)


def cell(form, projection, right, *, compression=2.0, error=0.5):
    return Cell(format=form, compression=compression, projection=projection, right=right, parameters=40,
                weight_error=0.25, activation_error=error, seconds=1.0)  # fmt: skip


PLAN = Plan(formats=("cp", "btt"), compressions=(2.0, 3.0), projections=("frobenius", "activation"))
RECORD = Record(
    arguments={"seed": 0},
    dense_parameters=100,
    dense_right="1111",
    cells=(
        cell("btt", "activation", "0100", compression=3.0, error=0.6),  # not in the order of the plan
        cell("cp", "frobenius", "1000"),
        cell("cp", "activation", "1111", error=0.4),
        cell("btt", "frobenius", "1100"),
        cell("btt", "activation", "1100", error=0.5),
        cell("btt", "frobenius", "1100", compression=3.0),
        *(Cell(format="cp", compression=3.0, projection=name, reason="too small") for name in PLAN.projections),
    ),
)


def test_rows_stand_in_the_order_of_the_plan_with_gains_over_their_own_frobenius_row():
    rows = format_rows(RECORD, PLAN)
    assert [(row.format, row.compression, row.projection, row.gain) for row in rows] == [
        ("cp", 2.0, "frobenius", None),
        ("cp", 2.0, "activation", 75.0),  # 4 of 4 right, 1 of 4
        ("cp", 3.0, "none: too small", None),
        ("btt", 2.0, "frobenius", None),
        ("btt", 2.0, "activation", 0.0),
        ("btt", 3.0, "frobenius", None),
        ("btt", 3.0, "activation", -25.0),  # 1 of 4 right, 2 of 4
    ]
    assert rows[0].kept == 100 / 40
    assert rows[1].gain_error == pytest.approx(100 * math.sqrt(3 - 3 * 3 / 4) / 4)
    assert rows[2].accuracy is None


def test_rows_of_a_plan_without_frobenius_have_no_gain_and_no_summary():
    plan = Plan(formats=("cp",), compressions=(2.0,), projections=("activation",))
    record = Record(arguments={}, dense_parameters=9, dense_right="1", cells=(cell("cp", "activation", "1111"),))
    (row,) = format_rows(record, plan)
    assert (row.accuracy, row.gain, row.gain_error) == (1.0, None, None)
    assert summaries([row]) == []


def test_the_summary_counts_pairs_and_names_the_worst():
    (summary,) = summaries(format_rows(RECORD, PLAN))
    assert summary.projection == "activation"
    assert summary.pairs == 3
    assert summary.lower_activation_error == 1  # of cp; at btt 2x it is equal, at btt 3x higher
    assert summary.higher_accuracy == 1  # equal is not higher
    assert summary.clearly_higher == 1  # 75 points against two standard errors of 21.7
    assert (summary.median_gain, summary.worst_gain, summary.worst) == (0.0, -25.0, "btt 3x")


def test_a_gain_within_two_standard_errors_is_not_clear():
    rows = format_rows(
        Record(arguments={}, dense_parameters=9, dense_right="1111",
               cells=(cell("cp", "frobenius", "1000"), cell("cp", "activation", "1100"))), PLAN
    )  # fmt: skip
    # 25 points, of which the standard error is 100 * sqrt(1 - 1 / 4) / 4 = 21.7
    (summary,) = summaries(rows)
    assert (summary.higher_accuracy, summary.clearly_higher) == (1, 0)


def test_the_text_shows_the_dense_model_dashes_where_nothing_was_measured_and_the_summary():
    lines = as_markdown(RECORD, PLAN).splitlines()
    assert lines[0] == "dense: 100 parameters in the encoder matrices, accuracy 100.0 % on 4 test rows"
    none = next(line for line in lines if "too small" in line)
    assert [part.strip() for part in none.strip("|").split("|")] == [
        "cp", "3x", "-", "none: too small", "-", "-", "-", "-", "-",
    ]  # fmt: skip
    one = next(line for line in lines if line.startswith("| cp ") and "activation" in line)
    assert [part.strip() for part in one.strip("|").split("|")][4:] == ["0.250", "0.400", "100.0", "+75.0", "21.7"]
    assert lines[-1].startswith("* activation against frobenius, 3 pairs of format and compression: ")


def test_a_table_in_the_making_can_be_shown():
    for done in range(len(RECORD.cells)):
        part = Record(arguments={}, dense_parameters=9, dense_right="1", cells=RECORD.cells[:done])
        assert len(as_markdown(part, PLAN).splitlines()) >= 4


def test_all_bad_names_and_numbers_are_refused_together():
    with pytest.raises(SpecError) as refused:
        parse_plan(formats="low-rank,dense,tt", compressions="2,1,x,inf", projections="plain")
    formats, projections, compressions = refused.value.problems
    assert "--formats: unknown or none (got dense, tt, expected some of low-rank, cp" in formats
    assert "--projections: unknown or none (got plain, expected some of frobenius, activation" in projections
    assert "--compressions: not numbers above 1 (got 1, x, inf, expected such as 2,3,5)" in compressions


def test_an_empty_list_is_refused():
    with pytest.raises(SpecError, match=r"--compressions: not numbers above 1 \(got none"):
        parse_plan(formats="cp", compressions=" ,", projections="frobenius")
    with pytest.raises(SpecError, match=r"--formats: unknown or none \(got none"):
        parse_plan(formats="", compressions="2", projections="frobenius")


def test_what_is_named_twice_is_measured_once():
    plan = parse_plan(formats="cp,cp", compressions="2,2.0,3", projections="fisher, fisher")
    assert plan == Plan(formats=("cp",), compressions=(2.0, 3.0), projections=("fisher",))
    assert len(plan) == 2


def test_a_record_is_read_back_as_it_was_written(tmp_path):
    save_record(tmp_path / "new", RECORD)
    assert load_record(tmp_path / "new", arguments={"seed": 0}) == RECORD


def test_a_record_of_other_arguments_is_refused_and_stays(tmp_path):
    save_record(tmp_path, RECORD)
    before = (tmp_path / "cells.json").read_bytes()
    with pytest.raises(SpecError, match=r"cells of another seed \(got 1, expected 0\)\. Give another --out") as refused:
        load_record(tmp_path, arguments={"seed": 1, "teacher_epochs": 2})
    assert "another teacher epochs (got 2, expected None)" in refused.value.problems[1]
    assert (tmp_path / "cells.json").read_bytes() == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "front.csv").write_text("design\n")
    with pytest.raises(SpecError, match="--out: the folder holds something else"):
        load_record(tmp_path, arguments={})


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"cells": [{"format": "cp"}]}), '{"cells": 3}'])
def test_a_file_that_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "cells.json").write_text(text)
    with pytest.raises(SpecError, match="not the cells of a table"):
        load_record(tmp_path, arguments={})


def test_a_row_of_numbers_only_has_no_projection_to_compare():
    assert summaries([FormatRow(format="cp", compression=2.0, projection="none: too small")]) == []
