"""Projection in forward order: each matrix is fitted to the inputs that the compressed ones before it produce."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heat_sim.distill.batches import Batch
from heat_sim.distill.calibrate import encoder_linears, evaluation_mode, weight_of
from heat_sim.distill.convert import factorize
from heat_sim.distill.joint import stacked_gradient_moment, stacked_second_moment
from heat_sim.distill.layer_calls import LayerByLayer, layer_of, record_calls
from heat_sim.distill.progress import Progress, ProgressEvent, ignore_progress
from heat_sim.tensorize.design import Design, LayerDesign
from heat_sim.tensorize.project_all import Task, project_all
from heat_sim.tensorize.projection import project as plain_project
from heat_sim.tensorize.projection import reconstruct
from heat_sim.tensorize.projection_cache import Project

Array = NDArray[np.float64]

RIDGE = 1e-2
"""Pull of the corrected target towards the weight itself, relative to the mean eigenvalue of the input's moment."""


def project_sequentially(
    model: Any,
    design: Design,
    batches: Sequence[Batch],
    *,
    correct: bool = True,
    gradient_moments: Mapping[str, NDArray[np.floating]] | None = None,
    project: Project = plain_project,
    progress: Progress = ignore_progress,
) -> Any:
    """Return the student whose cores approximate the model's weights, projected in forward order, without training.

    Matrices that are fed the same tensor are projected together, on the second moment of the input x' that they get
    when everything before them is compressed already. With `correct` the target is not the weight W but the matrix
    that, applied to x', comes nearest to W x with the dense model's x: errors made before are compensated.

    Members of a joint entry are projected when the first of them is reached, the others on the input that they get by
    then, with what is between still dense; the moment of the stacked matrix is as in `project_design`.

    Args:
        model: A classifier of transformers, usually the teacher's; it stays as it is.
        design: A layer for every encoder matrix of the model.
        batches: The calibration text.
        correct: Aim at the dense outputs, see `corrected_target`; else at the weights.
        gradient_moments: E[g g^T] at each matrix's output, by name; None to count all outputs alike.
        project: From a weight to cores, for example one that remembers.
        progress: Told about the stage `project` after each set of matrices with one input.

    Raises:
        SpecError: The design's matrices are not the model's, by name or by size, or joint ones cannot be cut.

    >>> project_sequentially(teacher.model, design, batches)  # doctest: +SKIP
    """
    zeros = {name: [np.zeros(shape) for shape in layer.factorization.core_shapes] for name, layer in design.layers}
    factorize(model, design, cores=zeros)  # refuses the design of another model before the long part
    student = copy.deepcopy(model)  # its compressed matrices are held multiplied out until all are known
    dense, compressed = encoder_linears(model), encoder_linears(student)
    cores: dict[str, tuple[Array, ...]] = {}
    with evaluation_mode(model), evaluation_mode(student):
        groups = input_groups(model, batches[0])
        first_of = {name: group[0] for group in groups for name in group}
        calls = record_calls(model, batches)
        own = LayerByLayer(student, calls, batches)
        exact = LayerByLayer(model, calls, batches) if correct else None
        for step, (group, entries) in enumerate(zip(groups, _entries(groups, design), strict=True), start=1):
            for each in (own, exact):
                if each is not None:
                    each.enter(layer_of(group[0]))
            inputs = {first_of[member] for _, _, members in entries for member in members}
            moments = {name: _moments(own, exact, name) for name in sorted(inputs)}
            tasks = {
                name: _task(
                    [weight_of(dense[member]).detach().to(torch.float64).numpy() for member in members],
                    [moments[first_of[member]] for member in members],
                    layer=layer,
                    correct=correct,
                    gradient_moments=None
                    if gradient_moments is None
                    else [gradient_moments[member] for member in members],
                )
                for name, layer, members in entries
            }
            cores |= project_all(tasks, project=project)
            with torch.no_grad():
                for name, layer, members in entries:
                    rebuilt = np.split(reconstruct(cores[name], layer.factorization), len(members))
                    for member, rows in zip(members, rebuilt, strict=True):
                        weight_of(compressed[member]).copy_(torch.from_numpy(rows))
            progress(ProgressEvent(stage="project", step=step, steps=len(groups)))
    return factorize(model, design, cores=cores)


