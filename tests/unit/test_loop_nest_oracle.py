"""The walker against nests small enough to follow with a pencil; every factor of a count is named."""

from __future__ import annotations

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.mapping import Dimension, LevelMapping, Loop, Mapping
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


P, R = 4, 3
KEPT = frozenset("OIW")


def conv(window: str = "p+r", *, p: int = P, r: int = R) -> Einsum:
    return parse_einsum(f"O[p] = I[{window}] * W[r]", extents={"p": p, "r": r})


def fills_of(einsum: Einsum, outside: tuple[Loop, ...], inside: tuple[Loop, ...], *, extrapolated: bool = False) -> int:
    """Words of I that reach a buffer between two blocks of loops."""
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=outside, keep=KEPT),
            LevelMapping(level="RF", temporal=inside, keep=KEPT),
        )
    )
    return walk(einsum, machine("DRAM", "RF"), nest, extrapolated=extrapolated).counts["RF", "I"].fills


@pytest.mark.parametrize("extrapolated", [False, True])
@pytest.mark.parametrize(
    ("window", "fills"),
    [
        ("p+r", R + (P - 1) * 1),  # one new word per step
        ("2*p+r", R + (P - 1) * 2),
        ("5*p+r", P * R),  # no overlap
        ("p+2*r", 2 * (R - 1) + 1 + (P - 1) * 1),  # the box counts, words between the taps included
    ],
)
def test_a_window_that_slides_fetches_its_new_part(window: str, fills: int, extrapolated: bool) -> None:
    assert fills_of(conv(window), for_(p=P), for_(r=R), extrapolated=extrapolated) == fills


@pytest.mark.parametrize("extrapolated", [False, True])
def test_a_window_that_turns_back_is_fetched_whole(extrapolated: bool) -> None:
    filters = parse_einsum("O[n,p] = I[p+r] * W[n,r]", extents={"n": N, "p": P, "r": R})
    assert fills_of(filters, for_(n=N, p=P), for_(r=R), extrapolated=extrapolated) == N * (R + P - 1)
    # Outside of p, n leaves the window in place.
    assert fills_of(filters, for_(p=P, n=N), for_(r=R), extrapolated=extrapolated) == R + P - 1


def test_only_a_box_can_be_new() -> None:
    diagonal = parse_einsum("O[p] = I[p+r,p+s] * W[r,s]", extents={"p": P, "r": R, "s": 2})
    assert fills_of(diagonal, for_(p=P), for_(r=R, s=2)) == P * R * 2


def test_the_extrapolation_takes_the_step_out_of_a_loop_for_a_jump() -> None:
    loops = (Loop(rank_var="p", bound=3), Loop(rank_var="p", bound=3))
    assert fills_of(conv(p=9), loops, for_(r=R)) == R + 8  # one by one, also from pass to pass
    # From iteration 1 of the inner loop to the next pass is a jump by 2: the whole window, for two passes.
    # The step after it counts as a first one: one new word, for the 2 x 2 steps of these passes.
    assert fills_of(conv(p=9), loops, for_(r=R), extrapolated=True) == R + 2 + 2 * R + 4


def test_children_on_a_diagonal_share_and_overlapping_ones_do_not() -> None:
    diagonal = Mapping(
        levels=(
            LevelMapping(level="DRAM", spatial=along_x(p=P, r=R), keep=KEPT),
            LevelMapping(level="RF", keep=KEPT),
        )
    )
    seen = walk(conv(), machine("DRAM", "RF"), diagonal)
    assert seen.cycles == 1
    assert seen.counts["DRAM", "I"].reads == P + R - 1  # equal p + r, equal word
    assert seen.counts["RF", "I"].fills == P * R
    rows = Mapping(
        levels=(
            LevelMapping(level="DRAM", spatial=along_x(p=P), keep=KEPT),
            LevelMapping(level="RF", temporal=for_(r=R), keep=KEPT),
        )
    )
    assert walk(conv(), machine("DRAM", "RF"), rows).counts["DRAM", "I"].reads == P * R  # windows overlap, but differ


