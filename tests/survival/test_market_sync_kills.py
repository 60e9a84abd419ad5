"""Synchronizing that is killed at any moment continues without loss, and without a second request.

The command runs as a process against a local internet; scheduled runs have a simulated clock.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import numpy as np

from rebalancer.adapters.market_data.providers.tiingo import Tiingo
from rebalancer.adapters.memory.market import MemoryCalendars, MemoryMarket
from rebalancer.adapters.memory.reference import MemoryReference
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.market import SqlMarket
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.market_schedule import ABANDONED, CLEAN_UP, RunSchedule
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.application.reference_data import ReadFacts, ReadSeries, RefreshReference
from rebalancer.application.stored_market import StoredMarket
from rebalancer.application.synchronize import SyncMarket
from rebalancer.domain.market.synchronization import TaskState
from tests import watchdog
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.internet import Internet, Reply, environment, wait_until

KEY = "planted-key-0123456789"
SYMBOLS = tuple(f"S{number:02}" for number in range(12))
KILLS = 3
WORKERS = 4
"""Assets that are fetched at the same time."""


class Shop:
    """A Tiingo whose assets have prices of two years, with dividends and a split."""

    def __init__(self, last: date) -> None:
        days = np.arange(last - timedelta(730), last + timedelta(1), dtype="datetime64[D]")
        self.days = [day for day in days.tolist() if day.weekday() < 5]

    def __call__(self, request):
        ticker = request.path.split("/")[3]
        since = request.parameter("startDate")
        rows = [self._row(int(ticker[1:]), day) for day in self.days if str(day) >= since]
        return Reply(body=json.dumps(rows))

    def _row(self, number, day):
        price = 100 + number + 0.25 * (day.toordinal() % 9)
        return {
            "date": f"{day}T00:00:00.000Z",
            **dict.fromkeys(("open", "high", "low", "close"), price),
            "volume": 1000,
            "divCash": 0.5 if day == self.days[40 + number] else 0.0,
            "splitFactor": 2.0 if day == self.days[60 + number] else 1.0,
        }


def asked(internet):
    """Return the symbols that were asked for, with repetitions."""
    return [one.path.split("/")[3].upper() for one in internet.requests("api.tiingo.com")]


def contents(market):
    """Return what a store has, in a form that can be compared."""
    bars = {
        symbol: {name: values.tolist() for name, values in one.columns().items()}
        for symbol, one in market.bars().items()
    }
    listed = sorted(market.instruments(), key=lambda one: one.symbol)
    return bars, tuple(market.actions()), listed


def rows(path, query):
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as database:
        try:
            return database.execute(query).fetchall()
        except sqlite3.OperationalError:  # its tables are not there yet
            return []


def test_a_killed_sync_goes_on_without_asking_again_for_what_is_stored(tmp_path, record_property):
    seed = int(time.time())
    record_property("seed", seed)
    dice = random.Random(seed)
    shop = Shop(datetime.now(UTC).date() - timedelta(1))
    path = tmp_path / "rebalancer.db"
    command = [COMMAND, "market", "sync", "--symbols", ",".join(SYMBOLS), "--provider", "tiingo"]

    def start():
        variables = ENVIRONMENT | internet.environment(tmp_path) | {"REBALANCER_TIINGO_KEY": KEY}
        process = subprocess.Popen(
            command,
            env=variables,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        watchdog.watch(process)
        return process

    with Internet({"api.tiingo.com": shop}) as internet:
        stored, repeated = set(), 0
        for kill in range(KILLS):
            internet.forget()
            process = start()
            if kill == 0:
                time.sleep(dice.uniform(0.3, 1.5))  # perhaps while the tables are created
            else:
                target = dice.randint(1, 5)
                wait_until(
                    lambda target=target, process=process: (
                        len(asked(internet)) >= target or process.poll() is not None
                    )
                )
                time.sleep(dice.uniform(0.0, 0.6))
            process.kill()
            process.communicate()
            watchdog.release(process)
            assert not stored & set(asked(internet))
            before = stored
            query = "SELECT symbol FROM sync_states WHERE through IS NOT NULL"
            stored = {symbol for (symbol,) in rows(path, query)}
            assert before <= stored
            repeated += len(set(asked(internet)) - stored)
        internet.forget()
        process = start()
        output, _ = process.communicate(timeout=300)
        watchdog.release(process)
        assert process.returncode == 0, output
        assert sorted(asked(internet)) == sorted(set(SYMBOLS) - stored)

        with environment(internet.environment(tmp_path)):
            provider = Tiingo(KEY)
            market, work = StoredMarket(MemoryMarket()), MemoryWork()
            chain = ProviderChain({"tiingo": provider})
            clock = lambda: datetime.now(UTC)  # noqa: E731
            SyncMarket(market, chain, work, MemoryCalendars({}), clock)(SYMBOLS)
            chain.close()

    engine = connect(f"sqlite:///{path}")
    assert contents(SqlMarket(engine)) == contents(market.store)
    engine.dispose()
    assert rows(path, "SELECT count(*) FROM bar_changes") == [(0,)]
    assert rows(path, "SELECT count(*) FROM market_actions") == [(2 * len(SYMBOLS),)]
    ((used,),) = rows(path, "SELECT used FROM provider_quotas WHERE provider = 'tiingo'")
    requests = len(SYMBOLS) + repeated
    assert requests <= used <= requests + WORKERS * KILLS


SCHEDULED = """
import sys, time
from tests.survival.test_market_sync_kills import schedule_of, MONDAY

