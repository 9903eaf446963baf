"""Factorizations of a given size: within the budget, and not smaller than they need to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from heat_sim.codesign.fixed_size import of_size
from heat_sim.tensorize.formats import FORMATS

COMPRESSED = [name for name in FORMATS if name != "dense"]


@pytest.mark.parametrize("form", COMPRESSED)
@pytest.mark.parametrize(("rows", "columns"), [(384, 384), (1536, 384), (384, 1536)])
@pytest.mark.parametrize("share", [2, 3, 5])
def test_budget_is_kept_and_used(form: str, rows: int, columns: int, share: int) -> None:
    budget = rows * columns // share
    found = of_size(form, rows, columns, parameters=budget)
    assert 1 <= len(found) <= 4
    assert all(each.parameters <= budget for each in found)
    assert found[0].parameters >= 0.75 * budget
    near = [each.parameters >= 0.9 * budget for each in found]
    assert near == sorted(near, reverse=True)


@pytest.mark.parametrize("form", ["low-rank", "cp", "tt-matrix", "tensor-ring", "btt", "block-low-rank"])
def test_one_rank_more_is_too_large(form: str) -> None:
    """Dumb oracle: the common rank one up, as far as the limits let it."""
    budget = 384 * 384 // 3
    for each in of_size(form, 384, 384, parameters=budget):
        limits = FORMATS[form].max_ranks(each.tensorization)
        step = max(each.ranks) + 1
        larger = replace(each, ranks=tuple(min(step, limit) for limit in limits))
        assert larger.parameters > budget


def test_nothing_is_so_small() -> None:
    assert of_size("low-rank", 384, 384, parameters=767) == ()  # rank 1 has 384 + 384
    assert [each.ranks for each in of_size("low-rank", 384, 384, parameters=768)] == [(1,)]
