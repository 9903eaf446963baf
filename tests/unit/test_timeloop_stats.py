"""Reading Timeloop's stats: recorded reports, put into the tool's own form by a formatter that lives only here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from heat_sim.errors import SpecError
from heat_sim.model import evaluate
from heat_sim.specs import load_architecture, load_mapping, load_problem
from heat_sim.timeloop import compare, parse_stats
from heat_sim.timeloop.stats import ROUNDING, printed_energies

GOLDEN = Path(__file__).parents[1] / "golden"
RECORDED = sorted(
    path
    for path in (GOLDEN / "timeloop").glob("*/expected.json")
    if json.loads(path.read_text(encoding="utf-8"))["valid"]
)


def as_stats_text(report: dict[str, Any]) -> str:
    """Return a golden report as timeloop-model prints one: innermost level first, two decimals."""

    def lines(pairs: list[tuple[str, object]], width: int, indent: int) -> list[str]:
        return [
            f"{' ' * indent}{key:<{width}}: {value if isinstance(value, int | str) else f'{value:.2f}'}"
            for key, value in pairs
        ]

    def pj(value: float) -> str:
        return f"{value:.2f} pJ"

    unit = report["compute"]
    text = ["Buffer and Arithmetic Levels", "-" * 28, "Level 0", "-" * 7, f"=== {unit['name']} ===", "", "    SPECS",
            "    -----", "    Word bits             : 16",
            f"    Instances             : {unit['instances_available']} ({unit['instances_available']}*1)",
            "    Compute energy        : 1.00 pJ", "", "    STATS", "    -----"]  # fmt: skip
    text += lines([("Utilized instances", unit["instances_used"]), ("Computes (total)", unit["computes"]),
                   ("Cycles", unit["cycles"]), ("Energy (total)", pj(unit["energy_pJ"])),
                   ("Area (total)", "0.00 um^2")], 24, 4)  # fmt: skip
    for place, level in enumerate(reversed(report["levels"]), start=1):
        text += ["", f"Level {place}", "-" * 7, f"=== {level['name']} ===", "", "    SPECS", "    -----"]
        text += lines(
            [
                ("Technology", "SRAM"),
                ("Size", "-"),
                ("Word bits", 16),
                ("Cluster size", 1),
                ("Instances", f"{level['instances_available']} ({level['instances_available']}*1)"),
                ("Read bandwidth", "-"),
                ("Multiple buffering", 1.0),
                ("Vector access energy source", "ERT"),
                ("Leakage energy (total)", pj(level["leakage_energy_pJ"])),
                ("Area", "0.00 um^2"),
            ],
            32,
            8,
        )
        text += ["", "    MAPPING", "    -------", "    Loop nest:", "      for M in [0:2)",
                 "        for K in [0:4) (Spatial-X)", "", "    STATS", "    -----",
                 f"    Cycles               : {level['cycles']}",
                 f"    Bandwidth throttling : {level['throttle']:.2f}"]  # fmt: skip
        for name, counts in level["data_spaces"].items():
            if not counts["kept"]:
                continue
            used, energy = counts["instances_used"], counts["energy_pJ"]
            text.append(f"    {name}:")
            text += lines([
                ("Partition size", counts["partition_words"]), ("Utilized capacity", counts["tile_words"]),
                ("Utilized instances (max)", used), ("Utilized clusters (max)", used),
                ("Scalar reads (per-instance)", counts["reads_per_instance"]),
                ("Scalar fills (per-instance)", counts["fills_per_instance"]),
                ("Scalar updates (per-instance)", counts["updates_per_instance"]),
                ("Temporal reductions (per-instance)", counts["temporal_reductions_per_instance"]),
                ("Energy (per-scalar-access)", pj(0.5)), ("Energy (per-instance)", pj(energy / used)),
                ("Energy (total)", pj(energy)), ("Temporal Reduction Energy (per-instance)", pj(0.0)),
                ("Temporal Reduction Energy (total)", pj(0.0)), ("Address Generation Energy (total)", pj(0.0)),
                ("Read Bandwidth (per-instance)",
                 f"{counts['read_bandwidth_words_per_cycle_per_instance']:.2f} words/cycle"),
                ("Read Bandwidth (total)", "9.99 words/cycle"),
                ("Write Bandwidth (per-instance)",
                 f"{counts['write_bandwidth_words_per_cycle_per_instance']:.2f} words/cycle"),
            ], 41, 8)  # fmt: skip
    text += ["", "Networks", "-" * 8]
    # The tool keeps its networks sorted by name, not by place.
    for place, network in enumerate(sorted(report["networks"], key=lambda network: str(network["name"]))):
        text += [
            f"Network {place}",
            "-" * 9,
            network["name"],
            "",
            "    SPECS",
            "    -----",
            "        Type            : Legacy",
            "        Router energy   : - pJ",
            "",
            "    STATS",
            "    -----",
        ]
        for name, counts in network["data_spaces"].items():
            text.append(f"    {name}:")
            text += lines([("Fanout", counts["fanout"]), ("Fanout (distributed)", 0),
                           ("Multicast factor", counts["multicast_factor"]),
                           ("Ingresses", counts["ingresses_per_instance"])], 40, 8)  # fmt: skip
            text += [f"            @multicast {group['multicast']} @scatter {group['scatter']}: {group['accesses']}"
                     for group in counts["ingress_breakdown_per_instance"]]  # fmt: skip
            text += lines([
                ("Link transfers", counts["link_transfers_per_instance"]),
                ("Spatial reductions", counts["spatial_reductions_per_instance"]),
                ("Average number of hops", float(counts["average_hops"])),
                ("Energy (per-hop)", f"{counts['energy_per_hop_pJ'] * 1000:.2f} fJ"),
                ("Energy (per-instance)", pj(counts["energy_per_instance_pJ"])),
                ("Energy (total)", pj(counts["energy_pJ"])),
                ("Link transfer energy (total)", pj(counts["link_transfer_energy_pJ"])),
                ("Spatial Reduction Energy (total)", pj(counts["spatial_reduction_energy_pJ"])),
            ], 40, 8)  # fmt: skip
        text.append("")
    text += ["", "Operational Intensity Stats", "-" * 27, "    Total elementwise ops                   : 1", ""]
    text += [f"=== {level['name']} ===\n    Total scalar accesses                   : 1" for level in report["levels"]]
    text += ["", "", "Summary Stats", "-" * 13, "GFLOPs (@1GHz): 2.00", f"Utilization: {report['utilization']:.2%}",
             f"Cycles: {report['cycles']}", f"Energy: {report['energy_pJ'] / 1e6:.2f} uJ",
             f"EDP(J*cycle): {report['energy_pJ'] * report['cycles'] / 1e12:.2e}", "Area: 0.00 mm^2", "",
             f"Computes = {unit['computes']}", "fJ/Compute", "    MAC                   = 1000.00",
             "    Total                 = 2000.00", "", ""]  # fmt: skip
    return "\n".join(text)


def assert_read_back(got: object, recorded: object, *, tolerance: float, where: str = "stats") -> None:
    """Every recorded figure is there: integers as they are, the rest but for the rounding of the print."""
    if isinstance(recorded, dict):
        assert isinstance(got, dict), where
        for key, value in recorded.items():
            # Averaged over instances, or with digits that two decimals of a femtojoule do not have.
            if key not in ("case", "note", "tool", "tool_commit", "quirk", "instances_used_avg"):
                wide = tolerance if key in ("energy_pJ", "network_energy_pJ") else ROUNDING
                assert_read_back(got[key], value, tolerance=wide, where=f"{where}.{key}")
    elif isinstance(recorded, list):
        assert isinstance(got, list), where
        assert len(got) == len(recorded), where
        for place, (ours, theirs) in enumerate(zip(got, recorded, strict=True)):
            assert_read_back(ours, theirs, tolerance=ROUNDING, where=f"{where}[{place}]")
    elif isinstance(recorded, float):
        assert got == pytest.approx(recorded, rel=1e-9, abs=tolerance), where
    else:
        assert got == recorded, where


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_a_recorded_report_survives_the_text(path: Path) -> None:
    recorded = json.loads(path.read_text(encoding="utf-8"))
    stats = parse_stats(as_stats_text(recorded))
    assert_read_back(stats, recorded, tolerance=ROUNDING * len(printed_energies(stats)))


HAND_WRITTEN = """\
Buffer and Arithmetic Levels
----------------------------
Level 0
-------
=== MACC ===

    SPECS
    -----
    Word bits             : 8
    Instances             : 4 (4*1)
    Compute energy        : 0.50 pJ

    STATS
    -----
    Utilized instances (max)     : 2
    Utilized instances (average) : 2.00
    Computes (total)             : 16
    Cycles                       : 8
    Energy (total)               : 8.00 pJ
    Area (total)                 : 12.00 um^2

