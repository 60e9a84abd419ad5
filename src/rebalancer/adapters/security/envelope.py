"""Envelope encryption of texts: a data key per user, wrapped by a key-encryption key.

Each user has 32 random bytes, from which HKDF-SHA256 derives a key for texts (AES-256-GCM) and, for
the system, one per blind index (HMAC-SHA256). A sealed text is U+0001 and the base64 of a version,
a random nonce of 96 bits, the ciphertext and its tag. The associated data are the owner and the
field, so a text that was moved to another row does not open.

Random nonces allow 2**32 texts per key (NIST SP 800-38D, 8.3), far more than a user has. The
system's key seals texts without a user, such as mail to people who are not registered.
"""

from __future__ import annotations

import hmac
import secrets
import time
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from threading import Lock
from typing import IO, cast
from uuid import UUID

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rebalancer.adapters.security.sealed_files import EncryptedFile, open_encrypted
from rebalancer.application.encryption import SEALED, DataErased, SealBroken, is_sealed
from rebalancer.application.ports.encryption import SYSTEM, DataKeys, KeyService, WrappedKey

_VERSION = b"\x01"
_NONCE = 12


def derive_key(root: bytes, purpose: str) -> bytes:
    """Return a key of 32 bytes for one purpose."""
    return HKDF(SHA256(), 32, salt=None, info=f"rebalancer: {purpose}".encode()).derive(root)


class _DataKey:
    """A data key, ready to use."""

    __slots__ = ("_root", "texts")

    def __init__(self, root: bytes) -> None:
        self._root = root
        self.texts = AESGCM(derive_key(root, "texts"))

    def index(self, purpose: str) -> bytes:
        return derive_key(self._root, f"index of {purpose}")


class KeyCache:
    """Unwrapped data keys of committed rows: the last used ones, each for a while.

    Args:
        size: Most keys.
        lifetime: Seconds after which a key is read again, so that an erased one is forgotten.
        clock: Returns seconds.
    """

    def __init__(
        self,
        size: int = 10_000,
        lifetime: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size, self._lifetime, self._clock = size, lifetime, clock
        self._keys: OrderedDict[UUID, tuple[float, _DataKey]] = OrderedDict()
        self._lock = Lock()

    def get(self, owner: UUID) -> _DataKey | None:
        """Return a key; None if it is not remembered."""
        with self._lock:
            found = self._keys.get(owner)
            if found is None or found[0] <= self._clock():
                return None
            self._keys.move_to_end(owner)
            return found[1]

    def put(self, owner: UUID, key: _DataKey) -> None:
        """Remember a key instead of the one that was used longest ago."""
        with self._lock:
            self._keys[owner] = (self._clock() + self._lifetime, key)
            self._keys.move_to_end(owner)
            while len(self._keys) > self._size:
                self._keys.popitem(last=False)

    def __len__(self) -> int:
        return len(self._keys)


@attrs.frozen
class Envelope:
    """See `Encryption`.

    Attributes:
        service: Wraps data keys.
        seals: Whether new texts are encrypted; False: those that are can still be read.
    """

    service: KeyService
    seals: bool = True
    _cache: KeyCache = attrs.field(factory=KeyCache, repr=False, eq=False)

    @property
    def newest(self) -> str:
        return self.service.newest

    def cipher(self, keys: DataKeys, *, writes: bool) -> EnvelopeCipher:
        return EnvelopeCipher(self.service, self._cache, keys, self.seals, writes and self.seals)

    def check(self, keys: DataKeys) -> None:
        for id in sorted(keys.counts()):
            for owner, wrapped in keys.wrapped_by(id, limit=1).items():
                self.service.unwrap(wrapped, owner.bytes)

    def rewrap(self, owner: UUID, key: WrappedKey) -> WrappedKey:
        return self.service.wrap(self.service.unwrap(key, owner.bytes), owner.bytes)

    def encrypt_file(self, file: IO[bytes]) -> IO[bytes]:
        return cast("IO[bytes]", EncryptedFile(file, self.service)) if self.seals else file

    def decrypt_file(self, file: IO[bytes]) -> IO[bytes]:
        return open_encrypted(file, self.service)


class EnvelopeCipher:
    """See `FieldCipher`."""

    __slots__ = ("_cache", "_creates", "_keys", "_new", "_seals", "_service")

    def __init__(
        self, service: KeyService, cache: KeyCache, keys: DataKeys, seals: bool, creates: bool
    ) -> None:
        self._service, self._cache, self._keys = service, cache, keys
        self._seals, self._creates = seals, creates
        # Keys that this transaction created, which may still be rolled back.
        self._new: dict[UUID, _DataKey] = {}

    @property
    def seals(self) -> bool:
        return self._seals

    def seal(self, owner: UUID, field: str, text: str) -> str:
        if not self._seals or not text:
            return text
        key = self._find(owner) or self._create(owner)
        nonce = secrets.token_bytes(_NONCE)
        sealed = key.texts.encrypt(nonce, text.encode(), _bind(owner, field))
        return SEALED + b64encode(_VERSION + nonce + sealed).decode()

    def open(self, owner: UUID, field: str, sealed: str) -> str:
        if not is_sealed(sealed):
            return sealed
        key = self._find(owner)
        if key is None:
            raise DataErased("this text was erased with the key of its owner")
        try:
            packed = b64decode(sealed[1:], validate=True)
            if packed[:1] != _VERSION:
                raise ValueError("unknown version")
            nonce, text = packed[1 : 1 + _NONCE], packed[1 + _NONCE :]
            return key.texts.decrypt(nonce, text, _bind(owner, field)).decode()
        except (InvalidTag, ValueError):
            raise SealBroken(f"{field} of {owner} was changed, or moved from another row") from None

    def index(self, purpose: str, text: str) -> str | None:
        key = self._find(SYSTEM)
        if key is None and self._creates:
            key = self._create(SYSTEM)
        if key is None:
            return None
        return hmac.new(key.index(purpose), text.encode(), sha256).hexdigest()

    def _find(self, owner: UUID) -> _DataKey | None:
        key = self._new.get(owner) or self._cache.get(owner)
        if key is None and (wrapped := self._keys.get(owner)) is not None:
            key = _DataKey(self._service.unwrap(wrapped, owner.bytes))
            self._cache.put(owner, key)
        return key

    def _create(self, owner: UUID) -> _DataKey:
        stored = self._keys.add(owner, self._service.wrap(secrets.token_bytes(32), owner.bytes))
        key = _DataKey(self._service.unwrap(stored, owner.bytes))
        self._new[owner] = key
        return key


def _bind(owner: UUID, field: str) -> bytes:
    return owner.bytes + field.encode()
