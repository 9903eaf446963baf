"""What a search was asked for: from the command line, or from the manifest of a run that is to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from heat_sim.cli.inputs import architecture_files
from heat_sim.cli.sites import Cores
from heat_sim.codesign.aims import Aims, parse_constraints
from heat_sim.codesign.joint import Joint
from heat_sim.codesign.layer_ways import Order
from heat_sim.codesign.space import Per
from heat_sim.codesign.strategy_names import BASELINES, EVOLUTIONARY, check_heat_objectives
from heat_sim.errors import SpecError, describe
from heat_sim.hardware import load_space
from heat_sim.report.manifest import spec_hashes
from heat_sim.report.run_folder import read_manifest
from heat_sim.specs import load_architecture

_SUPERNET = "supernet"
_OF_SUPERNET = ("supernet_epochs", "supernet_rows")
"""Arguments that only this estimate has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """The arguments of a search, as they stand in the manifest.

    Attributes:
        model: Folder or name of the model.
        data: File or name of the labelled text.
        teacher_epochs: Of fine-tuning.
        calibration: File with weights and moments; None to take those of the teacher.
        arch: Architecture: a file, a folder or a name.
        ert: Energy table, if it is not with the architecture.
        tokens: Sequence length.
        formats: Names with commas.
        per: What chooses for itself, see `design_space`.
        joint: Whether queries, keys and values of a layer are factorised jointly, see `design_space`.
        estimate: Name of the estimated loss.
        cores: By what projection the estimate takes the cores: "activation" or "frobenius".
        order: By what contraction orders are chosen, see `LayerWays`.
        strategy: Name of the search, see `STRATEGIES`.
        seeding: Whether the search starts from allotted ranks.
        objectives: Names with commas.
        constraints: As `parse_constraints` reads them.
        hardware: File of sizes of the machine that are searched too.
        fuse: Whether the contractions of a layer are fused.
        population: Designs per generation.
        generations: Generations.
        designs: How many of the front are chosen.
        seed: Of every random choice.
        supernet_epochs: Of the training of the SuperNet, if that is the estimate.
        supernet_rows: Training rows of it; None for all.
    """

    model: str
    data: str
    teacher_epochs: int
    calibration: str | None
    arch: str
    ert: str | None
    tokens: int
    formats: str
    per: Per
    joint: Joint
    estimate: str
    cores: Cores
    order: Order
    strategy: str
    seeding: bool
    objectives: str
    constraints: list[str]
    hardware: str | None
    fuse: bool
    population: int
    generations: int
    designs: int
    seed: int
    supernet_epochs: int = 2
    supernet_rows: int | None = None

    def __post_init__(self) -> None:
        # What cannot be read is refused at once, before the minutes of training.
        if self.strategy not in EVOLUTIONARY + BASELINES:
            raise SpecError(
                describe("--strategy", "unknown", got=self.strategy, expected=", ".join(EVOLUTIONARY + BASELINES),
                         remedy="Choose one.")
            )  # fmt: skip
        if self.joint not in get_args(Joint):  # such as a flag, in the manifest of an older run
            raise SpecError(
                describe("--joint", "unknown", got=self.joint, expected=", ".join(get_args(Joint)),
                         remedy="Choose one, in a new run.")
            )  # fmt: skip
        if self.strategy == "heat":
            check_heat_objectives(self.aims.objectives)
        if self.hardware is not None:
            arch, *ert = architecture_files(Path(self.arch), None if self.ert is None else Path(self.ert))
            load_space(self.hardware, base=load_architecture(arch, ert=ert[0] if ert else None))
        if self.aims.needs_area and self.hardware is None:
            raise SpecError(
                describe("area", "not known", got="one machine", expected="--hardware FILE",
                         remedy="Give the sizes that may vary, or leave the area out.")
            )  # fmt: skip

    @property
    def spec_files(self) -> tuple[Path, ...]:
        """Files of the architecture, and of the sizes that are searched."""
        files = architecture_files(Path(self.arch), None if self.ert is None else Path(self.ert))
        return files if self.hardware is None else (*files, Path(self.hardware))

    @property
    def aims(self) -> Aims:
        """Objectives and constraints.

        Raises:
            SpecError: They cannot be read.
        """
        names = tuple(name.strip() for name in self.objectives.split(",") if name.strip())
        return Aims(objectives=names, constraints=parse_constraints(self.constraints))

    @property
    def arguments(self) -> dict[str, Any]:
        """All that matter but the seed, which has its own place in a manifest."""
        left_out = {"seed"} if self.estimate == _SUPERNET else {"seed", *_OF_SUPERNET}
        return {name: value for name, value in asdict(self).items() if name not in left_out}


def recorded_plan(folder: Path) -> SearchPlan:
    """Return the plan of a run.

    Raises:
        SpecError: The folder holds no run, or the architecture is no longer what the run began with.
    """
    manifest = read_manifest(folder)
    values: Mapping[str, Any] = {**manifest["arguments"], "seed": manifest["seed"]}
    left_out = () if values.get("estimate") == _SUPERNET else _OF_SUPERNET
    wanted = [field.name for field in fields(SearchPlan) if field.name not in left_out]
    if missing := [name for name in wanted if name not in values]:
        raise SpecError(
            describe(f"{folder}/manifest.json", "no arguments to go on with", got=f"none named {', '.join(missing)}",
                     expected="all of them", remedy="Begin a new run.")
        )  # fmt: skip
    plan = SearchPlan(**{name: values[name] for name in wanted})
    changed = [name for name, digest in spec_hashes(plan.spec_files).items() if manifest["spec_sha256"][name] != digest]
    if changed:
        raise SpecError(
            describe(f"--resume {folder}", "another architecture", got=f"changed: {', '.join(changed)}",
                     expected="the files that the run began with", remedy="Restore them, or begin a new run.")
        )  # fmt: skip
    return plan
