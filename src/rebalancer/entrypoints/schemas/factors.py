"""Schemas of passkeys and second factors."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta

from rebalancer.application.factors import Proof
from rebalancer.domain.accounts.factors import LONGEST_PASSKEY_NAME
from rebalancer.entrypoints.schemas.wire import Body, OneLine, View, about

CredentialJson = Annotated[
    dict[str, Any],
    Meta(
        description="What the browser's PublicKeyCredential.toJSON() returns (WebAuthn, level 3).",
        examples=[
            {
                "id": "AQID",
                "rawId": "AQID",
                "type": "public-key",
                "response": {"clientDataJSON": "e30"},
                "clientExtensionResults": {},
            }
        ],
    ),
]
"""Not stricter, since browsers add members of their own; the ceremony checks it."""

PasskeyName = Annotated[
    OneLine, Meta(min_length=1, max_length=LONGEST_PASSKEY_NAME, examples=["Phone"])
]


class PasskeyView(View, frozen=True, kw_only=True):
    """A passkey, without its key."""

    id: UUID
    name: str
    created: datetime
    used: Annotated[datetime | None, about("Time of the last login with it.")]
    backed_up: Annotated[bool, about("Whether it is copied to other devices of its user.")]
    transports: Annotated[list[str], about("How a browser reaches its authenticator.")]


class AddedPasskeyView(PasskeyView, frozen=True, kw_only=True):
    """A new passkey."""

    recovery_codes: Annotated[
        list[str],
        about("Shown once; empty unless this is the first second factor of the account."),
    ]


class PasskeyList(View, frozen=True, kw_only=True):
    """All passkeys of a user."""

    items: list[PasskeyView]


class PasskeyOptions(View, frozen=True, kw_only=True):
    """Options of a ceremony of WebAuthn."""

    public_key: Annotated[
        dict[str, Any],
        about(
            "For PublicKeyCredential.parseCreationOptionsFromJSON or parseRequestOptionsFromJSON."
        ),
    ]
    expires_in: Annotated[int, about("Seconds until the challenge expires; it is valid once.")]


class NewPasskey(Body, frozen=True, kw_only=True):
    """A passkey that a browser has created."""

    verbatim = ("credential",)

    name: PasskeyName
    credential: CredentialJson


class PasskeyChange(Body, frozen=True, kw_only=True):
    """A new name of a passkey."""

    name: PasskeyName


class SignedChallenge(Body, frozen=True, kw_only=True):
    """A challenge that a passkey has signed."""

    verbatim = ("credential",)

    credential: CredentialJson


class SecondFactor(Body, frozen=True, kw_only=True):
    """The second step of a login: the ticket of the first and one proof."""

    verbatim = ("ticket", "code", "recovery_code", "credential")

    ticket: Annotated[str, Meta(min_length=1, max_length=200, examples=["the ticket of the login"])]
    code: (
        Annotated[str, Meta(min_length=1, max_length=20, description="Of an authenticator app.")]
        | None
    ) = None
    recovery_code: Annotated[str, Meta(min_length=1, max_length=60)] | None = None
    credential: CredentialJson | None = None

    def check(self) -> None:
        """Check that there is exactly one proof."""
        self.proof()

    def proof(self) -> Proof:
        """Return the proof."""
        return Proof(self.code, self.recovery_code, self.credential)


class TotpView(View, frozen=True, kw_only=True):
    """A secret for an authenticator app, which is shown once."""

    secret: Annotated[str, about("Base32, to be typed in.")]
    uri: Annotated[str, about("The same for a QR code.")]


class TotpCode(Body, frozen=True, kw_only=True):
    """A code of an authenticator app."""

    verbatim = ("code",)

    code: Annotated[str, Meta(min_length=1, max_length=20, examples=["123456"])]


class RecoveryCodesView(View, frozen=True, kw_only=True):
    """Recovery codes, which are shown once and are valid once each."""

    recovery_codes: list[str]


class FactorsView(View, frozen=True, kw_only=True):
    """How a user can sign in."""

    password: Annotated[bool, about("Whether the account has a password.")]
    passkeys: Annotated[int, about("Number of passkeys.")]
    totp: Annotated[bool, about("Whether an authenticator app is set up.")]
    recovery_codes: Annotated[int, about("Number of recovery codes that are left.")]
