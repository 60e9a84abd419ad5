"""Passkeys, one-time passwords and recovery codes: stores and ceremonies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import attrs

from rebalancer.domain.accounts.factors import Passkey, TotpSecret


class Passkeys(Protocol):
    """Passkeys of all users; rows that a writer reads stay locked until its transaction ends."""

    def add(self, passkey: Passkey) -> None:
        """Add a new passkey.

        Raises:
            PasskeyTaken: its credential is registered already.
        """

    def get(self, id: UUID, *, owner: UUID) -> Passkey:
        """Return a passkey of a user.

        Raises:
            NotFound: the user has no such passkey.
        """

    def by_credential(self, credential: bytes) -> Passkey | None:
        """Return the passkey of a credential id."""

    def of_owner(self, owner: UUID) -> list[Passkey]:
        """Return the passkeys of a user, oldest first."""

    def save(self, passkey: Passkey) -> None:
        """Replace a passkey.

        Raises:
            NotFound: it does not exist.
        """

    def delete(self, id: UUID) -> None:
        """Delete a passkey, if it exists."""

    def delete_all(self, owner: UUID) -> None:
        """Delete all passkeys of a user."""


class TotpSecrets(Protocol):
    """Secrets of authenticator apps, at most one of a user."""

    def get(self, owner: UUID) -> TotpSecret | None:
        """Return the secret of a user; a writer locks it until its transaction ends."""

    def save(self, totp: TotpSecret) -> None:
        """Add or replace the secret of a user."""

    def delete(self, owner: UUID) -> None:
        """Delete the secret of a user, if there is one."""


class RecoveryCodes(Protocol):
    """Recovery codes, of which only digests are stored."""

    def replace(self, owner: UUID, digests: Collection[str], now: datetime) -> None:
        """Replace all codes of a user, used or not."""

    def use(self, owner: UUID, digest: str, now: datetime) -> bool:
        """Mark a code as used; return False if it is unknown or was used before."""

    def unused(self, owner: UUID) -> int:
        """Return how many codes of a user are left."""


class FactorCodes(Protocol):
    """One-time passwords and recovery codes."""

    def create_totp_secret(self) -> str:
        """Return a new random secret, in base32."""

    def totp_uri(self, secret: str, email: str) -> str:
        """Return the ``otpauth://`` URI that an authenticator app reads from a QR code."""

    def totp_step(self, secret: str, code: str, now: datetime) -> int | None:
        """Return the time step that a code belongs to; None if it is wrong.

        The steps before and after the current one are accepted, too, for clocks that differ.
        """

    def create_recovery_code(self) -> str:
        """Return a new random code of 120 bits, as a person writes it down."""


@attrs.frozen
class PresentedCredential:
    """What a response of an authenticator claims, before anything of it is verified.

    Attributes:
        id: Credential id.
        challenge: Challenge that was signed.
        user_handle: Id of the user to whom the credential belongs; None if it is not stated.
    """

    id: bytes
    challenge: str
    user_handle: UUID | None


@attrs.frozen
class NewCredential:
    """Verified credential of a registration; see `Passkey`."""

    id: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]
    backed_up: bool


@attrs.frozen
class VerifiedAssertion:
    """Verified signature of a login; see `Passkey`."""

    sign_count: int
    backed_up: bool


class PasskeyCeremonies(Protocol):
    """WebAuthn ceremonies (https://www.w3.org/TR/webauthn-3/), without state.

    Options and credentials are the JSON forms of WebAuthn, level 3. Every ceremony demands that the
    authenticator verifies its user by a biometric feature or a PIN.

    Each method but `read` raises NotFound if no web origin is configured.
    """

    def creation_options(
        self, challenge: str, *, user: UUID, email: str, name: str, exclude: Sequence[Passkey]
    ) -> Mapping[str, Any]:
        """Return options for a new passkey; authenticators with an excluded one refuse."""

    def request_options(self, challenge: str) -> Mapping[str, Any]:
        """Return options for a login; any discoverable passkey of this service answers them."""

    def read(self, credential: Mapping[str, Any]) -> PresentedCredential:
        """Return what a response claims.

        Raises:
            InvalidRequest: the response is malformed.
        """

    def register(self, credential: Mapping[str, Any], challenge: str) -> NewCredential:
        """Verify the response of an authenticator to `creation_options`.

        Raises:
            InvalidRequest: the response is malformed, of another origin or challenge, or without a
                verified user.
        """

    def authenticate(
        self, credential: Mapping[str, Any], challenge: str, passkey: Passkey
    ) -> VerifiedAssertion:
        """Verify the response of an authenticator to `request_options`.

        Raises:
            NotAuthenticated: the signature is not the passkey's, of another origin or challenge,
                without a verified user, or its counter has not grown.
        """
