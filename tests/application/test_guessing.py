"""Attacks on passwords: guessing, from many places, and locking the owner out."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from rebalancer.adapters.memory.revocations import MemoryRevocations
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.security.keys import HkdfKeys
from rebalancer.adapters.security.tokens import JwtTokens
from rebalancer.application.account_mails import AccountPolicy, LinkMailer
from rebalancer.application.accounts import LogIn
from rebalancer.application.audit import current_origin
from rebalancer.application.guessing import CountAttempt, current_device
from rebalancer.application.sessions import Login, end_sessions, issue_login
from rebalancer.domain.accounts.guessing import (
    ACCOUNT,
    DEVICE_LIFETIME,
    LONGEST_PAUSE,
    MOST_DEVICE_FAILURES,
    MOST_DEVICES,
    MOST_FAILURES,
    TooManyAttempts,
    networks_of,
)
from rebalancer.domain.audit.events import Origin
from rebalancer.domain.errors import NotAuthenticated
from tests.contracts.stores import NOW, race, stored_user

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
RIGHT, WRONG = "the right password", "a guess"


class PlainPasswords:
    """Passwords that are compared as they are, which takes no time."""

    compared = 0

    def hash(self, password: str) -> str:
        return password

    def verify(self, password: str, hashed: str | None) -> bool:
        self.compared += 1
        return password == hashed

    def is_outdated(self, hashed: str) -> bool:
        return False


class Service:
    """A service with one user; times and places are up to the test."""

    def __init__(self) -> None:
        self.work, self.passwords = MemoryWork(), PlainPasswords()
        keys = HkdfKeys(("a secret of more than 32 characters",))
        self.tokens = JwtTokens(keys)
        self.user = stored_user(self.work, password=RIGHT)
        count = CountAttempt(self.work, self.tokens, keys)
        mailer, policy = LinkMailer(self.tokens, uuid4), AccountPolicy()
        self.use = LogIn(self.work, self.passwords, self.tokens, count, mailer, policy)

    def log_in(
        self,
        password: str = RIGHT,
        now: datetime = NOW,
        *,
        address: str | None = None,
        device: str | None = None,
        email: str | None = None,
    ) -> Login:
        origin, presented = Origin("http", address), device
        noted, known = current_origin.set(origin), current_device.set(presented)
        try:
            return self.use(
                email=email or self.user.email, password=password, session_id=uuid4(), now=now
            )
        finally:
            current_origin.reset(noted)
            current_device.reset(known)

    def guess(self, now: datetime = NOW, **where: str) -> str:
        """Guess wrongly; return the code of the refusal."""
        with pytest.raises((NotAuthenticated, TooManyAttempts)) as refused:
            self.log_in(WRONG, now, **where)
        return refused.value.code

    def attack(self, now: datetime = NOW, **where: str) -> datetime:
        """Guess as often as is allowed, until the account is locked; return the time."""
        while (code := self.guess(now, **where)) != "login_locked":
            now += SECOND if code == "wrong_credentials" else LONGEST_PAUSE
        return now


@pytest.fixture
def service() -> Service:
    return Service()


def test_pauses_grow_after_five_failures(service: Service) -> None:
    now, waited = NOW, []
    for _ in range(20):
        while True:
            try:
                service.log_in(WRONG, now)
            except TooManyAttempts as refused:
                assert refused.retry_after is not None
                waited.append(refused.retry_after)
                now += timedelta(seconds=refused.retry_after)
            except NotAuthenticated:
                break
    assert waited == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900, 900]


def test_account_is_guessed_a_hundred_times_at_most(service: Service) -> None:
    service.attack()
    assert service.passwords.compared == MOST_FAILURES
    assert service.guess(NOW + 365 * DAY) == "login_locked"
    with pytest.raises(TooManyAttempts) as refused:
        service.log_in(RIGHT, NOW + 365 * DAY)
    assert refused.value.retry_after is None


def test_changing_addresses_does_not_help(service: Service) -> None:
    now = NOW
    for number in range(2_000):
        now += SECOND
        service.guess(now, address=f"2001:db8:{number:x}::1")
    assert service.passwords.compared <= 16


def test_attempts_at_the_same_time_all_count(service: Service) -> None:
    codes = race(lambda _: service.guess(), racers=16)
    assert codes.count("wrong_credentials") == ACCOUNT.free
    assert codes.count("login_delayed") == 16 - ACCOUNT.free


def test_refused_attempt_is_not_compared(service: Service) -> None:
    for _ in range(9):
        service.guess()
    assert service.passwords.compared == ACCOUNT.free


def test_unknown_account_is_delayed_like_any_other(service: Service) -> None:
    known = [service.guess() for _ in range(9)]
    unknown = [service.guess(email="nobody@example.org") for _ in range(9)]
    assert known == unknown
    with service.work.read() as tx:
        assert tx.failures.find("account:nobody@example.org") is None


def test_spellings_of_an_address_are_counted_together(service: Service) -> None:
    spellings = [service.user.email.upper(), f" {service.user.email}", service.user.email]
    codes = [service.guess(email=spellings[number % 3]) for number in range(9)]
    assert codes.count("wrong_credentials") == ACCOUNT.free
    odd = [service.guess(email=spelling) for spelling in ["X@y.zz", "x@Y.zz", " x@y.zz"] * 3]
    assert odd.count("wrong_credentials") == ACCOUNT.free


def test_login_takes_back_the_failures(service: Service) -> None:
    for _ in range(30):
        for _ in range(ACCOUNT.free - 1):
            assert service.guess() == "wrong_credentials"
        service.log_in()


def test_owner_is_not_locked_out_on_a_known_device(service: Service) -> None:
    device = service.log_in().device
    assert device is not None
    late = service.attack(NOW + DAY)
    assert service.log_in(now=late, device=device).device is None
    assert service.guess(late) == "login_locked"  # the owner's login opens nothing to strangers
    with pytest.raises(TooManyAttempts):
        service.log_in(now=late)
    assert service.log_in(now=late + 2 * DAY, device=device).device is None
    assert service.guess(late + 2 * DAY) == "wrong_credentials"  # the attack is over


def test_typing_errors_on_a_known_device_are_limited(service: Service) -> None:
    device = service.log_in().device
    assert device is not None
    for _ in range(3):
        for _ in range(MOST_DEVICE_FAILURES - 1):
            assert service.guess(device=device) == "wrong_credentials"
        service.log_in(device=device)
    codes = [service.guess(device=device) for _ in range(30)]
    assert codes.count("wrong_credentials") == MOST_DEVICE_FAILURES + ACCOUNT.free


def test_device_of_another_user_is_unknown(service: Service) -> None:
    device = service.log_in().device
    assert device is not None
    other = stored_user(service.work, password=RIGHT)
    codes = [service.guess(email=other.email, device=device) for _ in range(9)]
    assert codes.count("wrong_credentials") == ACCOUNT.free
    for text in ("guess", "", "x" * 200, "ÿ"):
        assert service.guess(email=other.email, device=text) == "login_delayed"


def test_device_is_forgotten_when_unused_or_when_sessions_end(service: Service) -> None:
    device = service.log_in().device
    assert service.log_in(now=NOW + DEVICE_LIFETIME, device=device).device is not None
    again = service.log_in(now=NOW + DEVICE_LIFETIME).device
    with service.work.begin() as tx:
        end_sessions(tx, MemoryRevocations(), service.user.id, now=NOW)
    assert service.log_in(now=NOW + DEVICE_LIFETIME, device=again).device is not None


def test_known_devices_are_limited(service: Service) -> None:
    first = service.log_in().device
    for number in range(MOST_DEVICES):
        service.log_in(now=NOW + number * SECOND + SECOND)
    assert service.log_in(now=NOW + DAY, device=first).device is not None
    with service.work.read() as tx:
        assert len(tx.devices.of_owner(service.user.id)) == MOST_DEVICES


@pytest.mark.parametrize(
    ("addresses", "most"),
    [
        (["203.0.113.9"], 35),
        ([f"2001:db8:1:2::{host:x}" for host in range(256)], 35),
        ([f"2001:db8:1:{subnet:x}::1" for subnet in range(256)], 55),
        ([f"2001:db8:1:{subnet:x}00::1" for subnet in range(256)], 100),
    ],
    ids=["one IPv4 address", "a /64", "a /56", "a /48"],
)
def test_many_accounts_are_not_guessed_from_one_network(
    service: Service, addresses: list[str], most: int
) -> None:
    now = NOW
    for number in range(1_000):
        now += SECOND
        where = addresses[number % len(addresses)]
        with suppress(NotAuthenticated, TooManyAttempts):
            service.log_in(WRONG, now, address=where, email=f"{number}@example.org")
    assert most - 10 <= service.passwords.compared <= most
    assert service.log_in(now=now, address="198.51.100.1").device is not None


def test_a_day_of_guesses_from_one_address(service: Service) -> None:
    now, guesses = NOW, 0
    while now < NOW + DAY:
        code = service.guess(now, address="203.0.113.9", email=f"{guesses}@example.org")
        guesses += code == "wrong_credentials"
        now += 10 * SECOND
    assert guesses < 300


def test_right_passwords_do_not_slow_a_network_down(service: Service) -> None:
    users = [stored_user(service.work, password=RIGHT) for _ in range(60)]
    for user in users:
        assert service.log_in(address="203.0.113.9", email=user.email).device is not None


def test_own_account_does_not_reset_the_network_of_an_attacker(service: Service) -> None:
    own = stored_user(service.work, password=RIGHT)
    now = NOW
    for number in range(500):
        now += SECOND
        with suppress(NotAuthenticated, TooManyAttempts):
            service.log_in(WRONG, now, address="203.0.113.9", email=f"{number}@example.org")
        with suppress(TooManyAttempts):
            service.log_in(RIGHT, now, address="203.0.113.9", email=own.email)
    wrong = service.passwords.compared
    assert wrong < 100


def test_another_way_to_sign_in_opens_a_locked_account(service: Service) -> None:
    late = service.attack()
    with service.work.begin() as tx:
        issue_login(
            tx, service.tokens, service.user, session_id=uuid4(), method="passkey", now=late
        )
    assert service.log_in(now=late).device is not None


def test_attempts_are_counted_after_a_clock_was_set_back(service: Service) -> None:
    for _ in range(MOST_FAILURES):
        with suppress(NotAuthenticated, TooManyAttempts):
            service.log_in(WRONG, NOW + 365 * DAY)
    assert service.guess(NOW) == "login_delayed"
    assert service.guess(NOW + LONGEST_PAUSE) in ("login_delayed", "wrong_credentials")


@pytest.mark.parametrize(
    ("address", "networks"),
    [
        ("203.0.113.9", ["203.0.113.9"]),
        ("::ffff:203.0.113.9", ["203.0.113.9"]),
        (
            "2001:db8:1:2ff:3::4",
            ["2001:db8:1:2ff::/64", "2001:db8:1:200::/56", "2001:db8:1::/48"],
        ),
        ("testclient", []),
        (None, []),
    ],
)
def test_networks_of_an_address(address: str | None, networks: list[str]) -> None:
    assert [network for network, _ in networks_of(address)] == networks
