"""Constraint and mapper files of Timeloop v0.4 and v0.3, on top of an architecture's own constraints."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.einsum import parse_einsum
from heat_sim.errors import SpecError
from heat_sim.mapper.objective import parse_objective
from heat_sim.mapper.space import map_space
from heat_sim.mapping import LevelConstraints, LevelMapping, Loop, Mapping
from heat_sim.specs import ArchitectureSpec, load_architecture
from heat_sim.specs.constraint_file import ConstraintSet, load_constraints, parse_constraints

from .spec_texts import ERT, MATMUL, V3, V4, changed, spec_of, written

# Our own text in the manner of an Eyeriss constraint file, for the presets' Eyeriss-like array: a filter column (R)
# along the rows of PEs, output rows (Q) along the columns, one scratchpad per tensor.
EYERISS = """\
architecture_constraints:
  version: 0.4
  targets:
  - {target: columns, type: spatial, no_reuse: [], factors: [N=1, C=1, P=1, R=1, S=1],
     permutation: [N, C, P, R, S, Q, M], split: 7}
  - {target: rows, type: spatial, factors: N=1 P=1 Q=1 R=1, permutation: [N, P, Q, R, S, C, M], split: 0}
  - {target: PsumSpad, type: temporal, factors: [N=1, C=1, R=1, S=1, P=1, Q=1], permutation: [N, C, P, Q, R, S, M]}
  - {target: WeightSpad, type: temporal, factors: "N=1, M=1, P=1, Q=1, S=1", permutation: N M P Q S C R}
  - {target: InputSpad, type: temporal, factors_only: []}
mapspace_constraints:
  targets:
  - {target: GlobalBuffer, type: temporal, factors: [R=1, S=1, C>=2, M<=16], permutation: [Q, P]}
  - {target: DRAM, type: dataspace, keep: [Inputs, Weights, Outputs]}
  - {target: PsumSpad, type: utilization, min: 0.25}
mapspace: {version: 0.4, template: uber}
mapper:
  version: 0.4
  optimization_metric: [edp]
  live_status: False
  num_threads: 8
  timeout: 15000
  victory_condition: 3000
  algorithm: random_pruned
  max_permutations_per_if_visit: 16
