"""`heat-sim plot` as a user meets it: which figures it writes of a run, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from heat_sim.cli.inputs import architecture_files, read_architecture
from heat_sim.cli.plot_costs import cost_bars
from heat_sim.codesign.chosen import chosen_designs, front_rows
from heat_sim.codesign.evaluator import Evaluator
from heat_sim.codesign.layer_ways import LayerWays
from heat_sim.codesign.points import Point, PointStore
from heat_sim.errors import SpecError
from heat_sim.hardware import load_space
from heat_sim.mapper.layer import Machine
from heat_sim.networks import load_network
from heat_sim.report.manifest import manifest
from heat_sim.report.run_folder import POINTS, read_front, write_designs, write_front, write_manifest
from heat_sim.specs.architecture_writer import dump_architecture, dump_ert
from heat_sim.tensorize.design import load_design
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.tensorization import Tensorization

CONFIG = {
    "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "vocab_size": 10, "max_position_embeddings": 16, "type_vocab_size": 2,
}  # fmt: skip
ARCH, TOKENS = Path("edge_16x16"), 8
SIMBA = Path(__file__).parents[2] / "arch_specs" / "simba_l"


def make_run(folder: Path) -> Path:
    """Write a run of the dense network and two designs, as a search does."""
    folder.mkdir(parents=True)
    config = folder.parent / "config.json"
    config.write_text(json.dumps(CONFIG), encoding="utf-8")
    network = load_network(config, tokens=TOKENS)
    spec = read_architecture(ARCH, None)
    machine = Machine(architecture=spec.architecture, constraints=spec.constraints, fuse=False, merged=True)
    evaluator = Evaluator(
        network=network, ways=LayerWays(machine=machine, tokens=TOKENS),
        estimate=lambda design: sum(each.format != "dense" for each in design.values()) / 20,
    )  # fmt: skip

    def cost(rank: int | None, roles: tuple[str, ...] = ()):
        return evaluator.cost({
            matrix.name: Factorization(
                format="low-rank" if matrix.role in roles else "dense",
                tensorization=Tensorization(out_modes=(matrix.out_features,), in_modes=(matrix.in_features,)),
                ranks=(rank,) if matrix.role in roles else (),
            )
            for matrix in network.matrices
        })  # fmt: skip

    dense, chosen = cost(None), [cost(2, ("up", "down")), cost(4, ("up",))]
    with PointStore(folder / POINTS, about={"seed": 0}) as store:
        for place, each in enumerate([dense, *chosen]):
            store.put((place,), Point(energy_pj=each.energy_pj, cycles=each.cycles, estimated_loss=each.estimated_loss,
                                      matrix_parameters=each.matrix_parameters))  # fmt: skip
        store.put((9,), Point(energy_pj=0.0, cycles=0, matrix_parameters=0, estimated_loss=0.0, failure="does not fit"))
    write_designs(folder, chosen_designs(chosen, network=network))
    write_front(folder, front_rows(dense, chosen, network=network))
    arguments = {"model": str(config), "arch": str(ARCH), "ert": None, "tokens": TOKENS, "fuse": False,
                 "population": 2, "estimate": "weight"}  # fmt: skip
    write_manifest(
        folder, manifest(arguments=arguments, seed=0, spec_files=architecture_files(ARCH, None), facts={})
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEAT_SIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        return make_run(tmp_path_factory.mktemp("made") / "results" / "first")


@pytest.fixture
def folder(made, tmp_path, monkeypatch) -> Path:
    """Return a copy of the run, from where the command is called."""
    shutil.copytree(made, tmp_path / "first")
    shutil.copy(made.parent / "config.json", tmp_path)
    monkeypatch.setenv("HEAT_SIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "first"


def test_without_options_the_front_and_what_the_folder_has_data_for_are_drawn(run, folder) -> None:
    code, out, err = run("plot", "first")
    assert code == 0, err
    assert out.splitlines() == [
        *(f"plot written to {name}.png" for name in ("front", "points", "hypervolume", "formats")),
        "training not drawn: nothing was distilled",
        "breakdown not drawn: it costs the designs anew, ask for it with --figures breakdown",
    ]
    assert {path.name for path in Path().glob("*.p*")} == {
        "front.png", "points.png", "hypervolume.png", "formats.png"
    }  # fmt: skip
    assert Path("front.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_without_points_and_designs_still_has_its_front(run, folder) -> None:
    (folder / POINTS).unlink()
    (folder / "designs" / "d02.yaml").unlink()
    code, out, err = run("plot", "first", "--out", "new.pdf")
    assert code == 0, err
    assert out.splitlines()[0] == "plot written to new.pdf"
    assert "points not drawn: there is no first/points.jsonl" in out
    assert "formats not drawn: there is no first/designs/d02.yaml" in out
    assert [path.name for path in Path().glob("*.p*")] == ["new.pdf"]


def test_the_front_alone_is_what_a_search_writes(run, folder) -> None:
    for name in ("front.png", "front.pdf"):
        assert run("plot", "first", "--figures", "front", "--out", name)[0] == 0
        assert Path(name).read_bytes() == (folder / name).read_bytes()


def test_a_folder_gets_every_figure_as_png_and_pdf_and_other_runs_are_baselines(run, folder) -> None:
    shutil.copytree(folder, "second")
    code, out, err = run("plot", "first", "second", "--out", "paper", "--figures",
                         "front, points, hypervolume,formats,breakdown")  # fmt: skip
    assert code == 0, err
    names = ("front", "points", "hypervolume", "formats", "breakdown")
    assert {path.name for path in Path("paper").iterdir()} == {f"{name}.{end}" for name in names
                                                              for end in ("png", "pdf")}  # fmt: skip
    assert all(f"paper/{name}.pdf" in out for name in names)


def test_the_breakdown_adds_up_to_the_front(folder) -> None:
    rows = read_front(folder)
    designs = [load_design(folder / "designs" / f"{name}.yaml") for name in ("d01", "d02")]
    bars = cost_bars(folder, rows, designs)
    assert [bar.name for bar in bars] == ["dense", "d01", "d02"]
    for bar, row in zip(bars, rows, strict=True):
        assert sum(bar.cycles_by_part.values()) == row.cycles
        assert sum(bar.energy_pj_by_part.values()) == pytest.approx(row.energy_pj)
        assert sum(bar.energy_pj_by_level.values()) == pytest.approx(row.energy_pj)
    # Only the feed-forward matrices are factorised.
    dense, first, second = (bar.cycles_by_part for bar in bars)
    assert first["query, key, value"] == dense["query, key, value"]
    assert first["FFN down"] != second["FFN down"] == dense["FFN down"]


def test_each_design_is_costed_on_its_own_machine(folder) -> None:
    """The dense network on the base of the ranges, d01 on the smallest machine, which the run's folder holds."""
    ranges = SIMBA / "ranges.yaml"
    spec = read_architecture(SIMBA, None)
    space = load_space(ranges, base=spec)
    small = space.point([0] * len(space.genes))
    network = load_network(folder.parent / "config.json", tokens=TOKENS)
    design = load_design(folder / "designs" / "d01.yaml")
    low_rank = {name: layer.factorization for name, layer in design.layers}
    dense = {
        matrix.name: Factorization(
            format="dense",
            tensorization=Tensorization(out_modes=(matrix.out_features,), in_modes=(matrix.in_features,)),
        )
        for matrix in network.matrices
    }
    rows = []
    old = read_front(folder)
    for row, machine, factorizations in (
        (old[0], space.point(space.base_choice), dense), (old[1], small, low_rank)
    ):  # fmt: skip
        own = Machine(
            architecture=machine.architecture, constraints=spec.constraints, fuse=False, merged=True
        )  # fmt: skip
        cost = Evaluator(
            network=network, ways=LayerWays(machine=own, tokens=TOKENS), estimate=lambda _design: 0.0
        ).cost(factorizations)  # fmt: skip
        rows.append(replace(row, energy_pj=cost.energy_pj, cycles=cost.cycles))
    target = folder / "machines" / "d01"
    target.mkdir(parents=True)
    levels = tuple(replace(level, area_mm2=0.0) for level in small.architecture.levels)  # no matter to the costs
    written = replace(small.architecture, levels=levels, compute_area_mm2=0.0)
    (target / "arch.yaml").write_text(dump_architecture(written, version="0.4"), encoding="utf-8")
    (target / "ert.yaml").write_text(dump_ert(written), encoding="utf-8")
    plain = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    plain["arguments"] |= {"arch": str(SIMBA), "hardware": str(ranges)}
    write_manifest(folder, plain)
    bars = cost_bars(folder, rows, [design])
    assert [sum(bar.cycles_by_part.values()) for bar in bars] == [row.cycles for row in rows]
    shutil.rmtree(folder / "machines")
    with pytest.raises(SpecError, match="d01: costs something else than when it was searched"):
        cost_bars(folder, rows, [design])


