"""The header with which a client shows that a user has logged in on it before."""

from __future__ import annotations

from typing import Annotated, Any

from litestar.params import HeaderParameter
from litestar.types import ASGIApp, Receive, Send

from rebalancer.application.guessing import current_device

HEADER = "Device-Token"
_LONGEST = 200

DeviceToken = Annotated[
    str | None,
    HeaderParameter(
        name=HEADER,
        max_length=_LONGEST,
        description="The `device_token` of an earlier login on this device.",
    ),
]
"""Parameter of routes that log in, for their description: `note_devices` has read the header."""


def note_devices(app: ASGIApp) -> ASGIApp:
    """Return an application that notes the device token of each request."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        name = HEADER.lower().encode()
        given = next((value for key, value in scope["headers"] if key == name), b"")
        token = given.decode("latin-1") if 0 < len(given) <= _LONGEST else None
        noted = current_device.set(token)
        try:
            await app(scope, receive, send)
        finally:
            current_device.reset(noted)

    return wrapped
