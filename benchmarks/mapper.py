"""Speed and memory of the mapping search: against its targets, against baselines and peers, and how it grows.

Run: python -m benchmarks.mapper [--repeat N] [--plot FILE.png] [--peers [--peer-dir FOLDER]] [--only TABLE ...]
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.mapper_cases import (
    ARCH_SPECS,
    BERT,
    FOUR,
    SMALL,
    THREE,
    Timing,
    preset_case,
    timed,
)
from benchmarks.mapper_growth import by_divisors, by_levels, draw
from benchmarks.mapper_peers import PEERS, ask_peer, drain_pj, run
from heat_sim.mapper import OBJECTIVES, MappingResult
from heat_sim.mapper.baselines import search_exhaustive, search_hill_climbing, search_random

OBJECTIVES_TIMED = ("edp", "energy", "hull")
PRESET_BUDGET = 20_000_000
MOST_MAPPINGS = 1_000_000
NEAR = 1.01
_CHUNK = 1 << 16


def proof(result: MappingResult) -> str:
    """Return whether the result is proven, or how far from the optimum its EDP or objective may be."""
    return "proven" if result.optimal else f"within {result.value / max(result.lower_bound, 1e-300) - 1:.1%}"


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table, numbers to the right."""
    print(f"\n### {title}\n\n| {' | '.join(header)} |\n|{'---|' + '---:|' * (len(header) - 1)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def targets(repeat: int) -> None:
    """Print the cases with a target and the presets."""

    def row(timing: Timing, name: str, objective: str, target: str) -> tuple[object, ...]:
        result = timing.result
        return (
            name, objective, target, timing, f"{timing.cpu:.3f}", len(timing.seconds), proof(result),
            f"{result.value:.6g}", len(result.front), f"{result.costed:,}", f"{result.pruned:,}",
        )  # fmt: skip

    def rows() -> Iterable[Sequence[object]]:
        for case, target in ((THREE, "0.05"), (FOUR, "2")):
            for objective in OBJECTIVES_TIMED:
                yield row(timed(case, objective, repeat=repeat), case.name, objective, target)
        for objective in OBJECTIVES_TIMED:
            parts = [timed(preset_case("simba_l", name), objective, repeat=repeat) for name in BERT]
            for name, part in zip(BERT, parts, strict=True):
                yield row(part, f"simba_l: {name}", objective, "")
            sums = (sum(pick(part.seconds) for part in parts) for pick in (min, statistics.median, max))
            whole = all(part.result.optimal for part in parts)
            yield (
                "**simba_l: all six**", objective, "1", " / ".join(f"{total:.3f}" for total in sums),
                f"{sum(part.cpu for part in parts):.3f}", min(len(part.seconds) for part in parts),
                "proven" if whole else "not all", "", "", "", "",
            )  # fmt: skip
        for preset in sorted(folder.name for folder in ARCH_SPECS.iterdir() if folder.is_dir()):
            if preset != "simba_l":
                case = preset_case(preset, "FFN up")
                yield row(timed(case, repeat=1, budget=PRESET_BUDGET), case.name, "edp", "")

    table(
        f"Fresh searches: wall seconds (min / median / max of at most {repeat}), CPU seconds (median); presets: one "
        f"search of at most {PRESET_BUDGET:,} steps",
        ("case", "objective", "target s", "s", "CPU s", "runs", "optimum", "value", "front", "costed", "pruned"),
        rows(),
    )


_PEAK = """
import sys
def peak():
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))
from benchmarks import mapper_cases
from heat_sim.mapper import map_einsum
before = peak()
case = getattr(mapper_cases, sys.argv[1])
map_einsum(case.einsum, case.architecture, objective=sys.argv[2])
print(before, peak())
"""


def memory() -> None:
    """Print the peak of resident memory of processes that only import and search, their code compiled before."""

    # VmHWM and not ru_maxrss: the latter is never less than the peak of the process that started this one.
    def rows() -> Iterable[Sequence[object]]:
        for name, objective in (("THREE", "edp"), ("THREE", "energy"), ("THREE", "hull"), ("FOUR", "edp")):
            command = [sys.executable, "-c", _PEAK, name, objective]
            root = Path(__file__).parents[1]
            for _ in range(2):
                done = run(command, folder=root)
            done.check_returncode()
            before, after = map(float, done.stdout.split())
            yield name.lower(), objective, f"{after:.0f}", f"{before:.0f}", f"{after - before:.0f}"

    table("Peak resident memory, MB (target 200)", ("case", "objective", "total", "imports", "search"), rows())


def ratios(repeat: int, *, most: int = MOST_MAPPINGS, seeds: int = 2) -> None:
    """Print how long the baselines take and how near they come."""

    def row(ours: Timing, name: str, count: int, cpu: float, value: float) -> Sequence[object]:
        space, best = ours.result.space, ours.result.value
        return (
            f"{space.einsum.name} on {space.architecture.name}", name, f"{count:,}", f"{cpu:.2f}", f"{ours.cpu:.4f}",
            f"{cpu / ours.cpu:,.0f}", f"{value / best:.4f}",
        )  # fmt: skip

    def rows() -> Iterable[Sequence[object]]:
        ours = timed(SMALL, repeat=repeat)
        search_random(ours.result.space, objective=OBJECTIVES["edp"], rng=np.random.default_rng(0))  # compiles
        cpu = time.process_time()
        found = search_exhaustive(ours.result.space, objective=OBJECTIVES["edp"])
        yield row(ours, "exhaustive", found.costed, time.process_time() - cpu, found.value)
        ours = timed(THREE, repeat=repeat)
        for name, search in (("random", search_random), ("hill climbing", search_hill_climbing)):
            for seed in range(seeds):
                rng, count, best, cpu = np.random.default_rng(seed), 0, math.inf, time.process_time()
                while count < most and best > NEAR * ours.result.value:
                    part = search(
                        ours.result.space, objective=OBJECTIVES["edp"], budget=min(_CHUNK, most - count), rng=rng
                    )
                    count, best = count + part.costed, min(best, part.value)
                yield row(ours, f"{name}, seed {seed}", count, time.process_time() - cpu, best)

    table(
        f"Baselines, EDP: until within {NEAR - 1:.0%} of the optimum or {most:,} mappings",
        ("case", "baseline", "mappings", "CPU s", "ours CPU s", "times ours", "EDP / optimum"),
        rows(),
    )


def growth(plot: Path | None, *, budget: int = PRESET_BUDGET) -> None:
    """Print, and draw, how the time grows with divisors and levels."""
    divisors, levels = by_divisors(budget=budget), by_levels(budget=budget)
    table(
        "Growth with the divisors of the extents: N x N x N on three-level, EDP",
        ("N", "divisors", "CPU s", "optimum"),
        ((p.extent, p.divisors, f"{p.cpu_seconds:.3f}", proof(p.result)) for p in divisors),
    )
    table(
        f"Growth with the storage levels: {THREE.einsum.name}, every choice of what is kept, EDP",
        ("levels", "CPU s", "optimum", "costed", "pruned"),
        (
            (p.levels, f"{p.cpu_seconds:.3f}", proof(p.result), f"{p.result.costed:,}", f"{p.result.pruned:,}")
            for p in levels
        ),
    )
    if plot is not None:
        draw(divisors, levels, plot)
        print(f"\ndrawn: {plot}")


def peers(folder: Path | None, repeat: int, *, limit_s: float) -> None:
    """Print what other mappers take for the three-level case, each installed by pip into a folder of its own."""
    notes: list[str] = []

    def rows(root: Path) -> Iterable[Sequence[object]]:
        for peer in PEERS:
            case = peer.same_space(THREE)
            ours = timed(case, repeat=repeat)
            answer = ask_peer(peer, case, root / peer.package, limit_s=limit_s)
            if answer.problem:
                yield peer.name, answer.version, *[""] * 3, f"{ours.cpu:.3f}", "", answer.problem, "", ""
                continue
            best = ours.result.best
            yield (
                peer.name, answer.version, f"{answer.seconds:.1f}", f"{answer.cpu_seconds:.1f}",
                f"{answer.peak_mb:.0f}", f"{ours.cpu:.3f}", f"{answer.cpu_seconds / ours.cpu:,.0f}",
                f"{answer.energy_pj * answer.cycles / ours.result.value:.4f}",
                f"{answer.energy_pj / (best.energy_pj + drain_pj(best)):.6f}", f"{answer.cycles / best.cycles:.4f}",
            )  # fmt: skip
            notes.append(f"{peer.name}: {peer.caveat}. Its best: {answer.mapping or 'it does not say'}.")

    with tempfile.TemporaryDirectory() as temporary:
        table(
            f"Peers: {THREE.einsum.name} on {THREE.name}, least EDP, one process each, at most {limit_s:.0f} s; last "
            "columns: theirs over ours, energy with the reads that drain results added to ours (model section 5.4)",
            ("peer", "version", "s", "CPU s", "peak MB", "ours CPU s", "times ours", "EDP", "energy", "cycles"),
            rows(folder or Path(temporary)),
        )
    print("", *notes, sep="\n")


TABLES = ("targets", "memory", "ratios", "growth")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mapper", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="fresh searches per case, at most")
    parser.add_argument("--plot", type=Path, default=None, help="where the figure of the growth is written (PNG)")
    parser.add_argument(
        "--only",
        nargs="*",
        choices=TABLES,
        default=None,
        help="print these tables only; nothing after it: none but --peers",
    )
    parser.add_argument("--peers", action="store_true", help="install and time other mappers as well")
    parser.add_argument("--peer-dir", type=Path, default=None, help="where to install them; a temporary folder if none")
    parser.add_argument("--peer-limit", type=float, default=900.0, help="seconds that a peer may take")
    options = parser.parse_args(arguments)
    print(f"Python {platform.python_version()}, {platform.machine()}, numpy {np.__version__}; one thread", flush=True)
    chosen = options.only if options.only is not None else TABLES
    for name, show in (("targets", targets), ("ratios", ratios)):
        if name in chosen:
            show(options.repeat)
    if "memory" in chosen:
        memory()
    if "growth" in chosen:
        growth(options.plot)
    if options.peers:
        peers(options.peer_dir, options.repeat, limit_s=options.peer_limit)


if __name__ == "__main__":
    main()
