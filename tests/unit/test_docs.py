"""The documents name only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("arch_specs/*/README.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize(
    "document", ["model.md", "validation.md", "mapper.md", "cascades.md", "decompositions.md", "codesign.md"]
)
def test_the_tests_that_defend_the_rules_of_the_model_exist(document: str) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    defined = {
        name
        for path in ROOT.glob("tests/**/*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert named
    assert named <= defined, named - defined
    cases = re.findall(r"`(\d\d_\w+)`", text)
    assert all(any((ROOT / "tests" / "golden").glob(f"*/{case}")) for case in cases), cases


def test_every_section_of_the_model_that_code_cites_is_written() -> None:
    sections = set(re.findall(r"^## (\d+)\.", (ROOT / "docs" / "model.md").read_text(encoding="utf-8"), re.MULTILINE))
    cited = {
        number
        for path in ROOT.glob("heat_sim/**/*.py")
        for numbers in re.findall(r"model sections? (\d+(?: (?:to|and) \d+)?)", path.read_text(encoding="utf-8"))
        for number in re.findall(r"\d+", numbers)
    }
    assert cited
    assert cited <= sections, cited - sections
