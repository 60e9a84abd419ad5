"""Encrypted files in the STREAM construction, as the age format has it.

The file begins with a line of JSON: the format, and a random key that the key service wraps. Chunks
of 64 KiB follow, each encrypted with AES-256-GCM under a key derived from that one and from the
first line. The nonce of a chunk is its number in 11 bytes and a byte that is 1 in the last chunk
alone, so that chunks cannot be removed, repeated, reordered or cut off unnoticed. See Hoang et al.,
"Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance" (2015).
"""

from __future__ import annotations

import io
import secrets
from typing import IO, TYPE_CHECKING, Any, cast

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rebalancer.application.ports.encryption import KeyService, WrappedKey
from rebalancer.domain.errors import InvalidRequest, Unavailable

if TYPE_CHECKING:
    from typing_extensions import Buffer

FORMAT = "rebalancer-encrypted-1"
CHUNK = 65_536
"""Bytes of content per chunk."""

_TAG = 16
_LONGEST_HEADER = 1000
_PREFIX = f'{{"format":"{FORMAT}"'.encode()
_CONTEXT = b"file"


class _Header(msgspec.Struct):
    format: str
    key: str
    wrapped: bytes
    salt: bytes


class EncryptedFile(io.RawIOBase):
    """Encrypts what is written to it into another file; closing it writes the last chunk."""

    def __init__(self, file: IO[bytes], service: KeyService) -> None:
        """Write the first line."""
        secret, salt = secrets.token_bytes(32), secrets.token_bytes(16)
        wrapped = service.wrap(secret, _CONTEXT)
        header = _Header(FORMAT, wrapped.key, wrapped.ciphertext, salt)
        line = msgspec.json.encode(header) + b"\n"
        file.write(line)
        self._file, self._cipher = file, _cipher_of(secret, salt, line)
        self._waiting, self._number = bytearray(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data)
        self._waiting += view
        while len(self._waiting) > CHUNK:  # the last chunk may be full, but is never empty
            self._write_chunk(CHUNK, last=False)
        return view.nbytes

    def close(self) -> None:
        """Write the last chunk, without which the file does not decrypt."""
        if not self.closed:
            self._write_chunk(len(self._waiting), last=True)
        super().close()

    def _write_chunk(self, size: int, *, last: bool) -> None:
        content = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._file.write(self._cipher.encrypt(_nonce(self._number, last), content, None))
        self._number += 1


class DecryptedFile(io.RawIOBase):
    """Reads what an `EncryptedFile` wrote.

    Raises:
        ValueError: on reading a chunk that was changed, or where the rest is missing.
    """

    def __init__(self, file: IO[bytes], cipher: AESGCM) -> None:
        """Read from the current position, which is after the first line."""
        self._file, self._cipher = file, cipher
        self._start = file.tell()
        self._content, self._ended = memoryview(b""), False
        self._rewind()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go back to the start, the only position that can be sought."""
        if offset or whence != io.SEEK_SET:
            raise io.UnsupportedOperation("an encrypted file can only be read from its start")
        self._rewind()
        return 0

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        while not self._content and not self._ended:
            self._read_chunk()
        size = min(len(view), len(self._content))
        view[:size] = self._content[:size]
        self._content = self._content[size:]
        return size

    def _rewind(self) -> None:
        self._file.seek(self._start)
        self._content, self._ended, self._number = memoryview(b""), False, 0
        self._next = self._file.read(CHUNK + _TAG)

    def _read_chunk(self) -> None:
        chunk, self._next = self._next, self._file.read(CHUNK + _TAG)
        last = not self._next
        try:
            content = self._cipher.decrypt(_nonce(self._number, last), chunk, None)
        except (InvalidTag, ValueError):
            raise ValueError("the encrypted file was changed or cut off") from None
        self._content, self._ended = memoryview(content), last
        self._number += 1


def open_encrypted(file: IO[bytes], service: KeyService) -> IO[bytes]:
    """See `Encryption.decrypt_file`."""
    line = file.readline(_LONGEST_HEADER)
    if not line.startswith(_PREFIX):
        file.seek(0)
        return file
    try:
        header = msgspec.json.decode(line, type=_Header)
        secret = service.unwrap(WrappedKey(header.key, header.wrapped), _CONTEXT)
    except msgspec.DecodeError:
        raise InvalidRequest(
            "the first line of the encrypted file is damaged", field="file", code="backup_damaged"
        ) from None
    except Unavailable as error:
        raise InvalidRequest(error.message, field="file", code=error.code) from None
    opened: Any = io.BufferedReader(DecryptedFile(file, _cipher_of(secret, header.salt, line)))
    return cast("IO[bytes]", opened)


def _cipher_of(secret: bytes, salt: bytes, line: bytes) -> AESGCM:
    info = b"rebalancer: content of file\0" + line
    return AESGCM(HKDF(SHA256(), 32, salt=salt, info=info).derive(secret))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
