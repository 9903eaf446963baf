"""Writing a mapping as a Timeloop mapping file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from heat_sim.einsum import Einsum
from heat_sim.errors import MappingError, SpecError, describe
from heat_sim.mapping import LevelConstraints, LevelMapping, Loop, Mapping
from heat_sim.specs.architecture_spec import ArchitectureSpec
from heat_sim.specs.directives import Factor
from heat_sim.specs.mapping_file import parse_mapping
from heat_sim.specs.targets import DATASPACE_TYPES


def dump_mapping(mapping: Mapping, *, einsum: Einsum, spec: ArchitectureSpec) -> str:
    r"""Return the text of a mapping file, in the version of the spec, that `load_mapping` reads back.

    What is read back equals `file_form` of the mapping, which is checked. Every level says what it keeps,
    and every permutation is written out unless the architecture fixes it, so nothing hangs on defaults.

    Args:
        mapping: A nest of `einsum` on the architecture of `spec`.
        einsum: The workload; permutations name all its rank variables, else readers would place the split elsewhere.
        spec: The architecture.

    Raises:
        MappingError: The nest has what no mapping file can say, or breaks the architecture's constraints.

    >>> from heat_sim.specs import load_architecture, load_mapping, load_problem
    >>> spec = load_architecture("arch_specs/simba_l/arch.yaml", ert="arch_specs/simba_l/ert.yaml")
    >>> einsum = load_problem("mappings/simba_l/bert_ffn/problem.yaml")
    >>> nest = load_mapping("mappings/simba_l/bert_ffn/weight_stationary.yaml", einsum=einsum, spec=spec)
    >>> print("\n".join(dump_mapping(nest, einsum=einsum, spec=spec).splitlines()[:6]))
    mapping:
    - target: DRAM
      type: dataspace
      keep: [Inputs, Outputs, Weights]
      bypass: []
    - target: DRAM
    """
    if spec.version == "0.4" and not mapping.is_perfect:
        raise MappingError(
            describe("mapping", "v0.4 has no imperfect factors", got="a loop with a residual", expected="perfect loops",
                     remedy="Write it for an architecture of version 0.3.")
        )  # fmt: skip
    lines = ["mapping:"]
    nest = file_form(mapping)
    for level, storage in zip(nest.levels, spec.architecture.levels, strict=True):
        demanded = spec.constraints.get(level.level, LevelConstraints())
        if not storage.is_virtual:
            lines += _dataspaces(level, einsum, spec)
            lines += _loops(level.temporal, "temporal", level.level, einsum, spec)
            if demanded.temporal_order is None:
                lines.append(_permutation(level.temporal, einsum, spec))
        if storage.fanout > 1:
            lines += _loops(level.spatial, "spatial", spec.spatial_targets[level.level], einsum, spec)
            if demanded.spatial_order is None:
                lines.append(_permutation(level.spatial, einsum, spec))
            if demanded.split is None:
                lines.append(f"  split: {sum(loop.dimension == 'x' for loop in level.spatial)}")
    text = "\n".join(lines) + "\n"
    try:
        read_back = parse_mapping(text, einsum=einsum, spec=spec)
    except SpecError as error:
        raise MappingError(f"the mapping cannot be written: {error}") from error
    for level, read in zip(nest.levels, read_back.levels, strict=True):
        if level != read:
            raise MappingError(
                describe(f"mapping at {level.level}", "a mapping file cannot say this", got=level, expected=read,
                         remedy="Use one loop per rank variable in time and one in space, spatial loops only over a "
                         "mesh, tensors only at storages, and the order that the architecture fixes.")
            )  # fmt: skip
    return text


def file_form(mapping: Mapping) -> Mapping:
    """Return the equivalent mapping that a file can hold: no loops of bound 1, no residuals equal to
    the bound, x loops inside y loops.

    >>> loops = (Loop(rank_var="m", bound=2, dimension="x"), Loop(rank_var="k", bound=2, dimension="y"))
    >>> print(file_form(Mapping(levels=(LevelMapping(level="DRAM", spatial=loops),))).levels[0].spatial[0])
    parallel-for-y k in 0..1
    """
    return Mapping(levels=tuple(_level_form(level) for level in mapping.levels))


def _level_form(level: LevelMapping) -> LevelMapping:
    spatial = sorted(level.spatial, key=lambda loop: loop.dimension == "x")
    return replace(level, temporal=_loops_form(level.temporal), spatial=_loops_form(spatial))


def _loops_form(loops: Sequence[Loop]) -> tuple[Loop, ...]:
    """Drop loops of bound 1 and residuals equal to the bound: neither says anything."""
    return tuple(
        replace(loop, residual=None) if loop.residual == loop.bound else loop for loop in loops if loop.bound > 1
    )


def _dataspaces(level: LevelMapping, einsum: Einsum, spec: ArchitectureSpec) -> list[str]:
    names = sorted(tensor.name for tensor in einsum.tensors)
    return [
        f"- target: {level.level}",
        f"  type: {DATASPACE_TYPES[spec.version][0]}",
        f"  keep: [{', '.join(name for name in names if name in level.keep)}]",
        f"  bypass: [{', '.join(name for name in names if name not in level.keep)}]",
    ]


def _loops(loops: Sequence[Loop], kind: str, target: str, einsum: Einsum, spec: ArchitectureSpec) -> list[str]:
    factors = {loop.rank_var: Factor(loop.bound, loop.residual) for loop in loops}
    texts = [f"{name}={factors.get(name, Factor(1))}" for name in einsum.rank_vars]
    # A comma stands inside an imperfect factor, so v0.3 gets one text.
    written = f'"{" ".join(texts)}"' if spec.version == "0.3" else f"[{', '.join(texts)}]"
    return [f"- target: {target}", f"  type: {kind}", f"  factors: {written}"]


def _permutation(loops: Sequence[Loop], einsum: Einsum, spec: ArchitectureSpec) -> str:
    used = dict.fromkeys(loop.rank_var for loop in reversed(loops))
    names = (*used, *(name for name in einsum.rank_vars if name not in used))
    # timeloop-model reads a text of letters; names of several letters are for our own reader only.
    if spec.version == "0.3" and all(len(name) == 1 for name in names):
        return f'  permutation: "{"".join(names)}"'
    return f"  permutation: [{', '.join(names)}]"