schedule = schedule_of(sys.argv[1], MONDAY, stuck_at="AAB")
print("begins", flush=True)
schedule()
"""

FRIDAY = datetime(2024, 3, 8, 22, tzinfo=UTC)
MONDAY = datetime(2024, 3, 11, 22, tzinfo=UTC)
ASSETS = ("AAA", "AAB", "AAC")


def schedule_of(url, now, *, stuck_at=None):
    """Return the schedule of a worker at a time, whose provider never answers for one asset."""
    from tests.application.test_synchronize import WEEKDAYS, Clock, Source

    class Stuck(Source):
        def bars(self, symbol, *, since, now):
            if symbol == stuck_at:
                time.sleep(3600)
            return super().bars(symbol, since=since, now=now)

    engine = connect(url)
    clock, source, work = Clock(), Stuck(known=ASSETS), SqlWork(engine)
    clock.now = now
    market = StoredMarket(SqlMarket(engine), check_interval=0.0)
    calendars = MemoryCalendars({"XNYS": WEEKDAYS})
    chain = ProviderChain({"source": source})
    sync = SyncMarket(market, chain, work, calendars, clock)
    reading = [one(MemoryReference(), chain, clock) for one in (ReadFacts, ReadSeries)]
    return RunSchedule(sync, work, clock, RefreshReference(*reading))


def test_a_second_worker_completes_the_scheduled_run_of_a_killed_one(tmp_path, sqlite_template):
    path = tmp_path / "shared.db"
    path.write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{path}"
    first = schedule_of(url, FRIDAY)
    first.synchronize(ASSETS)
    first()
    process = subprocess.Popen(
        [sys.executable, "-c", SCHEDULED, url], stdout=subprocess.PIPE, encoding="utf-8"
    )
    watchdog.watch(process)
    query = "SELECT count(*) FROM sync_states WHERE through = '2024-03-11'"
    wait_until(lambda: rows(path, query) == [(2,)])  # it waits for the last asset
    process.kill()
    process.communicate()
    watchdog.release(process)

    second = schedule_of(url, MONDAY + ABANDONED)
    assert "bars:XNYS" not in [task.name for task in second()]  # the first one may be alive
    second = schedule_of(url, MONDAY + ABANDONED + timedelta(seconds=1))
    third = schedule_of(url, MONDAY + ABANDONED + timedelta(seconds=1))
    ran = {task.name: task for worker in (second, third) for task in worker()}
    assert [name for name in ran if name != CLEAN_UP] == ["bars:XNYS"]
    assert ran["bars:XNYS"].state is TaskState.DONE
    sources = [one.synchronize.chain.providers["source"] for one in (second, third)]
    assert [symbol for source in sources for symbol, _ in source.asked] == ["AAB"]
    stored = SqlMarket(connect(url)).bars()
    assert {symbol: one.days[-1].item() for symbol, one in stored.items()} == dict.fromkeys(
        ASSETS, date(2024, 3, 11)
    )


def test_a_worker_that_was_down_over_a_close_catches_up_once(tmp_path, sqlite_template):
    path = tmp_path / "shared.db"
    path.write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{path}"
    first = schedule_of(url, FRIDAY)
    first.synchronize(ASSETS)
    first()
    later = datetime(2024, 3, 14, 12, tzinfo=UTC)  # three closes later, before the next
    workers = [schedule_of(url, later) for _ in range(3)]
    ran = [task for worker in workers for task in worker() if task.name == "bars:XNYS"]
    assert [(task.state, task.detail) for task in ran] == [
        (TaskState.DONE, "3 assets, 9 days new or changed")
    ]
    asked_for = [
        symbol
        for worker in workers
        for symbol, _ in worker.synchronize.chain.providers["source"].asked
    ]
    assert sorted(asked_for) == list(ASSETS)
    assert ran[0].due == datetime(2024, 3, 14, 21, 30, tzinfo=UTC)


def test_no_secret_is_in_the_store_after_faults(tmp_path):
    def quoting(request):
        return Reply(400, json.dumps({"detail": f"bad token {KEY}, {request.headers}"}))

    with Internet({"api.tiingo.com": quoting}) as internet:
        done = subprocess.run(
            [COMMAND, "market", "sync", "--symbols", "AAA", "--provider", "tiingo"],
            env=ENVIRONMENT | internet.environment(tmp_path) | {"REBALANCER_TIINGO_KEY": KEY},
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
        )
    assert done.returncode == 3
    assert KEY not in done.stdout + done.stderr
    assert len(rows(tmp_path / "rebalancer.db", "SELECT fault FROM sync_states")) == 1
    for file in tmp_path.glob("rebalancer.db*"):
        assert re.search(KEY.encode(), file.read_bytes()) is None
