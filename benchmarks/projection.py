"""Speed of the projection of weight matrices: one of 768x3072 in every format, and all 72 of a BERT-base.

Run: python -m benchmarks.projection [--quick] [--only TABLE ...] [--formats NAME ...] [--json FILE.json]

The matrices are random: singular vectors of a Gaussian matrix, singular value k falling as k^-0.35, so that low-rank
with half of the parameters leaves half of the norm. The second moment of the inputs has random eigenvectors, and
eigenvalues that fall evenly, on a logarithmic scale, over four decades: it is no product over modes, which is the
hardest case for the formats.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.mapper import table
from heat_sim.codesign.fixed_size import of_size
from heat_sim.report.files import write_text
from heat_sim.tensorize import FORMATS, Factorization, project, reconstruct, relative_error
from heat_sim.tensorize.project_all import Task, project_all
from heat_sim.tensorize.projection_cache import ProjectionCache

Array = NDArray[np.float64]

WORKERS = 2
COMPRESSED = tuple(name for name in FORMATS if name != "dense")
NORMS = ("plain", "activation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is projected.

    Attributes:
        matrix: Rows and columns of the one matrix.
        fewer: Times fewer parameters that it gets.
        layers: Of the encoder.
        hidden: Features of a token there; the feed-forward block has four times as many.
        network_fewer: Times fewer parameters of every matrix of the encoder.
        formats: Names in `FORMATS`.
    """

    matrix: tuple[int, int] = (768, 3072)
    fewer: tuple[int, ...] = (20, 5, 3, 2)
    layers: int = 12
    hidden: int = 768
    network_fewer: int = 3
    formats: tuple[str, ...] = COMPRESSED


