"""`heat-sim codesign` of a configuration alone, with sizes of the machine, by other strategies; and `ablate`."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from heat_sim.cli.ablate import variants
from heat_sim.cli.plot_costs import cost_bars
from heat_sim.report.run_folder import read_front, read_manifest, read_searched
from heat_sim.specs import load_architecture
from heat_sim.tensorize.design import load_design
from tests.integration.test_cli_resume import CONFIG

HEAT_SIM = [sys.executable, "-c", "from heat_sim.cli import main; main()"]
RANGES = """
hardware:
  version: 1
  node_nm: 16
  components:
    DRAM: {kind: dram, type: LPDDR4}
    GlobalBuffer: {kind: sram}
    InputBuffer: {kind: sram}
    WeightBuffer: {kind: sram, banks: 8}
    AccumulationBuffer: {kind: sram, banks: 8}
    WeightRegister: {kind: register}
    MAC: {kind: mac, multiplier: 8, accumulator: 24}
  ranges:
    GlobalBuffer.depth: [512, 2048]
    PE.meshX: [2, 4]
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    return {**os.environ, "HEAT_SIM_CACHE": str(tmp_path_factory.mktemp("cache")), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    return path


def heat_sim(*words: object, environment: dict[str, str], code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*HEAT_SIM, *map(str, words)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def codesign(config: Path, out: Path, *more: object, environment: dict[str, str], code: int = 0):
    return heat_sim(
        "codesign", "--model", config, "--arch", "simba_l", "--seq", 16, "--formats", "low-rank,tt-matrix",
        "--population", 12, "--generations", 3, "--jobs", 1, "--out", out, *more, environment=environment, code=code,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(config, environment, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    done = codesign(config, out, environment=environment)
    assert "no pretrained weights" in done.stderr
    assert "it is no accuracy" in done.stderr
    return out


def test_a_configuration_alone_is_searched_with_its_table_and_plot(run) -> None:
    with (run / "front.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["design"] for row in rows][:2] == ["dense", "d01"]
    assert all(float(row["edp_gain"]) > 1 for row in rows[1:])
    assert (run / "front.png").stat().st_size > 1000
    assert read_manifest(run)["arguments"]["estimate"] == "weight"
    assert read_manifest(run)["facts"]["designs_per_second"] > 0


def test_two_processes_write_the_same_points(run, config, environment, tmp_path) -> None:
    codesign(config, tmp_path / "two", "--jobs", 2, environment=environment)
    assert (tmp_path / "two" / "points.jsonl").read_bytes() == (run / "points.jsonl").read_bytes()


def test_queries_keys_and_values_are_factorised_jointly(config, environment, tmp_path) -> None:
    out = tmp_path / "joint"
    codesign(config, out, "--joint", "always", environment=environment)
    designs = [load_design(path) for path in sorted((out / "designs").iterdir())]
    assert designs
    stacked = [layer for design in designs for _, layer in design.layers if layer.members]
    assert stacked
    for layer in stacked:
        assert (layer.factorization.out_features, layer.factorization.in_features) == (96, 32)
        assert [name.rpartition(".")[2] for name in layer.members] == ["query", "key", "value"]
    for design in designs:
        assert len([name for name, layer in design.layers for name in (layer.members or (name,))]) == 12


@pytest.fixture(scope="module", params=["edp", "macs"])
def joint_or_not(request, config, environment, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "search"
    codesign(
        config, out, "--joint", "search", "--order", request.param, "--per", "role", "--formats", "low-rank",
        "--population", 24, environment=environment,
    )  # fmt: skip
    return out


def front(run: Path) -> dict[str, dict[str, str]]:
    with (run / "front.csv").open(encoding="utf-8") as file:
        return {row["design"]: row for row in csv.DictReader(file)}


def test_what_is_joint_is_chosen_and_scored_as_it_was_searched(joint_or_not, config, environment) -> None:
    designs = {path.stem: load_design(path) for path in sorted((joint_or_not / "designs").iterdir())}
    assert read_manifest(joint_or_not)["arguments"]["joint"] == "search"
    assert any(design.joint for design in designs.values())
    name = next(name for name, design in designs.items() if design.joint)
    rows = front(joint_or_not)
    for chosen in ("dense", name):
        design = ["--design", joint_or_not / "designs" / f"{chosen}.yaml"] if chosen != "dense" else []
        done = heat_sim(
            "score", "--arch", "simba_l", "--model", config, "--tokens", 16, "--no-fuse", "--merged", *design,
            "--json", "-", environment=environment,
        )  # fmt: skip
        scored = json.loads(done.stdout)
        assert scored["energy_pJ"] == pytest.approx(float(rows[chosen]["energy_pj"]), rel=1e-5)
        assert scored["cycles"] == int(rows[chosen]["cycles"])


def test_the_breakdown_of_joint_matrices_and_of_mac_orders_adds_up_to_the_front(joint_or_not, environment) -> None:
    designs = [load_design(path) for path in sorted((joint_or_not / "designs").iterdir())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEAT_SIM_CACHE", environment["HEAT_SIM_CACHE"])
        bars = cost_bars(joint_or_not, read_front(joint_or_not), designs)
    for bar, row in zip(bars, front(joint_or_not).values(), strict=True):
        assert sum(bar.cycles_by_part.values()) == int(row["cycles"])
        assert set(bar.cycles_by_part) == set(bars[0].cycles_by_part)


def test_joint_is_compared_with_apart_on_one_baseline(run, joint_or_not, config, environment, tmp_path) -> None:
    apart, always = tmp_path / "apart", tmp_path / "always"
    for out in (apart, always):
        codesign(config, out, "--joint", out.name, "--per", "role", "--formats", "low-rank", environment=environment)
    dense = [front(out)["dense"]["edp_pj_cycles"] for out in (apart, always, run)]
    assert len(set(dense)) == 1
    assert not any(load_design(path).joint for path in (apart / "designs").iterdir())
    done = heat_sim("compare", apart, always, joint_or_not, "--losses", "0.9", environment=environment)
    assert "joint search" in done.stdout


def test_an_unknown_way_of_being_joint_is_refused(config, environment, tmp_path) -> None:
    done = codesign(config, tmp_path / "no", "--joint", "perhaps", environment=environment, code=2)
    assert "perhaps" in done.stderr
    assert not (tmp_path / "no").exists()


def test_the_flag_of_an_older_run_is_refused(run, tmp_path, environment) -> None:
    old = tmp_path / "old"
    old.mkdir()
    text = (run / "manifest.json").read_text(encoding="utf-8")
    (old / "manifest.json").write_text(text.replace('"joint": "search"', '"joint": true'), encoding="utf-8")
    done = heat_sim("codesign", "--resume", old, environment=environment, code=2)
    assert "--joint: unknown (got True, expected search, apart, always)" in " ".join(done.stderr.split())


def test_the_manifest_alone_makes_the_same_run_again(run, environment, tmp_path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    (again / "manifest.json").write_bytes((run / "manifest.json").read_bytes())
    heat_sim("codesign", "--resume", again, "--jobs", 1, environment=environment)
    for name in ("points.jsonl", "front.csv", *(f"designs/{path.name}" for path in (run / "designs").iterdir())):
        assert (again / name).read_bytes() == (run / name).read_bytes()


def test_an_estimate_that_needs_weights_is_refused(config, environment, tmp_path) -> None:
    done = codesign(config, tmp_path / "no", "--estimate", "fisher", environment=environment, code=2)
    assert "needs the weights of a model" in done.stderr
    assert not (tmp_path / "no").exists()


def test_a_machine_is_chosen_with_the_design(config, environment, tmp_path) -> None:
    ranges = tmp_path / "ranges.yaml"
    ranges.write_text(RANGES, encoding="utf-8")
    out = tmp_path / "run"
    codesign(
        config, out, "--hardware", ranges, "--formats", "low-rank", "--objectives", "edp,loss,area",
        "--constraint", "area <= 0.65", "--per", "shape", "--joint", "apart",
        environment=environment,
    )  # fmt: skip
    with (out / "front.csv").open(encoding="utf-8") as file:
        dense, *rows = csv.DictReader(file)
    assert rows
    assert float(dense["area_mm2"]) == pytest.approx(0.6621, abs=1e-4)  # docs/hardware.md: the base
    assert all(float(row["area_mm2"]) <= 0.65 for row in rows)
    assert "area (mm2)" in (out / "front.md").read_text(encoding="utf-8")
    machine = out / "machines" / rows[0]["design"]
    spec = load_architecture(machine / "arch.yaml", ert=machine / "ert.yaml")
    assert len(spec.architecture.levels) == 6
    points = read_searched(out).points
    assert len({point.area_mm2 for point in points}) == 4  # all machines of the file were tried
    assert read_manifest(out)["facts"]["machines"] == 4


def test_area_without_sizes_of_the_machine_is_refused(config, environment, tmp_path) -> None:
    done = codesign(config, tmp_path / "no", "--constraint", "area <= 2", environment=environment, code=2)
    assert "--hardware FILE" in done.stderr


def test_an_unknown_strategy_is_refused_before_anything_is_written(config, environment, tmp_path) -> None:
    done = codesign(config, tmp_path / "no", "--strategy", "nsga9", environment=environment, code=2)
    assert "nsga9" in done.stderr
    assert not (tmp_path / "no").exists()


def test_ablations_are_runs_of_their_own_and_a_table(run, environment) -> None:
    names = "mac-order,no-seeding,heat,uniform"
    done = heat_sim("ablate", run, "--only", names, "--losses", "0.3,0.6", "--jobs", 1, environment=environment)
    table = done.stdout.splitlines()
    assert table[0].startswith("| search")
    assert [line.split("|")[1].strip() for line in table[2:]] == ["whole", *names.split(",")]
    assert (run / "ablations" / "table.md").read_text(encoding="utf-8") == done.stdout
    assert read_manifest(run / "ablations" / "mac-order")["arguments"]["order"] == "macs"
    before = (run / "ablations" / "heat" / "points.jsonl").stat().st_mtime_ns
    again = heat_sim(
        "ablate", run, "--only", "heat", "--losses", "0.6", "--json", "-", "--jobs", 1, environment=environment
    )
    assert (run / "ablations" / "heat" / "points.jsonl").stat().st_mtime_ns == before
    whole, heat = json.loads(again.stdout)
    assert heat["edp_gain_at_loss"]["0.6"] > 1
    assert whole["differs"] == ""
    assert "strategy heat" in heat["differs"]


@pytest.mark.parametrize(
    ("own", "others"),
    [
        ("search", {"no-joint": "apart", "always-joint": "always"}),
        ("apart", {"joint": "search", "always-joint": "always"}),
        ("always", {"joint": "search", "no-joint": "apart"}),
    ],
)
def test_ablations_of_being_joint_are_the_other_ways(own, others) -> None:
    found = variants({"fuse": False, "joint": own, "formats": "low-rank"})
    assert {name: each["joint"] for name, each in found.items() if "joint" in each} == others


def test_ablations_of_a_run_with_a_supernet_are_what_it_was_trained_for() -> None:
    arguments = {"fuse": False, "joint": "apart", "formats": "low-rank,cp"}
    left_out = (
        variants({**arguments, "estimate": "fisher"}).keys() - variants({**arguments, "estimate": "supernet"}).keys()
    )
    assert left_out == {"low-rank-only", "cp-only", "frobenius", "joint", "always-joint"}


def test_an_unknown_ablation_is_refused(run, environment) -> None:
    done = heat_sim("ablate", run, "--only", "nonsense", environment=environment, code=2)
    assert "unknown ablations" in done.stderr
    assert "mac-order" in done.stderr
