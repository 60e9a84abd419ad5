"""Measure the audit trail: writing, sealing, checking, and logins of several threads meanwhile.

    python benchmarks/audit_trail.py [--events 20000] [--postgres URL]

The URL names an empty database. Without it a SQLite file in a temporary folder is measured.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.migrations import upgrade
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.audit import current_origin, record
from rebalancer.application.audit_trail import SealAuditTrail, VerifyAuditTrail
from rebalancer.domain.audit.events import Action, Origin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--postgres", metavar="URL")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        engine = connect(options.postgres or f"sqlite:///{Path(folder) / 'audit.db'}")
        upgrade(engine)
        measure(SqlWork(engine), options.events)
        engine.dispose()


def measure(work: SqlWork, events: int) -> None:
    seal, now = SealAuditTrail(work), datetime.now(UTC)
    count = max(1, events // 20)
    report("transaction of one event", count, timed(lambda: write(work, count)))
    print("the same with sealing at the same time:")
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        sealing = pool.submit(lambda: [seal(now) for _ in iter(ended.is_set, True)])
        report("transaction of one event", count, timed(lambda: write(work, count)))
        ended.set()
        sealing.result()
    with work.begin() as tx:
        for _ in range(events):
            record(tx, Action.LOGIN, at=now, actor=uuid4())
    report("sealing", events, timed(lambda: seal(now)))
    report("checking", events, timed(lambda: VerifyAuditTrail(work)()))
    with work.read() as tx:
        started = time.perf_counter()
        for _ in range(100):
            tx.audit.page(limit=20)
        report("a page of 20", 100, time.perf_counter() - started)


def write(work: SqlWork, count: int) -> None:
    current_origin.set(Origin("http", "203.0.113.7", uuid4().hex, "curl/8"))
    for _ in range(count):
        with work.begin() as tx:
            record(tx, Action.LOGIN, at=datetime.now(UTC), actor=uuid4())


def timed(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def report(what: str, count: int, seconds: float) -> None:
    print(f"{what}: {seconds / count * 1e6:.0f} us each, {count / seconds:.0f} a second")


if __name__ == "__main__":
    main()
