"""`Database.backup` and `Database.restore`, from any database to any other."""

import gzip
import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import zlib
from contextlib import ExitStack
from datetime import UTC, datetime, time
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import attrs
import pytest
from sqlalchemy import JSON, insert, inspect, select

from rebalancer.adapters.security.envelope import Envelope
from rebalancer.adapters.security.key_encryption import LocalKeys
from rebalancer.adapters.sql import backup as backups
from rebalancer.adapters.sql.checkpoints import LedgerRules
from rebalancer.adapters.sql.database import SqlDatabase
from rebalancer.adapters.sql.engine import connect, reading, writing
from rebalancer.adapters.sql.reference import SqlReference
from rebalancer.adapters.sql.tables import (
    audit_cuts,
    bar_changes,
    batch_failures,
    instruments,
    market_actions,
    metadata,
    price_years,
    reports,
    revisions,
    verdicts,
)
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.ports.encryption import WrappedKey
from rebalancer.application.ports.reference import StoredFacts, StoredSeries
from rebalancer.domain.accounts.deletion import Deletion
from rebalancer.domain.accounts.guessing import Failures, KnownDevice
from rebalancer.domain.accounts.shares import Right
from rebalancer.domain.alerts.automation import DaySpending
from rebalancer.domain.audit.events import AuditEvent, Origin, Outcome
from rebalancer.domain.backtest.history_snapshots import KeptHistory, take_snapshot
from rebalancer.domain.errors import Conflict, InvalidRequest, Unavailable
from rebalancer.domain.jobs.job import JobState
from rebalancer.domain.market.economics import EconomicSeries, Observation
from rebalancer.domain.market.fundamentals import Facts
from rebalancer.domain.market.synchronization import ScheduledTask, SyncState
from rebalancer.domain.notices.choices import Language, NoticeChoices, QuietHours
from rebalancer.domain.notices.deliveries import DeliveryState
from rebalancer.domain.portfolio.ledger import Ledger, LedgerMark
from rebalancer.domain.portfolio.models import ModelContent, ModelVersion, PortfolioModel
from rebalancer.domain.portfolio.planned_flows import FlowDecision, FlowOutcome
from rebalancer.domain.portfolio.portfolio import Preferences
from rebalancer.domain.rebalancing.lifecycle import Stage
from tests.builders import prices
from tests.contracts.databases import OWNER, as_role, new_database
from tests.contracts.stores import (
    DAY,
    HOUR,
    NOW,
    a_delivery,
    a_deposit,
    a_fill,
    a_job,
    a_key,
    a_mail,
    a_managed,
    a_notice,
    a_one_time,
    a_passkey,
    a_proposal,
    a_run,
    a_saved_profile,
    a_session,
    a_share,
    a_target,
    a_token,
    a_totp,
    a_user,
    an_alert_record,
    an_api_key,
    an_episode,
    an_import,
    stored_user,
)

KINDS = ["sqlite", "postgres"]
AWKWARD = 'Zoë\'s "№ 1"\t\\\n\u2028\U0001f4b6 [{"table"}]'
LARGE, SMALL = Decimal("999999999999999.999999999999"), Decimal("0.000000000001")


@pytest.fixture(scope="module")
def empty(makers):
    """Create databases of a kind with empty tables, as the role that may restore."""
    with ExitStack() as at_the_end:

        def make(kind):
            engine = connect(as_role(makers[kind](), OWNER))
            at_the_end.callback(engine.dispose)
            return SqlDatabase(engine)

        yield make


@pytest.fixture(scope="module")
def full(empty):
    """Return a filled database of each kind, which no test changes."""
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = empty(kind)
            filled(made[kind].engine)
        return made[kind]

    return of


@pytest.fixture(scope="module")
def whole(full, tmp_path_factory):
    """Return a valid backup."""
    path = tmp_path_factory.mktemp("backup") / "all.jsonl.gz"
    full("sqlite").backup(path)
    return path