Level 2
-------
=== MainMemory ===

    SPECS
    -----
        Technology                      : DRAM
        Size                            : -
        Instances                       : 1 (1*1)
        Leakage energy (total)          : 0.25 pJ

    MAPPING
    -------
    Loop nest:
      for P in [0:8)
        for K in [0:2) (Spatial-X)

    STATS
    -----
    Cycles               : 10
    Bandwidth throttling : 0.80
    Weights:
        Partition size                           : 2
        Utilized capacity                        : 2
        Utilized instances (max)                 : 1
        Scalar reads (per-instance)              : 16
        Scalar fills (per-instance)              : 0
        Scalar updates (per-instance)            : 0
        Energy (per-instance)                    : 160.00 pJ
        Energy (total)                           : 160.00 pJ
        Temporal Reduction Energy (total)        : 1.00 pJ
        Address Generation Energy (total)        : 0.50 pJ

Networks
--------

Operational Intensity Stats
---------------------------
    Total ops                               : 30

=== MainMemory ===
    Total scalar accesses                   : 16

Summary Stats
-------------
GFLOPs (@1GHz): 3.00
Utilization: 40.00%
Cycles: 10
Energy: 0.00 uJ
EDP(J*cycle): 1.70e-09
Area: 0.00 mm^2

Computes = 16
fJ/Compute
    MACC                  = 500.00
