"""A small learnable task of every kind and a model small enough to fine-tune on it in a test; no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from transformers import BertConfig, BertModel, BertTokenizerFast, ViTConfig, ViTImageProcessorPil, ViTModel

from heat_sim.distill.loop import seeded_torch
from heat_sim.distill.pretrained import quiet_transformers
from heat_sim.distill.tasks import (
    ImageTask,
    Kind,
    Question,
    QuestionTask,
    Task,
    TextTask,
    WordTask,
    make_image_task,
    make_question_task,
    make_task,
    make_word_task,
)
from tests.tiny_encoder import BAD, GOOD, NEUTRAL, tiny_task

PLURAL = "##s"
"""The one piece that can follow a word: "good3s" is two pieces."""

POSITIONS = 32


def tiny_pairs(rows: int = 400) -> TextTask:
    """Return pairs of texts: a good word stands in the first or in the second."""
    rng = np.random.default_rng(3)
    found = {}
    while len(found) < rows:
        texts = [[str(rng.choice(NEUTRAL)) for _ in range(rng.integers(1, 5))] for _ in range(2)]
        side = int(rng.integers(2))
        texts[side].insert(int(rng.integers(len(texts[side]) + 1)), str(rng.choice(GOOD)))
        found[tuple(" ".join(words) for words in texts)] = ("first", "second")[side]
    return make_task("tiny-pairs", [(*texts, label) for texts, label in found.items()])


def tiny_words(rows: int = 300) -> WordTask:
    """Return sentences where good words name entities, of two kinds, and a bad word behind one goes on with it.

    Some words have two pieces.
    """
    rng = np.random.default_rng(4)
    sentences = []
    for _ in range(rows):
        words: list[str] = []
        tags: list[str] = []
        for _ in range(rng.integers(2, 6)):
            half = int(rng.integers(4))
            entity = ([GOOD[half * 2], BAD[half * 2]], [f"B-{half % 2}", f"I-{half % 2}"])
            found, marks = entity if rng.integers(2) else ([str(rng.choice(NEUTRAL))], ["O"])
            length = int(rng.integers(1, len(found) + 1))
            words += [word + "s" * int(rng.integers(2)) for word in found[:length]]
            tags += marks[:length]
        sentences.append((tuple(words), tuple(tags)))
    return make_word_task("tiny-words", sentences)


def tiny_questions(rows: int = 300) -> QuestionTask:
    """Return questions for the good or the bad word of a context; every fourth context is too long for one window."""
    rng = np.random.default_rng(5)
    questions = []
    for row in range(rows):
        words = [str(rng.choice(NEUTRAL)) for _ in range(40 if row % 4 == 0 else rng.integers(4, 12))]
        good, bad = str(rng.choice(GOOD)), str(rng.choice(BAD)) + "s"  # one piece, two pieces
        for word in (good, bad):
            words.insert(int(rng.integers(len(words) + 1)), word)
        context, answer = " ".join(words), good if row % 2 else bad
        start = (" " + context + " ").index(f" {answer} ")
        text = "good0" if row % 2 else "bad0"
        questions.append(Question(id=str(row), text=text, context=context, answers=(answer,), starts=(start,)))
    return make_question_task("tiny-questions", questions)


def tiny_images(rows: int = 200) -> ImageTask:
    """Return grey 8 x 8 images that are bright on the left or on the right."""
    rng = np.random.default_rng(6)
    images = []
    for row in range(rows):
        pixels = rng.integers(0, 150, (8, 8), dtype=np.uint8)
        pixels[:, slice(0, 4) if row % 2 else slice(4, 8)] += 100
        images.append((pixels, "left" if row % 2 else "right"))
    return make_image_task("tiny-images", images)


TINY: Mapping[Kind, Callable[[], Task]] = {
    "text": tiny_task,
    "text-pair": tiny_pairs,
    "question-answering": tiny_questions,
    "token-classification": tiny_words,
    "image": tiny_images,
}


def tiny_tokenizer() -> BertTokenizerFast:
    """Return a tokenizer of the words of these tasks, of 32 tokens at the most."""
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", PLURAL, *GOOD, *BAD, *NEUTRAL)
    vocabulary = {word: number for number, word in enumerate(words)}
    return BertTokenizerFast(vocab=vocabulary, model_max_length=POSITIONS)


def tiny_model(folder: Path, kind: Kind) -> Path:
    """Write an encoder with random weights (2 layers, hidden 32, 4 heads) for a kind of task; return the folder."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    with seeded_torch(0), quiet_transformers():
        if kind == "image":
            ViTModel(ViTConfig(image_size=8, patch_size=4, initializer_range=0.15, **sizes)).save_pretrained(folder)
            ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(folder)
        else:
            tokenizer = tiny_tokenizer()
            config = BertConfig(
                vocab_size=len(tokenizer), max_position_embeddings=POSITIONS, initializer_range=0.15, **sizes
            )
            BertModel(config).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    return folder
