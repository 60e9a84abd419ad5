"""`rebalancer batch --all` killed at any moment, and resumed."""

import random
import signal
import sqlite3
import subprocess
from collections import Counter
from datetime import date
from uuid import UUID

import pytest

from rebalancer.application.ports.store import Database, UnitOfWork
from rebalancer.config import Settings
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.wiring import Sources, container
from tests.builders import USD, as_csv, prices
from tests.contracts.stores import a_deposit, a_managed, a_user
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT

COUNT = 3000


@pytest.fixture
def book(tmp_path):
    """Many portfolios of one owner in a database, some of which give no proposal."""
    (tmp_path / "prices.csv").write_text(as_csv(prices(5, 300)), encoding="utf-8")
    settings = Settings(database_url=f"sqlite:///{tmp_path}/rebalancer.db")
    wired = container(Sources(tmp_path / "prices.csv"), settings=settings)
    wired.get(Database).upgrade()
    owner, dice = a_user(), random.Random(0)
    with wired.get(UnitOfWork).begin() as tx:
        tx.users.add(owner)
        for number in range(COUNT):
            targets = {"A": dice.random() / 2, "gone" if number % 100 == 0 else "C": 0.4}
            entries = [a_deposit(dice.randrange(100, 10_000), on=date(2021, 2, 1))]
            mandate = Mandate(str(number), USD, targets)
            tx.portfolios.add(a_managed(owner.id, entries, mandate=mandate), entries)
    yield wired.get(UnitOfWork), owner.id
    wired.close()


def test_killed_at_any_moment_each_portfolio_has_one_proposal(book, tmp_path):
    work, owner = book
    command = [COMMAND, "batch", "--all", "--policy", "band", "--prices", "prices.csv", "--json"]
    dice = random.Random()  # any moment: another one each time
    killed = 0
    while not (runs := runs_in(tmp_path)) or runs[0]["finished"] is None:
        process = subprocess.Popen(
            [*command, "--resume"] if runs else command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=ENVIRONMENT,
            cwd=tmp_path,
        )
        try:
            _, complaint = process.communicate(timeout=dice.uniform(0.3, 2.5) if killed < 8 else 60)
            assert process.returncode == 3, complaint
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
    (run,) = runs
    with work.read() as tx:
        found = tx.proposals.of(owner, limit=10 * COUNT)
        failures = tx.runs.failures(UUID(run["id"]))
    assert {one.run for one in found} == {UUID(run["id"])}
    assert set(Counter(one.portfolio_id for one in found).values()) == {1}
    assert len(found) == run["proposed"] + run["nothing_to_do"] == COUNT - COUNT // 100
    assert len(failures) == run["failed"] == COUNT // 100
    assert all("gone" in why for _, why in failures)


def runs_in(folder):
    """What the database says of each run."""
    connection = sqlite3.connect(folder / "rebalancer.db", timeout=30)
    connection.row_factory = sqlite3.Row
    found = [dict(row) for row in connection.execute("SELECT * FROM batch_runs")]
    connection.close()
    return found
