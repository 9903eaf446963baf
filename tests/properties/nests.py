"""Hypothesis strategies of nests: an einsum, an architecture and a mapping that fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.mapping import Mapping
from heat_sim.testing import PLAIN_KINDS, EinsumKind, random_architecture, random_einsum, random_mapping


class Case(NamedTuple):
    """What `evaluate` takes, in its order."""

    einsum: Einsum
    architecture: Architecture
    mapping: Mapping


@st.composite
def nests(
    draw: st.DrawFn,
    *,
    max_ops: int = 1024,
    kinds: Sequence[EinsumKind] = PLAIN_KINDS,
    imperfect: bool = False,
) -> Case:
    """Return any nest of at most `max_ops` ops; shrinks towards the first kind, few levels and few ops."""
    kind = draw(st.sampled_from(kinds))
    storages = draw(st.integers(1, 4))
    ops = draw(st.sampled_from((max_ops // 64, max_ops // 8, max_ops)))
    both_axes = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    einsum = random_einsum(rng, kind=kind, max_ops=ops)
    architecture = random_architecture(rng, storages=storages)
    mapping = random_mapping(rng, einsum=einsum, architecture=architecture, both_axes=both_axes, imperfect=imperfect)
    return Case(einsum, architecture, mapping)
