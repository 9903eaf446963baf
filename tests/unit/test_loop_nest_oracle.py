"""The walker against nests small enough to follow with a pencil; every factor of a count is named."""

from __future__ import annotations

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.mapping import LevelMapping, Loop, Mapping
from tests.oracles.loop_nest import Counts, walk

ALL = frozenset("ABZ")
M, N, K = 2, 3, 5


def matmul(m: int = M, n: int = N, k: int = K) -> Einsum:
    return parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": m, "n": n, "k": k})


def machine(*names: str) -> Architecture:
    """The walker looks at nothing but the names: meshes and sizes are the mapping's and the model's business."""
    return Architecture(
        name="pencil",
        levels=tuple(StorageLevel(name=name) for name in names),
        compute_name="MAC",
        compute_energy_pj=0.0,
    )


def for_(**bounds: int) -> tuple[Loop, ...]:
    return tuple(Loop(rank_var=var, bound=bound) for var, bound in bounds.items())


def along_x(**bounds: int) -> tuple[Loop, ...]:
    return tuple(Loop(rank_var=var, bound=bound, dimension="x") for var, bound in bounds.items())


def test_without_a_buffer_every_cycle_costs_one_word_of_each_tensor() -> None:
    nest = Mapping(levels=(LevelMapping(level="DRAM", temporal=for_(m=M, n=N, k=K), keep=ALL),))
    seen = walk(matmul(), machine("DRAM"), nest)
    ops = M * N * K
    assert (seen.ops, seen.cycles) == (ops, ops)
    assert seen.counts["DRAM", "A"] == Counts(ops, 0, 0)  # no operand register: also while n runs
    assert seen.counts["DRAM", "B"] == Counts(ops, 0, 0)
    assert seen.counts["DRAM", "Z"] == Counts(ops - M * N, 0, ops)  # the first arrival of each element is not read
    assert seen.peak_words == {"DRAM": M * K + K * N + M * N}


def test_output_stationary_sends_each_result_up_once() -> None:
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=for_(m=M, n=N, k=K), keep=ALL),
            LevelMapping(level="RF", keep=ALL),
        )
    )
    counts = walk(matmul(), machine("DRAM", "RF"), nest).counts
    ops = M * N * K
    assert counts["DRAM", "A"] == Counts(ops, 0, 0)  # k moves A's one-word tile in every cycle
    assert counts["RF", "A"] == Counts(ops, ops, 0)
    assert counts["DRAM", "Z"] == Counts(0, 0, M * N)  # Z's tile stays while k runs
    assert counts["RF", "Z"] == Counts(
        M * N * (K - 1),  # read to add to it, but for the first k; the drain is not charged
        0,  # never comes back
        ops,
    )


def test_a_reduction_loop_outside_spills_partial_sums() -> None:
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=for_(k=K, m=M), keep=ALL),
            LevelMapping(level="RF", temporal=for_(n=N), keep=ALL),
        )
    )
    counts = walk(matmul(), machine("DRAM", "RF"), nest).counts
    assert counts["DRAM", "Z"] == Counts(
        (K - 1) * M * N,  # every step of k but the first reads all of Z back
        0,
        K * M * N,  # every step of k updates all of Z
    )
    assert counts["RF", "Z"] == Counts(
        M * N * K - M * N,  # one per op, but for the first of each element
        (K - 1) * M * N,  # what DRAM reads back
        M * N * K,
    )
    assert counts["DRAM", "B"] == Counts(
        K * N,  # the row of B stays while m runs
        0,
        0,
    )
    assert counts["DRAM", "A"] == Counts(M * K, 0, 0)


def test_stationarity_reaches_across_a_level_whose_loops_do_not_move_the_tile() -> None:
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=for_(k=K, m=M), keep=ALL),
            LevelMapping(level="GLB", temporal=for_(n=N), keep=ALL),
            LevelMapping(level="RF", keep=ALL),
        )
    )
    counts = walk(matmul(), machine("DRAM", "GLB", "RF"), nest).counts
    assert counts["RF", "A"].fills == M * K  # n at GLB leaves A[m,k] in place
    assert counts["GLB", "A"] == Counts(M * K, M * K, 0)
    assert counts["RF", "B"].fills == K * M * N  # n moves B's word, and m then begins it again
    assert counts["GLB", "B"] == Counts(K * M * N, K * N, 0)  # the row of B in GLB stays while m runs


