"""Results of searches kept in the cache: what comes back is what was found, for any names, without a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import InfeasibleError
from heat_sim.mapper import MappingCache, MappingResult, map_einsum
from heat_sim.mapper.objective import OBJECTIVES
from heat_sim.mapping import LevelConstraints
from heat_sim.model import evaluate

MATMUL = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents=dict(m=6, n=5, k=7))
STEP = parse_einsum("T[s,o,r] = X[s,i,j] * G[r,o,j,i]", extents=dict(s=4, o=3, r=2, i=2, j=3))
CONV = parse_einsum("Z[p] = A[p+r] * B[r]", extents=dict(p=6, r=3))


def machine(*names: str) -> Architecture:
    outer, inner = names or ("DRAM", "RF")
    return Architecture(
        name="two", compute_name="MAC", compute_energy_pj=1.0,
        levels=(
            StorageLevel(name=outer, read_energy_pj=100.0, write_energy_pj=100.0, update_energy_pj=100.0, fanout_x=4),
            StorageLevel(name=inner, capacity_words=16, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0),
        ),
    )  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path) -> MappingCache:
    with MappingCache(tmp_path / "cache.sqlite3") as cache:
        yield cache


def forbid_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object, **options: object) -> object:
        raise AssertionError("a hit must not search")

    for name in ("search_matmul", "search_general"):
        monkeypatch.setattr(f"heat_sim.mapper.search.{name}", fail)


def costs(result: MappingResult) -> list[tuple[float, int]]:
    return [(each.energy_pj, each.cycles) for each in result.front]


@pytest.mark.parametrize("objective", [*OBJECTIVES, "weighted:2.5"])
@pytest.mark.parametrize(
    ("einsum", "padded"),
    [(MATMUL, False), (MATMUL, True), (STEP, False), (CONV, False)],
    ids=["matmul", "padded matmul", "step", "convolution"],
)
def test_a_hit_is_the_result_that_was_found(
    cache: MappingCache, monkeypatch: pytest.MonkeyPatch, einsum: Einsum, objective: str, padded: bool
) -> None:
    """Down to the loops, and its costs are still those of its mappings."""
    first = map_einsum(einsum, machine(), objective=objective, padded=padded, cache=cache)
    forbid_searches(monkeypatch)
    again = map_einsum(einsum, machine(), objective=objective, padded=padded, cache=cache)
    assert again == first
    for each in (again.best, *again.front):
        report = evaluate(each.einsum, machine(), each.mapping, link_transfers=False)
        assert (report.energy_pj, report.cycles) == (each.energy_pj, each.cycles)


def test_names_do_not_matter(cache: MappingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry serves every einsum and architecture of the same structure, in the names of the one that asks."""
    first = map_einsum(MATMUL, machine(), objective="pareto", cache=cache)
    forbid_searches(monkeypatch)
    other = parse_einsum("y[t,o] = x[t,i] * w[o,i]", extents=dict(t=6, o=5, i=7))
    again = map_einsum(other, machine("main", "spad"), objective="pareto", cache=cache)
    assert costs(again) == costs(first)
    for each in again.front:
        assert [level.level for level in each.mapping.levels] == ["main", "spad"]
        report = evaluate(other, machine("main", "spad"), each.mapping, link_transfers=False)
        assert (report.energy_pj, report.cycles) == (each.energy_pj, each.cycles)


@pytest.mark.parametrize(
    "change",
    [
        {"objective": "energy"},
        {"padded": True},
        {"budget": 10**6},
        {"both_axes": True},
        {"min_parallelism": 0.5},
        {"constraints": {"RF": LevelConstraints(keep=frozenset("A"))}},
    ],
)
def test_another_question_is_another_search(
    cache: MappingCache, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    map_einsum(MATMUL, machine(), cache=cache)
    forbid_searches(monkeypatch)
    with pytest.raises(AssertionError, match="must not search"):
        map_einsum(MATMUL, machine(), cache=cache, **change)


def test_without_a_cache_nothing_is_kept(cache: MappingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    map_einsum(MATMUL, machine())
    forbid_searches(monkeypatch)
    with pytest.raises(AssertionError, match="must not search"):
        map_einsum(MATMUL, machine(), cache=cache)


def test_refusals_are_not_kept(cache: MappingCache) -> None:
    """A reason is in the names of the space that was asked for."""
    impossible = {"RF": LevelConstraints(temporal_bounds={"m": 4})}
    for _ in range(2):
        with pytest.raises(InfeasibleError, match="mapspace of Z on two"):
            map_einsum(MATMUL, machine(), constraints=impossible, cache=cache)
