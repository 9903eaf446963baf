"""Vector operations: what is read, every refusal, and what they cost by hand."""

from __future__ import annotations

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.errors import HeatError, SpecError
from heat_sim.mapper.cascade import map_cascade
from heat_sim.mapper.cascade.vector_unit import map_vector_op
from heat_sim.mapper.space import Residence
from heat_sim.specs import parse_cascade_text
from heat_sim.vector_op import VectorOp, VectorUnit, parse_statement

EXTENTS = {"m": 3, "n": 8, "f": 4}
UNIT = VectorUnit(energy_pj=0.5, operations_per_cycle=6)


def machine(capacity: int | None = 40) -> Architecture:
    return Architecture(
        name="two", compute_name="MAC", compute_energy_pj=1.0,
        levels=(
            StorageLevel(
                name="DRAM", read_energy_pj=100.0, update_energy_pj=60.0, words_per_access=2,
                shared_bandwidth_words_per_cycle=1.0, leakage_energy_pj_per_cycle=0.25,
            ),
            StorageLevel(
                name="GLB", capacity_words=capacity, read_energy_pj=2.0, write_energy_pj=3.0, update_energy_pj=4.0
            ),
        ),
    )  # fmt: skip


def test_statements_are_read():
    softmax = parse_statement("P[m,n] = softmax(S[m,n]) over n", extents=EXTENTS)
    assert isinstance(softmax, VectorOp)
    assert (softmax.function, softmax.over, softmax.whole, softmax.passes) == ("softmax", ("n",), ("n",), 2)
    assert softmax.operations == 3 * 8 * 5
    assert str(softmax) == "P[m,n] = softmax(S[m,n]) over n"
    gate = parse_statement("G[m,f] = mul(A[m,f], B[m,f])", extents=EXTENTS)
    assert [tensor.name for tensor in gate.inputs] == ["A", "B"]
    assert parse_statement("P[m,n] = online_softmax(S[m,n]) over n", extents=EXTENTS).whole == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P[m,n] = softmaxx(S[m,n]) over n", "unknown function .*got softmaxx"),
        ("P[m,n] = softmax(S[m,n])", "softmax with the wrong 'over'"),
        ("P[m,n] = relu(S[m,n]) over n", "relu with the wrong 'over'"),
        ("P[m,n] = softmax(S[m,n]) over f", "no rank variable f in the output"),
        ("P[m,n] = softmax(S[m,n]) by n", "not a vector operation"),
        ("P[m,n] = softmax(S[m,n]", "not a vector operation"),
        ("P[m] = relu(S[m,n])", "not indexed word by word"),
        ("P[m,n] = relu(S[m+n])", "not indexed word by word"),
    ],
)
def test_refusals_say_what_is_wrong(text, message):
    with pytest.raises(SpecError, match=message):
        parse_statement(text, extents=EXTENTS)


def test_vector_operations_cost_what_the_rule_says():
    """Rule 10.8 by hand: 3 rows of 8; through GLB, from DRAM in both passes, at home, and with no room for a row."""
    op = parse_statement("P[m,n] = softmax(S[m,n]) over n", extents=EXTENTS)
    compute = 120 * 0.5
    through, direct = map_vector_op(op, machine(), UNIT, home=1, residence=None)
    # 24 words in 12 accesses in, 24 out; GLB is filled once, read twice, updated once; 48 words take 48 cycles.
    assert through.cycles == 48
    assert through.energy_pj == compute + 12 * 100 + 12 * 60 + 24 * 3 + 48 * 2 + 24 * 4 + 0.25 * 48
    assert direct.cycles == 72
    assert direct.energy_pj == compute + 24 * 100 + 12 * 60 + 0.25 * 72
    at_home = Residence(level=1, tensors=frozenset("SP"), reserved_words=-24)  # in place
    (fused,) = map_vector_op(op, machine(), UNIT, home=1, residence=at_home)
    assert fused.cycles == 120 // 6
    assert fused.energy_pj == compute + 48 * 2 + 24 * 4 + 0.25 * 20
    assert [way.energy_pj for way in map_vector_op(op, machine(15), UNIT, home=1, residence=None)] == [direct.energy_pj]
    assert map_vector_op(op, machine(23), UNIT, home=1, residence=at_home) == ()


def test_without_a_vector_unit_the_message_says_what_to_add():
    text = """
cascade:
  name: one
  extents: {m: 3, n: 8}
  einsums: ["P[m,n] = softmax(S[m,n]) over n"]
"""
    spec = parse_cascade_text(text)
    with pytest.raises(HeatError, match=r"nothing is known of a vector unit.*Add vector_unit"):
        map_cascade(spec.cascade, machine())
    unit = parse_cascade_text(text + "  vector_unit: {energy_pj: 0.5, operations_per_cycle: 6}\n").vector_unit
    assert unit == UNIT
    assert map_cascade(spec.cascade, machine(), vector_unit=unit).best.cycles == 48


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("vector_unit: {energy_pj: -1, operations_per_cycle: 6}", r"vector_unit\.energy_pj: not a number in range"),
        ("vector_unit: {energy_pj: 1}", "operations_per_cycle"),
        ("weights: [W]", r"weights\[0\]: no such tensor \(got W"),
        ("activations: Q", r"activations: no such tensor \(got Q"),
    ],
)
def test_cascade_files_refuse_what_makes_no_sense(line, message):
    text = f"""
cascade:
  name: one
  extents: {{m: 3, n: 8}}
  einsums: ["P[m,n] = softmax(S[m,n]) over n"]
  {line}
"""
    with pytest.raises(SpecError, match=message):
        parse_cascade_text(text)
