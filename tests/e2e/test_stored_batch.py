"""`rebalancer batch --all`, killed at random moments and resumed, or shared by several."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

import attrs
import psutil
import pytest

from rebalancer.application.batch import ProposeForEveryone
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

COUNT, CHUNK = 3000, 120
"""Portfolios, and those of a chunk: so many chunks that a second worker process starts."""


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


def terms(wired, policy):
    return wired.get(BuildContext)(policy_name=policy, costs=CostModel.flat(10.0), currency="USD")


def begin(wired, policy):
    """Begin a run with small chunks, which the commands resume; return its id."""
    use = attrs.evolve(wired.get(ProposeForEveryone), chunk_size=CHUNK)
    return use.begin(terms(wired, policy), id=uuid4(), now=datetime.now(UTC)).id


def unfinished(wired, policy):
    with wired.get(UnitOfWork).read() as tx:
        return tx.runs.find_unfinished(terms(wired, policy).digest)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


def check(wired, run, chunks=17):
    """Assert that each portfolio has one proposal or one failure, of at least ``chunks`` chunks."""
    with wired.get(UnitOfWork).read() as tx:
        owner = tx.users.by_email("owner@example.org")
        found = [one for one in tx.proposals.page(owner.id, limit=10 * COUNT) if one.run == run]
        failures, ended = tx.runs.failures(run), tx.runs.get(run)
    assert set(Counter(one.portfolio_id for one in found).values()) == {1}
    assert len(found) == ended.proposed + ended.nothing == COUNT - COUNT // 100
    assert len(failures) == ended.failed == COUNT // 100
    assert all("a reserve of 20000" in why for _, why in failures)
    assert ended.finished is not None and ended.done == ended.chunks >= chunks


def test_batch_killed_while_it_begins_has_begun_or_not(book):
    wired, *where = book
    process = batch(*where, "buy_and_hold")
    time.sleep(random.uniform(0.5, 1.5))  # different moments in each run
    kill(process)
    left = unfinished(wired, "buy_and_hold")
    assert left is None or left.chunks == -(-COUNT // 512)


def test_batch_killed_at_random_moments_proposes_once_per_portfolio(book):
    wired, *where = book
    run, killed = begin(wired, "band"), 0
    while (left := unfinished(wired, "band")) and killed < 3:
        process = batch(*where, "band", "--resume")
        while process.poll() is None and (now := unfinished(wired, "band")):
            if now.done > left.done:
                break
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.1))  # different moments in each run
        killed += process.poll() is None
        kill(process)
    if left:
        process = batch(*where, "band", "--resume")
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 3, errors
        assert str(run) in out
    assert killed
    check(wired, run)


def test_work_of_killed_process_is_done_by_others(book):
    wired, *where = book
    victims = 0
    for _ in range(10):  # again if the first process was too fast for the second
        run = begin(wired, "monthly")
        process = batch(*where, "monthly", "--resume")
        while process.poll() is None and not victims:
            time.sleep(0.05)
            with suppress(psutil.NoSuchProcess):
                mine = psutil.Process(process.pid).children()
                workers = [one for one in mine if "spawn_main" in " ".join(one.cmdline())]
                if workers and (left := unfinished(wired, "monthly")) and left.done:
                    os.kill(workers[0].pid, signal.SIGKILL)
                    victims += 1
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 3, errors
        assert str(run) in out
        check(wired, run)
        if victims:
            break
    assert victims


def test_two_commands_share_a_run(book):
    wired, *where = book
    for _ in range(10):  # again if one had finished the run before the other looked for it
        run = begin(wired, "trend")
        both = [batch(*where, "trend", "--resume") for _ in range(2)]
        done = [process.communicate(timeout=120) for process in both]
        check(wired, run)
        if not any("no unfinished run" in errors for _, errors in done):
            break
    assert [process.returncode for process in both] == [3, 3], done
    assert all(str(run) in out for out, _ in done)


def test_run_is_shared_by_commands_that_give_its_id(book):
    """Of three commands one is killed in the middle, and a late one joins the finished run."""
    wired, *where = book
    use = attrs.evolve(wired.get(ProposeForEveryone), chunk_size=CHUNK)
    run = use.begin(terms(wired, "trend"), id=uuid4(), now=datetime.now(UTC)).id
    victim, *others = (batch(*where, "trend", "--run", str(run)) for _ in range(3))
    while not use.read(run).done:
        assert victim.poll() is None
        time.sleep(0.01)
    kill(victim)
    done = [process.communicate(timeout=120) for process in others]
    late = batch(*where, "trend", "--run", str(run))
    done.append(late.communicate(timeout=120))
    assert [process.returncode for process in (*others, late)] == [3, 3, 3], done
    (summary,) = {out for out, _ in done}
    assert str(run) in summary
    check(wired, run)


def test_commands_begin_one_run_at_the_same_moment(book):
    wired, *where = book
    run = uuid4()
    both = [batch(*where, "quarterly", "--run", str(run)) for _ in range(2)]
    done = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [3, 3], done
    assert len({out for out, _ in done}) == 1
    check(wired, run, chunks=-(-COUNT // 512))


def test_run_of_other_inputs_or_of_another_release_cannot_be_joined(book):
    wired, *where = book
    ours = wired.get(ProposeForEveryone)
    theirs = attrs.evolve(ours, release="0.0.1")
    for use, policy, fault in (
        (ours, "monthly", "began with other prices, another policy or other costs"),
        (theirs, "band", "began with release 0.0.1 of rebalancer, and this is"),
    ):
        run = use.begin(terms(wired, policy), id=uuid4(), now=datetime.now(UTC)).id
        process = batch(*where, "band", "--run", str(run))
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2
        assert f"run {run} {fault}" in errors
        assert "Choose another --run." in errors
