"""The arithmetic of v0.4 attributes: what it computes, and that nothing else gets through."""

from __future__ import annotations

import time

import pytest

from heat_sim.errors import SpecError
from heat_sim.specs.expressions import evaluate_expression

SCOPE = {"rows": 16, "bits": 8, "GLB.attributes.width": 64, "pe.spatial.meshX": 4, "word": "45nm", "flag": True}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2**14", 16384),
        ("64*8", 512),
        ("1024 // 3", 341),
        ("(1 << 9)", 512),
        ("512 >> 1", 256),
        ("rows * bits + 3", 131),
        ("-rows + +2", -14),
        ("17 % 5", 2),
        ("1024 / 2", 512.0),
        ("ceil(1000 / rows)", 63),
        ("floor(7.9)", 7),
        ("max(16, 2 * bits)", 16),
        ("min(rows, bits, 3)", 3),
        ("int(log2(rows))", 4),
        ("round(2.6)", 3),
        ("abs(-4)", 4),
        ("sqrt(rows)", 4.0),
        ("GLB.attributes.width // 2", 32),
        ("pe.spatial.meshX", 4),
        ("0x200", 512),
        ("2**-1", 0.5),
        ("rows if bits > 4 else 1", 16),
        ("rows if bits == 4 else 1 if flag else 2", 1),
        ("sum([rows, bits, 1]) + len((4, 5)) + max([1, 2])", 25 + 2 + 2),
        ("word", "45nm"),
    ],
)
def test_values(text: str, value: object) -> None:
    found = evaluate_expression(text, scope=SCOPE)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("512 KB", "not an arithmetic expression"),
        ("4K", "not an arithmetic expression"),
        ("", "not an arithmetic expression"),
        ("row * 2", "name row is not in scope. Did you mean rows"),
        ("RF.attributes.depth", "name RF.attributes.depth is not in scope"),
        ("math.ceil(2)", "Call is not allowed"),
        ("2^9", r"\^ is exclusive or; a power is written \*\*"),
        ("6 & 3", "operator BitAnd is not allowed"),
        ("1 @ 2", "operator MatMult is not allowed"),
        ("1.5 << 2", "operator LShift is not allowed"),
        ("not rows", "UnaryOp is not allowed"),
        ("rows if 1 < 2 < 3 else bits", "Compare is not allowed"),
        ("rows if word > 2 else bits", "'45nm' is not a number"),
        ("1 if rows in [16] else 2", "Compare is not allowed"),
        ("rows > 2", "Compare is not allowed"),
        ("[1, 2]", "List is not allowed"),
        ("[x for x in (1,)]", "ListComp is not allowed"),
        ("lambda: 1", "Lambda is not allowed"),
        ("(x := 3)", "NamedExpr is not allowed"),
        ("'a' * 9", "'a' is not a number"),
        ("word + 1", "'45nm' is not a number"),
        ("flag + 1", "True is not a number"),
        ("True", "True is not a number"),
        ("f'{rows}'", "JoinedStr is not allowed"),
        ("eval('1')", "function eval is not one of abs, ceil"),
        ("open(rows)", "function open is not one of"),
        ("__import__('os').system('true')", "Call is not allowed"),
        ("rows.__class__", "name rows.__class__ is not in scope"),
        ("(1).real", "Constant is not allowed before a dot"),
        ("max(rows, key=abs)", "Call is not allowed"),
        ("max(*rows)", "Starred is not allowed"),
        ("max()", "it fails with"),
        ("1 / 0", "it fails with: division by zero"),
        ("log2(0)", "it fails with"),
        ("sqrt(-1)", "it fails with"),
        ("(-8) ** 0.5", "root of a negative number"),
        ("10.0 ** 64 * 10.0 ** 64", r"a number beyond 2\*\*53"),
        ("2**54", r"a number beyond 2\*\*53"),
        ("9**9**9", "power too large"),
        ("2**65", "power too large"),
        ("1 << 65", "shift too large"),
        ("1 << -1", "it fails with"),
        ("1e999", r"a number beyond 2\*\*53"),
        ("1 +" * 80 + "1", "longer than 200"),
        ("-" * 30 + "1", "nested more than 20 deep"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(SpecError, match=message):
        evaluate_expression(text, scope=SCOPE)
    assert time.perf_counter() - start < 1
