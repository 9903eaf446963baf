"""Whatever is done to a good file, a reader either reads it or raises `SpecError`: nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heat_sim.errors import SpecError
from heat_sim.specs import load_architecture, load_mapping, load_problem

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDERS = [
    GOLDEN / "timeloop" / "20_bert_attention_simba",
    GOLDEN / "timeloop-v4" / "03_eyeriss_bypass_in_arch",
    GOLDEN / "timeloop-v4" / "05_mesh_in_component_clusters",
    GOLDEN / "timeloop-v4" / "07_tt_step_variables",
]
# What a hand or a script could leave in a file in place of a word.
SCRAPS = ("", "[]", "{}", "[[]]", "{a: b}", "~", "-1", "0", "1.5", "1e400", "true", "'", "a b", "*", "&x", "!Container",
          "M=2", "9" * 30, ".inf", "[M, [N]]", "{target: RF}", "- a", "\t", "DRAM", "0x1F",
          "2 ** 3", "é", "\u2028")  # fmt: skip
_WORDS = re.compile(r"[^\s,:\[\]{}]+")


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[Path, str, str]:
    """Draw a folder, one of its files, and the text of that file with a few words replaced or lines lost."""
    folder = draw(st.sampled_from(FOLDERS))
    name = draw(st.sampled_from(("arch.yaml", "problem.yaml", "mapping.yaml", "ert.yaml")))
    text = (folder / name).read_text(encoding="utf-8")
    for _ in range(draw(st.integers(1, 3))):
        words = list(_WORDS.finditer(text))
        word = words[draw(st.integers(0, len(words) - 1))]
        text = text[: word.start()] + draw(st.sampled_from(SCRAPS)) + text[word.end() :]
    lines = text.split("\n")
    if draw(st.booleans()):
        del lines[draw(st.integers(0, len(lines) - 1))]
    return folder, name, "\n".join(lines)


@given(spoiled())
def test_a_spoiled_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[Path, str, str]
) -> None:
    folder, name, text = drawn
    spoiled_file = tmp_path_factory.getbasetemp() / f"spoiled_{name}"
    spoiled_file.write_text(text, encoding="utf-8")
    paths = {each: folder / each for each in ("arch.yaml", "problem.yaml", "mapping.yaml", "ert.yaml")} | {
        name: spoiled_file
    }
    problems: tuple[str, ...] = ("read: nothing to say",)
    try:
        spec = load_architecture(paths["arch.yaml"], ert=paths["ert.yaml"])
        einsum = load_problem(paths["problem.yaml"])
        load_mapping(paths["mapping.yaml"], einsum=einsum, spec=spec)
    except SpecError as refusal:
        problems = refusal.problems
    assert problems
    assert all(": " in problem for problem in problems)
