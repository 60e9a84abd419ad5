"""Limits on guessing passwords: growing pauses by account and by network, and known devices.

Each attempt counts as a failure before the password is compared, so that attempts at the same time
count, too; a right password takes it back.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from uuid import UUID

import attrs

from rebalancer.domain.errors import RebalancerError

LONGEST_PAUSE = timedelta(minutes=15)

MOST_FAILURES = 100
"""Failures in a row after which an account is locked for unknown devices (NIST SP 800-63B-4)."""

MOST_DEVICE_FAILURES = 10
"""Failures in a row after which a known device counts as unknown."""

MOST_DEVICES = 20
"""Known devices of a user; a further one replaces the one that was not used for longest."""

DEVICE_LIFETIME = timedelta(days=180)
"""Time without a login after which a known device counts as unknown."""

FORGOTTEN = timedelta(days=1)
"""Time after which failures of networks, and of accounts that do not exist, are deleted."""


@attrs.frozen
class Pace:
    """How fast failures may follow each other.

    Attributes:
        free: Failures that cause no pause; each further one doubles it, beginning with a second.
        most: Failures after which no attempt is allowed; None: any number is.
        half_life: Time in which half of the failures are forgotten; None: they all count until a
            login.
    """

    free: int
    most: int | None = None
    half_life: timedelta | None = None


ACCOUNT = Pace(5, most=MOST_FAILURES)
_NETWORKS = {64: 20, 56: 40, 48: 80}
"""Free failures of IPv6 networks by the length of their prefix."""

_FORGETTING = timedelta(hours=2)


@attrs.frozen
class Failures:
    """Failed attempts in a row to guess a password.

    Attributes:
        key: What they were counted for: an account or a network.
        count: Number of failures, as of ``last``.
        last: Time of the latest one.
        owner: The account; None for a network, and for an account that does not exist.
    """

    key: str
    count: float
    last: datetime
    owner: UUID | None = None

    def remaining(self, pace: Pace, now: datetime) -> float:
        """Return the number of failures that are not forgotten yet."""
        if pace.half_life is None:
            return self.count
        age = max(now - self.last, timedelta(0))
        return float(self.count * 0.5 ** (age / pace.half_life))

    def add(self, pace: Pace, now: datetime) -> Failures:
        """Return these failures and a further one.

        Raises:
            TooManyAttempts: an attempt is not allowed yet, or not any more.
        """
        count = self.remaining(pace, now)
        if pace.most is not None and count >= pace.most:
            raise TooManyAttempts(
                "too many wrong passwords or codes in a row; log in on a device that you used "
                "before, with a passkey, or reset the password",
                code="login_locked",
            )
        pause = _pause_after(count - pace.free)
        left = min(self.last + pause - now, pause)  # also if the clock was ahead
        if left > timedelta(0):
            seconds = max(1, round(left.total_seconds()))
            raise TooManyAttempts(
                f"too many wrong passwords or codes in a row; try again in {seconds} s",
                code="login_delayed",
                retry_after=seconds,
            )
        return attrs.evolve(self, count=count + 1, last=now)


@attrs.frozen
class KnownDevice:
    """Device on which a user has logged in before, recognised by a random token.

    Attributes:
        digest: SHA-256 of the token; the token itself is not stored.
        used: Time of the last login on it.
        failures: Wrong passwords in a row since then.
    """

    digest: str
    owner: UUID
    created: datetime
    used: datetime
    failures: int = 0

    def is_trusted(self, owner: UUID, now: datetime, counted: int = 0) -> bool:
        """Return whether its attempts to log in as a user are counted by themselves.

        ``counted`` attempts are under way.
        """
        fails_rarely = self.failures - counted < MOST_DEVICE_FAILURES
        return self.owner == owner and fails_rarely and now - self.used < DEVICE_LIFETIME


class TooManyAttempts(RebalancerError):
    """A password was guessed wrongly too often.

    Attributes:
        retry_after: Seconds until another attempt is allowed; None: only a login by other means.
    """

    default_code = "login_delayed"

    def __init__(self, message: str, *, code: str = "", retry_after: int | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message, code=code)


def networks_of(address: str | None) -> list[tuple[str, Pace]]:
    """Return the networks that an address is counted for, with their paces.

    An IPv4 address stands for itself. A customer may have an IPv6 network of any of three sizes.
    """
    try:
        host = ip_address((address or "").partition("/")[0])
    except ValueError:
        return []
    if isinstance(host, IPv6Address) and host.ipv4_mapped is None:
        return [
            (str(ip_network((host, bits), strict=False)), Pace(free, half_life=_FORGETTING))
            for bits, free in _NETWORKS.items()
        ]
    host = getattr(host, "ipv4_mapped", None) or host
    return [(str(host), Pace(_NETWORKS[64], half_life=_FORGETTING))]


def _pause_after(excess: float) -> timedelta:
    """Return the pause after a number of failures beyond the free ones."""
    if excess < 0:
        return timedelta(0)
    return min(timedelta(seconds=2 ** min(excess, 20)), LONGEST_PAUSE)
