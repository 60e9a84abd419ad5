"""Write the lock file of all dependencies, and check that it matches pyproject.toml.

``python -m supply_chain.lock`` writes it and keeps locked versions that still fit; ``--upgrade``
takes the newest ones; ``--check`` only reads, without a network. The file has names, versions,
markers and hashes, and no address, so that any index with the same files serves it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
CPU_BUILDS = ROOT / "requirements-cpu.lock"
"""Builds that replace locked ones where pip finds them."""

NOT_LOCKED = frozenset({"bench"})
"""Extras that neither the image nor the tests install."""

_HEADER = """\
# Versions and hashes of what the image, CI and developers install. Written by `make lock`.
# declared: {digest}
"""
_PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;\\]+)(?P<marker> ; [^\\@]+)? \\")
_HASH = re.compile(r"    --hash=sha256:(?P<digest>[0-9a-f]{64})(?P<more> \\)?")


def read_project(path: Path = ROOT / "pyproject.toml") -> dict[str, Any]:
    """Return the contents of pyproject.toml."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def locked_extras(project: Mapping[str, Any]) -> list[str]:
    """Return the names of the extras whose dependencies are locked."""
    return sorted(set(project["project"]["optional-dependencies"]) - NOT_LOCKED)


def digest_of(project: Mapping[str, Any]) -> str:
    """Return a digest of everything that is declared about dependencies."""
    table = project["project"]
    extras = table["optional-dependencies"]
    declared = [
        table["requires-python"],
        sorted(table["dependencies"]),
        {name: sorted(extras[name]) for name in locked_extras(project)},
        {name: sorted(group) for name, group in project["dependency-groups"].items()},
        sorted(project["build-system"]["requires"]),
    ]
    text = json.dumps(declared, sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def pins_of(lock: str) -> dict[str, list[str]]:
    """Return the hashes by pin, ``name==version``, with the marker if there is one."""
    pins: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lock.splitlines():
        if pin := _PIN.fullmatch(line):
            current = pins.setdefault(f"{pin['name']}=={pin['version']}{pin['marker'] or ''}", [])
        elif found := _HASH.fullmatch(line):
            current.append(found["digest"])
    return pins


def problems(lock: str, project: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a lock file, a sentence each; none if it may be used."""
    found = []
    if f"# declared: {digest_of(project)}" not in lock.splitlines():
        found.append("pyproject.toml declares other dependencies than those locked; run make lock")
    for number, line in enumerate(lock.splitlines(), start=1):
        if not (line.startswith("# ") or _PIN.fullmatch(line) or _HASH.fullmatch(line)):
            found.append(f"line {number} is neither a pinned version nor a hash: {line}")
    pins = pins_of(lock)
    for pin, hashes in pins.items():
        if not hashes:
            found.append(f"{pin} has no hash; run make lock")
        if "+" in pin.partition(" ")[0]:
            found.append(f"{pin} is a build of one machine; run make lock without UV_FIND_LINKS")
    return found


def build_problems(builds: str, lock: str) -> list[str]:
    """Return what is wrong with a file of builds that replace locked ones, a sentence each."""
    return [
        f"{pin} is not a hashed build of a version in {LOCK.name}; replace it"
        for pin, hashes in pins_of(builds).items()
        if not hashes or pin.partition("+")[0] not in pins_of(lock)
    ]


def write(*, upgrade: bool = False) -> None:
    """Resolve all dependencies for all platforms and Python versions, and replace the lock file.

    Raises:
        CalledProcessError: there is no resolution, or the index did not answer; uv prints why.
    """
    project = read_project()
    selected = [f"--extra={name}" for name in locked_extras(project)]
    selected += [f"--group={name}" for name in project["dependency-groups"]]
    with tempfile.TemporaryDirectory() as folder:
        resolved = Path(folder) / LOCK.name
        if LOCK.exists():
            resolved.write_bytes(LOCK.read_bytes())
        subprocess.run(
            [
                str(Path(sys.executable).with_name("uv")),
                *("pip", "compile", "--quiet", "--universal", "--python-version=3.11"),
                *("--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url"),
                *(["--upgrade"] if upgrade else []),
                *selected,
                f"--output-file={resolved}",
                "pyproject.toml",
            ],
            check=True,
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "UV_FIND_LINKS"},
            stdout=subprocess.DEVNULL,
        )
        pins = resolved.read_text(encoding="utf-8")
    header = _HEADER.format(digest=digest_of(project))
    LOCK.write_text(header + pins, encoding="utf-8")


def main() -> int:
    """Write or check the lock file; return 1 if it must not be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only check, without a network")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    given = parser.parse_args()
    if not given.check:
        write(upgrade=given.upgrade)
    lock, builds = (path.read_text(encoding="utf-8") for path in (LOCK, CPU_BUILDS))
    found = [f"{LOCK.name}: {problem}" for problem in problems(lock, read_project())]
    found += [f"{CPU_BUILDS.name}: {problem}" for problem in build_problems(builds, lock)]
    for problem in found:
        print(problem, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
