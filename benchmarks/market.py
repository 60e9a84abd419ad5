"""Measure stored market data: import, the full read, windows, and the memory of each process.

Each step runs in a process of its own, as imports and servers do. Prices are random walks of US
equities with holidays and some missing closes; a tenth of the assets pays dividends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.figures import Figure

SYMBOLS = 500
"""Assets; ``--symbols 5000`` measures a large market."""

FIRST, LAST = "2006-01-02", "2026-01-02"
WINDOW = (500, 2_520)
"""Assets and days of a window."""

_AIM_SYMBOLS = 5_000
"""Market that the aims are for."""


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="rebalancer-bench-") as name:
        folder = Path(name)
        found = {step: _run(step, folder, SYMBOLS) for step in _STEPS}
    market = f"{SYMBOLS:,} assets x 20 years in SQLite"
    large = SYMBOLS >= _AIM_SYMBOLS

    def figure(what: str, unit: Any, step: str, key: str, aim: float | None, note: str) -> Figure:
        return Figure("market", what, unit, found[step][key], aim=aim if large else None, note=note)

    yield figure(f"import {market}", "s", "save", "seconds", None, "")
    yield figure("import: peak memory", "MB", "save", "peak", None, "")
    yield figure(
        f"full read: {market}, the first process of a host",
        "s",
        "first",
        "seconds",
        2.0,
        "from the database, checked, adjusted and written for other processes; "
        f"{found['first']['used']:.1f} s on the CPU",
    )
    yield figure("full read: peak memory", "MB", "first", "peak_of_read", 400.0, "")
    yield figure(
        "full read: a further process",
        "s",
        "further",
        "seconds",
        2.0,
        f"{found['further']['used']:.2f} s on the CPU",
    )
    assets, days = min(WINDOW[0], SYMBOLS), WINDOW[1]
    yield figure(f"window of {assets:,} x {days:,}", "s", "further", "window", 0.02, "not cached")
    yield figure(
        "memory of that process, without the shared copy",
        "MB",
        "further",
        "own",
        400.0,
        "after ten windows",
    )
    yield figure(
        "peak memory of that process, with the shared copy", "MB", "further", "peak", None, ""
    )


def _run(step: str, folder: Path, symbols: int) -> dict[str, float]:
    """Run a step in a process of its own; return its figures."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.market", step, str(folder), str(symbols)],
        capture_output=True,
        encoding="utf-8",
        env=os.environ,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _save(folder: Path, symbols: int) -> dict[str, float]:
    """Import a market of the given size."""
    from rebalancer.adapters.sql import migrations
    from rebalancer.adapters.sql.engine import connect
    from rebalancer.adapters.sql.market import SqlMarket
    from rebalancer.domain.market.actions import ActionKind, CorporateAction
    from rebalancer.domain.market.bars import Bars

    engine = connect(f"sqlite:///{folder / 'market.db'}")
    migrations.upgrade(engine)
    market = SqlMarket(engine)
    random = np.random.default_rng(1)
    days = np.arange(FIRST, LAST, dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    days = days[random.random(len(days)) > 9 / 261]  # holidays
    spent = 0.0
    for start in range(0, symbols, 100):
        bars = []
        for number in range(start, min(start + 100, symbols)):
            own = days[random.random(len(days)) > 0.002]
            closes = np.exp(3 + np.cumsum(random.normal(3e-4, 0.015, len(own))))
            bars.append(Bars(_symbol(number), own, closes.round(4), adjusted=False))
        begin = perf_counter()
        market.save_bars(bars, source="benchmark")
        spent += perf_counter() - begin
    paying = range(0, symbols, 10)
    quarters = [date(year, month, 15) for year in range(2007, 2026) for month in (2, 5, 8, 11)]
    begin = perf_counter()
    market.save_actions(
        CorporateAction(_symbol(number), day, ActionKind.DIVIDEND, Decimal("0.1"))
        for number in paying
        for day in quarters
    )
    return {"seconds": spent + perf_counter() - begin}


def _read(folder: Path, symbols: int) -> dict[str, float]:
    """Read all closes, then windows."""
    from rebalancer.adapters.mapped.histories import MappedHistories
    from rebalancer.adapters.sql.engine import connect
    from rebalancer.adapters.sql.market import SqlMarket
    from rebalancer.application.stored_market import StoredMarket

    engine = connect(f"sqlite:///{folder / 'market.db'}")
    market = StoredMarket(SqlMarket(engine), shared=MappedHistories(folder / "shared"))
    begin, used = perf_counter(), process_time()
    history = market.closes()
    found = {"seconds": perf_counter() - begin, "used": process_time() - used}
    found["peak_of_read"] = _memory()["peak"]
    random = np.random.default_rng(2)
    names = np.array(history.symbols)
    best = float("inf")
    for _ in range(10):
        some = random.choice(names, min(WINDOW[0], symbols), replace=False).tolist()
        begin = perf_counter()
        window = market.closes(some, days=WINDOW[1])
        best = min(best, perf_counter() - begin)
        if window.closes.shape != (WINDOW[1], len(some)):
            raise RuntimeError(f"a window has the shape {window.closes.shape}")
    return found | {"window": best}


def _symbol(number: int) -> str:
    return f"S{number:05}"


_STEPS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "save": _save,
    "first": _read,
    "further": _read,
}


def _memory() -> dict[str, float]:
    """Return the peak memory of this process, and what it has outside of files, in MB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own = sum(
        int(line.split()[1])
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines()
        if line.startswith("Anonymous:")
    )
    return {"peak": int(status["VmHWM"].split()[0]) / 1e3, "own": own / 1e3}


if __name__ == "__main__":
    step, place, count = sys.argv[1:]
    print(json.dumps(_STEPS[step](Path(place), int(count)) | _memory()))