"""
"""A text without networks and without the levels that do nothing (level 1), as recent releases print."""


def test_a_text_by_hand() -> None:
    stats = parse_stats(HAND_WRITTEN)
    assert stats["compute"] == {"name": "MACC", "instances_available": 4, "instances_used": 2, "computes": 16,
                                "cycles": 8, "energy_pJ": 8.0}  # fmt: skip
    assert [level["name"] for level in stats["levels"]] == ["MainMemory"]
    assert stats["networks"] == []
    assert (stats["cycles"], stats["utilization"]) == (10, 0.4)
    # compute, leakage, accesses, reductions, address generation
    assert stats["energy_pJ"] == pytest.approx(8 + 0.25 + 160 + 1 + 0.5)
    weights = stats["levels"][0]["data_spaces"]["Weights"]
    assert (weights["reads"], weights["fills"], weights["tile_words"]) == (16, 0, 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("=== MACC ===", "", "0 compute levels"),
        ("Scalar fills", "Algorithmic scalar fills", r"MainMemory: no number for 'Scalar fills \(per-instance\)'"),
        ("Cycles: 10", "", "Summary Stats: no number for 'Cycles'"),
        ("Energy: 0.00 uJ", "Energy: 3.00 uJ", r"do not add up to the total \(got 169.75 pJ, expected 3000000 pJ\)"),
    ],
)
def test_what_is_no_whole_text_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_stats(HAND_WRITTEN.replace(old, new, 1))


def test_any_other_text_is_refused() -> None:
    with pytest.raises(SpecError, match=re.escape("0 compute levels")):
        parse_stats("hello\n" * 3)


def report_of(case: Path) -> Any:
    spec = load_architecture(case / "arch.yaml", ert=case / "ert.yaml")
    einsum = load_problem(case / "problem.yaml")
    return evaluate(einsum, spec.architecture, load_mapping(case / "mapping.yaml", einsum=einsum, spec=spec))


@pytest.mark.parametrize("name", ["07_gemm_4level_cross_reuse", "10_bypass_masks", "13_vector_width_words"])
def test_comparing_with_the_same_report_finds_no_difference(name: str) -> None:
    case = GOLDEN / "timeloop" / name
    recorded = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    rows = compare(report_of(case), parse_stats(as_stats_text(recorded)))
    assert [row for row in rows if not row.agrees] == []
    kept = sum(tensor["kept"] for level in recorded["levels"] for tensor in level["data_spaces"].values())
    assert sum(row.field == "reads" for row in rows) == kept


def test_comparing_names_every_figure_that_differs() -> None:
    case = GOLDEN / "timeloop" / "10_bypass_masks"
    recorded = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    glb = next(level for level in recorded["levels"] if level["name"] == "GLB")
    glb["data_spaces"]["A"]["reads_per_instance"] += 5
    glb["data_spaces"]["B"] = {**glb["data_spaces"]["A"], "energy_pJ": 0.0}  # B bypasses the GLB
    recorded["cycles"] += 1
    rows = [row for row in compare(report_of(case), parse_stats(as_stats_text(recorded))) if not row.agrees]
    assert [(row.level, row.tensor, row.field, row.difference) for row in rows] == [
        ("", "", "cycles", -1), ("GLB", "A", "reads", -5), ("GLB", "B", "kept", -1),
    ]  # fmt: skip


def test_a_level_timeloop_left_out_differs_only_if_ours_keeps_something() -> None:
    case = GOLDEN / "timeloop" / "06_gemm_3level"
    recorded = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    gone = recorded["levels"].pop(1)
    recorded["energy_pJ"] -= sum(tensor["energy_pJ"] for tensor in gone["data_spaces"].values())
    rows = compare(report_of(case), parse_stats(as_stats_text(recorded)))
    assert [(row.level, row.field, row.theirs) for row in rows if not row.agrees and row.level] == [
        (gone["name"], "kept", None)
    ]
