"""Use the complete system while its parts are killed, and check that every response holds.

``python -m tests.survival.soak --kills 100`` stops after that many kills and then checks: every
deposit and every accepted order is in the ledger exactly once, money adds up to the cent, each
portfolio and proposal is stored exactly once, each accepted job was completed, each portfolio of a
batch has one proposal, no session was lost or is alive again, no notice was lost or sent in two
messages, no response was an internal error, and the API recovered by itself. Options add SQLite,
pairs of kills, kills during starts and the migration, a full disk and jumps of the clock;
``make soak`` runs three combinations.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import attrs
from rich.console import Console
from rich.table import Table

from rebalancer.application.ports.reports import Reports
from rebalancer.application.ports.store import Database, Transaction, UnitOfWork
from rebalancer.domain.jobs.job import JobState
from rebalancer.domain.portfolio.ledger import TRADES, EntryKind
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.rebalancing.lifecycle import Stage
from rebalancer.wiring.container import build_container
from rebalancer.wiring.market import Sources
from tests.entrypoints.conftest import COMMAND
from tests.survival.clients import ApiClient, ConfirmedEffects
from tests.survival.faults import Faults, Plan, interrupt_migrations
from tests.survival.notices import NoticeLog, Receiver
from tests.survival.sessions import SessionClient, SessionLog
from tests.survival.system import BOOK, BOOK_OWNER, System, running_system, until

USERS, SHARED = 4, 3
"""Number of registered users, and of portfolios of each."""

GUESTS = 2
"""Clients that register, refresh and log out."""

Fill = tuple[str, str, Decimal, Decimal, Decimal, Decimal]
"""Side, symbol, quantity, price, value and cost of a trade."""


@attrs.define
class Report:
    """Results of a soak.

    Attributes:
        kills: Number of kills of each part.
        confirmed: Effects that the API has confirmed.
        recoveries: Seconds until the API was ready again after a server was killed, by server.
        runs: Finished batch runs.
        attempts: Number of jobs by their number of attempts.
        given_up: Jobs that failed after their last permitted attempt.
        sessions: Accounts and sessions that the API has confirmed.
        notices: Notices that were raised.
        others: Number of faults other than kills, by name.
        seconds: Duration.
        findings: Violations in words; empty if everything held.
    """

    kills: Counter[str] = attrs.field(factory=Counter)
    confirmed: ConfirmedEffects = attrs.field(factory=ConfirmedEffects)
    recoveries: dict[str, list[float]] = attrs.field(factory=dict)
    runs: list[UUID] = attrs.field(factory=list)
    attempts: Counter[int] = attrs.field(factory=Counter)
    given_up: int = 0
    sessions: SessionLog = attrs.field(factory=SessionLog)
    notices: NoticeLog = attrs.field(factory=NoticeLog)
    others: Counter[str] = attrs.field(factory=Counter)
    seconds: float = 0.0
    findings: list[str] = attrs.field(factory=list)


def soak(
    folder: Path,
    *,
    kills: int,
    clients: int,
    seed: int,
    seconds: float = 0.0,
    sqlite: bool = False,
    plan: Plan = Plan(),  # noqa: B008  # frozen
    migrations: int = 0,
    job_attempts: int = 50,
) -> Report:
    """Run clients, kill parts of the system, and check the result.

    Args:
        folder: For logs.
        kills: Number of kills.
        clients: Number of concurrent clients.
        seed: Of the random choices; their timing still differs between runs.
        seconds: Minimum duration.
        sqlite: Use one file instead of Postgres, Valkey and the MongoDB stand-in.
        plan: Faults besides single kills.
        migrations: How often the creation of the tables is killed.
        job_attempts: Attempts of a job before it has failed.
    """
    report, dice = Report(), random.Random(seed)

    def migrate(environment: dict[str, str]) -> None:
        if migrations:
            report.kills["a migration"] = interrupt_migrations(environment, migrations, dice)

    with running_system(
        folder,
        users=USERS,
        # The batch uses the processors of the API with SQLite, and only runs with kills.
        book=BOOK // 5 if sqlite or not kills else BOOK,
        sqlite=sqlite,
        job_attempts=job_attempts,
        migrate=migrate,
    ) as system:
        began, stop = time.monotonic(), threading.Event()
        active = [
            ApiClient(system, f"user{n % USERS}@example.org", report.confirmed, seed + n)
            for n in range(clients)
        ]
        for client in active:
            client.log_in()
        portfolios = {
            client.email: [client.open() for _ in range(SHARED)] for client in active[:USERS]
        }
        guests = [SessionClient(system, report.sessions, seed + n) for n in range(GUESTS)]
        receiver = Receiver(seed)
        threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True).start()
        with ThreadPoolExecutor(clients + GUESTS + 2) as threads:
            work: list[Future[None]] = [
                threads.submit(client.live, portfolios[client.email], stop) for client in active
            ]
            batches = Batches(system, report)
            if kills:
                work.append(threads.submit(batches.run, stop))
                work.append(threads.submit(report.notices.run, system, receiver, stop))
                work += [threads.submit(guest.live, stop) for guest in guests]
            faults = Faults(system, plan, batches.kill, dice)
            try:
                faults.cause(kills)
                time.sleep(max(0.0, seconds - (time.monotonic() - began)))
                system.wait()
                until(report.confirmed.of_each_kind, "an effect of each kind", 180)
            finally:
                stop.set()
            for one in work:
                try:
                    error = one.exception(180)
                except TimeoutError:
                    error = TimeoutError("it does not stop")
                if error is not None:
                    report.findings.append(f"a client ended with {error!r}")
        for client in (*active, *guests):
            client.http.close()
        report.sessions.check(system)
        report.notices.check(system, receiver)
        receiver.shutdown()
        receiver.server_close()
        report.seconds = time.monotonic() - began
        report.kills += faults.kills
        report.others += faults.others
        report.recoveries |= faults.recoveries
        for one in (system.api, *system.workers):
            report.findings += [
                f"{one.name} has ended by itself, with code {code}" for code in one.failures
            ]
        _check(system, report, job_attempts)
    return report


class Batches:
    """Repeated runs of `rebalancer batch --all`; a killed one is resumed."""

    def __init__(self, system: System, report: Report) -> None:
        self.system, self.report = system, report
        self.process: subprocess.Popen[str] | None = None

    def run(self, stop: threading.Event) -> None:
        """Run batches until ``stop`` is set, one has finished, and the last one has, too."""
        resume, finished, latest, errors = False, False, 0.0, ""
        while not stop.is_set() or resume or not finished:
            if stop.is_set():
                latest = latest or time.monotonic() + 120
                if time.monotonic() > latest:
                    raise AssertionError(f"the last batch does not end: {errors}")
            command = [COMMAND, "batch", "--all", "--policy", "monthly", "--workers", "2", "--json"]
            self.process = subprocess.Popen(
                [*command, *(["--resume"] if resume else [])],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                env=self.system.environment,
                cwd=self.system.folder,
            )
            _, errors = self.process.communicate()
            done = self.process.returncode == 0
            finished |= done
            resume = not done and "no unfinished run" not in errors
            time.sleep(0.3)

    def kill(self) -> bool:
        """Kill the running batch; return False without one."""
        if self.process is None or self.process.poll() is not None:
            return False
        self.process.kill()
        return True


def _check(system: System, report: Report, job_attempts: int) -> None:
    """Compare the confirmed effects with the stored data."""
    confirmed, findings = report.confirmed, report.findings
    findings += confirmed.wrong + report.sessions.wrong + report.notices.wrong
    wired = build_container(Sources(), settings=system.settings())
    work = wired.get(UnitOfWork)

    def left() -> bool:
        with work.read() as tx:
            open_ones = frozenset({JobState.QUEUED, JobState.RUNNING})
            return bool(tx.jobs.page(states=open_ones, limit=1))

    try:
        until(lambda: not left(), "jobs to end", 180)
    except AssertionError as error:
        findings.append(str(error))
    findings += wired.get(Database).findings()
    reports = wired.get(Reports)
    with work.read() as tx:
        stored = {str(job.id): job for job in tx.jobs.page(limit=100_000)}
        for id in confirmed.jobs:
            job = stored.get(id)
            if job and job.state is JobState.FAILED and job.attempts >= job_attempts:
                report.given_up += 1
            elif job is None or job.state is not JobState.SUCCEEDED or job.result is None:
                state = job and (job.state.value, job.error)
                findings.append(f"job {id} was accepted and is {state}")
            elif reports.get(job.id).document["result"] != job.result:
                findings.append(f"job {id} has another report than result")
        report.attempts.update(job.attempts for job in stored.values())
        owners: list[UUID] = []
        for number in range(USERS):
            user = tx.users.by_email(f"user{number}@example.org")
            assert user is not None
            for portfolio in tx.portfolios.page(user.id, limit=100_000):
                check_portfolio(tx, portfolio, confirmed, findings)
            owners.append(user.id)
        check_counts(tx, owners, confirmed, findings)
        findings += [
            f"account {email} was registered and is lost"
            for email in report.sessions.accounts
            if tx.users.by_email(email) is None
        ]
        check_runs(tx, report, book=system.book)
    wired.close()


def check_counts(
    tx: Transaction, owners: list[UUID], confirmed: ConfirmedEffects, findings: list[str]
) -> None:
    """Check that exactly the confirmed portfolios and proposals are stored."""
    portfolios = Counter(
        str(one.id) for owner in owners for one in tx.portfolios.page(owner, limit=100_000)
    )
    proposals = Counter(
        str(one.id)
        for owner in owners
        for one in tx.proposals.page(owner, limit=100_000)
        if one.run is None
    )
    for what, stored, promised in (
        ("portfolios", portfolios, Counter(confirmed.portfolios)),
        ("proposals", proposals, Counter(confirmed.proposals)),
    ):
        if extra := stored - promised:
            findings.append(f"{extra.total()} {what} are stored twice or were never confirmed")
        if lost := promised - stored:
            findings.append(f"{lost.total()} {what} were confirmed and are lost")


def check_portfolio(
    tx: Transaction, portfolio: ManagedPortfolio, confirmed: ConfirmedEffects, findings: list[str]
) -> None:
    """Check that a portfolio's ledger has exactly the confirmed effects."""
    ledger = tx.portfolios.ledger(portfolio.id)
    id = str(portfolio.id)
    if portfolio.positions.cash < 0:
        findings.append(f"{id} has cash {portfolio.positions.cash}")
    # Every flow once: the confirmed ones, and the opening deposit.
    flows = Counter(
        entry.amount if entry.kind is EntryKind.DEPOSIT else -entry.amount
        for entry in ledger.entries
        if entry.kind in (EntryKind.DEPOSIT, EntryKind.WITHDRAWAL)
    )
    expected = Counter(amount for (which, _), amount in confirmed.deposits.items() if which == id)
    expected[Decimal("10000.00")] += 1
    if flows != expected:
        findings.append(f"{id}: flows {flows - expected} too many, {expected - flows} missing")
    # Every order of an executed proposal once, as it was proposed, and no other.
    fills: dict[UUID | None, Counter[Fill]] = defaultdict(Counter)
    for entry in ledger.entries:
        if entry.kind in TRADES:
            assert entry.symbol is not None and entry.price is not None
            traded = (entry.kind.value, entry.symbol, entry.quantity, entry.price)
            fills[entry.proposal][*traded, entry.amount, entry.cost] += 1
    executed = 0
    for record in tx.proposals.page(portfolio.owner, portfolio_id=portfolio.id, limit=100_000):
        orders: Counter[Fill] = Counter()
        if record.stage is Stage.EXECUTED:
            executed += 1
            orders.update(
                (one.side.value, one.symbol, one.quantity, one.price, one.value, one.cost)
                for one in record.proposal.orders
            )
        if fills.pop(record.id, Counter()) != orders:
            findings.append(f"proposal {record.id} is {record.stage} with other fills")
        if str(record.id) in confirmed.executed and record.stage is not Stage.EXECUTED:
            findings.append(f"proposal {record.id} was executed and is {record.stage}")
    if fills:
        findings.append(f"{id} has fills without a proposal: {dict(fills)}")
    # No update lost: each change made one version, and only edits change the name.
    edits, unsure = confirmed.edits.get(id, {}), confirmed.unsure[id]
    known = 1 + len(edits) + sum(flows.values()) - 1 + executed
    if not known <= portfolio.version <= known + unsure:
        findings.append(
            f"{id} is at version {portfolio.version}, and had {known - 1} changes, or up to "
            f"{unsure} more"
        )
    if edits and not unsure and portfolio.mandate.name != edits[max(edits)]:
        findings.append(f"{id} is not named {edits[max(edits)]}")


