"""WebAuthn ceremonies by py_webauthn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from uuid import UUID

import attrs
import webauthn
from webauthn.helpers import base64url_to_bytes, options_to_json_dict, parse_client_data_json
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from rebalancer.application.ports.factors import (
    NewCredential,
    PresentedCredential,
    VerifiedAssertion,
)
from rebalancer.domain.accounts.factors import Passkey
from rebalancer.domain.accounts.origins import RelyingParty
from rebalancer.domain.errors import InvalidRequest, NotAuthenticated, NotFound

ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]

_KNOWN = {one.value for one in AuthenticatorTransport}

LONGEST_CREDENTIAL_ID = 1023
"""Bytes (WebAuthn, section 4)."""


@attrs.frozen(slots=False)
class WebAuthnCeremonies:
    """See `PasskeyCeremonies`.

    Attributes:
        party: This service; None: no web origin is configured.
        name: Name that authenticators show.
        timeout: Milliseconds that a browser waits for its user.
    """

    party: RelyingParty | None
    name: str = "rebalancer"
    timeout: int = 300_000

    def creation_options(
        self, challenge: str, *, user: UUID, email: str, name: str, exclude: Sequence[Passkey]
    ) -> Mapping[str, Any]:
        options = webauthn.generate_registration_options(
            rp_id=self._party.id,
            rp_name=self.name,
            user_id=user.bytes,
            user_name=email,
            user_display_name=name or email,
            challenge=challenge.encode(),
            timeout=self.timeout,
            attestation=AttestationConveyancePreference.NONE,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                require_resident_key=True,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(
                    passkey.credential,
                    transports=[
                        AuthenticatorTransport(one) for one in passkey.transports if one in _KNOWN
                    ],
                )
                for passkey in exclude
            ],
            supported_pub_key_algs=ALGORITHMS,
        )
        return options_to_json_dict(options)

    def request_options(self, challenge: str) -> Mapping[str, Any]:
        options = webauthn.generate_authentication_options(
            rp_id=self._party.id,
            challenge=challenge.encode(),
            timeout=self.timeout,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json_dict(options)

    def read(self, credential: Mapping[str, Any]) -> PresentedCredential:
        try:
            response = credential["response"]
            id = base64url_to_bytes(credential["id"])
            client = parse_client_data_json(base64url_to_bytes(response["clientDataJSON"]))
            challenge = client.challenge.decode("ascii")
            handle = response.get("userHandle")
            user = UUID(bytes=base64url_to_bytes(handle)) if handle else None
        except Exception as error:  # whatever the library raises, the client sent it
            raise _malformed(str(error)) from None
        if not 1 <= len(id) <= LONGEST_CREDENTIAL_ID:
            raise _malformed("the id is empty or too long")
        if client.cross_origin:
            raise _malformed("it was created in a frame of another site")
        return PresentedCredential(id, challenge, user)

    def register(self, credential: Mapping[str, Any], challenge: str) -> NewCredential:
        party = self._party
        try:
            verified = webauthn.verify_registration_response(
                credential=dict(credential),
                expected_challenge=challenge.encode(),
                expected_rp_id=party.id,
                expected_origin=list(party.origins),
                require_user_verification=True,
                supported_pub_key_algs=ALGORITHMS,
            )
            if verified.credential_id != base64url_to_bytes(credential["id"]):
                raise ValueError("it is about another credential")
        except Exception as error:  # as in `read`
            raise InvalidRequest(
                f"the passkey could not be verified: {_reason(error)}; create it again",
                field="credential",
                code="passkey_rejected",
            ) from None
        stated = credential["response"].get("transports")
        transports = stated if isinstance(stated, list) else []
        return NewCredential(
            id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            transports=tuple(sorted(_KNOWN.intersection(filter(_is_text, transports)))),
            backed_up=verified.credential_backed_up,
        )

    def authenticate(
        self, credential: Mapping[str, Any], challenge: str, passkey: Passkey
    ) -> VerifiedAssertion:
        party = self._party
        try:
            verified = webauthn.verify_authentication_response(
                credential=dict(credential),
                expected_challenge=challenge.encode(),
                expected_rp_id=party.id,
                expected_origin=list(party.origins),
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except Exception as error:  # as in `read`
            raise NotAuthenticated(
                f"the passkey could not be verified: {_reason(error)}; try again",
                code="passkey_rejected",
            ) from None
        return VerifiedAssertion(verified.new_sign_count, verified.credential_backed_up)

    @cached_property
    def _party(self) -> RelyingParty:
        if self.party is None:
            raise NotFound(
                "passkeys are not set up on this service; use a password",
                code="passkeys_not_configured",
            )
        return self.party


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"the credential is malformed: {reason[:200]}; send what the browser's toJSON() returns",
        field="credential",
        code="invalid_credential",
    )


def _reason(error: Exception) -> str:
    """Return a library's message as part of a sentence, without an echo of long input."""
    text = str(error)[:200].rstrip(".") or "it is malformed"
    return text[0].lower() + text[1:]
