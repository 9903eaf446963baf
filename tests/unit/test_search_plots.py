"""Figures of a search: what the axes hold, against numbers worked out in another way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from heat_sim.codesign.comparison import Searched
from heat_sim.codesign.front import FrontRow
from heat_sim.codesign.network_cost import NetworkCost, StoredOption
from heat_sim.codesign.pareto import hypervolume
from heat_sim.codesign.points import Point
from heat_sim.errors import SpecError
from heat_sim.mapper.cascade.result import Row
from heat_sim.networks import SIZES, Network, network_from_config
from heat_sim.report.figures.breakdown import PARTS, CostBar, breakdown_figure, cost_bar
from heat_sim.report.figures.formats import formats_figure
from heat_sim.report.figures.hypervolume import hypervolume_figure
from heat_sim.report.figures.hypervolume_history import hypervolume_history
from heat_sim.report.figures.matrix_formats import ABBREVIATIONS, matrix_formats, rank_text
from heat_sim.report.figures.points import points_figure
from heat_sim.report.figures.style import save_figure
from heat_sim.tensorize.contraction import contraction_trees
from heat_sim.tensorize.design import Design, LayerDesign
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization

DENSE_EDP = 100.0
PAIRS = st.lists(st.tuples(*[st.integers(0, 12).map(lambda n: n / 8)] * 2), max_size=40)
"""Often equal in one objective or both, and on or beyond the worst corner."""


def row(design: str, gain: float, loss: float) -> FrontRow:
    return FrontRow(
        design=design, edp_gain=gain, energy_pj=1.0, cycles=1, edp_pj_cycles=DENSE_EDP / gain, parameters=1,
        encoder_parameters=1, estimated_loss=loss,
    )  # fmt: skip


def searched(name: str, points: list[tuple[float, float]], **arguments: object) -> Searched:
    """Return a run of points (EDP over dense, loss)."""
    made = tuple(
        Point(energy_pj=DENSE_EDP * edp, cycles=1, matrix_parameters=1, estimated_loss=loss) for edp, loss in points
    )
    return Searched(name=name, arguments=dict(arguments), dense_edp_pj_cycles=DENSE_EDP, points=made)


def drawn(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Label of each line to its points."""
    return {
        str(line.get_label()): list(map(tuple, np.asarray(line.get_xydata(), dtype=float).tolist()))
        for line in axes.get_lines()
    }


POINTS = [(1.0, 0.0), (0.5, 0.25), (0.25, 0.5), (0.5, 0.5), (2.0, 0.125), (0.25, 0.75), (0.125, 0.5)]


# --- points ---------------------------------------------------------------------------------------------------------


def test_every_costed_design_its_front_and_the_chosen_ones_are_drawn() -> None:
    rows = [row("dense", 1.0, 0.0), row("d01", 8.0, 0.5), row("d02", 2.0, 0.25)]
    (axes,) = points_figure(searched("a", POINTS, estimate="fisher"), rows).axes
    lines = drawn(axes)
    assert sorted(lines["costed designs"]) == sorted((loss, 1 / edp) for edp, loss in POINTS)
    # 4x at 0.5 is beaten by 8x at 0.5, 4x at 0.75 by it too, 0.5x at 0.125 by the dense network.
    assert lines["front"] == [(0.0, 1.0), (0.25, 2.0), (0.5, 8.0)]
    assert lines["dense"] == [(0.0, 1.0)]
    assert lines["chosen designs"] == [(0.5, 8.0), (0.25, 2.0)]
    assert {text.get_text(): tuple(text.xy) for text in axes.texts} == {"d01": (0.5, 8.0), "d02": (0.25, 2.0)}  # type: ignore[attr-defined]
    assert axes.get_xlabel() == "estimated loss (fisher estimate)"
    assert axes.get_ylabel() == "EDP gain over dense"
    assert axes.get_yscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.5x", "1x", "2x", "5x", "10x"]


