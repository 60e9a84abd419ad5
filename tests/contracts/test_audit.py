"""Contract of `AuditTrail`; its events can be added and read, and nothing else."""

from datetime import timedelta
from uuid import uuid4

import attrs
import pytest
from sqlalchemy.exc import IntegrityError

from rebalancer.adapters.sql.engine import writing
from rebalancer.application.audit import current_origin, record
from rebalancer.domain.audit.chain import Link
from rebalancer.domain.audit.events import Action, Origin, Outcome
from rebalancer.domain.errors import Unavailable
from tests.contracts.databases import changing_schema
from tests.contracts.stores import HOUR, NOW, all_pages, race

ORIGIN = Origin("http", "203.0.113.7", "request-1", "curl/8")


@pytest.fixture
def work(make):
    return make()


@pytest.fixture(autouse=True)
def _origin():
    token = current_origin.set(ORIGIN)
    yield
    current_origin.reset(token)


def recorded(work, *actions, at=NOW, **others):
    """Record events, an hour after one another."""
    with work.begin() as tx:
        for hours, action in enumerate(actions):
            record(tx, action, at=at + hours * HOUR, **others)


def seal(work, limit=100):
    with work.begin() as tx:
        return tx.audit.seal(NOW, limit=limit)


def check(work, noted=None):
    with work.read() as tx:
        return tx.audit.verify(noted)


def page(work, *args, **conditions):
    with work.read() as tx:
        return tx.audit.page(*args, **{"limit": 100, **conditions})


def test_event_is_returned_as_recorded(work):
    user, other = uuid4(), uuid4()
    recorded(
        work,
        Action.ACCOUNT_DISABLED,
        actor=other,
        subject=user,
        outcome=Outcome.REFUSED,
        target="portfolio:1",
        details={"reason": "fraud"},
    )
    (event,) = page(work)
    assert event.origin == ORIGIN
    assert (event.at, event.action) == (NOW, Action.ACCOUNT_DISABLED)
    assert (event.actor, event.subject) == (other, user)
    assert event.outcome is Outcome.REFUSED
    assert event.target == "portfolio:1"
    assert event.details == {"reason": "fraud"}


def test_event_is_about_its_actor_unless_it_names_another(work):
    user = uuid4()
    recorded(work, Action.LOGIN, actor=user)
    assert [event.subject for event in page(work)] == [user]


def test_event_of_a_transaction_that_fails_is_lost(work):
    with pytest.raises(ValueError), work.begin() as tx:
        record(tx, Action.LOGIN, at=NOW)
        raise ValueError
    assert page(work) == []


def test_pages_are_complete_and_latest_first(work):
    user = uuid4()
    recorded(work, *(Action.LOGIN,) * 5, actor=user)
    recorded(work, Action.LOGIN, actor=uuid4())
    found = all_pages(lambda before: page(work, user, before=before, limit=2), 2)
    assert [event.at for event in found] == [NOW + hours * HOUR for hours in (4, 3, 2, 1, 0)]
    assert page(work, before=uuid4()) == []


def test_events_of_one_time_keep_their_order(work):
    actions = [Action.LOGIN, Action.LOGOUT] * 20
    with work.begin() as tx:
        for action in actions:
            record(tx, action, at=NOW)
    assert [event.action for event in page(work)] == actions[::-1]


def test_page_fits_all_conditions(work):
    user, operator = uuid4(), uuid4()
    recorded(work, Action.LOGIN, Action.LOGOUT, actor=user)
    recorded(work, Action.ACCOUNT_DISABLED, actor=operator, subject=user, at=NOW + HOUR / 2)
    recorded(work, Action.LOGIN, actor=operator, at=NOW + HOUR / 4)

    def actions(*args, **conditions):
        return [event.action for event in page(work, *args, **conditions)]

    assert actions(user) == ["logout", "account_disabled", "login"]
    assert actions(actor=user) == ["logout", "login"]
    assert actions(involved=operator) == ["account_disabled", "login"]
    assert actions(user, action="login") == ["login"]
    assert actions(user, since=NOW + HOUR) == ["logout"]


def test_sealed_trail_is_whole(work):
    recorded(work, *(Action.LOGIN,) * 5, actor=uuid4())
    assert check(work).pending == 5
    with work.read() as tx:
        assert tx.audit.has_pending()
    assert seal(work, limit=3).position == 3
    head = seal(work)
    assert head.position == 5
    assert seal(work) is None
    with work.read() as tx:
        assert not tx.audit.has_pending()
    found = check(work, head)
    assert (found.events, found.pending, found.head, found.faults) == (5, 0, head, ())


def test_concurrent_sealing_makes_one_chain(work):
    recorded(work, *(Action.LOGIN,) * 40)
    while any(race(lambda _: seal(work, limit=3))):
        pass
    assert check(work).events == 40
    assert check(work).faults == ()


def test_noted_link_shows_a_shorter_or_another_chain(work):
    recorded(work, Action.LOGIN)
    head = seal(work)
    (fault,) = check(work, Link(head.position, "f" * 64)).faults
    assert "differs from the noted one" in fault
    (fault,) = check(work, Link(9, "f" * 64)).faults
    assert "newest events were removed" in fault


