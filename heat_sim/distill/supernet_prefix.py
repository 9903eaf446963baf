"""Prefixes of cores: the leading parts along their rank axes, which are the cores of a factorization of fewer ranks."""

from __future__ import annotations

import string
from collections.abc import Mapping

import torch
from torch import Tensor

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.core_spec import CoreSpec
from heat_sim.tensorize.factorization import Factorization


def prefix_extents(largest: Factorization, wanted: Factorization) -> dict[str, int]:
    """Return how much of every rank variable of the largest factorization a smaller one uses.

    A variable that the smaller one does not have (a mode of Tucker whose rank is its whole extent has no factor) is
    used in full.

    Args:
        largest: Of the cores that there are.
        wanted: Of the same format and modes, with ranks that are not larger.

    Raises:
        SpecError: Another format, other modes, a larger rank, or a core that the largest one does not have.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> modes = Tensorization(out_modes=(8,), in_modes=(6,))
    >>> big, small = (Factorization(format="low-rank", tensorization=modes, ranks=(r,)) for r in (4, 2))
    >>> prefix_extents(big, small)
    {'o1': 8, 'r1': 2, 'i1': 6}
    >>> prefix_extents(small, big)
    Traceback (most recent call last):
    heat_sim.errors.SpecError: SuperNet, low-rank (8)x(6): beyond its largest ranks (got (4,), expected at ...
    """
    where = f"SuperNet, {largest.format} {largest.tensorization}"
    if (largest.format, largest.tensorization) != (wanted.format, wanted.tensorization):
        raise SpecError(
            describe(where, "not a prefix of it", got=f"{wanted.format} {wanted.tensorization}",
                     expected="the same format and modes", remedy="Train a SuperNet with this option.")
        )  # fmt: skip
    if missing := [name for name in wanted.core_names if name not in largest.core_names]:
        raise SpecError(
            describe(where, "a core that it does not have", got=", ".join(missing),
                     expected=", ".join(largest.core_names),
                     remedy="Train a SuperNet whose ranks are below the extents of the modes.")
        )  # fmt: skip
    have, want = _extents(largest), _extents(wanted)
    if any(want.get(var, 0) > extent for var, extent in have.items()):
        raise SpecError(
            describe(where, "beyond its largest ranks", got=wanted.ranks, expected=f"at most {largest.ranks}",
                     remedy="Ask for fewer, or train a larger SuperNet.")
        )  # fmt: skip
    return {var: want.get(var, extent) for var, extent in have.items()}


def cut(tensors: Mapping[str, Tensor], specs: tuple[CoreSpec, ...], extents: Mapping[str, int]) -> dict[str, Tensor]:
    """Return the leading part of every core, as views.

    Args:
        tensors: The cores by name.
        specs: Of the cores.
        extents: Of every rank variable, how much is used.

    >>> spec = CoreSpec(name="G1", dims=(("o1", 8), ("r1", 4)))
    >>> cut({"G1": torch.ones(8, 4)}, (spec,), {"o1": 8, "r1": 2})["G1"].shape
    torch.Size([8, 2])
    """
    return {spec.name: tensors[spec.name][tuple(slice(extents[var]) for var in spec.rank_vars)] for spec in specs}


def prefix_cores(tensors: Mapping[str, Tensor], *, largest: Factorization, wanted: Factorization) -> tuple[Tensor, ...]:
    """Return the cores of the smaller factorization, of its shapes and in its order; they share memory where they can.

    Where the smaller one has no factor for a mode, the factor is multiplied into the core.

    Args:
        tensors: The cores of the largest factorization, by name.
        largest: Their factorization.
        wanted: As `prefix_extents` takes it.

    Raises:
        SpecError: As `prefix_extents`.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> modes = Tensorization(out_modes=(8,), in_modes=(6,))
    >>> big, small = (Factorization(format="low-rank", tensorization=modes, ranks=(r,)) for r in (4, 2))
    >>> cores = {"G1": torch.ones(8, 4), "G2": torch.ones(4, 6)}
    >>> [tuple(core.shape) for core in prefix_cores(cores, largest=big, wanted=small)]
    [(8, 2), (2, 6)]
    """
    parts = cut(tensors, largest.core_specs, prefix_extents(largest, wanted))
    have = {spec.name: spec.rank_vars for spec in largest.core_specs}
    folded = [name for name in have if name not in wanted.core_names]
    return tuple(
        parts[spec.name]
        if have[spec.name] == spec.rank_vars
        else _multiplied([spec.name, *_touching(spec, folded, have)], parts, have, spec.rank_vars)
        for spec in wanted.core_specs
    )


def _touching(spec: CoreSpec, folded: list[str], have: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the cores to be folded whose mode this core is to carry."""
    return [name for name in folded if set(have[name]) & set(spec.rank_vars) - set(have[spec.name])]


def _multiplied(
    names: list[str], parts: Mapping[str, Tensor], have: Mapping[str, tuple[str, ...]], output: tuple[str, ...]
) -> Tensor:
    letter = dict(zip(dict.fromkeys(var for name in names for var in have[name]), string.ascii_letters, strict=False))
    words = ["".join(letter[var] for var in each) for each in (*(have[name] for name in names), output)]
    return torch.einsum(f"{','.join(words[:-1])}->{words[-1]}", *(parts[name] for name in names))


def _extents(factorization: Factorization) -> dict[str, int]:
    return {var: extent for spec in factorization.core_specs for var, extent in spec.dims}
