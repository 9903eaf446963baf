"""The results that HEAT published, as data, and what they say of the hardware behind them.

Source: Gu et al., "HEAT: Hardware-Efficient Automatic Tensor Decomposition for Transformer Compression", ML for Systems
workshop at NeurIPS 2022, tables 1 to 3. Absolute EDPs depend on hardware that was not published; ratios are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Task: TypeAlias = Literal["SQuAD-v1.1", "SST-2"]

TOKENS: Mapping[Task, int] = {"SQuAD-v1.1": 384, "SST-2": 128}
"""Sequence length of each task."""

FORMATS: Mapping[str, str] = {"tt-matrix": "TTM", "tucker": "Tucker", "cp": "CP"}
"""Our name of each format to HEAT's."""

BERT, DISTILBERT = "bert-base", "distilbert-base"
"""Names in `heat_sim.networks.SIZES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatRow:
    """One published result.

    Attributes:
        network: A name in `heat_sim.networks.SIZES`.
        task: What it was measured on.
        format: Our name of the one format of the whole network.
        setting: "dense", or HEAT's name: "a1", "a2", "a3".
        parameters_millions: Of the whole model; None where it was not published.
        metric_percent: F1 on SQuAD, accuracy on SST-2.
        edp_uj_s: Energy-delay product of one inference, in microjoule seconds.
    """

    network: str
    task: Task
    format: str
    setting: str
    parameters_millions: float | None
    metric_percent: float
    edp_uj_s: float

    @property
    def name(self) -> str:
        """What options and tables call it, network and task apart."""
        return self.format if self.format == self.setting else f"{self.format}-{self.setting}"

    @property
    def tokens(self) -> int:
        """Sequence length."""
        return TOKENS[self.task]

    @property
    def edp_gain(self) -> float:
        """EDP of the dense network over that of the row: above 1 is better."""
        return dense_row(self.network, self.task).edp_uj_s / self.edp_uj_s

    @property
    def metric_change(self) -> float:
        """Percentage points above the dense network."""
        return self.metric_percent - dense_row(self.network, self.task).metric_percent


def dense_row(network: str, task: Task) -> HeatRow:
    """Return the dense result; KeyError if that network was not published on that task.

    >>> dense_row("bert-base", "SQuAD-v1.1").edp_uj_s
    34.31
    """
    return _DENSE[network, task]


def heat_row(network: str, task: Task, format: str, setting: str) -> HeatRow:  # noqa: A002 - a name in `FORMATS`
    """Return one of HEAT's rows; KeyError if there is none.

    >>> row = heat_row("bert-base", "SQuAD-v1.1", "cp", "a1")
    >>> row.parameters_millions, round(row.edp_gain, 2), round(row.metric_change, 2)
    (48.88, 5.73, -1.05)
    """
    return _BY_NAME[network, task, format, setting]


_SETTINGS = ("a1", "a2", "a3")

# The three settings of each format: metric in percent / EDP in uJ.s.
_Cells: TypeAlias = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

_DENSE_CELLS: tuple[tuple[str, Task, float | None, float, float], ...] = (
    (BERT, "SQuAD-v1.1", 109.50, 88.16, 34.31),  # table 1
    (BERT, "SST-2", 109.50, 91.74, 5.21),  # table 2
    (DISTILBERT, "SQuAD-v1.1", None, 86.90, 8.58),  # table 3
    (DISTILBERT, "SST-2", None, 91.97, 1.30),  # table 3
)

_DENSE: Mapping[tuple[str, Task], HeatRow] = {
    (network, task): HeatRow(
        network=network, task=task, format="dense", setting="dense", parameters_millions=parameters,
        metric_percent=metric, edp_uj_s=edp,
    )
    for network, task, parameters, metric, edp in _DENSE_CELLS
}  # fmt: skip

_PARAMETERS_MILLIONS: Mapping[str, tuple[float, float, float]] = {  # table 1; table 2 reuses these settings
    "tt-matrix": (41.60, 46.42, 54.68),
    "tucker": (42.14, 50.96, 63.62),
    "cp": (48.88, 59.08, 74.15),
}

_PUBLISHED: Mapping[tuple[str, Task], Mapping[str, _Cells]] = {
    (BERT, "SQuAD-v1.1"): {  # table 1
        "tt-matrix": ((86.01, 25.06), (86.71, 28.93), (87.36, 32.72)),
        "tucker": ((83.41, 4.91), (85.51, 7.45), (86.35, 10.40)),
        "cp": ((87.11, 5.99), (87.79, 9.01), (87.91, 14.50)),
    },
    (BERT, "SST-2"): {  # table 2
        "tt-matrix": ((90.02, 4.24), (90.90, 5.65), (91.20, 7.34)),
        "tucker": ((87.27, 0.45), (88.42, 0.69), (89.91, 1.02)),
        "cp": ((91.40, 0.50), (91.51, 0.79), (91.17, 1.34)),
    },
    (DISTILBERT, "SQuAD-v1.1"): {  # table 3
        "tt-matrix": ((85.26, 6.71), (86.42, 7.76), (86.92, 8.74)),
        "tucker": ((83.66, 1.72), (85.21, 2.56), (86.15, 3.21)),
        "cp": ((87.09, 1.50), (87.89, 2.26), (88.18, 3.63)),
    },
    (DISTILBERT, "SST-2"): {  # table 3
        "tt-matrix": ((91.40, 1.23), (90.60, 1.64), (90.60, 2.10)),
        "tucker": ((90.30, 0.17), (91.30, 0.23), (90.60, 0.29)),
        "cp": ((91.28, 0.13), (91.06, 0.20), (91.63, 0.34)),
    },
}


def _rows() -> Iterator[HeatRow]:
    for (network, task), formats in _PUBLISHED.items():
        for form, cells in formats.items():
            for place, (setting, (metric, edp)) in enumerate(zip(_SETTINGS, cells, strict=True)):
                yield HeatRow(
                    network=network, task=task, format=form, setting=setting, metric_percent=metric, edp_uj_s=edp,
                    parameters_millions=_PARAMETERS_MILLIONS[form][place] if network == BERT else None,
                )  # fmt: skip


HEAT_ROWS: tuple[HeatRow, ...] = tuple(_rows())
"""All of HEAT's own rows: nine of each network on each task. The settings of BERT on SST-2 are those of SQuAD; those of
DistilBERT were searched for it, and their parameters are not in the text."""

_BY_NAME = {(row.network, row.task, row.format, row.setting): row for row in HEAT_ROWS}


def encoder_compression(row: HeatRow, *, encoder_parameters: int) -> float:
    """Return the dense encoder's parameters over those of the row's encoder.

    The published totals hold what is not compressed: 109.50 M less the 85.06 M of BERT-base's twelve layers is 24.44 M,
    by count 23.84 M of embeddings and 0.59 M of the pooler. (DistilBERT: 23.83 M of embeddings and no pooler, 66.36 M
    less the 42.53 M of six layers.) They cost nothing in HEAT's EDP, for DistilBERT, with half the layers, has exactly
    a quarter of BERT's. So what a row has less in all, its encoder has less.

    Args:
        row: With a published total.
        encoder_parameters: Of the dense encoder of its network, biases and norms included.

    Raises:
        KeyError: No total of that network was published.

    >>> row = heat_row("bert-base", "SQuAD-v1.1", "cp", "a1")
    >>> round(encoder_compression(row, encoder_parameters=85_056_000), 2)
    3.48
    """
    dense = dense_row(row.network, row.task).parameters_millions
    if dense is None or row.parameters_millions is None:
        raise KeyError(f"no published parameters of {row.network} {row.name}")
    return encoder_parameters / (encoder_parameters - 1e6 * (dense - row.parameters_millions))
