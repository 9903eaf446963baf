"""What `dump_architecture`, `dump_ert` and `dump_problem` write reads back equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.mapping import LevelConstraints
from heat_sim.specs import (
    ArchitectureSpec,
    dump_architecture,
    dump_ert,
    dump_mapping,
    dump_problem,
    file_form,
    parse_architecture,
    parse_mapping,
    parse_problem,
    spec_from_architecture,
)
from heat_sim.testing import EINSUMS, random_architecture, random_einsum, random_mapping

SEEDS = st.integers(0, 2**32 - 1)
LETTERS = ("M", "N", "K")


def expressible(architecture: Architecture, *, virtual: bool) -> Architecture:
    """Return the architecture with every inner storage bounded, and second meshes named as files name them."""
    levels: list[StorageLevel] = []
    for level in architecture.levels:
        if level.is_virtual and (level.fanout == 1 or levels[-1].fanout == 1 or not virtual):
            above = levels[-1]
            levels[-1] = replace(
                above, fanout_x=above.fanout_x * level.fanout_x, fanout_y=above.fanout_y * level.fanout_y
            )
        elif level.is_virtual:
            levels.append(replace(level, name=f"inter_{level.name}_spatial"))
        else:
            capacity = 4096 if level.capacity_words is None and levels else level.capacity_words
            levels.append(replace(level, capacity_words=capacity))
    return replace(architecture, levels=tuple(levels))


@st.composite
def architectures(draw: st.DrawFn, *, version: Literal["0.3", "0.4"]) -> Architecture:
    """Draw a random architecture that a file of this version can hold, some with clock and areas."""
    drawn = random_architecture(np.random.default_rng(draw(SEEDS)), storages=draw(st.integers(1, 4)))
    architecture = expressible(drawn, virtual=version == "0.4")
    area = st.none() | st.floats(0, 1e3).map(lambda value: round(value, 9))
    return replace(
        architecture,
        clock_hz=draw(st.none() | st.sampled_from((1e9, 2.5e8, 1.1e9))),
        compute_area_mm2=draw(area),
        levels=tuple(
            level
            if level.is_virtual
            else replace(level, area_mm2=draw(area), min_utilization=draw(st.sampled_from((0.0, 0.25))))
            for level in architecture.levels
        ),
    )  # fmt: skip


@st.composite
def demands(draw: st.DrawFn, *, version: Literal["0.3", "0.4"], mesh: bool) -> LevelConstraints:
    """Draw constraints of one level that files of this version have words for."""
    bounds = st.dictionaries(st.sampled_from(LETTERS), st.integers(0, 9), max_size=3)
    limits = st.dictionaries(st.sampled_from(LETTERS), st.sampled_from(((1, 4), (2, None), (2, 8), (3, 3))), max_size=2)
    orders = st.none() | st.permutations(LETTERS).map(tuple)
    only = st.booleans() if version == "0.4" else st.just(False)
    sides = draw(st.lists(st.sampled_from(("keep", "bypass", "free")), min_size=3, max_size=3))
    found = LevelConstraints(
        keep=frozenset(name for name, side in zip("ABZ", sides, strict=True) if side == "keep"),
        bypass=frozenset(name for name, side in zip("ABZ", sides, strict=True) if side == "bypass"),
        others=draw(st.sampled_from((None, "keep", "bypass"))) if version == "0.4" else None,
        temporal_bounds=draw(bounds),
        temporal_limits=draw(limits),
        temporal_only=draw(only),
        temporal_order=draw(orders),
    )
    if not mesh:
        return found
    return replace(
        found,
        spatial_bounds=draw(bounds),
        spatial_limits=draw(limits),
        spatial_only=draw(only),
        spatial_order=draw(orders),
        split=draw(st.none() | st.integers(0, 999)),
    )


@st.composite
def specs(draw: st.DrawFn, *, version: Literal["0.3", "0.4"]) -> ArchitectureSpec:
    """Draw an architecture with constraints at some of its storages."""
    spec = spec_from_architecture(draw(architectures(version=version)))
    found = {
        level.name: draw(demands(version=version, mesh=level.fanout > 1))
        for level in spec.architecture.levels
        if not level.is_virtual and draw(st.booleans())
    }
    if version == "0.3":
        spec = replace(spec, version="0.3", spatial_targets={name: name for name in spec.spatial_targets})
    return replace(spec, constraints={name: demand for name, demand in found.items() if demand != LevelConstraints()})


def assert_reads_back(spec: ArchitectureSpec) -> None:
    read = parse_architecture(dump_architecture(spec, version=spec.version) + dump_ert(spec.architecture))
    assert read.architecture == spec.architecture
    assert read.constraints == spec.constraints
    assert read.spatial_targets == spec.spatial_targets
    assert read.version == spec.version
    assert dump_architecture(read, version=spec.version) == dump_architecture(spec, version=spec.version)


@settings(max_examples=40)
@given(specs(version="0.4"))
def test_a_list_of_nodes_reads_back(spec: ArchitectureSpec) -> None:
    assert_reads_back(spec)


@settings(max_examples=40)
@given(specs(version="0.3"))
def test_a_tree_reads_back(spec: ArchitectureSpec) -> None:
    assert_reads_back(spec)


@settings(max_examples=40)
@given(architectures(version="0.3"))
def test_both_versions_say_the_same(architecture: Architecture) -> None:
    energies = dump_ert(architecture)
    old = parse_architecture(dump_architecture(architecture, version="0.3") + energies)
    new = parse_architecture(dump_architecture(old, version="0.4") + energies)
    assert old.architecture == new.architecture == architecture
    assert parse_architecture(dump_architecture(new, version="0.3") + energies).architecture == architecture


@settings(max_examples=40)
@given(st.sampled_from(tuple(EINSUMS)), SEEDS, st.sampled_from(("0.3", "0.4")))
def test_one_text_holds_a_whole_case(
    kind: Literal["matmul", "mttkrp", "dot"], seed: int, version: Literal["0.3", "0.4"]
) -> None:
    rng = np.random.default_rng(seed)
    einsum = random_einsum(rng, kind=kind, max_ops=512)
    architecture = expressible(random_architecture(rng), virtual=version == "0.4")
    mapping = file_form(random_mapping(rng, einsum=einsum, architecture=architecture))
    text = dump_architecture(architecture, version=version) + dump_ert(architecture)
    spec = parse_architecture(text)
    text += dump_problem(einsum, version=version) + dump_mapping(mapping, einsum=einsum, spec=spec)
    assert parse_architecture(text).architecture == architecture
    assert parse_problem(text) == einsum
    assert parse_mapping(text, einsum=einsum, spec=spec) == mapping
