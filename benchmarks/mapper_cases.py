"""The machines and matmuls that the mapper is timed on."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field
from pathlib import Path

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.mapper import MappingResult, map_einsum
from heat_sim.mapper.roles import plain_shape, role_einsum
from heat_sim.mapping import LevelConstraints
from heat_sim.specs import load_architecture

ARCH_SPECS = Path(__file__).parents[1] / "arch_specs"
MOST_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is searched.

    Attributes:
        name: For the table.
        einsum: The workload.
        architecture: The hardware.
        constraints: Demands per level; none means that every level may keep or bypass every tensor.
        both_axes: Whether a rank variable may lie along both axes of a mesh.
    """

    name: str
    einsum: Einsum
    architecture: Architecture
    constraints: AbstractMapping[str, LevelConstraints] = field(default_factory=dict)
    both_axes: bool = False


def level(
    name: str, energy_pj: float, capacity_words: int | None = None, *, fanout_x: int = 1, fanout_y: int = 1
) -> StorageLevel:
    """Return a level whose reads, writes and updates cost the same, one word per access, never too slow."""
    return StorageLevel(
        name=name, read_energy_pj=energy_pj, write_energy_pj=energy_pj, update_energy_pj=energy_pj,
        capacity_words=capacity_words, fanout_x=fanout_x, fanout_y=fanout_y,
    )  # fmt: skip


def machine(name: str, *levels: StorageLevel) -> Architecture:
    """Return the architecture of these levels over MACs of 0.5 pJ."""
    return Architecture(name=name, compute_name="MAC", compute_energy_pj=0.5, levels=levels)


THREE_LEVELS = machine(
    "three-level",
    level("DRAM", 64.0),
    level("GLB", 6.0, 65_536, fanout_x=16, fanout_y=16),
    level("RF", 0.5, 256),
)
FOUR_LEVELS = machine(
    "four-level, two fan-outs",
    level("DRAM", 64.0),
    level("GLB", 6.0, 131_072, fanout_x=4, fanout_y=4),
    level("L1", 1.5, 4096, fanout_x=8, fanout_y=8),
    level("RF", 0.25, 16),
)


def matmul(m: int, n: int, k: int) -> Einsum:
    """Return the matmul of these extents."""
    return parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": m, "n": n, "k": k}, name=f"{m}x{n}x{k}")


MATMUL = matmul(512, 3072, 768)
THREE = Case(name="three-level", einsum=MATMUL, architecture=THREE_LEVELS)
SMALL = Case(
    name="small",
    einsum=matmul(4, 4, 2),
    architecture=machine(
        "small", level("DRAM", 64.0), level("GLB", 6.0, 24, fanout_x=2, fanout_y=2), level("RF", 0.5, 6)
    ),
)
"""A space that can be costed whole."""

FOUR = Case(name="four-level", einsum=MATMUL, architecture=FOUR_LEVELS)

BERT = {
    "projection": (1, 384, 768, 768),
    "fused QKV": (1, 384, 2304, 768),
    "FFN up": (1, 384, 3072, 768),
    "FFN down": (1, 384, 768, 3072),
    "scores": (12, 384, 384, 64),
    "values": (12, 384, 64, 384),
}
"""The distinct matmuls of BERT-base at 384 tokens: batch, m, n, k."""


def preset_case(preset: str, name: str) -> Case:
    """Return a matmul of BERT on an accelerator of `arch_specs`, with the constraints of its file."""
    folder = ARCH_SPECS / preset
    spec = load_architecture(folder / "arch.yaml", ert=folder / "ert.yaml")
    return Case(
        name=f"{preset}: {name}", einsum=role_einsum(plain_shape(*BERT[name])), architecture=spec.architecture,
        constraints=spec.constraints,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Fresh searches of one case.

    Attributes:
        seconds: Wall time of each, ascending.
        cpu_seconds: CPU time of each, ascending; on a shared machine the steadier of the two.
        result: Of the last one; all are alike.
    """

    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    result: MappingResult

    @property
    def cpu(self) -> float:
        """Median of the CPU seconds."""
        return statistics.median(self.cpu_seconds)

    def __str__(self) -> str:
        return f"{self.seconds[0]:.3f} / {statistics.median(self.seconds):.3f} / {self.seconds[-1]:.3f}"


def timed(
    case: Case, objective: str = "edp", *, repeat: int, budget: int | None = None, most_s: float = MOST_S
) -> Timing:
    """Return the timing of searches that find nothing prepared but the compiled code.

    Args:
        case: What to search.
        objective: What to minimise.
        repeat: Searches at the most; none starts once all before it took `most_s` together.
        budget: Steps per search at the most.
        most_s: See above.
    """
    map_einsum(matmul(2, 2, 2), SMALL.architecture, objective=objective)  # compiles
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    while len(seconds) < repeat and sum(seconds) < most_s:
        forget()
        started, cpu = time.perf_counter(), time.process_time()
        result = map_einsum(
            case.einsum, case.architecture, objective=objective, constraints=case.constraints,
            both_axes=case.both_axes, budget=budget,
        )  # fmt: skip
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu)
    return Timing(seconds=tuple(sorted(seconds)), cpu_seconds=tuple(sorted(cpu_seconds)), result=result)


def forget() -> None:
    """Empty every memo of heat_sim, so that the next search starts cold."""
    for name, module in list(sys.modules.items()):
        if name.startswith("heat_sim."):
            for value in list(vars(module).values()):
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()
