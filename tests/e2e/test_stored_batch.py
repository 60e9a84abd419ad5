"""`rebalancer batch --all`, killed at random moments and resumed, or shared by several."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from datetime import date
from decimal import Decimal
from uuid import UUID

import psutil
import pytest

from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.rebalance import BuildContext
from rebalancer.config import Settings
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.domain.portfolio.portfolio import Preferences
from rebalancer.wiring.container import build_container
from rebalancer.wiring.market import Sources
from tests.builders import USD, as_csv, prices
from tests.contracts.databases import new_database
from tests.contracts.stores import a_deposit, a_managed, a_user
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT

COUNT = 9000
"""Enough for a second worker process to start."""


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def filled(request, tmp_path_factory):
    """Fill a database with many portfolios of one owner; some of them cannot have a proposal."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "prices.csv").write_text(as_csv(prices(5, 300)), encoding="utf-8")
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        url = f"sqlite:///{shutil.copy(template, folder / 'rebalancer.db')}"
        fill(url, folder)
        yield url, folder
        return
    server = request.getfixturevalue("postgres_url")
    with new_database(server, request.getfixturevalue("postgres_template")) as url:
        fill(url, folder)
        yield url, folder


def fill(url, folder):
    wired = build_container(Sources(folder / "prices.csv"), settings=Settings(database_url=url))
    owner, dice = a_user(email="owner@example.org"), random.Random(0)
    with wired.get(UnitOfWork).begin() as tx:
        tx.users.add(owner)
        for number in range(COUNT):
            targets = {"A": dice.random() / 2, "C": 0.4}
            entries = [a_deposit(dice.randrange(100, 10_000), on=date(2021, 2, 1))]
            reserve = Decimal(20_000 if number % 100 == 0 else 0)
            mandate = Mandate(
                str(number), USD, targets, preferences=Preferences(cash_reserve=reserve)
            )
            tx.portfolios.add(a_managed(owner.id, entries, mandate=mandate), entries)
    wired.close()


@pytest.fixture
def book(filled):
    url, folder = filled
    wired = build_container(Sources(folder / "prices.csv"), settings=Settings(database_url=url))
    yield wired, folder, ENVIRONMENT | {"REBALANCER_DATABASE_URL": url}
    wired.close()


def batch(folder, environment, policy, *options):
    command = [COMMAND, "batch", "--all", "--policy", policy, "--prices", "prices.csv", "--json"]
    return subprocess.Popen(
        [*command, "--workers", "2", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment,
        cwd=folder,
    )


def unfinished(wired, policy):
    terms = wired.get(BuildContext)(policy_name=policy, costs=CostModel.flat(10.0), currency="USD")
    with wired.get(UnitOfWork).read() as tx:
        return tx.runs.find_unfinished(terms.digest)


def check(wired, run):
    """Assert that each portfolio has one proposal or one failure."""
    with wired.get(UnitOfWork).read() as tx:
        owner = tx.users.by_email("owner@example.org")
        found = [one for one in tx.proposals.page(owner.id, limit=10 * COUNT) if one.run == run]
        failures, ended = tx.runs.failures(run), tx.runs.get(run)
    assert set(Counter(one.portfolio_id for one in found).values()) == {1}
    assert len(found) == ended.proposed + ended.nothing == COUNT - COUNT // 100
    assert len(failures) == ended.failed == COUNT // 100
    assert all("a reserve of 20000" in why for _, why in failures)
    assert ended.finished is not None and ended.done == ended.chunks > 16


def test_batch_killed_at_random_moments_proposes_once_per_portfolio(book):
    wired, *where = book
    dice = random.Random()  # different moments in each run
    killed, run = 0, None
    while True:
        process = batch(*where, "band", *(["--resume"] if run else []))
        try:
            out, errors = process.communicate(
                timeout=dice.uniform(0.5, 2.5 if killed else 1.5) if killed < 6 else 120
            )
            assert process.returncode == 3, errors
            run = run or UUID(json.loads(out)["run"])
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
        left = unfinished(wired, "band")
        if run and left is None:  # the kill came after the last chunk
            break
        run = run or (left and left.id)
    assert killed
    check(wired, run)


def test_work_of_killed_process_is_done_by_others(book):
    wired, *where = book
    process = batch(*where, "monthly")
    victims = 0
    while process.poll() is None:
        time.sleep(0.4)
        with suppress(psutil.NoSuchProcess):
            mine = psutil.Process(process.pid).children()
            workers = [one for one in mine if "spawn_main" in " ".join(one.cmdline())]
            if workers and victims < 1 and (run := unfinished(wired, "monthly")) and run.done:
                os.kill(workers[0].pid, signal.SIGKILL)
                victims += 1
                last = run.id
    out, errors = process.communicate()
    assert process.returncode == 3, errors
    assert victims == 1
    assert str(last) in out
    check(wired, last)


def test_two_commands_share_a_run(book):
    wired, *where = book
    first = batch(*where, "trend")
    while (run := unfinished(wired, "trend")) is None:
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    second = batch(*where, "trend", "--resume")
    done = [process.communicate() for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [3, 3], done
    assert all(str(run.id) in out for out, _ in done)
    check(wired, run.id)
