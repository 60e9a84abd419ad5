"""A relay in front of a TCP server that drops packets, as a broken network does.

A socket filter of the kernel discards what arrives before it is acknowledged. The other side sees a
network that loses every packet, of open connections and of new ones. It needs no privilege.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

_ATTACH_FILTER, _DETACH_FILTER = 26, 27
"""Options of Linux that `socket` does not name; see socket(7)."""

_DROP = struct.pack("HBBI", 0x06, 0, 0, 0)
"""The classic BPF instruction "return 0", which keeps no byte of a packet."""


class Relay:
    """Forwards connections to a port of loopback until its end.

    Args:
        port: Port of the server.

    Attributes:
        port: Port of the relay.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._drops = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        self._closed.set()
        self._thread.join()
        self._listener.close()

    @contextmanager
    def dropping(self) -> Iterator[None]:
        """Drop all packets of clients in this block; connections that survive it continue."""
        self._set_drops(True)
        try:
            yield
        finally:
            self._set_drops(False)

    def _set_drops(self, drops: bool) -> None:
        with self._lock:
            self._drops = drops
            for one in (self._listener, *self._clients):
                _set_filter(one, drops)

    def _run(self) -> None:
        peers: dict[socket.socket, socket.socket] = {}
        while not self._closed.is_set():
            ready, _, _ = select.select([self._listener, *peers], [], [], 0.05)
            for one in ready:
                if one is self._listener:
                    self._accept(peers)
                elif one in peers:
                    self._forward(one, peers)
        for one in peers:
            one.close()

    def _accept(self, peers: dict[socket.socket, socket.socket]) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        peers[client], peers[server] = server, client
        with self._lock:
            self._clients.add(client)
            _set_filter(client, self._drops)

    def _forward(self, one: socket.socket, peers: dict[socket.socket, socket.socket]) -> None:
        data = b""
        with suppress(OSError):
            data = one.recv(65536)
        with suppress(OSError):
            if data:
                peers[one].sendall(data)
                return
        other = peers.pop(one)
        peers.pop(other)
        with self._lock:
            self._clients -= {one, other}
            one.close()
            other.close()


def _set_filter(one: socket.socket, drops: bool) -> None:
    if not drops:
        with suppress(FileNotFoundError):  # it has none
            one.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
        return
    code = ctypes.create_string_buffer(_DROP, len(_DROP))
    program = struct.pack("HP", 1, ctypes.addressof(code))
    one.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