def filled(engine):
    """Fill every table of a database, with plain and awkward values."""
    ada = a_user(name=AWKWARD, created=datetime(1970, 1, 1, 0, 0, 0, 1, UTC), assessed=NOW)
    bob = a_user(email="bob@bücher.example")
    money = [a_deposit(amount, note=AWKWARD) for amount in (LARGE, SMALL, "0.10", "1E+2", 7)]
    preferences = Preferences(do_not_sell=frozenset({"ÅÄÖ"}), cash_reserve=SMALL, band=0.1)
    plain, rich = a_managed(bob.id), a_managed(ada.id, money)
    rich = attrs.evolve(rich, mandate=attrs.evolve(rich.mandate, preferences=preferences))
    closed = a_managed(bob.id)
    run = a_run(policy=AWKWARD)
    waiting, done = a_proposal(rich, run=run.id), a_proposal(rich, remark=AWKWARD)
    fill = a_fill(done)
    work = SqlWork(engine, ledgers=LedgerRules(from_count=1))
    with work.begin() as tx:
        for user in (ada, bob):
            tx.users.add(user)
        for token in (a_token(ada.id), a_token(bob.id, used=NOW)):
            tx.tokens.add(token)
        tx.sessions.add(a_session(ada.id, agent=AWKWARD, ended=NOW))
        tx.sessions.add(a_session(bob.id))
        tx.api_keys.add(an_api_key(ada.id, name=AWKWARD, used=NOW))
        tx.failures.save(Failures(AWKWARD, 0.1 + 0.2, NOW, ada.id))
        tx.failures.save(Failures("network", 3, NOW))
        tx.devices.save(KnownDevice("d" * 64, ada.id, NOW, NOW + HOUR, 3))
        tx.one_time.add(a_one_time(ada.id, document={AWKWARD: AWKWARD}))
        tx.one_time.add(a_one_time(None))
        tx.deletions.save(Deletion(ada.id, NOW, NOW + HOUR, anonymized=NOW))
        tx.passkeys.add(a_passkey(ada.id, name=AWKWARD, sign_count=2**32 - 1, used=NOW))
        tx.passkeys.add(a_passkey(bob.id, transports=(), backed_up=False))
        tx.totp.save(a_totp(ada.id))
        tx.totp.save(a_totp(bob.id, confirmed=None))
        tx.recovery_codes.replace(ada.id, ["a" * 64, "b" * 64], NOW)
        tx.recovery_codes.use(ada.id, "a" * 64, NOW + HOUR)
        tx.outbox.add(a_mail(facts={AWKWARD: AWKWARD}))
        tx.outbox.add(sent := a_mail())
        tx.outbox.close(sent.id, NOW)
        tx.portfolios.add(plain, [])
        tx.portfolios.add(rich, money)
        tx.portfolios.add(closed, [])
        tx.portfolios.close(closed.id, owner=bob.id, version=1, now=NOW + HOUR)
        tx.shares.add(a_share(rich, bob, right=Right.PROPOSE))
        tx.shares.add(a_share(rich, None, email="ada@bücher.example"))
        record = an_import(rich, file_name=AWKWARD, mapping={AWKWARD: AWKWARD}, undone=NOW)
        tx.imports.add(record, [money[0].id])
        tx.profiles.save(a_saved_profile(ada.id))
        model = PortfolioModel(uuid4(), ada.id, AWKWARD, 1, 1, NOW, NOW)
        content = ModelContent({"ÅÄÖ": 0.5}, band=0.1)
        tx.models.add(model, [ModelVersion(model.id, ada.id, 1, content, NOW, AWKWARD)])
        tx.flow_decisions.put(FlowDecision(rich.id, uuid4(), DAY, FlowOutcome.SKIPPED, NOW))
        told = a_notice(ada.id, portfolio=rich.id, parameters={AWKWARD: AWKWARD}, link=AWKWARD)
        tx.notices.add(attrs.evolve(told, read=NOW, resolved=NOW))
        tx.notices.add(a_notice(bob.id))
        quiet = QuietHours(time(22, 30), time(7))
        choices = NoticeChoices(Language.GERMAN, "Europe/Berlin", quiet=quiet, paused_until=NOW)
        tx.notice_choices.save(ada.id, choices.switched("email", {told.kind: False}))
        target = a_target(ada.id, name=AWKWARD, delivered=NOW, failed=NOW, fault=AWKWARD)
        tx.notice_targets.add(target)
        for notice in (told, a_notice(bob.id)):
            tx.notice_deliveries.add(a_delivery(notice, created=NOW))
        tx.notice_deliveries.close(a_delivery(told).id, DeliveryState.FAILED, NOW, fault=AWKWARD)
        tx.alerts.save_settings(an_alert_record(rich))
        tx.leases.take("quotes", "host/1", now=NOW, until=NOW)
        tx.alerts.begin_episodes(rich.owner, [an_episode(rich, ended=NOW), an_episode(rich, 2)])
        tx.automation.set_stop(ada.id, NOW)
        tx.automation.set_stop(None, NOW)
        spending = DaySpending(0.1, Decimal("0.01"), {AWKWARD: Decimal("1e-9")})
        tx.automation.spend(rich.id, rich.owner, DAY, uuid4(), spending)
        tx.portfolios.keep_histories({rich.id: a_kept_history()})
        tx.runs.add(run, [plain.id])
        tx.proposals.add([waiting, done, *(a_proposal(plain) for _ in range(40))])
        ledger = tx.portfolios.ledger(rich.id).extended_by([fill])
        tx.portfolios.save(rich.book(ledger, NOW), entries=[fill])
        tx.proposals.save(
            attrs.evolve(done, stage=Stage.EXECUTED, decided=NOW, executed=NOW),
            expected=Stage.PROPOSED,
        )
        tx.keys.add(a_key(ada.id, AWKWARD))
        tx.data_keys.add(ada.id, WrappedKey(AWKWARD, bytes(range(256))))
        tx.usage.take(ada.id, AWKWARD, NOW.date(), 1, limit=9)
        tx.quotas.take(AWKWARD, "2024-03-08", limit=25)
        for _ in range(2):
            origin = Origin("http", "203.0.113.7", AWKWARD, AWKWARD)
            details = {AWKWARD: AWKWARD}
            tx.audit.append(
                AuditEvent(uuid4(), NOW, "login", Outcome.DONE, origin=origin, details=details)
            )
        tx.audit.seal(NOW, limit=1)
        tx.syncs.save(SyncState("ÅÄÖ", "tiingo", NOW.date(), NOW, NOW, AWKWARD))
        tx.tasks.add_missing(ScheduledTask("bars:XNYS", NOW).start(NOW))
        for job in (
            a_job(
                owner=bob.id,
                progress=0.1 + 0.2,
                state=JobState.SUCCEEDED,
                result={"a": 1e-7, "z": []},
            ),
            a_job(error=AWKWARD, last_heartbeat=NOW, cancelling=True, attempts=3),
        ):
            tx.jobs.add(job)
    reference = SqlReference(engine)
    facts = Facts(AWKWARD, {"beta": 0.1 + 0.2}, {"sector": AWKWARD}, NOW.date())
    reference.save_facts(StoredFacts(facts, "yahoo", NOW))
    rate = (Observation(NOW.date(), 1e-300), Observation(NOW.date(), 5.0, NOW.date()))
    series = EconomicSeries(AWKWARD, AWKWARD, "Percent", rate)
    reference.save_series(StoredSeries(series, "fred", NOW))
    every_byte = bytes(range(256))
    with writing(engine) as connection:
        connection.execute(
            insert(batch_failures).values(run=run.id, portfolio=plain.id, reason=AWKWARD)
        )
        years = [
            {"symbol": f"S{n}", "year": 2020, "days": b"", "close": every_byte} for n in range(50)
        ]
        connection.execute(insert(price_years), years)
        replaced = {"until": 2**60, "known": every_byte, "sources": [AWKWARD], "adjusted": False}
        connection.execute(insert(bar_changes).values(years[0] | replaced))
        connection.execute(
            insert(market_actions).values(
                symbol=AWKWARD,
                ex_day=NOW.date(),
                kind="dividend",
                other="",
                known=NOW,
                value=SMALL,
                currency="GBX",
                source=AWKWARD,
            )
        )
        connection.execute(
            insert(verdicts).values(
                symbol=AWKWARD,
                day=NOW.date(),
                rule="spike",
                decision="accept",
                decided=NOW,
                note=AWKWARD,
            )
        )
        connection.execute(
            insert(instruments).values(
                symbol=AWKWARD, position=1, instrument={"b": 1, "a": [AWKWARD]}
            )
        )
        connection.execute(insert(revisions).values(name=AWKWARD, revision=2**60))
        connection.execute(
            insert(audit_cuts).values(position=2**60, digest="f", before=NOW, cut=NOW)
        )
        for series in (None, every_byte * 9):
            document = {"pi": 3.141592653589793, "large": 2**60, "none": None}
            connection.execute(
                insert(reports).values(
                    id=uuid4(),
                    kind="backtest",
                    subject="s",
                    created=NOW,
                    schema=1,
                    document=document,
                    series=series,
                )
            )
    return rich


