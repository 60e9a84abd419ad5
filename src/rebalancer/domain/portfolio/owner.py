"""Whose portfolios they are."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.portfolio.questionnaire import Assessment

LONGEST_EMAIL = 254
"""What an address may have at most in an SMTP path (RFC 5321, 4.5.3.1.3)."""

ACCESS_LIFETIME = timedelta(minutes=15)
"""How long an access token proves who its bearer is."""

_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f.]+(\.[^@\s\x00-\x1f.]+)+")


class EmailTaken(Conflict):
    """Somebody is registered with this address."""


def normalize_email(text: str) -> str:
    """An address as it is kept: without blanks around it, in lower case.

    Raises:
        InvalidRequest: it looks like no address.
    """
    address = text.strip().casefold()
    if len(address) > LONGEST_EMAIL or not _EMAIL.fullmatch(address):
        raise InvalidRequest("is no e-mail address such as ada@example.org", field="email")
    return address


@attrs.frozen
class User:
    """Somebody who keeps portfolios.

    Attributes:
        id: Unique.
        email: As `normalize_email` gives it; unique.
        name: How to address them; may be empty.
        password: A hash of their password, never the password.
        created: When they registered, with a time zone.
        assessment: What their last questionnaire said; None before there is one.
        assessed: When that was.
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
    """A secret that can be exchanged once for a new one.

    Attributes:
        digest: SHA-256 of the secret, which is kept nowhere.
        family: All tokens that descend from one login.
        owner: Whose.
        issued: When.
        expires: From when on it is worthless.
        used: When it was exchanged; None while it has not been.
    """

    digest: str
    family: UUID
    owner: UUID
    issued: datetime
    expires: datetime
    used: datetime | None = None


@attrs.frozen
class Bearer:
    """Somebody who has shown an access token.

    Attributes:
        owner: Who.
        family: The login that the token descends from; None where it does not say, as tokens once
            did not.
    """

    owner: UUID
    family: UUID | None
