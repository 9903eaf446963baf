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


@pytest.mark.filterwarnings("default")
def test_a_fused_layer_gains_at_every_step():
    text = outputs("02_fused_layer.ipynb")
    assert "all orders looked at, nothing better: True" in text
    assert text.count("proven optimal: True") == 2
    gains = [float(row.split("|")[-2].strip().removesuffix("x")) for row in table_rows(text, "EDP gain")]
    layer, attention = gains[:4], gains[4:]
    assert layer == sorted(layer)
    assert layer[0] == 1 < layer[-1]
    assert attention == sorted(attention)
    assert attention[0] == 1 < attention[-1]
    assert "at GlobalBuffer: T1 passes through" in text
    assert "S passes through" in text


def table_rows(text: str, last_heading: str) -> list[str]:
    """Return the rows of all Markdown tables whose last heading is this one."""
    rows: list[str] = []
    inside = False
    for line in text.splitlines():
        inside = line.endswith(f"{last_heading} |") or (inside and line.startswith("|"))
        if inside and not line.endswith(f"{last_heading} |") and not line.startswith("|---"):
            rows.append(line)
    return rows
