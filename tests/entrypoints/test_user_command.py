"""`rebalancer user`: management of accounts at a terminal."""

import io
import sys

import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.account_records import read_records
from rebalancer.application.notices import raise_notice
from rebalancer.domain.notices.deliveries import DeliveryState
from rebalancer.entrypoints.account_file import account_lines
from tests.contracts.stores import NOW, a_delivery, a_deposit, a_managed, a_notice, a_user

ADA, BOB = "ada@example.org", "bob@example.org"


@pytest.fixture
def store(quickly, database, monkeypatch):
    """Run commands on a new database with Ada and Bob."""
    for email in (ADA, BOB):
        monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery staple\n"))
        assert quickly("user", "create", "--email", email).code == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return quickly


@pytest.fixture
def events(tmp_path):
    """Return the events of the audit trail, latest first."""

    def read():
        engine = connect(f"sqlite:///{tmp_path / 'rebalancer.db'}")
        with SqlWork(engine).read() as tx:
            found = tx.audit.page(limit=100)
        engine.dispose()
        return found

    return read


def test_notices_of_an_account_are_listed(store, tmp_path):
    assert store("user", "notices", ADA).stdout == "No notices found.\n"
    engine = connect(f"sqlite:///{tmp_path / 'rebalancer.db'}")
    with SqlWork(engine).begin() as tx:
        owner = tx.users.by_email(ADA).id
        raise_notice(tx, notice := a_notice(owner))
        message = a_delivery(notice)
        tx.notice_deliveries.close(message.id, DeliveryState.FAILED, NOW, fault="status 550")
    engine.dispose()
    found = store("user", "notices", ADA, "--unread", "--json").json
    assert found["unread"] == 1
    assert found["failed_messages"][0]["fault"] == "status 550"
    assert found["notices"][0]["text"] == ("You have stopped automatic decisions for Pension.")
    shown = store("user", "notices", ADA).stdout
    assert "Pension" in shown and "failed after 0 attempts: status 550" in shown


def test_accounts_are_listed(store):
    listed = store("user", "list", "--json").json
    assert [(one["email"], one["role"], one["disabled"]) for one in listed] == [
        (ADA, "person", None),
        (BOB, "person", None),
    ]
    assert ADA in store("user", "list").stdout
    assert store("user", "list", "--role", "operator").stdout == "No accounts found.\n"
    assert len(store("user", "list", "--limit", "1", "--json").json) == 1


def test_first_operator_is_made_at_a_terminal(store, events):
    made = store("user", "role", ADA, "operator", "--yes", "--json")
    assert made.json["role"] == "operator"
    (event,) = [one for one in events() if one.action == "role_changed"]
    assert (event.actor, event.details) == (None, {"before": "person", "role": "operator"})
    assert (event.origin.via, bool(event.origin.agent)) == ("cli", True)


def test_last_operator_stays(store):
    store("user", "role", ADA, "operator", "--yes")
    assert store("user", "role", ADA, "person", "--yes").refused("the last operator")
    assert store("user", "disable", ADA, "--yes").refused("the last operator")
    store("user", "role", BOB, "operator", "--yes")
    assert store("user", "disable", ADA, "--yes").code == 0
    assert store("user", "disable", BOB, "--yes").refused("the last operator")


def test_account_is_disabled_and_enabled(store):
    disabled = store("user", "disable", ADA, "--yes", "--json").json
    assert disabled["disabled"] and disabled["sessions"] == 0
    assert "disabled since" in store("user", "show", ADA).stdout
    assert store("user", "enable", ADA, "--json").json["disabled"] is None
    assert "State: active" in store("user", "show", ADA).stdout


def test_what_ends_access_needs_a_confirmation(store):
    for command in (["disable", ADA], ["end-sessions", ADA], ["role", ADA, "adviser"]):
        assert store("user", *command).refused("add --yes")
    shown = store("user", "show", ADA, "--json").json
    assert (shown["role"], shown["disabled"]) == ("person", None)


def test_sessions_are_ended(store):
    assert store("user", "end-sessions", ADA, "--yes", "--json").json["ended"] == 0
    assert "Ended 0 sessions" in store("user", "end-sessions", ADA, "--yes").stdout


def test_link_for_a_password_is_printed_once_where_no_mail_is_sent(store, events):
    made = store("user", "reset-password", ADA, "--json").json
    assert made["mailed"] is False and "#token=" in made["link"]
    printed = store("user", "reset-password", ADA)
    assert printed.stdout.count("#token=") == 1
    token = printed.stdout.strip().partition("#token=")[2]
    assert not any(token in str(event) for event in events())


def test_link_is_mailed_where_mail_is_configured(store, monkeypatch):
    monkeypatch.setenv("REBALANCER_SMTP_URL", "smtp://127.0.0.1:9")
    monkeypatch.setenv("REBALANCER_MAIL_FROM", "service@example.org")
    monkeypatch.setenv("REBALANCER_PUBLIC_URL", "https://example.org")
    made = store("user", "reset-password", ADA, "--json").json
    assert (made["mailed"], made["link"]) == (True, None)


def test_sign_ins_are_unlocked(store, events):
    assert store("user", "unlock", ADA, "--json").json["failed_logins"] == 0
    assert "account_unlocked" in [event.action for event in events()]


@pytest.mark.parametrize(
    "command", ["show", "unlock", "disable", "enable", "end-sessions", "reset-password"]
)
def test_unknown_account_is_refused(store, command):
    assert store("user", command, "nobody@example.org").refused("nobody@example.org")


def test_unknown_role_is_refused(store):
    assert store("user", "role", ADA, "king", "--yes").refused("king")


def test_exported_account_is_imported_into_an_empty_installation(store, tmp_path, events):
    account = MemoryWork()
    with account.begin() as tx:
        tx.users.add(ada := a_user(email=ADA))
        portfolio = a_managed(ada.id, [deposit := a_deposit(1000, note="=1+1")])
        tx.portfolios.add(portfolio, [deposit])
    with account.read() as tx:
        data = b"".join(account_lines(read_records(tx, ada.id), NOW))
    file = tmp_path / "account.jsonl"
    file.write_bytes(data[:-5])
    assert store("user", "import-export", file, "--email", ADA).refused("account.jsonl, line 5")
    file.write_bytes(data)
    told = store("user", "import-export", file, "--email", "eve@example.org")
    assert told.refused("no user is registered as eve@example.org")
    told = store("user", "import-export", file, "--email", BOB)
    assert told.stdout == f"Imported for {BOB}: 1 portfolio, 1 entry, 0 proposals, 0 shares.\n"
    assert store("user", "import-export", file, "--email", ADA).refused("exist here already")
    listed = store("portfolio", "list", "--owner", BOB, "--json").json
    assert [one["id"] for one in listed] == [str(portfolio.id)]
    (event,) = [one for one in events() if one.action == "account_imported"]
    assert event.details == {"portfolios": "1", "entries": "1"}