def test_two_meshes_in_a_row_share_mesh_by_mesh() -> None:
    """With p on the outer mesh and r on the inner one, each column asks for a window of its own."""
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", spatial=along_x(p=P), keep=KEPT),
            LevelMapping(level="mesh", spatial=along_x(r=R)),
            LevelMapping(level="RF", keep=KEPT),
        )
    )
    counts = walk(conv(), machine("DRAM", "mesh", "RF"), nest).counts
    assert counts["DRAM", "I"].reads == P * R
    assert counts["DRAM", "W"].reads == R  # the same bundle for every column
    assert counts["DRAM", "O"].updates == P  # summed inside each column


def row_of(p: int, *outer: LevelMapping) -> Mapping:
    """Outputs along x below GLB, taps in time: what one child uses now, its left neighbour uses next."""
    return Mapping(
        levels=(
            *outer,
            LevelMapping(level="GLB", temporal=for_(r=R), spatial=along_x(p=p), keep=KEPT),
            LevelMapping(level="RF", keep=KEPT),
        )
    )


@pytest.mark.parametrize("extrapolated", [False, True])
def test_neighbours_hand_on_what_they_fetched_in_the_step_before(extrapolated: bool) -> None:
    seen = walk(conv(), machine("GLB", "RF"), row_of(P), link_transfers=True, extrapolated=extrapolated)
    handed_on = (R - 1) * (P - 1)  # in every step but the first, to every child but the last
    assert seen.links == {("GLB", "I"): handed_on}
    assert seen.counts["GLB", "I"] == Counts(P * R - handed_on, 0, 0)
    assert seen.counts["RF", "I"] == Counts(
        # Who hands on, reads: 6 words by 4 children. Timeloop rounds the average up to 2.
        P * R + (2 * P if extrapolated else handed_on),
        P * R,
        0,
    )
    alone = walk(conv(), machine("GLB", "RF"), row_of(P)).counts
    assert {key: seen.counts[key] for key in alone if key[1] != "I"} == {
        key: alone[key] for key in alone if key[1] != "I"
    }


def test_with_several_parents_timeloop_counts_too_few_words_between_neighbours() -> None:
    """Two GLBs of P children: the words of one GLB are divided by the children of both."""
    einsum = parse_einsum("O[m,p] = I[p+r] * W[m,r]", extents={"m": 2, "p": P, "r": R})
    nest = row_of(P, LevelMapping(level="DRAM", spatial=along_x(m=2), keep=KEPT))
    handed_on = (R - 1) * (P - 1)
    exact = walk(einsum, machine("DRAM", "GLB", "RF"), nest, link_transfers=True)
    assert exact.counts["RF", "I"].reads == 2 * (P * R + handed_on)
    short = walk(einsum, machine("DRAM", "GLB", "RF"), nest, link_transfers=True, extrapolated=True)
    assert short.counts["RF", "I"].reads == 2 * P * (R + 1)  # 6 / (2 x 4) rounded, instead of 6 / 4
    assert short.counts["RF", "I"].fills == 2 * P * 2  # 6 / 4 from above and 6 / 8 from neighbours, rounded down


def test_a_word_that_stays_comes_from_the_neighbour_that_has_it_too() -> None:
    """Units hold nothing: while n leaves A in place, two units fetch it from each other."""
    nest = Mapping(
        levels=(LevelMapping(level="RF", temporal=for_(k=K, n=N), spatial=along_x(m=1) + along_x(n=2), keep=ALL),)
    )
    seen = walk(matmul(m=1, n=2 * N), machine("RF"), nest, link_transfers=True)
    assert seen.counts["RF", "A"].reads == K  # one multicast each time k advances
    assert seen.links == {("RF", "A"): K * (N - 1) * 2}
    assert seen.counts["RF", "B"].reads == K * 2 * N


