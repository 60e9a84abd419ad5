"""What metrics and traces cost: the same requests with and without them.

Servers that differ only in their telemetry take turns, so that other load on the machine affects
each of them. The throughput is that of the CPU time that the server's processes spend on a request,
which other load hardly affects; the observed rates stand in the note.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs

from benchmarks.api import WORKERS, filled, free_port, serving
from benchmarks.figures import Figure
from benchmarks.load import load, request
from benchmarks.processes import command

CLIENTS = 8
ROUNDS = 5
SECONDS = 3.0

METRICS_AIM, TRACES_AIM = 0.95, 0.90
"""Share of the throughput that remains."""


@attrs.frozen
class Variant:
    """A server with some telemetry.

    Attributes:
        port: Where it answers.
        process: Its first process, whose children answer.
        rates: Answers a second, of each round.
        costs: CPU seconds for an answer, of each round.
    """

    port: int
    process: int
    rates: list[float] = attrs.field(factory=list)
    costs: list[float] = attrs.field(factory=list)

    def run(self, requests: list[bytes]) -> None:
        """Measure one round."""
        before = _cpu_seconds(self.process)
        done = load(self.port, requests, clients=CLIENTS, seconds=SECONDS, warm_up=0.0)
        if done.errors:
            raise RuntimeError(f"{done.errors} responses had an unexpected status")
        self.rates.append(done.rate)
        self.costs.append((_cpu_seconds(self.process) - before) / (done.rate * SECONDS))

    @property
    def throughput(self) -> float:
        """Answers in a second of CPU time, of the best round."""
        return 1.0 / min(self.costs)


def figures() -> Iterator[Figure]:
    from tests.collector import collecting

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = stack.enter_context(collecting())
        settings = {
            "none": {},
            "metrics": {"REBALANCER_METRICS_PORT": "0"},
            "traces of 1%": {"REBALANCER_OTLP_ENDPOINT": collector.endpoint},
            "metrics and traces of 1%": {
                "REBALANCER_METRICS_PORT": "0",
                "REBALANCER_OTLP_ENDPOINT": collector.endpoint,
            },
        }
        variants = {name: _start(stack, folder / "bench.db", one) for name, one in settings.items()}
        token, ids = filled(variants["none"].port)
        requests = [request("GET", f"/api/portfolios/{name}", token=token) for name in ids]
        for _ in range(ROUNDS):
            for variant in variants.values():
                variant.run(requests)
    plain = variants.pop("none")
    for name, variant in variants.items():
        yield Figure(
            subject="telemetry",
            what=f"GET /api/portfolios/{{id}} with {name}, a second of CPU time",
            unit="/s",
            ours=variant.throughput,
            peer_name="without telemetry",
            peer=plain.throughput,
            aim_ratio=METRICS_AIM if name == "metrics" else TRACES_AIM,
            note=f"{WORKERS} processes on SQLite, {CLIENTS} clients, {ROUNDS} rounds in turn; "
            f"median of the observed rates {statistics.median(variant.rates):,.0f} against "
            f"{statistics.median(plain.rates):,.0f} a second.",
        )


def _start(stack: ExitStack, database: Path, settings: dict[str, str]) -> Variant:
    port = free_port()
    arguments = [*command(), "serve", "--upgrade", "--port", str(port), "--workers", str(WORKERS)]
    common = {
        "REBALANCER_DATABASE_URL": f"sqlite:///{database}",
        "REBALANCER_PRICES": "sample",
        "REBALANCER_LOG_LEVEL": "warning",
        "REBALANCER_RATE_LIMIT": "0",  # all clients share one address
        "REBALANCER_LOGIN_LIMIT": "0",
    }
    process = stack.enter_context(serving(arguments, port, "/health/ready", common | settings))
    return Variant(port, process.pid)


def _cpu_seconds(process: int) -> float:
    """Return the CPU time of a process and its children so far (Linux: proc(5), stat)."""
    ticks = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if process in (int(folder.name), int(fields[1])):
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