def check_runs(tx: Transaction, report: Report, *, book: int = BOOK) -> None:
    """Check that each run proposed once for each of the ``book`` portfolios."""
    owner = tx.users.by_email(BOOK_OWNER)
    assert owner is not None
    each: Counter[tuple[UUID | None, UUID]] = Counter()
    for record in tx.proposals.page(owner.id, limit=10_000_000):
        each[record.run, record.portfolio_id] += 1
    if each and max(each.values()) > 1:
        report.findings.append("a portfolio has two proposals of one run")
    for run, count in Counter(run for run, _ in each).items():
        assert run is not None
        ended = tx.runs.get(run)
        if ended.finished is None:
            report.findings.append(f"run {run} was never finished")
            continue
        report.runs.append(run)
        mine = ended.proposed + ended.nothing + ended.failed
        # The shared portfolios are part of the run, too.
        if not book <= mine <= book + len(report.confirmed.portfolios) or count != book:
            report.findings.append(f"run {run} has {count} proposals of {book}, and counts {mine}")


def show(report: Report, console: Console) -> None:
    """Print the results as tables."""
    table = Table("killed", "times", "back after, s (median, longest)")
    for name, times in report.kills.most_common():
        back = sorted(report.recoveries.get(name, []))
        text = f"{back[len(back) // 2]:.1f}, {back[-1]:.1f}" if back else ""
        table.add_row(name, str(times), text)
    console.print(table)
    table = Table("asked", "answers", "p50 ms", "p99 ms", "by status (0: none)")
    for what, took in sorted(report.confirmed.took.items()):
        took.sort()
        statuses = {s: n for (w, s), n in sorted(report.confirmed.answers.items()) if w == what}
        text = ", ".join(f"{status}: {count}" for status, count in statuses.items())
        p50, p99 = took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
        table.add_row(what, str(len(took)), f"{p50:.0f}", f"{p99:.0f}", text)
    console.print(table)
    confirmed = report.confirmed
    sessions = report.sessions
    console.print(
        f"{len(sessions.accounts)} registrations, "
        + ", ".join(f"{count} {name}" for name, count in sorted(sessions.counts.items()))
        + "; "
        + (", ".join(f"{count} {name}" for name, count in sorted(report.others.items())) or "no")
        + " other faults"
    )
    console.print(
        f"{sum(report.kills.values())} kills in {report.seconds:.0f} s: "
        f"{len(confirmed.portfolios)} portfolios, {len(confirmed.deposits)} flows, "
        f"{len(confirmed.proposals)} proposals, {len(confirmed.executed)} rebalances, "
        f"{sum(map(len, confirmed.edits.values()))} edits, {len(confirmed.jobs)} backtests "
        f"(attempts {dict(sorted(report.attempts.items()))}, {report.given_up} given up), "
        f"{len(report.runs)} batch runs, {len(report.notices.raised)} notices "
        f"({report.notices.repeats} messages came again with their id); "
        + (
            f"{len(report.findings)} confirmed effects are broken"
            if report.findings
            else "every confirmed effect held"
        )
    )
    for finding in report.findings[:20]:
        console.print(finding, markup=False)


