"""Yahoo's stream of trades in its wire format, with the faults that streams have.

    stream = YahooStreamServer()
    with Internet({}, sockets=stream.sockets()) as internet:
        ...
        stream.wait_for({"VTI"})
        stream.send("VTI", 250.5)

``python -m tests.yahoo_stream`` plays a market day in a minute, again and again, for clients that
are started with the variables that it prints.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import math
import random
import select
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.internet import Internet, SocketHandler, wait_until
from tests.yahoo_world import ASSETS, World

HOST = "streamer.finance.yahoo.com"
REGULAR = 1


class Fault(StrEnum):
    """What goes wrong with a connection after its first subscription."""

    CLOSE = "close"
    CUT = "cut"
    SILENCE = "silence"
    REFUSE = "refuse"


@lru_cache(maxsize=1)
def pricing_data() -> Any:
    """Return yfinance's generated class, without the rest of yfinance."""
    spec = importlib.util.find_spec("yfinance")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).with_name("pricing_pb2.py")
    found = importlib.util.spec_from_file_location("yahoo_pricing_pb2", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module.PricingData


def encode(symbol: str, price: float, milliseconds: int, **fields: Any) -> str:
    """Return a message of the stream."""
    data = pricing_data()(id=symbol, price=price, time=milliseconds, **fields)
    encoded = base64.b64encode(data.SerializeToString()).decode()
    return json.dumps({"type": "pricing", "message": encoded})


@attrs.define(eq=False)
class _Connection:
    """One client."""

    symbols: set[str] = attrs.field(factory=set)
    silent: bool = False
    messages: list[str] = attrs.field(factory=list)
    wake: tuple[socket.socket, socket.socket] = attrs.field(factory=socket.socketpair)
    ended: str | None = None

    def put(self, message: str) -> None:
        self.messages.append(message)
        with suppress(OSError):
            self.wake[1].send(b".")


class YahooStreamServer:
    """Server of the stream.

    Attributes:
        faults: Faults of the next connections, in this order; later ones have none.
        connections: Number of connections that were opened.
        subscriptions: Assets of each subscription message.
    """

    def __init__(self, known: Iterable[str] | None = None) -> None:
        """Know some assets; all when None. Trades of others are never sent."""
        self.faults: list[Fault] = []
        self.connections = 0
        self.subscriptions: list[list[str]] = []
        self._known = None if known is None else set(known)
        self._lock = threading.Lock()
        self._open: list[_Connection] = []

    def sockets(self) -> Mapping[str, SocketHandler]:
        """Return the handlers for `Internet`."""
        return {HOST: self.serve}

    def subscribed(self) -> set[str]:
        """Return the assets to which any client has subscribed whose connection is not ending."""
        with self._lock:
            return set().union(*(one.symbols for one in self._open if one.ended is None))

    def wait_for(self, symbols: Iterable[str]) -> None:
        """Wait until clients have subscribed to exactly these assets."""
        wait_until(lambda: self.subscribed() == set(symbols))

    def send(self, symbol: str, price: float, *, at: float | None = None, **fields: Any) -> None:
        """Send a trade to the clients that have subscribed to its asset.

        Args:
            symbol: As Yahoo writes it.
            price: In the quote unit.
            at: Seconds since 1970; None: now.
            fields: Others of the message.
        """
        if self._known is not None and symbol not in self._known:
            return
        moment = time.time() if at is None else at
        fields.setdefault("market_hours", REGULAR)
        self.send_raw(symbol, encode(symbol, price, int(moment * 1000), **fields))

    def send_raw(self, symbol: str, message: str) -> None:
        """Send any text to the clients that have subscribed to an asset."""
        with self._lock:
            clients = [one for one in self._open if symbol in one.symbols]
        for client in clients:
            client.put(message)

    def end_all(self, how: Fault = Fault.CUT) -> None:
        """Close or cut all connections."""
        with self._lock:
            clients = list(self._open)
        for client in clients:
            client.ended = how
            client.put("")

    def serve(self, connection: ssl.SSLSocket, opening: bytes) -> None:
        """Serve a client until the end of its connection."""
        with self._lock:
            self.connections += 1
            fault = self.faults.pop(0) if self.faults else None
        if fault is Fault.REFUSE:
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
            return
        protocol, client = ServerProtocol(), _Connection()
        protocol.receive_data(opening)
        (handshake,) = protocol.events_received()
        assert isinstance(handshake, Handshake)
        protocol.send_response(protocol.accept(handshake))
        self._flush(protocol, connection)
        with self._lock:
            self._open.append(client)
        try:
            self._converse(connection, protocol, client, fault)
        finally:
            with self._lock:
                self._open.remove(client)
            for one in client.wake:
                one.close()

    def _converse(
        self,
        connection: ssl.SSLSocket,
        protocol: ServerProtocol,
        client: _Connection,
        fault: Fault | None,
    ) -> None:
        while True:
            ready: list[Any] = [connection]
            if not connection.pending():  # decrypted data are invisible to select
                ready, _, _ = select.select([connection, client.wake[0]], [], [])
            if client.wake[0] in ready:
                client.wake[0].recv(4096)
            if connection in ready:
                data = connection.recv(65536)
                if not data:
                    return
                protocol.receive_data(data)
                for frame in protocol.events_received():
                    if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT:
                        self._subscribe(client, json.loads(bytes(frame.data)))
                        client.ended = client.ended or fault
            if client.ended == Fault.CUT:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                return
            if client.ended == Fault.CLOSE:
                protocol.send_close(1000)
            if client.ended == Fault.SILENCE:
                protocol.data_to_send()  # nothing is answered any more, not even a ping
                continue
            # A client that has just gone gets nothing more.
            while client.messages and not client.ended and protocol.state is State.OPEN:
                protocol.send_text(client.messages.pop(0).encode())
            self._flush(protocol, connection)
            if client.ended == Fault.CLOSE or protocol.close_expected():
                return

    def _subscribe(self, client: _Connection, message: Mapping[str, list[str]]) -> None:
        with self._lock:
            if "subscribe" in message:
                self.subscriptions.append(message["subscribe"])
            client.symbols |= set(message.get("subscribe", ()))
            client.symbols -= set(message.get("unsubscribe", ()))

    def _flush(self, protocol: ServerProtocol, connection: ssl.SSLSocket) -> None:
        for data in protocol.data_to_send():
            if data:
                connection.sendall(data)


class MarketDay:
    """Prices of some assets that move through a market day within a time.

    Args:
        stream: Server that sends them.
        prices: Prices in the morning, by symbol, and their units.
        seconds: Duration.
        pace: Trades of all assets in a second.
    """

    def __init__(
        self,
        stream: YahooStreamServer,
        prices: Mapping[str, tuple[float, str]],
        *,
        seconds: float = 60.0,
        pace: float = 20.0,
        seed: int = 1,
    ) -> None:
        self._stream, self._seconds, self._pace = stream, seconds, pace
        self._prices, self._random = dict(prices), random.Random(seed)

    def play(self, ended: threading.Event) -> None:
        """Send trades until the day is over, or until ``ended``."""
        count = int(self._seconds * self._pace)
        symbols = sorted(self._prices)
        deviation = 0.02 / math.sqrt(max(count / len(symbols), 1))  # 2% over the day
        for number in range(count):
            symbol = symbols[number % len(symbols)]
            price, unit = self._prices[symbol]
            price *= math.exp(self._random.gauss(0, deviation))
            self._prices[symbol] = (price, unit)
            self._stream.send(symbol, price, currency=unit, bid=price * 0.9995, ask=price * 1.0005)
            if ended.wait(1 / self._pace):
                return


def main() -> None:
    """Play market days until Ctrl-C."""
    world, stream = World(), YahooStreamServer()
    prices = {one.symbol: (one.price(world.today), one.currency) for one in ASSETS.values()}
    with (
        tempfile.TemporaryDirectory() as folder,
        Internet(world.hosts(), sockets=stream.sockets()) as internet,
        suppress(KeyboardInterrupt),
    ):
        for name, value in internet.environment(Path(folder)).items():
            sys.stdout.write(f"export {name}={value}\n")
        sys.stdout.flush()
        while True:
            MarketDay(stream, prices).play(threading.Event())


if __name__ == "__main__":
    main()
