"""A software authenticator: real ES256 passkeys, and every fault that a server must notice.

It answers the JSON options of WebAuthn, level 3, as a browser and a platform authenticator do
together:

    authenticator = Authenticator()
    created = authenticator.create(creation_options)
    signed = authenticator.get(request_options)
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import attrs
import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

ORIGIN = "http://localhost:8000"

_PRESENT, _VERIFIED, _BACKUP_ELIGIBLE, _BACKED_UP, _ATTESTED = 1, 4, 8, 16, 64


def encode(raw: bytes) -> str:
    """Encode as base64url without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Decode base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@attrs.define
class Credential:
    """A passkey with its private key."""

    id: bytes
    rp: str
    user: bytes
    key: ec.EllipticCurvePrivateKey
    count: int = 0


@attrs.define
class Authenticator:
    """An authenticator with discoverable credentials, and the browser in front of it.

    Attributes:
        origin: Page that the browser shows.
        counts: Whether it counts signatures; synchronised passkeys do not.
        backed_up: Whether its passkeys are synchronised.
    """

    origin: str = ORIGIN
    counts: bool = True
    backed_up: bool = False
    credentials: list[Credential] = attrs.field(factory=list)

    def create(
        self,
        options: Mapping[str, Any],
        *,
        origin: str | None = None,
        rp: str | None = None,
        challenge: str | None = None,
        verified: bool = True,
        kind: str = "webauthn.create",
        cross_origin: bool = False,
        algorithm: int = -7,
    ) -> dict[str, Any]:
        """Create a passkey and return the credential; the arguments override what is right."""
        excluded = {decode(one["id"]) for one in options.get("excludeCredentials", ())}
        if excluded & {one.id for one in self.credentials}:
            raise ValueError("InvalidStateError: the authenticator has an excluded passkey")
        made = Credential(
            id=secrets.token_bytes(32),
            rp=rp or options["rp"]["id"],
            user=decode(options["user"]["id"]),
            key=ec.generate_private_key(ec.SECP256R1()),
        )
        self.credentials.append(made)
        point = made.key.public_key().public_numbers()
        public = cbor2.dumps(
            {1: 2, 3: algorithm, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)}
        )
        attested = bytes(16) + len(made.id).to_bytes(2) + made.id + public
        data = self._data(made, _ATTESTED, verified=verified) + attested
        client = self._client(kind, challenge or options["challenge"], origin, cross_origin)
        return self._credential(
            made.id,
            clientDataJSON=encode(client),
            attestationObject=encode(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
            transports=["internal", "hybrid"],
        )

    def get(
        self,
        options: Mapping[str, Any],
        *,
        which: int = -1,
        origin: str | None = None,
        rp: str | None = None,
        challenge: str | None = None,
        verified: bool = True,
        kind: str = "webauthn.get",
        cross_origin: bool = False,
        user: bytes | None = None,
        count: int | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> dict[str, Any]:
        """Sign a challenge with a passkey; the arguments override what is right."""
        used = self.credentials[which]
        if self.counts:
            used.count += 1
        if count is not None:
            used.count = count
        data = self._data(used, 0, verified=verified, rp=rp)
        client = self._client(kind, challenge or options["challenge"], origin, cross_origin)
        signed = (key or used.key).sign(data + sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._credential(
            used.id,
            clientDataJSON=encode(client),
            authenticatorData=encode(data),
            signature=encode(signed),
            userHandle=encode(used.user if user is None else user),
        )

    def _data(
        self, credential: Credential, flags: int, *, verified: bool, rp: str | None = None
    ) -> bytes:
        flags |= _PRESENT | (_VERIFIED if verified else 0)
        flags |= _BACKUP_ELIGIBLE | _BACKED_UP if self.backed_up else 0
        domain = sha256((rp or credential.rp).encode()).digest()
        return domain + bytes([flags]) + credential.count.to_bytes(4)

    def _client(self, kind: str, challenge: str, origin: str | None, cross_origin: bool) -> bytes:
        data = {
            "type": kind,
            "challenge": challenge,
            "origin": self.origin if origin is None else origin,
            "crossOrigin": cross_origin,
        }
        return json.dumps(data, separators=(",", ":")).encode()

    def _credential(self, id: bytes, **response: Any) -> dict[str, Any]:
        return {
            "id": encode(id),
            "rawId": encode(id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        }