def corrected_target(
    weight: NDArray[np.floating],
    *,
    second: NDArray[np.floating],
    cross: NDArray[np.floating],
    ridge: float = RIDGE,
) -> Array:
    """Return the matrix M that minimises ``E|W x - M x'|^2 + r ||M - W||_F^2``, (out_features, in_features) float64.

    That is ``M = W (K + r I) (C' + r I)^-1``, W itself if x' = x. The best replacement of a given form is then the one
    nearest to M in the norm of C': ``E|W x - M' x'|^2 = E|W x - M x'|^2 + ||(M - M') C'^(1/2)||_F^2`` for every M', but
    for r.

    Args:
        weight: W, (out_features, in_features).
        second: C' = E[x' x'^T] of the input x' of the compressed model, (in_features, in_features).
        cross: K = E[x x'^T] with the input x of the dense model, the same shape.
        ridge: r over the mean of the eigenvalues of C'. Directions of x' that hardly occur keep the weight.

    >>> corrected_target(np.eye(2), second=np.diag([4.0, 1.0]), cross=np.diag([2.0, 1.0]), ridge=0.0)
    array([[0.5, 0. ],
           [0. , 1. ]])
    """
    pull = ridge * np.trace(second) / len(second) * np.eye(len(second))
    return np.asarray(np.linalg.solve(second + pull, (cross + pull).T @ weight.T).T, dtype=np.float64)


def input_groups(model: Any, batch: Batch) -> tuple[tuple[str, ...], ...]:
    """Return the names of the encoder matrices in the order in which they run, those fed the same tensor together.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> one = torch.ones(1, 4, dtype=torch.int64)
    >>> batch = Batch.of_tokens(input_ids=one, attention_mask=one, labels=one[:, 0])
    >>> [len(group) for group in input_groups(BertForSequenceClassification(tiny), batch)]
    [3, 1, 1, 1]
    """
    groups: dict[int, list[str]] = {}
    seen: list[Tensor] = []  # holds the tensors, so that no id is used twice

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen.append(inputs[0])
            groups.setdefault(id(inputs[0]), []).append(name)

        return hook

    handles = [linear.register_forward_pre_hook(watch(name)) for name, linear in encoder_linears(model).items()]
    try:
        with torch.inference_mode():
            model(**batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(map(tuple, groups.values()))


def _task(
    weights: Sequence[Array],
    moments: Sequence[tuple[Array, Array]],
    *,
    layer: LayerDesign,
    correct: bool,
    gradient_moments: Sequence[NDArray[np.floating]] | None,
) -> Task:
    """Return what is to be projected for one entry: its matrices stacked, or what they should be on other inputs."""
    if correct:
        weights = [
            corrected_target(weight, second=second, cross=cross)
            for weight, (second, cross) in zip(weights, moments, strict=True)
        ]
    return Task(
        weight=np.concatenate(weights),  # (rows of all members, in_features)
        factorization=layer.factorization,
        second_moment=stacked_second_moment([second for second, _ in moments]),
        gradient_moment=None if gradient_moments is None else stacked_gradient_moment(gradient_moments),
    )


_Entry = tuple[str, LayerDesign, tuple[str, ...]]
"""Name, design and matrices of one entry of a design."""


def _entries(groups: Sequence[tuple[str, ...]], design: Design) -> list[list[_Entry]]:
    """Return for each group the entries of the design whose first matrix to run is in it, dense ones left out."""
    place = {name: index for index, group in enumerate(groups) for name in group}
    entries: list[list[_Entry]] = [[] for _ in groups]
    for name, layer in design.layers:
        members = layer.members or (name,)
        if layer.factorization.format != "dense":
            entries[min(place[member] for member in members)].append((name, layer, members))
    return entries


def _moments(student: LayerByLayer, teacher: LayerByLayer | None, name: str) -> tuple[Array, Array]:
    """Return E[x' x'^T] and E[x x'^T] of the student's input x' and the teacher's x, or of x' twice without teacher."""
    second = cross = np.zeros(())
    tokens = 0
    inputs = (
        ((own, None) for own in student.inputs(name))
        if teacher is None
        else (zip(student.inputs(name), teacher.inputs(name), strict=True))
    )
    for own, other in inputs:
        second = second + own.T @ own
        cross = second if other is None else cross + other.T @ own
        tokens += len(own)
    return second / tokens, cross / tokens
