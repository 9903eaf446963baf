"""Cascade files: what is read, and every refusal by its message."""

from __future__ import annotations

import pytest

from heat_sim.errors import SpecError
from heat_sim.specs import load_cascade, parse_cascade_text

CHAIN = """
cascade:
  name: chain
  extents: {m: 4, k: 8, f: 2, n: 8}
  word_bits: {default: 8, H: 8}
  einsums:
  - "H[m,f] = X[m,k] * U[k,f]"
  - "Y[m,n] = H[m,f] * V[f,n]"
"""


def test_a_cascade_is_read_in_order():
    cascade = parse_cascade_text(CHAIN).cascade
    assert [str(einsum) for einsum in cascade.einsums] == ["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"]
    assert cascade.einsums[1].extents == (("m", 4), ("f", 2), ("n", 8))
    assert cascade.ops == 4 * 8 * 2 + 4 * 2 * 8  # m k f, then m f n


def test_the_worked_example_is_read():
    assert load_cascade("mappings/edge_16x16/bert_ffn_low_rank/cascade.yaml").cascade.intermediates == ("H",)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("name: chain", "nme: chain", r"cascade:\d+ cascade\.nme: unknown key .*name"),
        ("m: 4", "m: 0", r"cascade\.extents\.m: not an integer in range \(got 0, expected an integer >= 1\)"),
        ("k: 8, ", "", r"einsums\[0\]: einsum H: no extent for rank variable k"),
        ("X[m,k] * U", "X[m,k] U", r"einsums\[0\]: .*a tensor without|tensors are joined by"),
        ("Y[m,n] = H", "H[m,n] = H", r"einsum H: a tensor appears twice"),
        ("H[m,f] * V", "H[f,m] * V", r"tensor H changes its shape"),
        ("H: 8", "H: 16", r"word_bits\.H: H has other words than the rest \(got 16, expected one width"),
        ("H: 8", "Q: 8", r"word_bits\.Q: unknown key"),
        ("cascade:", "cascades:", r"no cascade"),
    ],
)
def test_refusals_name_the_place(before, after, message):
    with pytest.raises(SpecError, match=message):
        parse_cascade_text(CHAIN.replace(before, after, 1))


def test_all_problems_come_together():
    text = CHAIN.replace("m: 4", "m: x").replace("H: 8", "H: 16")
    with pytest.raises(SpecError) as caught:
        parse_cascade_text(text)
    assert len(caught.value.problems) >= 2
