"""Attention and feed-forward blocks as cascades, whatever contraction orders their matrices have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from heat_sim.einsum import Cascade, Einsum, TensorAccess
from heat_sim.mapper.layer import LayerOption
from heat_sim.networks import Network
from heat_sim.tensorize.factorization import ACTIVATIONS
from heat_sim.vector_op import VectorOp


def attention(network: Network) -> Cascade:
    """Return the attention of one layer: scores, softmax, context.

    >>> from heat_sim.networks import network_from_config
    >>> config = dict(model_type="bert", hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
    ...               intermediate_size=32, vocab_size=10, max_position_embeddings=16, type_vocab_size=2)
    >>> print(attention(network_from_config(config, tokens=4, name="toy")))
    S[h,q,t] = Q[h,q,d] * K[h,d,t]
    P[h,q,t] = softmax(S[h,q,t]) over t
    O[h,q,d] = P[h,q,t] * V[h,t,d]
    """
    scores, context = network.attention
    shares = context.inputs[0]
    along = tuple(var for var in context.contracted)
    softmax = VectorOp(
        name="softmax", inputs=(scores.output,), output=shares,
        extents=tuple((var, extent) for var, extent in scores.extents if var in shares.rank_vars),
        function="softmax", over=along,
    )  # fmt: skip
    return Cascade(name="attention", einsums=(scores, softmax, context))


def feed_forward(
    up: LayerOption, down: LayerOption, *, gate: LayerOption | None = None, function: str = "gelu"
) -> tuple[Cascade, frozenset[str]]:
    """Return a feed-forward block as one cascade, and its weights.

    Without a gate it is down(function(up(X))), with one down(function(gate(X)) * up(X)), as in GLU variants (Shazeer,
    2020). Where two matrices part the features that they share alike, their rank variables are the same, so that they
    can be fused; else the later one reads the features under another shape, and is fused with nothing before it.

    Args:
        up: A matrix that reads the input, in some order.
        down: The one that makes the output.
        gate: Another one that reads the input.
        function: Of the gate's result, or of that of `up` if there is none.
    """
    opening = up if gate is None else gate
    first = opening.order.cascade.einsums
    extents, out = _extents(first), first[-1].output
    steps = [_renamed(step, {var: var for var in extents}, {out.name: "H"}, "") for step in first]
    hidden = replace(out, name="A")
    steps.append(_elementwise(function, (replace(out, name="H"),), hidden, extents))
    weights = set(opening.order.weights)
    if gate is not None:
        second = up.order.cascade.einsums
        later, result = _extents(second), second[-1].output
        inputs, inputs_alike = _matched(_activations(second), _activations(first), later, extents)
        outputs, outputs_alike = _matched(result, out, later, extents)
        names = {var: (inputs | outputs).get(var, f"{var}_u") for var in later}
        tensors = {ACTIVATIONS: ACTIVATIONS if inputs_alike else f"{ACTIVATIONS}'", result.name: "U"}
        steps += [_renamed(step, names, tensors, "_u") for step in second]
        factors = hidden, replace(out, name="U" if outputs_alike else "U'")
        hidden = replace(out, name="B")
        steps.append(_elementwise("mul", factors, hidden, extents))
        weights |= {f"{name}_u" for name in up.order.weights}
    last = down.order.cascade.einsums
    later = _extents(last)
    features, alike = _matched(_activations(last), out, later, extents)
    names = {var: features.get(var, f"{var}_") for var in later}
    steps += [_renamed(step, names, {ACTIVATIONS: hidden.name if alike else f"{hidden.name}'"}, "_") for step in last]
    weights |= {f"{name}_" for name in down.order.weights}
    return Cascade(name="feed-forward", einsums=tuple(steps)), frozenset(weights)


def _extents(steps: Sequence[Einsum]) -> dict[str, int]:
    return {var: extent for step in steps for var, extent in step.extents}


def _activations(steps: Sequence[Einsum]) -> TensorAccess:
    """Return how the steps of a layer read its input."""
    return next(tensor for step in steps for tensor in step.inputs if tensor.name == ACTIVATIONS)


def _matched(
    tensor: TensorAccess, other: TensorAccess, extents: Mapping[str, int], other_extents: Mapping[str, int]
) -> tuple[dict[str, str], bool]:
    """Return the names that rank variables of a tensor have in another one, and whether both have the same shape.

    If they have not, only the tokens, which come first, are the same.
    """
    alike = [extents[var] for var in tensor.rank_vars] == [other_extents[var] for var in other.rank_vars]
    if alike:
        return dict(zip(tensor.rank_vars, other.rank_vars, strict=True)), True
    return {tensor.rank_vars[0]: other.rank_vars[0]}, False


def _elementwise(
    function: str, inputs: tuple[TensorAccess, ...], output: TensorAccess, extents: Mapping[str, int]
) -> VectorOp:  # fmt: skip
    return VectorOp(
        name=function, inputs=inputs, output=output, extents=tuple((var, extents[var]) for var in output.rank_vars),
        function=function,
    )  # fmt: skip


def _renamed(step: Einsum, rank_vars: Mapping[str, str], tensors: Mapping[str, str], mark: str) -> Einsum:
    def access(tensor: TensorAccess) -> TensorAccess:
        return TensorAccess(
            name=tensors.get(tensor.name, f"{tensor.name}{mark}"),
            projection=tuple(tuple((rank_vars[var], c) for var, c in rank) for rank in tensor.projection),
        )

    return Einsum(
        name=f"{step.name}{mark}",
        inputs=tuple(map(access, step.inputs)),
        output=access(step.output),
        extents=tuple((rank_vars[var], extent) for var, extent in step.extents),
    )
