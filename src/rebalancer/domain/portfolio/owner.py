"""Whose portfolios they are."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.portfolio.questionnaire import Assessment

LONGEST_EMAIL = 254
"""What an address may have at most in an SMTP path (RFC 5321, 4.5.3.1.3)."""

_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f.]+(\.[^@\s\x00-\x1f.]+)+")


class EmailTaken(Conflict):
    """Somebody is registered with this address."""


def email_of(text: str) -> str:
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
        email: As `email_of` gives it; unique.
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
