"""HEAD for each GET, and headers that list the methods of a path (RFC 9110, section 9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ASGIApp, Message, Receive, Send

PATCH_FORMATS = b"application/merge-patch+json, application/json"
"""Formats of a patch, for ``Accept-Patch`` (RFC 5789, section 3.1)."""


def complete_methods(app: ASGIApp, routes: Iterable[BaseRoute]) -> ASGIApp:
    """Return an application that answers HEAD like GET without a body, and names all methods.

    Litestar answers HEAD only where a route of its own exists, and its answer to OPTIONS knows only
    some handlers of a path.
    """
    known: dict[str, set[str]] = {}
    for route in routes:
        if isinstance(route, HTTPRoute):
            known.setdefault(route.path_format, set()).update(route.methods)

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        started = False

        async def receive_end() -> Any:
            """End a stream after its headers."""
            return {"type": "http.disconnect"} if started else await receive()

        async def send_adapted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                methods = known.get(scope.get("path_template", ""), set())
                message["headers"] = _complete(message.get("headers", ()), methods)
            elif is_head and message["type"] == "http.response.body":
                if started:
                    return
                started = True
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        if is_head:
            as_get: Any = {**scope, "method": "GET"}
            try:
                await app(as_get, receive_end, send_adapted)
            finally:  # what was noted in the copy: the route and the user
                scope.update({name: as_get[name] for name in as_get if name not in scope})
        else:
            await app(scope, receive, send_adapted)

    return wrapped


def complete_list(allow: str, known: Iterable[str] = ()) -> list[str]:
    """Return the methods of an ``Allow`` header and those that are known, with HEAD and OPTIONS."""
    methods = {one.strip() for one in allow.split(",")} | {*known, "OPTIONS"}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _complete(headers: Any, known: set[str]) -> list[tuple[bytes, bytes]]:
    found = []
    for name, value in headers:
        if name.lower() == b"allow":
            methods = complete_list(value.decode(), known)
            found.append((b"allow", ", ".join(methods).encode()))
            if "PATCH" in methods:
                found.append((b"accept-patch", PATCH_FORMATS))
        else:
            found.append((name, value))
    return found
