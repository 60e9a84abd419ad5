"""Assembled price histories in files that the processes of a host map into memory."""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import pickle
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

import rebalancer.domain.market
from rebalancer.domain.market.prices import PriceHistory

log = logging.getLogger("rebalancer.market")

_MAGIC = b"rebalpx1"
_HEADER = struct.Struct("<8sQQ32s")
"""Magic, bytes of the description, number of arrays, and digest of the description."""

_PLACE = struct.Struct("<QQ")
"""Offset and size of an array."""

_ALIGNMENT = 4096
_POLL_INTERVAL = 0.05
_SUFFIX = ".prices"


class MappedHistories:
    """See `SharedHistories`: one file for each history, which all processes map read-only.

    A process that needs only some assets touches only their part of the file, and the kernel has
    one copy for all processes. Small histories are not shared. If the folder cannot be used, or
    other users can write to it, each process builds its own.

    The file describes the history by a pickle without its arrays, which follow it. Its classes are
    limited to those of the domain.

    Args:
        folder: Of this deployment; it is created. Files of earlier histories are deleted.
        least: Smallest size in bytes of a history that is shared.
        patience: Seconds that a process waits for another one that builds the same history.
    """

    def __init__(self, folder: Path, *, least: int = 16_000_000, patience: float = 120.0) -> None:
        self._folder, self._least, self._patience = folder, least, patience

    def get(self, key: str, build: Callable[[], PriceHistory | None]) -> PriceHistory | None:
        path = self._folder / (sha256(f"{key} {_code()}".encode()).hexdigest()[:32] + _SUFFIX)
        found = _read(path)
        if found is not None:
            return found
        with self._building():
            found = _read(path)
            if found is not None:
                return found
            history = build()
            if history is None or history.nbytes < self._least:
                return history
            return self._share(path, history)

    def _share(self, path: Path, history: PriceHistory) -> PriceHistory:
        """Write a history and return the shared one; the given one if that fails."""
        try:
            self._check_folder()
            with NamedTemporaryFile(dir=self._folder, delete=False) as file:
                try:
                    _write(file, history)
                    file.flush()
                    os.fsync(file.fileno())
                    Path(file.name).replace(path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            for other in self._folder.glob(f"*{_SUFFIX}"):
                if other != path:
                    other.unlink(missing_ok=True)  # processes that map it keep it
        except OSError as error:
            log.warning("%s cannot hold prices for all processes: %s", self._folder, error)
            return history
        return _read(path) or history

    @contextmanager
    def _building(self) -> Iterator[None]:
        """Wait while another process builds a history."""
        lock = None
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._folder / "building.lock", os.O_RDWR | os.O_CREAT, 0o600)
        if lock is None:
            yield
            return
        try:
            latest = time.monotonic() + self._patience
            while not _locks(lock) and time.monotonic() < latest:
                time.sleep(_POLL_INTERVAL)
            yield
        finally:
            os.close(lock)

    def _check_folder(self) -> None:
        """Raise OSError if other users can write to the folder."""
        found = self._folder.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PermissionError("other users can write to it")


def _locks(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@cache
def _code() -> str:
    """Return a digest of the code that assembles histories, and of the numpy that reads them."""
    digest = sha256(np.__version__.encode())
    for source in sorted(Path(rebalancer.domain.market.__path__[0]).glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _write(file: Any, history: PriceHistory) -> None:
    buffers: list[pickle.PickleBuffer] = []
    described = pickle.dumps(history, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    places, offset = [], _aligned(_HEADER.size + len(raw) * _PLACE.size + len(described))
    for data in raw:
        places.append((offset, data.nbytes))
        offset = _aligned(offset + data.nbytes)
    table = b"".join(_PLACE.pack(*place) for place in places)
    digest = sha256(table + described).digest()
    file.write(_HEADER.pack(_MAGIC, len(described), len(raw), digest) + table + described)
    for (start, _), data in zip(places, raw, strict=True):
        file.seek(start)
        file.write(data)
    file.truncate(offset)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _read(path: Path) -> PriceHistory | None:
    """Map a file; None if it is missing, incomplete or damaged."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        magic, size, count, digest = _HEADER.unpack_from(whole)
        start = _HEADER.size + count * _PLACE.size
        table, described = whole[_HEADER.size : start], whole[start : start + size]
        if magic != _MAGIC or sha256(whole[_HEADER.size : start + size]).digest() != digest:
            return None
        places = list(_PLACE.iter_unpack(table))
        if any(offset + length > len(whole) for offset, length in places):
            return None
        arrays = [whole[offset : offset + length] for offset, length in places]
        history = _Domain(BytesIO(described), buffers=arrays).load()
    except (OSError, ValueError, struct.error, pickle.UnpicklingError):
        return None
    return history if isinstance(history, PriceHistory) else None


_ALLOWED: dict[str, Sequence[str]] = {
    "builtins": ("frozenset", "set"),
    "datetime": ("date", "datetime", "timezone", "timedelta"),
    "decimal": ("Decimal",),
    "numpy": ("dtype", "ndarray"),
    "numpy._core.numeric": ("_frombuffer",),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
}


class _Domain(pickle.Unpickler):
    """Reader of values of the domain; others are not created."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of the domain, or one that its values consist of."""
        if module.startswith("rebalancer.domain.market.") or name in _ALLOWED.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not a part of a price history")
