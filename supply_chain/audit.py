"""Ask a vulnerability feed about every locked dependency.

``python -m supply_chain.audit PIP_AUDIT`` runs pip-audit on the lock file. Where the feed does not
know a package, or does not answer, pip-audit skips it and succeeds; here that is "not audited".
Exit codes: 0, all packages were audited and have no known vulnerability that is not accepted; 1,
there are such vulnerabilities; 3, packages were not audited. ``--optional`` turns 3 into 0, but
still says that they were not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from supply_chain.lock import LOCK, read_project

CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 3
TIMEOUT = 300.0
"""Seconds for all packages."""


def accepted_on(project: Mapping[str, Any], day: date) -> dict[str, str]:
    """Return the reasons of accepted vulnerabilities by id, from pyproject.toml.

    ``[tool.rebalancer.audit.ID]`` has ``reason`` and ``until``, its last day.
    """
    table = project.get("tool", {}).get("rebalancer", {}).get("audit", {})
    return {name: entry["reason"] for name, entry in table.items() if day <= entry["until"]}


def judge(report: Mapping[str, Any] | None, accepted: Mapping[str, str]) -> tuple[int, list[str]]:
    """Return the exit code and the lines to print for a report of pip-audit.

    Args:
        report: Its JSON; None if it could not ask the feed.
        accepted: Reasons by id of a vulnerability.
    """
    if report is None:
        return NOT_AUDITED, ["NOT AUDITED: no vulnerability feed answers from this machine"]
    dependencies: Sequence[Mapping[str, Any]] = report["dependencies"]
    audited = [each for each in dependencies if "skip_reason" not in each]
    open_, lines = 0, []
    for each in audited:
        for found in each["vulns"]:
            names = [found["id"], *found.get("aliases", [])]
            reason = next((accepted[name] for name in names if name in accepted), None)
            open_ += reason is None
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            verdict = f"accepted: {reason}" if reason else f"fixed in {fixed}"
            lines.append(f"{each['name']} {each['version']}: {' '.join(names)}; {verdict}")
    skipped = len(dependencies) - len(audited)
    summary = f"{len(audited)} packages audited, {open_} open vulnerabilities"
    if open_:
        return VULNERABLE, [*lines, summary]
    if skipped or not audited:
        lines.append(
            f"NOT AUDITED: the feed does not know {skipped} of {len(dependencies)} packages"
        )
        return NOT_AUDITED, lines
    return CLEAN, [*lines, summary]


def ask(program: str, lock: str) -> dict[str, Any] | None:
    """Return the report of pip-audit on a lock file; None if no feed answers.

    It first asks about one package, so that a missing feed is not asked about all others.
    """
    probe = _run(program, _first_entry(lock))
    if probe is None or any("skip_reason" in each for each in probe["dependencies"]):
        return None
    return _run(program, lock)


def _first_entry(lock: str) -> str:
    """Return the first pinned version with its hashes."""
    entry = []
    for line in lock.splitlines(keepends=True):
        if not line.startswith("#"):
            entry.append(line)
            if not line.endswith("\\\n"):
                break
    return "".join(entry)


def _run(program: str, lock: str) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory() as folder:
        asked, report = Path(folder) / "requirements.txt", Path(folder) / "report.json"
        asked.write_text(lock, encoding="utf-8")
        command = [program, "--requirement", str(asked), "--require-hashes", "--disable-pip"]
        command += ["--format=json", f"--output={report}", "--progress-spinner=off"]
        try:
            done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return None
        if not report.exists():
            print(done.stderr.strip().rpartition("\n")[2], file=sys.stderr)
            return None
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found


def main() -> int:
    """Audit the lock file; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="path of pip-audit")
    parser.add_argument("--optional", action="store_true", help="succeed where no feed answers")
    given = parser.parse_args()
    lock = LOCK.read_text(encoding="utf-8")
    today = datetime.now(UTC).date()
    code, lines = judge(ask(given.program, lock), accepted_on(read_project(), today))
    print("\n".join(lines))
    return CLEAN if given.optional and code == NOT_AUDITED else code


if __name__ == "__main__":
    sys.exit(main())