def contents(database):
    """Return every value of every row exactly, sorted."""

    def exactly(column, value):
        """Postgres returns documents as bytes."""
        document = isinstance(column.type, JSON) and isinstance(value, bytes)
        return repr(value.decode() if document else value)

    with reading(database.engine) as connection:
        return {
            table.name: sorted(
                [exactly(column, value) for column, value in zip(table.columns, row, strict=True)]
                for row in connection.execute(select(table))
            )
            for table in metadata.sorted_tables
        }


def a_kept_history():
    """Return the snapshot of a history that can be continued."""
    market = prices(days=60)
    paid = attrs.evolve(a_deposit(LARGE), on=market.dates[0].item())
    return KeptHistory(LedgerMark(5, 5), take_snapshot(Ledger((paid,)), market))


def is_empty(database):
    return not any(contents(database).values())


def lines_of(path):
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def written(path, lines, *, signed=True):
    """Write these lines to a file; if `signed`, with a matching trailer."""
    if signed:
        lines = [line for line in lines if not line.startswith(b'{"rows"')]
        rows, table = dict.fromkeys(json.loads(lines[0])["tables"], 0), ""
        for line in lines[1:]:
            if line.startswith(b"["):
                rows[table] += 1
            else:
                table = json.loads(line)["table"]
        trailer = {"rows": rows, "sha256": sha256(b"".join(lines)).hexdigest()}
        lines = [*lines, json.dumps(trailer).encode() + b"\n"]
    path.write_bytes(gzip.compress(b"".join(lines)))
    return path


