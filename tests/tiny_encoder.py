"""A BERT small enough to fine-tune in a test, with a vocabulary and a learnable task of its own; no network."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from transformers import BertConfig, BertModel, BertTokenizerFast

from heat_sim.distill.loop import seeded_torch
from heat_sim.distill.pretrained import quiet_transformers
from heat_sim.distill.tasks import TextTask, make_task

GOOD = tuple(f"good{n}" for n in range(8))
BAD = tuple(f"bad{n}" for n in range(8))
NEUTRAL = tuple(f"word{n}" for n in range(24))
NOT = "not"


def tiny_task(rows: int = 1000) -> TextTask:
    """Return sentences labelled by what they hold more of, good or bad words; a "not" anywhere turns the label over.

    The "not" makes it a task that no sum over words solves, so that a too small encoder fails at it.
    """
    rng = np.random.default_rng(7)
    sentences: dict[str, str] = {}
    while len(sentences) < rows:
        words = [str(rng.choice(kind)) for kind in (GOOD, BAD, NEUTRAL) for _ in range(rng.integers(0, 4))]
        words += [NOT] * int(rng.integers(0, 2))
        rng.shuffle(words)
        margin = sum(word in GOOD for word in words) - sum(word in BAD for word in words)
        if margin:
            sentences[" ".join(words)] = "positive" if (margin > 0) != (NOT in words) else "negative"
    return make_task("tiny", list(sentences.items()))


def tiny_pretrained(folder: Path, *, seed: int = 0) -> Path:
    """Write an encoder with random weights (2 layers, hidden 32, 4 heads) and its tokenizer; return the folder."""
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", NOT, *GOOD, *BAD, *NEUTRAL)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=24,
        initializer_range=0.15,  # wide: it learns in seconds, and its matrices are far from low rank
    )
    with seeded_torch(seed), quiet_transformers():
        BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)
    return folder


def tiny_encoder_and_texts(root: Path, *, rows: int = 1000) -> Path:
    """Fill a folder with an encoder, `tiny`, and texts without a "not", `tiny.csv`, which it learns in no time."""
    tiny_pretrained(root / "tiny")
    task = tiny_task(rows)
    with (root / "tiny.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        texts = zip(task.texts, task.labels, strict=True)
        writer.writerows([text, task.class_names[label]] for text, label in texts if NOT not in text.split())
    return root
