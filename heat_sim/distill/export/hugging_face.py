"""A student as a folder that transformers loads with one line, on machines without heat_sim."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import transformers
from safetensors.torch import save_file

from heat_sim.distill.export import modeling_heat_sim
from heat_sim.distill.export.folder import new_folder
from heat_sim.distill.export.heads import Head, head_of
from heat_sim.distill.export.matrices import matrix_entries
from heat_sim.distill.export.model_card import model_card
from heat_sim.tensorize.design import Design

_CODE = "modeling_heat_sim"
_OF_THE_STOCK_CLASS = ("model_type", "architectures", "auto_map", "transformers_version")


def export_to_hugging_face(
    student: Any, folder: Path, *, design: Design, processor: Any | None = None, edp_gain: float | None = None
) -> None:
    """Write a new folder that `AutoModelFor...from_pretrained(folder, trust_remote_code=True)` loads.

    It holds `config.json` (with `auto_map`, and all matrices under `heat_sim`), `model.safetensors`, the files of the
    processor, the code of the factorised modules and a README.md. It appears when it is complete.

    Args:
        student: As `factorize` returns it: BERT, RoBERTa or DistilBERT for sequence classification, token
            classification or question answering, or ViT for image classification.
        folder: Must not exist.
        design: What the student was made by; for the README.md.
        processor: Tokenizer or image processor that goes with the model.
        edp_gain: EDP of the dense encoder over that of the design; for the README.md.

    Raises:
        SpecError: The folder is there already, or the student is none of these or has a factorised embedding.

    >>> export_to_hugging_face(student, Path("exported"), design=design)  # doctest: +SKIP
    """
    head = head_of(student)
    entries = matrix_entries(student)
    with new_folder(folder, processor=processor) as draft:
        _config(student, head, entries).save_pretrained(draft)
        weights = {name: tensor.contiguous() for name, tensor in student.state_dict().items()}
        save_file(weights, draft / "model.safetensors", metadata={"format": "pt"})
        shutil.copyfile(str(modeling_heat_sim.__file__), draft / f"{_CODE}.py")
        card = model_card(loading=loading_code(head), entries=entries, design=design, edp_gain=edp_gain)
        (draft / "README.md").write_text(card, encoding="utf-8")


def loading_code(head: Head) -> str:
    """Return the lines of Python that load an exported folder.

    >>> print(loading_code(Head(auto_class="AutoModelForX", model_class="HeatX", input="text", outputs=("logits",))))
    from transformers import AutoModelForX  # written by transformers ...
    <BLANKLINE>
    model = AutoModelForX.from_pretrained("FOLDER", trust_remote_code=True)  # FOLDER: where this file is
    """
    return (
        f"from transformers import {head.auto_class}  # written by transformers {transformers.__version__}\n\n"
        f'model = {head.auto_class}.from_pretrained("FOLDER", trust_remote_code=True)  # FOLDER: where this file is'
    )


def _config(student: Any, head: Head, entries: list[dict[str, Any]]) -> Any:
    """Return the student's configuration, as one that builds the factorised class.

    Its `model_type` is one of our own: loaded without `trust_remote_code` the stock type would give a dense model with
    random matrices.
    """
    values = {name: value for name, value in student.config.to_dict().items() if name not in _OF_THE_STOCK_CLASS}
    config = head.config_class(**values)
    config.architectures = [head.model_class]
    config.auto_map = {
        "AutoConfig": f"{_CODE}.{head.config_class.__name__}",
        head.auto_class: f"{_CODE}.{head.model_class}",
    }
    config.dtype = next(student.parameters()).dtype
    config.heat_sim = {"version": modeling_heat_sim.FORMAT_VERSION, "matrices": entries}
    return config
