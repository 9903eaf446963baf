"""A chosen design: how every weight matrix of a network is factorised and contracted, and its file.

The file is YAML of plain values::

    design:
      id: d03
      model: minilm-l6
      tokens: 128
      arch: simba_l
      matrices:
        encoder.layer.0.attention.self.query:
          format: low-rank
          out_modes: [384]
          in_modes: [384]
          ranks: [64]
          tree: ((X G2) G1)

A matrix that stays dense is listed with ``format: dense``; it may leave out ranks and tree. A format that is a sum of
terms has a list of trees. Matrices of one size can be factorised jointly, stacked row on row: the entry, under any
name, lists them as ``members``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.contraction import ContractionTree, check_tree, contraction_trees, parse_tree, tree_to_text
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.plain_yaml import Reading

_KEYS = ("id", "model", "tokens", "arch", "matrices")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDesign:
    """One weight matrix of a design, or several that are factorised jointly.

    Attributes:
        factorization: Format, modes and ranks of the matrix, or of the members stacked row on row.
        trees: In which order the einsum of each term is contracted.
        members: Names of the matrices, if they are factorised jointly; all of one size.
    """

    factorization: Factorization
    trees: tuple[ContractionTree, ...]
    members: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        einsums = self.factorization.einsums(1)
        if len(einsums) != len(self.trees):
            raise SpecError(
                describe(f"layer of format {self.factorization.format}", "wrong number of contraction trees",
                         got=len(self.trees), expected=f"{len(einsums)}, one per term", remedy="Give all of them.")
            )  # fmt: skip
        for einsum, tree in zip(einsums, self.trees, strict=True):
            check_tree(einsum, tree)
        if self.members and (
            len(self.members) < 2
            or len(set(self.members)) < len(self.members)
            or self.factorization.out_features % len(self.members)
        ):
            raise SpecError(
                describe("layer with members", "not matrices of one size, each once", got=", ".join(self.members),
                         expected=f"at least two that share {self.factorization.out_features} rows evenly",
                         remedy="Correct members or out_modes.")
            )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A factorised network, as a search chose it.

    Attributes:
        id: Name of the design and of its file.
        model: Name of the network.
        tokens: Tokens per inference it was costed for.
        architecture: Name of the accelerator it was costed on.
        layers: ``(name of the weight matrix or of the joint matrices, design)``, every matrix once.
    """

    id: str
    model: str
    tokens: int
    architecture: str
    layers: tuple[tuple[str, LayerDesign], ...]

    def __post_init__(self) -> None:
        problems = [
            describe("design", f"{what} is empty", got=repr(text), expected="a name", remedy="Give one.")
            for what, text in (("id", self.id), ("model", self.model), ("architecture", self.architecture))
            if not text
        ]
        if type(self.tokens) is not int or self.tokens < 1:
            problems.append(
                describe("design", "tokens is not a count", got=self.tokens, expected="an integer of at least 1",
                         remedy="Give the tokens per inference.")
            )  # fmt: skip
        names = [name for key, layer in self.layers for name in (layer.members or (key,))]
        if not names or len(set(names)) != len(names):
            problems.append(
                describe("design", "its matrices are not a list of distinct names", got=", ".join(names[:5]) or "none",
                         expected="at least one, each once", remedy="List every matrix once.")
            )  # fmt: skip
        if problems:
            raise SpecError(problems)

    @property
    def joint(self) -> dict[str, tuple[str, ...]]:
        """Members by the name of the joint entry."""
        return {name: layer.members for name, layer in self.layers if layer.members}

    @property
    def parameters(self) -> int:
        """Sum of the core sizes of all matrices."""
        return sum(layer.factorization.parameters for _, layer in self.layers)


def dump_design(design: Design) -> str:
    """Return the text of the design's file; `load_design` reads it back to an equal design.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> f = Factorization(format="low-rank", tensorization=Tensorization(out_modes=(8,), in_modes=(6,)), ranks=(2,))
    >>> layers = (("query", LayerDesign(factorization=f, trees=((("X", "G2"), "G1"),))),)
    >>> print(dump_design(Design(id="d1", model="tiny", tokens=16, architecture="edge", layers=layers)), end="")
    design:
      id: d1
      model: tiny
      tokens: 16
      arch: edge
      matrices:
        query:
          format: low-rank
          out_modes: [8]
          in_modes: [6]
          ranks: [2]
          tree: ((X G2) G1)
    """
    matrices = {name: _as_plain(layer) for name, layer in design.layers}
    content = {"id": design.id, "model": design.model, "tokens": design.tokens, "arch": design.architecture,
               "matrices": matrices}  # fmt: skip
    return yaml.safe_dump({"design": content}, sort_keys=False, default_flow_style=None, width=1000)


