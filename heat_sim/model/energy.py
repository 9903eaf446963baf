"""Energy of storage accesses (model section 7)."""

from __future__ import annotations

from heat_sim.architecture import StorageLevel


def access_energy_pj(storage: StorageLevel, *, reads: int, fills: int, updates: int, instances: int) -> float:
    """Return the dynamic energy of one tensor at one level, in pJ, over all instances.

    Words are moved in whole accesses of `StorageLevel.words_per_access`, counted for the average instance.

    Args:
        storage: The level.
        reads: Words read by all instances; likewise the next two.
        fills: Words written from the parent.
        updates: Words written from below.
        instances: Instances in use.

    >>> level = StorageLevel(name="RF", words_per_access=4, read_energy_pj=2.0)
    >>> access_energy_pj(level, reads=90, fills=0, updates=0, instances=10)  # 9 words are 3 accesses
    60.0
    """
    block = storage.words_per_access * instances
    return instances * (
        -(-reads // block) * storage.read_energy_pj
        + -(-fills // block) * storage.write_energy_pj
        + -(-updates // block) * storage.update_energy_pj
    )
