"""What a design makes of each weight matrix, as short as the cell of a heat map: share kept, format and rank."""

from __future__ import annotations

from dataclasses import dataclass

from heat_sim.tensorize.design import Design
from heat_sim.tensorize.factorization import Factorization

ABBREVIATIONS = {
    "dense": "D", "low-rank": "LR", "cp": "CP", "tucker": "Tk", "tt-matrix": "TT", "tensor-ring": "TR", "btt": "BTT",
    "block-low-rank": "BLR", "block-term": "BT",
}  # fmt: skip
"""Format to the letters that stand for it."""

_TITLES = {
    "query": ("attention.self.query", "attention.q_lin", "self_attn.q_proj", "attention.q_proj"),
    "key": ("attention.self.key", "attention.k_lin", "self_attn.k_proj", "attention.k_proj"),
    "value": ("attention.self.value", "attention.v_lin", "self_attn.v_proj", "attention.v_proj"),
    "query, key, value": ("attn.c_attn",),
    "attention output": (
        "attention.output.dense", "attention.out_lin", "self_attn.o_proj", "attention.o_proj", "attn.c_proj",
    ),
    "FFN gate": ("mlp.gate_proj",),
    "FFN up": ("intermediate.dense", "ffn.lin1", "mlp.up_proj", "mlp.fc1", "mlp.c_fc"),
    "FFN down": ("output.dense", "ffn.lin2", "mlp.down_proj", "mlp.fc2", "mlp.c_proj"),
}  # fmt: skip
_TITLE_OF = {name: title for title, names in _TITLES.items() for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFormat:
    """One weight matrix of a design.

    Attributes:
        role: What it does in its layer, or the name of its module there if that is not known.
        layer: Number of the layer, from 0.
        share: Parameters of its cores over those of the dense matrix; of a matrix that is factorised jointly with
            others, those of all of them.
        format: A key of `ABBREVIATIONS`.
        rank: As `rank_text` says it.
    """

    role: str
    layer: int
    share: float
    format: str
    rank: str

    @property
    def look(self) -> tuple[float, str, str]:
        """All but the place."""
        return self.share, self.format, self.rank


def matrix_formats(design: Design) -> tuple[MatrixFormat, ...]:
    """Return one entry per weight matrix, in the order of the design.

    The layer is the first number in the name of a matrix.
    """
    found = []
    for key, layer in design.layers:
        factorization = layer.factorization
        share = factorization.parameters / (factorization.out_features * factorization.in_features)
        for name in layer.members or (key,):
            role, number = _place(name)
            found.append(
                MatrixFormat(
                    role=role, layer=number, share=share, format=factorization.format, rank=rank_text(factorization)
                )
            )  # fmt: skip
    return tuple(found)


def rank_text(factorization: Factorization) -> str:
    """Return the rank of a factorization, the largest with a "≤" before it if its ranks differ; nothing if it has none.

    Of block-term the number of blocks stands before it.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(4, 2, 2), in_modes=(3, 2, 2))
    >>> rank_text(Factorization(format="tt-matrix", tensorization=shape, ranks=(1, 6, 4, 1)))
    '≤6'
    """
    ranks = list(factorization.ranks)
    if factorization.format == "tt-matrix":
        ranks = ranks[1:-1]
    blocks = f"{ranks.pop(0)}x" if factorization.format == "block-term" else ""
    if not ranks:
        return blocks
    return f"{blocks}{'≤' if len(set(ranks)) > 1 else ''}{max(ranks)}"


def _place(name: str) -> tuple[str, int]:
    parts = name.split(".")
    at = next((place for place, part in enumerate(parts) if part.isdecimal()), None)
    if at is None:
        return name, 0
    within = ".".join(parts[at + 1 :])
    return _TITLE_OF.get(within, within), int(parts[at])
