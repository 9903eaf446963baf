"""Cycles: compute, or the level whose bandwidth falls short (model section 8)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from heat_sim.architecture import StorageLevel


def throttle(storage: StorageLevel, *, reads: Sequence[float], writes: Sequence[float], compute_cycles: int) -> float:
    """Return the share of full speed at which the level can serve one instance's traffic, at most 1.

    The words per cycle are summed tensor by tensor in double precision, as Timeloop does: the cycles
    round up, so the last digit of this sum can decide one cycle.

    Args:
        storage: The level with its bandwidths in words per cycle per instance.
        reads: Words read per instance over the run, per tensor.
        writes: Words filled and updated per instance over the run, per tensor.
        compute_cycles: Cycles without stalls.

    >>> level = StorageLevel(name="DRAM", read_bandwidth_words_per_cycle=0.5)
    >>> throttle(level, reads=[60, 40], writes=[], compute_cycles=100)
    0.5
    """
    read_rate = sum(words / compute_cycles for words in reads)
    write_rate = sum(words / compute_cycles for words in writes)
    share = 1.0
    for bandwidth, rate in (
        (storage.read_bandwidth_words_per_cycle, read_rate),
        (storage.write_bandwidth_words_per_cycle, write_rate),
        (storage.shared_bandwidth_words_per_cycle, read_rate + write_rate),
    ):
        if bandwidth is not None and rate:
            share = min(share, bandwidth / rate)
    return share


def stalled_cycles(compute_cycles: int, share: float) -> int:
    """Return the cycles of a run slowed to the given share of full speed."""
    return compute_cycles if share >= 1.0 else math.ceil(compute_cycles / share)
