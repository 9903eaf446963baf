"""What `heat-sim distill` is asked for: kept in the run, so that --resume needs no options."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, get_args

from heat_sim.cli.options import ProjectionName
from heat_sim.distill.settings import DistillSettings
from heat_sim.errors import SpecError, describe
from heat_sim.report.files import write_text
from heat_sim.report.measured import Stage

PLAN = "distill.json"

TeacherStatesChoice = Literal["auto", "ask", "store"]
"""Whether the teacher's hidden states are computed at every step, or once and stored; auto: if there is room."""

StageChoice = Literal["both", "layers", "logits", "all"]
"""Which stages to train: both, one alone, or all three ways for comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillPlan:
    """Which designs are trained, how, and how often.

    Attributes:
        designs: `best:N`, `all`, or ids with commas.
        seeds: Of the trainings.
        stages: Which stages are trained.
        projection: How a student is made from the weights, see `Start`.
        settings: Of the training; its seed is replaced.
        save_every: Steps between two checkpoints.
        teacher_states: Whether the teacher's hidden states and attention maps are stored for stage 1.
    """

    designs: str = "best:1"
    seeds: tuple[int, ...] = (0,)
    stages: StageChoice = "both"
    projection: ProjectionName = "sequential"
    settings: DistillSettings = field(default_factory=DistillSettings)
    save_every: int = 200
    teacher_states: TeacherStatesChoice = "auto"

    def trainings(self) -> tuple[tuple[Stage, DistillSettings], ...]:
        """Return every training of a design: the stage it ends with, and its settings.

        >>> [(stage, each.seed, each.layerwise_epochs) for stage, each in DistillPlan(stages="all").trainings()]
        [('both', 0, 1), ('logits', 0, 0)]
        """
        chosen: tuple[Stage, ...] = ("both", "logits") if self.stages == "all" else (self.stages,)
        return tuple((stage, _settings(self.settings, stage, seed)) for stage in chosen for seed in self.seeds)

    @property
    def has_stage_1(self) -> bool:
        """Whether a training compares hidden states and attention maps.

        >>> DistillPlan(stages="logits").has_stage_1
        False
        """
        return any(settings.layerwise_epochs for _, settings in self.trainings())

    def write(self, folder: Path) -> None:
        """Keep the plan in a run."""
        write_text(folder / PLAN, json.dumps(asdict(self), indent=1) + "\n")


def _settings(settings: DistillSettings, stage: Stage, seed: int) -> DistillSettings:
    return replace(
        settings,
        seed=seed,
        layerwise_epochs=0 if stage == "logits" else settings.layerwise_epochs,
        logit_epochs=0 if stage == "layers" else settings.logit_epochs,
    )


def read_plan(folder: Path) -> DistillPlan:
    """Return the plan of the last `heat-sim distill` in a run.

    Raises:
        SpecError: There is none, or it is not one of ours.
    """
    path = folder / PLAN
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(DistillPlan)}
        if data.keys() != known or data["stages"] not in get_args(StageChoice):
            raise ValueError(f"keys {', '.join(sorted(data.keys() ^ known)) or 'stages'}")
        return DistillPlan(**{**data, "seeds": tuple(data["seeds"]), "settings": DistillSettings(**data["settings"])})
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        raise SpecError(
            describe(str(path), "nothing to go on with", got=problem, expected="the plan of an earlier distill",
                     remedy="Leave out --resume to begin.")
        ) from None  # fmt: skip
