"""Cycles: compute, or the level whose bandwidth falls short (model section 8)."""

from __future__ import annotations

import math

from heat_sim.architecture import StorageLevel


def throttle(storage: StorageLevel, *, reads: int, writes: int, compute_cycles: int) -> float:
    """Return the share of full speed at which the level can serve one instance's traffic, at most 1.

    Args:
        storage: The level with its bandwidths in words per cycle per instance.
        reads: Words read per instance over the run, all tensors.
        writes: Words filled and updated per instance over the run, all tensors.
        compute_cycles: Cycles without stalls.

    >>> level = StorageLevel(name="DRAM", read_bandwidth_words_per_cycle=0.5)
    >>> throttle(level, reads=100, writes=0, compute_cycles=100)
    0.5
    """
    share = 1.0
    for bandwidth, words in (
        (storage.read_bandwidth_words_per_cycle, reads),
        (storage.write_bandwidth_words_per_cycle, writes),
        (storage.shared_bandwidth_words_per_cycle, reads + writes),
    ):
        if bandwidth is not None and words:
            share = min(share, bandwidth / (words / compute_cycles))
    return share


def stalled_cycles(compute_cycles: int, share: float) -> int:
    """Return the cycles of a run slowed to the given share of full speed."""
    return compute_cycles if share >= 1.0 else math.ceil(compute_cycles / share)
