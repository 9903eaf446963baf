"""Errors of matrices kept on disk, so that no run works out what another one did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from heat_sim.cache_folder import content_key
from heat_sim.codesign.matrix_errors import SquaredErrors, Squares
from heat_sim.mapper.cache import MODEL_VERSION, MappingCache
from heat_sim.tensorize.factorization import Factorization

_RECIPE = 1
"""Raised when `MatrixErrors` or `StandInErrors` give other figures, so that no old ones are taken from the store."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredErrors:
    """The errors of `errors`, each looked up on disk before it is worked out.

    Attributes:
        errors: Where they come from.
        content: What the errors of a matrix depend on besides the factorization, by name: a digest.
        store: Where they are kept.
    """

    errors: SquaredErrors
    content: Mapping[str, str]
    store: MappingCache
    _wholes: dict[str, Squares] = field(default_factory=dict)

    @property
    def has_gradients(self) -> bool:
        """Whether the third norm is known."""
        return self.errors.has_gradients

    def knows(self, name: str, factorization: Factorization) -> bool:
        """Return whether the errors are at hand, in memory or on disk."""
        if not self.errors.knows(name, factorization) and name in self.content:
            stored = self.store.get(self._key(name, factorization))
            if stored is not None:
                self.errors.learn(name, factorization, Squares(*stored["squares"]))
        return self.errors.knows(name, factorization)

    def learn(self, name: str, factorization: Factorization, squares: Squares) -> None:
        """Take in errors that another process worked out, and kept."""
        self.errors.learn(name, factorization, squares)

    def __call__(self, name: str, factorization: Factorization) -> Squares:
        """Return the squared errors of one matrix."""
        known = self.knows(name, factorization)
        squares = self.errors(name, factorization)
        if not known and name in self.content:
            self.store.put(self._key(name, factorization), {"squares": list(squares)})
        return squares

    def whole(self, name: str) -> Squares:
        """Return the squared norms of the matrix itself."""
        if name not in self._wholes:
            self._wholes[name] = self.errors.whole(name)
        return self._wholes[name]

    def _key(self, name: str, factorization: Factorization) -> str:
        return content_key(
            {"squared errors": factorization.to_json(), "of": self.content[name], "recipe": _RECIPE,
             "version": MODEL_VERSION}
        )  # fmt: skip