"""


@pytest.fixture
def spec(tmp_path: Path) -> ArchitectureSpec:
    """V4: DRAM, GLB over a mesh of 4 x 2 named pe, RF, MAC."""
    return spec_of(tmp_path)


def targets(*items: str) -> str:
    return "constraints:\n  version: 0.4\n  targets:\n" + "".join(f"  - {{{item}}}\n" for item in items)


def refusal(text: str, spec: ArchitectureSpec) -> tuple[str, ...]:
    with pytest.raises(SpecError, match=r"^constraints:\d+ ") as refused:
        parse_constraints(text, spec=spec)
    return refused.value.problems


def test_an_eyeriss_file_says_what_each_level_may_do(tmp_path: Path) -> None:
    eyeriss = load_architecture("arch_specs/eyeriss_like/arch.yaml", ert="arch_specs/eyeriss_like/ert.yaml")
    found = load_constraints(written(tmp_path, EYERISS), spec=eyeriss)
    ones = dict.fromkeys
    assert found.constraints == {
        "DRAM": LevelConstraints(keep=frozenset(("Inputs", "Weights", "Outputs"))),
        # The mesh of the columns hangs below the global buffer; what it keeps is said in the architecture.
        "GlobalBuffer": LevelConstraints(
            keep=frozenset(("Inputs", "Outputs")),
            bypass=frozenset(("Weights",)),
            temporal_bounds={"R": 1, "S": 1},
            temporal_limits={"C": (2, None), "M": (1, 16)},
            temporal_order=("P", "Q"),
            spatial_bounds=ones("NCPRS", 1),
            spatial_order=tuple("MQSRPCN"),
            split=7,
        ),
        "inter_rows_spatial": LevelConstraints(spatial_bounds=ones("NPQR", 1), spatial_order=tuple("MCSRQPN"), split=0),
        "InputSpad": LevelConstraints(
            keep=frozenset(("Inputs",)), bypass=frozenset(("Weights", "Outputs")), temporal_only=True
        ),
        "WeightSpad": LevelConstraints(
            keep=frozenset(("Weights",)),
            bypass=frozenset(("Inputs", "Outputs")),
            temporal_bounds=ones("NMPQS", 1),
            temporal_order=tuple("RCSQPMN"),
        ),
        "PsumSpad": LevelConstraints(
            keep=frozenset(("Outputs",)),
            bypass=frozenset(("Inputs", "Weights")),
            temporal_bounds=ones("NCRSPQ", 1),
            temporal_order=tuple("MSRQPCN"),
        ),
    }
    assert (found.min_parallelism, found.objective) == (0.25, "edp")
    assert found.ignored == (
        "no_reuse", "live_status", "num_threads", "timeout", "victory_condition", "algorithm",
        "max_permutations_per_if_visit",
    )  # fmt: skip


def test_a_permutation_fixes_the_innermost_loops_and_leaves_the_rest_free(spec: ArchitectureSpec) -> None:
    # N innermost, then K; M further out, although the mapping may also have it nowhere.
    found = parse_constraints(targets("target: GLB, type: temporal, permutation: [N, K]"), spec=spec)
    space = map_space(MATMUL, spec.architecture, constraints=found.constraints)
    assert space.inner_order(1) == ("N", "K")

    def nest(*outer_first: str) -> Mapping:
        bounds = dict(MATMUL.extents)
        levels = [
            LevelMapping(level="DRAM", keep=frozenset("ABZ"),
                         temporal=tuple(Loop(rank_var=v, bound=bounds[v]) for v in "MNK" if v not in outer_first)),
            LevelMapping(level="GLB", temporal=tuple(Loop(rank_var=v, bound=bounds[v]) for v in outer_first)),
            LevelMapping(level="RF"),
        ]  # fmt: skip
        return Mapping(levels=tuple(levels))

    held = [order for order in ("MKN", "KMN", "MNK", "KN", "NK", "MN", "NM", "M", "K") if space.holds(nest(*order))]
    assert held == ["MKN", "KN", "MN", "M", "K"]


def test_constraints_of_the_file_join_those_of_the_architecture(tmp_path: Path) -> None:
    text = changed(V4, "{datawidth: 16, depth: 32}\n", "{datawidth: 16, depth: 32}\n    constraints: {temporal: "
                   "{factors: [K=2]}, dataspace: {keep: [Z]}}\n")  # fmt: skip
    spec = spec_of(tmp_path, text)
    said = targets("target: RF, type: temporal, factors: K=2 M<=4", "target: RF, type: dataspace, bypass: [A]")
    found = parse_constraints(said, spec=spec)
    assert found == ConstraintSet(
        constraints={
            "RF": LevelConstraints(
                keep=frozenset("Z"), bypass=frozenset("A"), temporal_bounds={"K": 2}, temporal_limits={"M": (1, 4)}
            )
        }
    )
    assert spec.constraints["RF"].bypass == frozenset(), "the architecture's own are left as they are"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("target: RF, type: temporal, factors: [K=3]", r":4 .*two constraints on one factor .got K=3, expected K=2"),
        ("target: RF, type: temporal, factors: [K>=4]", r":4 .*a factor outside a limit .got K=2, expected K>=4"),
        ("target: RF, type: temporal, factors: [M>=5]", r":4 .*two limits that nothing meets .got M>=5 and M<=4"),
        ("target: RF, type: temporal, factors: [M=8]", r":4 .*a factor outside a limit .got M=8, expected M<=4"),
        ("target: RF, type: temporal, permutation: KM", r":4 .*two constraints on one permutation"),
        ("target: pe, type: spatial, split: 2", r":4 .*two constraints on one split .got 2, expected 1"),
        ("target: pe, type: spatial, factors_only: [M=2]", r":4 .*a factor outside a limit .got N=1, expected N>=2"),
        ("target: RF, type: dataspace, bypass: [Z]", r":4 .*kept and bypassed by two constraints .got Z"),
        ("target: GLB, type: dataspace, keep: [B]", r":4 .*another constraint says bypass to what it does not list"
         r" .got B"),
        ("target: RF, type: dataspace, keep_only: [A]", r":4 .*says bypass to what it does not list, against another"
         r" constraint .got no Z"),
    ],
)  # fmt: skip
def test_what_contradicts_the_architecture_is_refused_with_its_place(said: str, message: str, tmp_path: Path) -> None:
    own = targets("target: RF, type: temporal, factors: K=2 M<=4, permutation: MK", "target: pe, type: spatial, "
                  "factors: [N>=2], split: 1", "target: RF, type: dataspace, keep: [Z]",
                  "target: GLB, type: dataspace, keep_only: [A]")  # fmt: skip
    spec = spec_of(tmp_path, V4 + own)
    assert parse_constraints(own, spec=spec).constraints == spec.constraints, "said twice is no contradiction"
    problems = refusal(targets(said), spec)
    assert len(problems) == 1
    with pytest.raises(SpecError, match=message):
        parse_constraints(targets(said), spec=spec)


@pytest.mark.parametrize(
    "text",
    [
        targets("target: RF, type: temporal, factors: [K=2]"),
        "constraints: [{target: RF, type: temporal, factors: [K=2]}]",
        "architecture_constraints: {targets: [{target: RF, type: temporal, factors: [K=2]}]}",
        "mapspace_constraints: [{target: RF, type: temporal, factors: K=2}]",
        "mapspace: {template: uber, targets: [{target: RF, type: temporal, factors: K=2}]}",
        "mapspace: {version: 0.4, template: uber, constraints: [{target: RF, type: temporal, factors: K=2}]}",
        "mapspace: {constraints: {targets: [{target: RF, type: temporal, factors: K=2}]}}",
        "architecture_constraints: []\nmapspace_constraints: [{target: RF, type: temporal, factors: K=2}]",
    ],
)
def test_every_section_that_may_hold_constraints(text: str, spec: ArchitectureSpec) -> None:
    assert parse_constraints(text, spec=spec) == ConstraintSet(
        constraints={"RF": LevelConstraints(temporal_bounds={"K": 2})}
    )


def test_v3_names_the_parent_of_the_mesh_and_writes_hyphens(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, V3)
    text = """\
