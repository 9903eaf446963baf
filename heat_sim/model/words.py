"""Reads, fills and updates of every tensor at every level, summed over the instances (model sections 4 to 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.mapping import Mapping
from heat_sim.model.nest import lower
from heat_sim.model.network import MulticastClass, NetworkCounts, network_counts, tensor_traffic
from heat_sim.model.residual import count_residual
from heat_sim.model.residual_window import count_residual_window
from heat_sim.model.traffic import count_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What one tensor does at one level; reads, fills and updates are 0 where it bypasses the level.

    Attributes:
        is_kept: Whether the level holds the tensor.
        tile: Largest tile of one instance.
        partition: Words that ever live in one instance, on the average.
        reads: Words taken out.
        fills: Words written from the parent.
        updates: Words written from below.
        network: Traffic to the children.
    """

    is_kept: bool
    tile: int
    partition: int
    reads: int
    fills: int
    updates: int
    network: NetworkCounts


def perfect_words(
    einsum: Einsum, architecture: Architecture, mapping: Mapping, *, link_transfers: bool, accumulates: bool = False
) -> list[list[Words | None]]:
    """Return the words per tensor and level; None outside the outermost level that keeps the tensor.

    The first arrival of each element of an output finds nothing to add to, so it is neither read
    back nor fetched from outside (first-read elision), unless partial sums are there already.
    Words that neighbours hand each other are read and written at their own level.

    Args:
        einsum: The workload.
        architecture: The hardware.
        mapping: Perfect bounds only.
        link_transfers: Whether neighbours hand words to each other.
        accumulates: Whether partial sums of the output are there before the run.
    """
    nest = lower(einsum, mapping)
    tile, partition, delta, _, _ = count_words(
        nest.loop_var, nest.loop_bound, nest.mesh, nest.coefficient, nest.plain, nest.keep
    )
    result: list[list[Words | None]] = []
    for t, tensor in enumerate(einsum.tensors):
        is_output = tensor is einsum.output
        traffic = tensor_traffic(
            einsum, architecture, mapping, nest=nest, t=t, delta=delta[t], link_transfers=link_transfers
        )
        rows: list[Words | None] = []
        instances = 1
        for row, below in enumerate(traffic):
            if below is None:
                rows.append(None)
            else:
                above = traffic[row - 1] if row else None
                distinct = int(partition[t, row])
                elided = distinct if is_output and not accumulates else 0
                from_neighbours = Fraction(0) if above is None else Fraction(above.links, instances)
                received = Fraction(0) if above is None else above.child_words + from_neighbours - elided
                # Averages over the instances are rounded as Timeloop rounds them.
                fills = round(received) if is_output else math.floor(received)
                is_kept = bool(nest.keep[t, row])
                rows.append(
                    Words(
                        is_kept=is_kept,
                        tile=int(tile[t, row]),
                        partition=distinct,
                        reads=round(below.words + from_neighbours - elided) * instances,
                        fills=fills * instances,
                        updates=round(below.words) * instances if is_output else 0,
                        network=network_counts(
                            below, architecture.levels[row], is_output=is_output, instances=instances,
                            partition_words=distinct,
                        ),
                    )
                )  # fmt: skip
            instances *= math.prod(loop.bound for loop in mapping.levels[row].spatial)
        result.append(rows)
    return result


def residual_words(
    einsum: Einsum, architecture: Architecture, mapping: Mapping, *, accumulates: bool = False
) -> list[list[Words | None]]:
    """Return the same for a mapping with short last passes, counted exactly.

    Networks cost what the words sent at the mean distance of a full array cost.

    Args:
        einsum: The workload.
        architecture: The hardware.
        mapping: With or without residuals.
        accumulates: Whether partial sums of the output are there before the run.
    """
    full = perfect_words(einsum, architecture, mapping, link_transfers=False)
    result: list[list[Words | None]] = []
    for tensor, full_rows in zip(einsum.tensors, full, strict=True):
        is_output = tensor is einsum.output
        rows: list[Words | None] = []
        instances = 1
        exact = count_residual(mapping, tensor) if tensor.is_plain else count_residual_window(einsum, mapping, tensor)
        for row, counts in enumerate(exact):
            ideal = full_rows[row]
            if ideal is None:
                rows.append(None)
            else:
                elided = counts.distinct_words if is_output and not accumulates else 0
                has_parent = row > 0 and full_rows[row - 1] is not None
                rows.append(
                    Words(
                        is_kept=ideal.is_kept,
                        tile=counts.tile_words,
                        partition=counts.distinct_words // instances,
                        reads=counts.served_words - elided,
                        fills=counts.received_words - elided if has_parent else 0,
                        updates=counts.served_words if is_output else 0,
                        network=_shrunk(ideal.network, counts.served_words // instances),
                    )
                )
            instances *= math.prod(loop.bound for loop in mapping.levels[row].spatial)
        result.append(rows)
    return result


def _shrunk(network: NetworkCounts, words: int) -> NetworkCounts:
    """Return the network with so many words in place of those of a nest without short passes."""
    share = words / network.words if network.words else 0.0
    largest = network.classes[-1]
    return NetworkCounts(
        fanout=network.fanout,
        classes=(MulticastClass(multicast=largest.multicast, scatter=largest.scatter, words=words),),
        spatial_reductions=round(network.spatial_reductions * share),
        average_hops=network.average_hops,
        energy_pj=network.energy_pj * share,
    )