def test_a_multicast_is_not_split_up_for_a_neighbour() -> None:
    """Three children per output side by side: only one of them stands next to one of the next output."""
    einsum = parse_einsum("O[m,p] = I[p+r] * W[m,r]", extents={"m": 3, "p": 2, "r": R})
    nest = Mapping(
        levels=(
            LevelMapping(level="GLB", temporal=for_(r=R), spatial=along_x(p=2, m=3), keep=KEPT),
            LevelMapping(level="RF", keep=KEPT),
        )
    )
    assert walk(einsum, machine("GLB", "RF"), nest, link_transfers=True) == walk(einsum, machine("GLB", "RF"), nest)


def short(var: str, bound: int, residual: int, axis: Dimension = "temporal") -> Loop:
    return Loop(rank_var=var, bound=bound, residual=residual, dimension=axis)


def test_a_short_last_pass_takes_less_time_and_moves_fewer_words() -> None:
    """Ten rows as 4 + 4 + 2."""
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=for_(m=3, n=N, k=K), keep=ALL),
            LevelMapping(level="RF", temporal=(short("m", 4, 2),), keep=ALL),
        )
    )
    seen = walk(matmul(m=10), machine("DRAM", "RF"), nest)
    assert seen.ops == seen.cycles == 10 * N * K
    assert seen.counts["RF", "A"] == Counts(10 * N * K, 10 * N * K, 0)  # n begins each row of tiles again
    assert seen.counts["RF", "B"] == Counts(10 * N * K, 3 * N * K, 0)
    assert seen.counts["DRAM", "Z"] == Counts(0, 0, 10 * N)
    assert seen.peak_words["RF"] == 4 + 1 + 4


def test_units_beyond_the_end_are_idle() -> None:
    """Ten rows on four units: the third pass uses two of them."""
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", temporal=for_(n=N, m=3), spatial=(short("m", 4, 2, "x"),), keep=ALL),
            LevelMapping(level="RF", temporal=for_(k=K), keep=ALL),
        )
    )
    seen = walk(matmul(m=10), machine("DRAM", "RF"), nest)
    assert (seen.ops, seen.cycles) == (10 * N * K, 3 * N * K)
    assert seen.counts["RF", "A"].fills == 10 * N * K
    # The column of B stays while m runs. The two units that skip a pass still hold it.
    assert seen.counts["RF", "B"].fills == 4 * N * K
    assert seen.counts["DRAM", "B"].reads == N * K


def test_units_run_in_lock_step() -> None:
    """Ten rows as three units with 4, 4 and 2: the last one waits for the others."""
    nest = Mapping(
        levels=(
            LevelMapping(level="DRAM", spatial=along_x(m=3), keep=ALL),
            LevelMapping(level="RF", temporal=(*for_(n=N, k=K), short("m", 4, 2)), keep=ALL),
        )
    )
    seen = walk(matmul(m=10), machine("DRAM", "RF"), nest)
    assert (seen.ops, seen.cycles) == (10 * N * K, 4 * N * K)
    assert seen.counts["RF", "B"] == Counts(10 * N * K, 3 * N * K, 0)
    assert seen.counts["DRAM", "Z"] == Counts(0, 0, 10 * N)


def test_a_window_at_the_end_is_cut_off() -> None:
    """Five outputs as 2 + 2 + 1: windows of 4, 4 and 3 words, of which 4, 2 and 1 are new."""
    assert fills_of(conv(p=5), for_(p=3), (short("p", 2, 1), *for_(r=R))) == 4 + 2 + 1


def test_the_extrapolation_is_for_perfect_bounds() -> None:
    nest = Mapping(levels=(LevelMapping(level="DRAM", temporal=(short("m", 4, 2), *for_(n=N, k=K)), keep=ALL),))
    with pytest.raises(AssertionError, match="perfect bounds"):
        walk(matmul(), machine("DRAM"), nest, extrapolated=True)
