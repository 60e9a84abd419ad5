"""Build the images with a Docker Engine and run docker-compose.yml on it.

Everything comes from Debian and the package index, without a registry of images: the engine, the
base image, and stand-ins for the images of the servers. A run leaves only downloads behind.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from deployment.check import engine
from deployment.check.engine import Engine

ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).parent / "stand_ins"
BASE = "python:3.12-slim"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

LARGEST = 350
"""Megabytes that a registry may store for the image, and that a machine downloads."""


def base_image(tools: Path, cache: Path) -> Path:
    """Return an archive of Debian with Python, which stands in for the base image."""
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
    return archive


def build(docker: Engine, base: Path, cache: Path) -> None:
    """Build our image and the stand-ins, and show what our image has."""
    trusted = ("SSL_CERT_FILE", "PIP_CERT")
    changes = [f"--change=ENV {name}={CERTIFICATES}" for name in trusted]
    docker.run("docker", "import", *changes, base, BASE)
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, encoding="utf-8"
    ).stdout.strip()
    began = time.monotonic()
    docker.build(ROOT, "rebalancer", f"--build-arg=REVISION={revision or 'unknown'}")
    print(f"shown: Dockerfile built unchanged in {time.monotonic() - began:.0f} s", flush=True)
    _describe(docker)
    for folder in (STAND_INS / name for name in ("postgres", "valkey", "mongo")):
        files = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
        saved = cache / f"{folder.name}-{sha256(files).hexdigest()[:12]}.tar"
        if saved.exists():
            docker.run("docker", "load", "--input", saved)
        else:
            docker.build(folder, f"stand-in-{folder.name}")
            docker.run("docker", "save", "--output", saved, f"stand-in-{folder.name}")


def _describe(docker: Engine) -> None:
    """Check size, user, labels and contents of our image."""
    unpacked, packed = docker.size("rebalancer")
    base, _ = docker.size(BASE)
    print(
        f"shown: image {unpacked} MB unpacked, {packed} MB compressed as a registry stores it; "
        f"{base} MB of it the base",
        flush=True,
    )
    assert packed < LARGEST, f"the image has {packed} MB, more than {LARGEST}"
    (image,) = json.loads(docker.run("docker", "image", "inspect", "rebalancer"))
    config = image["Config"]
    assert config["User"] == "10001:10001", config["User"]
    assert config["Healthcheck"]["Test"][0] == "CMD", config["Healthcheck"]
    labels = {name.rpartition(".")[2] for name in config["Labels"]}
    assert {"title", "description", "licenses", "version", "revision"} <= labels, labels
    absent = "for tool in cc gcc g++ make pip pip3 uv; do ! command -v $tool || exit 1; done; "
    absent += "! python -m pip --version 2>&1 && ! python -m ensurepip --version 2>&1"
    run = ["docker", "run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL"]
    docker.run(*run, "--entrypoint=sh", "rebalancer", "-c", absent)
    version = docker.run(*run, "rebalancer", "--version").strip()
    print(f"shown: {version} runs read-only as 10001, without compiler or pip", flush=True)


def lint() -> None:
    """Run hadolint over all Dockerfiles."""
    files = [ROOT / "Dockerfile", *sorted(STAND_INS.glob("*/Dockerfile"))]
    subprocess.run(["hadolint", "--failure-threshold=info", *files], check=True)
    print(f"shown: hadolint has nothing to say about {len(files)} Dockerfiles", flush=True)


def main() -> int:
    """Run the stage; return its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cache = Path(os.environ["OPS_CACHE"]) / "containers"
    cache.mkdir(parents=True, exist_ok=True)
    lint()
    tools = engine.unpack(cache)
    base = base_image(tools, cache)
    for left in cache.glob("run-*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    try:
        with engine.running(tools, work / "data", isolated=False) as docker:
            build(docker, base, cache)
        with engine.running(tools, work / "data", isolated=True) as docker:
            drills = [sys.executable, "-m", "deployment.check.drills"]
            subprocess.run(
                [*docker.enter(), *drills], cwd=ROOT, env={**docker.environment}, check=True
            )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
