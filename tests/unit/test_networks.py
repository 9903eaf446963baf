"""Networks from configurations: matrices, attention and parameters are those of the models of transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest

from heat_sim.errors import SpecError
from heat_sim.networks import COVERED, SIZES, Network, load_network, network_from_config
from heat_sim.vector_op import VECTOR_FUNCTIONS

MINILM = SIZES["minilm-l6"]
BERT_BASE = SIZES["bert-base"]

# Tiny configurations, with every size another number where the family allows it.
_TEXT = dict(
    hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, vocab_size=50,
    max_position_embeddings=17, type_vocab_size=3, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
_IMAGE = dict(
    hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, image_size=8, patch_size=4,
    num_channels=5,
)  # fmt: skip
_LLAMA = dict(
    hidden_size=24, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, intermediate_size=20,
    vocab_size=50, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
_GPT2 = dict(n_embd=12, n_layer=2, n_head=3, vocab_size=50, n_positions=17, bos_token_id=1, eos_token_id=2)
TINY: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert": ("bert", _TEXT),
    "bert-relu": ("bert", _TEXT | dict(hidden_act="relu", num_hidden_layers=3)),
    "roberta": ("roberta", _TEXT),
    "xlm-roberta": ("xlm-roberta", _TEXT | dict(type_vocab_size=1)),
    "camembert": ("camembert", _TEXT),
    "distilbert": (
        "distilbert", dict(dim=12, n_layers=2, n_heads=3, hidden_dim=20, vocab_size=50, max_position_embeddings=17)
    ),
    "vit": ("vit", _IMAGE),
    "vit-rectangles": (
        "vit", _IMAGE | dict(image_size=[8, 12], patch_size=[4, 2], qkv_bias=False, pooler_output_size=7)
    ),
    "deit": ("deit", _IMAGE),
    "gpt2": ("gpt2", _GPT2),
    "gpt2-inner": ("gpt2", _GPT2 | dict(n_inner=21, activation_function="relu")),
    "llama": ("llama", _LLAMA),
    "llama-biases": ("llama", _LLAMA | dict(attention_bias=True, mlp_bias=True)),
    "llama-ungrouped": ("llama", _LLAMA | dict(num_key_value_heads=6)),
    "llama-head-dim": ("llama", _LLAMA | dict(head_dim=10)),
    "mistral": ("mistral", _LLAMA | dict(head_dim=6)),
    "qwen2": ("qwen2", _LLAMA | dict(num_key_value_heads=1)),
}  # fmt: skip


def tiny_model(family: str, sizes: Mapping[str, Any], *, auto: str = "AutoModel") -> Any:
    """Return a model of transformers with random weights."""
    transformers = pytest.importorskip("transformers")
    return getattr(transformers, auto).from_config(transformers.AutoConfig.for_model(family, **sizes))


def parameters_of(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def matrices_of(model: Any) -> dict[str, tuple[int, int]]:
    """Return (out_features, in_features) of the Linear and Conv1D modules inside the layers of a base model."""
    found = {}
    for name, module in model.named_modules():
        if not any(part.isdigit() for part in name.split(".")):
            continue
        if type(module).__name__ == "Linear":
            found[name] = tuple(module.weight.shape)
        elif type(module).__name__ == "Conv1D":  # y = x W + b
            found[name] = tuple(reversed(module.weight.shape))
    return found


@pytest.mark.parametrize(("family", "sizes"), TINY.values(), ids=TINY)
def test_matrices_are_those_of_the_model(family, sizes):
    model = tiny_model(family, sizes)
    network = network_from_config(model.config.to_dict(), tokens=4, name="tiny")
    expected = matrices_of(model)
    assert expected
    assert {each.name: (each.out_features, each.in_features) for each in network.matrices} == expected
    numbers = [next(int(part) for part in each.name.split(".") if part.isdigit()) for each in network.matrices]
    assert [each.layer for each in network.matrices] == numbers
    assert set(numbers) == set(range(network.layers))


@pytest.mark.parametrize(("family", "sizes"), TINY.values(), ids=TINY)
def test_parameters_are_those_of_the_base_model(family, sizes):
    """What AutoModel makes: with the pooler in BertModel, RobertaModel, ViTModel and DeiTModel; no head of a task."""
    model = tiny_model(family, sizes)
    network = network_from_config(model.config.to_dict(), tokens=4, name="tiny")
    assert network.matrix_parameters + network.other_parameters == parameters_of(model)
    pooler = sum(p.numel() for name, p in model.named_parameters() if name.startswith("pooler."))
    assert network.head_parameters == pooler


@pytest.mark.parametrize(("family", "sizes"), TINY.values(), ids=TINY)
def test_a_config_as_it_was_written_is_read_like_the_one_with_all_defaults(family, sizes):
    model = tiny_model(family, sizes)
    full = network_from_config(model.config.to_dict(), tokens=4, name="tiny")
    assert network_from_config({"model_type": family, **sizes}, tokens=4, name="tiny") == full
    assert network_from_config(json.loads(model.config.to_json_string()), tokens=4, name="tiny") == full


@pytest.mark.parametrize(("family", "sizes"), TINY.values(), ids=TINY)
def test_embedding_tables_are_those_of_the_model(family, sizes):
    model = tiny_model(family, sizes)
    network = network_from_config(model.config.to_dict(), tokens=4, name="tiny")
    expected = {
        name: tuple(module.weight.shape)
        for name, module in model.named_modules()
        if type(module).__name__.endswith("Embedding") and hasattr(module, "weight")
    }
    if family in ("vit", "deit"):
        expected = {"embeddings.position_embeddings": tuple(model.embeddings.position_embeddings.shape[1:])}
    assert {table.name: (table.rows, table.columns) for table in network.embeddings} == expected


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "vit", "llama", "mistral", "qwen2"])
def test_names_are_those_that_distillation_uses(family):
    pytest.importorskip("torch")
    from heat_sim.distill.calibrate import encoder_linears

    _, sizes = TINY[family]
    auto = "AutoModelForImageClassification" if family == "vit" else "AutoModelForSequenceClassification"
    model = tiny_model(family, sizes, auto=auto)
    network = network_from_config(model.config.to_dict(), tokens=4, name="tiny")
    assert [each.name for each in network.matrices] == list(encoder_linears(model))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2"])
def test_a_language_model_head_counts_unless_it_is_tied(family, tied, tmp_path):
    _, sizes = TINY[family]
    model = tiny_model(family, dict(sizes, tie_word_embeddings=tied), auto="AutoModelForCausalLM")
    model.config.architectures = [type(model).__name__]  # as save_pretrained does
    model.config.save_pretrained(tmp_path)
    network = load_network(tmp_path, tokens=4)
    assert network.matrix_parameters + network.other_parameters == parameters_of(model)
    words = sizes["vocab_size"] * sizes["hidden_size" if family != "gpt2" else "n_embd"]
    assert network.head_parameters == (0 if tied else words)


@pytest.mark.parametrize(("family", "sizes"), TINY.values(), ids=TINY)
def test_roles_say_what_a_matrix_does(family, sizes):
    network = network_from_config({"model_type": family, **sizes}, tokens=4, name="tiny")
    first = [each.role for each in network.matrices if each.layer == 0]
    read = ["query_key_value"] if family == "gpt2" else ["query", "key", "value"]
    blocks = ["gate", "up", "down"] if family in ("llama", "mistral", "qwen2") else ["up", "down"]
    assert first == [*read, "attention_output", *blocks]
    assert network.gated == ("gate" in first)
    assert len(network.matrices) == network.layers * len(first)
    assert network.function in VECTOR_FUNCTIONS


@pytest.mark.parametrize(
    ("tokens", "heads", "shared_by", "head_dim", "layers"), list(product((1, 5), (1, 4), (1, 2, 3), (2, 8), (1, 3)))
)
def test_attention_ops_by_hand(tokens, heads, shared_by, head_dim, layers):
    """Each query head meets every key in every feature, for scores and for context, however many share a key head."""
    sizes = _LLAMA | dict(
        num_attention_heads=heads * shared_by, num_key_value_heads=heads, head_dim=head_dim, num_hidden_layers=layers
    )
    network = network_from_config({"model_type": "llama", **sizes}, tokens=tokens, name="tiny")
    query_heads, queries, keys = heads * shared_by, tokens, tokens
    scores, context = network.attention
    assert scores.ops == context.ops == query_heads * queries * keys * head_dim
    assert scores.words("Q") == context.words("O") == query_heads * queries * head_dim
    assert scores.words("K") == context.words("V") == heads * keys * head_dim
    assert scores.words("S") == context.words("P") == query_heads * queries * keys
    # What the matrices make is what attention reads.
    rows = {each.role: each.out_features for each in network.matrices}
    assert tokens * rows["query"] == scores.words("Q")
    assert tokens * rows["key"] == scores.words("K")
    assert tokens * rows["value"] == context.words("V")
    by_layer = 2 * 24 * (query_heads + heads) * head_dim + 3 * 24 * 20  # q, o; k, v; gate, up, down
    assert network.matrix_parameters == layers * by_layer


def test_statements_of_attention_with_and_without_groups():
    config = {"model_type": "llama", **_LLAMA}
    grouped = network_from_config(config, tokens=4, name="tiny").attention
    plain = network_from_config(config | dict(num_key_value_heads=6), tokens=4, name="tiny").attention
    assert list(map(str, grouped)) == ["S[g,h,q,t] = Q[g,h,q,d] * K[g,d,t]", "O[g,h,q,d] = P[g,h,q,t] * V[g,t,d]"]
    assert list(map(str, plain)) == ["S[h,q,t] = Q[h,q,d] * K[h,d,t]", "O[h,q,d] = P[h,q,t] * V[h,t,d]"]
    assert [each.name for each in (*grouped, *plain)] == ["scores", "context"] * 2
    assert dict(grouped[0].extents) == {"g": 2, "h": 6 // 2, "q": 4, "t": 4, "d": 24 // 6}


PUBLISHED = {
    "bert-base": 109_482_240,  # BertModel of bert-base-uncased
    "bert-large": 335_141_888,  # BertModel of bert-large-uncased
    "minilm-l6": 22_713_216,  # 103 tensors of the published safetensors file
    "distilbert-base": 66_362_880,  # DistilBertModel of distilbert-base-uncased
    "roberta-base": 124_645_632,  # RobertaModel of roberta-base
    "vit-base": 86_389_248,  # ViTModel of google/vit-base-patch16-224
    "gpt2": 124_439_808,  # GPT2LMHeadModel of gpt2
    "llama-3.2-1b": 1_235_814_400,  # LlamaForCausalLM of meta-llama/Llama-3.2-1B
}


@pytest.mark.parametrize("model", SIZES)
def test_known_sizes_have_the_parameters_of_the_published_checkpoints(model):
    network = network_from_config(SIZES[model], name=model)
    assert network.matrix_parameters + network.other_parameters == PUBLISHED[model]
    assert network.tokens == (14 * 14 + 1 if model == "vit-base" else 128)


@pytest.mark.parametrize(
    ("sizes", "tokens"),
    [
        ({"model_type": "vit", **_IMAGE}, (8 // 4) ** 2 + 1),
        ({"model_type": "deit", **_IMAGE}, (8 // 4) ** 2 + 2),
        ({"model_type": "vit", **_IMAGE, "image_size": [8, 12], "patch_size": [4, 2]}, (8 // 4) * (12 // 2) + 1),
    ],
)
def test_tokens_of_an_image_are_its_patches_unless_told_otherwise(sizes, tokens):
    assert network_from_config(sizes, name="tiny").tokens == tokens
    assert network_from_config(sizes, tokens=9, name="tiny").tokens == 9


def test_classes_group_matrices_by_shape():
    network = network_from_config(MINILM, tokens=128, name="minilm")
    assert {shape: len(members) for shape, members in network.classes.items()} == {
        (384, 384): 6 * 4, (1536, 384): 6, (384, 1536): 6,
    }  # fmt: skip


def test_attention_ops_are_those_of_the_paper():
    # HEAT, BERT-base at 384 tokens: 32.61 G linear and 2.72 G attention multiply-accumulates.
    network = network_from_config(BERT_BASE, tokens=384, name="bert")
    linear = 384 * network.matrix_parameters
    attention = network.layers * sum(einsum.ops for einsum in network.attention)
    assert round(linear / 1e9, 2) == 32.61
    assert round(attention / 1e9, 2) == 2.72


@pytest.mark.parametrize(
    ("name", "function"),
    [("gelu", "gelu"), ("gelu_new", "gelu"), ("quick_gelu", "gelu"), ("gelu_pytorch_tanh", "gelu"), ("relu", "relu"),
     ("silu", "silu"), ("swish", "silu")],
)  # fmt: skip
def test_activation_functions_are_costed_as_vector_functions(name, function):
    assert network_from_config(MINILM | dict(hidden_act=name), tokens=4, name="x").function == function


def problems_of(config: Mapping[str, Any], *, tokens: int = 8) -> tuple[str, ...]:
    with pytest.raises(SpecError, match=r"model x|tokens") as caught:
        network_from_config(config, tokens=tokens, name="x")
    return caught.value.problems


def test_all_problems_of_a_config_are_told_together():
    config = {"model_type": "llama", **_LLAMA} | dict(
        hidden_size="wide", num_attention_heads=6, num_key_value_heads=4, vocab_size=None, hidden_act="mish",
        mlp_bias="no", head_dim=0,
    )  # fmt: skip
    problems = problems_of(config, tokens=0)
    expected = (
        "model x, config.mlp_bias: not a flag (got no, expected true or false)",
        "model x, config.hidden_size: missing or not a size (got wide, expected an integer >= 1)",
        "model x, config.num_attention_heads: not a multiple of num_key_value_heads (got 6, expected a multiple of 4)",
        "model x, config.head_dim: missing or not a size (got 0, expected an integer >= 1)",
        "model x, config.vocab_size: missing or not a size (got None, expected an integer >= 1)",
        "model x, config.hidden_act: unknown activation function (got mish, expected one of gelu, ",
        "tokens: bad sequence length (got 0, expected an integer >= 1)",
    )
    assert len(problems) == len(expected)
    for problem, begins in zip(problems, expected, strict=True):
        assert problem.startswith(begins)


@pytest.mark.parametrize("model_type", ["t5", None, ["bert"], 3])
def test_an_unknown_family_is_refused_with_the_covered_ones(model_type):
    (problem,) = problems_of(MINILM | dict(model_type=model_type))
    assert "config.model_type: not covered" in problem
    assert all(name in problem for name in COVERED)


@pytest.mark.parametrize(
    ("family", "key", "changes", "divisor"),
    [
        ("bert", "hidden_size", dict(num_attention_heads=7), 7),
        ("distilbert", "dim", dict(n_heads=5), 5),
        ("vit", "hidden_size", dict(num_attention_heads=7), 7),
        ("gpt2", "n_embd", dict(n_head=5), 5),
        ("llama", "hidden_size", dict(num_attention_heads=10), 10),
        ("qwen2", "num_attention_heads", dict(num_key_value_heads=4), 4),
    ],
)
def test_heads_must_divide(family, key, changes, divisor):
    (problem,) = problems_of({"model_type": family, **TINY[family][1], **changes})
    assert f"config.{key}: not a multiple of" in problem
    assert f"expected a multiple of {divisor}" in problem


@pytest.mark.parametrize("family", ["bert", "distilbert", "vit", "gpt2", "llama", "mistral"])
def test_every_size_that_a_family_needs_is_asked_for_by_name(family):
    problems = problems_of({"model_type": family})
    missing = [problem.split(":")[0].removeprefix("model x, config.") for problem in problems]
    assert len(missing) == len(set(missing))
    optional = {"type_vocab_size", "num_channels", "head_dim", "pad_token_id", "bos_token_id", "eos_token_id"}
    if family == "llama":  # older configurations have no groups
        optional.add("num_key_value_heads")
    assert set(missing) == set(TINY[family][1]) - optional


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_cross_attention_is_refused(family):
    (problem,) = problems_of({"model_type": family, **TINY[family][1], "add_cross_attention": True})
    assert "config.add_cross_attention: cross-attention is not covered" in problem


@pytest.mark.parametrize("size", [True, 1.5, "8", [4, 0], [4, 4, 4], None])
def test_an_odd_patch_size_is_refused(size):
    (problem,) = problems_of({"model_type": "vit", **_IMAGE, "patch_size": size})
    assert "config.patch_size: missing or not a size" in problem


@pytest.mark.parametrize("as_text", [True, False])
def test_network_is_read_from_a_folder_or_its_config(tmp_path, as_text):
    (tmp_path / "config.json").write_text(json.dumps(dict(MINILM)), encoding="utf-8")
    expected: Network = network_from_config(MINILM, tokens=64, name="minilm")
    for path in (tmp_path, tmp_path / "config.json"):
        assert load_network(str(path) if as_text else path, tokens=64, name="minilm") == expected
    assert load_network(tmp_path, tokens=64).name == tmp_path.stem


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff"])
def test_broken_config_is_one_message(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(SpecError, match=r"config\.json"):
        load_network(tmp_path, tokens=64)
