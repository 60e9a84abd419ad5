"""Key-encryption keys from the settings, which wrap keys with AES-256-GCM."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rebalancer.application.encryption import KeyUnavailable
from rebalancer.application.ports.encryption import WrappedKey

_NONCE = 12
_PURPOSE = b"rebalancer: key wrapping\0"


@attrs.frozen
class LocalKeys:
    """See `KeyService`.

    Attributes:
        keys: Keys of 32 bytes by id, at least one; the first wraps.
    """

    keys: Mapping[str, bytes] = attrs.field(repr=False)

    @property
    def newest(self) -> str:
        return next(iter(self.keys))

    def knows(self, key: str) -> bool:
        return key in self.keys

    def wrap(self, secret: bytes, context: bytes) -> WrappedKey:
        nonce, id = secrets.token_bytes(_NONCE), self.newest
        return WrappedKey(id, nonce + self._cipher(id).encrypt(nonce, secret, _bind(id, context)))

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        id, nonce = wrapped.key, wrapped.ciphertext[:_NONCE]
        try:
            return self._cipher(id).decrypt(nonce, wrapped.ciphertext[_NONCE:], _bind(id, context))
        except (InvalidTag, ValueError):
            raise KeyUnavailable(
                f"the configured encryption key {id!r} is not the one with which the data were "
                "encrypted; configure that one under this id",
                code="encryption_key_wrong",
            ) from None

    def _cipher(self, id: str) -> AESGCM:
        if id not in self.keys:
            raise KeyUnavailable(
                f"data are encrypted under the key {id!r}, which is not configured; add it to the "
                "encryption keys"
            )
        return AESGCM(self.keys[id])


def _bind(id: str, context: bytes) -> bytes:
    return _PURPOSE + id.encode() + b"\0" + context
