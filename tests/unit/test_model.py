"""Energy, cycles and networks of the model on cases worked out by hand (model sections 7 to 9)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import parse_einsum
from heat_sim.errors import HeatError, InfeasibleError
from heat_sim.mapping import LevelMapping, Loop, Mapping
from heat_sim.model import Report, batch_of, evaluate, evaluate_batch
from heat_sim.model.network import MulticastClass

ALL = frozenset("ABZ")
M, N, K = 3, 5, 7
EINSUM = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": M, "n": N, "k": K})


def toy(*, dram: StorageLevel | None = None, rf: StorageLevel | None = None, mac_pj: float = 0.0) -> Architecture:
    levels = (dram or StorageLevel(name="DRAM", fanout_x=4), rf or StorageLevel(name="RF"))
    return Architecture(name="toy", levels=levels, compute_name="MAC", compute_energy_pj=mac_pj)


OUTPUT_STATIONARY = Mapping(
    levels=(
        LevelMapping(
            level="DRAM",
            temporal=(Loop(rank_var="n", bound=N), Loop(rank_var="k", bound=K)),
            spatial=(Loop(rank_var="m", bound=M, dimension="x"),),
            keep=ALL,
        ),
        LevelMapping(level="RF", keep=ALL),
    )
)
"""The M rows of Z sit side by side; B is multicast to them, A and Z are their own."""


def run(architecture: Architecture) -> Report:
    return evaluate(EINSUM, architecture, OUTPUT_STATIONARY)


def test_accesses_round_up_per_instance_and_tensor() -> None:
    report = run(toy(rf=StorageLevel(name="RF", words_per_access=4, write_energy_pj=1.0)))
    accesses = -(-N * K // 4)  # of one instance: A and B alike fill N*K = 35 words in 9 accesses of 4
    assert report.level("RF").tensors["A"].energy_pj == M * accesses
    assert report.level("RF").tensors["B"].energy_pj == M * accesses
    assert report.level("RF").tensors["Z"].energy_pj == 0.0  # Z is updated, never filled
    assert report.energy_pj == 2 * M * accesses


def test_compute_energy_is_per_op() -> None:
    assert run(toy(mac_pj=0.5)).energy_pj == M * N * K * 0.5


def test_used_instances_leak_for_every_cycle_but_those_of_the_network() -> None:
    rf = StorageLevel(name="RF", leakage_energy_pj_per_cycle=0.25, network_drain_latency_cycles=100)
    report = run(toy(rf=rf))
    assert report.cycles == N * K + 100
    assert report.level("RF").leakage_energy_pj == 0.25 * M * N * K  # M of 4 instances, N*K cycles
    assert report.energy_pj == report.level("RF").leakage_energy_pj


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("read", M * N * K + N * K),  # A for every child, B once for all of them
        ("write", M * N),  # Z arrives once per element
        ("shared", M * N * K + N * K + M * N),
    ],
)
def test_a_bandwidth_below_the_need_stretches_the_run(kind: str, words: int) -> None:
    dram = replace(StorageLevel(name="DRAM", fanout_x=4), **{f"{kind}_bandwidth_words_per_cycle": 0.25})
    report = run(toy(dram=dram))
    assert report.cycles == report.level("DRAM").cycles == 4 * words
    assert report.level("DRAM").throttle == pytest.approx(N * K / (4 * words), rel=1e-12)
    assert report.compute_cycles == report.level("RF").cycles == N * K
    assert report.utilization == pytest.approx(M * N * K / (4 * 4 * words), rel=1e-12)  # 4 units there, M used


def test_words_on_the_network_are_counted_once_per_group() -> None:
    networks = run(toy()).level("DRAM").networks
    assert networks["B"].classes == (MulticastClass(multicast=M, scatter=1, words=N * K),)
    assert networks["A"].classes == (MulticastClass(multicast=1, scatter=M, words=M * N * K),)


def test_a_main_memory_sends_partial_sums_both_ways() -> None:
    spilling = replace(
        OUTPUT_STATIONARY,
        levels=(
            replace(OUTPUT_STATIONARY.levels[0], temporal=OUTPUT_STATIONARY.levels[0].temporal[::-1]),
            OUTPUT_STATIONARY.levels[1],
        ),
    )
    updates = M * N * K  # k outside n: every op's partial sum leaves its register
    for drains_in_place, words in ((True, updates), (False, 2 * updates - M * N)):
        dram = StorageLevel(name="DRAM", fanout_x=4, drains_in_place=drains_in_place)
        assert evaluate(EINSUM, toy(dram=dram), spilling).level("DRAM").networks["Z"].words == words


def test_hops_run_along_the_trunk_to_the_farthest_column() -> None:
    report = run(toy(dram=StorageLevel(name="DRAM", fanout_x=4, hop_energy_pj=1.0)))
    networks = report.level("DRAM").networks
    assert networks["B"].average_hops == M - 1  # one group over columns 0 to 2
    assert networks["A"].average_hops == (0 + 1 + 2) / 3  # each child for itself
    assert networks["B"].energy_pj == N * K * (M - 1)
    assert networks["A"].energy_pj == N * K * (0 + 1 + 2)
    assert report.energy_pj == report.network_energy_pj == sum(net.energy_pj for net in networks.values())


def test_a_router_is_paid_at_the_entry_and_at_every_whole_hop() -> None:
    report = run(toy(dram=StorageLevel(name="DRAM", fanout_x=4, router_energy_pj=1.0)))
    networks = report.level("DRAM").networks
    assert networks["B"].energy_pj == N * K * (1 + M - 1)
    assert networks["A"].energy_pj == M * N * K * (1 + 1)  # one hop on average


def test_rows_above_and_below_the_middle_are_reached_from_the_middle() -> None:
    nest = replace(
        OUTPUT_STATIONARY,
        levels=(
            replace(OUTPUT_STATIONARY.levels[0], spatial=(Loop(rank_var="m", bound=M, dimension="y"),)),
            OUTPUT_STATIONARY.levels[1],
        ),
    )
    dram = StorageLevel(name="DRAM", fanout_y=M)
    networks = evaluate(EINSUM, toy(dram=dram), nest).level("DRAM").networks
    assert networks["B"].average_hops == 1 + 1  # one row up and one row down from row 1
    assert networks["A"].average_hops == (1 + 0 + 1) / 3


def test_the_refusal_of_tiles_names_them() -> None:
    small = toy(rf=StorageLevel(name="RF", capacity_words=4, multiple_buffering=2.0))
    message = (
        r"mapping of Z at level RF: the tiles do not fit .* \(got 3 words: A 1, B 1, Z 1, expected at most 2 words\)"
    )
    with pytest.raises(InfeasibleError, match=message):
        run(small)


def test_counts_beyond_64_bits_are_refused() -> None:
    side = 2**21
    big = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents=dict.fromkeys("mnk", side))
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=tuple(Loop(rank_var=v, bound=side) for v in "mnk"), keep=ALL),
            LevelMapping(level="RF", keep=ALL),
        )
    )
    with pytest.raises(HeatError, match=r"einsum Z: counts exceed 64 bits \(got 9223372036854775808 ops"):
        evaluate(big, toy(), nest)


def test_the_report_prints_totals_and_one_row_per_level_and_tensor() -> None:
    text = str(run(toy(mac_pj=1.0)))
    lines = text.splitlines()
    assert lines[0].startswith(f"Z on toy: {N * K} cycles, ")
    rows = [line.split()[:2] for line in lines[2:-2]]
    assert rows == [[level, tensor] for level in ("DRAM", "RF") for tensor in "ABZ"]
    assert lines[-2].split()[:2] == ["MAC", str(M * N * K)]
    assert lines[-1] == "energy: MAC 100.0%"  # storage costs nothing on this machine


def test_an_unknown_level_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="GLB"):
        run(toy()).level("GLB")


def test_the_breakdown_adds_up_to_the_energy_and_is_printed() -> None:
    dram = StorageLevel(
        name="DRAM", fanout_x=4, read_energy_pj=3.0, update_energy_pj=2.0, hop_energy_pj=1.0,
        leakage_energy_pj_per_cycle=0.5,
    )  # fmt: skip
    report = run(toy(dram=dram))
    parts = report.energy_breakdown_pj()
    assert sum(parts.values()) == pytest.approx(report.energy_pj, rel=1e-12)
    assert parts["leakage"] == 0.5 * report.cycles
    assert parts["networks"] == report.network_energy_pj > 0
    assert f"leakage {parts['leakage'] / report.energy_pj:.1%}" in str(report)


def test_tiles_that_fill_too_little_are_refused() -> None:
    roomy = toy(rf=StorageLevel(name="RF", capacity_words=12, min_utilization=0.5))
    with pytest.raises(InfeasibleError, match=r"RF: .*min_utilization of 0.5 .*got 3 words, expected at least 6 of 12"):
        run(roomy)
    batch = batch_of(EINSUM, [OUTPUT_STATIONARY])
    assert not evaluate_batch(EINSUM, roomy, batch).valid[0]
    enough = toy(rf=StorageLevel(name="RF", capacity_words=12, min_utilization=0.25))
    assert run(enough).level("RF").occupied_words == 3
    assert evaluate_batch(EINSUM, enough, batch).valid[0]
