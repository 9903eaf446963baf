"""Files written whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from heat_sim.report.files import replacing, write_text


def test_missing_folders_are_made_and_text_is_utf8(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "note.txt"
    write_text(target, "µJ\n")
    assert target.read_bytes() == "µJ\n".encode()
    assert [path.name for path in target.parent.iterdir()] == ["note.txt"]


def test_an_error_inside_leaves_the_old_content_and_no_draft(tmp_path: Path) -> None:
    target = tmp_path / "front.csv"
    write_text(target, "old")

    def half_a_table() -> None:
        with replacing(target) as draft:
            draft.write_text("new, but not all of it")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        half_a_table()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_killed_writer_leaves_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "front.csv"
    write_text(target, "old")
    script = """
        import os, signal, sys
        from pathlib import Path
        from heat_sim.report.files import replacing
        with replacing(Path(sys.argv[1])) as draft:
            draft.write_text("new, but not all of it")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"


def test_the_mode_is_that_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_the_draft_stands_beside_the_target(tmp_path: Path) -> None:
    """Only within one folder is a replacement sure to be one step."""
    with replacing(tmp_path / "front.png") as draft:
        assert draft.parent == tmp_path
        assert draft.suffix == ".png"
        assert draft.name.startswith(".")
