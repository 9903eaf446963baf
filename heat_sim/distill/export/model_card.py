"""The README.md of an exported folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from heat_sim.tensorize.design import Design


def model_card(
    *, loading: str, entries: Sequence[Mapping[str, Any]], design: Design, edp_gain: float | None = None
) -> str:
    """Return the text: what the model is, how to load it, and a table of its matrices.

    Args:
        loading: How a program loads the model, without the fence around it.
        entries: Of the matrices, see `matrix_entries`.
        design: The design that the student was made by.
        edp_gain: EDP of the dense encoder over that of the design, if it is known.

    >>> from heat_sim.tensorize import Factorization, LayerDesign, Tensorization
    >>> shape = Tensorization(out_modes=(8,), in_modes=(6,))
    >>> layer = LayerDesign(factorization=Factorization(format="low-rank", tensorization=shape, ranks=(2,)),
    ...                     trees=((("X", "G2"), "G1"),))
    >>> design = Design(id="d1", model="tiny", tokens=16, architecture="simba_l", layers=(("query", layer),))
    >>> entry = {"modules": ["bert.query"], "format": "low-rank", "ranks": [2], "out_modes": [8], "in_modes": [6],
    ...          "padding": [0, 0], "out_features": 8, "in_features": 6, "cores": [["G1", [8, 2]], ["G2", [2, 6]]]}
    >>> print(model_card(loading="model = ...", entries=[entry], design=design, edp_gain=3.2).split("## ")[2])
    Matrices
    <BLANKLINE>
    | matrix | format | modes | ranks | parameters | of dense |
    |---|---|---|---|---:|---:|
    | `bert.query` | low-rank | (8)x(6) | 2 | 28 | 58.3 % |
    <BLANKLINE>
    """
    gain = "" if edp_gain is None else f", at {edp_gain:.3g} times less energy-delay product than the dense encoder"
    rows = "\n".join(map(_row, entries))
    return f"""# {design.model}, factorised (design {design.id})

A Transformer whose weight matrices are held as tensor decompositions and multiplied core by core. heat_sim chose
formats, ranks and contraction orders for the accelerator {design.architecture} and inputs of {design.tokens}
tokens{gain}.

## Use

```python
{loading}
```

## Matrices

| matrix | format | modes | ranks | parameters | of dense |
|---|---|---|---|---:|---:|
{rows}
"""


def _row(entry: Mapping[str, Any]) -> str:
    """Return the row of one matrix, or of several that share cores."""
    modules = entry["modules"]
    lent = entry.get("lent", ())
    own = sum(math.prod(shape) for name, shape in entry["cores"] if name not in lent)
    shared = sum(math.prod(shape) for name, shape in entry["cores"] if name in lent)
    copies = 1 if not lent else len(modules)
    parameters = own * copies + shared
    dense = entry["out_features"] * entry["in_features"] * copies
    modes = f"({','.join(map(str, entry['out_modes']))})x({','.join(map(str, entry['in_modes']))})"
    ranks = ", ".join(map(str, entry["ranks"])) or "-"
    names = ", ".join(f"`{module}`" for module in modules)
    share = f"{100 * parameters / dense:.1f} %"
    return f"| {names} | {entry['format']} | {modes} | {ranks} | {parameters} | {share} |"
