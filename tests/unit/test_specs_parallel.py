"""Storages side by side in v0.4: each data space in exactly one branch."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.errors import SpecError
from heat_sim.specs import Branch, dump_architecture, dump_ert, parse_architecture, parse_mapping

from .spec_texts import ERT, MATMUL, V4, changed, spec_of

PARALLEL = changed(V4, V4[V4.index("  - !Component\n    name: RF"):V4.index("  - !Component\n    name: MAC")], """\
  - !Parallel
    nodes:
    - !Component
      name: RF
      class: regfile
      attributes: {datawidth: 16, depth: 32}
      constraints: {dataspace: {keep: [A]}}
    - !Hierarchical
      nodes:
      - !Component
        name: B_big
        class: regfile
        attributes: {datawidth: 16, depth: 32}
        constraints: {dataspace: {keep: [B]}}
      - !Component {name: B_small, class: regfile, attributes: {datawidth: 16, depth: 4}}
    - !Container
      name: wires
      constraints: {dataspace: {keep: [Z]}}
""")  # fmt: skip
ENERGIES = ERT + "".join(
    f"  - name: {name}\n    actions: [{{name: read, energy: 1}}, {{name: write, energy: 1}}]\n"
    for name in ("B_big", "B_small")
)
WHOLE = "mapping: [{target: DRAM, type: temporal, factors: M=8 N=4 K=6}]"


def test_branches_follow_one_another_and_bypass_what_the_others_keep(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PARALLEL, ENERGIES)
    assert [level.name for level in spec.architecture.levels] == ["DRAM", "GLB", "RF", "B_big", "B_small"]
    assert spec.parallel == (
        (Branch(levels=("RF",)), Branch(levels=("B_big", "B_small")), Branch(levels=(), keep=frozenset("Z"))),
    )
    assert spec.constraints["RF"].bypass == frozenset("BZ")
    assert spec.constraints["B_small"].bypass == frozenset("AZ")
    mapping = parse_mapping(WHOLE, einsum=MATMUL, spec=spec)
    kept = {level.level: "".join(sorted(level.keep)) for level in mapping.levels}
    assert kept == {"DRAM": "ABZ", "GLB": "ABZ", "RF": "A", "B_big": "B", "B_small": "B"}


def test_the_mapping_may_say_which_branch_keeps_what(tmp_path: Path) -> None:
    text = changed(PARALLEL, "      constraints: {dataspace: {keep: [A]}}\n", "")
    spec = spec_of(tmp_path, text, ENERGIES)
    said = "mapping: [{target: RF, type: dataspace, keep: [A]}, {target: DRAM, type: temporal, factors: M=8 N=4 K=6}]"
    kept = ["".join(sorted(level.keep)) for level in parse_mapping(said, einsum=MATMUL, spec=spec).levels]
    assert kept == ["ABZ", "ABZ", "A", "B", "B"]
    with pytest.raises(SpecError, match=r"data space A beside parallel storages .got 0 branches.*with RF, B_big"):
        parse_mapping(WHOLE, einsum=MATMUL, spec=spec)


def test_what_is_written_is_flat_and_means_the_same(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PARALLEL, ENERGIES)
    flat = parse_architecture(dump_architecture(spec, version="0.4") + dump_ert(spec.architecture))
    assert (flat.architecture, flat.constraints, flat.parallel) == (spec.architecture, spec.constraints, ())
    assert parse_mapping(WHOLE, einsum=MATMUL, spec=flat) == parse_mapping(WHOLE, einsum=MATMUL, spec=spec)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keep: [B]", "keep: [A]", r":17 .*nodes\[4\]: two parallel branches keep the same .got A"),
        ("      class: regfile\n", "      class: regfile\n      spatial: {meshX: 2}\n",
         "RF.spatial: a mesh inside a !Parallel"),
        ("class: regfile", "class: mac", "compute units in a !Parallel .got RF"),
        ("    - !Hierarchical", "    - !Parallel", "a !Parallel inside a !Parallel"),
        ("keep: [Z]", 'keep: ["*"]', "a branch without a storage does not know every data space"),
        ("    nodes:\n    - !Component", "    knots:\n    - !Component", "no nodes"),
    ],
)  # fmt: skip
def test_refusals(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(tmp_path, changed(PARALLEL, old, new), ENERGIES)
