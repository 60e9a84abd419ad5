"""A local internet: real clients reach faked hosts by their real names.

A proxy on loopback takes CONNECT requests, ends TLS with a certificate of its own authority, and
routes by host. Clients use it through the usual environment variables, also in subprocesses; no
product code knows of it.

    with Internet({"api.example.com": handler}) as internet:
        monkeypatch_environment(internet.environment())
        httpx.get("https://api.example.com/prices")
        assert internet.requests("api.example.com")[0].path == "/prices"
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs
import trustme


@attrs.frozen
class Request:
    """Request as a host has received it."""

    host: str
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""

    def parameter(self, name: str) -> str | None:
        """Return the first value of a parameter of the query."""
        return self.query.get(name, [None])[0]


@attrs.frozen
class Reply:
    """Answer of a host, faults included.

    Attributes:
        cut_after: Bytes of the body after which the connection ends; None: all of it is sent.
        delay: Seconds before the answer.
        hang_up: Close the connection without any answer.
    """

    status: int = 200
    body: bytes | str = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    cut_after: int | None = None
    delay: float = 0.0
    hang_up: bool = False


Handler = Callable[[Request], Reply]

SocketHandler = Callable[[ssl.SSLSocket, bytes], None]
"""Serves a WebSocket until its end, given the connection and the request that opens it."""


class Internet:
    """Hosts by name behind one proxy; others are refused with 502.

    Args:
        hosts: Handlers by host name; ``*`` answers for the others.
        broken_tls: Hosts that show a certificate of an unknown authority.
        sockets: Handlers of WebSockets by host name.
    """

    def __init__(
        self,
        hosts: Mapping[str, Handler],
        *,
        broken_tls: tuple[str, ...] = (),
        sockets: Mapping[str, SocketHandler] | None = None,
    ) -> None:
        self.hosts = dict(hosts)
        self.sockets = dict(sockets or {})
        self.broken_tls = set(broken_tls)
        self._authority, self._stranger = trustme.CA(), trustme.CA()
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self._received: list[Request] = []
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Internet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            still_open = list(self._open)
        for connection in still_open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    @property
    def proxy(self) -> str:
        """URL of the proxy."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the variables with which clients use this internet; the certificate is in a file.

        All three variables of certificates are set, because a machine may preset any of them.
        """
        certificate = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(certificate))
        names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
        bundles = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        return {
            **dict.fromkeys(names, self.proxy),
            **dict.fromkeys(bundles, str(certificate)),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def requests(self, host: str | None = None) -> list[Request]:
        """Return the requests received so far, by one host or all."""
        with self._lock:
            return [one for one in self._received if host in (None, one.host)]

    def forget(self) -> None:
        """Forget the requests received so far."""
        with self._lock:
            self._received.clear()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(60)
            self._converse(connection)
        except (OSError, ssl.SSLError, ValueError):
            pass  # the client has gone, or does not trust the certificate
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _converse(self, connection: socket.socket) -> None:
        first = _read_head(connection)
        if first is None:
            return
        method, target, _, _ = first
        if method != "CONNECT":
            parts = urlsplit(target)
            self._answer(connection, parts.hostname or "", first)
            return
        host = target.rpartition(":")[0]
        known = host in self.hosts or host in self.sockets or "*" in self.hosts
        if not known:
            connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with self._context(host).wrap_socket(connection, server_side=True) as secure:
            while (head := _read_head(secure)) is not None:
                if host in self.sockets and "websocket" in head[2].get("upgrade", "").lower():
                    self.sockets[host](secure, _raw(head))
                    return
                if not self._answer(secure, host, head):
                    return

    def _context(self, host: str) -> ssl.SSLContext:
        broken = host in self.broken_tls
        with self._lock:
            found = self._contexts.get((host, broken))
            if found is None:
                found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                found.set_alpn_protocols(["http/1.1"])
                authority = self._stranger if broken else self._authority
                authority.issue_cert(host).configure_cert(found)
                self._contexts[host, broken] = found
            return found

    def _answer(
        self,
        connection: socket.socket,
        host: str,
        head: tuple[str, str, Mapping[str, str], bytes],
    ) -> bool:
        """Answer one request; return whether the connection stays open."""
        method, target, headers, rest = head
        length = int(headers.get("content-length", "0"))
        body = rest
        while len(body) < length:
            more = connection.recv(65536)
            if not more:
                return False
            body += more
        parts = urlsplit(target)
        request = Request(
            host, method, parts.path, parse_qs(parts.query, keep_blank_values=True), headers, body
        )
        with self._lock:
            self._received.append(request)
        handler = self.hosts.get(host) or self.hosts["*"]
        reply = handler(request)
        if reply.delay:
            self._ended.wait(reply.delay)
        if reply.hang_up:
            return False
        content = reply.body.encode() if isinstance(reply.body, str) else reply.body
        fields = {"content-type": "application/json", **reply.headers}
        fields["content-length"] = str(len(content))
        lines = [f"HTTP/1.1 {reply.status} Status"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        sent = content if reply.cut_after is None else content[: reply.cut_after]
        # One write: a second small one would wait for the delayed acknowledgement of the first.
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + sent)
        return reply.cut_after is None


def _read_head(connection: socket.socket) -> tuple[str, str, Mapping[str, str], bytes] | None:
    """Read a request line and headers; None at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    return method, target, {name.strip().lower(): value.strip() for name, _, value in pairs}, rest


def _raw(head: tuple[str, str, Mapping[str, str], bytes]) -> bytes:
    """Return a request as it was sent, but for the case of its headers."""
    method, target, headers, rest = head
    lines = [f"{method} {target} HTTP/1.1", *(f"{one}: {text}" for one, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + rest


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while, for clients in this process."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def wait_until(reached: Callable[[], bool], *, seconds: float = 120.0) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not within the time.
    """
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition has not been reached")
        time.sleep(0.02)
