"""Assembled price histories in files that the processes of a host map into memory."""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import pickle
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

import numpy as np

import rebalancer.domain.market
from rebalancer.application.ports.market import BuildHistory
from rebalancer.domain.market.history_tables import HistoryTables, Table, TablesInMemory
from rebalancer.domain.market.prices import PriceHistory

log = logging.getLogger("rebalancer.market")

_MAGIC = b"rebalpx2"
_HEADER = struct.Struct("<8sQQQ32s")
"""Magic, offset and bytes of the description, number of arrays, and digest of the description."""

_PLACE = struct.Struct("<QQ")
"""Offset and size of an array; these places begin the description."""

_ALIGNMENT = mmap.ALLOCATIONGRANULARITY
_POLL_INTERVAL = 0.05
_SUFFIX = ".prices"


class MappedHistories:
    """See `SharedHistories`: one file for each history, which all processes map read-only.

    A process that needs only some assets touches only their part of the file, and the kernel has
    one copy for all processes. Small histories are not shared. If the folder cannot be used, or
    other users can write to it, each process builds its own.

    The tables of a history are written to the file while it is assembled, so that this takes little
    memory. The file describes the history by a pickle without its arrays. Its classes are limited
    to those of the domain. Files count until the host restarts: they are not forced to the disk, so
    that a crash may have left gaps.

    Args:
        folder: Of this deployment; it is created. Files of earlier histories are deleted.
        least: Smallest size in bytes of a history that is shared.
        patience: Seconds that a process waits for another one that builds the same history.
    """

    def __init__(self, folder: Path, *, least: int = 16_000_000, patience: float = 120.0) -> None:
        self._folder, self._least, self._patience = folder, least, patience

    def get(self, key: str, build: BuildHistory) -> PriceHistory | None:
        name = sha256(f"{key} {_code()} {_last_start()}".encode()).hexdigest()[:32]
        path = self._folder / (name + _SUFFIX)
        found = _read(path)
        if found is not None:
            return found
        with self._building():
            return _read(path) or self._build(path, build)

    def _build(self, path: Path, build: BuildHistory) -> PriceHistory | None:
        """Build a history and return the shared one; that of this process if sharing fails."""
        tables = _Tables(self._folder, self._least)
        try:
            history = build(tables.open)
            if history is None or history.nbytes < self._least:
                return history
            tables.save(history, path)
            for other in self._folder.glob(f"*{_SUFFIX}"):
                if other != path:
                    other.unlink(missing_ok=True)  # processes that map it keep it
        except OSError as error:
            log.warning("%s cannot hold prices for all processes: %s", self._folder, error)
            return build(TablesInMemory)
        finally:
            tables.close()
        if tables.hold(history):
            return history
        shared = _read(path)
        if shared is None:
            log.warning("%s was written, but cannot be read; prices are not shared", path)
        return shared or history

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


def _check_folder(folder: Path) -> None:
    """Raise OSError if other users can write to a folder."""
    found = folder.stat()
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


