"""How much storage on the chip a mapped part of a network occupies."""

from __future__ import annotations

from heat_sim.mapper.cascade.result import MappedCascade, MappedGroup
from heat_sim.mapper.result import MappedEinsum
from heat_sim.model import evaluate


def buffer_bits(mapped: MappedCascade) -> int:
    """Return the bits of all tiles in all instances of the storages inside the outermost, when most is occupied.

    Einsums run one after another. A fused group also holds its intermediates: where tiles of these are counted with
    those of an einsum, the figure is an upper bound.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import Cascade, parse_einsum
    >>> from heat_sim.mapper.layer import Machine
    >>> machine = Machine(architecture=Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=9.0, update_energy_pj=9.0),
    ...     StorageLevel(name="GLB", capacity_words=8, word_bits=8, read_energy_pj=1.0, write_energy_pj=1.0,
    ...                  update_energy_pj=1.0))))
    >>> product = parse_einsum("Z[m] = A[m,k] * B[k]", extents={"m": 2, "k": 2})
    >>> found = machine.map_cascade(Cascade(name="product", einsums=(product,)))
    >>> buffer_bits(found.best) <= 8 * 8
    True
    """
    return max(_of_group(group) for group in mapped.groups)


def _of_group(group: MappedGroup) -> int:
    most = max((_of_einsum(each) for each in group.mapped if isinstance(each, MappedEinsum)), default=0)
    home = group.plan.home
    if home is None or len(group.plan.einsums) == 1:
        return most
    return most + group.plan.peak_words() * group.architecture.levels[home].word_bits


def _of_einsum(mapped: MappedEinsum) -> int:
    bits = {level.name: level.word_bits for level in mapped.architecture.levels[1:]}
    report = evaluate(mapped.einsum, mapped.architecture, mapped.mapping)
    return sum(
        level.occupied_words * level.instances_used * bits[level.name] for level in report.levels if level.name in bits
    )
