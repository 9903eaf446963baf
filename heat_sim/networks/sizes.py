"""Configurations of known models, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _bert(hidden: int, layers: int, heads: int) -> Mapping[str, Any]:
    return {
        "model_type": "bert", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": 4 * hidden, "hidden_act": "gelu", "vocab_size": 30522, "max_position_embeddings": 512,
        "type_vocab_size": 2,
    }  # fmt: skip


SIZES: Mapping[str, Mapping[str, Any]] = {
    # Devlin et al. (2019), section 3; model cards bert-base-uncased and bert-large-uncased.
    "bert-base": _bert(768, 12, 12),
    "bert-large": _bert(1024, 24, 16),
    # Wang et al. (2020); model card nreimers/MiniLM-L6-H384-uncased.
    "minilm-l6": _bert(384, 6, 12),
    # Sanh et al. (2019), section 3; model card distilbert-base-uncased.
    "distilbert-base": {
        "model_type": "distilbert", "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072, "activation": "gelu",
        "vocab_size": 30522, "max_position_embeddings": 512,
    },
    # Liu et al. (2019), section 4 and appendix B; model card roberta-base. Two of the positions are padding.
    "roberta-base": {
        "model_type": "roberta", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "hidden_act": "gelu", "vocab_size": 50265, "max_position_embeddings": 514,
        "type_vocab_size": 1,
    },
    # Dosovitskiy et al. (2021), table 1; model card google/vit-base-patch16-224.
    "vit-base": {
        "model_type": "vit", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "hidden_act": "gelu", "image_size": 224, "patch_size": 16, "num_channels": 3,
        "qkv_bias": True,
    },
    # Radford et al. (2019), table 2 (the smallest); model card gpt2.
    "gpt2": {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 768, "n_layer": 12, "n_head": 12,
        "activation_function": "gelu_new", "vocab_size": 50257, "n_positions": 1024, "tie_word_embeddings": True,
    },
    # Llama Team (2024) has the form; model card meta-llama/Llama-3.2-1B the sizes.
    "llama-3.2-1b": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192,
        "hidden_act": "silu", "vocab_size": 128256, "tie_word_embeddings": True, "attention_bias": False,
        "mlp_bias": False,
    },
}  # fmt: skip
"""Configurations of known models."""
