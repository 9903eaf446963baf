"""Files of constraints and mapper settings, as they stand beside an architecture when Timeloop's mapper runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from heat_sim.errors import SpecError, describe
from heat_sim.mapping import Constraints, LevelConstraints, Limit
from heat_sim.specs.architecture_spec import ArchitectureSpec
from heat_sim.specs.constraints import add_directive, constraint_list, separate_branches
from heat_sim.specs.cursor import SECTIONS, Cursor, Paths, suggest
from heat_sim.specs.directives import LoopDirective
from heat_sim.specs.targets import Directive, read_directive
from heat_sim.specs.yaml_nodes import parse_yaml, read_yaml

PARALLELISM_TYPES = ("utilization", "parallelism")
"""Types of a directive that demands a share of the units; Timeloop takes either word."""

OBJECTIVES = {"edp": "edp", "energy": "energy", "delay": "cycles"}
"""Timeloop's optimisation metrics, and what the search here calls them."""

METRIC_KEYS = ("optimization_metrics", "optimization_metric")

WITHOUT_EFFECT = (
    "algorithm", "diagnostics", "emit_whoop_nest", "filter_revisits", "heartbeat", "link_topology", "live_status",
    "log_all", "log_interval", "log_oaves", "log_oaves_mappings", "log_stats", "log_suboptimal",
    "max_permutations_per_if_visit", "max_temporal_loops_in_a_mapping", "num_threads", "out_prefix",
    "penalize_consecutive_bypass_fails", "search_size", "sync_interval", "timeout", "victory_condition",
)  # fmt: skip
"""Mapper settings that an exact search has no use for; Timeloop v0.3 writes them with hyphens."""

_MAPSPACE_KEYS = ("version", "template", "targets", "constraints")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintSet:
    """What files beside the architecture demand of a mapping search.

    Attributes:
        constraints: Level name to what is demanded there, by the files and by the architecture together.
        min_parallelism: Share of the compute units that must be used at least, from 0 to 1.
        objective: What to minimise, as `heat_sim.mapper.objective` names it; None if no file says.
        ignored: Keys that were accepted but change nothing here, as they are written, each once.
    """

    constraints: Constraints
    min_parallelism: float = 0.0
    objective: str | None = None
    ignored: tuple[str, ...] = ()


def load_constraints(path: Paths, *, spec: ArchitectureSpec) -> ConstraintSet:
    r"""Return what Timeloop v0.3 or v0.4 constraint and mapper files demand, on top of the architecture's own.

    Read are the sections ``mapper``, ``mapspace`` and every one with "constraints" in its name; what else a
    spec may have is left alone. Names of data spaces and dimensions are not judged: no problem is known yet.

    A permutation lists rank variables innermost first. They are the innermost loops of the level, in that order;
    those that it does not list are further out, in any order (Timeloop's prefix pattern). Loops of bound 1 do not
    count. A split lays the first so many entries of a spatial permutation along x, the rest along y.

    ``type: utilization`` (or ``parallelism``) demands a share of all compute units; Timeloop leaves a mesh between
    the innermost storage and the compute units out of it.

    Args:
        path: The file, in the version of `spec`, or several.
        spec: The architecture.

    Raises:
        SpecError: Every problem of all files, one sentence each; two demands that contradict each other are one.

    >>> import tempfile
    >>> from heat_sim.specs import load_architecture
    >>> spec = load_architecture("arch_specs/simba_l/arch.yaml", ert="arch_specs/simba_l/ert.yaml")
    >>> text = "constraints: {targets: [{target: GlobalBuffer, type: temporal, factors: [K=1], permutation: [N, M]}]}"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "constraints.yaml"
    ...     _ = file.write_text(text + "\nmapper: {optimization_metrics: [delay], timeout: 0}")
    ...     found = load_constraints(file, spec=spec)
    >>> found.constraints["GlobalBuffer"].temporal_order, found.objective, found.ignored
    (('M', 'N'), 'cycles', ('timeout',))
    """
    paths = dict.fromkeys((path,) if isinstance(path, str | Path) else path)
    files: list[Cursor] = []
    problems: list[str] = []
    for file in paths:
        try:
            node, found = read_yaml(file)
        except SpecError as error:
            problems += error.problems
            continue
        problems += found
        files.append(Cursor(node=node, name="", source=str(file), problems=problems))
    if not paths:
        problems.append(describe("constraints", "no file", got="an empty list", expected="at least one",
                                 remedy="Name it."))  # fmt: skip
    return _read_files(files, problems, spec)


