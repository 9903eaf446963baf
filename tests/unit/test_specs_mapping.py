"""Mapping files: loops outermost first, splits, keep and bypass, constraints, and every refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.errors import MappingError, SpecError
from heat_sim.mapping import LevelMapping, Loop, Mapping
from heat_sim.specs import (
    dump_mapping,
    file_form,
    load_architecture,
    load_mapping,
    parse_mapping,
    spec_from_architecture,
)

from .spec_texts import ERT, MATMUL, V3, V4, changed, matmul, spec_of, written

# M = 8 = 2 x 4, N = 4 = 2 x 2, K = 6 = 3 x 2.
GOOD = """\
mapping:
- target: GLB
  type: temporal
  factors: [M=2, K=3]
  permutation: [K, M]
- {target: RF, type: dataspace, keep: [A], bypass: [B]}
- target: pe
  type: spatial
  factors: M=4, N=2
  permutation: [M, K, N]
  split: 2
- target: RF
  type: temporal
  factors: N=2 K=2
  permutation: NKM
"""


def temporal(**bounds: int) -> tuple[Loop, ...]:
    return tuple(Loop(rank_var=name, bound=bound) for name, bound in bounds.items())


def test_loops_are_outermost_first(tmp_path: Path) -> None:
    mapping = load_mapping(written(tmp_path, GOOD, "m.yaml"), einsum=MATMUL, spec=spec_of(tmp_path))
    everything = frozenset("ABZ")
    assert mapping.levels == (
        LevelMapping(level="DRAM", keep=everything),
        LevelMapping(
            level="GLB",
            temporal=temporal(M=2, K=3),
            spatial=(Loop(rank_var="N", bound=2, dimension="y"), Loop(rank_var="M", bound=4, dimension="x")),
            keep=everything,
        ),
        LevelMapping(level="RF", temporal=temporal(K=2, N=2), keep=frozenset("AZ")),
    )


def test_the_v03_form_targets_the_parent(tmp_path: Path) -> None:
    text = changed(changed(GOOD, "target: pe", "target: GLB"), "type: dataspace", "type: bypass")
    old = parse_mapping(text, einsum=MATMUL, spec=spec_of(tmp_path, V3))
    assert old == parse_mapping(GOOD, einsum=MATMUL, spec=spec_of(tmp_path))


# M = 10 = 4 + 4 + 2, K = 17 = 4 * 4 + 1 and N = 5 = 2 + 2 + 1, the last one in space.
IMPERFECT = """\
mapping:
- {target: DRAM, type: temporal, factors: M=3 K=5 N=3, permutation: KNM}
- {target: GLB, type: spatial, factors: "N=2,1", permutation: NKM, split: 0}
- {target: RF, type: temporal, factors: "M=4,2 K4,1", permutation: KMN}
"""


def test_imperfect_factors_fold_to_the_bounds(tmp_path: Path) -> None:
    spec, einsum = spec_of(tmp_path, V3), matmul(M=10, K=17, N=5)
    mapping = parse_mapping(IMPERFECT, einsum=einsum, spec=spec)
    assert mapping.levels[1].spatial == (Loop(rank_var="N", bound=2, residual=1, dimension="y"),)
    assert mapping.levels[2].temporal == (
        Loop(rank_var="M", bound=4, residual=2),
        Loop(rank_var="K", bound=4, residual=1),
    )
    assert [mapping.bound(name) for name in "MKN"] == [2 * 4 + 2, 4 * 4 + 1, 2 * 2 + 1]
    assert parse_mapping(dump_mapping(mapping, einsum=einsum, spec=spec), einsum=einsum, spec=spec) == mapping


def test_imperfect_loops_are_not_written_in_v04(tmp_path: Path) -> None:
    einsum = matmul(M=10, K=17, N=5)
    mapping = parse_mapping(IMPERFECT, einsum=einsum, spec=spec_of(tmp_path, V3))
    with pytest.raises(MappingError, match=r"mapping: v0.4 has no imperfect factors .*of version 0.3"):
        dump_mapping(mapping, einsum=einsum, spec=spec_of(tmp_path))


def test_a_residual_equal_to_the_bound_is_a_perfect_loop(tmp_path: Path) -> None:
    text = IMPERFECT.replace("N=2,1", "N=2,2").replace("M=4,2 K4,1", "M=4,4 K=4,4")
    mapping = parse_mapping(text, einsum=matmul(M=12, K=20, N=6), spec=spec_of(tmp_path, V3))
    assert mapping.is_perfect


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("M=4,2", "M=4,3", r"mapping: factors of M do not fold to its bound \(got 11, expected 10\)"),
        ("M=4,2", "M=4,5", r"not the iterations of a last pass \(got M=4,5, expected M=4,r with r from 1 to 4"),
        ("M=4,2", "M=4,0", r"not the iterations of a last pass \(got M=4,0"),
        ("M=4,2", "M=4,2,1", r"RF.factors: not a factor \(got ,1"),
        ("M=4,2", "M=4", r"factors of M do not multiply to its bound \(got 12, expected 10\)"),
    ],
)
def test_imperfect_factors_that_are_none(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        parse_mapping(IMPERFECT.replace(old, new), einsum=matmul(M=10, K=17, N=5), spec=spec_of(tmp_path, V3))


def test_without_a_split_all_lies_along_x(tmp_path: Path) -> None:
    mapping = parse_mapping(changed(GOOD, "  split: 2\n", ""), einsum=MATMUL, spec=spec_of(tmp_path))
    assert {loop.dimension for loop in mapping.levels[1].spatial} == {"x"}


def test_idle_dimensions_shift_the_split_in_v04_only(tmp_path: Path) -> None:
    # The v4 front end puts K in front because its factor is written as 1: then M is the second entry, along y.
    new = changed(
        changed(GOOD, "factors: M=4, N=2", "factors: M=4, N=2, K=1"), "[M, K, N]\n  split: 2", "[M, N]\n  split: 1"
    )
    axes = {
        loop.rank_var: loop.dimension
        for loop in parse_mapping(new, einsum=MATMUL, spec=spec_of(tmp_path)).levels[1].spatial
    }
    assert axes == {"M": "y", "N": "y"}
    old = changed(changed(new, "target: pe", "target: GLB"), "type: dataspace", "type: bypass")
    axes = {
        loop.rank_var: loop.dimension
        for loop in parse_mapping(old, einsum=MATMUL, spec=spec_of(tmp_path, V3)).levels[1].spatial
    }
    assert axes == {"M": "x", "N": "y"}


def test_a_dimension_of_extent_1_shifts_the_split_too(tmp_path: Path) -> None:
    text = changed(changed(GOOD, "M=2, K=3", "M=2"), "N=2 K=2", "N=2")
    text = changed(text, "[M, K, N]\n  split: 2", "[M, N]\n  split: 2")
    mapping = parse_mapping(text, einsum=matmul(K=1), spec=spec_of(tmp_path))
    assert {loop.rank_var: loop.dimension for loop in mapping.levels[1].spatial} == {"M": "x", "N": "y"}


def test_unlisted_dimensions_come_outside_in_their_order(tmp_path: Path) -> None:
    text = "mapping: [{target: DRAM, type: temporal, factors: [M=8, N=4, K=6], permutation: [N]}]"
    mapping = parse_mapping(text, einsum=MATMUL, spec=spec_of(tmp_path))
    assert mapping.levels[0].temporal == temporal(K=6, M=8, N=4)


def test_a_factor_0_is_the_whole_extent(tmp_path: Path) -> None:
    text = "mapping: [{target: DRAM, type: temporal, factors: M=0 N=0 K=0, permutation: KNM}]"
    mapping = parse_mapping(text, einsum=MATMUL, spec=spec_of(tmp_path))
    assert mapping.levels[0].temporal == temporal(M=8, N=4, K=6)


@pytest.mark.parametrize(
    ("lists", "kept"),
    [
        ("keep: [A]", "ABZ"),
        ("bypass: [A]", "BZ"),
        ("bypass: A B", "Z"),
        ('bypass: ["*"]', ""),
        ('keep: [A], bypass: ["*"]', "A"),
        ("keep_only: [A]", "A"),
        ("bypass_only: [A]", "BZ"),
        ('keep: "*"', "ABZ"),
        ("bypass: []", "ABZ"),
    ],
)
def test_keep_and_bypass(lists: str, kept: str, tmp_path: Path) -> None:
    text = changed(GOOD, "keep: [A], bypass: [B]", lists)
    assert parse_mapping(text, einsum=MATMUL, spec=spec_of(tmp_path)).levels[2].keep == frozenset(kept)


CONSTRAINED = changed(
    V4, "depth: 32}\n", "depth: 32}\n    constraints:\n      dataspace: {bypass: [B]}\n"
    "      temporal: {factors: [N=2], permutation: [N, K, M]}\n",
)  # fmt: skip
CONSTRAINED = changed(
    CONSTRAINED,
    "meshY: 2}\n",
    "meshY: 2}\n    constraints: {spatial: {factors: M=4 N=2, permutation: MKN, split: 2}}\n",
)


def test_constraints_complete_the_mapping(tmp_path: Path) -> None:
    short = "mapping:\n- {target: GLB, type: temporal, factors: M=2 K=3, permutation: KM}\n" \
            "- {target: RF, type: temporal, factors: K=2}\n"  # fmt: skip
    mapping = parse_mapping(short, einsum=MATMUL, spec=spec_of(tmp_path, CONSTRAINED))
    assert mapping == parse_mapping(GOOD, einsum=MATMUL, spec=spec_of(tmp_path))
    assert parse_mapping(GOOD, einsum=MATMUL, spec=spec_of(tmp_path, CONSTRAINED)) == mapping
    only = changed(short, "factors: K=2", "factors_only: K=2")
    assert parse_mapping(only, einsum=MATMUL, spec=spec_of(tmp_path, CONSTRAINED)) == mapping


def test_constraints_that_need_the_einsum(tmp_path: Path) -> None:
    # M = 8 and N = 4 are whole at the register file, K is 1 there; it keeps A and what is not listed.
    text = changed(V4, "depth: 32}\n", "depth: 32}\n    constraints:\n      dataspace: {bypass_only: [B]}\n"
                   "      temporal: {factors_only: [M=0, N=0]}\n")  # fmt: skip
    text = changed(text, "depth: 100}\n", "depth: 100}\n    constraints: {dataspace: {keep_only: [A]}}\n")
    text = changed(text, "attributes: {datawidth: 16}\n",
                   'attributes: {datawidth: 16}\n    constraints: {dataspace: {keep: ["*"]}}\n')  # fmt: skip
    spec = spec_of(tmp_path, text)
    mapping = parse_mapping("mapping: [{target: DRAM, type: temporal, factors: K=6}]", einsum=MATMUL, spec=spec)
    assert [level.keep for level in mapping.levels] == [frozenset("ABZ"), frozenset("A"), frozenset("AZ")]
    assert mapping.levels[2].temporal == temporal(N=4, M=8)
    with pytest.raises(SpecError, match=r"RF: factor contradicts the architecture's constraint .got K=2, expected K=1"):
        parse_mapping("mapping: [{target: RF, type: temporal, factors: K=2}]", einsum=MATMUL, spec=spec)


def test_limits_are_kept_for_the_mapper_and_checked(tmp_path: Path) -> None:
    text = changed(V4, "depth: 32}\n", 'depth: 32}\n    constraints: {temporal: {factors: "N<=2, K>=2 K<=3"}}\n')
    spec = spec_of(tmp_path, text)
    assert spec.constraints["RF"].temporal_limits == {"N": (1, 2), "K": (2, 3)}
    assert parse_mapping(GOOD, einsum=MATMUL, spec=spec).levels[2].temporal == temporal(K=2, N=2)
    with pytest.raises(SpecError, match=r"temporal at RF: factor beyond its limit .got K=6, expected K<=3"):
        parse_mapping(changed(changed(GOOD, "K=3", "K=1"), "K=2", "K=6"), einsum=MATMUL, spec=spec)
    with pytest.raises(SpecError, match=r"mapping at RF: factor beyond its limit .got K=1, expected K>=2"):
        parse_mapping("mapping: [{target: DRAM, type: temporal, factors: M=8 N=4 K=6}]", einsum=MATMUL, spec=spec)


def test_the_tightest_limit_counts(tmp_path: Path) -> None:
    text = changed(V4, "depth: 32}\n", 'depth: 32}\n    constraints: {temporal: {factors: "K>=3 K>=2 N<=4"}}\n')
    text += "constraints: [{target: RF, type: temporal, factors: K>=2 K<=9 N<=2}]\n"
    assert spec_of(tmp_path, text).constraints["RF"].temporal_limits == {"K": (3, 9), "N": (1, 2)}


def test_idle_spatial_loops_need_no_mesh(tmp_path: Path) -> None:
    text = GOOD + "- {target: MAC, type: spatial, factors: M=1 N=1 K=1, permutation: KNM, split: 999}\n"
    text += "- {target: system, type: spatial}\n"
    assert parse_mapping(text, einsum=MATMUL, spec=spec_of(tmp_path)) == parse_mapping(
        GOOD, einsum=MATMUL, spec=spec_of(tmp_path)
    )
    with pytest.raises(SpecError, match="spatial at MAC: spatial loops where there is no mesh"):
        parse_mapping(changed(text, "M=1 N=1", "M=2 N=1"), einsum=MATMUL, spec=spec_of(tmp_path))


LIST = """\
constraints:
  version: 0.4
  targets:
  - {target: RF, type: dataspace, bypass: [B]}
  - {target: RF, type: temporal, factors: [N=2], permutation: [N, K, M]}
  - {target: pe, type: spatial, factors: M=4 N=2, permutation: MKN, split: 2}
