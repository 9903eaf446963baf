"""The machines of a search: one that is given, or all that a range file spans."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from heat_sim.codesign.estimate import LossEstimate
from heat_sim.codesign.evaluator import Evaluator
from heat_sim.codesign.joint import Groups
from heat_sim.codesign.sites import MachineSite
from heat_sim.codesign.space import HardwareGene
from heat_sim.hardware import HardwareSpace
from heat_sim.networks import Network

Choice = tuple[int, ...]
"""One place per gene of the machine; empty if there is one machine only."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Machines:
    """Costs designs on any machine of a space; each is set up when it is first asked for.

    Attributes:
        network: The encoder.
        estimate: Estimated loss of a design.
        base: The machine that is given.
        space: Its sizes that may vary; None if none do.
        groups: Matrices that a design may stack, see `Evaluator`.
    """

    network: Network
    estimate: LossEstimate
    base: MachineSite
    space: HardwareSpace | None = None
    groups: Groups = field(default_factory=dict)
    _evaluators: dict[Choice, Evaluator] = field(default_factory=dict)
    _sites: dict[Choice, MachineSite] = field(default_factory=dict)

    @property
    def genes(self) -> tuple[HardwareGene, ...]:
        """What a genome may choose of the machine."""
        if self.space is None:
            return ()
        pairs = zip(self.space.genes, self.space.base_choice, strict=True)
        return tuple(HardwareGene(name=gene.name, size=len(gene.values), base=base) for gene, base in pairs)

    @property
    def base_choice(self) -> Choice:
        """The machine that is given."""
        return () if self.space is None else self.space.base_choice

    @property
    def used(self) -> tuple[Evaluator, ...]:
        """Those that were asked for."""
        return tuple(self._evaluators.values())

    def site(self, choice: Choice) -> MachineSite:
        """Return what the costs on a machine depend on."""
        if choice not in self._sites:
            site = self.base
            if self.space is not None:
                point = self.space.point(choice)
                site = replace(site, architecture=point.architecture, constraints=point.constraints)
            self._sites[choice] = site
        return self._sites[choice]

    def at(self, choice: Choice) -> Evaluator:
        """Return what costs designs on a machine."""
        if choice not in self._evaluators:
            area_mm2 = None if self.space is None else self.space.point(choice).area_mm2
            self._evaluators[choice] = Evaluator(
                network=self.network, ways=self.site(choice).open(), estimate=self.estimate, area_mm2=area_mm2,
                groups=self.groups,
            )  # fmt: skip
        return self._evaluators[choice]
