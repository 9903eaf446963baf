"""Other mappers on the same matmul, each in a virtual environment of its own; nothing here is imported from them."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.mapper_cases import Case
from heat_sim.mapper import MappedEinsum
from heat_sim.mapping import LevelConstraints

_ACCELFORGE = """
import json, resource, sys, time
import accelforge as af
from accelforge.mapper.FFM.main import join_pmappings, make_pmappings
af.set_n_parallel_jobs(1)
spec = af.Spec.from_yaml("arch.yaml", "workload.yaml")
spec.mapper.metrics = af.mapper.Metrics.ENERGY_DELAY_PRODUCT
started, cpu = time.perf_counter(), time.process_time()
parts = make_pmappings(spec, print_progress=False)
found = join_pmappings(parts, require_all_einsums=True, print_progress=False, metrics=spec.mapper.metrics)
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
nodes = []
for node in found.mapping().nodes:
    kind = type(node).__name__
    if kind == "Storage":
        nodes.append(f"{node.component} [{', '.join(sorted(node.tensors))}]")
    elif kind in ("Temporal", "Spatial"):
        nodes.append(f"{kind} {node.rank_variable} down to {node.tile_shape}")
spec.mapping = found.mapping()
report = spec.evaluate_mapping()
print(json.dumps({
    "seconds": seconds, "cpu_seconds": cpu, "energy_pj": float(report.energy()), "cycles": float(report.latency()),
    "mapping": "; ".join(nodes), "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""
# The mapping is evaluated apart because the one call that does both draws it, which needs Graphviz.

_ZIGZAG = """
import json, logging, resource, sys, time
from zigzag.api import get_hardware_performance_zigzag
import zigzag.api
logging.disable(logging.CRITICAL)
started, cpu = time.perf_counter(), time.process_time()
energy, cycles, cmes = get_hardware_performance_zigzag(
    "workload.yaml", "arch.yaml", "mapping.yaml", opt="EDP", dump_folder="out", pickle_filename="out/all.pickle",
    loma_show_progress_bar=False,
)
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
print(json.dumps({
    "seconds": seconds, "cpu_seconds": cpu, "energy_pj": float(energy), "cycles": float(cycles), "mapping": "",
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A mapper that pip installs.

    Attributes:
        name: As its authors write it.
        package: As pip knows it.
        needs: What else has to be installed because the package does not ask for it.
        python: The oldest Python it runs on.
        script: Maps what lies in the folder it is run in, and prints one JSON object last.
        both_axes: Whether its space lets a rank variable lie along both axes.
        keeps_all: Whether every level keeps every tensor in its space.
        caveat: In what its space or model differs from ours even so.
    """

    name: str
    package: str
    needs: tuple[str, ...] = ()
    python: tuple[int, int]
    script: str
    both_axes: bool = False
    keeps_all: bool = False
    caveat: str

    def same_space(self, case: Case) -> Case:
        """Return the case in the space of ours that is the most like the peer's."""
        everything = LevelConstraints(keep=frozenset(tensor.name for tensor in case.einsum.tensors))
        return replace(
            case,
            both_axes=self.both_axes,
            constraints={level.name: everything for level in case.architecture.levels} if self.keeps_all else {},
        )


PEERS = (
    Peer(
        name="AccelForge", package="accelforge", python=(3, 12), script=_ACCELFORGE, both_axes=True,
        caveat="tensors may enter one level between its loops, which ours may not; ours lets a rank variable lie on "
        "both axes here, as its does",
    ),
    Peer(
        name="ZigZag", package="zigzag-dse", needs=("six",), python=(3, 11), script=_ZIGZAG, keeps_all=True,
        caveat="no optimum is promised, loading and stalls cost cycles; each level keeps every tensor, so here in ours",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a peer said.

    Attributes:
        version: Of the package.
        seconds: Of the search alone, without start and reading.
        cpu_seconds: Likewise, of its process.
        peak_mb: Resident memory of its process.
        energy_pj: Of its best mapping, by its own model.
        cycles: Likewise.
        mapping: Its best mapping, outer to inner, if it says.
        problem: Why there is no answer; empty if there is one.
    """

    version: str = "-"
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    energy_pj: float = 0.0
    cycles: float = 0.0
    mapping: str = ""
    problem: str = ""


def drain_pj(mapped: MappedEinsum) -> float:
    """Return what it would cost to read every tile of the output that goes to its parent (model section 5.4)."""
    output, levels, report = mapped.einsum.output, mapped.mapping.levels, mapped.report
    keepers = [place for place, level in enumerate(levels) if output.name in level.keep]
    return sum(
        report.levels[parent].tensors[output.name].updates
        * math.prod(
            loop.bound
            for level in levels[parent:child]
            for loop in level.spatial
            if loop.rank_var not in output.rank_vars
        )
        * mapped.architecture.levels[child].read_energy_pj
        for parent, child in itertools.pairwise(keepers)
    )


def ask_peer(peer: Peer, case: Case, folder: Path, *, limit_s: float) -> Answer:
    """Return the peer's best mapping of the case, by EDP; installs it into the folder unless it is there."""
    python = folder / "bin" / "python"
    if not python.exists():
        base = _python(peer.python)
        if base is None:
            return Answer(problem=f"no Python {peer.python[0]}.{peer.python[1]} or newer on the path")
        run([base, "-m", "venv", str(folder)]).check_returncode()
        done = run([str(python), "-m", "pip", "install", "--quiet", peer.package, *peer.needs])
        if done.returncode:
            shutil.rmtree(folder)
            return Answer(problem=f"pip could not install it: {done.stderr.strip().splitlines()[-1]}")
    ask = f"import importlib.metadata as m; print(m.version({peer.package!r}))"
    version = run([str(python), "-c", ask]).stdout.strip()
    work = folder / "case"
    work.mkdir(exist_ok=True)
    for name, text in (_for_accelforge if peer.package == "accelforge" else _for_zigzag)(case).items():
        (work / name).write_text(text, encoding="utf-8")
    (work / "ask.py").write_text(peer.script, encoding="utf-8")
    try:
        done = run([str(python.absolute()), "ask.py"], folder=work, limit_s=limit_s)
    except subprocess.TimeoutExpired:
        return Answer(version=version, problem=f"no answer in {limit_s:.0f} s")
    if done.returncode:
        return Answer(version=version, problem=f"it failed: {done.stderr.strip().splitlines()[-1][:200]}")
    return Answer(version=version, **json.loads(done.stdout.strip().splitlines()[-1]))


def run(
    command: Sequence[str], *, folder: Path | None = None, limit_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Return what a command of ours printed, and how it ended."""
    return subprocess.run(  # noqa: S603 - built here from constants and paths
        command, cwd=folder, capture_output=True, text=True, timeout=limit_s, check=False
    )


def _python(at_least: tuple[int, int]) -> str | None:
    """Return a Python that is new enough, and starts."""
    for name in (sys.executable, *(f"python3.{minor}" for minor in range(at_least[1], at_least[1] + 4))):
        path = shutil.which(name)
        if path is None:
            continue
        ask = f"import sys; sys.exit(sys.version_info < {at_least})"
        if run([path, "-c", ask]).returncode == 0:
            return path
    return None


def _for_accelforge(case: Case) -> dict[str, str]:
    """Return its files: one bit per word, so that its energy per bit is ours per word; time in ops of one unit."""
    nodes = ["arch:", "  nodes:"]
    for place, level in enumerate(case.architecture.levels):
        nodes += [
            "  - !Memory", f"    name: {level.name}", f"    size: {level.usable_words or 'inf'}", "    leak_power: 0",
            "    area: 0", f"    tensors: {{{'may_keep' if place else 'keep'}: All}}", "    actions:",
            f"    - {{name: read, energy: {level.read_energy_pj}, throughput: inf}}",
            f"    - {{name: write, energy: {level.write_energy_pj}, throughput: inf}}",
        ]  # fmt: skip
        if level.fanout > 1:
            nodes += [
                "  - !Container", f"    name: below_{level.name}", "    spatial:",
                f"    - {{name: X, fanout: {level.fanout_x}}}", f"    - {{name: Y, fanout: {level.fanout_y}}}",
            ]  # fmt: skip
    nodes += [
        "  - !Compute", f"    name: {case.architecture.compute_name}", "    leak_power: 0", "    area: 0",
        "    actions:", f"    - {{name: compute, energy: {case.architecture.compute_energy_pj}, throughput: 1}}",
    ]  # fmt: skip
    workload = ["workload:", "  iteration_space_shape:"]
    workload += [f"    {var}: 0 <= {var} < {extent}" for var, extent in case.einsum.extents]
    workload += ["  bits_per_value: {All: 1}", "  einsums:", "  - name: Matmul", "    tensor_accesses:"]
    for tensor in case.einsum.tensors:
        output = ", output: True" if tensor.name == case.einsum.output.name else ""
        workload.append(f"    - {{name: {tensor.name}, projection: [{', '.join(tensor.rank_vars)}]{output}}}")
    a, b = (tensor.name for tensor in case.einsum.inputs)
    workload.append(f"    renames: {{input: {a}, weight: {b}, output: {case.einsum.output.name}}}")
    return {"arch.yaml": "\n".join(nodes) + "\n", "workload.yaml": "\n".join(workload) + "\n"}


def _for_zigzag(case: Case) -> dict[str, str]:
    """Return its files: words of 8 bits, ports so wide that none stalls, their energy per word ours."""
    words = 1 << 16
    a, b = case.einsum.inputs
    operands = {a.name: "I", b.name: "W", case.einsum.output.name: "O"}
    memories = ["name: machine", "memories:"]
    for place in range(len(case.architecture.levels) - 1, -1, -1):
        level = case.architecture.levels[place]
        ports = (("r", "read", level.read_energy_pj, ("I1, tl", "I2, tl", "O, tl", "O, th")),
                 ("w", "write", level.write_energy_pj, ("I1, fh", "I2, fh", "O, fh", "O, fl")))  # fmt: skip
        memories += [
            f"  {level.name.lower()}:", f"    size: {8 * level.usable_words if level.usable_words else 10**12}",
            *(f"    {name}_cost: {energy_pj * words}" for name, _, energy_pj, _ in ports), "    area: 0",
            "    latency: 1", "    auto_cost_extraction: False", "    operands: [I1, I2, O]", "    ports:",
        ]  # fmt: skip
        for name, kind, _, moves in ports:
            memories += [
                f"    - name: {name}_port_1", f"      type: {kind}", "      bandwidth_min: 8",
                f"      bandwidth_max: {8 * words}", "      allocation:", *(f"      - {move}" for move in moves),
            ]  # fmt: skip
        inside = case.architecture.instances(place) > 1
        memories.append(f"    served_dimensions: [{'' if inside else 'D1, D2'}]")
    x, y = next((level.fanout_x, level.fanout_y) for level in case.architecture.levels if level.fanout > 1)
    memories += [
        "operational_array:", f"  unit_energy: {case.architecture.compute_energy_pj}", "  unit_area: 1",
        "  dimensions: [D1, D2]", f"  sizes: [{x}, {y}]",
    ]  # fmt: skip
    access = {
        operands[tensor.name]: operands[tensor.name] + "".join(f"[{var}]" for var in tensor.rank_vars)
        for tensor in case.einsum.tensors
    }
    workload = [
        "- id: 0", "  name: matmul", "  operator_type: Gemm", f"  equation: {access['O']}+={access['I']}*{access['W']}",
        f"  loop_dims: [{', '.join(var.upper() for var in case.einsum.rank_vars)}]",
        f"  loop_sizes: [{', '.join(str(extent) for _, extent in case.einsum.extents)}]",
        "  operand_precision: {I: 8, W: 8, O: 8, O_final: 8}", "  operand_source: {I: 0, W: 0}",
    ]  # fmt: skip
    mapping = "- name: default\n  memory_operand_links: {O: O, W: I2, I: I1}\n"
    return {
        "arch.yaml": "\n".join(memories) + "\n", "workload.yaml": "\n".join(workload) + "\n", "mapping.yaml": mapping,
    }  # fmt: skip
