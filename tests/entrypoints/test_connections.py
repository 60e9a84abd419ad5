"""Idle connections above the limits are closed, and no others."""

from __future__ import annotations

import fcntl
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from rebalancer.entrypoints.connections import (
    BusyConnections,
    ConnectionGuard,
    ConnectionLimits,
    IdleConnection,
    choose_closed,
    client_network,
)

ROOMY = ConnectionLimits(most=100, most_of_client=100, idle=1000.0)


def of(client: str, *idle: float) -> list[IdleConnection]:
    return [IdleConnection(0, (client, round(one)), client, one) for one in idle]


def closed(idle: list[IdleConnection], limits: ConnectionLimits, **busy: int) -> list[float]:
    return sorted(one.idle for one in choose_closed(idle, Counter(busy), limits))


def test_none_is_closed_within_the_limits() -> None:
    assert closed(of("a", *range(100)), ROOMY) == []


def test_connections_idle_for_too_long_are_closed() -> None:
    assert closed(of("a", 1, 11, 12), attrs.evolve(ROOMY, idle=10.0)) == [11, 12]


def test_a_client_above_its_limit_loses_its_longest_idle() -> None:
    limits = attrs.evolve(ROOMY, most_of_client=3)
    connections = of("a", 5, 1, 4, 2, 3) + of("b", 90, 80, 70)
    assert closed(connections, limits) == [4, 5]
    assert closed(connections, limits, a=2) == [2, 3, 4, 5]
    assert closed(connections, attrs.evolve(limits, most_of_client=0)) == []


def test_too_many_in_all_are_closed_where_one_client_has_most() -> None:
    limits = attrs.evolve(ROOMY, most=5)
    connections = of("attacker", 1, 2, 3, 4, 5, 6) + of("b", 99) + of("c", 50)
    assert closed(connections, limits) == [4, 5, 6]
    assert closed(connections, limits, d=2) == [2, 3, 4, 5, 6]
    assert len(closed(connections, limits, d=50)) == 8


def test_networks_of_clients() -> None:
    assert client_network("192.0.2.7") == "192.0.2.7"
    assert client_network("::ffff:192.0.2.7") == "192.0.2.7"
    assert client_network("2001:db8:1:2:3:4:5:6") == client_network("2001:db8:1:2::1")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def test_guard_shuts_down_idle_connections_of_its_own_port(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    busy = BusyConnections()
    limits = attrs.evolve(ROOMY, most_of_client=2)
    with ExitStack() as stack:
        clients, accepted = [], []
        for _ in range(5):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            accepted.append(stack.enter_context(listener.accept()[0]))
        other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        there = stack.enter_context(socket.create_connection(other.getsockname()))
        guard = ConnectionGuard(port, limits, busy)
        kept = clients[0].getsockname()
        busy.add(kept)
        assert guard.close_idle() == 3
        ended = []
        for client in clients:
            client.settimeout(0.2)
            try:
                ended.append(client.recv(1) == b"")
            except TimeoutError:
                ended.append(False)
        assert sum(ended) == 3 and not ended[0]
        there.settimeout(0.05)
        with pytest.raises(TimeoutError):
            there.recv(1)
        for one in accepted:
            one.close()
        busy.remove(kept)
        assert kept not in busy
    assert guard.close_idle() == 0


def test_guard_does_not_release_locks_of_files(tmp_path: Path) -> None:
    """Closing any descriptor of a file would release them, and with them those of SQLite."""
    path = tmp_path / "locked"
    program = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | 4)"
    assert fcntl.LOCK_NB == 4
    command = [sys.executable, "-c", program, str(path)]
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        ConnectionGuard(1, ROOMY, BusyConnections()).close_idle()
        assert (
            b"BlockingIOError" in subprocess.run(command, capture_output=True, check=False).stderr
        )
    subprocess.run(command, check=True)


def test_a_connection_is_busy_until_its_last_request_ends() -> None:
    busy, peer = BusyConnections(), ("192.0.2.7", 1000)
    busy.add(peer)
    busy.add(peer)
    busy.remove(peer)
    assert peer in busy
    busy.remove(peer)
    assert peer not in busy