def _as_plain(layer: LayerDesign) -> dict[str, object]:
    texts = [tree_to_text(tree) for tree in layer.trees]
    members = {"members": list(layer.members)} if layer.members else {}
    return {**members, **layer.factorization.to_json(), "tree": texts[0] if len(texts) == 1 else texts}


def load_design(path: Path) -> Design:
    """Return the design in a file.

    Args:
        path: A file as `dump_design` writes it.

    Raises:
        SpecError: Everything that is wrong with the file, with the lines where it is.
        OSError: The file cannot be read.

    >>> load_design(Path("missing.yaml"))
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'missing.yaml'
    """
    return parse_design(path.read_text(encoding="utf-8"), source=str(path))


def parse_design(text: str, *, source: str = "design") -> Design:
    """Return the design in a text.

    Args:
        text: As `dump_design` writes it.
        source: What messages call it, usually the file.

    Raises:
        SpecError: Everything that is wrong with it.

    >>> parse_design("design: {id: d1}", source="d1.yaml")
    Traceback (most recent call last):
    heat_sim.errors.SpecError: d1.yaml:1 design: key missing (got id, expected model). Add it.
    ...
    """
    reading = Reading(text, source=source)
    content = reading.entries(reading.root, "", required=("design",)).get("design")
    values = reading.entries(content, "design", required=_KEYS) if content is not None or not reading.problems else {}
    for key in ("id", "model", "arch"):
        if key in values and not (isinstance(values[key], str) and values[key]):
            reading.refuse(f"design.{key}", "not a name", got=values[key], expected="a text",
                           remedy="Put it in quotes if it looks like a number.")  # fmt: skip
    tokens = values.get("tokens")
    if "tokens" in values and (type(tokens) is not int or tokens < 1):
        reading.refuse("design.tokens", "not a count", got=tokens, expected="an integer of at least 1",
                       remedy="Give the tokens per inference.")  # fmt: skip
    layers = []
    if "matrices" in values:
        matrices = reading.entries(values["matrices"], "design.matrices", required=None)
        if not matrices:
            reading.refuse("design.matrices", "no matrix", got="none", expected="at least one",
                           remedy="List the weight matrices.")  # fmt: skip
        layers = [(name, _layer(reading, name, entry)) for name, entry in matrices.items()]
    if reading.problems:
        raise SpecError(reading.problems)
    return Design(
        id=str(values["id"]),
        model=str(values["model"]),
        tokens=int(str(tokens)),
        architecture=str(values["arch"]),
        layers=tuple((name, layer) for name, layer in layers if layer is not None),
    )


def _layer(reading: Reading, name: str, entry: object) -> LayerDesign | None:
    """Return the design of one matrix, or None after having noted what is wrong."""
    path = f"design.matrices.{name}"
    values = reading.entries(entry, path, required=None)
    if not values:
        return None
    tree, members = values.pop("tree", None), values.pop("members", [])
    if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
        reading.refuse(f"{path}.members", "not a list of names", got=members, expected="for example [query, key]",
                       remedy="List the matrices that are factorised jointly.")  # fmt: skip
        return None
    try:
        factorization = Factorization.from_json(values, where=reading.where(path))
    except SpecError as error:
        reading.problems += error.problems
        return None
    try:
        trees = _trees(factorization, tree)
        if trees is not None:
            return LayerDesign(factorization=factorization, trees=trees, members=tuple(members))
    except SpecError as error:
        reading.problems += [f"{reading.where(f'{path}.tree')}: {problem}" for problem in error.problems]
        return None
    reading.refuse(f"{path}.tree", "no contraction tree", got=tree, expected="a text like ((X G2) G1), one per term",
                   remedy="Give one of the trees of the layer's einsum.")  # fmt: skip
    return None


def _trees(factorization: Factorization, tree: object) -> tuple[ContractionTree, ...] | None:
    """Return the trees that an entry gives, or the only ones there are; None if it gives none."""
    if tree is None:
        only = [contraction_trees(einsum) for einsum in factorization.einsums(1)]
        return tuple(trees[0] for trees in only) if all(len(trees) == 1 for trees in only) else None
    texts = tree if isinstance(tree, list) else [tree]
    return tuple(parse_tree(str(text)) for text in texts) if all(isinstance(text, str) for text in texts) else None