@cache
def _last_start() -> str:
    """Return what identifies the last start of the host; empty where that is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""


class _Tables:
    """Tables of one history in a file, each asset by asset, and its description after them.

    Args:
        folder: Where the file is created when it is needed.
        least: Smaller tables are collected in memory, in bytes.
    """

    def __init__(self, folder: Path, least: int) -> None:
        self._folder, self._least = folder, least
        self._opened: IO[bytes] | None = None
        self._shape = (0, 0)
        self._end = _aligned(_HEADER.size)
        self._places: dict[str, tuple[int, np.dtype[Any]]] = {}
        self._mapped: list[tuple[int, int, mmap.mmap]] = []

    @property
    def _file(self) -> IO[bytes]:
        if self._opened is None:
            _check_folder(self._folder)
            self._opened = NamedTemporaryFile(dir=self._folder, delete=False)  # noqa: SIM115
        return self._opened

    def close(self) -> None:
        """Close the file, and delete it unless it was saved."""
        if self._opened is not None:
            self._opened.close()
            Path(self._opened.name).unlink(missing_ok=True)

    def open(self, rows: int, columns: int) -> HistoryTables:
        """See `OpenTables`."""
        if rows * columns * np.dtype(np.float64).itemsize < self._least:
            return TablesInMemory(rows, columns)
        self._shape = (columns, rows)
        return self

    def write(self, name: str, first: int, columns: Table) -> None:
        """See `HistoryTables.write`."""
        count, rows = self._shape
        if name not in self._places:
            self._places[name] = (self._end, columns.dtype)
            self._end = _aligned(self._end + count * rows * columns.dtype.itemsize)
            self._file.truncate(self._end)
        offset, dtype = self._places[name]
        self._file.seek(offset + first * rows * dtype.itemsize)
        self._file.write(np.ascontiguousarray(columns.T).data)

    def read(self, name: str) -> Table:
        """See `HistoryTables.read`."""
        self._file.flush()
        offset, dtype = self._places[name]
        count, rows = self._shape
        size = count * rows * dtype.itemsize
        mapped = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ, offset=offset)
        table = np.frombuffer(mapped, dtype)
        self._mapped.append((table.ctypes.data, offset, mapped))
        return table.reshape(count, rows).T

    def hold(self, history: PriceHistory) -> bool:
        """Return whether the tables of a history are in the file."""
        address = history.closes.ctypes.data
        return any(start == address for start, _, _ in self._mapped)

    def save(self, history: PriceHistory, path: Path) -> None:
        """Write the description of a history, and those arrays that are not in the file.

        Then the file has its name.
        """
        buffers: list[pickle.PickleBuffer] = []
        described = pickle.dumps(history, protocol=5, buffer_callback=buffers.append)
        places = [self._place(buffer.raw()) for buffer in buffers]
        described = b"".join(_PLACE.pack(*place) for place in places) + described
        self._file.seek(self._end)
        self._file.write(described)
        self._file.truncate(_aligned(self._end + len(described)))
        self._file.seek(0)
        digest = sha256(described).digest()
        self._file.write(_HEADER.pack(_MAGIC, self._end, len(described), len(places), digest))
        self._file.flush()
        if not _last_start():
            os.fsync(self._file.fileno())
        Path(self._file.name).replace(path)

    def _place(self, data: memoryview) -> tuple[int, int]:
        """Return offset and size of an array, which is written if it is not in the file."""
        address = np.frombuffer(data, np.uint8).ctypes.data if data.nbytes else 0
        for start, offset, mapped in self._mapped:
            if start <= address and address + data.nbytes <= start + len(mapped):
                return offset + address - start, data.nbytes
        place = (self._end, data.nbytes)
        self._file.seek(self._end)
        self._file.write(data)
        self._end = _aligned(self._end + data.nbytes)
        return place


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _read(path: Path) -> PriceHistory | None:
    """Map a file; None if it is missing, incomplete or damaged."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        magic, start, size, count, digest = _HEADER.unpack_from(whole)
        described = whole[start : start + size]
        if magic != _MAGIC or sha256(described).digest() != digest:
            return None
        split = count * _PLACE.size
        places = list(_PLACE.iter_unpack(described[:split]))
        if any(offset + length > len(whole) for offset, length in places):
            return None
        arrays = [whole[offset : offset + length] for offset, length in places]
        history = _Domain(BytesIO(described[split:]), buffers=arrays).load()
    except (OSError, ValueError, KeyError, struct.error, pickle.UnpicklingError):
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


def _find_member(kind: Any, name: str) -> Enum:
    """Return a member of an enumeration; refuse attributes of anything else."""
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        raise pickle.UnpicklingError(f"{kind!r} is not an enumeration")
    return kind[name]


class _Domain(pickle.Unpickler):
    """Reader of values of the domain; others are not created."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of the domain, or one that its values consist of."""
        if (module, name) == ("builtins", "getattr"):  # members of enums, before Python 3.11.4
            return _find_member
        if module.startswith("rebalancer.domain.market.") or name in _ALLOWED.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not a part of a price history")