@given(PAIRS.map(lambda pairs: [(edp + 0.125, loss) for edp, loss in pairs]))
def test_the_front_is_what_no_point_beats(pairs: list[tuple[float, float]]) -> None:
    (axes,) = points_figure(searched("a", pairs), [row("dense", 1.0, 0.0)]).axes
    unbeaten = {
        (loss, 1 / edp)
        for edp, loss in pairs
        if not any(e <= edp and other <= loss and (e, other) != (edp, loss) for e, other in pairs)
    }
    assert drawn(axes)["front"] == sorted(unbeaten)


def test_fronts_of_other_runs_have_their_names_in_the_legend_and_are_over_their_own_dense_network() -> None:
    other = Searched(name="uniform", arguments={}, dense_edp_pj_cycles=8.0, points=searched("", [(0.04, 0.3)]).points)
    figure = points_figure(searched("nsga2", POINTS), [row("dense", 1.0, 0.0)], others=[other])
    assert drawn(figure.axes[0])["front of uniform"] == [(0.3, 8.0 / (DENSE_EDP * 0.04))]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "costed designs", "front of nsga2", "front of uniform", "dense"
    ]  # fmt: skip


def test_runs_that_cannot_be_compared_are_not_drawn_together() -> None:
    one, two = searched("one", POINTS, estimate="fisher"), searched("two", POINTS, estimate="weight")
    with pytest.raises(SpecError, match=r"run two: cannot be compared .got another estimate"):
        points_figure(one, [row("dense", 1.0, 0.0)], others=[two])
    with pytest.raises(SpecError, match=r"run two: cannot be compared .got another estimate"):
        hypervolume_figure([one, two])


# --- hypervolume ----------------------------------------------------------------------------------------------------


@given(PAIRS)
def test_the_hypervolume_after_each_point_is_that_of_all_points_up_to_it(pairs: list[tuple[float, float]]) -> None:
    found = hypervolume_history(pairs, worst=(1.0, 1.25))
    expected = [hypervolume(pairs[: n + 1], worst=(1.0, 1.25)) for n in range(len(pairs))]
    assert found == expected  # eighths: exact


def test_the_hypervolume_is_that_of_the_oracle_for_points_of_no_grid() -> None:
    pairs = [(float(edp), float(loss)) for edp, loss in np.random.default_rng(0).uniform(0, 1.1, (300, 2))]
    found = hypervolume_history(pairs, worst=(1.0, 1.0))
    for n in range(0, 300, 17):
        assert found[n] == pytest.approx(hypervolume(pairs[: n + 1], worst=(1.0, 1.0)), abs=1e-12)


def test_a_marker_stands_after_each_batch_and_after_the_last_design() -> None:
    runs = [searched("a", POINTS, population=3), searched("b", POINTS[:4], population=2), searched("c", POINTS[:3])]
    figure = hypervolume_figure(runs)
    lines = drawn(figure.axes[0])
    assert {name: [n for n, _ in line] for name, line in lines.items()} == {
        "a": [3.0, 6.0, 7.0],
        "b": [2.0, 4.0],
        "c": [1.0, 2.0, 3.0],  # its population is not known
    }
    for line in lines.values():
        assert [volume for _, volume in line] == [
            pytest.approx(hypervolume(POINTS[: int(n)], worst=(1.0, 1.0))) for n, _ in line
        ]
    assert figure.axes[0].get_xlabel() == "designs costed"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    assert not hypervolume_figure(runs[:1]).legends


# --- formats --------------------------------------------------------------------------------------------------------

ROLES = {
    "attention.self.query": "query", "attention.self.key": "key", "attention.self.value": "value",
    "attention.output.dense": "attention output", "intermediate.dense": "FFN up", "output.dense": "FFN down",
}  # fmt: skip


def factorization(form: str, ranks: tuple[int, ...] = ()) -> Factorization:
    """Return one of a 16 x 24 matrix."""
    modes = ((4, 4), (4, 6)) if form == "tt-matrix" else ((16,), (24,))
    return Factorization(format=form, tensorization=Tensorization(out_modes=modes[0], in_modes=modes[1]), ranks=ranks)


