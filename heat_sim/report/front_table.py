"""The columns of the table that a run ends with."""

from __future__ import annotations

from heat_sim.report.tables import Column


def _percent(value: object) -> str:
    return f"{float(str(value)):.1%}"[:-1]


FRONT_COLUMNS = (
    Column(field="design", heading="design", is_text=True),
    Column(field="edp_gain", heading="EDP gain", show="{:.2f}x".format),
    Column(field="energy_pj", heading="energy (uJ)", show=lambda value: f"{float(str(value)) / 1e6:,.0f}"),
    Column(field="cycles", heading="cycles", show="{:,}".format),
    Column(field="parameters", heading="params (M)", show=lambda value: f"{int(str(value)) / 1e6:.2f}"),
    Column(field="encoder_parameters", heading="encoder (M)", show=lambda value: f"{int(str(value)) / 1e6:.2f}"),
    Column(field="area_mm2", heading="area (mm2)", show="{:.2f}".format, optional=True),
    Column(field="estimated_loss", heading="est. loss", show="{:.3f}".format),
    Column(field="projected_accuracy", heading="projected (%)", show=_percent),
    Column(field="distilled_accuracy", heading="distilled (%)", show=_percent),
)
"""EDP gain is over the dense encoder; accuracies are measured on held-out data, the dense row's is the model's own."""