"""


def test_a_list_of_constraints_is_as_good_as_constraints_at_the_nodes(tmp_path: Path) -> None:
    at_nodes = spec_of(tmp_path, CONSTRAINED).constraints
    assert spec_of(tmp_path, V4 + LIST).constraints == at_nodes
    files = [
        written(tmp_path, text, name)
        for text, name in (
            (V4, "a.yaml"),
            (ERT, "e.yaml"),
            (LIST.replace("constraints:", "my_constraints:", 1), "c.yaml"),
        )
    ]
    assert load_architecture(files).constraints == at_nodes
    # Both: they agree, so nothing is said twice.
    assert spec_of(tmp_path, CONSTRAINED + LIST).constraints == at_nodes


def test_constraints_beside_the_mapping_count_too(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    short = "mapping:\n- {target: GLB, type: temporal, factors: M=2 K=3, permutation: KM}\n" \
            "- {target: RF, type: temporal, factors: K=2}\n"  # fmt: skip
    good = parse_mapping(GOOD, einsum=MATMUL, spec=spec)
    assert parse_mapping(short + LIST, einsum=MATMUL, spec=spec) == good
    # One file for all: what the architecture has read already is no contradiction.
    assert parse_mapping(short + LIST, einsum=MATMUL, spec=spec_of(tmp_path, V4 + LIST)) == good


V3_LIST = """\
architecture_constraints:
  targets:
  - {target: RF, type: bypass, bypass: [B]}
  - {target: RF, type: temporal, permutation: N}
  - {target: GLB, type: spatial, factors: M=4 N=2 K1, permutation: MKN, split: 2}
