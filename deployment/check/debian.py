"""Debian packages for checks: unpacked into a folder, nothing is installed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://deb.debian.org/debian"


def unpack(packages: Mapping[str, Sequence[str]], cache: Path) -> Path:
    """Download and unpack packages; return the folder that has their ``usr``.

    Scripts of packages are not run, so no service starts. A folder that is complete is used again.

    Args:
        packages: Names by suite, such as ``{"trixie": ["docker.io"]}``, without dependencies: name
            all that are needed.
        cache: Folder of downloads.
    """
    wanted = repr(sorted((suite, tuple(names)) for suite, names in packages.items()))
    folder = cache / f"debian-{sha256(wanted.encode()).hexdigest()[:12]}"
    complete = folder / "complete"
    if complete.exists():
        return folder
    for suite, names in packages.items():
        options = _lists(suite, cache / "apt" / suite)
        archives = folder / "archives"
        archives.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", *options, "download", "-qq", *names], cwd=archives, check=True)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg", "--extract", archive, folder], check=True)
        archive.unlink()
    complete.touch()
    return folder


def programs(folder: Path) -> dict[str, str]:
    """Return the environment in which unpacked programs and their libraries are found first."""
    libraries = f"{folder}/usr/lib/{os.uname().machine}-linux-gnu"
    return {
        **os.environ,
        "PATH": f"{folder}/usr/bin:{folder}/usr/sbin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": libraries,
    }


def _lists(suite: str, folder: Path) -> list[str]:
    """Return options of apt-get for lists of our own, which are downloaded first."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n", encoding="utf-8")
    options = [
        f"-oDir::Etc::SourceList={sources}",
        "-oDir::Etc::SourceParts=-",
        f"-oDir::State::Lists={folder / 'lists'}",
        f"-oDir::Cache={folder / 'cache'}",
        "-oDir::State::Status=/dev/null",
        "-oAPT::Sandbox::User=root",
        "-oAPT::Update::Error-Mode=any",
    ]
    subprocess.run(["apt-get", *options, "update", "-qq"], check=True)
    return options