def test_addresses_can_be_erased_without_breaking_the_chain(work):
    user = uuid4()
    recorded(work, Action.LOGIN, Action.LOGOUT, actor=user)
    recorded(work, Action.LOGIN, actor=uuid4())
    seal(work)
    with work.begin() as tx:
        assert tx.audit.erase_origins(involved=user) == 2
        assert tx.audit.erase_origins(involved=user) == 0
    bare = attrs.evolve(ORIGIN, address=None, agent=None)
    assert [event.origin for event in page(work, user)] == [bare, bare]
    assert check(work).faults == ()
    with work.begin() as tx:
        assert tx.audit.erase_origins(before=NOW + HOUR) == 1
    assert check(work).faults == ()


# As the role that owns the tables.


@pytest.fixture(params=["sqlite", "postgres"])
def owned(request, stores_of):
    """Return an empty store of SQL, and a function that opens a transaction of its owner."""
    work = stores_of(request.param)
    return work, lambda: changing_schema(work.engine)


def cut(owner, before):
    from rebalancer.adapters.sql.audit import SqlAuditTrail

    with owner() as connection:
        return SqlAuditTrail(connection, True).cut(before, NOW + 9 * HOUR)


def record_cut(work, made):
    recorded(work, Action.AUDIT_CUT, at=made.cut, details=made.details())


def test_trail_stays_whole_after_a_cut(owned):
    work, owner = owned
    recorded(work, *(Action.LOGIN,) * 5)
    seal(work)
    assert cut(owner, NOW) is None
    made = cut(owner, NOW + 2 * HOUR)
    assert made.through.position == 2
    (fault,) = check(work).faults
    assert "without permission" in fault
    record_cut(work, made)
    assert check(work).faults == ()
    assert check(work).start == made.through
    seal(work)
    found = check(work)
    assert (found.events, found.head.position, found.faults) == (4, 6, ())
    record_cut(work, cut(owner, NOW + 9 * HOUR))
    seal(work)
    assert (check(work).start.position, check(work).events) == (5, 2)
    assert check(work).faults == ()


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_events SET action = 'logout' WHERE id = {second}", "position 2 or its seal"),
        ("UPDATE audit_events SET subject = NULL WHERE id = {second}", "position 2 or its seal"),
        ("UPDATE audit_origins SET address = '::1' WHERE event = {second}", "address or the agent"),
        ("UPDATE audit_seals SET digest = 'f' WHERE position = 2", "position 2 or its seal"),
        ("DELETE FROM audit_seals WHERE position = 2", "seals 2 to 2 are missing"),
        ("UPDATE audit_seals SET event = {ghost} WHERE position = 2", "2 is missing"),
        ("DELETE FROM audit_pending", "was never sealed"),
    ],
)
def test_verification_shows_changes_and_removals(owned, statement, fault):
    work, owner = owned
    recorded(work, *(Action.LOGIN,) * 3, actor=uuid4())
    seal(work)
    second = page(work)[1].id
    recorded(work, Action.LOGOUT)
    with owner() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if is_sqlite:
            drop_triggers(connection)
        quoted = {
            name: f"'{id.hex if is_sqlite else id}'"
            for name, id in (("second", second), ("ghost", uuid4()))
        }
        connection.exec_driver_sql(statement.format(**quoted))
    assert any(fault in found for found in check(work).faults)


def test_verification_shows_reordered_events(owned):
    work, owner = owned
    recorded(work, Action.LOGIN, Action.LOGOUT, Action.LOGIN)
    seal(work)
    with owner() as connection:
        if connection.dialect.name == "sqlite":
            drop_triggers(connection)
        for old, new in ((1, 9), (2, 1), (9, 2)):
            connection.exec_driver_sql(
                f"UPDATE audit_seals SET position = {new} WHERE position = {old}"
            )
    assert len(check(work).faults) >= 2


def drop_triggers(connection):
    names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    for (name,) in names.all():
        connection.exec_driver_sql(f"DROP TRIGGER {name}")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET action = 'logout'",
        "UPDATE audit_seals SET digest = ''",
        "DELETE FROM audit_events",
        "DELETE FROM audit_seals",
        "INSERT INTO audit_cuts VALUES (1, '', '2020-01-01', '2020-01-01')",
    ],
)
def test_sqlite_refuses_changes_and_removals(stores_of, statement):
    work = stores_of("sqlite")
    recorded(work, Action.LOGIN, Action.LOGIN)
    seal(work)
    with writing(work.engine) as connection:
        if statement.startswith("INSERT"):  # a cut allows removals up to its position alone
            connection.exec_driver_sql(statement)
            connection.exec_driver_sql("DELETE FROM audit_origins")
            connection.exec_driver_sql(
                "DELETE FROM audit_events WHERE id IN ("
                "SELECT event FROM audit_seals WHERE position = 1)"
            )
            statement = "DELETE FROM audit_events"
    with (
        pytest.raises(IntegrityError, match="the audit trail cannot be"),
        writing(work.engine) as connection,
    ):
        connection.exec_driver_sql(statement)


def test_application_role_may_not_cut(stores_of):
    work = stores_of("postgres")
    recorded(work, Action.LOGIN)
    seal(work)
    with pytest.raises(Unavailable) as raised, work.begin() as tx:
        tx.audit.cut(NOW + timedelta(days=9), NOW)
    assert raised.value.code == "database_privilege_missing"


def test_memory_cuts_like_the_databases():
    from rebalancer.adapters.memory.stores import MemoryWork

    work = MemoryWork()
    recorded(work, *(Action.LOGIN,) * 5)
    seal(work)
    with work.begin() as tx:
        made = tx.audit.cut(NOW + 2 * HOUR, NOW + 9 * HOUR)
    assert made.through.position == 2
    assert len(check(work).faults) == 1
    record_cut(work, made)
    seal(work)
    assert (check(work).events, check(work).faults) == (4, ())
