"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from heat_sim.codesign.aims import MEASURES
from heat_sim.codesign.joint import Joint as JointName
from heat_sim.codesign.space import DEFAULT_FORMATS
from heat_sim.codesign.strategy_names import EVOLUTIONARY

ALL_FORMATS = ",".join(DEFAULT_FORMATS)

# Required where a command takes the alias; `evaluate` may do without them.
ARCH = typer.Option("--arch", help="Architecture: Timeloop v0.3 or v0.4 YAML, a folder with arch.yaml, or simba_l.")
PROBLEM = typer.Option("--problem", help="The einsum: a Timeloop problem YAML.")
MAPPING = typer.Option("--mapping", help="The loop nest: a Timeloop mapping YAML.")
ArchFile = Annotated[Path, ARCH]
ProblemFile = Annotated[Path, PROBLEM]
MappingFile = Annotated[Path, MAPPING]
ArchOrPreset = Annotated[
    Path, typer.Option("--arch", help="Architecture: a file, a folder with arch.yaml, or a preset's name.")
]
ErtFile = Annotated[
    Path | None,
    typer.Option("--ert", help="Accelergy energy table, if it is not in the architecture's file or folder."),
]
JsonFile = Annotated[str | None, typer.Option("--json", metavar="OUT", help="Write the result as JSON; - is stdout.")]
LinkTransfers = Annotated[
    bool,
    typer.Option(
        "--link-transfers/--no-link-transfers",
        help="Whether neighbours may hand words to each other, as in Timeloop unless told otherwise.",
    ),
]

Model = Annotated[
    str, typer.Option(help="A folder with a BERT-like model as transformers saves it, or minilm-l6 (fetched once).")
]
Data = Annotated[
    str,
    typer.Option(help="Labelled data: a file, a folder, hf:NAME (docs/tasks.md), or movie-snippets (fetched once)."),
]
Tokens = Annotated[int, typer.Option("--tokens", "--seq", min=1, help="Sequence length the simulator costs.")]
Formats = Annotated[str, typer.Option(help="Formats to search, with commas; dense is always among them.")]
Population = Annotated[int, typer.Option(min=2, help="NSGA-II: designs per generation.")]
Generations = Annotated[int, typer.Option(min=1, help="NSGA-II: generations.")]
Objectives = Annotated[str, typer.Option(help=f"What is minimised, with commas: {', '.join(MEASURES)}.")]
Constraints = Annotated[
    list[str] | None,
    typer.Option(
        "--constraint",
        help="What every design keeps to, for example 'loss <= 0.2', 'gain >= 5', 'parameters <= 4e6'; may be given "
        "again.",
    ),
]
Seeding = Annotated[
    bool,
    typer.Option(
        "--seeding/--no-seeding",
        help="Start from the designs of least error for their energy and delay, or from uniform and random ranks.",
    ),
]
PerSlot = Annotated[
    Literal["shape", "role", "matrix"],
    typer.Option("--per", help="What chooses for itself: all matrices of a shape, those of a role, or every matrix."),
]
Joint = Annotated[
    JointName,
    typer.Option(
        help="Queries, keys and values of a layer as one matrix: let what chooses for itself choose that too (search), "
        "never (apart), or wherever they are not dense (always)."
    ),
]
Fuse = Annotated[
    bool, typer.Option("--fuse/--no-fuse", help="Whether intermediates of a factorised layer may stay on the chip.")
]
Estimate = Annotated[
    Literal["activation", "weight", "fisher"],
    typer.Option(
        help="Estimated loss of accuracy: error of the loss on calibration text (fisher), of outputs there "
        "(activation), or of weights."
    ),
]
EstimateOrDefault = Annotated[
    Literal["activation", "weight", "fisher", "supernet"] | None,
    typer.Option(
        "--estimate",
        help="Estimated loss of accuracy: error of the loss on calibration text (fisher, the default), of outputs "
        "there (activation), of weights (the default without pretrained weights), or what a rank SuperNet of all "
        "options loses with one matrix at a time at few ranks (supernet; with --joint apart; docs/supernet.md).",
    ),
]
Cores = Annotated[
    Literal["activation", "frobenius"],
    typer.Option(help="Projection that the estimate assumes: of the outputs on calibration text, or of the weights."),
]
ContractionOrder = Annotated[
    Literal["edp", "macs"],
    typer.Option("--order", help="Choose contraction orders by cost on the hardware, or by multiply-accumulates."),
]
StrategyName = Annotated[
    str,
    typer.Option(
        "--strategy",
        help=f"{', '.join(EVOLUTIONARY)}: evolution. heat: HEAT's three levels. uniform: equal rank steps everywhere. "
        "tensorly: ranks as TensorLy chooses them. random: no search.",
    ),
]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Processes that map and project; as many as there are cores if left out.")
]
Dask = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Scheduler of a Dask cluster that maps and projects.")
]
ProjectionName = Literal["sequential", "fisher", "activation", "frobenius"]
Projection = Annotated[
    ProjectionName,
    typer.Option(
        help="What the factorised matrices approximate: the weights (frobenius), their outputs on calibration text "
        "(activation), the loss there (fisher), or that on the outputs of the compressed matrices before (sequential)."
    ),
]
Hardware = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Sizes of the machine that are searched too: YAML as docs/hardware.md says."),
]
Designs = Annotated[int, typer.Option(min=1, help="Designs of the front to choose, spread over the EDP gain.")]
Seed = Annotated[int, typer.Option(min=0, help="Of every random choice.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run; a new one below results/ if left out.")]
TeacherEpochs = Annotated[int, typer.Option(min=1, help="Epochs of fine-tuning the dense model (cached).")]
LayerEpochs = Annotated[int, typer.Option(min=0, help="Epochs of layer-wise distillation.")]
LogitEpochs = Annotated[int, typer.Option(min=0, help="Epochs of logit distillation.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that codesign or run wrote.")]
