"""The parser of statements, and what einsums and cascades refuse."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from heat_sim.einsum import Cascade, Einsum, TensorAccess, parse_cascade, parse_einsum
from heat_sim.errors import SpecError

EXTENTS = {"m": 2, "n": 3, "k": 5, "p": 4, "r": 3}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Z[m,n]=A[m,k]*B[k,n]", "Z[m,n] = A[m,k] * B[k,n]"),
        (" Z [ m , n ] = A[m, k] * B [k,n] ", "Z[m,n] = A[m,k] * B[k,n]"),
        ("s[] = A[k] * B[k]", "s[] = A[k] * B[k]"),
        ("Z[m] = A[m]", "Z[m] = A[m]"),
        ("O[p] = I[2*p+r] * W[r]", "O[p] = I[2*p+r] * W[r]"),
        ("O[p] = I[r + 3 * p] * W[r]", "O[p] = I[r+3*p] * W[r]"),
        ("Z[m,n] = A[m,k] * B[k,n] * C[k] * D[n]", "Z[m,n] = A[m,k] * B[k,n] * C[k] * D[n]"),
    ],
)
def test_statements_are_read_and_written_back(text: str, written: str) -> None:
    einsum = parse_einsum(text, extents=EXTENTS)
    assert str(einsum) == written
    assert parse_einsum(written, extents=EXTENTS) == einsum


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Z[m,n]", r"no '=' \(got Z\[m,n\], expected a statement like Z\[m,n\] = A\[m,k\] \* B\[k,n\]\)"),
        ("", r"no '=' \(got nothing"),
        ("Z[m] = ", r"one side is empty"),
        ("= A[m]", r"one side is empty"),
        ("Z[m] * Y[m] = A[m]", r"the left side is not one tensor \(got Z\[m\] \* Y\[m\]"),
        ("Z[m] = A", r"a tensor without \[ \] \(got A"),
        ("Z[m] = A[m", r"a tensor without \[ \] \(got A"),
        ("Z[m] = 2A[m]", r"not a tensor name \(got '2A'"),
        ("Z[m] = A[m] B[m]", r"tensors are joined by '\*' \(got 'B\[m\]'"),
        ("Z[m] = A[m] *", r"tensors are joined by '\*' \(got '\*'"),
        ("Z[m] = A[m,]", r"not a rank variable \(got ''"),
        ("Z[m] = A[1m]", r"not a rank variable \(got '1m'"),
        ("Z[m] = A[-2*m]", r"not a rank variable \(got '-2\*m'"),
        ("Z[m] = A[0*m]", r"not a rank variable \(got '0\*m'"),
        ("Z[m] = A[m+m]", r"rank variable m twice in one rank \(got 'm\+m'"),
        ("Z[q] = A[q]", r"no extent for rank variable q \(got extents of none, expected one for each of q\)"),
        ("Z[m] = A[m] * A[m]", r"a tensor appears twice \(got A, A, Z, expected distinct names\)"),
        ("A[m] = A[m,k]", r"a tensor appears twice \(got A, A"),
    ],
)
def test_statements_that_cannot_be_read_are_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_einsum(text, extents=EXTENTS)


def test_bad_extents_are_refused_together() -> None:
    with pytest.raises(SpecError, match="bad extent") as refusal:
        parse_einsum("Z[m,n] = A[m] * B[n]", extents={"m": 0, "n": -1})
    assert [line.split(":")[0] for line in refusal.value.problems] == [
        "einsum Z, rank variable m",
        "einsum Z, rank variable n",
    ]
    access = TensorAccess(name="A", projection=((("m", 1),),))
    output = TensorAccess(name="Z", projection=((("m", 1),),))
    with pytest.raises(SpecError, match="a rank variable is given two extents"):
        Einsum(name="e", inputs=(access,), output=output, extents=(("m", 2), ("m", 2)))
    with pytest.raises(SpecError, match="no input tensor"):
        Einsum(name="e", inputs=(), output=output, extents=(("m", 2),))


def test_what_a_statement_knows_of_its_tensors() -> None:
    einsum = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents=EXTENTS)
    m, n, k = 2, 3, 5
    assert einsum.ops == m * n * k
    assert [einsum.words(name) for name in "ABZ"] == [m * k, k * n, m * n]
    assert einsum.contracted == ("k",)
    assert einsum.relevant("B") == ("k", "n")
    with pytest.raises(KeyError, match="Q"):
        einsum.tensor("Q")
    with pytest.raises(FrozenInstanceError):
        einsum.name = "other"  # type: ignore[misc]


def test_a_sum_of_rank_variables_spans_their_window() -> None:
    einsum = parse_einsum("O[p] = I[2*p+r] * W[r]", extents=EXTENTS)
    assert einsum.words("I") == 2 * (4 - 1) + (3 - 1) + 1  # last window's last word, counted from 0, and one
    assert not einsum.tensor("I").is_plain
    assert einsum.tensor("W").is_plain
    assert not parse_einsum("Z[m] = A[m,m]", extents=EXTENTS).tensor("A").is_plain  # a diagonal


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ((), "cascade c: it has no einsum"),
        (("Z[m] = A[m,k]", "Z[n] = B[n]"), r"tensor Z is written twice"),
        (("Y[n] = H[n] * A[n]", "H[n] = B[n]"), r"einsum Y: reads H before it is written"),
        (("H[m] = A[m]", "Y[n] = H[n]"), r"tensor H changes its shape \(got \(3,\), expected \(2,\)\)"),
    ],
)
def test_cascades_that_cannot_run_are_refused(statements: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Cascade(name="c", einsums=tuple(parse_einsum(text, extents=EXTENTS) for text in statements))


def test_a_cascade_knows_its_intermediates_and_ops() -> None:
    cascade = parse_cascade(["H[m,r] = X[m,k] * U[k,r]", "Y[m,n] = H[m,r] * V[r,n]"], extents=EXTENTS, name="c")
    assert cascade.intermediates == ("H",)
    assert cascade.ops == 2 * 5 * 3 + 2 * 3 * 3  # m k r, then m r n
    assert str(cascade).count("\n") == 1