def parse_constraints(text: str, *, spec: ArchitectureSpec) -> ConstraintSet:
    """Return what the text of a constraint file demands; see `load_constraints`.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.specs import spec_from_architecture
    >>> tiny = Architecture(name="tiny", levels=(StorageLevel(name="DRAM", fanout_x=4),), compute_name="MAC",
    ...                     compute_energy_pj=1.0)
    >>> parse_constraints("constraints: {targets: [{type: utilization, min: 0.5}]}",
    ...                   spec=spec_from_architecture(tiny)).min_parallelism
    0.5
    """
    node, problems = parse_yaml(text, source="constraints")
    return _read_files([Cursor(node=node, name="", source="constraints", problems=problems)], problems, spec)


def _read_files(files: list[Cursor], problems: list[str], spec: ArchitectureSpec) -> ConstraintSet:
    reading = _Reading(spec)
    read: list[Cursor] = []
    for top in files:
        known = (*SECTIONS, "mapspace", *(key for key in top.node.keys if "constraints" in key))
        sections = top.table(known)
        for name, section in sections.items():
            if name == "mapper":
                reading.read_mapper(section)
            elif name != "mapspace" and "constraints" not in name:
                continue
            else:
                for item in _directives(name, section, spec):
                    reading.read_directive(item)
            read.append(section)
    if files and not read:
        keys = ", ".join(key for top in files for key in top.node.keys)
        files[0].refuse("nothing that constrains a mapping", got=f"keys {keys or 'none'}",
                        expected="constraints, mapspace or mapper", remedy="Name the file that has it.")  # fmt: skip
    for branches in spec.parallel if read else ():
        separate_branches(reading.demands, branches, read[-1])
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return ConstraintSet(
        constraints=reading.demands,
        min_parallelism=reading.min_parallelism or 0.0,
        objective=reading.objective,
        ignored=tuple(dict.fromkeys(reading.ignored)),
    )


def _directives(name: str, section: Cursor, spec: ArchitectureSpec) -> Iterator[Cursor]:
    """Yield the directives of a section; a mapspace may also name its template, and nest its constraints."""
    if not name.startswith("mapspace") or section.node.kind != "table":
        yield from constraint_list(section, version=spec.version)
        return
    keys = section.table(_MAPSPACE_KEYS)
    if "version" in keys:
        keys["version"].version(spec.version)
    if "template" in keys and keys["template"].node.text != "uber":
        keys["template"].refuse("no such mapspace", expected="uber, perfect factors only",
                                remedy="Write uber; the search knows no imperfect factors.")  # fmt: skip
    for key in ("targets", "constraints"):
        if key in keys:
            yield from constraint_list(keys[key], version=spec.version)