# There and back.


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_backup_restores_into_any_database(full, empty, tmp_path, kind, to):
    source, target = full(kind), empty(to)
    before = contents(source)
    assert not [name for name, rows in before.items() if not rows]
    told = []
    counted = source.backup(tmp_path / "first", progress=lambda *step: told.append(step))
    assert counted == {name: len(rows) for name, rows in before.items()}
    assert told == sorted(told) and told[-1] == (sum(counted.values()), sum(counted.values()))
    restored = []
    assert (
        target.restore(tmp_path / "first", progress=lambda *step: restored.append(step)) == counted
    )
    assert restored[-1] == told[-1]
    assert contents(target) == before == contents(source)
    assert target.findings() == []

    target.backup(tmp_path / "second")
    first, second = lines_of(tmp_path / "first"), lines_of(tmp_path / "second")
    assert sorted(first[1:-1]) == sorted(second[1:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_restored_database_can_be_changed(whole, empty, kind):
    target = empty(kind)
    target.restore(whole)
    work, deposit = SqlWork(target.engine), a_deposit("0.01")
    with work.begin() as tx:
        rich = max(tx.portfolios.chunk(), key=lambda portfolio: portfolio.version)
        ledger = tx.portfolios.ledger(rich.id)
        entries = ledger.entries  # read while the transaction is open
        tx.portfolios.save(rich.book(ledger.extended_by([deposit]), NOW + HOUR), entries=[deposit])
    with work.read() as tx:
        assert tx.portfolios.ledger(rich.id).entries == (*entries, deposit)
    assert target.findings() == []


@pytest.mark.parametrize("to", KINDS)
def test_empty_database_is_backed_up_and_restored(empty, tmp_path, to):
    counted = empty("sqlite").backup(tmp_path / "nothing")
    assert set(counted.values()) == {0}
    target = empty(to)
    assert target.restore(tmp_path / "nothing") == counted
    filled(target.engine)
    assert target.findings() == []


@pytest.mark.parametrize("kind", KINDS)
def test_backup_is_a_snapshot_during_writes(empty, tmp_path, kind):
    source, target = empty(kind), empty("sqlite")
    rich = filled(source.engine)
    work = SqlWork(source.engine)
    before, written = contents(source), []

    def write(done, total):
        """Add a portfolio and a deposit between two tables of the backup."""
        with work.begin() as tx:
            portfolio = tx.portfolios.get(rich.id, owner=rich.owner)
            entry = a_deposit()
            ledger = tx.portfolios.ledger(rich.id).extended_by([entry])
            tx.portfolios.save(portfolio.book(ledger, NOW), entries=[entry])
            tx.portfolios.add(a_managed(rich.owner), [])
        written.append(entry)

    source.backup(tmp_path / "all", progress=write)
    assert len(written) > 9
    target.restore(tmp_path / "all")
    assert contents(target) == before != contents(source)
    assert target.findings() == source.findings() == []


def test_rows_are_restored_in_batches(empty, tmp_path):
    sizes = backups.BatchSizes(fetched=3, inserted=7, inserted_bytes=4000)
    source = attrs.evolve(empty("postgres"), sizes=sizes)
    filled(source.engine)
    source.backup(tmp_path / "all")
    for kind in KINDS:
        target, steps = attrs.evolve(empty(kind), sizes=sizes), []
        target.restore(tmp_path / "all", progress=lambda *step, steps=steps: steps.append(step[0]))
        assert contents(target) == contents(source)
        assert max(after - before for before, after in itertools.pairwise(steps)) <= 7


def test_backup_is_readable_by_its_owner_only(whole):
    assert stat.S_IMODE(whole.stat().st_mode) == 0o600
    assert [other.name for other in whole.parent.iterdir()] == [whole.name]


# Of another version.


def aged(whole, folder):
    """Return the same backup as written by the first version, without jobs."""
    engine = connect(f"sqlite:///{folder}/first.db")
    SqlDatabase(engine).upgrade("0001")
    found = inspect(engine)
    kept = {
        name: {column["name"] for column in found.get_columns(name)}
        for name in found.get_table_names()
    }
    engine.dispose()
    header, *lines = lines_of(whole)
    described = json.loads(header)
    tables = described["tables"]
    described["revision"] = "0001"
    described["tables"] = {
        name: {column: kind for column, kind in kinds.items() if column in kept[name]}
        for name, kinds in tables.items()
        if name in kept
    }
    assert described["tables"] != tables
    older, table = [described], ""
    for line in map(json.loads, lines[:-1]):
        if isinstance(line, dict):
            table = line["table"]
        if table not in kept or (table == "jobs" and isinstance(line, list)):
            continue
        if isinstance(line, list):
            named = dict(zip(tables[table], line, strict=True))
            line = [named[column] for column in described["tables"][table]]
        older.append(line)
    return written(folder / "older", [json.dumps(line).encode() + b"\n" for line in older])


@pytest.mark.parametrize("kind", KINDS)
def test_older_backup_is_restored_at_its_revision_and_upgraded(whole, empty, tmp_path, kind):
    target = empty(kind)
    path = aged(whole, tmp_path)
    with pytest.raises(Conflict, match=rf"revision 0001.* at {target.newest()}") as error:
        target.restore(path)
    assert error.value.code == "backup_revision_differs"
    target.downgrade("0001")
    assert target.restore(path)["ledger_entries"] > 5
    with pytest.raises(Conflict) as error:
        target.backup(tmp_path / "too early")
    assert error.value.code == "schema_outdated"
    target.upgrade()
    assert target.findings() == []


STORED = Path(__file__).parent / "fixtures" / "backup-0004.jsonl.gz"
"""What `filled` writes, by a release in which attributes and modules had other names."""


@pytest.mark.parametrize("kind", KINDS)
def test_backup_of_an_earlier_release_is_restored_and_read(empty, kind):
    target = empty(kind)
    target.downgrade("0004")
    rows = target.restore(STORED)
    target.upgrade()
    assert (rows["users"], rows["proposals"], rows["ledger_entries"]) == (2, 42, 6)
    assert target.findings() == []
    with SqlWork(target.engine).read() as tx:
        portfolios = tx.portfolios.chunk()
        rich = max(portfolios, key=lambda portfolio: portfolio.version)
        assert rich.mandate.preferences.do_not_sell == {"ÅÄÖ"}
        assert tx.portfolios.ledger(rich.id).positions == rich.positions
        records = tx.proposals.page(rich.owner, limit=9)
        assert {record.stage for record in records} == {Stage.PROPOSED, Stage.EXECUTED}
        assert all(record.proposal.orders[0].symbol == "A" for record in records)
        first, second = sorted(tx.jobs.page(limit=9), key=lambda job: job.attempts)
        assert (first.result, first.progress) == ({"a": 1e-7, "z": []}, 0.1 + 0.2)
        assert (second.error, second.last_heartbeat) == (AWKWARD, NOW)
        run = next(record.run for record in records if record.run)
        assert tx.runs.get(run).policy == AWKWARD
        ((_, reason),) = tx.runs.failures(run)
        assert reason == AWKWARD


def test_database_without_tables_is_rejected(whole, tmp_path, postgres_url):
    with new_database(postgres_url) as server:
        for url in (f"sqlite:///{tmp_path}/new.db", server):
            engine = connect(url)
            with pytest.raises(Conflict, match="no tables yet; upgrade it to revision 0"):
                SqlDatabase(engine).restore(whole)
            with pytest.raises(Conflict, match="the database has no tables"):
                SqlDatabase(engine).backup(tmp_path / "none")
            engine.dispose()
    assert not (tmp_path / "none").exists()


def test_later_format_is_rejected(whole, empty, tmp_path):
    header, *lines = lines_of(whole)
    later = header.replace(b'"format":1', b'"format":2')
    assert later != header
    with pytest.raises(
        InvalidRequest,
        match=r"format 2; this version of rebalancer reads format 1, so use the version",
    ):
        empty("sqlite").restore(written(tmp_path / "later", [later, *lines]))


# All or nothing.


@pytest.mark.parametrize("kind", KINDS)
def test_restore_into_filled_tables_is_rejected(full, whole, kind, empty):
    before = contents(full(kind))
    with pytest.raises(Conflict, match=r"the table \w+ is not empty; restore into a new"):
        full(kind).restore(whole)
    assert contents(full(kind)) == before
    target = empty(kind)
    with writing(target.engine) as connection:
        connection.execute(insert(instruments).values(symbol="A", position=0, instrument={}))
    with pytest.raises(Conflict, match="the table instruments is not empty"):
        target.restore(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_rejected_rows_leave_the_database_empty(whole, empty, tmp_path, kind):
    lines = lines_of(whole)
    (note,) = {line for line in lines if b'"sell"' in line or b'"buy"' in line}
    bad = note.replace(b'"100.00"', b'"-100.00"', 1)
    assert bad != note
    path = written(tmp_path / "bad", [bad if line == note else line for line in lines])
    target = empty(kind)
    with pytest.raises(
        InvalidRequest, match=r"table ledger_entries rejects: .*ck_ledger_entries_am"
    ):
        target.restore(path)
    assert is_empty(target)
    target.restore(whole)  # no lock is left


def test_character_that_postgres_rejects_is_reported(whole, empty, tmp_path):
    lines = lines_of(whole)
    assert any(b'"Ada"' in line for line in lines)
    path = written(tmp_path / "nul", [line.replace(b'"Ada"', b'"A\\u0000"') for line in lines])
    empty("sqlite").restore(path)
    with pytest.raises(InvalidRequest, match=r"nul has rows that the table users rejects: .*0x00"):
        empty("postgres").restore(path)


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_restore_leaves_the_database_empty(whole, empty, kind):
    target = empty(kind)

    def interrupt(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        target.restore(whole, progress=interrupt)
    assert is_empty(target)


def test_writers_wait_during_a_restore(whole, empty, makers, monkeypatch):
    target = empty("postgres")
    other = connect(target.engine.url.render_as_string(hide_password=False))

    def write(done, total):
        with pytest.raises(Unavailable, match="busy"), writing(other) as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = 50")
            connection.execute(insert(instruments).values(symbol="X", position=0, instrument={}))

    target.restore(whole, progress=write)
    other.dispose()
    assert target.findings() == []


# Damage.


def refused(database, path):
    with pytest.raises(InvalidRequest) as error:
        database.restore(path)
    assert error.value.code in ("backup_damaged", "invalid_backup", "backup_format_unknown")
    assert str(path) in str(error.value)
    return is_empty(database)


def test_truncated_file_is_rejected(whole, empty, tmp_path):
    target, good = empty("sqlite"), whole.read_bytes()
    for length in (0, 1, 9, 10, 30, len(good) // 3, len(good) // 2, *range(-20, 0)):
        (tmp_path / "cut").write_bytes(good[:length])
        assert refused(target, tmp_path / "cut")
    (tmp_path / "twice").write_bytes(good + good)
    assert refused(target, tmp_path / "twice")
    (tmp_path / "more").write_bytes(good + b"more")
    assert refused(target, tmp_path / "more")
    target.restore(whole)


def test_flipped_bit_is_rejected(whole, empty, tmp_path):
    target, good = empty("sqlite"), whole.read_bytes()
    tried = 0
    for place in (0, 1, 2, *range(10, len(good), len(good) // 60), *range(-8, 0)):
        bad = bytearray(good)
        bad[place] ^= 1 << (place % 8)
        if says_the_same(bad, good):  # it pads what is compressed, and means nothing
            continue
        (tmp_path / "flipped").write_bytes(bad)
        assert refused(target, tmp_path / "flipped")
        tried += 1
    assert tried > 60


def says_the_same(bad, good):
    try:
        return gzip.decompress(bad) == gzip.decompress(good)
    except (OSError, EOFError, zlib.error):
        return False


@pytest.mark.parametrize("kind", KINDS)
def test_altered_file_is_rejected(whole, empty, tmp_path, kind):
    target, lines = empty(kind), lines_of(whole)
    number = next(n for n, line in enumerate(lines) if b"bob@" in line)
    altered = {
        "a value": [line.replace(b"bob@", b"eve@") for line in lines],
        "a line less": lines[:number] + lines[number + 1 :],
        "a line twice": lines[:number] + lines[number : number + 1] * 2 + lines[number + 1 :],
        "another order": [lines[0], *lines[3:5], *lines[1:3], *lines[5:]],
        "no end": lines[:-1],
        "two ends": [*lines, lines[-1]],
        "more after its end": [*lines, lines[number]],
        "another header": [lines[0].replace(b'"taken":"2', b'"taken":"3'), *lines[1:]],
        "another count": [*lines[:-1], lines[-1].replace(b'"users":2', b'"users":3')],
        "a table that is not there": [*lines[:-1], b'{"table":"x"}\n', lines[-1]],
        "nonsense": [*lines[:-1], b"nonsense\n", lines[-1]],
    }
    for name, changed in altered.items():
        assert changed != lines, name
        assert refused(target, written(tmp_path / "altered", changed, signed=False)), name
    row = next(n for n, line in enumerate(lines) if line.startswith(b"["))
    for wrong in (b"[]\n", b'[null,1,"x"]\n', b"[1,2,3,4,5,6,7,8]\n"):
        path = written(tmp_path / "signed", [*lines[:row], wrong, *lines[row + 1 :]])
        assert refused(target, path)


def test_other_files_are_rejected(empty, tmp_path):
    target = empty("sqlite")
    for content in (
        b"hello",
        gzip.compress(b""),
        gzip.compress(b"1\n2\n"),
        b"SQLite format 3\0" * 99,
    ):
        (tmp_path / "other").write_bytes(content)
        assert refused(target, tmp_path / "other")
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(InvalidRequest, match=f"cannot read .*{reason}"):
            target.restore(path)


# Files.


def test_no_file_is_overwritten(full, tmp_path):
    path = tmp_path / "there"
    path.write_text("mine")
    with pytest.raises(InvalidRequest, match="already; choose another name"):
        full("sqlite").backup(path)
    assert path.read_text() == "mine"

    def overtaken(done, total):
        (tmp_path / "later").write_text("theirs")

    with pytest.raises(InvalidRequest, match="already; choose another name"):
        full("sqlite").backup(tmp_path / "later", progress=overtaken)
    assert (tmp_path / "later").read_text() == "theirs"
    assert len(list(tmp_path.iterdir())) == 2


def test_unwritable_path_is_rejected(full, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "no" / "folder", tmp_path / "file" / "inside", tmp_path / ("x" * 300)):
        with pytest.raises(InvalidRequest, match="cannot write"):
            full("sqlite").backup(path)


def test_full_disk_leaves_no_file(full, tmp_path, monkeypatch):
    def full_disk(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InvalidRequest, match="No space left on device"):
        full("sqlite").backup(tmp_path / "all")
    assert list(tmp_path.iterdir()) == []


def test_interrupted_backup_leaves_no_file(full, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        full("postgres").backup(tmp_path / "all", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from rebalancer.adapters.sql.database import SqlDatabase
from rebalancer.adapters.sql.engine import connect

def wait(done, total):
    if done == total:
        print("all but the end is written", flush=True)
        time.sleep(60)

SqlDatabase(connect(sys.argv[1])).backup(Path(sys.argv[2]), progress=wait)
"""


def test_killed_backup_leaves_no_complete_file(full, empty, tmp_path):
    url, path = full("sqlite").engine.url, tmp_path / "all"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(url), str(path)], stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    for left in tmp_path.iterdir():
        assert left.suffix == ".partial"
        shutil.copy(left, path)
        assert refused(empty("sqlite"), path)
        path.unlink()
    assert full("sqlite").backup(path)


def test_unavailable_database_is_reported(whole, tmp_path):
    engine = connect("postgresql://postgres@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        SqlDatabase(engine).restore(whole)
    with pytest.raises(Unavailable):
        SqlDatabase(engine).backup(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


# Encryption.


def keyed(database, **keys):
    """Return a database with other encryption keys."""
    envelope = Envelope(LocalKeys({id: key * 32 for id, key in keys.items()}))
    return attrs.evolve(database, encryption=envelope)


@pytest.mark.parametrize("kind", KINDS)
def test_encrypted_backup_is_restored_with_its_key_alone(empty, tmp_path, kind):
    source = keyed(empty(kind), old=b"o")
    work = SqlWork(source.engine, source.encryption)
    user = stored_user(work, name="Ada Lovelace")
    path = tmp_path / "backup"
    source.backup(path)
    content = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert content.startswith(b'{"format":"rebalancer-encrypted-1","key":"old"')
    target = empty("sqlite")
    for other, words in ((keyed(target, new=b"n"), "not configured"), (target, "not a valid")):
        with pytest.raises(InvalidRequest, match=words):
            other.restore(path)
    with pytest.raises(InvalidRequest, match="'old' is not the one"):
        keyed(target, old=b"x").restore(path)
    for broken in (content[:-1], content[:200], content[:-1] + bytes([content[-1] ^ 1])):
        (tmp_path / "broken").write_bytes(broken)
        with pytest.raises(InvalidRequest, match=r"damaged|not a valid"):
            keyed(target, old=b"o").restore(tmp_path / "broken")
    rows = keyed(target, new=b"n", old=b"o").restore(path)
    assert rows["users"] == 1 and rows["data_keys"] == 2
    with SqlWork(target.engine, keyed(target, old=b"o").encryption).read() as tx:
        assert tx.users.by_email(user.email) == user


def test_plain_backup_is_restored_by_a_process_with_keys(whole, empty):
    assert keyed(empty("sqlite"), new=b"n").restore(whole)["users"] == 2
