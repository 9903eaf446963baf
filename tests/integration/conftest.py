"""The command line in this process."""

from __future__ import annotations

import pytest

from heat_sim.cli import main


@pytest.fixture
def run(monkeypatch, capsys):
    """Return what runs one command line: (exit code, standard output, standard error)."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["heat-sim", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
