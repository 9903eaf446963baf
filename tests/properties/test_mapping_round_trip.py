"""What `dump_mapping` writes, `load_mapping` reads back: same loops, same axes, same tensors."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.mapping import LevelMapping, Loop, Mapping, check_mapping
from heat_sim.specs import ArchitectureSpec, dump_mapping, file_form, parse_mapping, spec_from_architecture

# One-letter dimensions as Timeloop has them, and the longer names of a factorised layer.
STATEMENTS = (
    "Z[M,N] = A[M,K] * B[K,N]",
    "Y[s,o1,o2] = X[s,i1,i2] * G1[o1,i1,r1] * G2[r1,o2,i2]",
    "O[P] = I[2*P+R] * W[R]",
)
TENSORS = {statement: parse_einsum(statement, extents=dict.fromkeys(
    ("M", "N", "K", "s", "o1", "o2", "i1", "i2", "r1", "P", "R"), 1)) for statement in STATEMENTS}  # fmt: skip


@st.composite
def nests(draw: st.DrawFn) -> tuple[Einsum, ArchitectureSpec, Mapping]:
    """Draw an einsum, a spec of either version and a nest that fits its meshes and multiplies to the extents."""
    shape = TENSORS[draw(st.sampled_from(STATEMENTS))]
    version = draw(st.sampled_from(("0.3", "0.4")))
    imperfect = version == "0.3" and draw(st.booleans())
    storages: list[StorageLevel] = []
    levels: list[LevelMapping] = []
    for place in range(draw(st.integers(1, 4))):
        virtual = version == "0.4" and place > 0 and not storages[-1].is_virtual and draw(st.booleans())
        spatial = _loops(draw, shape, spatial=True, imperfect=imperfect)
        used = {axis: math.prod(loop.bound for loop in spatial if loop.dimension == axis) for axis in ("x", "y")}
        spare = draw(st.integers(1, 2))
        name = f"level_{place}"
        storages.append(StorageLevel(name=name, is_virtual=virtual, fanout_x=used["x"] * spare, fanout_y=used["y"]))
        names = [tensor.name for tensor in shape.tensors]
        keep = frozenset(names if place == 0 else draw(st.sets(st.sampled_from(names))))
        levels.append(
            LevelMapping(
                level=name,
                temporal=() if virtual else _loops(draw, shape, spatial=False, imperfect=imperfect),
                spatial=spatial,
                keep=frozenset() if virtual else keep,
            )
        )
    mapping = Mapping(levels=tuple(levels))
    architecture = Architecture(name="drawn", levels=tuple(storages), compute_name="MAC", compute_energy_pj=1.0)
    spec = spec_from_architecture(architecture)
    if version == "0.3":
        spec = replace(spec, version="0.3", spatial_targets={name: name for name in spec.spatial_targets})
    einsum = replace(shape, extents=tuple((var, mapping.bound(var)) for var in shape.rank_vars))
    return einsum, spec, mapping


def _loops(draw: st.DrawFn, shape: Einsum, *, spatial: bool, imperfect: bool) -> tuple[Loop, ...]:
    names = draw(st.lists(st.sampled_from(shape.rank_vars), unique=True, max_size=3))
    axes = st.sampled_from(("x", "y")) if spatial else st.just("temporal")
    loops: list[Loop] = []
    for name in names:
        bound = draw(st.sampled_from((1, 2, 3, 10)))
        residual = draw(st.none() | st.integers(1, bound - 1)) if imperfect and bound > 1 else None
        loops.append(Loop(rank_var=name, bound=bound, residual=residual, dimension=draw(axes)))
    return tuple(loops)


@given(nests())
def test_what_is_written_reads_back(drawn: tuple[Einsum, ArchitectureSpec, Mapping]) -> None:
    einsum, spec, mapping = drawn
    check_mapping(einsum, spec.architecture, mapping)
    text = dump_mapping(mapping, einsum=einsum, spec=spec)
    read = parse_mapping(text, einsum=einsum, spec=spec)
    assert read == file_form(mapping)
    assert dump_mapping(read, einsum=einsum, spec=spec) == text


@given(nests())
def test_the_form_of_a_file_changes_no_bound(drawn: tuple[Einsum, ArchitectureSpec, Mapping]) -> None:
    _, _, mapping = drawn
    form = file_form(mapping)
    for before, after in zip(mapping.levels, form.levels, strict=True):
        assert {loop for loop in before.loops if loop.bound > 1} == set(after.loops)
        assert [loop for loop in before.temporal if loop.bound > 1] == list(after.temporal)
        for axis in ("x", "y"):
            along = [loop for loop in before.spatial if loop.dimension == axis and loop.bound > 1]
            assert along == [loop for loop in after.spatial if loop.dimension == axis]