def test_multicast_is_one_read_and_every_child_fills() -> None:
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=for_(n=N, k=K), spatial=along_x(m=M), keep=ALL),
            LevelMapping(level="RF", keep=ALL),
        )
    )
    seen = walk(matmul(), machine("DRAM", "RF"), nest)
    assert seen.cycles == N * K  # m runs in space
    assert seen.counts["DRAM", "B"] == Counts(N * K, 0, 0)  # one read for both children
    assert seen.counts["RF", "B"].fills == M * N * K  # both write it
    assert seen.counts["DRAM", "A"] == Counts(M * N * K, 0, 0)  # each child has a row of its own
    assert seen.peak_words["RF"] == 3  # a word of each tensor


def test_spatial_reduction_is_one_update_and_every_child_adds_for_itself() -> None:
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=for_(m=M, n=N), spatial=along_x(k=K), keep=ALL),
            LevelMapping(level="RF", keep=ALL),
        )
    )
    counts = walk(matmul(), machine("DRAM", "RF"), nest).counts
    assert counts["DRAM", "Z"] == Counts(0, 0, M * N)  # K children summed on the way
    assert counts["RF", "Z"] == Counts(0, 0, M * N * K)  # one update per op; each element is begun once per child


def test_units_that_need_the_same_word_in_a_cycle_share_one_read() -> None:
    nest = Mapping(
        levels=(LevelMapping(level="DRAM", temporal=for_(k=K), spatial=along_x(m=M, n=N), keep=ALL),),
    )
    counts = walk(matmul(), machine("DRAM"), nest).counts
    assert counts["DRAM", "A"].reads == K * M  # shared by the N units of a row
    assert counts["DRAM", "B"].reads == K * N  # shared by the M units of a column
    assert counts["DRAM", "Z"] == Counts((K - 1) * M * N, 0, K * M * N)


def test_bypass_passes_through_and_keeps_multicast_but_not_reuse() -> None:
    """B[k,n] skips GLB, and m runs over the two children of DRAM and then over the words below GLB."""
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=for_(k=K), spatial=along_x(m=2), keep=ALL),
            LevelMapping(level="GLB", temporal=for_(m=2, n=N), keep=frozenset("AZ")),
            LevelMapping(level="RF", keep=ALL),
        )
    )
    counts = walk(matmul(m=4), machine("DRAM", "GLB", "RF"), nest).counts
    assert ("GLB", "B") not in counts
    assert counts["DRAM", "B"] == Counts(
        K * 2 * N,  # temporal m in GLB fetches the row of B anew; spatial m shares it
        0,
        0,
    )
    assert counts["RF", "B"].fills == 2 * K * 2 * N  # the same, into both children
    assert counts["DRAM", "A"].reads == 4 * K  # GLB holds a column of A, each word once


def test_with_everything_inside_bypassed_a_level_serves_the_units_in_every_cycle() -> None:
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=for_(k=K), keep=ALL),
            LevelMapping(level="GLB", temporal=for_(m=M), spatial=along_x(n=N), keep=frozenset("AZ")),
            LevelMapping(level="RF", keep=frozenset("A")),
        )
    )
    counts = walk(matmul(), machine("DRAM", "GLB", "RF"), nest).counts
    assert counts["DRAM", "B"] == Counts(
        K * M * N,  # a word per unit and cycle, although m does not touch B
        0,
        0,
    )
    assert counts["GLB", "Z"] == Counts((K - 1) * M * N, 0, K * M * N)  # straight from the units, and it stays


def test_the_outermost_keeping_level_is_never_filled() -> None:
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=for_(m=M), keep=frozenset("BZ")),
            LevelMapping(level="GLB", temporal=for_(n=N, k=K), keep=ALL),
        )
    )
    counts = walk(matmul(), machine("DRAM", "GLB"), nest).counts
    assert ("DRAM", "A") not in counts
    assert counts["GLB", "A"] == Counts(M * N * K, 0, 0)


def test_sliding_windows_are_refused() -> None:
    conv = parse_einsum("O[p] = I[p+r] * W[r]", extents={"p": 4, "r": 2})
    nest = Mapping(levels=(LevelMapping(level="DRAM", temporal=for_(p=4, r=2), keep=frozenset("OIW")),))
    with pytest.raises(AssertionError, match="sliding windows"):
        walk(conv, machine("DRAM"), nest)
