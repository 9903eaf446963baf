"""The layers of a SuperNet: a factorised layer that runs at a prefix of its ranks, and a choice of such layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from heat_sim.distill.layers import FactorizedLinear
from heat_sim.distill.supernet_prefix import cut, prefix_cores, prefix_extents
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.contraction import mac_optimal_tree
from heat_sim.tensorize.design import LayerDesign
from heat_sim.tensorize.factorization import Factorization

_TOKENS = 128
"""For which the order of contraction is chosen; the result does not depend on it."""


def layer_design(factorization: Factorization, *, tokens: int = _TOKENS) -> LayerDesign:
    """Return the design of one matrix that contracts in the order of fewest multiply-accumulates.

    Args:
        factorization: Of the matrix.
        tokens: Rows of the input.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> modes = Tensorization(out_modes=(8,), in_modes=(6,))
    >>> layer_design(Factorization(format="low-rank", tensorization=modes, ranks=(2,))).trees
    ((('X', 'G2'), 'G1'),)
    """
    return LayerDesign(
        factorization=factorization, trees=tuple(mac_optimal_tree(einsum) for einsum in factorization.einsums(tokens))
    )


class PrefixLinear(FactorizedLinear):
    """A factorised layer y = W x that runs at the leading parts of its cores; no equation depends on the ranks.

    Args:
        largest: The factorization of the cores that are trained.
        cores: In the order and of the shapes of it; copied.

    >>> import torch
    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> modes = Tensorization(out_modes=(8,), in_modes=(6,))
    >>> big, small = (Factorization(format="low-rank", tensorization=modes, ranks=(r,)) for r in (4, 2))
    >>> layer = PrefixLinear(big, cores=[torch.ones(8, 4), torch.ones(4, 6)])
    >>> layer.use(small)
    >>> layer(torch.ones(1, 6))[0, 0].item()  # 6 columns times rank 2
    12.0
    """

    def __init__(self, largest: Factorization, *, cores: Sequence[Tensor]) -> None:
        super().__init__(layer_design(largest), cores=cores, bias=None)
        self.use(largest)

    @property
    def largest(self) -> Factorization:
        """The factorization of all cores."""
        return self.design.factorization

    @property
    def used(self) -> Factorization:
        """What it runs as."""
        return self._used

    def use(self, wanted: Factorization) -> None:
        """Run as another factorization from now on.

        Raises:
            SpecError: It is no prefix of the largest one, see `prefix_extents`.
        """
        self._extents = prefix_extents(self.largest, wanted)
        self._used = wanted

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The leading parts of the cores that are used, by name: views, which gradients reach."""
        return cut(super().tensors, self.largest.core_specs, self._extents)

    def cut_cores(self, wanted: Factorization) -> tuple[Tensor, ...]:
        """Return the cores of a smaller factorization, in its order, see `prefix_cores`."""
        return prefix_cores(super().tensors, largest=self.largest, wanted=wanted)

    def extra_repr(self) -> str:
        """Return format, modes, ranks and the largest ranks for `print(model)`."""
        return f"{self.largest.format}, {self.largest.tensorization}, ranks {self.used.ranks} of {self.largest.ranks}"


class ElasticLinear(nn.Module):
    """A linear layer y = W x + bias that runs as one of several factorizations, each at a prefix of its ranks.

    The bias is common to all.

    Args:
        options: Format and modes of each one only once; the first is what it runs as at the beginning.
        bias: (out_features,), copied, or None.
        transposed: Whether the layer that is replaced stores its weight as (in_features, out_features).

    Raises:
        SpecError: No option, or two of the same format and modes.

    >>> import torch
    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> modes = Tensorization(out_modes=(8,), in_modes=(6,))
    >>> big, small = (Factorization(format="low-rank", tensorization=modes, ranks=(r,)) for r in (4, 2))
    >>> layer = ElasticLinear([PrefixLinear(big, cores=[torch.ones(8, 4), torch.ones(4, 6)])], bias=torch.ones(8))
    >>> layer.use(small)
    >>> layer.used.ranks, layer(torch.ones(1, 6))[0, 0].item()
    ((2,), 13.0)
    """

    def __init__(self, options: Sequence[PrefixLinear], *, bias: Tensor | None, transposed: bool = False) -> None:
        super().__init__()
        self.options = nn.ModuleList(options)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.transposed = transposed
        self._places = {_kind(option.largest): place for place, option in enumerate(options)}
        self._place = 0
        if len(self._places) != len(options) or not options:
            raise SpecError(
                describe("SuperNet, options of one matrix", "not distinct formats and modes", got=len(options),
                         expected="at least one, each once", remedy="Keep the one of the largest ranks.")
            )  # fmt: skip

    @property
    def largest(self) -> tuple[Factorization, ...]:
        """Every option at its largest ranks."""
        return tuple(option.design.factorization for option in self.options)  # type: ignore[union-attr,misc]  # a ModuleList forgets of what

    @property
    def used(self) -> Factorization:
        """What it runs as."""
        return self._chosen.used

    @property
    def _chosen(self) -> PrefixLinear:
        chosen = self.options[self._place]
        assert isinstance(chosen, PrefixLinear)
        return chosen

    def use(self, wanted: Factorization) -> None:
        """Run as another factorization from now on.

        Raises:
            SpecError: No option is of its format and modes, or it has larger ranks.
        """
        option = self.option(wanted)
        option.use(wanted)
        self._place = self._places[_kind(wanted)]

    def option(self, wanted: Factorization) -> PrefixLinear:
        """Return the option of the same format and modes.

        Raises:
            SpecError: There is none.
        """
        if _kind(wanted) not in self._places:
            known = ", ".join(f"{each.format} {each.tensorization}" for each in self.largest)
            raise SpecError(
                describe("SuperNet", "an option that was not trained", got=f"{wanted.format} {wanted.tensorization}",
                         expected=known, remedy="Train a SuperNet with this option.")
            )  # fmt: skip
        found = self.options[self._places[_kind(wanted)]]
        assert isinstance(found, PrefixLinear)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias, (..., out_features), for x of shape (..., in_features)."""
        y: Tensor = self._chosen(x)
        return y if self.bias is None else y + self.bias


def _kind(factorization: Factorization) -> tuple[object, ...]:
    return factorization.format, factorization.tensorization
