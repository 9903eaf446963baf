"""`heat-sim score`: energy, cycles and EDP of a whole network on an accelerator, and where they go."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from heat_sim.cli.console import out, write_json
from heat_sim.cli.inputs import read_architecture
from heat_sim.cli.models import read_network
from heat_sim.cli.options import ArchOrPreset, ErtFile, JsonFile
from heat_sim.codesign.network_cost import NetworkCost, NetworkCoster
from heat_sim.errors import SpecError, describe
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.layer import Machine
from heat_sim.networks import (
    COVERED,
    SIZES,
    TEXT_TOKENS,
    EmbeddingTable,
    Network,
    ParameterCount,
    compressed_words,
    count_parameters,
)
from heat_sim.report.breakdown import BreakdownRow, as_json, breakdown, breakdown_table
from heat_sim.specs import ArchitectureSpec
from heat_sim.tensorize.design import load_design
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.tensorization import Tensorization
from heat_sim.vector_op import VectorUnit


def score_command(
    arch: ArchOrPreset,
    model: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(SIZES)}; a model folder or its config.json; or an id on the Hugging Face hub. Families: "
            f"{', '.join(COVERED)}."
        ),
    ] = "bert-base",
    tokens: Annotated[
        int | None,
        typer.Option(min=1, help=f"Sequence length; if left out, the patches of an image or {TEXT_TOKENS} of text."),
    ] = None,
    design: Annotated[
        Path | None, typer.Option(metavar="D.yaml", help="How the weight matrices are factorised; dense if left out.")
    ] = None,
    vector_unit: Annotated[
        str | None,
        typer.Option(
            metavar="PJ,OPS",
            help="Energy in pJ of a vector operation, and operations per cycle: softmax and the activation function of "
            "the feed-forward blocks count then.",
        ),
    ] = None,
    fuse: Annotated[bool, typer.Option("--fuse/--no-fuse", help="Whether einsums may share outer loops.")] = True,
    gap: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="What is better by no more than this share may be left out.")
    ] = 0.0,
    merged: Annotated[
        bool,
        typer.Option("--merged", help="Take ranks of one class as one, along one axis of a mesh: faster, a bit worse."),
    ] = False,
    cached: Annotated[
        bool, typer.Option("--cache", help="Look parts up in the mapping cache, and keep them there.")
    ] = False,
    embedding_ranks: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="R",
            help="Count the word embedding as a tensor train of three cores with this rank, too; nothing else changes.",
        ),
    ] = None,
    ert: ErtFile = None,
    json: JsonFile = None,
) -> None:
    """Cost a whole network: the mapping, contraction order and fusion of every part with the least EDP of all.

    EDP is the sum of all energies times the sum of all cycles. Prints energy per level, cycles and the roofline of
    every einsum, and the parameters of embeddings, encoder and head; of these only the matrices of the encoder are
    costed.

    Example: heat-sim score --arch simba_l --model bert-base --tokens 128 --vector-unit 1.0,16
    """
    spec = read_architecture(arch, ert)
    network = read_network(model, tokens=tokens)
    coster = NetworkCoster(
        machine=Machine(
            architecture=spec.architecture, constraints=spec.constraints, fuse=fuse, gap=gap, merged=merged,
            vector_unit=None if vector_unit is None else _vector_unit(vector_unit),
        ),
        cache=MappingCache() if cached else None,
    )  # fmt: skip
    words = None if embedding_ranks is None else compressed_words(network, rank=embedding_ranks)
    factorizations, joint = _factorizations(network, design)
    parameters = count_parameters(network, factorizations.values())
    cost = coster.cost(network, factorizations, joint=joint)
    rows = breakdown(cost.parts, spec.architecture)
    if json is not None:
        write_json(_as_json(cost, rows, network, spec) | _parameters_as_json(parameters, words), json)
    if json == "-":
        return
    out.print(breakdown_table(rows, spec.architecture), markup=False, soft_wrap=True)
    rules = "proven optimal under the rules"
    if vector_unit is not None:
        rules += ", each matrix of a feed-forward block in its own best order"
    proof = rules if cost.optimal else f"gap {gap:.1%}" if gap else "no proof"
    out.print(
        f"{network.name}, {network.tokens} tokens on {spec.architecture.name}: {cost.cycles:,} cycles, "
        f"{cost.energy_pj / 1e6:,.1f} uJ, EDP {cost.edp_pj_cycles:.6g} pJ x cycles; {proof}; {cost.seconds:.2f} s"
        + ("" if vector_unit else f"; softmax and {network.function} left out"),
        markup=False,
    )
    out.print(_parameters_text(parameters, words), markup=False)


def _parameters_text(count: ParameterCount, words: tuple[EmbeddingTable, Factorization] | None) -> str:
    text = (
        f"parameters: {count.embeddings:,} embeddings + {count.encoder:,} encoder + {count.head:,} head = "
        f"{count.total:,}"
    )
    if words is None:
        return text
    table, train = words
    return (
        f"{text}; with {table.name} as {train.format} {train.tensorization}, ranks {train.ranks}: "
        f"{train.parameters:,} instead of {table.parameters:,}, {_smaller_total(count, words):,} in all"
    )


def _smaller_total(count: ParameterCount, words: tuple[EmbeddingTable, Factorization]) -> int:
    table, train = words
    return count.total - table.parameters + train.parameters


def _parameters_as_json(
    count: ParameterCount, words: tuple[EmbeddingTable, Factorization] | None
) -> dict[str, object]:  # fmt: skip
    found: dict[str, object] = {
        "parameters": {
            "embeddings": count.embeddings, "encoder": count.encoder, "head": count.head, "total": count.total
        }
    }  # fmt: skip
    if words is not None:
        table, train = words
        found["compressed_embedding"] = {
            "table": table.name, "factorization": train.to_json(), "parameters": train.parameters,
            "total": _smaller_total(count, words),
        }  # fmt: skip
    return found


def _factorizations(network: Network, path: Path | None) -> tuple[dict[str, Factorization], dict[str, tuple[str, ...]]]:
    """Return factorizations by the name of their matrix or joint entry, and the members of the joint entries."""
    if path is None:
        dense = {
            matrix.name: Factorization(
                format="dense",
                tensorization=Tensorization(out_modes=(matrix.out_features,), in_modes=(matrix.in_features,)),
            )
            for matrix in network.matrices
        }
        return dense, {}
    design = load_design(path)
    factorizations = {name: layer.factorization for name, layer in design.layers}
    entry_of = {member: name for name, layer in design.layers for member in (layer.members or (name,))}
    sharing = Counter(entry_of.values())
    if missing := [matrix.name for matrix in network.matrices if matrix.name not in entry_of]:
        raise SpecError(
            describe(str(path), "a weight matrix of the network is not in the design", got=missing[0],
                     expected=f"all {len(network.matrices)} of {network.name}",
                     remedy="Name the model that the design is for.")
        )  # fmt: skip
    for matrix in network.matrices:
        entry = entry_of[matrix.name]
        factorization = factorizations[entry]
        shape = factorization.out_features // sharing[entry], factorization.in_features
        if shape != (matrix.out_features, matrix.in_features):
            raise SpecError(
                describe(f"{path}: {matrix.name}", "another shape than in the network", got="x".join(map(str, shape)),
                         expected=f"{matrix.out_features}x{matrix.in_features}", remedy="Correct model or design.")
            )  # fmt: skip
    used = {entry_of[matrix.name] for matrix in network.matrices}
    return {name: each for name, each in factorizations.items() if name in used}, design.joint


def _vector_unit(text: str) -> VectorUnit:
    try:
        energy_pj, rate = (float(number) for number in text.split(","))
    except ValueError:
        energy_pj = rate = -1.0
    if not (0 <= energy_pj < float("inf") and 0 < rate < float("inf")):
        raise SpecError(describe("--vector-unit", "not two numbers", got=text, expected="PJ,OPS such as 1.0,16",
                                 remedy="Write both out."))  # fmt: skip
    return VectorUnit(energy_pj=energy_pj, operations_per_cycle=rate)


def _as_json(
    cost: NetworkCost, rows: tuple[BreakdownRow, ...], network: Network, spec: ArchitectureSpec
) -> dict[str, Any]:  # fmt: skip
    return {
        "network": network.name,
        "tokens": network.tokens,
        "architecture": spec.architecture.name,
        "energy_pJ": cost.energy_pj,
        "cycles": cost.cycles,
        "edp_pJ_cycles": cost.edp_pj_cycles,
        "optimal": cost.optimal,
        "seconds": cost.seconds,
        "parts": [
            {"name": name, "times": times, "energy_pJ": option.energy_pj, "cycles": option.cycles}
            for name, times, option in cost.parts
        ],
        "breakdown": [as_json(row) for row in rows],
    }
