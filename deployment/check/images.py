"""Images without a registry: ours from its Dockerfile, and stand-ins for those of servers.

Archives of them are kept with the downloads, by what they were built from.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from deployment.check import engine
from deployment.check.engine import Engine

ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).parent / "stand_ins"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

BASE = "python:3.12-slim"
OURS = "rebalancer"


@contextmanager
def workplace(cache: Path) -> Iterator[tuple[Path, Path]]:
    """Unpack the engine; give its programs, and a folder that is deleted at the end."""
    tools = engine.unpack(cache)
    for left in cache.glob("run-*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    try:
        yield tools, work / "data"
    finally:
        shutil.rmtree(work, ignore_errors=True)


def load_base(docker: Engine, tools: Path, cache: Path) -> None:
    """Load Debian with Python, which stands in for the base image."""
    archive = cache / "base.tar"
    if not archive.exists():
        left_out = (f"path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale"))
        part = archive.with_suffix(".part.tar")
        subprocess.run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                "--include=ca-certificates,python3,python3-venv,python-is-python3",
                *(f"--dpkgopt={option}" for option in left_out),
                # This machine may reach the package index through a proxy with its own authority.
                f"--customize-hook=copy-in {CERTIFICATES} {Path(CERTIFICATES).parent}",
                "trixie",
                part,
            ],
            env=engine.environment(tools),
            check=True,
        )
        part.rename(archive)
    trusted = ("SSL_CERT_FILE", "PIP_CERT")
    changes = [f"--change=ENV {name}={CERTIFICATES}" for name in trusted]
    docker.run("docker", "import", *changes, archive, BASE)


def build(docker: Engine, image: str, cache: Path) -> float:
    """Build our image, or the stand-in of this name; return the seconds.

    Its archive replaces older ones.
    """
    archive = archive_of(image, cache)
    options = []
    if image == OURS:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, encoding="utf-8"
        )
        options = [f"--build-arg=REVISION={commit.stdout.strip() or 'unknown'}"]
    began = time.monotonic()
    docker.build(_context(image), image, *options)
    seconds = time.monotonic() - began
    for old in cache.glob(f"{image}-*"):
        old.unlink()
    part = archive.with_suffix(".part")
    docker.run("docker", "save", "--output", part, image)
    part.rename(archive)
    return seconds


def load(docker: Engine, image: str, cache: Path) -> None:
    """Load an image from its archive, or build it."""
    archive = archive_of(image, cache)
    if archive.exists():
        docker.run("docker", "load", "--input", archive)
    else:
        build(docker, image, cache)


def provide(images: Iterable[str], cache: Path) -> dict[str, Path]:
    """Return archives of images by name; those that are missing are built."""
    archives = {image: archive_of(image, cache) for image in images}
    missing = [image for image, archive in archives.items() if not archive.exists()]
    if missing:
        with (
            workplace(cache) as (tools, data),
            engine.running(tools, data, isolated=False) as docker,
        ):
            load_base(docker, tools, cache)
            for image in missing:
                build(docker, image, cache)
    return archives


def archive_of(image: str, cache: Path) -> Path:
    """Return where the archive of an image is, or would be, with the contents of now."""
    context = _context(image)
    ignored = context / ".dockerignore"
    admitted = [context]
    if ignored.exists():  # it admits some files and no others
        lines = ignored.read_text(encoding="utf-8")
        names = re.findall(r"^!(.+)$", lines, re.MULTILINE)
        admitted = [context / name for name in ("Dockerfile", *names)]
    files = [path for top in admitted for path in (top, *top.rglob("*")) if path.is_file()]
    content = sha256()
    for path in sorted(files):
        if "__pycache__" not in path.parts:
            content.update(os.fsencode(path.relative_to(context)) + b"\0" + path.read_bytes())
    return cache / f"{image}-{content.hexdigest()[:12]}.tar"


def _context(image: str) -> Path:
    return ROOT if image == OURS else STAND_INS / image.removeprefix("stand-in-")
