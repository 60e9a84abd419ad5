"""``make ops-test``: run stages one after another and write a table of what they showed.

The exit code is 1 if a stage failed, or if one that was named cannot run on this machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import attrs

from deployment.check import orphans
from deployment.check.stages import STAGES, Stage

ROOT = Path(__file__).parents[2]

TOTAL_LIMIT = 60 * 60
"""Seconds for all stages together."""

GRACE = 60
"""Seconds in which a stage that is stopped may remove what it started."""

FINDING = "shown: "
"""Begins each line of a stage's output that belongs into the table."""

Outcome = Literal["passed", "failed", "not run"]


@attrs.frozen
class Result:
    """What came of a stage.

    Attributes:
        stage: The stage that was run, or not.
        outcome: Whether it passed.
        seconds: How long it took.
        reason: Why it failed, or was not run.
        findings: What it showed, in its own words.
    """

    stage: Stage
    outcome: Outcome
    seconds: float = 0.0
    reason: str = ""
    findings: tuple[str, ...] = ()

    def row(self) -> str:
        """Return the row of the table, as markdown."""
        shown = "<br>".join((self.stage.shows, *self.findings)).replace("|", "\\|")
        result = f"{self.outcome}: {self.reason}" if self.reason else self.outcome
        return f"| {self.stage.name} | {shown} | {self.seconds:.0f} | {result} |"


def table(results: Iterable[Result]) -> str:
    """Return the summary of all stages, as markdown."""
    head = "| stage | what was shown | seconds | result |\n|---|---|---|---|"
    return "\n".join((head, *(result.row() for result in results))) + "\n"


def run(stage: Stage, *, until: float, logs: Path) -> Result:
    """Run a stage, show its output, and keep that in a file.

    Args:
        stage: What to run.
        until: Time of the monotonic clock at which all stages must have ended.
        logs: Folder of the outputs.
    """
    if obstacle := stage.obstacle():
        return Result(stage, "not run", reason=obstacle)
    limit = min(stage.limit, until - time.monotonic())
    if limit <= 0:
        return Result(stage, "failed", reason=f"the {TOTAL_LIMIT} s of all stages were used up")
    started = time.monotonic()
    log = logs / f"{stage.name}.log"
    reason = ""
    with log.open("wb") as output:
        # In a session of its own: Ctrl-C reaches this program alone, which then stops the stage.
        process = subprocess.Popen(
            stage.command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )
        with log.open(encoding="utf-8", errors="replace") as lines:
            try:
                while process.poll() is None and not reason:
                    print(lines.read(), end="", flush=True)
                    if time.monotonic() > started + limit:
                        reason = f"stopped after {limit:.0f} s"
                    time.sleep(0.2)
            finally:
                _stop(process)
                left = orphans.end()
                print(lines.read(), end="", flush=True)
    text = log.read_text(encoding="utf-8", errors="replace")
    findings = tuple(
        line.removeprefix(FINDING) for line in text.splitlines() if line.startswith(FINDING)
    )
    if not reason and process.returncode != 0:
        reason = f"exit code {process.returncode}, see {log}"
    if not reason and left:
        reason = f"it left {', '.join(sorted(left))} running"
    outcome: Outcome = "failed" if reason else "passed"
    return Result(stage, outcome, time.monotonic() - started, reason, findings)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let a stage that still runs clean up, then end it."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(
    arguments: list[str] | None = None,
    *,
    stages: Mapping[str, Stage] = STAGES,
    out: Path = ROOT / "out",
) -> int:
    """Run the named stages, or all; return the exit code.

    Args:
        arguments: Of the command line; by default those of this process.
        stages: All stages, by name.
        out: Folder of the table, the outputs and, by default, the cache.
    """
    parser = argparse.ArgumentParser(prog="make ops-test", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(stages)}")
    named = parser.parse_args(arguments).stages
    if unknown := set(named) - set(stages):
        parser.error(f"unknown stage {', '.join(sorted(unknown))}; choose from {', '.join(stages)}")
    logs = out / "ops-test"
    logs.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OPS_CACHE", str(out / "ops-cache"))
    orphans.adopt()
    until = time.monotonic() + TOTAL_LIMIT
    results = []
    for stage in stages.values():
        if not named or stage.name in named:
            print(f"== {stage.name}: {stage.shows}", flush=True)
            results.append(run(stage, until=until, logs=logs))
            (out / "ops-test.md").write_text(table(results), encoding="utf-8")
    print("\n" + table(results), end="")
    bad = {"failed", "not run"} if named else {"failed"}
    return int(any(result.outcome in bad for result in results))


if __name__ == "__main__":
    # Ctrl-C and an end from outside are one case: stop the stage, remove what it left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
