"""Encryption of personal data at rest: keys, and the ciphers that use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Protocol
from uuid import UUID

import attrs

SYSTEM = UUID(int=0)
"""Owner of the data key for texts that belong to no user, and of the key of blind indexes."""


@attrs.frozen
class WrappedKey:
    """A key that is encrypted under a key-encryption key.

    Attributes:
        key: Id of the key-encryption key.
        ciphertext: The encrypted key.
    """

    key: str
    ciphertext: bytes = attrs.field(repr=False)


@attrs.frozen
class KeyRotation:
    """What a rotation of keys has changed.

    Attributes:
        keys: Data keys that were encrypted under the newest key-encryption key.
        rows: Rows whose texts were encrypted, or decrypted, by table.
        removed: Whether all data keys were deleted, because encryption is off.
    """

    keys: int
    rows: Mapping[str, int]
    removed: bool = False


class KeyService(Protocol):
    """Key-encryption keys: those of the settings, or of a key management service (KMS).

    Transactions call it, so an adapter over a network needs short time-outs; unwrapped data keys
    are cached.
    """

    @property
    def newest(self) -> str:
        """Id of the key that `wrap` uses."""

    def knows(self, key: str) -> bool:
        """Return whether a key of this id can unwrap."""

    def wrap(self, secret: bytes, context: bytes) -> WrappedKey:
        """Encrypt a key; only the same ``context`` decrypts it.

        Raises:
            Unavailable: the service does not answer.
        """

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """Decrypt a key.

        Raises:
            Unavailable: the service does not answer, lacks the key, or has another of this id.
        """


class DataKeys(Protocol):
    """Wrapped data keys, one per user; deleting one makes all texts of the user unreadable."""

    def get(self, owner: UUID) -> WrappedKey | None:
        """Return the key of a user; None if there is none."""

    def add(self, owner: UUID, key: WrappedKey) -> WrappedKey:
        """Add a key; return the stored one, which another transaction may have added first."""

    def replace(self, owner: UUID, key: WrappedKey) -> None:
        """Replace the wrapping of a key; do nothing if it was erased."""

    def wrapped_by(self, key: str, *, limit: int) -> Mapping[UUID, WrappedKey]:
        """Return data keys that a key-encryption key wraps, by user."""

    def counts(self) -> Mapping[str, int]:
        """Return the number of data keys by the id of their key-encryption key."""

    def erase(self, owner: UUID) -> None:
        """Delete the key of a user."""

    def erase_all(self) -> None:
        """Delete all keys, after every sealed text was opened."""


class FieldCipher(Protocol):
    """Seals and opens the texts of one transaction.

    A sealed text begins with U+0001, which no text of a user may contain.
    """

    @property
    def seals(self) -> bool:
        """Whether `seal` encrypts."""

    def seal(self, owner: UUID, field: str, text: str) -> str:
        """Encrypt a text under the data key of a user, which is created at first use.

        The result can be opened only with the same owner and field, so that it cannot be moved to
        another row. An empty text stays empty.

        Args:
            owner: A user, or `SYSTEM`.
            field: Table, column and row, such as ``ledger_entries.note:<id>``.
            text: What to encrypt.

        Raises:
            Unavailable: the key service does not answer or lacks the key.
        """

    def open(self, owner: UUID, field: str, sealed: str) -> str:
        """Decrypt a text; return one that was never sealed as it is.

        Raises:
            DataErased: the data key was erased.
            SealBroken: the text was changed, or belongs to another owner or field.
            Unavailable: the key service does not answer or lacks the key.
        """

    def index(self, purpose: str, text: str) -> str | None:
        """Return a keyed digest by which an encrypted text can be found (blind index).

        None: no text can have been indexed yet, as there is no key.
        """


class Encryption(Protocol):
    """Encryption of the stores and of backups."""

    @property
    def seals(self) -> bool:
        """Whether new texts and backups are encrypted."""

    @property
    def newest(self) -> str | None:
        """Id of the newest key-encryption key; None without keys."""

    def cipher(self, keys: DataKeys, *, writes: bool) -> FieldCipher:
        """Return the cipher of a transaction; it creates data keys only where it ``writes``."""

    def check(self, keys: DataKeys) -> None:
        """Check that the configured keys open the stored data keys.

        Raises:
            Unavailable: a key-encryption key is missing, or another one has its id.
        """

    def rewrap(self, owner: UUID, key: WrappedKey) -> WrappedKey:
        """Encrypt a data key under the newest key-encryption key.

        Raises:
            Unavailable: the key service does not answer or lacks the key.
        """

    def encrypt_file(self, file: IO[bytes]) -> IO[bytes]:
        """Return a file to write to, whose content goes encrypted to ``file``.

        Closing it writes the end, without which the file does not decrypt; ``file`` stays open.
        """

    def decrypt_file(self, file: IO[bytes]) -> IO[bytes]:
        """Return a file that reads what `encrypt_file` wrote; a plain file is returned as it is.

        Reading raises ValueError where the content was changed or cut off.

        Raises:
            InvalidRequest: the key of the file is not configured, or is another one.
        """
