"""What a SuperNet is worth at equal shares of its ranks, beside the projection that it was trained from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from heat_sim.cli.bench import AddBar, Bench
from heat_sim.distill.batches import encode, sorted_batches
from heat_sim.distill.supernet_estimate import SuperNetEstimate
from heat_sim.distill.supernet_options import Options, at_share
from heat_sim.distill.supernet_settings import SuperNetSettings
from heat_sim.distill.supernet_store import SuperNet, projected_supernet
from heat_sim.report.tables import Column, to_markdown
from heat_sim.tensorize.factorization import Factorization

SHARES = (1.0, 0.75, 0.5, 0.25, 0.125)
"""Of the largest ranks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRow:
    """All matrices in one format at one share of their largest ranks, on the dev split.

    Attributes:
        format: Of the matrices that have it as an option; the others are in their first one.
        share: Of the largest ranks.
        ratio: Parameters of the dense matrices over those of the cores.
        projected_divergence: Of the untrained projection, from the dense model, in nats.
        divergence: Of the SuperNet.
        projected_loss: Of accuracy by the untrained projection, against the dense model, fractions of 1.
        loss: By the SuperNet.
    """

    format: str
    share: float
    ratio: float
    projected_divergence: float
    divergence: float
    projected_loss: float
    loss: float


_POINTS = "{:.1%}".format
_COLUMNS = (
    Column(field="format", heading="format", is_text=True),
    Column(field="share", heading="share of ranks", show="{:.3f}".format),
    Column(field="ratio", heading="compression", show="{:.2f}x".format),
    Column(field="projected_divergence", heading="divergence, projected", show="{:.4f}".format),
    Column(field="divergence", heading="SuperNet", show="{:.4f}".format),
    Column(field="projected_loss", heading="loss of accuracy, projected", show=_POINTS),
    Column(field="loss", heading="SuperNet ", show=_POINTS),
)


def compare_shares(
    bench: Bench, student: object, options: Options, *, settings: SuperNetSettings, add_bar: AddBar
) -> tuple[ShareRow, ...]:
    """Return a row per format and share.

    Args:
        bench: Model, task and calibration.
        student: The trained SuperNet.
        options: Of it.
        settings: Of its training.
        add_bar: Adds a progress bar.
    """
    teacher = bench.teacher.model
    encoded = encode(bench.teacher.tokenizer, bench.task, split="dev", max_length=settings.max_length)
    batches = sorted_batches(encoded, batch_size=settings.batch_size)
    start = projected_supernet(bench.teacher, options, calibration=bench.calibration)
    divergence, projected_divergence, loss, projected_loss = (
        SuperNetEstimate(each, batches, teacher=teacher, measure=measure)
        for measure in ("divergence", "accuracy")
        for each in (student, start)
    )
    formats = [name for name in dict.fromkeys(f.format for some in options.values() for f in some) if name != "dense"]
    cases = [(name, share) for name in formats for share in SHARES]
    tick, rows = add_bar("compare shares", len(cases)), []
    for done, (name, share) in enumerate(cases, start=1):
        design = {
            matrix: at_share(next((each for each in some if each.format == name), some[0]), share)
            for matrix, some in options.items()
        }
        rows.append(
            ShareRow(
                format=name,
                share=share,
                ratio=_ratio(design),
                projected_divergence=projected_divergence(design),
                divergence=divergence(design),
                projected_loss=projected_loss(design),
                loss=loss(design),
            )
        )
        tick(done, f"{name} {share:g}")
    return tuple(rows)


def shares_text(supernet: SuperNet, rows: Sequence[ShareRow]) -> str:
    """Return the table, and a line on the SuperNet below it."""
    return (
        f"{to_markdown(rows, _COLUMNS)}\n"
        f"{supernet.folder.name}: {len(supernet.losses)} steps, projected and trained in {supernet.seconds:,.0f} s\n"
    )


def as_json(supernet: SuperNet, rows: Sequence[ShareRow]) -> dict[str, object]:
    """Return the table with what it is of."""
    return {
        "supernet": supernet.folder.name,
        "seconds": supernet.seconds,
        "losses": list(supernet.losses),
        "shares": [asdict(row) for row in rows],
    }


def _ratio(design: dict[str, Factorization]) -> float:
    dense = sum(each.out_features * each.in_features for each in design.values())
    return dense / sum(each.parameters for each in design.values())
