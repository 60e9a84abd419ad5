"""Sessions: their lifetime, lost answers, reuse, and the proof of identity that changes need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from uuid import uuid4

import attrs
import pytest

from rebalancer.adapters.memory.revocations import MemoryRevocations
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.security.keys import HkdfKeys
from rebalancer.adapters.security.tokens import JwtTokens
from rebalancer.application.accounts import LogOut, RefreshLogin
from rebalancer.application.audit import current_origin
from rebalancer.application.guessing import current_device
from rebalancer.application.own_sessions import EndOtherSessions, EndSession, ListSessions
from rebalancer.application.ports.store import Transaction
from rebalancer.application.sessions import (
    MOST_SESSIONS,
    RETRY_PERIOD,
    Login,
    end_sessions,
    issue_login,
    require_recent,
)
from rebalancer.domain.accounts.devices import describe_device
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.sessions import (
    RECENT,
    SESSION_LIFETIME,
    Bearer,
    ReauthenticationRequired,
    Session,
    prefix_of,
)
from rebalancer.domain.audit.events import Origin
from rebalancer.domain.errors import NotAuthenticated, NotFound, RebalancerError
from tests.contracts.stores import NOW, a_token, stored_user

HOME = Origin("http", "192.0.2.7", "1", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
SECOND = timedelta(seconds=1)


@contextmanager
def requests_from(origin: Origin) -> Iterator[None]:
    token = current_origin.set(origin)
    try:
        yield
    finally:
        current_origin.reset(token)


class Service:
    """The use cases over memory; requests come from home unless a test sets another origin."""

    def __init__(self) -> None:
        self.work, self.revocations = MemoryWork(), MemoryRevocations()
        self.tokens = JwtTokens(HkdfKeys(("a secret of more than 32 characters",)))
        self.user = stored_user(self.work)
        self.refreshing = RefreshLogin(self.work, self.tokens, self.revocations)

    def log_in(self, now: datetime = NOW) -> Login:
        with self.work.begin() as tx:
            return issue_login(
                tx, self.tokens, self.user, session_id=uuid4(), method="password", now=now
            )

    def refresh(self, login: Login, now: datetime, origin: Origin = HOME) -> Login:
        with requests_from(origin):
            return self.refreshing(login.refresh, now=now)

    def bearer(self, login: Login) -> Bearer:
        return Bearer(self.user.id, login.session.id)

    def actions(self) -> list[str]:
        with self.work.read() as tx:
            page = tx.audit.page(subject=self.user.id, limit=99)
        return [event.action for event in page]


@pytest.fixture
def service() -> Iterator[Service]:
    with requests_from(HOME):
        yield Service()


def test_session_notes_where_it_is_used(service: Service) -> None:
    login = service.log_in()
    assert (login.session.address, login.session.agent) == ("192.0.2.0/24", HOME.agent)
    phone = Origin("http", "2001:db8:1:2::3", "2", "x" * 5_000)
    moved = service.refresh(login, NOW + SECOND, phone).session
    assert (moved.address, moved.agent) == ("2001:db8:1::/48", "x" * 200)
    assert (moved.created, moved.authenticated, moved.used) == (NOW, NOW, NOW + SECOND)


def test_session_ends_90_days_after_its_start_however_often_it_is_used(service: Service) -> None:
    login, now = service.log_in(), NOW
    while now < NOW + SESSION_LIFETIME - timedelta(days=20):
        now += timedelta(days=20)
        login = service.refresh(login, now)
        assert login.refresh_ends <= NOW + SESSION_LIFETIME
    last = NOW + SESSION_LIFETIME - timedelta(minutes=1)
    login = service.refresh(login, last)
    assert login.access_ends == login.refresh_ends == NOW + SESSION_LIFETIME
    with pytest.raises(NotAuthenticated):
        service.refresh(login, NOW + SESSION_LIFETIME)


def test_lost_answer_can_be_asked_for_once_more(service: Service) -> None:
    login = service.log_in()
    lost = service.refresh(login, NOW + SECOND)
    again = service.refresh(login, NOW + SECOND + RETRY_PERIOD)
    assert service.refresh(again, NOW + timedelta(minutes=9)).session.id == login.session.id
    with pytest.raises(NotAuthenticated):  # a thief had the lost answer
        service.refresh(lost, NOW + timedelta(minutes=10))
    with service.work.read() as tx:
        assert not tx.tokens.has_family(login.session.id)


@pytest.mark.parametrize(
    ("origin", "later"),
    [
        (attrs.evolve(HOME, address="198.51.100.7"), SECOND),
        (attrs.evolve(HOME, agent="curl/8"), SECOND),
        (attrs.evolve(HOME, address=None), SECOND),
        (HOME, RETRY_PERIOD + SECOND),
    ],
    ids=["another network", "another program", "unknown network", "too late"],
)
def test_reuse_by_another_client_ends_the_session(
    service: Service, origin: Origin, later: timedelta
) -> None:
    login = service.log_in()
    second = service.refresh(login, NOW + SECOND)
    with pytest.raises(NotAuthenticated):
        service.refresh(login, NOW + SECOND + later, origin)
    with pytest.raises(NotAuthenticated):
        service.refresh(second, NOW + SECOND + later)
    assert "refresh_reused" in service.actions()


def test_third_use_within_the_period_ends_the_session(service: Service) -> None:
    login = service.log_in()
    service.refresh(login, NOW + SECOND)
    second = service.refresh(login, NOW + 2 * SECOND)
    with pytest.raises(NotAuthenticated):
        service.refresh(login, NOW + 3 * SECOND)
    with pytest.raises(NotAuthenticated):
        service.refresh(second, NOW + 4 * SECOND)


def test_text_of_a_stranger_takes_no_lock(service: Service) -> None:
    class ReadOnly:
        read = service.work.read

        def begin(self) -> AbstractContextManager[Transaction]:
            raise AssertionError("took the writer lock")

    work = ReadOnly()
    with pytest.raises(NotAuthenticated):
        RefreshLogin(work, service.tokens, service.revocations)("guess", now=NOW)
    LogOut(work, service.tokens, service.revocations)("guess", now=NOW)


def test_login_of_an_earlier_version_gets_a_session(service: Service) -> None:
    token = attrs.evolve(a_token(service.user.id), digest=service.tokens.digest("old"))
    with service.work.begin() as tx:
        tx.tokens.add(token)
    login = service.refreshing("old", now=NOW + SECOND)
    assert login.session.id == token.family
    assert (login.session.created, login.session.authenticated) == (NOW, NOW)
    assert ListSessions(service.work)(service.user.id, now=NOW) == [login.session]


def test_one_session_too_many_ends_the_one_not_used_for_longest(service: Service) -> None:
    logins = [service.log_in(NOW + number * SECOND) for number in range(MOST_SESSIONS + 1)]
    found = ListSessions(service.work)(service.user.id, now=NOW + timedelta(hours=1))
    assert [one.id for one in found] == [login.session.id for login in logins[:0:-1]]
    with pytest.raises(NotAuthenticated):
        service.refresh(logins[0], NOW + timedelta(hours=1))


def test_own_session_ends_without_a_recent_proof_and_others_do_not(service: Service) -> None:
    mine, other = service.log_in(), service.log_in()
    late = NOW + RECENT + SECOND
    end = EndSession(service.work, service.revocations)
    with pytest.raises(ReauthenticationRequired):
        end(other.session.id, service.bearer(mine), now=late)
    with pytest.raises(ReauthenticationRequired):
        EndOtherSessions(service.work, service.revocations)(service.bearer(mine), now=late)
    end(mine.session.id, service.bearer(mine), now=late)
    assert ListSessions(service.work)(service.user.id, now=late) == [other.session]
    assert service.actions().count("session_ended") == 1


def test_sign_in_on_another_device_is_announced(service: Service) -> None:
    device = service.log_in().device
    token = current_device.set(device)
    service.log_in()
    current_device.reset(token)
    with service.work.read() as tx:
        assert not tx.outbox.has_due(NOW)  # the first device, and a known one
    service.log_in()
    with service.work.begin() as tx:
        mail = tx.outbox.claim(NOW, until=NOW + SECOND)
    assert mail is not None
    assert mail.kind is MailKind.NEW_SIGN_IN
    assert mail.facts == {"address": "192.0.2.0/24", "method": "password"}


def test_others_sessions_are_not_found(service: Service) -> None:
    mine = service.log_in()
    stranger = Bearer(stored_user(service.work).id, uuid4())
    end = EndSession(service.work, service.revocations)
    for id, bearer in ((mine.session.id, stranger), (uuid4(), service.bearer(mine))):
        with pytest.raises(NotFound):
            end(id, bearer, now=NOW)
    end(mine.session.id, service.bearer(mine), now=NOW)
    with pytest.raises(NotFound):
        end(mine.session.id, service.bearer(mine), now=NOW)


def test_all_other_sessions_end(service: Service) -> None:
    mine, others = service.log_in(), [service.log_in() for _ in range(3)]
    end = EndOtherSessions(service.work, service.revocations)
    assert end(service.bearer(mine), now=NOW) == 3
    assert {family for family, _ in service.revocations.active()} == {
        one.session.id for one in others
    }
    assert ListSessions(service.work)(service.user.id, now=NOW) == [mine.session]
    assert end(service.bearer(mine), now=NOW) == 0


def test_sessions_do_not_end_if_the_change_is_rolled_back(service: Service) -> None:
    login = service.log_in()
    with pytest.raises(RebalancerError), service.work.begin() as tx:
        end_sessions(tx, service.revocations, service.user.id, now=NOW)
        raise RebalancerError("no")
    assert service.revocations.active() == []
    assert service.refresh(login, NOW + SECOND).session.id == login.session.id


def test_recent_proof_is_ten_minutes_old_at_most(service: Service) -> None:
    bearer = service.bearer(service.log_in())
    with service.work.read() as tx:
        assert require_recent(tx, bearer, NOW + RECENT).id == bearer.session
        for late in (NOW + RECENT + SECOND, NOW + SESSION_LIFETIME):
            with pytest.raises(ReauthenticationRequired):
                require_recent(tx, bearer, late)
        with pytest.raises(ReauthenticationRequired):
            require_recent(tx, Bearer(service.user.id, uuid4()), NOW)


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("::1", "::/48"),
        ("unknown", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_place_is_a_network(address: str | None, prefix: str) -> None:
    assert prefix_of(address) == prefix


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (HOME.agent, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140 Mobile Safari/537", "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("x" * 200, "x" * 40),
        ("", "Unknown device"),
        ("/", "Unknown device"),
    ],
)
def test_device_is_named_by_its_agent(agent: str, name: str) -> None:
    assert describe_device(agent) == name


def test_session_knows_when_it_is_active() -> None:
    session = Session.start(uuid4(), uuid4(), "password", NOW)
    assert session.is_active(NOW)
    assert not session.is_active(NOW + timedelta(days=30))
    assert not attrs.evolve(session, ended=NOW).is_active(NOW)