"""


def test_lists_of_constraints_of_v03(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, V3 + V3_LIST)
    assert spec.constraints["GLB"].spatial_bounds == {"M": 4, "N": 2, "K": 1}
    text = changed(changed(GOOD, "target: pe", "target: GLB"), "type: dataspace", "type: bypass")
    # The constraint gives the innermost entry of the permutation, the mapping all of them.
    assert parse_mapping(text, einsum=MATMUL, spec=spec) == parse_mapping(GOOD, einsum=MATMUL, spec=spec_of(tmp_path))
    with pytest.raises(SpecError, match=r"permutation contradicts .*got K N M, expected N"):
        parse_mapping(changed(text, "NKM", "KNM"), einsum=MATMUL, spec=spec)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("target: pe", "target: p", r"spec.yaml:\d+ constraints.targets\[2\] spatial at p: spatial loops where"),
        ("target: RF", "target: RFs", "dataspace at RFs: not a storage level .*mean RF"),
        ("version: 0.4", "version: 0.3", "constraints.version: unknown version .got 0.3"),
        ("  targets:", "  target:", "constraints: no targets"),
        ("factors: [N=2]", "factors: [N=4]", "two constraints on one factor .got N=4, expected N=2"),
        ("[N, K, M]", "[K, N, M]", "two constraints on one permutation"),
        ("split: 2", "split: 1", "two constraints on one split .got 1, expected 2"),
        ("bypass: [B]", "keep: [B]", "kept and bypassed by two constraints .got B"),
    ],
)
def test_lists_of_constraints_that_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(tmp_path, CONSTRAINED + changed(LIST, old, new))


CONTRADICTIONS = {
    "factor": ("factors: N=2 K=2", "factors: N=4 K=2", r"temporal at RF: factor contradicts .*\(got N=4, expected N=2"),
    "permutation": ("permutation: NKM", "permutation: KNM", r"permutation contradicts .*\(got K N M, expected N K M"),
    "split": ("split: 2", "split: 1", r"spatial at pe: split contradicts .*\(got 1, expected 2"),
    "keep": ("keep: [A], bypass: [B]", "keep: [B]", r"dataspace at RF: kept and bypassed at RF \(got B"),
}


@pytest.mark.parametrize(("old", "new", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions_of_constraints(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        parse_mapping(changed(GOOD, old, new), einsum=MATMUL, spec=spec_of(tmp_path, CONSTRAINED))


def test_constraints_that_do_not_fit_the_problem(tmp_path: Path) -> None:
    text = changed(CONSTRAINED, "bypass: [B]", "bypass: [Weights]")
    text = changed(text, "factors: [N=2]", "factors: [Q=2]")
    with pytest.raises(SpecError, match=r"unknown dimension .got Q") as refusal:
        parse_mapping(GOOD, einsum=MATMUL, spec=spec_of(tmp_path, text))
    assert any("unknown data space (got Weights" in problem for problem in refusal.value.problems)


REFUSALS = {
    "no section": ("mapping:", "mappings:", "mappings: unknown key .*mean mapping"),
    "target": ("target: GLB", "target: GLBuf", "temporal at GLBuf: not a storage level .got GLBuf.*mean GLB"),
    "container": ("target: GLB", "target: pe", "temporal at pe: not a storage level"),
    "compute": ("target: GLB", "target: MAC", "temporal at MAC: not a storage level"),
    "no mesh": ("target: pe", "target: RF", "spatial at RF: spatial loops where there is no mesh .*one of pe"),
    "target a list": ("target: GLB", "target: [GLB]", "target: not a word"),
    "no target": ("- target: GLB\n  type", "- type", r":2 mapping\[0\]: no target"),
    "no type": ("- target: GLB\n  type: temporal\n", "- target: GLB\n", r"no type"),
    "type": ("type: temporal", "type: temporl", "unknown type of directive .got temporl.*mean temporal"),
    "v0.3 type": ("type: dataspace", "type: bypass", "unknown type of directive .got bypass.*version 0.4"),
    "key": ("  split: 2", "  splitt: 2", "splitt: unknown key .*mean split"),
    "keep beside factors": ("  split: 2", "  keep: [A]", "keep: unknown key"),
    "types": ("keep: [A]", "types: [A]", "types: unknown key"),
    "twice": ("target: RF\n  type: temporal", "target: GLB\n  type: temporal", "directive given twice .*for GLB"),
    "imperfect": ("M=2, K=3", '"M=3,2", K=3',
                  r":4 .*temporal at GLB.factors\[0\]: imperfect factors are not read in v0.4 .got M=3,2"),
    "imperfect text": ("N=2 K=2", "N=2 K=3,2",
                       "imperfect factors are not read in v0.4 .got K=3,2, expected one number"),
    "limit": ("M=2, K=3", '"M<=1", M=2, K=3', r"temporal at GLB: factor beyond its limit .got M=2, expected M<=1"),
    "least": ("M=2, K=3", '"N>=2", M=2, K=3', r"factor beyond its limit .got N=1, expected N>=2"),
    "limits that exclude each other": ("M=2, K=3", '"M>=4", "M<=2", K=3', "a limit that nothing meets .got M<=2"),
    "imperfect limit": ("M=2, K=3", '"M<=4,2", K=3', "a limit that nothing meets .got M<=4,2"),
    "bare": ("M=2, K=3", "M2, K=3", "not a factor .got M2"),
    "arithmetic": ("M=2, K=3", "M=1+1, K=3", r"not a factor \(got \+1"),
    "float": ("M=2, K=3", "M=2.0, K=3", r"not a factor \(got M=2.0"),
    "negative": ("M=2, K=3", "M=-2, K=3", "not a factor"),
    "huge": ("M=2, K=3", f"M={2**54}, K=3", "factor too large"),
    "table": ("[M=2, K=3]", "{M: 2, K: 3}", "factors: not a list"),
    "two numbers": ("M=2, K=3", "M=2, M=4, K=3", r"two factors for one dimension \(got M=4, expected M=2"),
    "unknown dimension": ("M=2, K=3", "M=2, Q=3",
                          r"temporal at GLB: unknown dimension \(got Q, expected one of M, K, N"),
    "unknown in permutation": ("[K, M]", "[K, Q]", "temporal at GLB: unknown dimension .got Q"),
    "permutation twice": ("NKM", "NKN", "a dimension appears twice .got N"),
    "product": ("K=3", "K=2", r":1 mapping: factors of K do not multiply to its bound \(got 4, expected 6"),
    "split of time": ("[K, M]\n", "[K, M]\n  split: 1\n", "temporal loops have no split"),
    "split": ("split: 2", "split: -1", "split: not an integer in range"),
    "both lists": ("keep: [A], bypass: [B]", "keep: [A, B], bypass: [B]", "kept and bypassed at once .got B"),
    "both rests": ("keep: [A], bypass: [B]", "keep_only: [A], bypass_only: [B]",
                   "every data space that is not listed is kept and bypassed at once"),
    "unknown data space": ("bypass: [B]", "bypass: [Bs]", r"dataspace at RF: unknown data space \(got Bs"),
    "first updates": ("  split: 2", "  split: 2\n  rmw_first_update: [Z]", "rmw_first_update: key is not read"),
    "not a list": ("mapping:\n", "mapping: {}\nmapper:\n", "mapping: not a list"),
    "nested list": ("mapping:\n", "mapping:\n- [a]\n", r"mapping\[0\]: not a table of keys"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        load_mapping(written(tmp_path, changed(GOOD, old, new), "m.yaml"), einsum=MATMUL, spec=spec_of(tmp_path))


def test_keys_of_timeloops_mapper_change_nothing(tmp_path: Path) -> None:
    text = changed(GOOD, "  split: 2\n", "  split: 2\n  no_reuse: [A]\n  maximize_dims: [[M]]\n")
    spec = spec_of(tmp_path)
    assert parse_mapping(text, einsum=MATMUL, spec=spec) == parse_mapping(GOOD, einsum=MATMUL, spec=spec)


TINY = spec_from_architecture(
    Architecture(
        name="tiny",
        levels=(
            StorageLevel(name="DRAM", fanout_x=2),
            StorageLevel(name="virtual", is_virtual=True, fanout_y=2),
            StorageLevel(name="RF", capacity_words=8),
        ),
        compute_name="MAC",
        compute_energy_pj=1.0,
    )
)


def nest(*levels: LevelMapping) -> Mapping:
    return Mapping(levels=levels)


UNWRITABLE = {
    "two loops": nest(
        LevelMapping(level="DRAM", temporal=temporal(M=4, N=4, K=6) + temporal(M=2), keep=frozenset("ABZ")),
        LevelMapping(level="virtual"), LevelMapping(level="RF"),
    ),
    "time without storage": nest(
        LevelMapping(level="DRAM", temporal=temporal(M=8, N=4), keep=frozenset("ABZ")),
        LevelMapping(level="virtual", temporal=temporal(K=6)), LevelMapping(level="RF"),
    ),
    "space without mesh": nest(
        LevelMapping(level="DRAM", temporal=temporal(M=8, N=4), keep=frozenset("ABZ")),
        LevelMapping(level="virtual"), LevelMapping(level="RF", spatial=(Loop(rank_var="K", bound=6, dimension="x"),)),
    ),
    "unknown rank variable": nest(
        LevelMapping(level="DRAM", temporal=temporal(M=8, N=4, K=6, Q=2), keep=frozenset("ABZ")),
        LevelMapping(level="virtual"), LevelMapping(level="RF"),
    ),
    "unknown tensor": nest(
        LevelMapping(level="DRAM", temporal=temporal(M=8, N=4, K=6), keep=frozenset("ABZQ")),
        LevelMapping(level="virtual"), LevelMapping(level="RF"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mapping", UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_no_file_can_say_is_not_written(mapping: Mapping) -> None:
    with pytest.raises(MappingError, match=r"a mapping file cannot say this|cannot be written"):
        dump_mapping(mapping, einsum=MATMUL, spec=TINY)


def test_a_nest_against_the_constraints_is_not_written(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, CONSTRAINED)
    mapping = parse_mapping(GOOD, einsum=MATMUL, spec=spec)
    assert parse_mapping(dump_mapping(mapping, einsum=MATMUL, spec=spec), einsum=MATMUL, spec=spec) == mapping
    against = parse_mapping(
        changed(GOOD, "permutation: NKM", "permutation: KNM"), einsum=MATMUL, spec=spec_of(tmp_path)
    )
    with pytest.raises(
        MappingError, match=r"mapping at RF: a mapping file cannot say this .*the order that the architecture fixes"
    ):
        dump_mapping(against, einsum=MATMUL, spec=spec)
    against = parse_mapping(changed(GOOD, "bypass: [B]", "bypass: []"), einsum=MATMUL, spec=spec_of(tmp_path))
    with pytest.raises(MappingError, match=r"the mapping cannot be written: .*kept and bypassed at RF"):
        dump_mapping(against, einsum=MATMUL, spec=spec)


def test_the_form_of_a_file_drops_idle_loops_and_puts_x_inside() -> None:
    spatial = tuple(Loop(rank_var=name, bound=bound, dimension=axis)
                    for name, bound, axis in (("M", 2, "x"), ("N", 2, "y"), ("K", 1, "y")))  # fmt: skip
    mapping = nest(LevelMapping(level="DRAM", temporal=temporal(M=1, K=6), spatial=spatial))
    assert file_form(mapping) == nest(
        LevelMapping(level="DRAM", temporal=temporal(K=6), spatial=(spatial[1], spatial[0]))
    )
    assert file_form(file_form(mapping)) == file_form(mapping)
