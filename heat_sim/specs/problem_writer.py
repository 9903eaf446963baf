"""Writing an einsum as a Timeloop problem file."""

from __future__ import annotations

from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.errors import SpecError, describe
from heat_sim.specs.directives import Version
from heat_sim.specs.problem import parse_problem
from heat_sim.specs.yaml_text import list_text, name_text


def dump_problem(einsum: Einsum, *, version: Version) -> str:
    """Return the text of a problem file that `load_problem` reads back to an equal einsum; that is checked.

    Args:
        einsum: The workload.
        version: Of the format; v0.4 has rank variables of one letter only.

    Raises:
        SpecError: The version has no words for this einsum.

    >>> from heat_sim.einsum import parse_einsum
    >>> conv = parse_einsum("O[p] = I[2*p+r] * W[r]", extents={"p": 4, "r": 3}, name="conv")
    >>> print(dump_problem(conv, version="0.4"))
    problem:
      version: 0.4
      shape:
        name: conv
        dimensions: [p, r]
        coefficients:
        - {name: times_2, default: 2}
        data_spaces:
        - {name: I, projection: [[[p, times_2], [r]]]}
        - {name: W, projection: [[[r]]]}
        - {name: O, projection: [[[p]]], read_write: true}
      instance: {p: 4, r: 3}
    <BLANKLINE>
    """
    coefficients = sorted({c for tensor in einsum.tensors for rank in tensor.projection for _, c in rank} - {1})
    lines = [
        "problem:",
        f"  version: {version}",
        "  shape:",
        f"    name: {name_text(einsum.name)}",
        f"    dimensions: {list_text(einsum.rank_vars)}",
        *["    coefficients:"] * bool(coefficients),
        *(f"    - {{name: times_{value}, default: {value}}}" for value in coefficients),
        "    data_spaces:",
        *(f"    - {{name: {name_text(tensor.name)}, projection: {_projection(tensor)}}}" for tensor in einsum.inputs),
        f"    - {{name: {name_text(einsum.output.name)}, projection: {_projection(einsum.output)}, read_write: true}}",
        f"  instance: {{{', '.join(f'{name_text(var)}: {extent}' for var, extent in einsum.extents)}}}",
    ]
    text = "\n".join(lines) + "\n"
    where = f"einsum {einsum.name} as v{version}"
    try:
        read = parse_problem(text)
    except SpecError as error:
        raise SpecError([f"{where} cannot be written: {problem}" for problem in error.problems]) from error
    if read != einsum:
        raise SpecError(
            describe(where, "a problem file cannot say this", got=einsum, expected=read,
                     remedy="Rename the einsum, its tensors or its rank variables.")
        )  # fmt: skip
    return text


def _projection(tensor: TensorAccess) -> str:
    ranks = (
        ", ".join(f"[{name_text(var)}]" if c == 1 else f"[{name_text(var)}, times_{c}]" for var, c in rank)
        for rank in tensor.projection
    )
    return f"[{', '.join(f'[{rank}]' for rank in ranks)}]"
