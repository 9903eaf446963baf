"""Queries, keys and values of a layer as one matrix, so that a search may factorise them jointly.

The three are multiplied with the same tensor: stacked row on row they are one matrix, whose factors next to the input
are shared, read once and multiplied once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from heat_sim.networks import Network, WeightMatrix

Groups: TypeAlias = Mapping[str, tuple[str, ...]]
"""Names of matrices that are factorised jointly, by the name of the stacked one."""

Joint: TypeAlias = Literal["search", "apart", "always"]
"""Whether queries, keys and values choose to be factorised jointly, never are, or are wherever they are not dense."""

A = TypeVar("A")

_ROLES = ("query", "key", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class JointNetwork:
    """A network in which matrices are stacked.

    Attributes:
        network: With the stacked matrices in the place of their first members.
        groups: What is stacked.
    """

    network: Network
    groups: Groups


def stacked_network(network: Network, *, only: Collection[str] | None = None) -> JointNetwork:
    """Return the network with queries, keys and values of each layer as one matrix, where they are of one size.

    Args:
        network: With three matrices in each layer.
        only: Names of the stacked matrices that are wanted; all if left out.

    >>> from heat_sim.networks import SIZES, network_from_config
    >>> joint = stacked_network(network_from_config(SIZES["bert-base"], tokens=128, name="bert-base"))
    >>> first = joint.network.matrices[0]
    >>> first.name, first.out_features, len(joint.network.matrices), joint.groups[first.name][1]
    ('encoder.layer.0.attention.self.query+key+value', 2304, 48, 'encoder.layer.0.attention.self.key')
    """
    members: dict[int, dict[str, WeightMatrix]] = {}
    for matrix in network.matrices:
        if matrix.role in _ROLES:
            members.setdefault(matrix.layer, {})[matrix.role] = matrix
    groups: dict[str, tuple[str, ...]] = {}
    stacked: dict[str, WeightMatrix | None] = {}
    for found in members.values():
        sizes = {(matrix.out_features, matrix.in_features) for matrix in found.values()}
        if len(found) == len(_ROLES) and len(sizes) == 1:
            first, *others = (found[role] for role in _ROLES)
            name = "+".join((first.name, *(matrix.name.rpartition(".")[2] for matrix in others)))
            if only is not None and name not in only:
                continue
            groups[name] = (first.name, *(matrix.name for matrix in others))
            whole = replace(first, name=name, role="query_key_value", out_features=len(_ROLES) * first.out_features)
            stacked |= {matrix.name: None for matrix in others} | {first.name: whole}
    matrices = tuple(
        kept for matrix in network.matrices if (kept := stacked.get(matrix.name, matrix)) is not None
    )  # fmt: skip
    return JointNetwork(network=replace(network, matrices=matrices), groups=groups)


def with_stacked(network: Network) -> JointNetwork:
    """Return the network with the stacked matrices after all others: what a search that may choose them asks about.

    >>> from heat_sim.networks import SIZES, network_from_config
    >>> both = with_stacked(network_from_config(SIZES["bert-base"], tokens=128, name="bert-base"))
    >>> len(both.network.matrices), both.network.matrices[-1].role
    (84, 'query_key_value')
    """
    joint = stacked_network(network)
    more = tuple(matrix for matrix in joint.network.matrices if matrix.name in joint.groups)
    return JointNetwork(network=replace(network, matrices=network.matrices + more), groups=joint.groups)


def stacked(groups: Groups, arrays: Mapping[str, A], *, together: Callable[[list[A]], A]) -> dict[str, A]:
    """Return weights or moments, and those of the groups put together.

    Args:
        groups: What is stacked.
        arrays: By name of the matrix.
        together: From the arrays of the members to that of the stacked matrix: `rows`, `one_input` or `unrelated`.

    >>> weights = {"a": np.ones((1, 2)), "b": np.zeros((1, 2))}
    >>> stacked({"a+b": ("a", "b")}, weights, together=rows)["a+b"].tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    if not arrays:
        return {}
    return dict(arrays) | {name: together([arrays[member] for member in members]) for name, members in groups.items()}


def rows(weights: list[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Return the stacked weight."""
    return np.concatenate(weights)


def one_input(moments: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the second moment of the one input."""
    return moments[0]


def unrelated(moments: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the gradient moment of the stacked outputs, as if those of different members were uncorrelated.

    >>> unrelated([np.ones((1, 1)), np.full((1, 1), 2.0)]).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    return np.asarray(block_diag(*moments), dtype=np.float64)
