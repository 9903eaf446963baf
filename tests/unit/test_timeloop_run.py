"""Running Timeloop: stand-ins on PATH take its place, since it is not installed where the tests run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from heat_sim.errors import HeatError, MissingDependencyError
from heat_sim.timeloop import run_timeloop
from tests.unit.test_timeloop_stats import HAND_WRITTEN


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return what puts a timeloop-model on PATH that runs these lines of Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("heat_sim.timeloop.run.find_spec", lambda name: None)

    def install(lines: str) -> None:
        tool = folder / "timeloop-model"
        head = "import os, sys, pathlib\n*files, flag, out = sys.argv[1:]\nassert flag == '-o'\n"
        tool.write_text(f"#!{sys.executable}\n{head}{lines}", encoding="utf-8")
        tool.chmod(0o755)

    return install


WRITES_STATS = f"pathlib.Path(out, 'timeloop-model.stats.txt').write_text({HAND_WRITTEN!r})\n"


def test_the_stats_of_the_run_are_read(installed, tmp_path: Path) -> None:
    case = tmp_path / "arch.yaml"
    case.write_text("architecture: {}", encoding="utf-8")
    installed("assert pathlib.Path(files[0]).read_text() == 'architecture: {}'\n" + WRITES_STATS)
    assert run_timeloop([case])["cycles"] == 10


def test_link_transfers_are_the_tools_own_switch(installed, monkeypatch) -> None:
    monkeypatch.setenv("TIMELOOP_DISABLE_LINK_TRANSFERS", "1")
    installed("assert os.environ['TIMELOOP_HIDE_INCONSEQUENTIAL_STATS'] == '0'\n"
              "assert 'TIMELOOP_DISABLE_LINK_TRANSFERS' not in os.environ\n" + WRITES_STATS)  # fmt: skip
    assert run_timeloop([])["valid"] is True
    installed("assert os.environ['TIMELOOP_DISABLE_LINK_TRANSFERS'] == '1'\n" + WRITES_STATS)
    assert run_timeloop([], link_transfers=False)["valid"] is True


def test_a_case_it_refuses_is_a_result(installed) -> None:
    message = "ERROR: couldn't map level RF: mapped tile size 48 exceeds buffer capacity 40"
    installed(f"print('Problem configuration complete.')\nprint({message!r}, file=sys.stderr)\nsys.exit(1)\n")
    assert run_timeloop([]) == {"valid": False, "error": [message]}


def test_ending_without_a_word_is_an_error(installed) -> None:
    installed("print('Aborted')\nsys.exit(6)\n")
    with pytest.raises(HeatError, match=r"ended without a result \(got exit code 6: Aborted, .*Try by hand: .*-o"):
        run_timeloop([])


def test_it_is_stopped_after_the_limit(installed) -> None:
    installed("import time\ntime.sleep(60)\n")
    with pytest.raises(HeatError, match=r"took too long \(got no result after 0.2 s"):
        run_timeloop([], limit_s=0.2)


def test_pytimeloop_is_used_where_there_is_no_command(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "site" / "pytimeloop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "app.py").write_text(
        "class ModelApp:\n    def __init__(self, text): assert text == 'problem: {}'\n    def run(self): return self\n"
        f"    def pretty_print_stats(self): return {HAND_WRITTEN!r}\n",
        encoding="utf-8",
    )
    case = tmp_path / "problem.yaml"
    case.write_text("problem: {}", encoding="utf-8")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setattr("heat_sim.timeloop.run.find_spec", lambda name: name)
    assert run_timeloop([case])["cycles"] == 10


def test_without_an_installation_the_message_says_what_is_missing_and_how_to_get_it(installed) -> None:
    with pytest.raises(MissingDependencyError, match=r"no timeloop-model on PATH and no Python package pytimeloop"):
        run_timeloop([])
