"""Distillation is an extra: without torch it says so, and what needs no torch works."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from heat_sim.distill.requirements import require_torch
from heat_sim.errors import MissingDependencyError


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(MissingDependencyError, match=r'got no torch, expected .*pip install "heat_sim\[distill\]"'):
        require_torch()


def test_tasks_settings_and_calibrations_need_no_torch() -> None:
    code = (
        "import sys; sys.modules.update(torch=None, transformers=None, safetensors=None)\n"
        "from heat_sim.distill import calibration, progress, requirements, settings, sources, tasks"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
