"""Sessions, and the bearers of their access tokens."""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from uuid import UUID

import attrs

from rebalancer.domain.accounts.api_keys import Scope
from rebalancer.domain.errors import NotAllowed

IDLE_LIFETIME = timedelta(days=30)
"""Time after its last use at which a session ends; also the validity of a refresh token."""

SESSION_LIFETIME = timedelta(days=90)
"""Time after its start at which a session ends, however often it is used."""

RECENT = timedelta(minutes=10)
"""Age up to which a proof of identity suffices for sensitive changes."""

LONGEST_AGENT = 200
"""Characters of a client's description of itself that are stored."""


@attrs.frozen
class Session:
    """Login of a user on one device.

    Attributes:
        id: Also the family of its refresh tokens.
        used: Time of the last exchange of a refresh token.
        authenticated: Time of the last proof of identity.
        method: How the user proved it, such as ``password`` or ``passkey``.
        ends: Time at which the session ends at the latest.
        address: Prefix of the client's address, see `prefix_of`; empty if unknown.
        agent: Description that the client gave of itself; empty if unknown.
        ended: Time at which it was ended; None before. It stays stored until ``ends``.
    """

    id: UUID
    owner: UUID
    created: datetime
    used: datetime
    authenticated: datetime
    method: str
    ends: datetime
    address: str = ""
    agent: str = ""
    ended: datetime | None = None

    @classmethod
    def start(
        cls,
        id: UUID,
        owner: UUID,
        method: str,
        now: datetime,
        *,
        address: str = "",
        agent: str = "",
    ) -> Session:
        """Return a new session."""
        ends = now + SESSION_LIFETIME
        return cls(id, owner, now, now, now, method, ends, address, agent[:LONGEST_AGENT])

    def is_active(self, now: datetime) -> bool:
        """Return whether tokens of this session are still accepted."""
        return self.ended is None and now < min(self.ends, self.used + IDLE_LIFETIME)

    def refresh_ends(self, now: datetime) -> datetime:
        """Return the end of the validity of a refresh token that is issued now."""
        return min(now + IDLE_LIFETIME, self.ends)

    def check_recent(self, now: datetime) -> None:
        """Raise ReauthenticationRequired if the last proof of identity is too old."""
        if now - self.authenticated > RECENT:
            raise reauthentication_required()


class ReauthenticationRequired(NotAllowed):
    """A sensitive change needs a recent proof of identity."""

    default_code = "reauthentication_required"


def reauthentication_required() -> ReauthenticationRequired:
    """Return the error of a session whose proof of identity is too old."""
    minutes = int(RECENT / timedelta(minutes=1))
    return ReauthenticationRequired(
        f"this needs a proof of identity that is at most {minutes} minutes old; confirm it is you"
    )


@attrs.frozen
class Bearer:
    """User whom a credential stands for: an access token, or an API key.

    Attributes:
        session: Session of the access token; of an API key its id, which no session has.
        scopes: What an API key allows; None: everything.
    """

    owner: UUID
    session: UUID
    scopes: frozenset[Scope] | None = None


def prefix_of(address: str | None) -> str:
    """Return the network of an address, which tells places apart and not households.

    IPv4 addresses are cut to 24 bits, IPv6 addresses to 48. Other text gives an empty string.
    """
    if address is None:
        return ""
    try:
        host = ip_address(address.partition("/")[0])
    except ValueError:
        return ""
    if isinstance(host, IPv6Address):
        if host.ipv4_mapped is None:
            return str(ip_network((host, 48), strict=False))
        host = host.ipv4_mapped
    return str(ip_network((host, 24), strict=False))
