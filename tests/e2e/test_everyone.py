"""`rebalancer batch --all` killed at any moment, and resumed."""

import json
import random
import signal
import sqlite3
import subprocess
from collections import Counter
from datetime import date

import pytest

from rebalancer.application.ports import Database, UnitOfWork
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
    begun, killed = False, 0
    for _ in range(40):
        process = subprocess.Popen(
            [*command, "--resume"] if begun else command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=ENVIRONMENT,
            cwd=tmp_path,
        )
        patience = dice.uniform(0.3, 2.5) if killed < 8 else 60
        try:
            said, complaint = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
            # What was killed before it began has left nothing to resume.
            begun = begun or unfinished(tmp_path)
            continue
        assert process.returncode == 3, complaint
        break
    run = json.loads(said)
    with work.read() as tx:
        found = tx.proposals.of(owner, limit=10 * COUNT)
        assert {one.run for one in found} == {found[0].run}
        assert str(found[0].run) == run["run"]
        assert set(Counter(one.portfolio_id for one in found).values()) == {1}
        failures = tx.runs.failures(found[0].run)
    assert len(found) == run["proposed"] + run["nothing_to_do"] == COUNT - COUNT // 100
    assert len(failures) == run["failed"] == COUNT // 100
    assert [one["portfolio_id"] for one in run["failures"]] == [str(id) for id, _ in failures]
    assert all("gone" in why for _, why in failures)


def unfinished(folder):
    connection = sqlite3.connect(folder / "rebalancer.db")
    (count,) = connection.execute(
        "SELECT count(*) FROM batch_runs WHERE finished IS NULL"
    ).fetchone()
    connection.close()
    return bool(count)
