"""Users, their e-mail addresses and their logins."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.portfolio.questionnaire import Assessment

LONGEST_EMAIL = 254
"""Longest address in an SMTP path (RFC 5321, 4.5.3.1.3)."""

ACCESS_LIFETIME = timedelta(minutes=15)
"""Validity of an access token."""

_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f.]+(\.[^@\s\x00-\x1f.]+)+")


class EmailTaken(Conflict):
    """A user with this address is registered already."""

    default_code = "email_taken"


def normalize_email(text: str) -> str:
    """Return an address without blanks around it, in lower case.

    Raises:
        InvalidRequest: the text does not look like an address.
    """
    address = text.strip().casefold()
    if len(address) > LONGEST_EMAIL or not _EMAIL.fullmatch(address):
        raise InvalidRequest(
            "invalid e-mail address; write it like ada@example.org",
            field="email",
            code="invalid_email",
        )
    return address


@attrs.frozen
class User:
    """Registered user.

    Attributes:
        email: Unique; see `normalize_email`.
        name: Display name; may be empty.
        password: Hash of the password, never the password itself.
        assessment: Outcome of the last risk questionnaire, at the time ``assessed``.
    """

    id: UUID
    email: str
    name: str
    password: str = attrs.field(repr=False)
    created: datetime
    assessment: Assessment | None = None
    assessed: datetime | None = None


@attrs.frozen
class RefreshToken:
    """Secret that can be exchanged once for a new one.

    Attributes:
        digest: SHA-256 of the secret; the secret itself is not stored.
        family: Id of the login from which it descends.
        used: Time of the exchange; None before.
    """

    digest: str
    family: UUID
    owner: UUID
    issued: datetime
    expires: datetime
    used: datetime | None = None


@attrs.frozen
class Bearer:
    """User and login of an access token; tokens of old versions name no login."""

    owner: UUID
    family: UUID | None
