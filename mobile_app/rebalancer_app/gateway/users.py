"""The person's account."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint


@attrs.frozen
class Assessment:
    """Outcome of the risk questionnaire."""

    profile: str
    score: int


@attrs.frozen
class User:
    """A registered person."""

    id: UUID
    email: str
    name: str
    created: datetime
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


LOG_IN = Endpoint("POST", "/api/users/login", Login, Credentials, keyed=False)
REFRESH = Endpoint("POST", "/api/users/refresh", Login, Refreshing, keyed=False)
LOG_OUT: Endpoint[None] = Endpoint("POST", "/api/users/logout", None, Refreshing, keyed=False)
PROFILE = Endpoint("GET", "/api/users/profile", User)
