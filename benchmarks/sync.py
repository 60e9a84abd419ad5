"""Measure synchronizing with a provider: reading an answer, and many assets from a local server.

A server in a process of its own answers as Yahoo Finance does, through real TLS and the real
client. The pace is lifted, since no time of a person's server is spent; what storing takes is
counted apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.figures import Figure, best_of

SYMBOLS = 100
"""Assets; ``--symbols 500`` measures a larger market."""

_YEARS = 10
_LAST = "2026-01-02"
_NOW = datetime(2026, 1, 3, 12, tzinfo=UTC)
_AIM_SYMBOLS = 500
"""Assets that the aim for storing is for."""


def figures() -> Iterator[Figure]:
    """Measure reading one answer, then a first and a repeated synchronization."""
    content = _chart(1)
    yield Figure(
        "sync",
        f"read an answer: {_YEARS} years of an asset, with dividends and a split",
        "s",
        best_of(lambda: _read(content))[0],
        aim=0.003,
        note=f"{len(content) / 1000:,.0f} kB of JSON, to bars as traded and corporate actions",
    )
    with tempfile.TemporaryDirectory(prefix="rebalancer-bench-") as name:
        folder = Path(name)
        with _serving(folder) as environment:
            first = _run("fetch", folder, environment)
            again = _run("again", folder, environment)
    market = f"{SYMBOLS:,} assets x {_YEARS} years"
    yield Figure(
        "sync",
        f"synchronize {market} for the first time, without a pace",
        "s",
        first["seconds"],
        note=f"{first['used']:.1f} s on the CPU; at Yahoo's pace of 4 a second it takes "
        f"{SYMBOLS / 4:,.0f} s",
    )
    yield Figure(
        "sync",
        f"of which storing {market} in SQLite",
        "s",
        first["storing"],
        aim=10.0 if SYMBOLS <= _AIM_SYMBOLS else None,
    )
    yield Figure("sync", "peak memory", "MB", first["peak"])
    yield Figure(
        "sync",
        f"synchronize {SYMBOLS:,} assets again, ten days of each",
        "s",
        again["seconds"],
        note=f"{again['used']:.1f} s on the CPU",
    )


def _chart(number: int, first: str | None = None) -> bytes:
    """Return Yahoo's answer for an asset: prices adjusted for splits, as float32."""
    random = np.random.default_rng(number)
    begins = np.datetime64(_LAST) - np.timedelta64(366 * _YEARS, "D")
    days = np.arange(begins, np.datetime64(_LAST), dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    close = np.exp(4 + np.cumsum(random.normal(3e-4, 0.015, len(days))))
    spread = 1 + random.random(len(days)) * 0.02
    asked = slice(None) if first is None else days >= np.datetime64(first, "D")
    stamps = (days.astype("datetime64[s]").astype(int) + 52_200).tolist()
    columns = {"open": close, "high": close * spread, "low": close / spread, "close": close}
    quote = {name: _float32(values[asked]) for name, values in columns.items()}
    quote["volume"] = random.integers(100_000, 10_000_000, len(days))[asked].tolist()
    paid = {str(stamps[at]): {"amount": 0.25, "date": stamps[at]} for at in range(30, 2500, 63)}
    split = {"date": stamps[1000], "numerator": 4.0, "denominator": 1.0}
    result = {
        "meta": {
            "currency": "USD",
            "exchangeName": "NMS",
            "instrumentType": "EQUITY",
            "gmtoffset": -18_000,
            "longName": f"Asset {number}",
        },
        "timestamp": np.array(stamps)[asked].tolist(),
        "events": {"dividends": paid, "splits": {str(stamps[1000]): split}},
        "indicators": {
            "quote": [quote],
            "adjclose": [{"adjclose": quote["close"]}],
        },
    }
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


def _float32(values: Any) -> list[float]:
    found: list[float] = values.astype(np.float32).astype(float).tolist()
    return found


def _read(content: bytes) -> object:
    import msgspec

    from rebalancer.adapters.market_data.providers.yahoo_chart import ChartAnswer, read_chart

    charts = msgspec.json.decode(content, type=ChartAnswer).chart.result or []
    return read_chart("S1", charts[0], None, _NOW)


@contextmanager
def _serving(folder: Path) -> Iterator[dict[str, str]]:
    """Run the server; yield the variables with which clients reach it."""
    command = [sys.executable, "-m", "benchmarks.sync", "serve", str(folder), str(SYMBOLS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.stdin.close()  # the server ends with it


def _serve(folder: Path, symbols: int) -> None:
    """Answer until the standard input ends."""
    from tests.internet import Internet, Reply, Request

    charts = {f"S{number:04}": _chart(number) for number in range(symbols)}
    recent = {f"S{number:04}": _chart(number, "2025-12-20") for number in range(symbols)}

    def answer(request: Request) -> Reply:
        symbol = request.path.rpartition("/")[2]
        begins = int(request.parameter("period1") or 0)
        return Reply(body=(charts if begins < 1_000_000_000 else recent)[symbol])

    with Internet({"query2.finance.yahoo.com": answer}) as internet:
        print(json.dumps(internet.environment(folder)), flush=True)
        sys.stdin.read()


def _run(step: str, folder: Path, environment: dict[str, str]) -> dict[str, float]:
    """Run a step in a process of its own; return its figures."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sync", step, str(folder), str(SYMBOLS)],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | environment,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _synchronize(folder: Path, symbols: int, *, days: float) -> dict[str, float]:
    """Synchronize all assets, some days after the first time."""
    from datetime import timedelta

    from rebalancer.adapters.market_data.calendars import ExchangeCalendars
    from rebalancer.adapters.market_data.providers.guard import GuardedProvider, Pace
    from rebalancer.adapters.market_data.providers.yahoo import Yahoo
    from rebalancer.adapters.sql import migrations
    from rebalancer.adapters.sql.engine import connect
    from rebalancer.adapters.sql.market import SqlMarket
    from rebalancer.adapters.sql.work import SqlWork
    from rebalancer.application.provider_chain import ProviderChain
    from rebalancer.application.stored_market import StoredMarket
    from rebalancer.application.synchronize import SyncMarket

    engine = connect(f"sqlite:///{folder / 'market.db'}")
    migrations.upgrade(engine)
    spent = [0.0]

    class Timed(StoredMarket):
        """Counts the seconds of storing."""

        def save_bars(self, *given: Any, **options: Any) -> int:
            return _count(spent, super().save_bars, *given, **options)

        def save_actions(self, *given: Any, **options: Any) -> int:
            return _count(spent, super().save_actions, *given, **options)

        def save_instruments(self, *given: Any) -> int:
            return _count(spent, super().save_instruments, *given)

    work = SqlWork(engine)

    def clock() -> datetime:
        return _NOW + timedelta(days=days)

    provider = GuardedProvider(Yahoo(), Pace(rates=((1_000_000, 1.0),)), work, clock)
    chain = ProviderChain({"yahoo": provider})
    run = SyncMarket(Timed(SqlMarket(engine)), chain, work, ExchangeCalendars(), clock)
    begin, used = perf_counter(), process_time()
    report = run([f"S{number:04}" for number in range(symbols)])
    found = {"seconds": perf_counter() - begin, "used": process_time() - used}
    chain.close()
    if report.failed:
        raise RuntimeError(report.failed[0].fault)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return found | {"storing": spent[0], "peak": int(status["VmHWM"].split()[0]) / 1e3}


def _count(spent: list[float], save: Callable[..., int], *given: Any, **options: Any) -> int:
    begin = perf_counter()
    try:
        return save(*given, **options)
    finally:
        spent[0] += perf_counter() - begin


if __name__ == "__main__":
    step, place, count = sys.argv[1:]
    if step == "serve":
        _serve(Path(place), int(count))
    else:
        days = 0.0 if step == "fetch" else 4.0
        print(json.dumps(_synchronize(Path(place), int(count), days=days)))
