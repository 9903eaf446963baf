"""Occupied storage: within what the machine has, what one tile of each tensor takes where everything is kept whole."""

from __future__ import annotations

import dataclasses

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.codesign.aims import Aims, parse_constraints
from heat_sim.codesign.buffers import buffer_bits
from heat_sim.codesign.layer_ways import LayerWays
from heat_sim.codesign.search import SearchSettings, search_designs
from heat_sim.codesign.space import design_space
from heat_sim.einsum import Cascade, parse_einsum
from heat_sim.mapper.layer import Machine
from heat_sim.mapping import LevelConstraints
from tests.unit.test_codesign import ARCHITECTURE, NETWORK, evaluator  # noqa: F401 - a fixture

TOY = Architecture(
    name="toy", compute_name="MAC", compute_energy_pj=1.0,
    levels=(
        StorageLevel(name="DRAM", read_energy_pj=900.0, write_energy_pj=900.0, update_energy_pj=900.0),
        StorageLevel(
            name="GLB", capacity_words=100, word_bits=8, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0
        ),
    ),
)  # fmt: skip
PRODUCT = Cascade(name="product", einsums=(parse_einsum("Z[m] = A[m,k] * B[k]", extents={"m": 2, "k": 3}),))


def test_only_what_is_kept_on_the_chip_counts() -> None:
    whole = frozenset({"Inputs", "Weights", "Outputs"})
    bounds = {"GLB": LevelConstraints(keep=whole, temporal_bounds={"m": 0, "k": 0})}  # all loops inside the GLB
    found = Machine(architecture=TOY, constraints=bounds).map_cascade(PRODUCT, weights=frozenset({"B"}))
    assert {buffer_bits(each) for each in found.front} == {8 * (2 + 6 + 3)}
    only_b = {"GLB": LevelConstraints(keep=frozenset({"Weights"}), bypass=frozenset({"Inputs", "Outputs"}),
                                      temporal_bounds={"m": 0, "k": 0})}  # fmt: skip
    found = Machine(architecture=TOY, constraints=only_b).map_cascade(PRODUCT, weights=frozenset({"B"}))
    assert {buffer_bits(each) for each in found.front} == {8 * 3}


def test_every_instance_that_is_used_counts() -> None:
    memory, buffer = TOY.levels
    files = StorageLevel(name="RF", capacity_words=4, word_bits=4, read_energy_pj=0.1, write_energy_pj=0.1,
                         update_energy_pj=0.1)  # fmt: skip
    chip = dataclasses.replace(TOY, levels=(memory, dataclasses.replace(buffer, fanout_x=2), files))
    nothing = frozenset({"Inputs", "Weights", "Outputs"})
    spread = {
        "GLB": LevelConstraints(bypass=nothing, spatial_bounds={"m": 2}),
        "RF": LevelConstraints(keep=frozenset({"Outputs"}), bypass=nothing - {"Outputs"}, temporal_bounds={"k": 0}),
    }
    found = Machine(architecture=chip, constraints=spread).map_cascade(PRODUCT, weights=frozenset({"B"}))
    assert {buffer_bits(each) for each in found.front} == {2 * 1 * 4}  # files with one word of Z of 4 bits each


def test_no_way_occupies_more_than_there_is() -> None:
    ways = LayerWays(machine=Machine(architecture=ARCHITECTURE, fuse=False), tokens=NETWORK.tokens)
    room = 2048 * 16 + 16 * 8 * 16  # the GLB, and 16 register files; words of 16 bits
    space = design_space(NETWORK)
    for genes in (0, 5, 23):
        genome = {v.name: genes if v.ordered else 1 for v in space.variables}
        for factorization in space.decode(genome):
            for way in ways(factorization):
                assert 0 < way.buffer_bits <= room


def test_a_search_keeps_to_a_bound_on_the_buffer(evaluator) -> None:  # noqa: F811 - the fixture
    space = design_space(NETWORK)
    settings = SearchSettings(population=10, generations=2)
    found = search_designs(space, evaluator, settings=settings)
    least = min(cost.buffer_bits for cost in found.front)
    most = max(cost.buffer_bits for cost in found.front)
    aims = Aims(
        objectives=("edp", "loss", "buffer"), constraints=parse_constraints([f"buffer <= {(least + most) / 2}"])
    )
    bounded = search_designs(space, evaluator, settings=dataclasses.replace(settings, generations=3), aims=aims)
    assert bounded.front
    assert all(cost.buffer_bits <= (least + most) / 2 for cost in bounded.front)
