"""Users, their e-mail addresses and their logins."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.errors import Conflict, InvalidRequest, NotAllowed
from rebalancer.domain.portfolio.questionnaire import Assessment
from rebalancer.domain.text import check_visible

LONGEST_EMAIL = 254
"""Longest address in an SMTP path, in octets (RFC 5321, 4.5.3.1.3)."""

ACCESS_LIFETIME = timedelta(minutes=15)
"""Validity of an access token."""

_LONGEST_LOCAL = 64
_EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f.]+(\.[^@\s\x00-\x1f.]+)+")


class EmailTaken(Conflict):
    """A user with this address is registered already."""

    default_code = "email_taken"


def normalize_email(text: str) -> str:
    """Return an address in its only spelling.

    The domain is in lower case and in letters (U-labels of IDNA 2008, mapped by UTS #46), so that
    ``BÜCHER.example`` and ``xn--bcher-kva.example`` are one. The part before it is composed (NFC)
    and case-folded.

    Raises:
        InvalidRequest: the text does not look like an address.
    """
    import idna  # its tables take a while, and few commands need them

    address = unicodedata.normalize("NFC", text.strip())
    check_visible(address, field="email")
    local, _, host = address.rpartition("@")
    local = unicodedata.normalize("NFC", local.casefold().lower())  # Cherokee folds to capitals
    try:
        ascii_host = idna.encode(host, uts46=True)
        host = idna.decode(ascii_host)
    except idna.IDNAError:
        ascii_host = b""
    octets = len(local.encode(errors="surrogatepass"))
    too_long = octets > _LONGEST_LOCAL or octets + 1 + len(ascii_host) > LONGEST_EMAIL
    if not ascii_host or too_long or not _EMAIL.fullmatch(f"{local}@{host}"):
        raise InvalidRequest(
            "invalid e-mail address; write it like ada@example.org",
            field="email",
            code="invalid_email",
        )
    return f"{local}@{host}"


def spellings_of_email(text: str) -> list[str]:
    """Return the spellings under which a user may be stored, the current one first.

    Earlier versions stored the case-folded text.
    """
    earlier = text.strip().casefold()
    try:
        current = normalize_email(text)
    except InvalidRequest:
        return [earlier]
    return [current] if current == earlier else [current, earlier]


@attrs.frozen
class User:
    """Registered user.

    Attributes:
        email: Unique; see `normalize_email`.
        name: Display name; may be empty.
        password: Hash of the password, never the password itself; None: there is no password.
        assessment: Outcome of the last risk questionnaire, at the time ``assessed``.
        short_password: Whether the password is too short to suffice without a second factor.
        verified: Time at which the owner proved to receive mail at the address; None: not yet.
        terms: Version of the terms that the user accepted last, at ``terms_accepted``.
        disabled: Time since which an operator has blocked the account; None: it can be used.
    """

    id: UUID
    email: str
    name: str
    password: str | None = attrs.field(repr=False)
    created: datetime
    assessment: Assessment | None = None
    assessed: datetime | None = None
    role: Role = Role.PERSON
    disabled: datetime | None = None
    short_password: bool = False
    verified: datetime | None = None
    terms: str | None = None
    terms_accepted: datetime | None = None

    def check_enabled(self) -> None:
        """Check that the account may be used; call it only after a proof of identity.

        Raises:
            NotAllowed: an operator has disabled the account.
        """
        if self.disabled is not None:
            raise NotAllowed(
                "this account is disabled; ask the operators of this service",
                code="account_disabled",
            )


ANONYMOUS_PORTFOLIO = "Portfolio"
"""Name of each portfolio of an erased account whose records are kept."""


def anonymous(user: User, now: datetime) -> User:
    """Return the account that stays in place of an erased one whose records are kept."""
    return User(
        id=user.id,
        email=f"{user.id}@deleted.invalid",
        name="",
        password=None,
        created=user.created,
        disabled=now,
    )


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