class _Reading:
    """What the directives and settings read so far demand."""

    def __init__(self, spec: ArchitectureSpec) -> None:
        self.spec = spec
        self.demands: dict[str, LevelConstraints] = dict(spec.constraints)
        self.min_parallelism: float | None = None
        self.objective: str | None = None
        self.ignored: list[str] = []

    def read_directive(self, item: Cursor) -> None:
        if item.peek("type") in PARALLELISM_TYPES:
            self._read_parallelism(item)
            return
        for key, at in item.entries():
            if key == "maximize_dims":
                at.refuse("a macro of Timeloop's front end is not read", expected="factors and limits",
                          remedy="Write the factors out, or delete it: the search finds the best ones.")  # fmt: skip
            elif key == "no_reuse":
                self.ignored.append(key)
        directive = read_directive(item, self.spec.targets, other_types=PARALLELISM_TYPES)
        if directive is not None:
            before = self.demands.get(directive.level, LevelConstraints())
            add_directive(self.demands, directive)
            _refuse_contradictions(before, directive, self.demands.get(directive.level, LevelConstraints()))

    def _read_parallelism(self, item: Cursor) -> None:
        at = item.renamed(f"{item.name} {item.peek('type')}")
        keys = at.table(("type", "target", "min"), required=("min",))
        if "target" in keys and (target := keys["target"].word()) is not None:
            innermost = [level.name for level in self.spec.architecture.levels if not level.is_virtual][-1]
            if target not in (known := (innermost, self.spec.architecture.compute_name)):
                keys["target"].refuse("parallelism is demanded of the whole array", got=target,
                                      expected=f"no target, or one of {', '.join(known)}",
                                      remedy="Leave the target out; limit single meshes by spatial factors.",
                                      )  # fmt: skip
        share = keys["min"].number(minimum=0) if "min" in keys else None
        if share is not None and share > 1:
            keys["min"].refuse("not a share of the units", expected="a number from 0 to 1", remedy="Correct it.")
        elif share is not None and self.min_parallelism not in (None, share):
            keys["min"].refuse("two demands of parallelism", expected=f"{self.min_parallelism:g} as before",
                               remedy="Delete one.")  # fmt: skip
        elif share is not None:
            self.min_parallelism = share

    def read_mapper(self, section: Cursor) -> None:
        known = ("version", *METRIC_KEYS, *WITHOUT_EFFECT)
        seen: dict[str, str] = {}
        for key, at in section.table().items():
            name = key.replace("-", "_")
            if (first := seen.setdefault(name, key)) != key:
                at.refuse("key given twice", got=key, expected=f"{first} alone", remedy="Delete one of them.")
            elif name in METRIC_KEYS:
                self._read_metrics(at)
            elif name == "version":
                at.version(self.spec.version)
            elif name in WITHOUT_EFFECT:
                self.ignored.append(key)
            elif "ignore" not in key:
                at.refuse("unknown key", got=key, expected=f"one of {', '.join(known)}",
                          remedy=f"Correct or delete it.{suggest(name, known)}")  # fmt: skip

    def _read_metrics(self, at: Cursor) -> None:
        metrics = [at.word()] if at.node.kind == "scalar" else [item.word() for item in at.items()]
        if len(metrics) != 1 or metrics[0] not in OBJECTIVES:
            at.refuse("not one metric that is minimised here", got=", ".join(str(metric) for metric in metrics),
                      expected=f"one of {', '.join(f'[{name}]' for name in OBJECTIVES)}",
                      remedy="Keep one; the search does not break ties by a second.")  # fmt: skip
            return
        objective = OBJECTIVES[str(metrics[0])]
        if self.objective not in (None, objective):
            at.refuse("two objectives", got=objective, expected=f"{self.objective} as before", remedy="Delete one.")
        self.objective = objective


def _refuse_contradictions(before: LevelConstraints, directive: Directive, after: LevelConstraints) -> None:
    """Refuse what one directive adds that nothing can meet, or that goes against a rule for what is not listed."""
    if (loops := directive.temporal) is not None:
        _check_limits(loops, after.temporal_bounds, after.temporal_limits, only=after.temporal_only)
    if (loops := directive.spatial) is not None:
        _check_limits(loops, after.spatial_bounds, after.spatial_limits, only=after.spatial_only)
    if (said := directive.dataspaces) is not None:
        for rule, names in (("bypass", said.keep - before.keep), ("keep", said.bypass - before.bypass)):
            if before.others == rule and names:
                said.at.refuse(f"another constraint says {rule} to what it does not list",
                               got=", ".join(sorted(names)), expected="names that it lists",
                               remedy="Correct the list that is wrong.")  # fmt: skip
        for rule, names in (("bypass", before.keep - said.keep), ("keep", before.bypass - said.bypass)):
            if said.others == rule and names:
                said.at.refuse(f"says {rule} to what it does not list, against another constraint",
                               got=f"no {', '.join(sorted(names))}", expected="every name that the other lists",
                               remedy="Correct the list that is wrong.")  # fmt: skip


def _check_limits(loops: LoopDirective, bounds: Mapping[str, int], limits: Mapping[str, Limit], *, only: bool) -> None:
    """Refuse bounds of a directive outside the limits; a bound 0 is an extent that is not known here."""
    for name in limits if loops.only else dict.fromkeys((*loops.factors, *loops.limits)):
        least, most = limits.get(name, (1, None))
        bound = bounds.get(name, 1 if only else None)
        if most is not None and most < least:
            loops.at.refuse("two limits that nothing meets", got=f"{name}>={least} and {name}<={most}",
                            expected="a bound between them", remedy="Correct one.")  # fmt: skip
        elif bound and not least <= bound <= (bound if most is None else most):
            loops.at.refuse("a factor outside a limit", got=f"{name}={bound}",
                            expected=f"{name}>={least}" if bound < least else f"{name}<={most}",
                            remedy="Correct one.")  # fmt: skip
