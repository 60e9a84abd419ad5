"""Response headers that limit what browsers and caches do with an answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send

from rebalancer.application.unsubscribing import UNSUBSCRIBE_PATH

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Policy of all answers except pages: a browser loads and runs nothing."""

_DOCUMENTATION = (
    f"{_NOTHING}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'"
)
"""Policy of the documentation: its scripts come from this server; it sets styles inline."""

_FORM = _NOTHING.replace("form-action 'none'", "form-action 'self'")
"""Policy of a page that holds one form, which leads to this server."""

_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"server", b"rebalancer"),  # in place of the name and version of the server program
)
_NO_STORE = (b"cache-control", b"no-store")


_TRANSPORT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
"""Lets browsers connect with TLS alone for a year; only for the host itself."""


def add_security_headers(
    app: ASGIApp,
    *,
    documentation: str = "/docs",
    forms: Collection[str] = (UNSUBSCRIBE_PATH,),
    encrypted: bool = False,
) -> ASGIApp:
    """Return an application whose answers carry security headers.

    Personal answers, which are those to requests with credentials and of ``/api/users``, must not
    be stored by caches.

    Args:
        app: The application.
        documentation: Path of the pages that run scripts.
        forms: Paths of the pages with a form.
        encrypted: Whether the server itself speaks TLS.
    """

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        path = scope["path"]
        is_page = path == documentation or path.startswith(f"{documentation}/")
        policy = (_DOCUMENTATION if is_page else _FORM if path in forms else _NOTHING).encode()
        added = [*_ALWAYS, (b"content-security-policy", policy)]
        if encrypted:
            added.append(_TRANSPORT)
        is_personal = path.startswith("/api/users/")
        if is_personal or any(name == b"authorization" for name, _ in scope["headers"]):
            added.append(_NO_STORE)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in added}
                headers = message.get("headers", ())
                kept = [(name, value) for name, value in headers if name.lower() not in names]
                message["headers"] = [*kept, *added]
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped
