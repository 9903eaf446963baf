"""From a dense model and a design to the student that the design means, and to a folder and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification

from heat_sim.distill.cache import published
from heat_sim.distill.calibrate import encoder_linears
from heat_sim.distill.layers import FactorizedLinear
from heat_sim.distill.loop import seeded_torch
from heat_sim.distill.pretrained import one_message
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize import project
from heat_sim.tensorize.design import Design, dump_design, load_design

_DENSE = "dense"
_WEIGHTS, _DESIGN = "model.safetensors", "design.yaml"


def factorize(model: Any, design: Design, *, cores: Mapping[str, Sequence[NDArray[np.floating]]]) -> Any:
    """Return a copy of the model in which the design's Linear layers are factorised; the model stays as it is.

    Embeddings, LayerNorms, biases, head and the matrices of format `dense` are copied.

    Args:
        model: A classifier of transformers.
        design: A layer for every encoder matrix of the model.
        cores: Of each matrix that does not stay dense, by its name, in the order of the format; converted to the
            number format of the weight they replace.

    Raises:
        SpecError: The design's matrices are not the model's, by name or by size.
    """
    _check_fit(model, design)
    student = copy.deepcopy(model)
    linears = encoder_linears(student)
    paths = {id(module): path for path, module in student.named_modules()}
    for name, layer in design.layers:
        if layer.factorization.format == _DENSE:
            continue
        linear = linears[name]
        converted = [torch.as_tensor(np.asarray(core)).to(linear.weight.dtype) for core in cores[name]]
        parent, _, child = paths[id(linear)].rpartition(".")
        setattr(student.get_submodule(parent), child, FactorizedLinear(layer, cores=converted, bias=linear.bias))
    return student


def project_design(
    model: Any, design: Design, *, second_moments: Mapping[str, NDArray[np.floating]] | None = None
) -> Any:
    """Return the student whose cores approximate the model's weights, without any training.

    Args:
        model: A classifier of transformers, usually the teacher's.
        design: A layer for every encoder matrix of the model.
        second_moments: E[x x^T] of each matrix's input, by name; the approximation is best for such inputs. Without
            them it is best for the weights.

    Raises:
        SpecError: The design's matrices are not the model's, by name or by size.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> from heat_sim.tensorize import Factorization, LayerDesign, Tensorization
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> model = BertForSequenceClassification(tiny)
    >>> square = Tensorization(out_modes=(8,), in_modes=(8,))
    >>> rank_1 = Factorization(format="low-rank", tensorization=square, ranks=(1,))
    >>> layer = LayerDesign(factorization=rank_1, tree=(("X", "G2"), "G1"))
    >>> layers = tuple((name, layer) for name in encoder_linears(model))
    >>> design = Design(id="d1", model="tiny", tokens=16, architecture="simba_l", layers=layers)
    >>> model.num_parameters() - project_design(model, design).num_parameters()  # 6 matrices: 8 * 8 -> 8 + 8
    288
    """
    _check_fit(model, design)
    linears = encoder_linears(model)
    return factorize(
        model,
        design,
        cores={
            name: project(
                linears[name].weight.detach().numpy(),
                layer.factorization,
                second_moment=None if second_moments is None else second_moments[name],
            )
            for name, layer in design.layers
            if layer.factorization.format != _DENSE
        },
    )


def save_student(student: Any, design: Design, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and `design.yaml` into a new folder, which appears when complete.

    Raises:
        SpecError: The folder is there already.

    >>> save_student(student, design, Path("results/run/students/d03"))  # doctest: +SKIP
    """
    if folder.exists():
        raise SpecError(
            describe(
                str(folder),
                "already there",
                got="a folder",
                expected="a new one",
                remedy="Delete it or choose another.",
            )
        )
    with published(folder) as draft:
        student.config.save_pretrained(draft)
        save_file({name: tensor.contiguous() for name, tensor in student.state_dict().items()}, draft / _WEIGHTS)
        (draft / _DESIGN).write_text(dump_design(design), encoding="utf-8")


def load_student(folder: Path) -> tuple[Any, Design]:
    """Return the student, in evaluation mode, and its design, as `save_student` wrote them.

    Raises:
        HeatError: The folder holds no student, or its design does not fit its model.

    >>> student, design = load_student(Path("results/run/students/d03"))  # doctest: +SKIP
    """
    with one_message(folder, "its student"):
        design = load_design(folder / _DESIGN)
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with seeded_torch(0):  # the weights drawn here are overwritten; the caller's generator is not touched
            dense = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
        empty = {name: [np.zeros(s) for s in layer.factorization.core_shapes] for name, layer in design.layers}
        student = factorize(dense, design, cores=empty)
        student.load_state_dict(load_file(folder / _WEIGHTS))
    return student.eval(), design


def _check_fit(model: Any, design: Design) -> None:
    """Refuse, all together, matrices that only the design or only the model has, and other sizes."""
    sizes = {name: (linear.out_features, linear.in_features) for name, linear in encoder_linears(model).items()}
    layers = dict(design.layers)
    where = f"design {design.id}"
    problems = [
        describe(where, f"the model has no matrix {name}", got="none", expected="one", remedy="Name the right model.")
        for name in layers
        if name not in sizes
    ]
    for name, size in sizes.items():
        if name not in layers:
            problems.append(
                describe(where, f"no layer for {name}", got="none", expected="one", remedy="List it, dense if need be.")
            )
        elif (got := (layers[name].factorization.out_features, layers[name].factorization.in_features)) != size:
            problems.append(
                describe(f"{where}, {name}", "another size", got=got, expected=size, remedy="Correct the modes.")
            )
    if problems:
        raise SpecError(problems)
