"""Encoded rows of every kind: what the model is given, what is a label, and what is scored."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402

from heat_sim.distill.batches import NO_LABEL, encode  # noqa: E402
from heat_sim.distill.image_reader import load_image_reader  # noqa: E402
from heat_sim.distill.pretrained import load_reader  # noqa: E402
from heat_sim.distill.tasks import (  # noqa: E402
    Question,
    make_image_task,
    make_question_task,
    make_task,
    make_word_task,
)
from heat_sim.distill.tasks.class_scores import class_scores  # noqa: E402
from heat_sim.distill.tasks.images import open_image  # noqa: E402
from heat_sim.errors import HeatError, SpecError  # noqa: E402
from tests.tiny_encoder import NEUTRAL  # noqa: E402
from tests.tiny_tasks import POSITIONS, tiny_model, tiny_pairs, tiny_questions, tiny_tokenizer, tiny_words  # noqa: E402


def test_a_pair_is_told_apart_by_its_segments_and_by_its_separator() -> None:
    task, tokenizer = tiny_pairs(20), tiny_tokenizer()
    batch = encode(tokenizer, task, split="test").batch([0, 1, 2])
    for place, row in enumerate(task.test[:3]):
        first, second = (len(source[row].split()) for source in (task.texts, task.others))
        length = first + second + 3
        segments = batch.inputs["token_type_ids"][place].tolist()
        # [CLS] first [SEP] is segment 0, second [SEP] segment 1, padding 0 again
        assert segments[:length] == [0] * (first + 2) + [1] * (second + 1)
        assert not any(segments[length:])
        assert batch.input_ids[place, first + 1] == batch.input_ids[place, length - 1] == tokenizer.sep_token_id
    assert task.kind == "text-pair"
    assert task.sha256 != make_task("t", [(text, str(n % 2)) for n, text in enumerate(task.texts)]).sha256


def test_a_single_text_has_no_segments_and_no_row_is_longer_than_the_model_takes() -> None:
    task = make_task("t", [(" ".join(NEUTRAL[n : n + 3] * 20), str(n % 2)) for n in range(20)])
    rows = encode(tiny_tokenizer(), task, split="train")
    assert set(rows.lengths) == {POSITIONS}  # 60 words and a default of 64 tokens
    assert sorted(rows.batch([0]).inputs) == ["attention_mask", "input_ids"]
    assert set(encode(tiny_tokenizer(), task, split="train", max_length=8, max_rows=3).lengths) == {8}


def test_the_first_piece_of_a_word_has_its_tag_and_nothing_else_has_a_label() -> None:
    task = make_word_task(
        "t", [(("good1s", "word1", "word2s"), ("A", "B", "A"))] + [((w,), ("B",)) for w in NEUTRAL[:9]]
    )
    row = task.sentences.index(("good1s", "word1", "word2s"))
    split = next(split for split in ("train", "dev", "test") if row in getattr(task, split))
    rows = encode(tiny_tokenizer(), task, split=split)
    batch = rows.batch([getattr(task, split).index(row)])
    none = NO_LABEL
    # [CLS] good1 ##s word1 word2 ##s [SEP]
    assert batch.labels.tolist() == [[none, 0, none, 1, 0, none, none]]


def test_words_that_were_cut_away_count_as_wrong() -> None:
    task = make_word_task("t", [((f"word{n}", "good1", "bad1", "bad2"), ("O", "B-X", "I-X", "B-X")) for n in range(10)])
    rows = encode(tiny_tokenizer(), task, split="test", max_length=4)  # [CLS], two words, [SEP]
    perfect = [np.eye(3, dtype=np.float32)[np.maximum(row, 0)] for row in rows.batch([0, 1]).labels.numpy()]
    scores = task.scores(rows, perfect)
    assert scores.per_row.tolist() == [0.5, 0.5]
    # Two entities a sentence. Found is one, a word too short: none is right.
    assert scores.metrics == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 0.5}


def test_perfect_logits_of_words_score_one() -> None:
    task = tiny_words(40)
    rows = encode(tiny_tokenizer(), task, split="test")
    classes = np.eye(len(task.class_names), dtype=np.float32)
    perfect = [classes[np.maximum(rows.batch([place]).labels[0].numpy(), 0)] for place in range(len(rows.lengths))]
    assert task.scores(rows, perfect).metrics == {"f1": 1.0, "precision": 1.0, "recall": 1.0, "accuracy": 1.0}
    pos = make_word_task(
        "pos", [(words, tuple("N" for _ in words)) for words in task.sentences[:-1]] + [(("a",), ("V",))]
    )
    assert pos.scores(rows, perfect).metric == "accuracy"


def test_windows_cover_the_context_and_their_labels_are_the_answer() -> None:
    task, tokenizer = tiny_questions(40), tiny_tokenizer()
    rows = encode(tokenizer, task, split="train")
    assert max(rows.lengths) <= POSITIONS
    answered = 0
    for place in range(len(rows.lengths)):
        question, where = rows.questions[rows.owners[place]], rows.offsets[place]
        first, last = rows.batch([place]).labels[0].tolist()
        if first:
            answered += 1
            assert question.context[where[first, 0] : where[last, 1]] == question.answers[0]
        else:
            begin, end = where[where[:, 0] >= 0][[0, -1], [0, 1]]
            start = question.starts[0]
            assert not (begin <= start and start + len(question.answers[0]) <= end)
            assert (first, last) == (0, 0)
    for owner, question in enumerate(rows.questions):
        covered = np.zeros(len(question.context), np.bool_)
        for place, of in enumerate(rows.owners):
            for begin, end in rows.offsets[place] if of == owner else ():
                covered[max(begin, 0) : max(end, 0)] = True
        assert all(covered[at] or letter == " " for at, letter in enumerate(question.context))
    assert answered >= len(rows.questions)
    assert len(rows.owners) > len(rows.questions)  # some contexts have several windows


def test_perfect_logits_of_windows_find_every_answer_and_others_none() -> None:
    task = tiny_questions(40)
    rows = encode(tiny_tokenizer(), task, split="test")
    logits = []
    for place, length in enumerate(rows.lengths):
        first, last = rows.batch([place]).labels[0].tolist()
        one = np.full((2, length + 3), -5, np.float32)  # longer than the window: padding of a batch
        one[0, first], one[1, last] = (5, 5) if first else (0, 0)
        one[:, length:] = 50  # must not be looked at
        logits.append(one)
    assert task.scores(rows, logits).metrics == {"f1": 1.0, "exact_match": 1.0}
    wrong = task.scores(rows, [-one for one in logits])
    assert wrong.value < 0.5
    assert wrong.per_row.mean() == pytest.approx(wrong.value)


def test_a_long_question_leaves_room_for_the_context() -> None:
    long = {"text": " ".join(NEUTRAL * 4), "context": " ".join(NEUTRAL), "answers": ("word20",), "starts": (130,)}
    task = make_question_task("t", [Question(id=str(n), **long) for n in range(10)])
    rows = encode(tiny_tokenizer(), task, split="test", max_rows=1)
    # A third of 32 tokens are the question's; 3 are special; the context has the other 19, half of which overlap.
    assert [int((where[:, 0] >= 0).sum()) for where in rows.offsets] == [19, 14]
    assert long["context"][130:136] == "word20"


def test_a_slow_tokenizer_is_refused() -> None:
    for task in (tiny_questions(20), tiny_words(20)):
        with pytest.raises(HeatError, match=r"cannot say where its pieces are .*got a slow tokenizer"):
            encode(SimpleNamespace(is_fast=False, model_max_length=9), task, split="dev")


def test_class_scores_by_hand() -> None:
    logits = [np.array(row, np.float32) for row in ([2, 1, 0], [2, 1, 0], [0, 1, 2], [0, 3, 2])]
    scores = class_scores([0, 1, 2, 2], logits)
    # Predicted 0 0 2 1. F1 of class 0: 2 * 1 / (1 + 2); of 1: 0 / (1 + 1); of 2: 2 * 1 / (2 + 1).
    assert scores.value == 0.5
    assert scores.further["macro_f1"] == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)
    assert scores.per_row.tolist() == [1, 0, 1, 0]


def test_images_of_any_form_become_the_same_pixels(tmp_path: Path) -> None:
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    reader = load_image_reader(tiny_model(tmp_path / "model", "image"))
    forms = (pixels, tmp_path / "a.png", content.getvalue())
    task = make_image_task("t", [(form, str(n)) for n, form in enumerate(forms)] * 4)
    batch = encode(reader, task, split="train").batch(range(8))
    # ViT: to 0..1, then minus the mean 0.5 and over the deviation 0.5; the size fits already.
    expected = torch.from_numpy((pixels / 255 - 0.5) / 0.5).permute(2, 0, 1).float()
    assert all(torch.allclose(one, expected, atol=1e-6) for one in batch.inputs["pixel_values"])
    assert batch.attention_mask.shape == (8, 5)  # four patches and the class token
    grey = make_image_task("g", [(pixels[:, :, 0] + n, str(n % 2)) for n in range(10)])
    assert len({grey.sha256, make_image_task("g", [(pixels[:, :, 0], str(n % 2)) for n in range(10)]).sha256}) == 2


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    for form in (tmp_path / "a.png", b"no image", np.zeros((2, 2, 7), np.uint8)):
        with pytest.raises(SpecError, match="cannot be read"):
            open_image(form)


def test_a_processor_of_another_size_is_refused(tmp_path: Path) -> None:
    from transformers import ViTImageProcessorPil

    folder = tiny_model(tmp_path, "image")
    ViTImageProcessorPil(size={"height": 6, "width": 8}).save_pretrained(folder)
    with pytest.raises(HeatError, match=r"got \(3, 6, 8\), expected \(3, 8, 8\)"):
        load_reader(folder, kind="image")([Image.new("RGB", (8, 8))])


def test_a_tokenizer_of_bytes_puts_a_space_before_every_word_and_positions_begin_behind_the_padding(
    tmp_path: Path,
) -> None:
    from transformers import RobertaConfig, RobertaTokenizerFast

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "\u0120", *"goodbaswrt0123456789"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    RobertaTokenizerFast(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
    RobertaConfig(vocab_size=len(vocabulary), max_position_embeddings=34, pad_token_id=1).save_pretrained(tmp_path)
    reader = load_reader(tmp_path, kind="token-classification")
    assert reader.model_max_length == 32  # positions 0 and 1 are taken by the padding
    task = make_word_task("t", [((f"good{n}", "bad"), ("A", "B")) for n in range(10)])
    batch = encode(reader, task, split="test", max_rows=1).batch([0])
    space = [place for place, number in enumerate(batch.input_ids[0].tolist()) if number == vocabulary["\u0120"]]
    assert [(place, batch.labels[0, place].item()) for place in space] == [(1, 0), (7, 1)]  # <s> _ good0 _ bad </s>
