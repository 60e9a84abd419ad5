"""A Docker Engine from unpacked Debian packages, in namespaces of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from deployment.check import debian

PACKAGES = {
    # Programs in Go need only an old libc, so that these run on Debian 12 and later.
    "trixie": ["docker.io", "docker-cli", "docker-compose", "docker-buildx", "containerd", "tini"],
    # These are linked to other libraries, so they come from the oldest suite, with what they need.
    "bookworm": [
        "runc",
        "libseccomp2",
        "iptables",
        "libip4tc2",
        "libip6tc2",
        "libmnl0",
        "libnetfilter-conntrack3",
        "libnfnetlink0",
        "libnftnl11",
        "libxtables12",
        "mmdebstrap",
    ],
}

START_LIMIT = 60
"""Seconds until the engine must answer."""

STOP_LIMIT = 15
"""Seconds that the engine and its containers have to stop in order; then they are killed."""


@attrs.frozen
class Engine:
    """A running engine.

    Attributes:
        process: The init process of its namespaces.
        environment: In which ``docker`` and ``docker compose`` use it.
    """

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]

    def run(self, *command: str | Path, **options: object) -> str:
        """Run a program that uses the engine; return its output.

        Raises:
            CalledProcessError: it failed; its errors were written to ours.
        """
        done = subprocess.run(  # type: ignore[call-overload]  # passes on any option
            command,
            env={**self.environment},
            check=True,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            **options,
        )
        return str(done.stdout)

    def build(self, context: Path, tag: str, *options: str) -> None:
        """Build an image with the machine's network; the output is shown."""
        command = ["docker", "build", "--network=host", "--progress=plain", *options]
        subprocess.run([*command, f"--tag={tag}", context], env={**self.environment}, check=True)

    def size(self, image: str) -> tuple[int, int]:
        """Return the size of an image in MB, unpacked and as a registry stores it."""
        unpacked = int(self.run("docker", "image", "inspect", "--format={{.Size}}", image))
        packed = self.run("sh", "-c", 'docker save "$0" | gzip -6 | wc -c', image)
        return round(unpacked / 1e6), round(int(packed) / 1e6)

    def enter(self) -> list[str]:
        """Return the beginning of a command that runs in the engine's namespaces."""
        return [
            "nsenter",
            f"--target={_child(self.process)}",
            "--net",
            "--pid",
            "--mount",
            "--wd=.",
        ]


def unpack(cache: Path) -> Path:
    """Download and unpack the engine; return the folder of its programs."""
    tools = debian.unpack(PACKAGES, cache)
    # What scripts of the packages would link.
    links = {"usr/bin/docker-init": "tini-static"}
    links |= {f"usr/sbin/{name}": f"{name}-nft" for name in ("iptables", "ip6tables")}
    links |= {
        f"docker/cli-plugins/{found.name}": f"../../usr/libexec/docker/cli-plugins/{found.name}"
        for found in (tools / "usr/libexec/docker/cli-plugins").iterdir()
    }
    for link, target in links.items():
        (tools / link).parent.mkdir(parents=True, exist_ok=True)
        if not (tools / link).is_symlink():
            (tools / link).symlink_to(target)
    return tools


def environment(tools: Path) -> dict[str, str]:
    """Return the environment in which the programs are found, without an engine."""
    found = debian.programs(tools)
    extensions = f"{found['LD_LIBRARY_PATH']}/xtables"
    return {**found, "DOCKER_CONFIG": str(tools / "docker"), "XTABLES_LIBDIR": extensions}


@contextmanager
def running(tools: Path, data: Path, *, isolated: bool) -> Iterator[Engine]:
    """Run an engine until the end of the block; then end all of its processes.

    Its processes and mounts are in namespaces that end with it.

    Args:
        tools: Folder of its programs.
        data: Folder of images, containers and volumes.
        isolated: Whether it has a network of its own without a way out, where containers get
            addresses and ports. Otherwise images can be built, with the machine's network.
    """
    here = Path(tempfile.mkdtemp(prefix="engine-"))  # short: paths of sockets are limited
    (here / "none.json").write_text("{}", encoding="utf-8")
    socket = here / "docker.sock"
    settings = {**environment(tools), "DOCKER_HOST": f"unix://{socket}"}
    network = ["--net"] if isolated else []
    bridge = [] if isolated else ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    # /run is ours as well: the engine would use a containerd that it finds there.
    start = (
        "mount -t tmpfs none /run && { ip link set lo up || true; } && exec docker-init -s -- "
        f'dockerd --host unix://{socket} --data-root {data} --exec-root {here} "$@"'
    )
    daemon = ["--pidfile", here / "pid", "--config-file", here / "none.json", *bridge]
    unshare = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", *network]
    with (data.parent / "dockerd.log").open("ab") as log:
        process = subprocess.Popen(
            [*unshare, "sh", "-ec", start, "sh", *map(str, daemon)],
            env=settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, settings, data.parent / "dockerd.log")
        yield Engine(process, settings)
    finally:
        _end(process)
        shutil.rmtree(here)


def _wait_until_ready(
    process: subprocess.Popen[bytes], environment: Mapping[str, str], log: Path
) -> None:
    latest = time.monotonic() + START_LIMIT
    ping = ["docker", "version", "--format", "{{.Server.Version}}"]
    while subprocess.run(ping, env=environment, capture_output=True).returncode != 0:
        if process.poll() is not None or time.monotonic() > latest:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
            raise RuntimeError("the Docker Engine did not start:\n" + "\n".join(lines))
        time.sleep(0.5)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the engine, which stops its containers; then end what is left in its namespaces."""
    if (child := _child(process)) is not None:
        os.kill(child, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT)
    process.kill()
    process.wait()


def _child(process: subprocess.Popen[bytes]) -> int | None:
    """Return the first process of the namespaces, the child of ``unshare``."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = found.read_text(encoding="ascii").split() if found.exists() else []
    return int(children[0]) if children else None