def main() -> int:
    """Run a soak and print its results."""
    parser = argparse.ArgumentParser(prog="python -m tests.survival.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="default: 100")
    parser.add_argument("--clients", type=int, default=12, help="concurrent clients; default: 12")
    parser.add_argument("--seconds", type=float, default=0.0, help="minimum duration")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument("--sqlite", action="store_true", help="one file instead of servers")
    parser.add_argument("--pairs", action="store_true", help="also kill two parts at once")
    parser.add_argument("--starts", action="store_true", help="also kill what is starting")
    parser.add_argument("--full-disk", action="store_true", help="also refuse writes; SQLite only")
    parser.add_argument("--clock", action="store_true", help="also let the clock jump")
    parser.add_argument("--migrations", type=int, default=0, help="kills of the first migration")
    parser.add_argument("--job-attempts", type=int, default=50, help="default: 50")
    parser.add_argument("--keep", type=Path, help="folder for logs; default: a temporary one")
    asked = parser.parse_args()
    if asked.full_disk and not asked.sqlite:
        parser.error("--full-disk needs --sqlite")
    with tempfile.TemporaryDirectory(prefix="rebalancer-soak-") as temporary:
        folder = asked.keep or Path(temporary)
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
        report = soak(
            folder,
            kills=asked.kills,
            clients=asked.clients,
            seed=asked.seed,
            seconds=asked.seconds,
            sqlite=asked.sqlite,
            plan=Plan(
                pairs=asked.pairs,
                starts=asked.starts,
                full_disk=asked.full_disk,
                clock=asked.clock,
            ),
            migrations=asked.migrations,
            job_attempts=asked.job_attempts,
        )
    print(f"seed {asked.seed}")
    show(report, Console(width=150))
    return 3 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
