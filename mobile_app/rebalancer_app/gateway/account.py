"""How the person signs in, and where."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint


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
