"""Contract of `Deletions`, and the proof that an erased account leaves nothing personal."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import attrs
import pytest
from sqlalchemy import select

from rebalancer.adapters.memory.reports import MemoryReports
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.sql.deletions import personal_rows
from rebalancer.adapters.sql.engine import reading
from rebalancer.adapters.sql.reports import SqlReports
from rebalancer.adapters.sql.tables import metadata
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.account_deletion import EraseAccounts
from rebalancer.application.account_notices import notify
from rebalancer.application.audit import current_origin, record
from rebalancer.application.encryption import NoEncryption
from rebalancer.application.notices import raise_notice
from rebalancer.application.reporting.report import Report
from rebalancer.domain.accounts.deletion import Deletion, DeletionTerms
from rebalancer.domain.accounts.guessing import Failures, KnownDevice
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.shares import Right, Share
from rebalancer.domain.alerts.automation import DaySpending
from rebalancer.domain.audit.events import Action, Origin
from rebalancer.domain.errors import NotFound, Unavailable
from rebalancer.domain.notices.choices import NoticeChoices
from rebalancer.domain.portfolio.models import ModelContent, ModelVersion, PortfolioModel
from rebalancer.domain.portfolio.planned_flows import FlowDecision, FlowOutcome
from tests.contracts.stores import (
    DAY,
    HOUR,
    NOW,
    a_deposit,
    a_job,
    a_key,
    a_managed,
    a_notice,
    a_one_time,
    a_passkey,
    a_proposal,
    a_saved_profile,
    a_session,
    a_target,
    a_token,
    a_totp,
    a_user,
    an_alert_record,
    an_episode,
    an_import,
    stored_user,
)

PLANTED = "planted"
"""Part of every personal text that a test stores about an account."""

GRACE = timedelta(days=14)


@pytest.fixture
def work(make):
    return make()


def scheduled(work, owner, due=NOW, **others):
    deletion = Deletion(owner, requested=NOW - GRACE, due=due, **others)
    with work.begin() as tx:
        tx.deletions.save(deletion)
    return deletion


def find(work, owner):
    with work.read() as tx:
        return tx.deletions.find(owner)


def erase(work, now=NOW, *, records=None, reports=None):
    terms = DeletionTerms(GRACE, records)
    return EraseAccounts(work, reports or MemoryReports(), terms)(now)


def without_encryption(work):
    """Return the store with texts that `contents` shows."""
    return work if isinstance(work, MemoryWork) else SqlWork(work.engine)


def contents(work):
    """Return everything that a store holds, as text."""
    if isinstance(work, MemoryWork):
        return str({name: dict(rows) for name, rows in work._tables.items()})
    with reading(work.engine) as connection:
        tables = metadata.sorted_tables
        return str({table.name: connection.execute(select(table)).all() for table in tables})


def planted(work, reports, number):
    """Store an account with personal texts in every store; return it."""
    text = f"{PLANTED}{number}"
    user = a_user(email=f"{text}@example.org", name=text, password=f"${text}")
    entry = a_deposit(note=text)
    mandate = attrs.evolve(a_managed(user.id).mandate, name=text)
    portfolio = a_managed(user.id, [entry], mandate=mandate)
    proposal = a_proposal(portfolio, remark=text)
    job = a_job(owner=user.id, request={"text": text}, result={"text": text}, error=text)
    origin = current_origin.set(Origin("http", text, "request-1", text))
    with work.begin() as tx:
        tx.users.add(user)
        tx.tokens.add(a_token(user.id, digest=text))
        tx.sessions.add(a_session(user.id, address=text, agent=text))
        tx.one_time.add(a_one_time(user.id, document={"text": text}))
        tx.passkeys.add(a_passkey(user.id, name=text))
        tx.totp.save(a_totp(user.id, secret=text))
        tx.failures.save(Failures(text, 1, NOW, user.id))
        tx.devices.save(KnownDevice(text, user.id, NOW, NOW, 0))
        tx.recovery_codes.replace(user.id, [text], NOW)
        tx.portfolios.add(portfolio, [entry])
        tx.imports.add(an_import(portfolio, file_name=text), [entry.id])
        tx.flow_decisions.put(
            FlowDecision(portfolio.id, entry.id, DAY, FlowOutcome.MATCHED, NOW, entry.id)
        )
        model = PortfolioModel(uuid4(), user.id, text, 1, 1, NOW, NOW)
        version = ModelVersion(model.id, user.id, 1, ModelContent({"A": 1.0}), NOW, text)
        tx.models.add(model, [version])
        tx.profiles.save(a_saved_profile(user.id, name=text))
        notice = a_notice(user.id, text, portfolio=portfolio.id, parameters={"by": text})
        tx.notice_targets.add(a_target(user.id, name=text, address=text, secret=text))
        tx.notice_choices.save(user.id, NoticeChoices().switched(text, {notice.kind: False}))
        raise_notice(tx, notice)
        tx.alerts.save_settings(an_alert_record(portfolio))
        tx.alerts.begin_episodes(user.id, [an_episode(portfolio, subject=text)])
        tx.automation.set_stop(user.id, NOW)
        tx.automation.spend(
            portfolio.id, user.id, NOW.date(), proposal.id, DaySpending(orders={text: Decimal(1)})
        )
        tx.proposals.add([proposal])
        tx.keys.add(a_key(user.id, text, answer=text))
        tx.jobs.add(job)
        record(tx, Action.LOGIN, at=NOW, actor=user.id)
        notify(tx, user, MailKind.DELETION_SCHEDULED, now=NOW, date=text)
    current_origin.reset(origin)
    reports.save(Report(job.id, "backtest", str(user.id), NOW, 1, {"text": text}, {}, None))
    return user, portfolio, proposal


@pytest.mark.parametrize("records", [None, timedelta(days=3650)], ids=["removed", "kept"])
def test_erased_account_leaves_nothing_personal(work, records):
    reports = MemoryReports()
    if isinstance(work, SqlWork):  # in plain text, so that all that is left can be read
        work = attrs.evolve(work, encryption=NoEncryption())
        reports = SqlReports(work.engine)  # in the same database, as without MongoDB
    ada, portfolio, _ = planted(work, reports, 1)
    bob, other, _ = planted(work, reports, 2)
    with work.begin() as tx:  # shares of both, and an event about one by the other
        tx.shares.add(Share(uuid4(), portfolio.id, ada.id, bob.email, Right.READ, bob.id, NOW))
        tx.shares.add(Share(uuid4(), other.id, bob.id, ada.email, Right.READ, None, NOW))
        record(tx, Action.PORTFOLIO_SHARED, at=NOW, actor=bob.id, subject=ada.id)
    before = contents(work)
    assert f"{PLANTED}1" in before
    scheduled(work, ada.id)
    assert erase(work, records=records, reports=reports) == 1
    after = contents(work) + str(reports)
    assert f"{PLANTED}1" not in after
    assert f"{PLANTED}2@example.org" in after
    with work.read() as tx:
        assert tx.portfolios.get(other.id, owner=bob.id) == other
        trail = tx.audit.page(ada.id, limit=9)
        assert trail[0].action == Action.ACCOUNT_DELETED
        assert {event.origin.address for event in trail} == {None}
        assert tx.audit.verify().faults == ()


def test_no_file_of_sqlite_keeps_an_erased_text(stores_of):
    work = attrs.evolve(stores_of("sqlite"), encryption=NoEncryption())
    reports = SqlReports(work.engine)
    ada, _, _ = planted(work, reports, 1)
    scheduled(work, ada.id)
    path = Path(work.engine.url.database)
    text = f"{PLANTED}1".encode()
    assert text in path.with_name(f"{path.name}-wal").read_bytes()
    assert erase(work, reports=reports) == 1
    left = [file.name for file in path.parent.iterdir() if text in file.read_bytes()]
    assert left == []


def test_an_account_that_cannot_be_erased_does_not_keep_others(work):
    ada, bob = (planted(work, MemoryReports(), number)[0] for number in (1, 2))
    for one in (ada, bob):
        scheduled(work, one.id)

    class Failing(MemoryReports):
        def delete_of(self, owner):
            if owner == str(ada.id):
                raise Unavailable("the disk is full", code="test_disk_full")
            super().delete_of(owner)

    with pytest.raises(Unavailable, match="1 of 2 accounts cannot be erased now"):
        erase(work, reports=Failing())
    assert find(work, ada.id) is not None
    assert find(work, bob.id) is None


def test_required_records_are_anonymized_until_their_time_is_over(work):
    ada, portfolio, proposal = planted(work, MemoryReports(), 1)
    scheduled(work, ada.id)
    assert erase(work, records=timedelta(days=3650)) == 1
    with work.read() as tx:
        user = tx.users.get(ada.id)
        kept = tx.portfolios.get(portfolio.id, owner=ada.id)
        entries = tx.portfolios.ledger(portfolio.id).entries
        remark = tx.proposals.get(proposal.id, owner=ada.id).remark
    assert (user.email, user.name, user.password) == (f"{ada.id}@deleted.invalid", "", None)
    assert user.disabled == NOW
    assert (kept.mandate.name, remark, [entry.note for entry in entries]) == ("Portfolio", "", [""])
    assert kept.positions == portfolio.positions
    later = NOW + timedelta(days=3650)
    assert find(work, ada.id) == Deletion(ada.id, NOW - GRACE, later, anonymized=NOW)
    assert erase(work, later - HOUR, records=timedelta(days=3650)) == 0
    assert erase(work, later, records=timedelta(days=3650)) == 1
    with work.read() as tx, pytest.raises(NotFound):
        tx.users.get(ada.id)


def test_deletions_are_stored_found_and_removed(work):
    ada = stored_user(work)
    assert find(work, ada.id) is None
    deletion = scheduled(work, ada.id, due=NOW + HOUR, anonymized=NOW)
    assert find(work, ada.id) == deletion
    scheduled(work, ada.id, due=NOW)
    assert find(work, ada.id).due == NOW
    with work.begin() as tx:
        assert tx.deletions.remove(ada.id)
        assert not tx.deletions.remove(ada.id)
    assert find(work, ada.id) is None


def test_due_deletions_are_listed_longest_overdue_first(work):
    users = [stored_user(work) for _ in range(4)]
    for user, hours in zip(users, (-1, -3, 0, 1), strict=True):
        scheduled(work, user.id, due=NOW + hours * HOUR)
    with work.read() as tx:
        found = [one.owner for one in tx.deletions.due(NOW, limit=9)]
        assert found == [users[1].id, users[0].id, users[2].id]
        assert len(tx.deletions.due(NOW, limit=2)) == 2


def test_every_table_about_accounts_is_erased():
    """A table that refers to personal rows, directly or not, must be personal itself."""
    user = a_user()
    personal = {table for table in metadata.sorted_tables if personal_rows(table, user) is not None}
    for table in metadata.sorted_tables:
        refers = {key.column.table for key in table.foreign_keys}
        assert table in personal or not refers & personal, table.name


def test_cancelled_deletion_erases_nothing(work):
    ada = stored_user(work)
    scheduled(work, ada.id, due=NOW + HOUR)
    assert erase(work) == 0
    with work.read() as tx:
        assert tx.users.get(ada.id) == ada