def test_a_run_that_costs_something_else_today_has_no_breakdown(run, folder) -> None:
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    (folder / "manifest.json").write_text(text.replace(f'"tokens": {TOKENS}', '"tokens": 12'), encoding="utf-8")
    code, _, err = run("plot", "first", "--figures", "points,breakdown")
    assert code == 2
    assert "dense: costs something else than when it was searched" in " ".join(err.split())
    assert not list(Path().glob("*.png"))  # nothing by halves


def test_a_design_of_another_network_is_refused(folder) -> None:
    design = load_design(folder / "designs" / "d01.yaml")
    other = type(design)(
        id="d01", model="m", tokens=TOKENS, architecture="edge", layers=design.layers[:-1]
    )  # fmt: skip
    with pytest.raises(SpecError, match=r"design d01: not a factorization of each weight matrix .*got 11 matrices"):
        cost_bars(folder, read_front(folder), [other])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["first", "--figures", "front,pie"], "--figures: unknown (got pie, expected front, points, hypervolume, "
         "formats, breakdown, training)"),
        (["first", "--figures", ","], "--figures: unknown (got ',', expected front"),
        (["first", "--out", "front.svg"], "unknown kind of picture (got front.svg"),
        (["first", "nowhere"], "nowhere/front.csv: not the front of a run"),
        (["nowhere"], "nowhere/front.csv: not the front of a run"),
    ],
)  # fmt: skip
def test_bad_input_is_one_message(run, folder, words, message) -> None:
    code, out, err = run("plot", *words)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert not list(Path().glob("*.png"))


