"""The models that can be exported: stock class, the class that replaces it, the auto class that loads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from heat_sim.distill.export import modeling_heat_sim
from heat_sim.errors import SpecError, describe

Input = Literal["text", "image"]

_HEADS: dict[str, tuple[Input, tuple[str, ...]]] = {
    "SequenceClassification": ("text", ("logits",)),
    "TokenClassification": ("text", ("logits",)),
    "QuestionAnswering": ("text", ("start_logits", "end_logits")),
    "ImageClassification": ("image", ("logits",)),
}

_PREFIX = "Heat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a model computes in the end.

    Attributes:
        auto_class: Class of transformers that loads it.
        model_class: Name of the factorised model in `modeling_heat_sim`.
        input: What it reads.
        outputs: Names of the tensors it returns.
    """

    auto_class: str
    model_class: str
    input: Input
    outputs: tuple[str, ...]

    @property
    def config_class(self) -> Any:
        """The class of its configuration."""
        return getattr(modeling_heat_sim, self.model_class).config_class


def head_of(student: Any) -> Head:
    """Return the head of a student.

    Args:
        student: As `factorize` returns it.

    Raises:
        SpecError: There is no factorised class for its stock class.

    >>> from transformers import BertConfig, BertForQuestionAnswering, BertModel
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> head_of(BertForQuestionAnswering(tiny)).auto_class
    'AutoModelForQuestionAnswering'
    >>> head_of(BertModel(tiny))
    Traceback (most recent call last):
    heat_sim.errors.SpecError: export: a model without a class to load it with (got BertModel, expected one of ...
    """
    stock = type(student).__name__
    known = [
        name.removeprefix(_PREFIX) for name in vars(modeling_heat_sim) if name.startswith(_PREFIX) and "For" in name
    ]
    if stock not in known:
        raise SpecError(
            describe("export", "a model without a class to load it with", got=stock,
                     expected=f"one of {', '.join(known)}", remedy="Export its dense form: to_dense(student).")
        )  # fmt: skip
    head = stock.partition("For")[2]
    kind, outputs = _HEADS[head]
    return Head(auto_class=f"AutoModelFor{head}", model_class=_PREFIX + stock, input=kind, outputs=outputs)
