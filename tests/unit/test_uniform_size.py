"""Uniform designs of a wanted size, against trying every rank."""

from __future__ import annotations

import pytest

from heat_sim.codesign.heat_rows import HEAT_ROWS
from heat_sim.codesign.uniform_size import most_uniform, uniform_design, with_rank
from heat_sim.errors import SpecError
from heat_sim.networks import SIZES, Network, count_parameters, network_from_config
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import entropy

BERT = network_from_config(SIZES["bert-base"], name="bert-base")
TINY = network_from_config(
    {
        "model_type": "bert", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 48, "vocab_size": 10, "max_position_embeddings": 16, "type_vocab_size": 2,
    },
    name="tiny",
)  # fmt: skip


def brute_force(network: Network, form: str, wanted: float) -> int:
    """Return the distance of the best of all ranks."""
    most = max(max(FORMATS[form].max_ranks(most_uniform(form, *shape))) for shape in network.classes)
    sizes = [count_parameters(network, with_rank(network, form, rank).values()).total for rank in range(1, most + 1)]
    return min(abs(size - wanted) for size in sizes)


@pytest.mark.parametrize("form", ["low-rank", "cp", "tucker", "tt-matrix", "tensor-ring"])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
def test_nearest_of_all_ranks(form: str, share: float) -> None:
    wanted = TINY.other_parameters + share * TINY.matrix_parameters
    found = uniform_design(TINY, form, parameters=wanted)
    assert found.parameters == count_parameters(TINY, found.factorizations.values()).total
    assert abs(found.parameters - wanted) == brute_force(TINY, form, wanted)


@pytest.mark.parametrize(
    "row", [row for row in HEAT_ROWS if row.network == "bert-base" and row.tokens == 384], ids=lambda row: row.name
)
def test_published_totals_are_met(row) -> None:
    found = uniform_design(BERT, row.format, parameters=1e6 * row.parameters_millions)
    assert found.parameters == pytest.approx(1e6 * row.parameters_millions, rel=0.002)
    assert list(found.factorizations) == [matrix.name for matrix in BERT.matrices]
    assert {max(each.ranks) for each in found.factorizations.values()} <= {found.rank, 768}  # or cut to the limit
    if row.name == "cp-a1":  # per rank: 12 layers of four (24 + 32 + 768) and two (48 + 64 + 768)
        assert found.parameters - BERT.other_parameters == 401 * 12 * (4 * (24 + 32 + 768) + 2 * (48 + 64 + 768))


def test_ranks_are_cut_where_a_matrix_has_no_use_for_them() -> None:
    found = with_rank(BERT, "cp", 910)
    assert {(each.out_features, each.in_features): each.ranks for each in found.values()} == {
        (768, 768): (768,), (3072, 768): (910,), (768, 3072): (910,),
    }  # fmt: skip


@pytest.mark.parametrize("form", ["cp", "tucker", "tt-matrix"])
@pytest.mark.parametrize("shape", [(768, 768), (3072, 768), (768, 3072)])
def test_no_shape_of_so_few_modes_is_more_uniform(form: str, shape: tuple[int, int]) -> None:
    found = most_uniform(form, *shape)
    every = FORMATS[form].tensorizations(*shape)
    assert len(found.modes) == {"cp": 3, "tucker": 3, "tt-matrix": 4}[form] == min(len(each.modes) for each in every)
    for each in every:
        if (len(each.out_modes), len(each.in_modes)) == (len(found.out_modes), len(found.in_modes)):
            assert entropy(each.out_modes) <= entropy(found.out_modes)
            assert entropy(each.in_modes) <= entropy(found.in_modes)


def test_the_longer_side_is_split() -> None:
    shapes = (768, 768), (3072, 768), (768, 3072)
    split = ["(24*32)x(768)", "(48*64)x(768)", "(768)x(48*64)"]
    assert [str(most_uniform("tucker", *shape)) for shape in shapes] == split


@pytest.mark.parametrize("wanted", [24.4e6, 109.5e6])
def test_sizes_that_cannot_be(wanted: float) -> None:
    with pytest.raises(SpecError, match=r"no such size \(got .* expected more than 24,547,584, fewer than 109,482,240"):
        uniform_design(BERT, "cp", parameters=wanted)