FULL = Sizes()
QUICK = Sizes(matrix=(24, 48), fewer=(3, 2), layers=1, hidden=16, network_fewer=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixTime:
    """How long one projection took.

    Attributes:
        format: A name in `FORMATS`.
        fewer: Times fewer parameters, at least.
        tensorization: Modes, as text.
        ranks: Of the format.
        norm: One of `NORMS`.
        wall_s: Seconds.
        cpu_s: Seconds of the process.
        error: ``||W - W'|| / ||W||`` in the norm that was minimised.
    """

    format: str
    fewer: int
    tensorization: str
    ranks: tuple[int, ...]
    norm: str
    wall_s: float
    cpu_s: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTime:
    """How long all matrices of an encoder took.

    Attributes:
        format: A name in `FORMATS`.
        norm: One of `NORMS`.
        matrices: How many.
        cold_wall_s: Seconds with an empty cache.
        cold_cpu_s: Seconds of the process then.
        cached_wall_s: Seconds with all of them in the cache.
        found: Matrices that were read from it.
    """

    format: str
    norm: str
    matrices: int
    cold_wall_s: float
    cold_cpu_s: float
    cached_wall_s: float
    found: int


def random_weight(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Return a matrix, (rows, columns), whose singular value k is k^-0.35."""
    short = min(rows, columns)
    left, right = (np.linalg.qr(rng.standard_normal((size, short)))[0] for size in (rows, columns))
    return (left * np.arange(1.0, short + 1) ** -0.35) @ right.T


def random_moment(rng: np.random.Generator, size: int) -> Array:
    """Return a second moment, (size, size), whose eigenvalues fall from 1 to 1e-4."""
    vectors = np.linalg.qr(rng.standard_normal((size, size)))[0]
    moment = (vectors * np.logspace(0, -4, size)) @ vectors.T
    return (moment + moment.T) / 2


def matrix_times(sizes: Sizes) -> Iterator[MatrixTime]:
    """Yield a row per format, size and norm."""
    rng = np.random.default_rng(0)
    rows, columns = sizes.matrix
    weight, moment = random_weight(rng, rows, columns), random_moment(rng, columns)
    for name in sizes.formats:
        for fewer in sizes.fewer:
            for factorization in of_size(name, rows, columns, parameters=rows * columns // fewer)[:1]:
                for norm in NORMS:
                    second = None if norm == "plain" else moment
                    wall, cpu = time.perf_counter(), time.process_time()
                    cores = project(weight, factorization, second_moment=second)
                    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                    yield MatrixTime(
                        format=name, fewer=fewer, tensorization=str(factorization.tensorization),
                        ranks=factorization.ranks, norm=norm, wall_s=wall, cpu_s=cpu,
                        error=relative_error(weight, reconstruct(cores, factorization), second_moment=second),
                    )  # fmt: skip


def encoder_shapes(sizes: Sizes) -> list[tuple[int, int]]:
    """Return rows and columns of every matrix of the encoder: query, key, value, output, up, down of each layer."""
    hidden = sizes.hidden
    return sizes.layers * [*4 * [(hidden, hidden)], (4 * hidden, hidden), (hidden, 4 * hidden)]


def encoder_tasks(sizes: Sizes, name: str, *, weights: Sequence[Array], moments: dict[int, Array]) -> dict[int, Task]:
    """Return what is to be projected: every matrix of the encoder, activation-aware if there are moments."""
    factorizations: dict[tuple[int, int], Factorization] = {}
    for rows, columns in dict.fromkeys(encoder_shapes(sizes)):
        factorizations[rows, columns], *_ = of_size(
            name, rows, columns, parameters=rows * columns // sizes.network_fewer
        )  # fmt: skip
    return {
        place: Task(
            weight=weight,
            factorization=factorizations[weight.shape[0], weight.shape[1]],
            second_moment=moments.get(weight.shape[1]),
        )
        for place, weight in enumerate(weights)
    }


def network_times(sizes: Sizes) -> Iterator[NetworkTime]:
    """Yield a row per format and norm; the matrices of one shape share a second moment."""
    rng = np.random.default_rng(1)
    weights = [random_weight(rng, *shape) for shape in encoder_shapes(sizes)]
    moments = {columns: random_moment(rng, columns) for columns in (sizes.hidden, 4 * sizes.hidden)}
    for name in sizes.formats:
        for norm in NORMS:
            tasks = encoder_tasks(sizes, name, weights=weights, moments=moments if norm == "activation" else {})
            with tempfile.TemporaryDirectory() as folder:
                wall, cpu = time.perf_counter(), time.process_time()
                cold = project_all(tasks, project=ProjectionCache(Path(folder)), workers=WORKERS)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                cache, begun = ProjectionCache(Path(folder)), time.perf_counter()
                again = project_all(tasks, project=cache, workers=WORKERS)
                cached = time.perf_counter() - begun
            for place, cores in cold.items():
                assert all(np.array_equal(*pair) for pair in zip(cores, again[place], strict=True))
            yield NetworkTime(
                format=name, norm=norm, matrices=len(tasks), cold_wall_s=wall, cold_cpu_s=cpu, cached_wall_s=cached,
                found=cache.found,
            )  # fmt: skip


def show_matrices(sizes: Sizes) -> list[MatrixTime]:
    """Print and return the times of one matrix."""
    found: list[MatrixTime] = []

    def rows() -> Iterator[Sequence[object]]:
        for row in matrix_times(sizes):
            found.append(row)
            yield (
                row.format, f"{row.fewer}x", row.tensorization, row.ranks, row.norm, f"{row.wall_s:.2f}",
                f"{row.cpu_s:.2f}", f"{row.error:.4f}",
            )  # fmt: skip

    table(
        f"One {'x'.join(map(str, sizes.matrix))} matrix, one thread; relative error in the norm that is minimised",
        ("format", "fewer parameters", "tensorization", "ranks", "norm", "wall s", "CPU s", "relative error"),
        rows(),
    )
    return found


def show_networks(sizes: Sizes) -> list[NetworkTime]:
    """Print and return the times of an encoder."""
    found: list[NetworkTime] = []

    def rows() -> Iterator[Sequence[object]]:
        for row in network_times(sizes):
            found.append(row)
            yield (
                row.format, row.norm, row.matrices, f"{row.cold_wall_s:.1f}", f"{row.cold_cpu_s:.1f}",
                f"{row.cached_wall_s:.2f}", row.found,
            )  # fmt: skip

    table(
        f"All {6 * sizes.layers} matrices of an encoder of {sizes.hidden} features, {sizes.network_fewer} times fewer "
        f"parameters, {WORKERS} workers",
        ("format", "norm", "matrices", "wall s", "CPU s", "from the cache: wall s", "found"),
        rows(),
    )
    return found


TABLES = {"matrix": show_matrices, "network": show_networks}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.projection", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all of it runs")
    parser.add_argument("--only", nargs="+", choices=tuple(TABLES), default=None, help="print these tables only")
    parser.add_argument("--formats", nargs="+", choices=COMPRESSED, default=COMPRESSED, help="time these only")
    parser.add_argument("--json", type=Path, default=None, help="where the rows are written as well")
    options = parser.parse_args(arguments)
    print(f"Python {platform.python_version()}, {platform.machine()}, numpy {np.__version__}; one BLAS thread")
    sizes = replace(QUICK if options.quick else FULL, formats=tuple(options.formats))
    with threadpool_limits(limits=1, user_api="blas"):
        found = {name: [asdict(row) for row in TABLES[name](sizes)] for name in options.only or TABLES}
    if options.json is not None:
        write_text(options.json, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
