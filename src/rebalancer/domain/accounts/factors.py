"""Passkeys, one-time passwords and recovery codes: proofs of identity besides a password."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict, InvalidRequest, NotAuthenticated
from rebalancer.domain.text import check_line

PASSWORD, PASSKEY, TOTP, RECOVERY_CODE = "password", "passkey", "totp", "recovery_code"
"""Methods by which a user proves an identity; a session joins those that it used with ``+``."""

LONGEST_PASSKEY_NAME = 100
MOST_PASSKEYS = 20
"""Passkeys of one user."""

RECOVERY_CODES = 10
"""Recovery codes of one user."""


class SecondFactorRequired(NotAuthenticated):
    """The password is right, and the account has a second factor.

    Its facts are the ``ticket``, a secret that continues this login with a second factor; the
    ``methods`` that the account has; and ``expires_in``, the seconds until the ticket expires.
    """

    default_code = "second_factor_required"

    def __init__(
        self, message: str, *, ticket: str, methods: Collection[str], seconds: int
    ) -> None:
        super().__init__(message)
        self.facts = {"ticket": ticket, "methods": list(methods), "expires_in": seconds}


class PasskeyTaken(Conflict):
    """A passkey with this credential id is registered already."""

    default_code = "passkey_registered"


@attrs.frozen
class Passkey:
    """Discoverable WebAuthn credential of a user, with the public half of its key pair.

    Attributes:
        credential: Id that the authenticator chose; unique among all users.
        public_key: Public key in COSE form (RFC 9052).
        sign_count: Last signature counter; 0 where the authenticator does not count.
        name: Name that the user gave it.
        transports: How a client reaches the authenticator, such as ``internal`` or ``usb``.
        backed_up: Whether it is copied to other devices of the user.
        used: Time of the last login with it; None before.
    """

    id: UUID
    owner: UUID
    credential: bytes
    public_key: bytes = attrs.field(repr=False)
    sign_count: int
    name: str
    transports: tuple[str, ...]
    backed_up: bool
    created: datetime
    used: datetime | None = None


@attrs.frozen
class TotpSecret:
    """Secret of an authenticator app, which computes one-time passwords from it (RFC 6238).

    Attributes:
        secret: Base32, 160 bits.
        confirmed: Time of the first right code; before, the secret is not yet a second factor.
        last_step: Latest time step whose code was accepted; earlier codes are refused.
    """

    owner: UUID
    secret: str = attrs.field(repr=False)
    created: datetime
    confirmed: datetime | None = None
    last_step: int = 0


@attrs.frozen
class RecoveryCode:
    """Code that replaces a lost second factor once.

    Attributes:
        digest: SHA-256 of the code; 120 random bits need no slower hash.
        used: Time at which it was used; None before.
    """

    owner: UUID
    digest: str
    created: datetime
    used: datetime | None = None


def check_passkey_name(text: str) -> str:
    """Return a name of a passkey without surrounding spaces.

    Raises:
        InvalidRequest: it is empty, too long, or has characters that cannot be seen.
    """
    name = unicodedata.normalize("NFC", text).strip()
    check_line(name, field="name")
    if not 1 <= len(name) <= LONGEST_PASSKEY_NAME:
        raise InvalidRequest(
            f"a passkey's name has 1 to {LONGEST_PASSKEY_NAME} characters; name the device",
            field="name",
            code="invalid_passkey_name",
        )
    return name


def normalize_totp_code(text: str) -> str:
    """Return the digits of a code, which authenticator apps show in groups."""
    return re.sub(r"[\s-]", "", unicodedata.normalize("NFKC", text))


def normalize_recovery_code(text: str) -> str:
    """Return a recovery code without hyphens and spaces, and with its lookalikes replaced.

    The alphabet is Crockford's base 32, in which O reads as 0, and I and L read as 1.
    """
    bare = re.sub(r"[\s-]", "", unicodedata.normalize("NFKC", text)).upper()
    return bare.translate(str.maketrans("OIL", "011"))