DENSE = factorization("dense")
LOW_RANK = factorization("low-rank", (4,))
TRAIN = factorization("tt-matrix", (1, 5, 1))


def layer(of: Factorization, members: tuple[str, ...] = ()) -> LayerDesign:
    return LayerDesign(
        factorization=of, trees=tuple(contraction_trees(einsum)[0] for einsum in of.einsums(1)), members=members
    )


def design(name: str, *layers: tuple[str, Factorization]) -> Design:
    made = tuple((matrix, layer(of)) for matrix, of in layers)
    return Design(id=name, model="tiny", tokens=4, architecture="edge", layers=made)


def cells(axes: Axes) -> dict[tuple[str, str], str]:
    """Names of row and column to the text there."""
    rows = [label.get_text() for label in axes.get_yticklabels()]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    return {
        (rows[int(text.get_position()[1])], columns[int(text.get_position()[0])]): text.get_text().replace("\n", " ")
        for text in axes.texts
    }


def colours(axes: Axes) -> Any:
    values: Any = axes.images[0].get_array()
    return np.ma.filled(values, np.nan)


def test_designs_whose_layers_are_alike_are_the_columns_of_one_map() -> None:
    alike = [
        design("d01", *((f"encoder.layer.{n}.{name}", LOW_RANK) for n in range(2) for name in ROLES)),
        design("d02", *((f"encoder.layer.{n}.{name}", TRAIN if name == "output.dense" else DENSE)
                        for n in range(2) for name in ROLES)),
    ]  # fmt: skip
    axes, bar = formats_figure(alike).axes
    assert cells(axes) == {
        **{(role, "d01"): "LR 4" for role in ROLES.values()},
        **{(role, "d02"): "TT 5" if role == "FFN down" else "D" for role in ROLES.values()},
    }
    low_rank = (16 * 4 + 4 * 24) / (16 * 24)
    train = (4 * 4 * 5 + 5 * 4 * 6) / (16 * 24)
    assert colours(axes).tolist() == [*[[low_rank, 1.0]] * 5, [low_rank, train]]
    assert axes.get_xlabel() == "design, all layers alike"
    assert bar.get_ylabel() == "parameters kept"
    assert "100%" in [label.get_text() for label in bar.get_yticklabels()]


def test_designs_that_differ_by_layer_have_a_map_each() -> None:
    mixed = design("d01", ("h.0.mlp.c_fc", LOW_RANK), ("h.2.mlp.c_fc", DENSE), ("h.0.special", TRAIN))
    alike = design("d02", *((f"h.{n}.mlp.c_fc", DENSE) for n in range(3)))
    first, second, _ = formats_figure([mixed, alike]).axes
    assert (first.get_title(), second.get_title()) == ("d01", "d02")
    assert cells(first) == {("FFN up", "0"): "LR 4", ("FFN up", "2"): "D", ("special", "0"): "TT 5"}
    assert cells(second) == {("FFN up", str(n)): "D" for n in range(3)}
    assert np.isnan(colours(first)[0, 1])  # no such matrix
    assert second.get_xlabel() == "layer"


def test_many_maps_stand_in_two_columns() -> None:
    mixed = [design(f"d0{n}", ("h.0.mlp.c_fc", LOW_RANK), ("h.1.mlp.c_fc", DENSE)) for n in range(1, 6)]
    figure = formats_figure(mixed)
    *maps, _ = figure.axes
    figure.canvas.draw()
    assert [axes.get_title() for axes in maps] == [f"d0{n}" for n in range(1, 6)]
    assert len({round(axes.get_position().x0, 3) for axes in maps}) == 2


def test_joint_matrices_have_the_share_of_all_of_them() -> None:
    members = tuple(f"encoder.layer.0.attention.self.{name}" for name in ("query", "key"))
    joint = Design(
        id="d01", model="tiny", tokens=4, architecture="edge", layers=(("both", layer(LOW_RANK, members)),)
    )  # fmt: skip
    found = matrix_formats(joint)
    assert [(each.role, each.layer) for each in found] == [("query", 0), ("key", 0)]
    assert {each.share for each in found} == {(16 * 4 + 4 * 24) / (16 * 24)}


