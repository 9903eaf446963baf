"""Cascade files: statements that run one after another, as text, with the extents of their rank variables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from heat_sim.einsum import Cascade, Einsum
from heat_sim.errors import SpecError
from heat_sim.specs.cursor import Cursor
from heat_sim.specs.yaml_nodes import parse_yaml, read_yaml
from heat_sim.vector_op import VectorUnit, parse_statement


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeSpec:
    """What a cascade file says.

    Attributes:
        cascade: The einsums and vector operations.
        activations: Where the file has one einsum of several operands that is still to be contracted two by two: the
            operand that is known at run time only. Else None.
        weights: Tensors that the constraints of an architecture call Weights; None is every second operand.
        vector_unit: For vector operations; None if the file has none.
    """

    cascade: Cascade
    activations: str | None = None
    weights: frozenset[str] | None = None
    vector_unit: VectorUnit | None = None


def load_cascade(path: str | Path) -> CascadeSpec:
    """Return the cascade of a file: a key ``cascade`` with ``name``, ``extents`` and ``einsums``.

    Einsums are statements like ``Z[m,n] = A[m,k] * B[k,n]``, vector operations like
    ``P[m,n] = softmax(S[m,n]) over n``. These may be there too: ``vector_unit`` with ``energy_pj`` of an operation and
    ``operations_per_cycle``; ``weights``, a list of tensors; ``activations``, a tensor; ``word_bits``, a table of bits
    by tensor, and ``default``: as traffic is counted in words of a level, all tensors must have the same.

    Args:
        path: The file.

    Raises:
        SpecError: Every problem of the file, one sentence each.
    """
    node, problems = read_yaml(path)
    return _read(Cursor(node=node, name="", source=str(path), problems=problems))


def parse_cascade_text(text: str) -> CascadeSpec:
    """Return the cascade of the text of a file; see `load_cascade`.

    >>> chain = parse_cascade_text('''
    ... cascade:
    ...   name: low-rank
    ...   extents: {m: 4, k: 8, f: 2, n: 8}
    ...   einsums: ["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"]
    ... ''').cascade
    >>> chain.name, chain.intermediates
    ('low-rank', ('H',))
    """
    node, problems = parse_yaml(text, source="cascade")
    return _read(Cursor(node=node, name="", source="cascade", problems=problems))


def _read(top: Cursor) -> CascadeSpec:
    keys = top.table(("cascade",), required=("cascade",))
    if "cascade" not in keys:
        top.raise_problems()
    entries = keys["cascade"].table(
        ("name", "extents", "word_bits", "einsums", "vector_unit", "weights", "activations"),
        required=("name", "extents", "einsums"),
    )
    name = entries["name"].word() if "name" in entries else None
    extents = {
        var: extent
        for var, at in (entries["extents"].table() if "extents" in entries else {}).items()
        if (extent := at.integer(minimum=1)) is not None
    }
    einsums: list[Einsum] = []
    for item in entries["einsums"].items() if "einsums" in entries else ():
        if (text := item.word()) is None:
            continue
        try:
            einsums.append(parse_statement(text, extents=extents))
        except SpecError as error:
            top.problems.extend(f"{item.where}: {problem}" for problem in error.problems)
    if "word_bits" in entries:
        _check_word_bits(entries["word_bits"], einsums)
    unit = _read_vector_unit(entries["vector_unit"]) if "vector_unit" in entries else None
    known = {tensor.name for einsum in einsums for tensor in einsum.tensors}
    weights = None
    if "weights" in entries:
        weights = frozenset(_tensor(item, known) for item in entries["weights"].items())
    activations = _tensor(entries["activations"], known) if "activations" in entries else None
    if activations is not None and len(einsums) > 1:
        entries["activations"].refuse(
            "several einsums are contracted as they stand", got=activations, expected="this key beside one einsum only",
            remedy="Leave it out, or write one einsum of all operands.",
        )  # fmt: skip
    top.raise_problems()
    try:
        cascade = Cascade(name=name or "", einsums=tuple(einsums))
    except SpecError as error:
        raise SpecError([f"{keys['cascade'].where}: {problem}" for problem in error.problems]) from error
    return CascadeSpec(cascade=cascade, activations=activations, weights=weights, vector_unit=unit)


def _read_vector_unit(at: Cursor) -> VectorUnit | None:
    entries = at.table(("energy_pj", "operations_per_cycle"), required=("energy_pj", "operations_per_cycle"))
    energy = entries["energy_pj"].number(minimum=0) if "energy_pj" in entries else None
    rate = entries["operations_per_cycle"].number(minimum=1e-9) if "operations_per_cycle" in entries else None
    return None if energy is None or rate is None else VectorUnit(energy_pj=energy, operations_per_cycle=rate)


def _tensor(at: Cursor, known: set[str]) -> str:
    name = at.word() or ""
    if name and name not in known:
        at.refuse("no such tensor", got=name, expected=f"one of {', '.join(sorted(known))}", remedy="Correct the name.")
    return name


def _check_word_bits(at: Cursor, einsums: list[Einsum]) -> None:
    """Refuse tensors of different width, which the model does not tell apart, and names that are not there."""
    tensors = dict.fromkeys(tensor.name for einsum in einsums for tensor in einsum.tensors)
    bits: set[int] = set()
    for tensor, entry in at.table(("default", *tensors)).items():
        if (width := entry.integer(minimum=1)) is not None:
            bits.add(width)
            if len(bits) > 1:
                entry.refuse(f"{tensor} has other words than the rest", expected="one width for all tensors",
                             remedy="Traffic is counted in words of a level; scale the energies instead.")  # fmt: skip
