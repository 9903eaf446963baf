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
from torch import nn
from transformers import AutoConfig

from heat_sim.cache_folder import published
from heat_sim.distill.calibrate import encoder_linears, weight_of
from heat_sim.distill.embedding import FactorizedEmbedding
from heat_sim.distill.joint import have_one_input, joint_layers, stacked_gradient_moment, stacked_second_moment
from heat_sim.distill.layers import FactorizedLinear
from heat_sim.distill.loop import seeded_torch
from heat_sim.distill.pretrained import auto_class_of, one_message
from heat_sim.distill.progress import Progress, ProgressEvent, ignore_progress
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.design import Design, LayerDesign, dump_design, load_design
from heat_sim.tensorize.projection import project as plain_project
from heat_sim.tensorize.projection_cache import Project

_DENSE = "dense"
_WEIGHTS, _DESIGN = "model.safetensors", "design.yaml"


def factorize(model: Any, design: Design, *, cores: Mapping[str, Sequence[NDArray[np.floating]]]) -> Any:
    """Return a copy of the model in which the design's matrices are factorised; the model stays as it is.

    Embeddings, LayerNorms, biases, head and the matrices of format `dense` are copied. Members of a joint entry share
    their cores, see `joint_layers`.

    Args:
        model: A model of transformers with the head of a task.
        design: A layer for every encoder matrix of the model.
        cores: Of each entry of the design that does not stay dense, by its name, in the order of the format; converted
            to the number format of the weight they replace.

    Raises:
        SpecError: The design's matrices are not the model's, by name or by size, or joint ones cannot be cut.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> from heat_sim.tensorize import Factorization, LayerDesign, Tensorization
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> square = Tensorization(out_modes=(8,), in_modes=(8,))
    >>> rank_1 = Factorization(format="low-rank", tensorization=square, ranks=(1,))
    >>> model = BertForSequenceClassification(tiny)
    >>> layers = tuple((name, LayerDesign(factorization=rank_1, trees=((("X", "G2"), "G1"),)))
    ...                for name in encoder_linears(model))
    >>> design = Design(id="d1", model="tiny", tokens=16, architecture="simba_l", layers=layers)
    >>> zeros = {name: [np.zeros((8, 1)), np.zeros((1, 8))] for name, _ in layers}
    >>> factorize(model, design, cores=zeros).bert.encoder.layer[0].output.dense
    FactorizedLinear(
      low-rank, (8)x(8), ranks (1,)
      ...
    """
    _check_fit(model, design)
    student = copy.deepcopy(model)
    linears = encoder_linears(student)
    paths = {id(module): path for path, module in student.named_modules()}
    for name, layer in design.layers:
        if layer.factorization.format == _DENSE:
            continue
        replaced = [linears[member] for member in layer.members or (name,)]
        converted = [torch.as_tensor(np.asarray(core)).to(replaced[0].weight.dtype) for core in cores[name]]
        modules: Sequence[nn.Module]
        if layer.members:
            biases = [linear.bias for linear in replaced]
            one_input = have_one_input(model, layer.members)
            modules = joint_layers(layer, cores=converted, biases=biases, one_input=one_input)
        else:
            modules = [FactorizedLinear(layer, cores=converted, bias=replaced[0].bias)]
        for linear, module in zip(replaced, modules, strict=True):
            parent, _, child = paths[id(linear)].rpartition(".")
            setattr(student.get_submodule(parent), child, module)
    return student