@pytest.mark.parametrize("size", SIZES)
def test_the_role_of_every_matrix_of_a_known_network_has_a_title(size: str) -> None:
    network = network_from_config(SIZES[size], tokens=4, name=size)
    titles = {
        "query": "query", "key": "key", "value": "value", "query_key_value": "query, key, value",
        "attention_output": "attention output", "up": "FFN up", "gate": "FFN gate", "down": "FFN down",
    }  # fmt: skip
    found = matrix_formats(design("d01", *((matrix.name, DENSE) for matrix in network.matrices)))
    assert [(each.role, each.layer) for each in found] == [(titles[each.role], each.layer) for each in network.matrices]
    assert {matrix.role for matrix in network.matrices} <= PARTS.keys()


def test_every_format_has_letters_of_its_own() -> None:
    assert ABBREVIATIONS.keys() == FORMATS.keys()
    assert len(set(ABBREVIATIONS.values())) == len(ABBREVIATIONS)


def test_ranks_that_differ_are_told_by_the_largest_and_blocks_by_their_number() -> None:
    shape = Tensorization(out_modes=(4, 4), in_modes=(4, 6))
    tucker = Factorization(format="tucker", tensorization=shape, ranks=(2, 3, 3, 2))
    blocks = Factorization(format="block-term", tensorization=shape, ranks=(2, 3, 3, 3, 3))
    assert (rank_text(tucker), rank_text(blocks), rank_text(DENSE), rank_text(TRAIN)) == ("≤3", "2x3", "", "5")


# --- breakdown ------------------------------------------------------------------------------------------------------


def network() -> Network:
    config = {
        "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 16, "vocab_size": 10, "max_position_embeddings": 16, "type_vocab_size": 2,
    }  # fmt: skip
    return network_from_config(config, tokens=4, name="toy")


def option(dram_pj: float, mac_pj: float, cycles: int) -> StoredOption:
    line = Row(what="x", ops=1, count=1, cycles=cycles, energy_pj={"DRAM": dram_pj, "MAC": mac_pj}, main_words=1)
    return StoredOption(energy_pj=dram_pj + mac_pj, cycles=cycles, lines=(line,))


def test_energy_and_cycles_are_counted_by_level_and_by_part() -> None:
    toy = network()
    square, wide, tall = (
        Factorization(format="dense", tensorization=Tensorization(out_modes=(rows,), in_modes=(columns,)))
        for rows, columns in ((8, 8), (16, 8), (8, 16))
    )
    of = {(8, 8): square, (16, 8): wide, (8, 16): tall}
    thin = Factorization(format="low-rank", tensorization=square.tensorization, ranks=(1,))
    factorizations = {matrix.name: of[matrix.out_features, matrix.in_features] for matrix in toy.matrices}
    factorizations["encoder.layer.1.attention.output.dense"] = thin
    scores, context = toy.attention
    options = {"square": option(10, 1, 100), "wide": option(20, 2, 200), "tall": option(30, 3, 300),
               "thin": option(4, 0.5, 7), scores.name: option(5, 6, 10), context.name: option(7, 8, 20)}  # fmt: skip
    # Layer 0 has the first three, layer 1 the fourth; attention runs once per layer.
    times = (7, 2, 2, 1, 2, 2)
    cost = NetworkCost(
        parts=tuple((name, n, each) for (name, each), n in zip(options.items(), times, strict=True)),
        energy_pj=sum(n * each.energy_pj for each, n in zip(options.values(), times, strict=True)),
        cycles=sum(n * each.cycles for each, n in zip(options.values(), times, strict=True)), optimal=True, seconds=0.0,
    )  # fmt: skip
    bar = cost_bar("d01", network=toy, factorizations=factorizations, cost=cost)
    assert bar.energy_pj_by_level == {
        "DRAM": 7 * 10 + 2 * 20 + 2 * 30 + 4 + 2 * 5 + 2 * 7, "MAC": 7 * 1 + 2 * 2 + 2 * 3 + 0.5 + 2 * 6 + 2 * 8
    }  # fmt: skip
    assert bar.energy_pj_by_part == {
        "query, key, value": 2 * 3 * 11, "attention output": 11 + 4.5, "FFN up": 2 * 22, "FFN down": 2 * 33,
        f"attention {scores.name}": 2 * 11, f"attention {context.name}": 2 * 15,
    }  # fmt: skip
    assert bar.cycles_by_part == {
        "query, key, value": 2 * 3 * 100, "attention output": 100 + 7, "FFN up": 2 * 200, "FFN down": 2 * 300,
        f"attention {scores.name}": 2 * 10, f"attention {context.name}": 2 * 20,
    }  # fmt: skip
    assert bar.edp_pj_cycles == pytest.approx(cost.edp_pj_cycles)


