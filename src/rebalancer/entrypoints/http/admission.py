"""Check requests before the router, and time the arrival of their bodies."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from litestar import Request
from litestar.types import ASGIApp, Receive, Send

from rebalancer.domain.errors import RebalancerError
from rebalancer.entrypoints.connections import BusyConnections, Peer
from rebalancer.entrypoints.http.bodies import Unsupported
from rebalancer.entrypoints.http.errors import BodyTimeout, to_problem
from rebalancer.entrypoints.schemas.decoding import Malformed

BODY_RATE = 10_000
"""Bytes a second at which a body must arrive, after the time that every body has."""

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]+")


def track_busy(app: ASGIApp, busy: BusyConnections) -> ASGIApp:
    """Return an application that notes which connections have a request in work.

    A request whose body is still to come does not count: it may wait for the client for ever.
    """

    async def tracked(scope: Any, receive: Receive, send: Send) -> None:
        peer = _peer_of(scope)
        if peer is None or scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            with busy.open(peer):
                await app(scope, receive, send)
            return
        is_busy = not _announces_body(scope)
        if is_busy:
            busy.add(peer)

        async def receive_body() -> Any:
            nonlocal is_busy
            message = await receive()
            if not is_busy and not message.get("more_body"):
                is_busy = True
                busy.add(peer)
            return message

        try:
            await app(scope, receive if is_busy else receive_body, send)
        finally:
            if is_busy:
                busy.remove(peer)

    return tracked


def limit_body_time(app: ASGIApp, timeout: float) -> ASGIApp:
    """Return an application that refuses bodies that arrive too slowly.

    Args:
        app: The application.
        timeout: Seconds that any body may take; a large one takes longer at `BODY_RATE`.
    """

    async def timed(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _announces_body(scope):
            await app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        latest = loop.time() + timeout
        complete = False

        async def receive_in_time() -> Any:
            nonlocal latest, complete
            if complete:  # what is still received is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout_at(latest):
                    message: Any = await receive()
            except TimeoutError:
                raise BodyTimeout("the body arrived too slowly; send it again") from None
            latest += len(message.get("body", b"")) / BODY_RATE
            complete = not message.get("more_body")
            return message

        await app(scope, receive_in_time, send)

    return timed


def refuse_ambiguous(app: ASGIApp) -> ASGIApp:
    """Return an application that refuses requests that servers may understand differently.

    Those are requests without exactly one valid Host (RFC 9112, section 3.2), and bodies with a
    content encoding, which this service does not decode.
    """

    async def checked(scope: Any, receive: Receive, send: Send) -> None:
        fault = _fault_of(scope) if scope["type"] == "http" else None
        if fault is None:
            await app(scope, receive, send)
            return
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        response = to_problem(fault).to_response(request).to_asgi_response(None, request)
        await response(scope, receive, send)

    return checked


def _fault_of(scope: Any) -> RebalancerError | None:
    hosts, encoding = [], b""
    for name, value in scope["headers"]:
        if name == b"host":
            hosts.append(value)
        elif name == b"content-encoding":
            encoding = value.strip().lower()
    required = scope.get("http_version") == "1.1"
    if len(hosts) > 1 or (required and not hosts):
        return Malformed("send exactly one Host header", field="Host", code="invalid_host")
    if hosts and not _HOST.fullmatch(hosts[0]):
        return Malformed("expected a host name and a port", field="Host", code="invalid_host")
    if encoding not in (b"", b"identity"):
        return Unsupported("compressed bodies are not supported; send the JSON as it is")
    return None


def _peer_of(scope: Any) -> Peer | None:
    """Return the client's address and port; None if the server does not know it."""
    client = scope.get("client")
    return (
        None if client is None else (str(client[0]), int(client[1]))
    )  # granian: a str for sockets


def _announces_body(scope: Any) -> bool:
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    return scope.get("http_version") == "2" and scope["method"] not in ("GET", "HEAD", "OPTIONS")
