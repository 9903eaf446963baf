"""The rank SuperNet: one student at the largest ranks that runs at any smaller ones, and becomes a student of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers.pytorch_utils import Conv1D

from heat_sim.distill.calibrate import encoder_linears, oriented, weight_of
from heat_sim.distill.convert import factorize
from heat_sim.distill.progress import Progress, ProgressEvent, ignore_progress
from heat_sim.distill.supernet_cores import ordered_cores
from heat_sim.distill.supernet_layer import ElasticLinear, PrefixLinear, layer_design
from heat_sim.distill.supernet_options import Options
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.design import Design
from heat_sim.tensorize.factorization import Factorization

Cores = Mapping[tuple[str, int], tuple[NDArray[np.floating], ...]]
"""Cores by name of the matrix and place of the option."""


def build_supernet(
    model: Any,
    options: Options,
    *,
    second_moments: Mapping[str, NDArray[np.floating]] | None = None,
    gradient_moments: Mapping[str, NDArray[np.floating]] | None = None,
    progress: Progress = ignore_progress,
) -> Any:
    """Return a copy of the model in which every encoder matrix runs at any prefix of the ranks of its options.

    It begins with every matrix in its first option, at the largest ranks. Nothing is trained; `ordered_cores` says how
    good its prefixes are then.

    Args:
        model: A classifier of transformers, usually the teacher's; it stays as it is.
        options: For every encoder matrix, see `supernet_options`.
        second_moments: E[x x^T] of each matrix's input, by name; without them the cores are best for the weights.
        gradient_moments: E[g g^T] of the loss's gradient at each matrix's output, by name; None to count all outputs
            alike.
        progress: Told about the stage `project` after each matrix.

    Raises:
        SpecError: The matrices are not the model's, by name or by size.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> from heat_sim.distill.supernet_options import supernet_options
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> model = BertForSequenceClassification(tiny)
    >>> student = build_supernet(model, supernet_options({name: (8, 8) for name in encoder_linears(model)}))
    >>> set_ranks(student, {"encoder.layer.0.output.dense": (2,)})
    >>> student.bert.encoder.layer[0].output.dense.used.ranks
    (2,)
    """
    linears = encoder_linears(model)
    _check_fit(linears, options)
    cores: dict[tuple[str, int], tuple[NDArray[np.floating], ...]] = {}
    for step, (name, linear) in enumerate(linears.items(), start=1):
        weight = weight_of(linear).detach().numpy()
        for place, largest in enumerate(options[name]):
            cores[name, place] = ordered_cores(
                weight,
                largest,
                second_moment=None if second_moments is None else second_moments[name],
                gradient_moment=None if gradient_moments is None else gradient_moments[name],
            )
        progress(ProgressEvent(stage="project", step=step, steps=len(linears)))
    return with_cores(model, options, cores)


def with_cores(model: Any, options: Options, cores: Cores) -> Any:
    """Return a copy of the model with given cores instead of projected ones; else as `build_supernet`.

    Args:
        model: A classifier of transformers.
        options: For every encoder matrix.
        cores: Of each option, in the order of its factorization.

    Raises:
        SpecError: The matrices are not the model's, by name or by size, or cores do not fit.

    >>> with_cores(teacher.model, options, cores)  # doctest: +SKIP
    """
    student = copy.deepcopy(model)
    linears = encoder_linears(student)
    _check_fit(linears, options)
    for name, linear in linears.items():
        dtype = linear.weight.dtype
        made = [
            PrefixLinear(each, cores=[torch.tensor(np.asarray(core), dtype=dtype) for core in cores[name, place]])
            for place, each in enumerate(options[name])
        ]
        _replace(student, linear, ElasticLinear(made, bias=linear.bias, transposed=isinstance(linear, Conv1D)))
    return student


def elastic_layers(student: Any) -> dict[str, ElasticLinear]:
    """Return the elastic layers of a SuperNet by name of the matrix, in the order of the model.

    Raises:
        SpecError: The model is no SuperNet.

    >>> elastic_layers(student)["encoder.layer.0.output.dense"].largest  # doctest: +SKIP
    """
    prefix = f"{getattr(student, 'base_model_prefix', '')}."
    found = {
        name.removeprefix(prefix): module
        for name, module in student.named_modules()
        if isinstance(module, ElasticLinear)
    }
    if not found:
        raise SpecError(
            describe(f"model {type(student).__name__}", "not a SuperNet", got="no elastic layer",
                     expected="one for every encoder matrix", remedy="Give what build_supernet returns.")
        )  # fmt: skip
    return found


def options_of(student: Any) -> dict[str, tuple[Factorization, ...]]:
    """Return the options of every matrix, each at its largest ranks.

    >>> options_of(student)["encoder.layer.0.output.dense"][0].ranks  # doctest: +SKIP
    (191,)
    """
    return {name: layer.largest for name, layer in elastic_layers(student).items()}


def choose(student: Any, design: Mapping[str, Factorization]) -> None:
    """Run matrices as these factorizations from now on; the others stay as they are. All or nothing.

    Args:
        student: A SuperNet.
        design: By name of the matrix.

    Raises:
        SpecError: Unknown names, formats or modes, or ranks beyond the largest: all of them together.

    >>> choose(student, {"encoder.layer.0.output.dense": factorization})  # doctest: +SKIP
    """
    layers = elastic_layers(student)
    before = {name: layers[name].used for name in design if name in layers}
    problems: list[str] = []
    for name, wanted in design.items():
        if name not in layers:
            problems.append(
                describe(f"SuperNet, matrix {name}", "unknown", got=name, expected=f"names like {next(iter(layers))}",
                         remedy="Name a matrix of the model.")
            )  # fmt: skip
            continue
        try:
            layers[name].use(wanted)
        except SpecError as error:
            problems += [f"matrix {name}: {problem}" for problem in error.problems]
    if problems:
        for name, factorization in before.items():
            layers[name].use(factorization)
        raise SpecError(problems)


def set_ranks(student: Any, ranks: Mapping[str, tuple[int, ...]]) -> None:
    """Run matrices at these ranks from now on, in the format and modes that they have now. All or nothing.

    Args:
        student: A SuperNet.
        ranks: By name of the matrix, as many as its format has.

    Raises:
        SpecError: Unknown names, a wrong number of ranks, or ranks out of range.

    >>> set_ranks(student, {"encoder.layer.0.output.dense": (64,)})  # doctest: +SKIP
    """
    layers = elastic_layers(student)
    known = {name: each for name, each in ranks.items() if name in layers}
    if unknown := [name for name in ranks if name not in known]:
        raise SpecError(
            describe("SuperNet, set_ranks", "unknown matrices", got=", ".join(unknown[:5]),
                     expected=f"names like {next(iter(layers))}", remedy="Name matrices of the model.")
        )  # fmt: skip
    choose(student, {name: replace(layers[name].used, ranks=tuple(each)) for name, each in known.items()})


@contextmanager
def running(student: Any, design: Mapping[str, Factorization]) -> Iterator[Any]:
    """Run as a design inside the block, matrices that it does not name in their first option at the largest ranks.

    After it every matrix runs as it did before.

    Args:
        student: A SuperNet.
        design: By name of the matrix.

    Raises:
        SpecError: As `choose`.

    >>> with running(student, {}) as largest:  # doctest: +SKIP
    ...     measure_accuracy(largest, batches)
    """
    layers = elastic_layers(student)
    before = {name: layer.used for name, layer in layers.items()}
    try:
        choose(student, {name: layer.largest[0] for name, layer in layers.items()} | dict(design))
        yield student
    finally:
        choose(student, before)


def extract(student: Any, design: Design | Mapping[str, Factorization]) -> Any:
    """Return the ordinary student that a SuperNet is at the ranks of a design: a warm start for distillation.

    Its cores are copies of the leading parts, its other weights those of the SuperNet; matrices of format `dense` are
    plain layers again. With a `Design` it contracts in its order.

    Args:
        student: A SuperNet; it stays as it is.
        design: A factorization for every encoder matrix; no joint ones.

    Raises:
        SpecError: The design's matrices are not the model's, joint, or not what the SuperNet can run.

    >>> extract(student, design)  # doctest: +SKIP
    """
    plain = design if isinstance(design, Design) else plain_design(design)
    if plain.joint:
        raise SpecError(
            describe(f"design {plain.id}", "joint matrices are not in a SuperNet", got=", ".join(plain.joint),
                     expected="one entry per matrix", remedy="Choose a design without joint matrices.")
        )  # fmt: skip
    wanted = {name: layer.factorization for name, layer in plain.layers}
    with running(student, wanted):  # refuses what it cannot run, all together
        layers = elastic_layers(student)
        shell = copy.deepcopy(student)
    cores: dict[str, list[NDArray[np.floating]]] = {}
    for name, layer in elastic_layers(shell).items():
        plain_layer = _plain(layer)
        if name in wanted:
            own = [core.detach().numpy() for core in layers[name].option(wanted[name]).cut_cores(wanted[name])]
            cores[name] = own
            if wanted[name].format == "dense":
                with torch.no_grad():
                    weight_of(plain_layer).copy_(torch.from_numpy(own[0]))
        _replace(shell, layer, plain_layer)
    return factorize(shell, plain, cores=cores)


def plain_design(
    factorizations: Mapping[str, Factorization], *, name: str = "design", model: str = "supernet", tokens: int = 128
) -> Design:
    """Return a design of these factorizations that contracts in the order of fewest multiply-accumulates.

    Args:
        factorizations: By name of the matrix.
        name: Its id.
        model: Name of the network.
        tokens: Rows of an input.

    >>> plain_design(factorizations).layers[0][0]  # doctest: +SKIP
    'encoder.layer.0.attention.self.query'
    """
    layers = tuple((key, layer_design(each, tokens=tokens)) for key, each in factorizations.items())
    return Design(id=name, model=model, tokens=tokens, architecture="none", layers=layers)


def _plain(layer: ElasticLinear) -> nn.Linear | Conv1D:
    """Return a plain layer of the size and with the bias of an elastic one; its weight is zero."""
    shape = layer.largest[0].out_features, layer.largest[0].in_features
    like = next(layer.parameters())
    made: nn.Linear | Conv1D
    with torch.device("meta"):  # nothing is drawn, so the caller's generator is not touched
        made = (
            Conv1D(nf=shape[0], nx=shape[1])
            if layer.transposed
            else nn.Linear(shape[1], shape[0], bias=layer.bias is not None)
        )
    made.weight = nn.Parameter(oriented(made, torch.zeros(shape, dtype=like.dtype)).contiguous())
    if layer.bias is not None:
        made.bias = nn.Parameter(layer.bias.detach().clone())
    return made.train(layer.training)


def _replace(model: Any, old: nn.Module, new: nn.Module) -> None:
    path = next(path for path, module in model.named_modules() if module is old)
    parent, _, child = path.rpartition(".")
    setattr(model.get_submodule(parent), child, new.train(old.training))


def _check_fit(linears: Mapping[str, Any], options: Options) -> None:
    """Refuse, all together, matrices that only the options or only the model has, and other sizes."""
    problems = [
        describe("SuperNet", f"no option for {name}" if name in linears else f"the model has no matrix {name}",
                 got="none", expected="one", remedy="Give options for the matrices of this model.")
        for name in sorted(linears.keys() ^ options.keys())
    ]  # fmt: skip
    problems += [
        describe(f"SuperNet, {name}", "another size", got=(each.out_features, each.in_features),
                 expected=tuple(weight_of(linears[name]).shape), remedy="Correct the modes.")
        for name, some in options.items()
        if name in linears
        for each in some
        if (each.out_features, each.in_features) != tuple(weight_of(linears[name]).shape)
    ]  # fmt: skip
    if problems:
        raise SpecError(problems)
