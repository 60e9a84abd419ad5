"""Apply the manifests to a real Kubernetes of one node.

Kubernetes is built from Debian's source package, see ``kubernetes/build.sh``. Its processes run in
namespaces of their own and end with them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from deployment.check import images

KUBERNETES = Path(__file__).parent / "kubernetes"
IMAGES = (images.OURS, "stand-in-postgres", "stand-in-valkey", "stand-in-pause")
CGROUPS = Path("/sys/fs/cgroup")

END_LIMIT = 20
"""Seconds until the processes of pods must have ended."""


def no_other_kubelet() -> str | None:
    """Return why a node cannot run on this machine; None if it can."""
    for top in _pods_groups():  # a killed run leaves empty ones
        if any(path.read_bytes() for path in top.rglob("cgroup.procs")):
            return "pods of another kubelet run on this machine"
    for process in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # it has ended
            if process.read_bytes() == b"kubelet\n":
                return "another kubelet runs on this machine"
    return None


def main() -> int:
    """Run the stage; return its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cache = Path(os.environ["OPS_CACHE"]).absolute()
    for name in ("cluster", "containers"):
        (cache / name).mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    subprocess.run([KUBERNETES / "build.sh"], check=True)
    archives = images.provide(IMAGES, cache / "containers")
    print(f"programs and images ready after {time.monotonic() - began:.0f} s", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="node-"))  # short: paths of sockets are limited
    folder.chmod(0o755)
    walk = [sys.executable, "-m", "deployment.check.kubernetes.walk"]
    command = [KUBERNETES / "apart.sh", folder, *walk, cache / "cluster", folder]
    process = subprocess.Popen([*map(str, command), *map(str, archives.values())])
    try:
        return process.wait()
    finally:
        process.kill()
        process.wait()
        _remove_pods_groups()
        shutil.rmtree(folder)


def _pods_groups() -> list[Path]:
    return list(CGROUPS.glob("**/kubepods"))


def _remove_pods_groups() -> None:
    """Remove the cgroups of pods, whose processes are about to end."""
    latest = time.monotonic() + END_LIMIT
    while tops := _pods_groups():
        assert time.monotonic() < latest, f"{tops[0]} cannot be removed"
        for top in tops:
            for group, _, _ in os.walk(top, topdown=False):
                with suppress(OSError):  # a process in it has not ended yet
                    Path(group).rmdir()
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
