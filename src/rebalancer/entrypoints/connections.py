"""Limits on the connections of a server process, and the thread that enforces them.

The server program accepts connections and closes those without a complete request head in time. It
knows no limit for one client, and closes none to make room for another. On Linux a thread of each
process does both: it looks at the sockets of its own process, and shuts down idle ones. The server
program then sees the end of the connection as if the client had closed it.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import stat
import struct
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv6Address, ip_address

import attrs

from rebalancer.config import Settings

log = logging.getLogger("rebalancer.connections")

Peer = tuple[str, int]
"""Address and port of a client."""

_OTHER_FILES = 200
"""Open files of a process that are not connections of clients: databases, logs, pipes."""

_HEADROOM = 1.5
"""Connections that the server program accepts, as a multiple of those that stay: idle ones are
closed shortly after, and meanwhile new clients should not wait."""

_LAST_DATA = struct.Struct("=44xI4xI")
"""The fields tcpi_last_data_sent and tcpi_last_data_recv of `tcp_info` in linux/tcp.h: milliseconds
since data were sent and received; a new connection counts from its start."""


@attrs.frozen(kw_only=True)
class ConnectionLimits:
    """How many connections a server process holds, and for how long.

    Attributes:
        most: Connections of the process.
        most_of_client: Connections of one address (of IPv6: a /64 network); 0: unlimited, for
            proxies, which connect for many clients.
        idle: Seconds that a connection may take for the head of its next request.
    """

    most: int
    most_of_client: int
    idle: float

    @property
    def accepted(self) -> int:
        """Connections at which the server program stops accepting."""
        return int(self.most * _HEADROOM)

    @classmethod
    def of(cls, settings: Settings) -> ConnectionLimits:
        """Return the limits of the settings, as far as the limit of open files permits them."""
        files = _raise_file_limit(int(settings.connections * _HEADROOM) + _OTHER_FILES)
        most = min(settings.connections, max(16, int((files - _OTHER_FILES) / _HEADROOM)))
        return cls(
            most=most,
            most_of_client=0 if settings.trusted_proxies else settings.client_connections,
            idle=settings.idle_timeout,
        )


def _raise_file_limit(wanted: int) -> int:
    """Raise the soft limit of open files to what is wanted and allowed; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted
    allowed = wanted if hard == unlimited else min(wanted, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return soft


@attrs.define(eq=False)
class BusyConnections:
    """The connections with a request that has arrived and is not answered, and the web sockets."""

    _requests: Counter[Peer] = attrs.field(factory=Counter, init=False)
    _sockets: set[Peer] = attrs.field(factory=set, init=False)

    def add(self, peer: Peer) -> None:
        """Note a request."""
        self._requests[peer] += 1

    def remove(self, peer: Peer) -> None:
        """Note an answer."""
        if self._requests[peer] > 1:
            self._requests[peer] -= 1
        else:
            del self._requests[peer]

    @contextmanager
    def open(self, peer: Peer) -> Iterator[None]:
        """Note a web socket for the duration of the block: it may be idle for any time."""
        self._sockets.add(peer)
        try:
            yield
        finally:
            self._sockets.discard(peer)

    def __contains__(self, peer: object) -> bool:
        return peer in self._requests

    def is_open(self, peer: Peer) -> bool:
        """Return whether a connection is a web socket."""
        return peer in self._sockets


@attrs.frozen
class IdleConnection:
    """A connection without a request in work.

    Attributes:
        descriptor: Its file descriptor.
        peer: The client's address and port.
        client: Address, or network, that its limit applies to.
        idle: Seconds since data were received or sent.
    """

    descriptor: int
    peer: Peer
    client: str
    idle: float


def choose_closed(
    idle: Iterable[IdleConnection], busy: Counter[str], limits: ConnectionLimits
) -> list[IdleConnection]:
    """Return the idle connections to close.

    Those idle for too long are closed; of a client above its limit those that are idle the longest;
    and of all, if there are too many, those of the clients with the most connections, again the
    longest idle first. So a client that opens many connections closes its own.

    Args:
        idle: Connections without a request in work.
        busy: Number of the other connections of each client.
        limits: The limits.
    """
    closed, kept = [], []
    by_client: dict[str, list[IdleConnection]] = defaultdict(list)
    for one in idle:
        by_client[one.client].append(one)
    for client, connections in by_client.items():
        connections.sort(key=lambda one: one.idle)
        place = busy[client]
        for one in connections:
            place += 1
            over = limits.most_of_client and place > limits.most_of_client
            if over or one.idle > limits.idle:
                closed.append(one)
            else:
                kept.append((place, one.idle, one))
    excess = busy.total() + len(kept) - limits.most
    if excess > 0:
        kept.sort(key=lambda ranked: ranked[:2], reverse=True)
        closed += [one for _, _, one in kept[:excess]]
    return closed


class ConnectionGuard:
    """Closes idle connections of this process in a thread.

    An ordinary look counts the open files of the process, which takes microseconds. Only if they
    are more than a client may have, or at times, it looks at each connection.

    Args:
        port: Port that the server listens on.
        limits: The limits.
        busy: Connections that must stay open.
        interval: Seconds between two looks.
        full_interval: Seconds between two looks at each connection.
    """

    def __init__(
        self,
        port: int,
        limits: ConnectionLimits,
        busy: BusyConnections,
        *,
        interval: float = 0.5,
        full_interval: float = 5.0,
    ) -> None:
        self._port = port
        self._limits = limits
        self._busy = busy
        self._interval = interval
        self._looks_between = max(1, round(full_interval / interval))
        self._reported = False

    def start(self) -> None:
        """Start the thread where the system shows the sockets of a process: on Linux."""
        if sys.platform == "linux":
            threading.Thread(target=self._run, name="connections", daemon=True).start()

    def _run(self) -> None:
        few = min(self._limits.most_of_client or self._limits.most, self._limits.most)
        pause = threading.Event()
        look = 0
        while not pause.wait(self._interval):
            look += 1
            try:
                if look % self._looks_between == 0 or len(_open_files()) > few:
                    self.close_idle()
            except OSError as error:  # such as no free descriptor; the next look may succeed
                log.warning("the connections could not be checked: %s", error)

    def close_idle(self) -> int:
        """Close idle connections above the limits; return their number."""
        idle: list[IdleConnection] = []
        busy: Counter[str] = Counter()
        for descriptor in _open_files():
            if (found := _look_at(descriptor, self._port)) is None:
                continue
            peer, seconds = found
            client = client_network(peer[0])
            if peer in self._busy:
                busy[client] += 1
            else:
                if self._busy.is_open(peer):
                    seconds = 0.0
                idle.append(IdleConnection(descriptor, peer, client, seconds))
        closed = choose_closed(idle, busy, self._limits)
        for one in closed:
            if one.peer not in self._busy:
                _shut_down(one)
        self._report(closed)
        return len(closed)

    def _report(self, closed: list[IdleConnection]) -> None:
        """Log the first of a series of looks that closed connections before their time."""
        early = Counter(one.client for one in closed if one.idle <= self._limits.idle)
        if early and not self._reported:
            client, number = early.most_common(1)[0]
            log.warning(
                "too many connections: %d idle ones were closed, %d of them of %s",
                early.total(),
                number,
                client,
            )
        self._reported = bool(early)


def client_network(host: str) -> str:
    """Return an address, or the /64 network of an IPv6 address, which one customer owns."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


def _open_files() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208  # ten times faster


@contextmanager
def _duplicate(descriptor: int) -> Iterator[socket.socket]:
    """Yield a socket of this process under a descriptor of its own.

    The server program may close its own meanwhile, and get the same number for another connection.

    Closing any descriptor of a file releases all locks that this process has on it, such as those
    of SQLite (https://www.sqlite.org/howtocorrupt.html, section 2.2). So no descriptor of a file is
    duplicated; should the number have passed to a file in between, the copy stays open.

    Raises:
        OSError: the descriptor is closed, or is not a socket.
    """
    _check_socket(descriptor)
    copy = os.dup(descriptor)
    _check_socket(copy)
    with socket.socket(fileno=copy) as found:
        yield found


def _check_socket(descriptor: int) -> None:
    """Raise OSError unless a descriptor is a socket."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))


def _look_at(descriptor: int, port: int) -> tuple[Peer, float] | None:
    """Return client and seconds idle of a connection to a port; None for any other file."""
    with suppress(OSError), _duplicate(descriptor) as connection:
        is_internet = connection.family in (socket.AF_INET, socket.AF_INET6)
        if is_internet and connection.getsockname()[1] == port:
            peer = _peer_of(connection)
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA.size)
            return peer, min(_LAST_DATA.unpack(info)) / 1000
    return None


def _shut_down(one: IdleConnection) -> None:
    with suppress(OSError), _duplicate(one.descriptor) as connection:
        if _peer_of(connection) == one.peer:
            connection.shutdown(socket.SHUT_RDWR)


def _peer_of(connection: socket.socket) -> Peer:
    host, port = connection.getpeername()[:2]
    return host.partition("%")[0], port
