"""A SuperNet of all options of a design space runs every design of that space."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from heat_sim.cli.estimate_supernet import space_options
from heat_sim.codesign.random_designs import random_genomes
from heat_sim.codesign.space import RANK_STEPS, design_space
from heat_sim.distill.supernet_prefix import prefix_extents
from heat_sim.networks import SIZES, network_from_config
from heat_sim.tensorize import FORMATS


def test_no_design_of_a_space_is_beyond_the_options_made_for_it() -> None:
    space = design_space(network_from_config(SIZES["bert-base"], tokens=16, name="bert-base"), formats=tuple(FORMATS))
    options = space_options(space)
    top = {variable.name: RANK_STEPS - 1 for variable in space.variables}
    genomes = [*random_genomes(space, count=60, rng=np.random.default_rng(0))]
    most = max(len(slot.options) for slot in space.slots)
    for option in range(most):  # every option at the top of every rank gene
        chosen = {f"option{k}": min(option, len(slot.options) - 1) for k, slot in enumerate(space.slots)}
        genomes.append(top | chosen)
    tried = set()
    for genome in genomes:
        for name, wanted in space.per_matrix(genome).items():
            (largest,) = [
                each
                for each in options[name]
                if (each.format, each.tensorization) == (wanted.format, wanted.tensorization)
            ]
            assert prefix_extents(largest, wanted).keys() >= {var for core in wanted.core_specs for var, _ in core.dims}
            tried.add(wanted.format)
    assert tried == set(FORMATS)
