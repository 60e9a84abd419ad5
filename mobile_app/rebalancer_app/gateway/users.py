"""The person's account."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint


@attrs.frozen
class Limits:
    """A risk profile: shares of the portfolio, and rates a year."""

    name: str
    target_volatility: float
    tolerated_drawdown: float
    equity_ceiling: float
    cash_floor: float
    max_weight: float


@attrs.frozen
class Assessment:
    """Outcome of the risk questionnaire."""

    profile: Limits
    unadjusted: str
    reasons: list[str]
    assessed: datetime


@attrs.frozen
class User:
    """A registered person."""

    id: UUID
    email: str
    name: str
    created: datetime
    email_verified: bool
    assessment: Assessment | None


@attrs.frozen
class Credentials:
    """E-mail address and password."""

    email: str
    password: str


@attrs.frozen
class Refreshing:
    """A refresh token."""

    refresh_token: str


@attrs.frozen
class Login:
    """Tokens of a session."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires: datetime
    user: User
    device_token: str | None


@attrs.frozen
class NewAccount(Login):
    """Tokens of a new account, and its recovery codes."""

    recovery_codes: list[str]


LOG_IN = Endpoint("POST", "/api/users/login", Login, Credentials, keyed=False)
SECOND_FACTOR = Endpoint("POST", "/api/users/login/second-factor", Login, keyed=False)
PASSKEY_LOGIN = Endpoint("POST", "/api/users/login/passkey", Login, keyed=False)
REGISTER_WITH_PASSKEY = Endpoint("POST", "/api/users/register/passkey", NewAccount, keyed=False)
REFRESH = Endpoint("POST", "/api/users/refresh", Login, Refreshing, keyed=False)
LOG_OUT: Endpoint[None] = Endpoint("POST", "/api/users/logout", None, Refreshing, keyed=False)
PROFILE = Endpoint("GET", "/api/users/profile", User)
PASSKEY_OPTIONS: Endpoint[Any] = Endpoint(
    "POST", "/api/users/passkeys/options", dict[str, Any], keyed=False
)
ADD_PASSKEY: Endpoint[Any] = Endpoint("POST", "/api/users/passkeys", dict[str, Any], keyed=False)
REAUTHENTICATE: Endpoint[Any] = Endpoint("POST", "/api/users/reauthenticate", None, keyed=False)
