"""The factorised embedding against the rows of the reconstructed table."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification  # noqa: E402

from heat_sim.distill.convert import save_student  # noqa: E402
from heat_sim.distill.embedding import FactorizedEmbedding, compress_embedding  # noqa: E402
from heat_sim.errors import SpecError  # noqa: E402
from heat_sim.networks import network_from_config  # noqa: E402
from heat_sim.tensorize import project, reconstruct  # noqa: E402
from heat_sim.tensorize.design import Design, LayerDesign  # noqa: E402
from heat_sim.tensorize.factorization import Factorization  # noqa: E402
from heat_sim.tensorize.formats import FORMATS  # noqa: E402
from heat_sim.tensorize.tensorization import Tensorization  # noqa: E402

WORDS = "embeddings.word_embeddings"


def table(
    outs: tuple[int, ...], ins: tuple[int, ...], ranks: tuple[int, ...], padding: tuple[int, int] = (0, 0)
) -> Factorization:
    return Factorization(
        format="tt-matrix", tensorization=Tensorization(out_modes=outs, in_modes=ins, padding=padding), ranks=ranks
    )  # fmt: skip


TABLES = (
    table((3, 4), (2, 3), (1, 5, 1)),
    table((2, 3, 4), (3, 1, 2), (1, 2, 3, 1)),
    table((3, 4), (2, 3), (1, 2, 1), padding=(1, 2)),
    table((2, 2, 2, 2), (1, 2, 2, 1), (1, 2, 2, 2, 1), padding=(3, 0)),
    table((2,) + 9 * (1,) + (3,), (2,) + 9 * (1,) + (2,), (1, *(10 * (3,)), 1)),  # G10 after G9
)


def random_cores(factorization: Factorization) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=shape) for shape in factorization.core_shapes]


def embedding_of(factorization: Factorization) -> FactorizedEmbedding:
    return FactorizedEmbedding(factorization, cores=[torch.tensor(core) for core in random_cores(factorization)])


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("factorization", TABLES, ids=lambda f: str(f.tensorization))
def test_rows_and_gradients_are_those_of_the_reconstructed_table(factorization: Factorization) -> None:
    cores = random_cores(factorization)
    rng = np.random.default_rng(6)
    embedding = embedding_of(factorization)
    weight = torch.tensor(reconstruct(cores, factorization), requires_grad=True)
    every = torch.arange(factorization.out_features)
    close(embedding(every), weight.detach())
    ids = torch.tensor(rng.integers(factorization.out_features, size=(3, 7)))  # some of them twice
    upstream = torch.tensor(rng.normal(size=(3, 7, factorization.in_features)))
    gradients = torch.autograd.grad(embedding(ids), tuple(embedding.parameters()), upstream)
    (weight_gradient,) = torch.autograd.grad(nn.functional.embedding(ids, weight), weight, upstream)
    # The table is linear in each core, so <dL/dG, D> = <dL/dW, W(G + D) - W(G)> for every direction D, exactly.
    for place, (core, gradient) in enumerate(zip(cores, gradients, strict=True)):
        direction = rng.normal(size=core.shape)
        moved = [*cores[:place], core + direction, *cores[place + 1 :]]
        change = reconstruct(moved, factorization) - reconstruct(cores, factorization)
        got = float((gradient.numpy() * direction).sum())
        assert got == pytest.approx(float((weight_gradient.numpy() * change).sum()), rel=1e-9, abs=1e-9)


def test_numbers_of_any_shape_and_integer_type() -> None:
    embedding = embedding_of(TABLES[2])
    ids = torch.tensor([[[0], [10]], [[10], [3]]])
    assert embedding(ids).shape == (2, 2, 1, 4)
    close(embedding(ids.int())[1, 0, 0], embedding(torch.tensor(10)))
    assert embedding(ids[:0]).shape == (0, 2, 1, 4)


@pytest.mark.parametrize("number", [-1, 11])
def test_rows_that_are_not_there_are_refused_even_if_they_are_padding(number: int) -> None:
    embedding = embedding_of(TABLES[2])  # 11 rows, padded to 12
    assert embedding.num_embeddings == 11
    with pytest.raises(SpecError, match=r"no such row \(got .*, expected 0 to 10\)"):
        embedding(torch.tensor([3, number]))


def test_other_formats_and_cores_are_refused() -> None:
    low_rank = Factorization(
        format="low-rank", tensorization=Tensorization(out_modes=(6,), in_modes=(4,)), ranks=(1,)
    )  # fmt: skip
    with pytest.raises(SpecError, match=r"cannot be looked up in this format \(got low-rank, expected tt-matrix\)"):
        FactorizedEmbedding(low_rank, cores=[torch.zeros(6, 1), torch.zeros(1, 4)])
    cores = [torch.tensor(core) for core in random_cores(TABLES[0])]
    with pytest.raises(SpecError, match=r"the cores do not fit the factorization \(got \(\(5, 4, 3\), \(3, 2, 5\)\)"):
        FactorizedEmbedding(TABLES[0], cores=cores[::-1])


def tiny_bert() -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=61,
        initializer_range=0.5,
    )  # fmt: skip
    return BertForSequenceClassification(config).eval()


def word_table(rank: int) -> Factorization:
    """Return (8 * 8, less 3) x (4 * 2): 61 is prime."""
    modes = Tensorization(out_modes=(8, 8), in_modes=(4, 2), padding=(3, 0))
    return table((8, 8), (4, 2), (1, min(rank, FORMATS["tt-matrix"].max_ranks(modes)[1]), 1), padding=(3, 0))


def logits_of(model: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.arange(60).reshape(4, 15)).logits


def compressed(model: nn.Module, rank: int) -> nn.Module:
    factorization = word_table(rank)
    weight = model.bert.embeddings.word_embeddings.weight.detach().numpy()
    return compress_embedding(model, WORDS, factorization=factorization, cores=project(weight, factorization))


def test_a_full_rank_table_is_the_table_and_a_copy_of_the_model_is_changed() -> None:
    model = tiny_bert()
    before = copy.deepcopy(model.state_dict())
    (named,) = (each for each in network_from_config(model.config.to_dict(), name="b").embeddings if each.name == WORDS)
    full = compressed(model, 99)
    assert (named.rows, named.columns) == (61, 8)
    torch.testing.assert_close(logits_of(full), logits_of(model), rtol=1e-4, atol=1e-4)
    assert type(model.bert.embeddings.word_embeddings) is nn.Embedding
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    # 61 * 8 words become (8 * 4 * 2 + 2 * 8 * 2)
    assert model.num_parameters() - compressed(model, 2).num_parameters() == 61 * 8 - 8 * 4 * 2 - 2 * 8 * 2


def test_the_table_is_trained_and_padding_idx_is_only_kept() -> None:
    model = compressed(tiny_bert(), 2)
    words = model.bert.embeddings.word_embeddings
    assert words.padding_idx == 0
    loss = nn.functional.cross_entropy(model(input_ids=torch.tensor([[1, 2, 0]])).logits, torch.tensor([1]))
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in words.parameters())
    assert words.cores["G1"].dtype == torch.float32


def test_what_is_not_a_plain_table_of_its_own_is_refused() -> None:
    model, factorization = tiny_bert(), word_table(2)
    cores = [np.zeros(shape) for shape in factorization.core_shapes]
    with pytest.raises(SpecError, match=r"embedding embeddings\.words: not a table .*\(got None"):
        compress_embedding(model, "embeddings.words", factorization=factorization, cores=cores)
    with pytest.raises(SpecError, match=r"not a table that is only looked up \(got LayerNorm"):
        compress_embedding(model, "embeddings.LayerNorm", factorization=factorization, cores=cores)
    with pytest.raises(SpecError, match=r"position_embeddings: another size \(got \(61, 8\), expected \(512, 8\)\)"):
        compress_embedding(model, "embeddings.position_embeddings", factorization=factorization, cores=cores)
    tied = BertForMaskedLM(model.config)
    with pytest.raises(SpecError, match=r"its weights are needed elsewhere \(got .*decoder"):
        compress_embedding(tied, WORDS, factorization=factorization, cores=cores)


def test_a_student_with_a_factorised_table_is_not_written(tmp_path: Path) -> None:
    modes = Tensorization(out_modes=(8,), in_modes=(8,))
    layer = LayerDesign(factorization=Factorization(format="dense", tensorization=modes), trees=(("X", "W"),))
    design = Design(id="d", model="m", tokens=1, architecture="a", layers=(("a", layer),))
    with pytest.raises(SpecError, match=r"bert\.embeddings\.word_embeddings: cannot be written"):
        save_student(compressed(tiny_bert(), 2), design, tmp_path / "d")
    assert not (tmp_path / "d").exists()
