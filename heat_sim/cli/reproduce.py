"""`heat-sim reproduce`: published results beside those of our model."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heat_sim.cli.bench import AddBar
from heat_sim.cli.console import bars, out, write_json
from heat_sim.cli.inputs import read_architecture
from heat_sim.cli.options import ContractionOrder, ErtFile, Generations, Jobs, JsonFile, Population
from heat_sim.codesign.heat_rows import HEAT_ROWS, TOKENS, HeatRow
from heat_sim.errors import SpecError, describe

if TYPE_CHECKING:
    from heat_sim.codesign.heat_calibration import Fit, MemoryScales
    from heat_sim.codesign.heat_front import BesideRow
    from heat_sim.codesign.heat_ratios import DenseRatios
    from heat_sim.codesign.heat_rerun import HeatRerun, RerunRow
    from heat_sim.mapper.cache import MappingCache
    from heat_sim.specs import ArchitectureSpec

reproduce_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Print published results beside ours: **heat**, the tables of HEAT (Gu et al. 2022).",
)

_LENGTHS = tuple(TOKENS.values())


@reproduce_app.callback()
def _group() -> None:
    """Keep the command's name, though it is the only one yet."""


@reproduce_app.command("heat")
def heat_command(
    arch: Annotated[Path, typer.Option("--arch", help="The stand-in hardware: a file, a folder, or a preset.")] = Path(
        "simba_l"
    ),
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Fit energy and, if need be, bandwidth of the main memory to HEAT's dense ratios first (minutes once; "
            "then cached).",
        ),
    ] = False,
    order: ContractionOrder = "edp",
    front: Annotated[
        bool, typer.Option("--front", help="Search BERT-base on that machine as well: the gain at each row's loss.")
    ] = False,
    population: Population = 100,
    generations: Generations = 50,
    jobs: Jobs = None,
    rows: Annotated[
        str, typer.Option(help="Rows to cost, with commas: cp-a1, or patterns such as tucker-*.")
    ] = "tt-matrix-*,tucker-*,cp-*",
    tokens: Annotated[str, typer.Option(help="Sequence lengths to cost, with commas.")] = ",".join(map(str, _LENGTHS)),
    ert: ErtFile = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of heat.md and heat.json; below results/ if left out.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Cost designs as large as HEAT's and print predicted EDP gains beside the published ones.

    A row is one format for the whole network with one rank, so that the parameters come nearest to the published
    total; orders, fusion and mappings are the best. Gains are over the dense encoder on the same machine. HEAT's
    hardware is unknown: three ratios of its dense results say how near the stand-in is.

    Example: heat-sim reproduce heat --calibrate
    """
    # Imported here: what the other commands do not need.
    from heat_sim.codesign.heat_ratios import published_ratios
    from heat_sim.mapper.cache import MappingCache
    from heat_sim.report.files import write_text
    from heat_sim.report.heat_table import ratio_table, row_json

    chosen = _chosen(rows, tokens)
    spec = read_architecture(arch, ert)
    cache = MappingCache()
    with bars() as add_bar:
        fit = _fit(spec, cache, order, add_bar=add_bar) if calibrate else None
        rerun = _rerun(spec, cache, order, None if fit is None else fit.scales)
        ratios = rerun.ratios() if fit is None else fit.ratios
        tick = add_bar("cost rows", len(chosen))
        found: list[RerunRow] = []
        for row in chosen:
            tick(len(found), f"{row.network} {row.name} at {row.tokens}")
            found.append(rerun.row(row))
        tick(len(found), "")
        beside = (
            _front(found, spec, None if fit is None else fit.scales, order, population=population,
                   generations=generations, jobs=jobs, add_bar=add_bar) if front else {}
        )  # fmt: skip
    title = f"HEAT's results on {spec.architecture.name}" + (", calibrated" if calibrate else "")
    sections = [f"# {title}\n", ratio_table(ratios, published_ratios())]
    if fit is not None:
        sections.append(_fit_text(fit))
    proof = f"{rerun.proven} of {rerun.asked} parts of the rows: proven optimal under the rules of the mapper\n"
    text = "\n".join([*sections, *_row_sections(found), *_front_sections(beside), proof])
    content = {
        "architecture": spec.architecture.name, "order": order, "calibration": None if fit is None else _fit_json(fit),
        "ratios": _ratios_json(ratios), "published_ratios": [_ratios_json(each) for each in published_ratios()],
        "front": [
            {"row": each.row.published.name, "tokens": length, "estimated_loss": each.loss, "edp_gain": each.edp_gain}
            for length, group in beside.items() for each in group
        ],
        "parts": rerun.asked, "parts_proven_optimal": rerun.proven, "rows": [row_json(row) for row in found],
    }  # fmt: skip
    target = folder or Path("results") / f"heat-{spec.architecture.name}{'-calibrated' if calibrate else ''}"
    write_text(target / "heat.md", text)
    write_json(content, str(target / "heat.json"))
    if json is not None:
        write_json(content, json)
    if json != "-":
        out.print(f"{text}\nwritten to {target}: heat.md, heat.json", markup=False)


def _front(
    rows: list[RerunRow], spec: ArchitectureSpec, scales: MemoryScales | None, order: ContractionOrder, *,
    population: int, generations: int, jobs: int | None, add_bar: AddBar,
) -> dict[int, tuple[BesideRow, ...]]:  # fmt: skip
    """Return the rows of BERT-base with the gain of a search at their loss, by sequence length."""
    from heat_sim.cli.live import Live
    from heat_sim.codesign.aims import EDP_AND_LOSS
    from heat_sim.codesign.heat_calibration import scaled
    from heat_sim.codesign.heat_front import search_beside
    from heat_sim.codesign.heat_rows import BERT
    from heat_sim.codesign.search import SearchSettings
    from heat_sim.codesign.sites import MachineSite
    from heat_sim.codesign.workers import workers_of
    from heat_sim.mapper.cache import cache_path
    from heat_sim.networks import SIZES, network_from_config

    found = {}
    for length in sorted({row.published.tokens for row in rows}, reverse=True):
        site = MachineSite(
            architecture=spec.architecture if scales is None else scaled(spec.architecture, scales),
            constraints=spec.constraints, tokens=length, fuse=False, order=order, cache_file=cache_path(),
        )  # fmt: skip
        here = [row for row in rows if row.published.network == BERT and row.published.tokens == length]
        if here:
            live = Live(aims=EDP_AND_LOSS, tick=add_bar(f"search at {length} tokens", generations))
            found[length] = search_beside(
                here, network_from_config(SIZES[BERT], tokens=length, name=BERT), machine=site,
                workers=workers_of(jobs=jobs, dask=None), report=live,
                settings=SearchSettings(population=population, generations=generations),
            )  # fmt: skip
    return found


def _front_sections(beside: dict[int, tuple[BesideRow, ...]]) -> list[str]:
    from heat_sim.report.heat_table import beside_table

    return [
        f"## Our front, {length} tokens: EDP gain at the estimated loss of each row\n\n{beside_table(group)}"
        for length, group in beside.items()
    ]


def _chosen(rows: str, tokens: str) -> list[HeatRow]:
    patterns = [pattern.strip() for pattern in rows.split(",")]
    lengths = {length.strip() for length in tokens.split(",")}
    names = list(dict.fromkeys(row.name for row in HEAT_ROWS))
    if unknown := [each for each in patterns if not any(fnmatchcase(name, each) for name in names)]:
        raise SpecError(describe("--rows", "no such row", got=unknown[0], expected=", ".join(names),
                                 remedy="Correct the name or pattern."))  # fmt: skip
    if unknown := sorted(lengths - {str(length) for length in _LENGTHS}):
        raise SpecError(describe("--tokens", "not a published length", got=unknown[0],
                                 expected=" or ".join(map(str, _LENGTHS)), remedy="Choose of these."))  # fmt: skip
    return [
        row
        for row in HEAT_ROWS
        if str(row.tokens) in lengths and any(fnmatchcase(row.name, pattern) for pattern in patterns)
    ]


def _rerun(
    spec: ArchitectureSpec, cache: MappingCache, order: ContractionOrder, scales: MemoryScales | None
) -> HeatRerun:  # fmt: skip
    from heat_sim.codesign.heat_calibration import scaled
    from heat_sim.codesign.heat_rerun import HeatRerun
    from heat_sim.mapper.layer import Machine

    architecture = spec.architecture if scales is None else scaled(spec.architecture, scales)
    machine = Machine(architecture=architecture, constraints=spec.constraints, cache=cache, merged=True)
    return HeatRerun(machine=machine, order=order)


def _fit(spec: ArchitectureSpec, cache: MappingCache, order: ContractionOrder, *, add_bar: AddBar) -> Fit:
    from heat_sim.codesign.heat_calibration import MOST_PROBES, calibrate

    tick = add_bar("calibrate on dense networks", MOST_PROBES)
    done = 0

    def ratios_of(scales: MemoryScales) -> DenseRatios:
        nonlocal done
        tick(done, f"energy x {scales.energy:g}, bandwidth x {scales.bandwidth:g}")
        done += 1
        return _rerun(spec, cache, order, scales).ratios()

    fit = calibrate(ratios_of)
    tick(MOST_PROBES, f"energy x {fit.scales.energy:g}, bandwidth x {fit.scales.bandwidth:g}")
    return fit


def _fit_text(fit: Fit) -> str:
    kept = ""
    if fit.scales.bandwidth == 1:
        kept = " (not fitted: the ratios are met without)" if fit.is_met else " (others are no better)"
    return (
        f"calibrated: energy of main memory x {fit.scales.energy:g}, its bandwidth x {fit.scales.bandwidth:g}{kept}; "
        f"residual {fit.distance:.2%}, the root of the sum of squared logarithms; {fit.costed} machines costed\n"
    )


def _row_sections(rows: list[RerunRow]) -> list[str]:
    from heat_sim.report.heat_table import row_table

    groups: dict[tuple[str, str, int], list[RerunRow]] = {}
    for row in rows:
        published = row.published
        groups.setdefault((published.network, published.task, published.tokens), []).append(row)
    return [
        f"## {network}, {task}, {length} tokens\n\n{row_table(members)}"
        for (network, task, length), members in groups.items()
    ]


def _ratios_json(ratios: DenseRatios) -> dict[str, float]:
    return {
        "edp_384_over_128": ratios.edp, "edp_distilbert_over_bert": ratios.distilbert,
        "fixed_energy_share_128": ratios.short_share, "fixed_energy_share_384": ratios.long_share,
    }  # fmt: skip


def _fit_json(fit: Fit) -> dict[str, float]:
    return {
        "energy": fit.scales.energy, "bandwidth": fit.scales.bandwidth, "residual": fit.distance,
        "machines_costed": fit.costed,
    }  # fmt: skip
