"""What AccelForge published: designs, chains of matmuls, and the mappings that its figures belong to."""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from heat_sim.einsum import Cascade, Einsum, parse_cascade
from heat_sim.mapping import LevelMapping, Loop, Mapping
from heat_sim.specs import ArchitectureSpec, load_architecture

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
HERTZ = {"simple": 1.0, "tpu_v4i": 1.05e9, "simba": 2.5e9, "eyeriss": 200e6}
JOULE = {"simple": 1.0, "tpu_v4i": 1e-12, "simba": 1e-12, "eyeriss": 1e-12}
"""One of our units of energy; `simple` has units of its own, for time too."""
MATMULS = {"matmuls": (2, 64), "three": (3, 128)}
"""How many, and the extent of every rank variable."""


class Chain(NamedTuple):
    """A chain of matmuls on a design."""

    design: str
    workload: str

    def __str__(self) -> str:
        return f"{self.design}-{self.workload}"

    def published(self, *, fused: bool) -> Any:
        """Return what expected.json says."""
        return EXPECTED[self.design][self.workload]["fused" if fused else "unfused"]


CHAINS = [Chain(*names) for names in itertools.product(HERTZ, MATMULS)]

_EYERISS = "/ m8x k8y | InputScratchpad[I]"
_NESTS = {
    ("simple", "matmuls"): "GlobalBuffer[] m64 n64 k64",
    ("simple", "three"): "GlobalBuffer[] m128 n128 k128",
    ("tpu_v4i", "matmuls"): "GlobalBuffer[W] / m4x | LocalBuffer[IO] / n64x k64y | Register[W] m16",
    ("tpu_v4i", "three"): "GlobalBuffer[W] / m4x | LocalBuffer[IO] / n128x k128y | Register[W] m32",
    ("simba", "matmuls"): "GlobalBuffer[IO] / n2x k8x | InputBuffer[I] n4 | WeightBuffer[W] "
    "| AccumulationBuffer[O] / k8x n8y | Register[W] m64",
    ("simba", "three"): "GlobalBuffer[IO] / k16x | InputBuffer[I] n16 | WeightBuffer[W] "
    "| AccumulationBuffer[O] / k8x n8y | Register[W] m128",
    ("eyeriss", "matmuls"): f"GlobalBuffer[W] m4 {_EYERISS} n64 | WeightScratchpad[W] m2 | OutputScratchpad[O] k8",
    ("eyeriss", "three"): f"GlobalBuffer[WO] k4 m4 {_EYERISS} n128 | WeightScratchpad[W] m4 | OutputScratchpad[O] k4",
}
"""The mappings below MainMemory, as accelforge 1.0.467 finds them again. An intermediate is kept at GlobalBuffer too
when fused, and not at MainMemory."""

_FUSED_NESTS = {
    # Its first of two, where the loop over m is the common one; the others have the nests above.
    ("eyeriss", "matmuls", 0): f"GlobalBuffer[W] m2 k2 {_EYERISS} n64 | WeightScratchpad[W] m4 "
    "| OutputScratchpad[O] k4",
    # The first two of three, likewise.
    ("eyeriss", "three", 0): f"GlobalBuffer[WO] m4 k4 {_EYERISS} n128 | WeightScratchpad[W] m4 "
    "| OutputScratchpad[O] k4",
    ("eyeriss", "three", 1): f"GlobalBuffer[WO] m4 k4 {_EYERISS} n128 | WeightScratchpad[W] m4 "
    "| OutputScratchpad[O] k4",
}


@cache
def spec_of(design: str) -> ArchitectureSpec:
    """Return a design with its constraints."""
    return load_architecture(HERE / f"{design}.yaml")


def cascade_of(workload: str) -> Cascade:
    """Return T1 = T0 * W0, T2 = T1 * W1, ..."""
    count, extent = MATMULS[workload]
    return parse_cascade(
        [f"T{i + 1}[m,n{i + 1}] = T{i}[m,n{i}] * W{i}[n{i},n{i + 1}]" for i in range(count)],
        extents=dict.fromkeys(("m", *(f"n{i}" for i in range(count + 1))), extent),
        name=workload,
    )


def mappings_of(chain: Chain, *, fused: bool) -> list[tuple[Einsum, Mapping]]:
    """Return AccelForge's mapping of every einsum. The one of `simple` fuses nothing."""
    cascade = cascade_of(chain.workload)
    at_home = frozenset(cascade.intermediates) if fused and chain.design != "simple" else frozenset()
    found = []
    for place, einsum in enumerate(cascade.einsums):
        text = _NESTS[chain.design, chain.workload]
        if fused:
            text = _FUSED_NESTS.get((chain.design, chain.workload, place), text)
        stays = at_home & {tensor.name for tensor in einsum.tensors}
        found.append((einsum, _mapping(einsum, place, text=text, stays=stays)))
    return found


def _mapping(einsum: Einsum, place: int, *, text: str, stays: frozenset[str]) -> Mapping:
    """Return the mapping of a line; ``stays`` are the tensors that never see MainMemory."""
    names = {"I": f"T{place}", "W": f"W{place}", "O": f"T{place + 1}"}
    rank_vars = {"m": "m", "k": f"n{place}", "n": f"n{place + 1}"}
    levels = [LevelMapping(level="MainMemory", keep=frozenset(tensor.name for tensor in einsum.tensors) - stays)]
    for part in text.split("|"):
        head, _, loops = part.strip().partition("]")
        level, _, kept = head.partition("[")
        keep = frozenset(names[letter] for letter in kept)
        if level == "GlobalBuffer":
            keep |= stays
        temporal, _, spatial = loops.partition("/")
        levels.append(
            LevelMapping(
                level=level,
                keep=keep,
                temporal=tuple(Loop(rank_var=rank_vars[word[0]], bound=int(word[1:])) for word in temporal.split()),
                spatial=tuple(
                    Loop(rank_var=rank_vars[word[0]], bound=int(word[1:-1]), dimension="x" if word[-1] == "x" else "y")
                    for word in spatial.split()
                ),
            )
        )
    return Mapping(levels=tuple(levels))
