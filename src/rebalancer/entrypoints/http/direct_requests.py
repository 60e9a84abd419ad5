"""Refuse requests from other machines while the secret key is the public one.

The server then listens on a loopback address, but a proxy on the same machine would pass requests
on, and a web page could reach it through a name that resolves to that address.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from litestar import Request
from litestar.types import ASGIApp, Receive, Send

from rebalancer.domain.errors import NotAllowed
from rebalancer.entrypoints.http.errors import to_problem

_OF_PROXIES = {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"}


def refuse_indirect_requests(app: ASGIApp) -> ASGIApp:
    """Return an application that refuses requests through a proxy or to another host name."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_direct(scope["headers"]):
            await app(scope, receive, send)
            return
        error = NotAllowed(
            "the server has its development key, which is public, so it answers only direct "
            "requests to localhost; set REBALANCER_SECRET_KEY to a secret",
            code="development_key_in_use",
        )
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        response = to_problem(error).to_response(request).to_asgi_response(None, request)
        await response(scope, receive, send)

    return wrapped


def _is_direct(headers: list[tuple[bytes, bytes]]) -> bool:
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    return not any(name in _OF_PROXIES for name, _ in headers) and all(map(_is_local, hosts))


def _is_local(host: str) -> bool:
    """Return whether the value of a Host header names this machine."""
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name.casefold().rstrip(".") == "localhost"
