"""Hypothesis strategies of nests: an einsum, an architecture and a mapping that fit each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.mapping import Mapping
from heat_sim.testing import EINSUMS, random_architecture, random_einsum, random_mapping


class Case(NamedTuple):
    """What `evaluate` takes, in its order."""

    einsum: Einsum
    architecture: Architecture
    mapping: Mapping


@st.composite
def nests(draw: st.DrawFn, *, max_ops: int = 1024) -> Case:
    """Return any nest of at most `max_ops` ops; shrinks towards matmuls, few levels and few ops."""
    kind = draw(st.sampled_from(tuple(EINSUMS)))
    storages = draw(st.integers(1, 4))
    ops = draw(st.sampled_from((max_ops // 64, max_ops // 8, max_ops)))
    both_axes = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    einsum = random_einsum(rng, kind=kind, max_ops=ops)
    architecture = random_architecture(rng, storages=storages)
    return Case(
        einsum,
        architecture,
        random_mapping(rng, einsum=einsum, architecture=architecture, both_axes=both_axes),
    )