BARS = (
    CostBar(name="dense", energy_pj_by_level={"DRAM": 6e6, "MAC": 2e6}, energy_pj_by_part={"FFN up": 5e6, "QKV": 3e6},
            cycles_by_part={"FFN up": 4000, "QKV": 1000}),
    CostBar(name="d01", energy_pj_by_level={"DRAM": 3e6, "MAC": 1e6}, energy_pj_by_part={"FFN up": 1e6, "QKV": 3e6},
            cycles_by_part={"FFN up": 1500, "QKV": 1000}),
)  # fmt: skip


def stacks(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Name of each part of the bars to (begin, width) per bar."""
    found: dict[str, list[tuple[float, float]]] = {}
    for container in axes.containers:
        patches = [patch for patch in container if isinstance(patch, Rectangle)]
        found[str(container.get_label())] = [(patch.get_x(), patch.get_width()) for patch in patches]
    return found


def test_bars_are_stacked_in_the_units_of_the_axes() -> None:
    figure = breakdown_figure(BARS)
    levels, parts, cycles = figure.axes
    assert stacks(levels) == {"DRAM": [(0.0, 6.0), (0.0, 3.0)], "MAC": [(6.0, 2.0), (3.0, 1.0)]}
    assert stacks(parts) == {"FFN up": [(0.0, 5.0), (0.0, 1.0)], "QKV": [(5.0, 3.0), (1.0, 3.0)]}
    assert stacks(cycles) == {"FFN up": [(0.0, 4.0), (0.0, 1.5)], "QKV": [(4.0, 1.0), (1.5, 1.0)]}
    assert [axes.get_xlabel() for axes in figure.axes] == ["energy (uJ)", "energy (uJ)", "cycles (thousand)"]
    # 8 uJ x 5000 cycles over 4 uJ x 2500 cycles.
    assert [label.get_text() for label in levels.get_yticklabels()] == ["dense  1.0x", "d01  4.0x"]
    assert [[text.get_text() for text in legend.get_texts()] for legend in figure.legends] == [
        ["DRAM", "MAC"], ["FFN up", "QKV"]
    ]  # fmt: skip


# --- files ----------------------------------------------------------------------------------------------------------


def test_png_and_pdf_are_the_same_bytes_each_time_and_nothing_else_is_written(tmp_path: Path) -> None:
    for suffix, signature in ((".png", b"\x89PNG\r\n\x1a\n"), (".pdf", b"%PDF-")):
        first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        for target in (first, second):
            save_figure(hypervolume_figure([searched("a", POINTS, population=3)]), target)
        assert first.read_bytes().startswith(signature)
        assert first.read_bytes() == second.read_bytes()
    with pytest.raises(SpecError, match=r"unknown kind of picture .got a.svg, expected a name ending in .png or .pdf"):
        save_figure(hypervolume_figure([searched("a", POINTS)]), tmp_path / "a.svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png", "b.pdf", "b.png"]
