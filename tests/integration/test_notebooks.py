"""The notebooks run from top to bottom, and print what they say."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"


def outputs(name: str) -> str:
    notebook = nbformat.read(FOLDER / name, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(FOLDER)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(each.get("text", "") + each.get("data", {}).get("text/plain", "") for each in shown)


# The kernel's own plumbing warns under Python's strictest setting; the notebook's cells do not.
@pytest.mark.filterwarnings("default")
def test_first_look_goes_from_spec_to_front():
    text = outputs("01_first_look.ipynb")
    assert "bert_ffn on simba_l: 294,912 cycles" in text  # 128 * 3072 * 768 ops on 1,024 units, without a stall
    assert "at most 0.00% above the optimum" in text
    assert "EDP gain" in text
