"""Mappings per second of `evaluate_batch`, and how it compares with evaluating one at a time.

Run: python -m benchmarks.batch_evaluation [mappings]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import parse_einsum
from heat_sim.model import MappingBatch, batch_of, evaluate, evaluate_batch
from heat_sim.testing import random_mapping

MACHINE = Architecture(
    name="three-level",
    compute_name="MAC",
    compute_energy_pj=1.0,
    levels=(
        StorageLevel(name="DRAM", read_energy_pj=200.0, write_energy_pj=200.0, update_energy_pj=200.0),
        StorageLevel(
            name="GLB", capacity_words=65536, read_energy_pj=6.0, write_energy_pj=6.0, update_energy_pj=6.0,
            fanout_x=16, fanout_y=16, words_per_access=4, read_bandwidth_words_per_cycle=32.0,
        ),
        StorageLevel(name="RF", capacity_words=256, read_energy_pj=0.5, write_energy_pj=0.5, update_energy_pj=0.5),
    ),
)  # fmt: skip
EINSUM = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": 512, "n": 3072, "k": 768}, name="512x3072x768")


def main(count: int) -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    sample = [random_mapping(rng, einsum=EINSUM, architecture=MACHINE) for _ in range(500)]
    few = batch_of(EINSUM, sample)
    repeats = -(-count // len(few))
    many = MappingBatch(
        **{name: np.tile(getattr(few, name), (repeats, 1, 1))[:count]
           for name in ("loop_var", "loop_bound", "mesh_x", "mesh_y", "keep")}
    )  # fmt: skip
    evaluate_batch(EINSUM, MACHINE, few)  # compiles
    started = time.process_time()
    result = evaluate_batch(EINSUM, MACHINE, many)
    batch_seconds = time.process_time() - started
    for mapping in sample[:50]:
        evaluate(EINSUM, MACHINE, mapping, link_transfers=False)
    started = time.process_time()
    alone = [evaluate(EINSUM, MACHINE, mapping, link_transfers=False) for mapping in sample]
    one_seconds = (time.process_time() - started) / len(sample)
    for number, report in enumerate(alone):
        assert result.cycles[number] == report.cycles
        assert abs(result.energy_pj[number] / report.energy_pj - 1) < 1e-12
    per_second = count / batch_seconds
    print(
        f"{EINSUM.name} on {MACHINE.name}, {count:,} mappings ({len(few)} different, all valid: {result.valid.all()})"
    )
    print(f"batch      {per_second:>14,.0f} mappings per CPU second")
    print(f"one by one {1 / one_seconds:>14,.0f} mappings per CPU second (a full report each)")
    print(f"ratio      {per_second * one_seconds:>14,.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
