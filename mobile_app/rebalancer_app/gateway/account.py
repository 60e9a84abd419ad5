"""How the person signs in, and where."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.pages import Page


@attrs.frozen
class Session:
    """A login on one device."""

    id: UUID
    device: str
    address: str
    method: str
    created: datetime
    used: datetime
    current: bool


@attrs.frozen
class Sessions:
    """All logins."""

    items: list[Session]


@attrs.frozen
class Ended:
    """How many logins ended."""

    ended: int


@attrs.frozen
class Passkey:
    """A passkey."""

    id: UUID
    name: str
    created: datetime
    used: datetime | None


@attrs.frozen
class Passkeys:
    """All passkeys."""

    items: list[Passkey]


@attrs.frozen
class Factors:
    """Ways to sign in."""

    password: bool
    passkeys: int
    totp: bool
    recovery_codes: int


@attrs.frozen
class Totp:
    """A secret for an authenticator app."""

    secret: str
    uri: str


@attrs.frozen
class Code:
    """The first code of an authenticator app."""

    code: str


@attrs.frozen
class RecoveryCodes:
    """Codes that are shown once."""

    recovery_codes: list[str]


@attrs.frozen
class PasswordChange:
    """The present password and a new one."""

    current_password: str
    new_password: str


@attrs.frozen
class Address:
    """An e-mail address."""

    email: str


@attrs.frozen
class Deletion:
    """When the account is erased, unless the person signs in before."""

    requested: datetime
    erased_after: datetime


@attrs.frozen
class Event:
    """Something that happened in the account.

    Attributes:
        outcome: Such as ``done`` or ``refused``.
        by: Who did it: ``you``, another person, or the service; None if unknown.
        agent: Program that was used.
    """

    id: UUID
    at: datetime
    action: str
    description: str
    outcome: str
    by: str | None
    address: str | None
    agent: str | None


CHANGE_PASSWORD: Endpoint[None] = Endpoint(
    "POST", "/api/users/password", None, PasswordChange, keyed=False
)
CHANGE_EMAIL: Endpoint[Any] = Endpoint(
    "POST", "/api/users/email", dict[str, Any], Address, keyed=False
)
EXPORT: Endpoint[None] = Endpoint("GET", "/api/users/export")
DELETE = Endpoint("DELETE", "/api/users/account", Deletion)
EVENTS = Endpoint("GET", "/api/users/audit", Page[Event], query=("limit", "before"))
SESSIONS = Endpoint("GET", "/api/users/sessions", Sessions)
END_SESSION: Endpoint[None] = Endpoint("DELETE", "/api/users/sessions/{id}")
END_OTHERS = Endpoint("DELETE", "/api/users/sessions", Ended)
PASSKEYS = Endpoint("GET", "/api/users/passkeys", Passkeys)
REMOVE_PASSKEY: Endpoint[None] = Endpoint("DELETE", "/api/users/passkeys/{passkey_id}")
FACTORS = Endpoint("GET", "/api/users/factors", Factors)
START_TOTP = Endpoint("POST", "/api/users/totp", Totp, keyed=False)
CONFIRM_TOTP = Endpoint("POST", "/api/users/totp/confirm", RecoveryCodes, Code, keyed=False)
REMOVE_TOTP: Endpoint[None] = Endpoint("DELETE", "/api/users/totp")
RENEW_CODES = Endpoint("POST", "/api/users/recovery-codes", RecoveryCodes, keyed=False)
