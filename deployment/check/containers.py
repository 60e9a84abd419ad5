"""Build the images with a Docker Engine and run docker-compose.yml on it.

Everything comes from Debian and the package index, without a registry of images: the engine, the
base image, and stand-ins for the images of the servers. A run leaves only downloads behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from deployment.check import engine, images
from deployment.check.engine import Engine

SERVERS = ("stand-in-postgres", "stand-in-valkey", "stand-in-mongo")

LARGEST = 350
"""Megabytes that a registry may store for the image, and that a machine downloads."""


def build(docker: Engine, cache: Path) -> None:
    """Build our image, show what it has, and load the stand-ins."""
    seconds = images.build(docker, images.OURS, cache)
    print(f"shown: Dockerfile built unchanged in {seconds:.0f} s", flush=True)
    _describe(docker)
    for image in SERVERS:
        images.load(docker, image, cache)


def _describe(docker: Engine) -> None:
    """Check size, user, labels and contents of our image."""
    unpacked, packed = docker.size(images.OURS)
    base, _ = docker.size(images.BASE)
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
    files = [images.ROOT / "Dockerfile", *sorted(images.STAND_INS.glob("*/Dockerfile"))]
    subprocess.run(["hadolint", "--failure-threshold=info", *files], check=True)
    print(f"shown: hadolint has nothing to say about {len(files)} Dockerfiles", flush=True)


def main() -> int:
    """Run the stage; return its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cache = Path(os.environ["OPS_CACHE"]) / "containers"
    cache.mkdir(parents=True, exist_ok=True)
    lint()
    with images.workplace(cache) as (tools, data):
        with engine.running(tools, data, isolated=False) as docker:
            images.load_base(docker, tools, cache)
            build(docker, cache)
        with engine.running(tools, data, isolated=True) as docker:
            drills = [sys.executable, "-m", "deployment.check.drills"]
            subprocess.run(
                [*docker.enter(), *drills], cwd=images.ROOT, env={**docker.environment}, check=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
