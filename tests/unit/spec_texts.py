"""Small spec files that are right, and a way to make them wrong in one place."""

from __future__ import annotations

from pathlib import Path

from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.specs import ArchitectureSpec, load_architecture

ERT = """\
ERT:
  version: 0.4
  tables:
  - name: system_top_level.DRAM[1..1]
    actions: [{name: read, arguments: {}, energy: 200.0}, {name: write, energy: 220}, {name: update, energy: 230}]
  - name: GLB
    actions: [{name: read, energy: 6}, {name: write, energy: 7}]
  - name: RF
    actions: [{name: read, energy: 0.5}, {name: write, energy: 0.75}, {name: update, energy: 1},
      {name: leak, energy: 2}]
  - name: MAC
    actions: [{name: compute, energy: 1.25}]
"""

V4 = """\
architecture:
  version: 0.4
  nodes:
  - !Container
    name: system
  - !Component
    name: DRAM
    class: DRAM
    attributes: {datawidth: 16}
  - !Component
    name: GLB
    class: SRAM
    attributes: {datawidth: 16, width: 64, depth: 100}
  - !Container
    name: pe
    spatial: {meshX: 4, meshY: 2}
  - !Component
    name: RF
    class: regfile
    attributes: {datawidth: 16, depth: 32}
  - !Component
    name: MAC
    class: intmac
"""

V3 = """\
architecture:
  version: 0.3
  subtree:
  - name: system
    local:
    - name: DRAM
      class: DRAM
      attributes: {word_bits: 16}
    subtree:
    - name: chip
      local:
      - name: GLB
        class: SRAM
        attributes: {word_bits: 16, block_size: 4, entries: 400}
      subtree:
      - name: PE[0..7]
        local:
        - name: RF
          class: regfile
          attributes: {word_bits: 16, entries: 32, meshX: 4, meshY: 2}
        - name: MAC
          class: intmac
          attributes: {meshX: 4, meshY: 2}
"""

MATMUL = parse_einsum("Z[M,N] = A[M,K] * B[K,N]", extents={"M": 8, "N": 4, "K": 6}, name="matmul")


def changed(text: str, old: str, new: str) -> str:
    """Return the text with its first `old` replaced; the test is wrong if there is none."""
    assert old in text
    return text.replace(old, new, 1)


def written(folder: Path, text: str, name: str = "spec.yaml") -> Path:
    """Return the path of a new file with this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def spec_of(folder: Path, architecture: str = V4, energies: str = ERT) -> ArchitectureSpec:
    """Return what the architecture text says."""
    return load_architecture(written(folder, architecture), ert=written(folder, energies, "ert.yaml"))


def matmul(**extents: int) -> Einsum:
    """Return the small matmul with some extents changed."""
    return parse_einsum("Z[M,N] = A[M,K] * B[K,N]", extents=dict(MATMUL.extents) | extents, name="matmul")