architecture_constraints:
  targets:
  - {target: GLB, type: spatial, factors: M4 K=1, permutation: MK, split: 1}
  - {target: RF, type: bypass, keep: [Z], bypass: [A]}
mapper:
  optimization-metrics: [delay]
  num-threads: 1
  victory-condition: 0
"""
    found = parse_constraints(text, spec=spec)
    assert found.constraints == {
        "GLB": LevelConstraints(spatial_bounds={"M": 4, "K": 1}, spatial_order=("K", "M"), split=1),
        "RF": LevelConstraints(keep=frozenset("Z"), bypass=frozenset("A")),
    }
    assert (found.objective, found.ignored) == ("cycles", ("num-threads", "victory-condition"))
    assert map_space(MATMUL, spec.architecture, constraints=found.constraints).axes(1, "K") == ("y",)


@pytest.mark.parametrize("said", ["type: utilization, min: 0.5", "type: parallelism, target: RF, min: 0.5",
                                  "type: utilization, target: MAC, min: 5e-1"])  # fmt: skip
def test_parallelism_is_demanded_with_or_without_a_target(said: str, spec: ArchitectureSpec) -> None:
    found = parse_constraints(targets(said), spec=spec)
    assert found == ConstraintSet(constraints={}, min_parallelism=0.5)


@pytest.mark.parametrize(
    ("written_as", "objective"),
    [("optimization_metrics: [edp]", "edp"), ("optimization-metrics: [energy]", "energy"),
     ("optimization_metric: delay", "cycles"), ("optimization-metric: [delay]", "cycles")],
)  # fmt: skip
def test_metrics_are_objectives_of_the_search(written_as: str, objective: str, spec: ArchitectureSpec) -> None:
    found = parse_constraints(f"mapper: {{{written_as}}}", spec=spec)
    assert found == ConstraintSet(constraints={}, objective=objective)
    assert parse_objective(objective).name == objective


def test_several_files_are_one_set(tmp_path: Path, spec: ArchitectureSpec) -> None:
    files = [
        written(
            tmp_path, targets("target: RF, type: temporal, factors: [K=2]", "type: utilization, min: 0.5"), "a.yaml"
        ),
        written(tmp_path, "mapspace_constraints: [{target: RF, type: temporal, factors: [M=4]}]", "b.yaml"),
        written(tmp_path, "mapper: {optimization_metrics: [energy]}", "c.yaml"),
    ]
    found = load_constraints(files, spec=spec)
    assert found == ConstraintSet(
        constraints={"RF": LevelConstraints(temporal_bounds={"K": 2, "M": 4})}, min_parallelism=0.5, objective="energy"
    )
    again = written(tmp_path, "constraints: [{target: RF, type: temporal, factors: [M=2]}]", "d.yaml")
    with pytest.raises(SpecError, match=r"d.yaml:1 .*two constraints on one factor .got M=2, expected M=4"):
        load_constraints([*files, again], spec=spec)


def test_the_rest_of_a_spec_is_left_alone(tmp_path: Path, spec: ArchitectureSpec) -> None:
    text = V4 + ERT + targets("target: RF, type: temporal, factors: [K=2]")
    assert load_constraints(written(tmp_path, text), spec=spec).constraints["RF"].temporal_bounds == {"K": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (targets("target: RG, type: temporal, factors: [K=2]"),
         r":4 constraints.targets\[0\] temporal at RG: not a storage level .got RG, expected one of DRAM, GLB, RF"),
        (targets("target: GLB, type: spatial, factors: [K=2]"),
         r":4 .*spatial loops where there is no mesh .got GLB, expected one of pe"),
        (targets("target: GLB, type: spatial, factors: [K>=2]"), "spatial loops where there is no mesh"),
        (targets("target: RF, type: tmporal"), r":4 .*unknown type of directive .got tmporal, expected one of "
         r"temporal, spatial, dataspace, utilization, parallelism.*Did you mean temporal"),
        (targets("target: RF, type: bypass, keep: [A]"), "unknown type of directive .got bypass"),
        (targets("target: RF, type: max_overbooked_proportion, proportion: 0.1"), "unknown type of directive"),
        (targets("target: RF, type: temporal, factor: [K=2]"), r":4 .*unknown key .got factor, .*Did you mean factors"),
        (targets("target: pe, type: spatial, max: 4"), r"unknown key .got max"),
        (targets("target: RF, type: temporal, split: 1"), "temporal loops have no split"),
        (targets("target: RF, type: temporal, factors: [K=2+1]"), r"not a factor .got \+1"),
        (targets("target: RF, type: temporal, factors: 'K=3,2'"), "imperfect factors are not read in v0.4"),
        (targets("target: pe, type: spatial, maximize_dims: [[M]]"), "a macro of Timeloop's front end is not read"),
        (targets("target: RF, type: temporal, rmw_first_update: [Z]"), "key is not read"),
        (targets("type: utilization"), r":4 constraints.targets\[0\] utilization: no min"),
        (targets("type: utilization, min: 1.5"), r"not a share of the units .got 1.5, expected a number from 0 to 1"),
        (targets("type: utilization, min: most"), "not a number in range .got most"),
        (targets("type: utilization, min: 0.5, max: 1"), "unknown key .got max, expected one of type, target, min"),
        (targets("type: utilization, target: GLB, min: 0.5"),
         r":4 .*parallelism is demanded of the whole array .got GLB, expected no target, or one of RF, MAC"),
        (targets("type: utilization, min: 0.5", "type: parallelism, min: 0.6"),
         r":5 .*two demands of parallelism .got 0.6, expected 0.5 as before"),
        ("constraints: {version: 0.3, targets: []}", r":1 .*unknown version .got 0.3, expected 0.4"),
        ("constraints: {version: 0.4}", "no targets"),
        ("mapspace: {template: ruby}", r"mapspace.template: no such mapspace .got ruby, expected uber"),
        ("mapspace: {version: 0.3}", r"mapspace.version: unknown version .got 0.3, expected 0.4"),
        ("mapspace: {tempalte: uber}", "unknown key .got tempalte.*Did you mean template"),
        ("mapper: {optimization_metrics: [delay, energy]}", r"not one metric .*got delay, energy, .*break ties"),
        ("mapper: {optimization_metrics: [last_level_accesses]}", r"got last_level_accesses, expected one of \[edp\]"),
        ("mapper: {optimization_metrics: []}", "not one metric that is minimised here"),
        ("mapper: {optimization_metrics: [edp], optimization_metric: [energy]}", "two objectives .got energy"),
        ("mapper: {num_threads: 1, num-threads: 2}", "key given twice .got num-threads, expected num_threads alone"),
        ("mapper: {num_thread: 1}", r":1 mapper.num_thread: unknown key .*Did you mean num_threads"),
        ("mapper: {version: 0.3}", "mapper.version: unknown version"),
        ("mapper: fast", "not a table of keys"),
        ("maper: {}", "unknown key .got maper.*Did you mean mapper"),
        ("problem: {}", r"nothing that constrains a mapping .got keys problem, expected constraints, mapspace or"),
    ],
)  # fmt: skip
def test_refusals(text: str, message: str, spec: ArchitectureSpec) -> None:
    with pytest.raises(SpecError, match=message):
        parse_constraints(text, spec=spec)


def test_all_problems_of_all_files_come_together(tmp_path: Path, spec: ArchitectureSpec) -> None:
    first = targets("target: RG, type: temporal", "target: RF, type: spatil", "target: RF, type: temporal, factr: K=1")
    files = [written(tmp_path, first, "a.yaml"), written(tmp_path, "mapper:\n  algoritm: random\n", "b.yaml"),
             tmp_path / "missing.yaml"]  # fmt: skip
    with pytest.raises(SpecError, match=r"missing.yaml: cannot be read") as refused:
        load_constraints(files, spec=spec)
    places = [problem.split()[0].rsplit("/", 1)[-1] for problem in refused.value.problems]
    assert sorted(places) == ["a.yaml:4", "a.yaml:5", "a.yaml:6", "b.yaml:2", "missing.yaml:"]
    with pytest.raises(SpecError, match=r"no file .got an empty list"):
        load_constraints([], spec=spec)


def test_names_of_the_problem_are_judged_when_it_is_known(spec: ArchitectureSpec) -> None:
    found = parse_constraints(targets("target: RF, type: temporal, factors: [Q=2]"), spec=spec)
    with pytest.raises(SpecError, match=r"constraints at RF: unknown rank variable .got Q, expected one of M, K, N"):
        map_space(MATMUL, spec.architecture, constraints=found.constraints)
    assert map_space(parse_einsum("Z[Q] = A[Q]", extents={"Q": 2}), spec.architecture,
                     constraints=found.constraints).temporal_limit(2, "Q") == (2, 2)  # fmt: skip


def test_parallel_branches_stay_apart(tmp_path: Path) -> None:
    branch = "    - !Component {{name: {0}, class: regfile, attributes: {{datawidth: 16, depth: 32}}}}\n"
    text = changed(V4, V4[V4.index("  - !Component\n    name: RF"):V4.index("  - !Component\n    name: MAC")],
                   "  - !Parallel\n    nodes:\n" + branch.format("RF") + branch.format("RF2"))  # fmt: skip
    energies = ERT + "  - name: RF2\n    actions: [{name: read, energy: 1}, {name: write, energy: 1}]\n"
    spec = spec_of(tmp_path, text, energies)
    found = parse_constraints(targets("target: RF, type: dataspace, keep: [A, Z]", "target: RF2, type: dataspace, "
                                      "keep: [B]"), spec=spec)  # fmt: skip
    assert (found.constraints["RF"].bypass, found.constraints["RF2"].bypass) == (frozenset("B"), frozenset("AZ"))
    with pytest.raises(SpecError, match=r"two parallel branches keep the same .got A"):
        parse_constraints(targets("target: RF, type: dataspace, keep: [A]", "target: RF2, type: dataspace, keep: [A]"),
                          spec=spec)  # fmt: skip
