"""Mappings as timeloop-mapper writes them, put into its two forms by formatters that live only here."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import MappingError, SpecError
from heat_sim.mapping import LevelMapping, Loop, Mapping
from heat_sim.specs import (
    ArchitectureSpec,
    file_form,
    load_architecture,
    load_mapping,
    load_problem,
    spec_from_architecture,
)
from heat_sim.timeloop import import_mapping

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = [
    GOLDEN / name
    for name in (
        "timeloop/09_spatial_xy_reduction",
        "timeloop/10_bypass_masks",
        "timeloop/18_conv_row_stationary",
        "timeloop/20_bert_attention_simba",
        "timeloop-v4/02_matmul_3level_words_per_row",
        "timeloop-v4/03_eyeriss_bypass_in_arch",
        "timeloop-v4/05_mesh_in_component_clusters",
    )
]

Part = tuple[str, frozenset[str], tuple[Loop, ...], tuple[Loop, ...]]


def tool_levels(mapping: Mapping, spec: ArchitectureSpec) -> list[Part]:
    """Return (level, kept, temporal, spatial) as Timeloop has them, outermost first.

    Its v0.4 front end makes every mesh a level that keeps nothing; in v0.3 the loops belong to the level above.
    """
    levels: list[Part] = []
    for level, storage in zip(mapping.levels, spec.architecture.levels, strict=True):
        spatial = level.spatial if spec.version == "0.3" else ()
        if not storage.is_virtual:
            levels.append((level.level, level.keep, level.temporal, spatial))
        if spec.version == "0.4" and level.level in spec.spatial_targets:
            levels.append((f"inter_{spec.spatial_targets[level.level]}_spatial", frozenset(), (), level.spatial))
    return levels


def as_map_text(mapping: Mapping, einsum: Einsum, spec: ArchitectureSpec) -> str:
    text, depth = "", 0
    for name, keep, temporal, spatial in tool_levels(mapping, spec):
        kept = "".join(f"{tensor.name}:16 (16) " for tensor in einsum.tensors if tensor.name in keep)
        head = f"{name} [ {kept}] "
        # The tool draws no line under a level without loops.
        text += f"{head}\n{'-' * len(head)}\n" if temporal or spatial else f"{head}\n"
        for loop in (*temporal, *spatial):
            last = "" if loop.residual is None else f"/{loop.residual}"
            axis = "" if loop.dimension == "temporal" else f" (Spatial-{loop.dimension.upper()})"
            text += f"| {'  ' * depth}for {loop.rank_var} in [0:{loop.bound}{last}){axis}\n"
            depth += 1
        text += "\n" if temporal or spatial else ""
    return f"{text}| {'  ' * depth}<< Compute >>\n"


def as_map_yaml(mapping: Mapping, einsum: Einsum, spec: ArchitectureSpec) -> str:
    def names(heading: str, tensors: list[str]) -> str:
        return f"    {heading}:\n" + ("".join(f"      - {name}\n" for name in tensors) or "      []\n")

    def loops(name: str, kind: str, found: tuple[Loop, ...]) -> str:
        bounds = {loop.rank_var: loop.bound for loop in found}
        order = [loop.rank_var for loop in reversed(found)]
        order += [var for var in einsum.rank_vars if var not in order]
        return (
            f"  - target: {name}\n    type: {kind}\n"
            f"    factors: {' '.join(f'{var}{bounds.get(var, 1)}' for var in einsum.rank_vars)}\n"
            f"    permutation: {''.join(order)}\n"
        )

    levels = tool_levels(mapping, spec)[::-1]
    tensors = [tensor.name for tensor in einsum.tensors]
    text = "mapping:\n"
    for name, keep, _, _ in levels:
        text += f"  - target: {name}\n    type: datatype\n" + names("keep", [each for each in tensors if each in keep])
        text += names("bypass", [each for each in tensors if each not in keep])
    for name, _, temporal, spatial in levels:
        if spatial:
            text += loops(name, "spatial", spatial)
            text += f"    split: {sum(loop.dimension == 'x' for loop in spatial)}\n"
        text += loops(name, "temporal", temporal)
    return text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(("form", "suffix"), [(as_map_text, "txt"), (as_map_yaml, "yaml")])
def test_both_forms_give_the_mapping_back(case: Path, form, suffix: str, tmp_path: Path) -> None:
    spec = load_architecture(case / "arch.yaml", ert=case / "ert.yaml")
    einsum = load_problem(case / "problem.yaml")
    mapping = file_form(load_mapping(case / "mapping.yaml", einsum=einsum, spec=spec))
    path = tmp_path / f"timeloop-mapper.map.{suffix}"
    path.write_text(form(mapping, einsum, spec), encoding="utf-8")
    assert import_mapping(path, einsum=einsum, spec=spec) == mapping


ARCHITECTURE = Architecture(
    name="tiny",
    levels=(StorageLevel(name="DRAM", fanout_x=4, fanout_y=2), StorageLevel(name="RF")),
    compute_name="MAC",
    compute_energy_pj=1.0,
)
SPEC = spec_from_architecture(ARCHITECTURE)
MATVEC = parse_einsum("z[m] = a[m,k] * x[k]", extents={"m": 12, "k": 8})


def imported(tmp_path: Path, text: str, *, einsum: Einsum = MATVEC, suffix: str = "yaml") -> Mapping:
    path = tmp_path / f"found.map.{suffix}"
    path.write_text(text, encoding="utf-8")
    return import_mapping(path, einsum=einsum, spec=SPEC)


def test_the_picture_tells_imperfect_factors(tmp_path: Path) -> None:
    # 12 = 2 full passes of 5 and a last one of 2
    mapping = imported(
        tmp_path,
        "DRAM [ a:96 (96) x:8 (8) z:12 (12) ] \n---\n| for m in [0:3)\n|   for k in [0:2) (Spatial-Y)\n"
        "|     for k in [0:4) (Spatial-X)\n\nRF [ a:5 (5) z:5 (5) ] \n---\n|       for m in [0:5/2)\n"
        "|         << Compute >>\n",
        suffix="txt",
    )
    outer, inner = mapping.levels
    assert outer == LevelMapping(
        level="DRAM", temporal=(Loop(rank_var="m", bound=3),), keep=frozenset("axz"),
        spatial=(Loop(rank_var="k", bound=2, dimension="y"), Loop(rank_var="k", bound=4, dimension="x")),
    )  # fmt: skip
    assert inner == LevelMapping(level="RF", temporal=(Loop(rank_var="m", bound=5, residual=2),), keep=frozenset("az"))


def test_names_of_several_letters_are_told_apart_where_the_file_allows(tmp_path: Path) -> None:
    einsum = parse_einsum("z[out] = a[out,o,t]", extents={"out": 2, "o": 3, "t": 12})
    directive = (
        "mapping:\n- {target: DRAM, type: datatype, keep: [a, z], bypass: []}\n- {target: DRAM, type: temporal, "
    )
    mapping = imported(tmp_path, directive + "factors: out2 o3 t12, permutation: toout}\n", einsum=einsum)
    assert [loop.rank_var for loop in mapping.levels[0].temporal] == ["out", "o", "t"]
    # o112 is o1 = 12 or o = 112
    with pytest.raises(SpecError, match=r"factor with no or several readings \(got o112, .*\.map\.txt"):
        imported(
            tmp_path, directive + "factors: o2 o112, permutation: oo1}\n",
            einsum=parse_einsum("z[o] = a[o,o1]", extents={"o": 2, "o1": 12}),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        ("mapping:\n- {target: GLB, type: temporal, factors: m12 k8, permutation: mk}\n", "yaml",
         r"unknown level \(got GLB, expected one of DRAM, RF\)"),
        ("mapping:\n- {target: DRAM, type: temporal, factors: m12 k8, permutation: m}\n", "yaml",
         r"factors without a place in the permutation \(got k"),
        ("mapping:\n- {target: DRAM, type: temporal, factors: m12 q8, permutation: mk}\n", "yaml",
         r"factor with no or several readings \(got q8"),
        ("mapping:\n- {target: DRAM, type: temporal, factors: m12 k8, permutation: mkm}\n", "yaml",
         r"permutation with no or several readings \(got mkm"),
        ("mapping:\n- {target: DRAM, type: loop}\n", "yaml", r"unknown type of directive \(got loop"),
        ("problem: {}\n", "yaml", r"no mapping section \(got keys problem"),
        ("DRAM [ a:4 (4) ] \nfor m\n", "txt", r"found\.map\.txt:2: not a line of a mapper's loop nest \(got for m"),
    ],
)  # fmt: skip
def test_what_the_mapper_never_writes_is_refused(tmp_path: Path, text: str, suffix: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        imported(tmp_path, text, suffix=suffix)


def test_a_result_for_another_problem_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"bounds of m do not multiply to its extent \(got 6, expected 12\)"):
        imported(tmp_path, "mapping:\n- {target: DRAM, type: temporal, factors: m6 k8, permutation: mk}\n")
