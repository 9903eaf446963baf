"""The designs of a run costed anew, for what the run does not keep: where their energy and cycles go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from heat_sim.architecture import Architecture
from heat_sim.cli.inputs import read_architecture
from heat_sim.cli.models import read_network
from heat_sim.codesign.chosen import DENSE
from heat_sim.codesign.front import FrontRow
from heat_sim.codesign.joint import stacked_network
from heat_sim.codesign.network_cost import NetworkCoster
from heat_sim.errors import SpecError, describe
from heat_sim.hardware import load_space
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.layer import Machine
from heat_sim.networks import Network
from heat_sim.report.figures.breakdown import CostBar, cost_bar
from heat_sim.report.run_folder import read_manifest
from heat_sim.specs import ArchitectureSpec
from heat_sim.tensorize.design import Design
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.tensorization import Tensorization


def cost_bars(run: Path, rows: Sequence[FrontRow], designs: Sequence[Design]) -> tuple[CostBar, ...]:
    """Return the bars of the dense network and of the designs, with the mapper's cache.

    Args:
        run: Folder of the run.
        rows: Its front.
        designs: Those chosen in it; each is costed on its own machine, if the run searched machines too.

    Raises:
        SpecError: A design no longer costs what the run says, or is not one of the run's model.
    """
    arguments = read_manifest(run)["arguments"]
    network = read_network(str(arguments["model"]), tokens=int(arguments["tokens"]))
    spec = read_architecture(Path(arguments["arch"]), None if arguments.get("ert") is None else Path(arguments["ert"]))
    cache = MappingCache()

    def coster(name: str) -> NetworkCoster:
        machine = Machine(  # as that of a search
            architecture=_architecture(run, name, base=spec, hardware=arguments.get("hardware")),
            constraints=spec.constraints, cache=cache, merged=True, fuse=bool(arguments.get("fuse", False)),
        )  # fmt: skip
        return NetworkCoster(machine=machine, cache=cache, order=arguments.get("order", "edp"))

    row_of = {row.design: row for row in rows}
    bars = []
    dense = (DENSE, network, _dense(network))
    for name, as_run, factorizations in (dense, *((each.id, *_matrices(each, network)) for each in designs)):
        cost = coster(name).cost(as_run, factorizations)
        row = row_of[name]
        if cost.cycles != row.cycles or not math.isclose(cost.energy_pj, row.energy_pj, rel_tol=1e-9):
            raise SpecError(
                describe(f"{run}: {name}", "costs something else than when it was searched",
                         got=f"{cost.energy_pj:.6g} pJ and {cost.cycles} cycles",
                         expected=f"{row.energy_pj:.6g} pJ and {row.cycles} cycles",
                         remedy="Restore architecture and version of the run, or search again.")
            )  # fmt: skip
        bars.append(cost_bar(name, network=as_run, factorizations=factorizations, cost=cost))
    return tuple(bars)


def _architecture(run: Path, name: str, *, base: ArchitectureSpec, hardware: str | None) -> Architecture:
    """Return the machine of a design: its own, if the run searched machines too."""
    own = run / "machines" / name
    if own.is_dir():
        return read_architecture(own, None).architecture
    if hardware is not None:
        space = load_space(Path(hardware), base=base)
        return space.point(space.base_choice).architecture
    return base.architecture


def _dense(network: Network) -> dict[str, Factorization]:
    return {
        matrix.name: Factorization(
            format="dense",
            tensorization=Tensorization(out_modes=(matrix.out_features,), in_modes=(matrix.in_features,)),
        )
        for matrix in network.matrices
    }


def _matrices(design: Design, network: Network) -> tuple[Network, dict[str, Factorization]]:
    """Return the network with the matrices that the design has as one stacked, and the factorization of each."""
    found = {name: layer.factorization for name, layer in design.layers}
    joint = stacked_network(network, only=design.joint)
    if joint.groups != design.joint or found.keys() != {matrix.name for matrix in joint.network.matrices}:
        raise SpecError(
            describe(f"design {design.id}", "not a factorization of each weight matrix of the network",
                     got=f"{len(found)} matrices, {len(design.joint)} joint",
                     expected=f"the {len(network.matrices)} of {network.name}; joint at the most query, key and value "
                     "of a layer", remedy="Draw the designs of a search.")
        )  # fmt: skip
    return joint.network, found