def project_design(
    model: Any,
    design: Design,
    *,
    second_moments: Mapping[str, NDArray[np.floating]] | None = None,
    gradient_moments: Mapping[str, NDArray[np.floating]] | None = None,
    project: Project = plain_project,
    progress: Progress = ignore_progress,
) -> Any:
    """Return the student whose cores approximate the model's weights, without any training.

    The weights of members are stacked row on row and projected as one matrix: with the second moment of their input,
    or the mean of several, and with the block-diagonal matrix of their gradient moments.

    Args:
        model: A model of transformers with the head of a task, usually the teacher's.
        design: A layer for every encoder matrix of the model.
        second_moments: E[x x^T] of each matrix's input, by name; the approximation is best for such inputs. Without
            them it is best for the weights.
        gradient_moments: E[g g^T] of the loss's gradient at each matrix's output, by name; the approximation is best
            for the loss. Without them all outputs count alike.
        project: From a weight to cores, for example one that remembers.
        progress: Told about the stage `project` after each entry of the design that does not stay dense.

    Raises:
        SpecError: The design's matrices are not the model's, by name or by size, or joint ones cannot be cut.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> from heat_sim.tensorize import Factorization, LayerDesign, Tensorization
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> model = BertForSequenceClassification(tiny)
    >>> square = Tensorization(out_modes=(8,), in_modes=(8,))
    >>> rank_1 = Factorization(format="low-rank", tensorization=square, ranks=(1,))
    >>> layer = LayerDesign(factorization=rank_1, trees=((("X", "G2"), "G1"),))
    >>> layers = tuple((name, layer) for name in encoder_linears(model))
    >>> design = Design(id="d1", model="tiny", tokens=16, architecture="simba_l", layers=layers)
    >>> model.num_parameters() - project_design(model, design).num_parameters()  # 6 matrices: 8 * 8 -> 8 + 8
    288
    """
    _check_fit(model, design)
    linears = encoder_linears(model)
    entries = [(name, layer) for name, layer in design.layers if layer.factorization.format != _DENSE]
    cores = {}
    for step, (name, layer) in enumerate(entries, start=1):
        members = layer.members or (name,)
        weights = [weight_of(linears[member]).detach().numpy() for member in members]
        cores[name] = project(
            weights[0] if len(weights) == 1 else np.concatenate(weights),  # (rows of all members, in_features)
            layer.factorization,
            second_moment=None
            if second_moments is None
            else stacked_second_moment([second_moments[member] for member in members]),
            gradient_moment=None
            if gradient_moments is None
            else stacked_gradient_moment([gradient_moments[member] for member in members]),
        )
        progress(ProgressEvent(stage="project", step=step, steps=len(entries)))
    return factorize(model, design, cores=cores)


def save_student(student: Any, design: Design, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and `design.yaml` into a new folder, which appears when complete.

    Raises:
        SpecError: The folder is there already, or an embedding is factorised, which no design has a place for.

    >>> save_student(student, design, Path("results/run/students/d03"))  # doctest: +SKIP
    """
    if factorised := [name for name, module in student.named_modules() if isinstance(module, FactorizedEmbedding)]:
        raise SpecError(
            describe(f"{folder}, {factorised[0]}", "cannot be written", got="a factorised embedding",
                     expected="a dense one", remedy="Write the student before its embeddings are compressed.")
        )  # fmt: skip
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
        config = copy.deepcopy(student.config)
        config.architectures = [type(student).__name__]  # says which head it has
        config.save_pretrained(draft)
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
            dense = auto_class_of(config.architectures).from_config(config, attn_implementation="eager")
        empty = {name: [np.zeros(s) for s in layer.factorization.core_shapes] for name, layer in design.layers}
        student = factorize(dense, design, cores=empty)
        student.load_state_dict(load_file(folder / _WEIGHTS))
    return student.eval(), design


def _check_fit(model: Any, design: Design) -> None:
    """Refuse, all together, matrices that only the design or only the model has, other sizes, and impossible joints."""
    sizes = {name: tuple(weight_of(linear).shape) for name, linear in encoder_linears(model).items()}
    where = f"design {design.id}"
    covered: set[str] = set()
    problems = []
    for entry, layer in design.layers:
        members = layer.members or (entry,)
        covered.update(members)
        got = (layer.factorization.out_features // len(members), layer.factorization.in_features)
        missing = [name for name in members if name not in sizes]
        problems += [
            describe(where, f"the model has no matrix {name}", got="none", expected="one", remedy="Correct the name.")
            for name in missing
        ]
        problems += [
            describe(f"{where}, {name}", "another size", got=got, expected=sizes[name], remedy="Correct the modes.")
            for name in members
            if name in sizes and got != sizes[name]
        ]
        if layer.members and layer.factorization.format != _DENSE and not missing:
            problems += [f"{where}, {entry}: {problem}" for problem in _not_joint(model, layer)]
    problems += [
        describe(where, f"no layer for {name}", got="none", expected="one", remedy="List it, dense if need be.")
        for name in sizes
        if name not in covered
    ]
    if problems:
        raise SpecError(problems)


def _not_joint(model: Any, layer: LayerDesign) -> tuple[str, ...]:
    """Return why the members of an entry cannot be factorised so, or nothing."""
    try:
        if not have_one_input(model, layer.members):
            layer.factorization.member(len(layer.members))
    except SpecError as error:
        return error.problems
    return ()