def test_what_is_asked_for_by_name_and_has_no_data_is_refused(run, folder) -> None:
    (folder / POINTS).unlink()
    code, _, err = run("plot", "first", "--figures", "front,points")
    assert code == 2
    assert "first/points.jsonl: not the points of a search" in " ".join(err.split())
    (folder / "designs" / "d01.yaml").unlink()
    code, _, err = run("plot", "first", "--figures", "formats")
    assert code == 2
    assert "d01.yaml" in err
    assert not list(Path().glob("*.png"))


def test_a_front_without_dense_row_is_refused(run, folder) -> None:
    lines = (folder / "front.csv").read_text(encoding="utf-8").splitlines()
    (folder / "front.csv").write_text("\n".join([lines[0], *lines[2:]]) + "\n", encoding="utf-8")
    code, _, err = run("plot", "first")
    assert code == 2
    assert "first/front.csv: no row of the dense network (got 2 rows" in " ".join(err.split())


def test_a_run_of_another_estimate_is_no_baseline(run, folder) -> None:
    shutil.copytree(folder, "second")
    text = Path("second/manifest.json").read_text(encoding="utf-8")
    Path("second/manifest.json").write_text(text.replace('"weight"', '"fisher"'), encoding="utf-8")
    code, _, err = run("plot", "first", "second")
    assert code == 2
    assert "run second: cannot be compared (got another estimate" in " ".join(err.split())


def test_runs_of_one_name_are_told_apart_by_their_folders(folder) -> None:
    from heat_sim.cli.plot_figures import read_subject

    shutil.copytree(folder, "other/first")
    names = [each.name for each in read_subject(Path("first"), [Path("other/first")]).searched]
    assert names == ["first", "other/first"]
