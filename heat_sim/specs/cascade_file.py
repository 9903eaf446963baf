"""Cascade files: einsums that run one after another, as text, with the extents of their rank variables."""

from __future__ import annotations

from pathlib import Path

from heat_sim.einsum import Cascade, Einsum, parse_einsum
from heat_sim.errors import SpecError
from heat_sim.specs.cursor import Cursor
from heat_sim.specs.yaml_nodes import parse_yaml, read_yaml


def load_cascade(path: str | Path) -> Cascade:
    """Return the cascade of a file: a key ``cascade`` with ``name``, ``extents`` and ``einsums``.

    ``word_bits`` may be there: a table of bits by tensor, and ``default``. As in the model, traffic is counted in
    words of a level, so all tensors must have the same.

    Args:
        path: The file.

    Raises:
        SpecError: Every problem of the file, one sentence each.
    """
    node, problems = read_yaml(path)
    return _read(Cursor(node=node, name="", source=str(path), problems=problems))


def parse_cascade_text(text: str) -> Cascade:
    """Return the cascade of the text of a file; see `load_cascade`.

    >>> chain = parse_cascade_text('''
    ... cascade:
    ...   name: low-rank
    ...   extents: {m: 4, k: 8, f: 2, n: 8}
    ...   einsums: ["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"]
    ... ''')
    >>> chain.name, chain.intermediates
    ('low-rank', ('H',))
    """
    node, problems = parse_yaml(text, source="cascade")
    return _read(Cursor(node=node, name="", source="cascade", problems=problems))


def _read(top: Cursor) -> Cascade:
    keys = top.table(("cascade",), required=("cascade",))
    if "cascade" not in keys:
        top.raise_problems()
    entries = keys["cascade"].table(
        ("name", "extents", "word_bits", "einsums"), required=("name", "extents", "einsums")
    )  # fmt: skip
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
            einsums.append(parse_einsum(text, extents=extents))
        except SpecError as error:
            top.problems.extend(f"{item.where}: {problem}" for problem in error.problems)
    if "word_bits" in entries:
        _check_word_bits(entries["word_bits"], einsums)
    top.raise_problems()
    try:
        return Cascade(name=name or "", einsums=tuple(einsums))
    except SpecError as error:
        raise SpecError([f"{keys['cascade'].where}: {problem}" for problem in error.problems]) from error


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
