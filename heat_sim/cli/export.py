"""`heat-sim export`: the trained model of a design, for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from heat_sim.cli.bench import model_folder
from heat_sim.cli.console import out
from heat_sim.cli.options import RunFolder
from heat_sim.codesign.chosen import DENSE
from heat_sim.codesign.front import FrontRow
from heat_sim.errors import SpecError, describe

Target = Literal["hf", "onnx"]


def export_command(
    run: RunFolder,
    design: Annotated[str, typer.Argument(metavar="DESIGN", help="Id of a distilled design, for example d03.")],
    to: Annotated[Target, typer.Option("--to", help="A Hugging Face folder that needs no heat_sim, or an ONNX graph.")],
    folder: Annotated[
        Path | None, typer.Option("--out", help="A new folder; RUN/exports/DESIGN-hf or -onnx if left out.")
    ] = None,
) -> None:
    """Write the trained model of a design as a folder for others: transformers loads it with one line, or ONNX.

    The factorised layers stay factorised. README.md in the folder says how to load it; the tokenizer is beside it.
    docs/export.md tells more.

    Example: heat-sim export results/minilm-l6-simba_l-s128-seed0 d03 --to hf
    """
    # What is wrong with the arguments is said before torch is loaded.
    from heat_sim.report.run_folder import read_baselines, read_front, read_manifest

    arguments = read_manifest(run)["arguments"]
    row = _row((*read_front(run), *read_baselines(run)), design)
    student_folder = run / "students" / design
    if not student_folder.is_dir():
        raise SpecError(
            describe(f"{run}, design {design}", "not trained yet", got=f"no {student_folder}", expected="its student",
                     remedy=f"Run: heat-sim distill {run} --designs {design}")
        )  # fmt: skip
    target = folder or run / "exports" / f"{design}-{to}"
    _export(student_folder, target, to=to, model=str(arguments["model"]), edp_gain=row.edp_gain)
    out.print(str(target), markup=False)


def _row(rows: tuple[FrontRow, ...], design: str) -> FrontRow:
    """Return the row of a design; refuse one that is not in the run, or the dense model."""
    designs = {row.design: row for row in rows if row.design != DENSE}
    if design not in designs:
        raise SpecError(
            describe("DESIGN", "not a design of the run", got=design, expected=", ".join(designs),
                     remedy="Choose one of these.")
        )  # fmt: skip
    return designs[design]


def _export(student_folder: Path, target: Path, *, to: Target, model: str, edp_gain: float) -> None:
    from heat_sim.distill.requirements import require_torch

    require_torch()
    from heat_sim.distill.convert import load_student
    from heat_sim.distill.export.folder import check_is_free
    from heat_sim.distill.export.heads import head_of
    from heat_sim.distill.export.hugging_face import export_to_hugging_face
    from heat_sim.distill.export.onnx_graph import export_to_onnx, require_onnx

    check_is_free(target)
    if to == "onnx":
        require_onnx()
    student, design = load_student(student_folder)
    processor = _processor(model, head_of(student).input)
    write = export_to_hugging_face if to == "hf" else export_to_onnx
    write(student, target, design=design, processor=processor, edp_gain=edp_gain)


def _processor(model: str, reads: Literal["text", "image"]) -> Any:
    """Return what turned text or images into the input of the dense model."""
    from transformers import AutoImageProcessor

    from heat_sim.distill.pretrained import load_tokenizer, one_message

    _, folder = model_folder(model)
    if reads == "text":
        return load_tokenizer(folder)
    with one_message(folder, "its image processor"):
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True)
