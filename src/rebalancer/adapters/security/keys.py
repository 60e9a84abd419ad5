"""Keys by HKDF (RFC 5869) with SHA-256."""

from __future__ import annotations

from functools import cache

import attrs
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rebalancer.application.ports.keys import PurposeKey


@attrs.frozen
class HkdfKeys:
    """See `Keys`.

    Attributes:
        secrets: Texts of 32 characters or more: the current secret, then earlier ones.
    """

    secrets: tuple[str, ...] = attrs.field(repr=False)

    def of(self, purpose: str) -> tuple[PurposeKey, ...]:
        return tuple(_derive_key(secret, purpose) for secret in self.secrets)


@cache
def _derive_key(secret: str, purpose: str) -> PurposeKey:
    id = _derive(secret, f"key id: {purpose}", 6).hex()
    return PurposeKey(id, _derive(secret, f"key: {purpose}", 32))


def _derive(secret: str, info: str, length: int) -> bytes:
    kdf = HKDF(SHA256(), length, salt=b"rebalancer", info=info.encode())
    return kdf.derive(secret.encode())
