"""`rebalancer audit`."""

import json
import sys
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest

from rebalancer.adapters.sql.engine import connect, writing
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.audit import current_origin, record
from rebalancer.application.audit_trail import SealAuditTrail
from rebalancer.domain.audit.events import Action, Origin
from tests.contracts.jobs import now


@pytest.fixture
def work(database):
    engine = connect(database)
    yield SqlWork(engine)
    engine.dispose()


def recorded(work, *actions, age=timedelta(0), **others):
    origin = current_origin.set(Origin("http", "203.0.113.7", "request-1", "curl/8"))
    with work.begin() as tx:
        for action in actions:
            record(tx, action, at=now() - age, **others)
    current_origin.reset(origin)


def test_events_are_listed_and_filtered(quickly, work):
    assert quickly("audit", "list").stdout == "No events found.\n"
    ada = uuid4()
    recorded(work, Action.REGISTER, Action.LOGIN, actor=ada)
    recorded(work, Action.LOGIN_REFUSED)
    table = quickly("audit", "list").stdout
    assert all(text in table for text in ("login_refused", str(ada), "203.0.113.7"))
    found = json.loads(quickly("audit", "list", "--user", str(ada), "--json").stdout)
    assert [event["action"] for event in found] == ["login", "register"]
    assert found[0]["request"] == "request-1" and found[0]["agent"] == "curl/8"
    only = ("audit", "list", "--action", "login_refused", "--since", "2020-01-01", "--json")
    assert len(json.loads(quickly(*only).stdout)) == 1
    assert quickly("audit", "list", "--since", "2100-01-01").stdout == "No events found.\n"


def test_accounts_are_named_by_address(quickly, work, monkeypatch):
    monkeypatch.setattr(sys, "stdin", StringIO("correct horse battery staple\n"))
    assert quickly("user", "create", "--email", "ada@example.org").code == 0
    found = json.loads(quickly("audit", "list", "--user", "ADA@example.org", "--json").stdout)
    assert [(event["action"], event["via"], event["actor"]) for event in found] == [
        ("register", "cli", None)
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["list", "--user", "bob@example.org"], "no account has the address bob@example.org"),
        (["list", "--action", "logins"], "did you mean login?"),
        (["list", "--since", "yesterday"], "does not match"),
        (["verify", "--noted", "7"], "as POSITION:DIGEST"),
        (["cut", "--days", "1"], "not in the range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_explained(quickly, work, options, message):
    done = quickly("audit", *options)
    assert done.code == 2
    assert message in done.stderr


def test_check_prints_the_head_and_fails_on_a_change(quickly, work):
    recorded(work, Action.LOGIN, Action.LOGOUT)
    SealAuditTrail(work)(now())
    recorded(work, Action.LOGIN)
    checked = quickly("audit", "verify")
    assert checked.code == 0
    assert checked.stdout.startswith("Checked 2 events; 1 not sealed yet.\nHead: 2:")
    head = checked.stdout.split()[-1]
    assert quickly("audit", "verify", "--noted", head).code == 0
    assert quickly("audit", "verify", "--noted", f"9{head}").code == 3
    with writing(work.engine) as connection:
        connection.exec_driver_sql("DROP TRIGGER audit_events_unchangeable")
        connection.exec_driver_sql("UPDATE audit_events SET action = 'register'")
    failed = quickly("audit", "verify", "--json")
    assert failed.code == 3
    assert len(json.loads(failed.stdout)["faults"]) == 2


def test_cut_removes_old_events_and_keeps_the_chain(quickly, work):
    recorded(work, Action.LOGIN, Action.LOGOUT, age=timedelta(days=800))
    recorded(work, Action.LOGIN, age=timedelta(days=100))
    SealAuditTrail(work)(now())
    assert quickly("audit", "cut").stdout == "Removed the events through position 2.\n"
    assert quickly("audit", "cut").stdout == "No event is old enough.\n"
    assert quickly("audit", "cut", "--days", "50").stdout.endswith("position 3.\n")
    found = json.loads(quickly("audit", "list", "--json").stdout)
    assert [event["action"] for event in found] == ["audit_cut", "audit_cut"]
    assert "after a cut through position 3; 2 not sealed" in quickly("audit", "verify").stdout
