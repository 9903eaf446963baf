"""A factorised weight matrix as a noun: its format, its tensorization and its ranks, without numbers in the cores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.core_spec import CoreSpec, Term
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization

ACTIVATIONS = "X"
"""Name of the input tensor of a factorised layer."""

OUTPUT = "Y"
"""Name of its output tensor."""

_KEYS = ("format", "out_modes", "in_modes", "ranks", "padding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorization:
    """How a weight matrix of shape (out_features, in_features) is held as cores.

    Attributes:
        format: A name in `FORMATS`.
        tensorization: The modes; `weight[o, i]` with o and i in row-major order of them.
        ranks: dense: ``()``. low-rank, cp, btt and block-low-rank: the one rank ``(r1,)``. tucker: one per mode, the
            outputs first. tt-matrix: the full tuple ``(1, r1, .., r_{d-1}, 1)`` for d modes. tensor-ring:
            ``(r0, r1, ..)``, one per mode. block-term: the number of blocks, then the ranks of tucker.

    >>> f = Factorization(format="low-rank", tensorization=Tensorization(out_modes=(8,), in_modes=(6,)), ranks=(2,))
    >>> f.core_shapes, f.parameters, round(f.compression_ratio, 3)
    (((8, 2), (2, 6)), 28, 1.714)
    """

    format: str
    tensorization: Tensorization
    ranks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise SpecError(_unknown_format("factorization format", self.format))
        form = FORMATS[self.format]
        if (expected := form.misfit(self.tensorization)) is not None:
            raise SpecError(
                describe(f"factorization {self.format}", "modes that the format does not take", got=self.tensorization,
                         expected=expected, remedy="Choose other modes or another format.")
            )  # fmt: skip
        limits = form.max_ranks(self.tensorization)
        if len(self.ranks) != len(limits):
            raise SpecError(
                describe(f"factorization {self.format} {self.tensorization}", "wrong number of ranks", got=self.ranks,
                         expected=f"{len(limits)} of them, at most {limits}", remedy="Give the full tuple.")
            )  # fmt: skip
        problems = [
            describe(f"factorization {self.format} {self.tensorization}, ranks[{index}]", "not a usable rank", got=rank,
                     expected="1" if limit == 1 else f"an integer from 1 to {limit}",
                     remedy="Beyond that nothing is gained.")
            for index, (rank, limit) in enumerate(zip(self.ranks, limits, strict=True))
            if type(rank) is not int or not 1 <= rank <= limit
        ]  # fmt: skip
        if problems:
            raise SpecError(problems)

    @property
    def out_features(self) -> int:
        """Rows of the weight matrix."""
        return self.tensorization.out_features

    @property
    def in_features(self) -> int:
        """Columns of the weight matrix."""
        return self.tensorization.in_features

    @property
    def terms(self) -> tuple[Term, ...]:
        """The products of cores whose sum is the padded matrix."""
        return FORMATS[self.format].terms(self.tensorization.padded, self.ranks)

    @property
    def core_specs(self) -> tuple[CoreSpec, ...]:
        """Name and rank variables of every core, term by term in the order of the einsums."""
        return tuple(core for term in self.terms for core in term.cores)

    @property
    def core_names(self) -> tuple[str, ...]:
        """Names of the cores, in the order of the einsums."""
        return tuple(core.name for core in self.core_specs)

    @property
    def core_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the cores, in the order of the einsums."""
        return tuple(core.shape for core in self.core_specs)

    @property
    def parameters(self) -> int:
        """Sum of the sizes of the cores."""
        return sum(math.prod(shape) for shape in self.core_shapes)

    @property
    def compression_ratio(self) -> float:
        """Parameters of the dense matrix over those of the cores: above 1 is smaller."""
        return self.out_features * self.in_features / self.parameters

    def einsums(self, tokens: int, *, name: str = "layer") -> tuple[Einsum, ...]:
        """Return the layer on `tokens` tokens: per term one einsum over the activations and its cores.

        The output is the sum of theirs; all formats but block-low-rank have one term. Rank variables: s the token,
        o1.. and i1.. the modes, r1.. the ranks.

        >>> shape = Tensorization(out_modes=(4, 2), in_modes=(3, 2))
        >>> print(*Factorization(format="tt-matrix", tensorization=shape, ranks=(1, 4, 1)).einsums(128))
        Y[s,o1,o2] = X[s,i1,i2] * G1[o1,i1,r1] * G2[r1,o2,i2]
        """
        terms = self.terms
        return tuple(
            _einsum(term, tokens, name=name if len(terms) == 1 else f"{name}.{k}")
            for k, term in enumerate(terms, start=1)
        )

    def member(self, members: int) -> Factorization:
        """Return what one of several matrices, stacked row on row and factorised jointly, is by itself.

        Raises:
            SpecError: The format cannot be cut into rows: only low-rank can, whose members share ``G2``.

        >>> rows = Tensorization(out_modes=(24,), in_modes=(6,))
        >>> Factorization(format="low-rank", tensorization=rows, ranks=(2,)).member(3).core_shapes
        ((8, 2), (2, 6))
        """
        if self.format != "low-rank" or self.out_features % members:
            raise SpecError(
                describe(f"factorization {self.format} {self.tensorization}", "cannot be cut into the rows of members",
                         got=f"{members} members", expected="low-rank, and a divisor of the rows",
                         remedy="Only query, key and value of one layer may share another format.")
            )  # fmt: skip
        rows = Tensorization(out_modes=(self.out_features // members,), in_modes=self.tensorization.in_modes)
        return Factorization(format=self.format, tensorization=rows, ranks=self.ranks)

    def to_json(self) -> dict[str, object]:
        """Return the factorization as a plain dict that `from_json` reads back.

        >>> Factorization(format="dense", tensorization=Tensorization(out_modes=(8,), in_modes=(6,))).to_json()
        {'format': 'dense', 'out_modes': [8], 'in_modes': [6], 'ranks': []}
        """
        padding = self.tensorization.padding
        return {
            "format": self.format,
            "out_modes": list(self.tensorization.out_modes),
            "in_modes": list(self.tensorization.in_modes),
            "ranks": list(self.ranks),
            **({} if padding == (0, 0) else {"padding": list(padding)}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object], *, where: str = "factorization") -> Factorization:
        """Return the factorization that `to_json` wrote.

        Args:
            data: Keys format, out_modes, in_modes and, where there are any, ranks and padding; no others.
            where: What messages begin with.

        Raises:
            SpecError: All that is wrong with it.

        >>> Factorization.from_json({"format": "dense", "out_modes": [8], "in_modes": [6]}).parameters
        48
        """
        problems = [
            describe(where, "unknown key", got=key, expected=", ".join(_KEYS), remedy="Remove or rename it.")
            for key in data
            if key not in _KEYS
        ]
        form = data.get("format")
        if not isinstance(form, str) or form not in FORMATS:
            problems.append(_unknown_format(f"{where}.format", form))
        lists: dict[str, tuple[int, ...]] = {}
        for key in _KEYS[1:]:
            value = data.get(key, {"ranks": [], "padding": [0, 0]}.get(key))
            wanted = 2 if key == "padding" else None
            if (
                isinstance(value, list | tuple)
                and all(type(item) is int for item in value)
                and len(value) == (wanted or len(value))
            ):
                lists[key] = tuple(value)
            else:
                problems.append(
                    describe(f"{where}.{key}", "not a list of integers", got=value, expected="for example [16, 24]",
                             remedy="Write whole numbers.")
                )  # fmt: skip
        if problems:
            raise SpecError(problems)
        try:
            rows, columns = lists["padding"]
            tensorization = Tensorization(
                out_modes=lists["out_modes"], in_modes=lists["in_modes"], padding=(rows, columns)
            )  # fmt: skip
            return cls(format=str(form), tensorization=tensorization, ranks=lists["ranks"])
        except SpecError as error:
            raise SpecError([f"{where}: {problem}" for problem in error.problems]) from None


def _einsum(term: Term, tokens: int, *, name: str) -> Einsum:
    return Einsum(
        name=name,
        inputs=(_plain(ACTIVATIONS, ("s", *term.in_vars)), *(core.access for core in term.cores)),
        output=_plain(OUTPUT, ("s", *term.out_vars)),
        extents=tuple({"s": tokens, **{var: term.extents[var] for var in term.mode_vars}, **term.extents}.items()),
    )


def _plain(tensor: str, rank_vars: tuple[str, ...]) -> TensorAccess:
    return TensorAccess(name=tensor, projection=tuple(((var, 1),) for var in rank_vars))


def _unknown_format(where: str, got: object) -> str:
    return describe(where, "unknown format", got=repr(got), expected=" or ".join(FORMATS), remedy="Correct the name.")
