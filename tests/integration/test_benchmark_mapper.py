"""The benchmark of the mapper runs, and its tables say what they should; no time is asserted."""

from __future__ import annotations

import re

import pytest

from benchmarks import mapper, mapper_cases, mapper_growth, mapper_peers
from heat_sim.mapper import MappedEinsum
from heat_sim.mapping import LevelMapping, Loop, Mapping

SMALL = mapper_cases.SMALL


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table's rows."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_ratios_compare_with_the_same_optimum(capsys, monkeypatch):
    monkeypatch.setattr(mapper, "THREE", SMALL)
    mapper.ratios(1, most=2000, seeds=1)
    exhaustive, random, climbing = rows(capsys.readouterr().out)
    assert [row[1] for row in (exhaustive, random, climbing)] == [
        "exhaustive",
        "random, seed 0",
        "hill climbing, seed 0",
    ]
    assert exhaustive[-1] == "1.0000"
    assert all(float(row[-1]) >= 1 for row in (random, climbing))


def test_every_target_is_a_row(capsys, monkeypatch):
    for name in ("THREE", "FOUR"):
        monkeypatch.setattr(mapper, name, SMALL)
    monkeypatch.setattr(mapper, "preset_case", lambda preset, name: SMALL)
    mapper.targets(1)
    printed = rows(capsys.readouterr().out)
    totals = [row for row in printed if row[0] == "**simba_l: all six**"]
    assert [row[1] for row in totals] == ["edp", "energy", "hull"]
    assert all(len(re.findall(r"\d+\.\d{3}", row[3])) == 3 for row in totals)
    assert {row[6] for row in printed} == {"proven"}


def test_growth_is_drawn(tmp_path, capsys, monkeypatch):
    divisors = mapper_growth.by_divisors((2, 3, 4))
    assert [(point.divisors, point.extent) for point in divisors] == [(2, 2), (2, 3), (3, 4)]
    levels = mapper_growth.by_levels((2, 3), einsum=SMALL.einsum)
    monkeypatch.setattr(mapper, "by_divisors", lambda **_: divisors)
    monkeypatch.setattr(mapper, "by_levels", lambda **_: levels)
    mapper.growth(tmp_path / "growth.png")
    assert "drawn" in capsys.readouterr().out
    assert 0 < (tmp_path / "growth.png").stat().st_size < 150 * 1024


@pytest.mark.parametrize("levels", range(2, 7))
def test_hierarchies_have_one_mesh_and_shrinking_buffers(levels):
    machine = mapper_growth.hierarchy(levels)
    buffers = [level.capacity_words for level in machine.levels[1:]]
    assert len(machine.levels) == levels
    assert machine.peak_ops_per_cycle == 16 * 16
    assert buffers[0] == 65_536
    assert buffers == sorted(buffers, reverse=True)


def test_a_peer_is_asked_about_the_machine_we_map_on():
    peer = next(peer for peer in mapper_peers.PEERS if peer.package == "accelforge")
    case = peer.same_space(SMALL)
    assert case.both_axes
    files = mapper_peers._for_accelforge(case)
    assert files["arch.yaml"].count("!Memory") == len(SMALL.architecture.levels)
    assert "size: 24" in files["arch.yaml"]
    assert "k: 0 <= k < 2" in files["workload.yaml"]


def test_draining_reads_what_every_instance_sends_up():
    everything = frozenset("ABZ")
    mapping = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=tuple(Loop(rank_var=var, bound=4) for var in "mn"), keep=everything),
            LevelMapping(level="GLB", spatial=(Loop(rank_var="k", bound=2, dimension="x"),), keep=everything),
            LevelMapping(level="RF", keep=everything),
        )
    )  # fmt: skip
    mapped = MappedEinsum(
        einsum=SMALL.einsum, architecture=SMALL.architecture, mapping=mapping, energy_pj=0.0, cycles=16
    )
    results = 4 * 4  # m, n
    partial_sums = results * 2  # two units share k
    assert mapper_peers.drain_pj(mapped) == results * 6.0 + partial_sums * 0.5


def test_a_peer_that_no_python_can_run_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(mapper_peers, "_python", lambda at_least: None)
    answer = mapper_peers.ask_peer(mapper_peers.PEERS[0], SMALL, tmp_path, limit_s=1)
    assert answer.problem == "no Python 3.12 or newer on the path"
