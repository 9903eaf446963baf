"""Random designs: the same for a seed, no two alike, in range, and spread from mild to destroyed."""

from __future__ import annotations

import numpy as np
import pytest

from heat_sim.codesign import random_designs
from heat_sim.codesign.random_designs import random_genomes
from heat_sim.codesign.space import RANK_STEPS, DesignSpace, Slot, design_space
from heat_sim.errors import SpecError
from heat_sim.networks import network_from_config
from heat_sim.tensorize.tensorization import Tensorization

NETWORK = network_from_config(
    dict(model_type="bert", hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
         vocab_size=50, max_position_embeddings=16),
    name="minilm",
)  # fmt: skip
SPACE = design_space(NETWORK)
COUNT = 60
TOP = RANK_STEPS - 1


def genomes(count: int = COUNT, seed: int = 0) -> tuple[dict[str, int], ...]:
    return random_genomes(SPACE, count=count, rng=np.random.default_rng(seed))


def rank_genes(genome: dict[str, int]) -> list[int]:
    return [gene for name, gene in genome.items() if name.startswith("rank")]


def test_a_seed_gives_its_genomes_and_no_others() -> None:
    assert genomes() == genomes()
    assert genomes(seed=1) != genomes()


def test_genes_are_all_there_and_in_range() -> None:
    for genome in genomes():
        assert set(genome) == {variable.name for variable in SPACE.variables}
        assert all(0 <= genome[variable.name] < variable.size for variable in SPACE.variables)
        assert all(type(gene) is int for gene in genome.values())


def test_designs_differ_and_none_is_dense() -> None:
    designs = [SPACE.decode(genome) for genome in genomes()]
    assert len(set(designs)) == COUNT
    assert all(any(each.format != "dense" for each in design) for design in designs)


def test_designs_differ_where_genomes_that_mean_the_same_are_common() -> None:
    """24 values of the gene mean 15 ranks, and ten of them are wanted."""
    modes = Tensorization(out_modes=(64,), in_modes=(64,))
    space = DesignSpace(slots=(Slot(shape=(64, 64), matrices=("a",), options=(("low-rank", modes),)),))
    drawn = random_genomes(space, count=10, rng=np.random.default_rng(0))
    assert len({space.decode(genome) for genome in drawn}) == 10


def test_every_option_has_its_share() -> None:
    drawn = [genome["option0"] for genome in genomes(400)]
    expected = 400 / len(SPACE.slots[0].options)
    counts = np.bincount(drawn, minlength=len(SPACE.slots[0].options))
    assert np.all(np.abs(counts - expected) < 4 * np.sqrt(expected))


def test_the_ranks_of_one_design_lie_together() -> None:
    """Within a quarter of the range on either side of the centre; genes drawn each for itself do not."""
    for genome in genomes():
        assert max(rank_genes(genome)) - min(rank_genes(genome)) <= 2 * TOP / 4 + 1  # + 1: both ends are rounded


def test_some_ranks_of_one_design_differ() -> None:
    """By more than the rounding: the half-width is at least an eighth of the range."""
    widths = [max(rank_genes(genome)) - min(rank_genes(genome)) for genome in genomes()]
    assert np.median(widths) > 2


def test_the_centres_are_one_in_each_part_of_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no width left, the genes of a design are its centre, rounded; in whichever order the parts come."""
    monkeypatch.setattr(random_designs, "_NARROWEST", 0.0)
    monkeypatch.setattr(random_designs, "_WIDEST", 0.0)
    centres = []
    for genome in genomes():
        assert len(set(rank_genes(genome))) == 1
        centres.append(rank_genes(genome)[0])
    assert centres != sorted(centres)
    for part, centre in enumerate(sorted(centres)):
        assert part / COUNT * TOP - 0.5 <= centre <= (part + 1) / COUNT * TOP + 0.5


def test_a_space_with_too_few_designs_is_refused() -> None:
    modes = Tensorization(out_modes=(8,), in_modes=(8,))
    dense = DesignSpace(slots=(Slot(shape=(8, 8), matrices=("a",), options=(("dense", modes),)),))
    with pytest.raises(SpecError, match=r"too few designs \(got 0 different ones, expected 2"):
        random_genomes(dense, count=2, rng=np.random.default_rng(0))


def test_no_designs_wanted_is_refused() -> None:
    with pytest.raises(SpecError, match=r"none wanted \(got 0, expected at least 1\)"):
        genomes(0)
