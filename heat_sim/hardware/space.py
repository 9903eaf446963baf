"""All machines that a range file spans, and any one of them."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from heat_sim.architecture import Architecture
from heat_sim.errors import SpecError, describe
from heat_sim.hardware.genes import Gene, count_of, resized, value_in
from heat_sim.hardware.pricing import Technology, area_by_component_mm2, priced
from heat_sim.mapping import Constraints
from heat_sim.specs import ArchitectureSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwarePoint:
    """One machine.

    Attributes:
        architecture: With energies and areas from the component tables.
        constraints: What every mapping on it must keep to; those of the base.
        area_mm2: Of all storages on the chip and the compute units; wires, control, and what talks to the main memory
            are not counted.
        values: Gene name to its value.
    """

    architecture: Architecture
    constraints: Constraints
    area_mm2: float
    values: Mapping[str, float]

    @property
    def area_by_component_mm2(self) -> dict[str, float]:
        """The area of all instances of each storage level and of the compute units."""
        return area_by_component_mm2(self.architecture)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HardwareSpace:
    """Every choice of one value per gene is a machine.

    Attributes:
        base: The machine whose values are varied; everything that is no gene stays as it has it.
        technology: What energies and areas follow from.
        genes: In the order of the file.

    >>> from heat_sim.hardware import load_space
    >>> space = load_space("arch_specs/simba_l/ranges.yaml")
    >>> machine = space.point(space.base_choice)
    >>> [f"{level.read_energy_pj:.5g}" for level in machine.architecture.levels]
    ['512', '11.617', '1.3562', '7.9885', '1.0672', '0.014379']
    """

    base: ArchitectureSpec
    technology: Technology
    genes: tuple[Gene, ...]
    _points: dict[tuple[int, ...], HardwarePoint] = field(default_factory=dict, init=False, repr=False)

    @property
    def size(self) -> int:
        """How many machines there are."""
        return count_of(self.genes)

    @property
    def base_choice(self) -> tuple[int, ...]:
        """The places of the base's own values.

        Raises:
            SpecError: A gene does not have the value of the base.
        """
        places = []
        for gene in self.genes:
            own = value_in(self.base, owner=gene.owner, attribute=gene.attribute)
            if own not in gene.values:
                raise SpecError(
                    describe(gene.name, "the value of the base is not among the values",
                             got=", ".join(f"{value:g}" for value in gene.values),
                             expected=f"{own} among them", remedy="Add it.")
                )  # fmt: skip
            places.append(gene.values.index(own))
        return tuple(places)

    def point(self, choice: Sequence[int]) -> HardwarePoint:
        """Return one machine; asked again, the same object.

        Its name is that of the base, with the values that differ from it.

        Args:
            choice: One place per gene, 0 the smallest value.

        Raises:
            SpecError: Not one place per gene, or one that is not there.
        """
        places = tuple(operator.index(place) for place in choice)
        if len(places) != len(self.genes) or not all(
            0 <= place < len(gene.values) for place, gene in zip(places, self.genes, strict=True)
        ):
            raise SpecError(
                describe("choice of a machine", "not one place per gene", got=places,
                         expected=f"{len(self.genes)} integers below {tuple(len(gene.values) for gene in self.genes)}",
                         remedy="Take places of HardwareSpace.genes.")
            )  # fmt: skip
        if places not in self._points:
            self._points[places] = self._build(places)
        return self._points[places]

    def _build(self, places: tuple[int, ...]) -> HardwarePoint:
        chosen = [(gene, gene.values[place]) for gene, place in zip(self.genes, places, strict=True)]
        architecture = resized(self.base, {(gene.owner, gene.attribute): value for gene, value in chosen})
        differing = [
            f"{gene.name} {value:g}" for (gene, value), place, own in zip(chosen, places, self.base_choice, strict=True)
            if place != own
        ]  # fmt: skip
        if differing:
            architecture = replace(architecture, name=f"{architecture.name} ({', '.join(differing)})")
        architecture = priced(architecture, self.technology)
        return HardwarePoint(
            architecture=architecture,
            constraints=self.base.constraints,
            area_mm2=sum(area_by_component_mm2(architecture).values()),
            values={gene.name: value for gene, value in chosen},
        )
