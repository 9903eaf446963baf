"""Where the parts of designs are worked out: what a process needs to do it, and the work itself, to be sent there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from threadpoolctl import threadpool_limits

from heat_sim.architecture import Architecture
from heat_sim.cache_folder import content_key
from heat_sim.codesign.layer_ways import LayerWays, Order, Way
from heat_sim.codesign.matrix_errors import SquaredErrors, Squares
from heat_sim.codesign.stand_in import stand_in_errors
from heat_sim.codesign.stored_errors import StoredErrors
from heat_sim.einsum import Cascade
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.layer import Machine
from heat_sim.mapping import LevelConstraints
from heat_sim.networks import Network
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.projection_cache import ProjectionCache

ERRORS_FILE = "errors.sqlite3"
"""Beside the mappings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSite:
    """What the ways to run a matrix depend on; two with one key are the same.

    Attributes:
        architecture: The hardware.
        constraints: Its demands.
        tokens: Sequence length.
        fuse: Whether the contractions of a matrix are fused.
        order: By what contraction orders are chosen.
        cache_file: Where hulls are kept; None to keep none.
    """

    architecture: Architecture = field(compare=False)
    constraints: Mapping[str, LevelConstraints] = field(compare=False)
    tokens: int
    fuse: bool
    order: Order
    cache_file: Path | None
    key: str = field(init=False)

    def __post_init__(self) -> None:
        content = {
            "architecture": repr(self.architecture),
            "constraints": repr(self.constraints),
        }
        object.__setattr__(self, "key", content_key(content))

    def open(self) -> LayerWays:
        """Return the ways, with nothing in memory."""
        cache = None if self.cache_file is None else MappingCache(self.cache_file)
        machine = Machine(
            architecture=self.architecture, constraints=self.constraints, cache=cache, fuse=self.fuse, merged=True
        )  # fmt: skip
        return LayerWays(machine=machine, tokens=self.tokens, cache=cache, order=self.order)


class ErrorsSite(Protocol):
    """What the errors of matrices depend on: hashable, and it can be sent to another process."""

    def __hash__(self) -> int:
        """Return the same for equal sites."""

    def open(self) -> SquaredErrors:
        """Return the errors, with nothing in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInSite:
    """Errors of stand-ins for the matrices of a network.

    Attributes:
        network: Whose configuration is known.
        cache_file: Where errors are kept; None to keep none.
    """

    network: Network = field(compare=False, hash=False)
    cache_file: Path | None
    key: tuple[tuple[str, int, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        shapes = ((matrix.name, matrix.out_features, matrix.in_features) for matrix in self.network.matrices)
        object.__setattr__(self, "key", tuple(shapes))

    @property
    def digest(self) -> str:
        """What tells these errors apart."""
        return f"stand-ins {content_key({'matrices': [list(each) for each in self.key]})}"

    def open(self) -> SquaredErrors:
        """Return the errors."""
        errors = stand_in_errors(self.network, project=ProjectionCache())
        content = {name: f"stand-in {rows} x {columns}" for name, rows, columns in self.key}
        return errors if self.cache_file is None else StoredErrors(
            errors=errors, content=content, store=MappingCache(self.cache_file, max_entries=500_000)
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WaysTask:
    """Find the ways to run one factorised matrix, or einsums without weights.

    Attributes:
        site: On what.
        part: What is run.
    """

    site: MachineSite
    part: Factorization | Cascade

    def run(self) -> tuple[bool, tuple[Way, ...]]:
        """Return whether they are proven, and the ways."""
        return _ways(self.site).searched(self.part)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorsTask:
    """Find the squared errors of matrices that share a factorization.

    Attributes:
        site: Of what.
        names: Of the matrices.
        factorization: What they become.
    """

    site: ErrorsSite
    names: tuple[str, ...]
    factorization: Factorization

    def run(self) -> tuple[Squares, ...]:
        """Return the errors in the order of the names."""
        errors = _errors(self.site)
        return tuple(errors(name, self.factorization) for name in self.names)


def run_task(task: WaysTask | ErrorsTask) -> object:
    """Return what the task is to find, or None if that failed: whoever asked finds the reason by doing it anew."""
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            return task.run()
    except Exception:  # the same happens again where it is recorded with its reason
        return None


@lru_cache(maxsize=1000)
def _ways(site: MachineSite) -> LayerWays:
    return site.open()


@lru_cache(maxsize=2)
def _errors(site: ErrorsSite) -> SquaredErrors:
    return site.open()
