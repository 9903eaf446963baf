"""The layers and blocks that the search over cascades is timed on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchmarks.mapper_cases import ARCH_SPECS, forget
from heat_sim.architecture import Architecture
from heat_sim.einsum import Cascade, Einsum, parse_cascade, parse_einsum
from heat_sim.mapper import OBJECTIVES
from heat_sim.mapper.cascade import VectorUnit
from heat_sim.mapper.layer import Machine
from heat_sim.networks import Network, network_from_config
from heat_sim.specs import load_architecture
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.tensorization import Tensorization
from heat_sim.vector_op import parse_statement

EDP = OBJECTIVES["edp"]
PRESETS = ("edge_16x16", "simba_l")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Layers of one kind, each at every rank and number of tokens.

    Attributes:
        name: For the table.
        layer: Makes the einsum of a layer from tokens and rank.
        ranks: Of the decomposition.
    """

    name: str
    layer: Callable[[int, int], Einsum]
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What the tables look at.

    Attributes:
        chain: m, k, f, n of two chained matmuls.
        train: Tokens, input modes and output modes of a tensor-train layer.
        train_ranks: Its ranks.
        grids: Layers for which the contraction orders are compared.
        grid_tokens: Rows of their activations.
        heads: Of the attention.
        head_features: Per head.
        hidden: Features out of the feed-forward block; it has four times as many inside.
        tokens: Of both.
    """

    chain: tuple[int, int, int, int]
    train: tuple[int, tuple[int, ...], tuple[int, ...]]
    train_ranks: tuple[int, ...]
    grids: tuple[Grid, ...]
    grid_tokens: tuple[int, ...]
    heads: int
    head_features: int
    hidden: int
    tokens: tuple[int, ...]


def tensor_train(tokens: int, in_modes: Sequence[int], out_modes: Sequence[int], rank: int) -> Einsum:
    """Return a tensor-train layer with one core per pair of modes, all inner ranks alike.

    >>> print(tensor_train(8, (2, 3), (4, 5), 6))
    Y[s,o1,o2] = X[s,i1,i2] * G1[o1,i1,r1] * G2[r1,o2,i2]
    """
    places = range(1, len(in_modes) + 1)
    last = len(in_modes)
    cores = [
        f"G{k}[{f'r{k - 1},' if k > 1 else ''}o{k},i{k}{f',r{k}' if k < last else ''}]" for k in places
    ]  # fmt: skip
    extents = {"s": tokens} | {f"r{k}": rank for k in places}
    extents |= {f"i{k}": in_modes[k - 1] for k in places} | {f"o{k}": out_modes[k - 1] for k in places}
    outputs, inputs = (",".join(f"{letter}{k}" for k in places) for letter in "oi")
    return parse_einsum(f"Y[s,{outputs}] = X[s,{inputs}] * {' * '.join(cores)}", extents=extents)


def tucker(tokens: int, in_modes: tuple[int, int], out_features: int, rank: int) -> Einsum:
    """Return a layer whose matrix, its columns as two modes, is a core and three factors of this rank.

    >>> print(tucker(8, (2, 3), 4, 2))
    Y[s,o] = X[s,i1,i2] * C[a,b,c] * U[o,a] * V[i1,b] * W[i2,c]
    """
    extents = {"s": tokens, "o": out_features, "i1": in_modes[0], "i2": in_modes[1], "a": rank, "b": rank, "c": rank}
    return parse_einsum("Y[s,o] = X[s,i1,i2] * C[a,b,c] * U[o,a] * V[i1,b] * W[i2,c]", extents=extents)


def dense(layer: Einsum) -> Einsum:
    """Return the layer with its matrix made ahead of time: one einsum over the same modes."""
    x, y = layer.inputs[0], layer.output
    modes = ",".join(var for var in (*y.rank_vars, *x.rank_vars) if not (var in y.rank_vars and var in x.rank_vars))
    return parse_einsum(f"{y} = {x} * W[{modes}]", extents=dict(layer.extents))


FULL = Sizes(
    chain=(512, 768, 64, 3072),
    train=(512, (12, 8, 8), (16, 16, 12)),
    train_ranks=(8, 64),
    grids=(
        Grid(name="2-core TT", layer=lambda s, r: tensor_train(s, (24, 16), (48, 32), r), ranks=(8, 32)),
        Grid(name="3-core TT", layer=lambda s, r: tensor_train(s, (8, 8, 6), (16, 12, 8), r), ranks=(8, 32)),
        Grid(name="Tucker", layer=lambda s, r: tucker(s, (24, 16), 1536, r), ranks=(8,)),
    ),
    grid_tokens=(1, 32, 128),
    heads=12,
    head_features=64,
    hidden=768,
    tokens=(128, 384),
)
"""BERT-base; the grid has the matrix 384 -> 1536 of MiniLM, so that all of it ends within minutes."""

QUICK = Sizes(
    chain=(16, 24, 4, 32),
    train=(4, (2, 2, 2), (2, 2, 2)),
    train_ranks=(2,),
    grids=(Grid(name="2-core TT", layer=lambda s, r: tensor_train(s, (4, 2), (4, 4), r), ranks=(1, 2)),),
    grid_tokens=(1, 2),
    heads=2,
    head_features=4,
    hidden=8,
    tokens=(16,),
)
"""Small enough to end in seconds; few trees, as tiny layers fit everywhere, so that bounds set little aside."""


def encoder(sizes: Sizes, name: str) -> tuple[Network, dict[str, Factorization]]:
    """Return an encoder, every matrix of it in the same format; see the table for the ranks."""
    config = {
        "model_type": "bert", "hidden_size": sizes.hidden, "num_hidden_layers": 12, "num_attention_heads": sizes.heads,
        "intermediate_size": 4 * sizes.hidden, "vocab_size": 30522, "max_position_embeddings": 512,
    }  # fmt: skip
    network = network_from_config(config, tokens=sizes.tokens[0], name="encoder")
    inner = (sizes.hidden // 64 or 1, 8, 8) if sizes.hidden >= 64 else (2, 2, sizes.hidden // 4)
    modes = {sizes.hidden: inner, 4 * sizes.hidden: (inner[0], 2 * inner[1], 2 * inner[2])}
    rank = 8 if sizes.hidden >= 64 else 2
    design: dict[str, Factorization] = {}
    for matrix in network.matrices:
        shapes = [matrix.out_features, matrix.in_features]
        out_modes, in_modes = (modes[n] if name == "tt-matrix" else (n,) for n in shapes)
        ranks = {"dense": (), "low-rank": (max(1, sizes.hidden // 6),), "tt-matrix": (1, rank, rank, 1)}[name]
        design[matrix.name] = Factorization(
            format=name, tensorization=Tensorization(out_modes=out_modes, in_modes=in_modes), ranks=ranks
        )
    return network, design


def machine(preset: str, *, fuse: bool = True, merged: bool = False, gap: float = 0.0) -> Machine:
    """Return an accelerator of `arch_specs` on which nothing was searched so far, with a `vector_unit_of` it."""
    folder = ARCH_SPECS / preset
    spec = load_architecture(folder / "arch.yaml", ert=folder / "ert.yaml")
    return Machine(
        architecture=spec.architecture, constraints=spec.constraints, fuse=fuse, merged=merged, gap=gap,
        vector_unit=vector_unit_of(spec.architecture),
    )  # fmt: skip


def vector_unit_of(architecture: Architecture) -> VectorUnit:
    """Return the vector unit that is assumed: a lane per column of the array, an operation for the energy of a MAC."""
    columns = math.prod(level.fanout_x for level in architecture.levels)
    return VectorUnit(energy_pj=architecture.compute_energy_pj, operations_per_cycle=columns)


def chain(m: int, k: int, f: int, n: int) -> Cascade:
    """Return two chained matmuls."""
    texts = ["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"]
    return parse_cascade(texts, extents={"m": m, "k": k, "f": f, "n": n}, name=f"{m}x{k}x{f}x{n}")


def attention(tokens: int, sizes: Sizes, *, softmax: str) -> Cascade:
    """Return the attention of all heads, between the projections."""
    texts = ("S[h,m,n] = Q[h,m,d] * K[h,n,d]", f"P[h,m,n] = {softmax}(S[h,m,n]) over n",
             "Y[h,m,d] = P[h,m,n] * V[h,n,d]")  # fmt: skip
    return _statements(
        texts, {"h": sizes.heads, "m": tokens, "n": tokens, "d": sizes.head_features}, name=f"attention, {softmax}"
    )


def feed_forward(tokens: int, sizes: Sizes) -> Cascade:
    """Return the feed-forward block."""
    texts = ("H[m,f] = X[m,k] * U[k,f]", "G[m,f] = gelu(H[m,f])", "Y[m,n] = G[m,f] * D[f,n]")
    return _statements(
        texts, {"m": tokens, "k": sizes.hidden, "f": 4 * sizes.hidden, "n": sizes.hidden}, name="FFN with gelu"
    )


def _statements(texts: Sequence[str], extents: dict[str, int], *, name: str) -> Cascade:
    return Cascade(name=name, einsums=tuple(parse_statement(text, extents=extents) for text in texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed(Generic[T_co]):
    """One fresh search.

    Attributes:
        found: What it found.
        seconds: Wall time.
        cpu_seconds: CPU time; on a shared machine the steadier of the two.
        searches: Searches for mappings of parts.
        proven: Whether all of them ran through.
    """

    found: T_co
    seconds: float
    cpu_seconds: float
    searches: int
    proven: bool


def timed(on: Machine, search: Callable[[], T_co]) -> Timed[T_co]:
    """Return a search that finds nothing prepared but the compiled code, timed.

    Args:
        on: New.
        search: What to do with it.
    """
    forget()
    started, cpu = time.perf_counter(), time.process_time()
    found = search()
    return Timed(
        found=found, seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - cpu,
        searches=on.parts.searches, proven=on.parts.is_proven,
    )  # fmt: skip


def warm_up() -> None:
    """Load the compiled code that the searches call."""
    on = machine(PRESETS[0])
    on.map_layer(tensor_train(4, (2, 2), (2, 2), 2), activations="X")
    on.map_cascade(attention(4, QUICK, softmax="online_softmax"), objective=EDP)
