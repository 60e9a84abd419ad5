"""Encryption at rest: what it means without keys, and the erasure of a user's data."""

from __future__ import annotations

from typing import IO
from uuid import UUID

import attrs

from rebalancer.application.ports.encryption import DataKeys, Encryption, FieldCipher, WrappedKey
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.errors import NotFound, Unavailable

SEALED = "\x01"
"""First character of every sealed text."""


class DataErased(NotFound):
    """The data key of the owner was erased, so the text cannot be read any more."""

    default_code = "data_erased"


class SealBroken(RuntimeError):
    """An encrypted text was changed, or moved from another row."""


class KeyUnavailable(Unavailable):
    """A key-encryption key is missing or wrong."""

    default_code = "encryption_key_missing"


def is_sealed(text: str | None) -> bool:
    """Return whether a stored text is encrypted."""
    return text is not None and text.startswith(SEALED)


def erase_key(tx: Transaction, owner: UUID) -> None:
    """Delete the data key of a user: what is encrypted under it is lost, in every copy of the rows.

    Other processes may have the key in memory for some minutes.
    """
    tx.data_keys.erase(owner)


@attrs.frozen
class CheckKeys:
    """Check at start-up that the configured keys open what is stored."""

    work: UnitOfWork
    encryption: Encryption

    def __call__(self) -> None:
        """Return if they do.

        Raises:
            KeyUnavailable: a key is missing, or another one has its id.
        """
        with self.work.read() as tx:
            self.encryption.check(tx.data_keys)


@attrs.frozen
class PlainText:
    """The cipher of a store without keys: texts pass through; see `FieldCipher`.

    Attributes:
        keys: Stored data keys. While there are any, texts cannot be found without their key.
    """

    keys: DataKeys | None = None
    seals: bool = False

    def seal(self, owner: UUID, field: str, text: str) -> str:
        """Return the text as it is."""
        return text

    def open(self, owner: UUID, field: str, sealed: str) -> str:
        """Return the text as it is.

        Raises:
            KeyUnavailable: it is encrypted.
        """
        if is_sealed(sealed):
            raise _no_keys()
        return sealed

    def index(self, purpose: str, text: str) -> None:
        """Return None: nothing is indexed.

        Raises:
            KeyUnavailable: some texts are indexed, so a look-up could miss them.
        """
        if self.keys is not None and self.keys.counts():
            raise _no_keys()


PLAIN_TEXT = PlainText()


@attrs.frozen
class NoEncryption:
    """Stores and backups without encryption; see `Encryption`."""

    seals: bool = False
    newest: str | None = None

    def cipher(self, keys: DataKeys, *, writes: bool) -> FieldCipher:
        """Return the cipher that does nothing."""
        return PlainText(keys)

    def check(self, keys: DataKeys) -> None:
        """Check that nothing is encrypted.

        Raises:
            KeyUnavailable: the store has data keys.
        """
        if keys.counts():
            raise _no_keys()

    def rewrap(self, owner: UUID, key: WrappedKey) -> WrappedKey:
        """Raise KeyUnavailable: there is no key."""
        raise _no_keys()

    def encrypt_file(self, file: IO[bytes]) -> IO[bytes]:
        """Return the file as it is."""
        return file

    def decrypt_file(self, file: IO[bytes]) -> IO[bytes]:
        """Return the file as it is."""
        return file


def _no_keys() -> KeyUnavailable:
    return KeyUnavailable(
        "the store has encrypted data, but no encryption keys are configured; configure the keys "
        "with which it was written"
    )
