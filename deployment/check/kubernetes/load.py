"""Requests at a steady rate, and how they were answered."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

RATE = 80
"""Requests a second, as many as these tests promise to survive an update."""

_CLIENTS = 20


@attrs.define
class Report:
    """What came of the requests; complete when they have ended.

    Attributes:
        statuses: Answers by status.
        errors: Requests without an answer, by reason.
        seconds: How long requests were sent.
        slowest: Longest time of an answer, in seconds.
    """

    statuses: dict[int, int] = attrs.field(factory=dict)
    errors: dict[str, int] = attrs.field(factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0

    @property
    def total(self) -> int:
        """Number of requests."""
        return sum(self.statuses.values()) + sum(self.errors.values())

    def check(self) -> str:
        """Return what came of the requests, in a few words.

        Raises:
            AssertionError: a request failed, or fewer were sent than at three quarters of the rate.
        """
        failed = {status: n for status, n in self.statuses.items() if status != 200}
        assert not failed and not self.errors, f"{self.statuses} {self.errors}"
        rate = self.total / self.seconds
        assert rate > 0.75 * RATE, f"only {rate:.0f} requests a second"
        return (
            f"{self.statuses[200]} of {self.total} requests answered 200, {rate:.0f}/s for "
            f"{self.seconds:.0f} s, the slowest in {self.slowest:.1f} s"
        )


@contextmanager
def requests(
    url: str, token: str, environment: Mapping[str, str], folder: Path
) -> Iterator[Report]:
    """Send requests for an address until the end of the block, each on a new connection."""
    report = Report()
    output = folder / "hey.txt"
    command = ["hey", "-z", "30m", "-c", str(_CLIENTS), "-q", str(RATE // _CLIENTS), "-t", "20"]
    headers = ["-disable-keepalive", "-H", f"Authorization: Bearer {token}"]
    with output.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*command, *headers, url], env=environment, stdout=file, stderr=file
        )
        started = time.monotonic()
        try:
            time.sleep(3)
            yield report
            time.sleep(3)
        finally:
            report.seconds = time.monotonic() - started
            process.send_signal(signal.SIGINT)  # it prints what it counted
            try:
                process.wait(40)
            finally:
                process.kill()
    text = output.read_text(encoding="utf-8")
    for status, count in re.findall(r"^ +\[([0-9]{3})\]\s+([0-9]+) responses", text, re.MULTILINE):
        report.statuses[int(status)] = int(count)
    _, _, errors = text.partition("Error distribution:")
    for count, reason in re.findall(r"^ +\[([0-9]+)\]\s+(.+)$", errors, re.MULTILINE):
        report.errors[reason] = int(count)
    if found := re.search(r"Slowest:\s+([0-9.]+) secs", text):
        report.slowest = float(found[1])
