"""A factorised weight matrix as a noun: its format, its tensorization and its ranks, without numbers in the cores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.core_spec import CoreSpec
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization

ACTIVATIONS = "X"
"""Name of the input tensor of a factorised layer."""

OUTPUT = "Y"
"""Name of its output tensor."""

_KEYS = ("format", "out_modes", "in_modes", "ranks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorization:
    """How a weight matrix of shape (out_features, in_features) is held as cores.

    Attributes:
        format: A name in `FORMATS`.
        tensorization: The modes; `weight[o, i]` with o and i in row-major order of them.
        ranks: dense: ``()``. low-rank: the one rank ``(r1,)``. tt-matrix: the full tuple
            ``(1, r1, .., r_{d-1}, 1)`` for d modes.

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
    def core_specs(self) -> tuple[CoreSpec, ...]:
        """Name and rank variables of every core, in the order of the einsum."""
        return FORMATS[self.format].core_specs(self.tensorization, self.ranks)

    @property
    def core_names(self) -> tuple[str, ...]:
        """Names of the cores, in the order of the einsum."""
        return tuple(core.name for core in self.core_specs)

    @property
    def core_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the cores, in the order of the einsum."""
        return tuple(core.shape for core in self.core_specs)

    @property
    def parameters(self) -> int:
        """Sum of the sizes of the cores."""
        return sum(math.prod(shape) for shape in self.core_shapes)

    @property
    def compression_ratio(self) -> float:
        """Parameters of the dense matrix over those of the cores: above 1 is smaller."""
        return self.out_features * self.in_features / self.parameters

    def einsum(self, tokens: int, *, name: str = "layer") -> Einsum:
        """Return the layer on `tokens` tokens as one einsum over the activations and all cores.

        Rank variables: s the token, o1.. and i1.. the modes, r1.. the ranks.

        >>> shape = Tensorization(out_modes=(4, 2), in_modes=(3, 2))
        >>> print(Factorization(format="tt-matrix", tensorization=shape, ranks=(1, 4, 1)).einsum(128))
        Y[s,o1,o2] = X[s,i1,i2] * G1[o1,i1,r1] * G2[r1,o2,i2]
        """
        outs = {f"o{k}": mode for k, mode in enumerate(self.tensorization.out_modes, start=1)}
        ins = {f"i{k}": mode for k, mode in enumerate(self.tensorization.in_modes, start=1)}
        cores = self.core_specs
        extents = {"s": tokens, **outs, **ins, **{var: extent for core in cores for var, extent in core.dims}}
        return Einsum(
            name=name,
            inputs=(_plain(ACTIVATIONS, ("s", *ins)), *(core.access for core in cores)),
            output=_plain(OUTPUT, ("s", *outs)),
            extents=tuple(extents.items()),
        )

    def to_json(self) -> dict[str, object]:
        """Return the factorization as a plain dict that `from_json` reads back.

        >>> Factorization(format="dense", tensorization=Tensorization(out_modes=(8,), in_modes=(6,))).to_json()
        {'format': 'dense', 'out_modes': [8], 'in_modes': [6], 'ranks': []}
        """
        return {
            "format": self.format,
            "out_modes": list(self.tensorization.out_modes),
            "in_modes": list(self.tensorization.in_modes),
            "ranks": list(self.ranks),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object], *, where: str = "factorization") -> Factorization:
        """Return the factorization that `to_json` wrote.

        Args:
            data: Keys format, out_modes, in_modes and, where the format has any, ranks; no others.
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
            value = data.get(key, [] if key == "ranks" else None)
            if isinstance(value, list | tuple) and all(type(item) is int for item in value):
                lists[key] = tuple(value)
            else:
                problems.append(
                    describe(f"{where}.{key}", "not a list of integers", got=value, expected="for example [16, 24]",
                             remedy="Write whole numbers.")
                )  # fmt: skip
        if problems:
            raise SpecError(problems)
        try:
            tensorization = Tensorization(out_modes=lists["out_modes"], in_modes=lists["in_modes"])
            return cls(format=str(form), tensorization=tensorization, ranks=lists["ranks"])
        except SpecError as error:
            raise SpecError([f"{where}: {problem}" for problem in error.problems]) from None


def _plain(tensor: str, rank_vars: tuple[str, ...]) -> TensorAccess:
    return TensorAccess(name=tensor, projection=tuple(((var, 1),) for var in rank_vars))


def _unknown_format(where: str, got: object) -> str:
    return describe(where, "unknown format", got=repr(got), expected=" or ".join(FORMATS), remedy="Correct the name.")
