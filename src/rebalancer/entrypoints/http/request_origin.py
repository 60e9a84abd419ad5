"""The origin of each request: client address, request id and client program.

All log lines and audit events of a request carry its id, also those that threads write for it, and
so does the answer, as ``X-Request-ID``.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from litestar.types import ASGIApp, Message, Receive, Send

from rebalancer.application.audit import current_origin, current_user
from rebalancer.domain.accounts.sessions import LONGEST_AGENT
from rebalancer.domain.audit.events import Origin
from rebalancer.entrypoints.http.idempotency import noted_owner
from rebalancer.entrypoints.http.rate_limits import client_address

REQUEST_ID = b"x-request-id"
_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")

log = logging.getLogger("rebalancer.access")


Observe = Callable[[Any, int, float], None]
"""Takes the scope of an answered request, its status, and the seconds until its answer began."""


def note_origins(
    app: ASGIApp, *, proxies: int, observe: Observe = lambda scope, status, seconds: None
) -> ASGIApp:
    """Return an application that notes the origin of each request, and logs each answer.

    Args:
        app: The application.
        proxies: Trusted proxies. The last one may name the request with ``X-Request-ID``; without
            a proxy every request gets a new id, so that clients cannot forge entries of the log.
        observe: Called at the end of each request.
    """

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        answered: float | None = None
        origin = _origin_of(scope, proxies)
        header = (REQUEST_ID, str(origin.request).encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.perf_counter()
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        noted, user = current_origin.set(origin), current_user.set(None)
        try:
            await app(scope, receive, send_with_id)
        finally:
            if (owner := noted_owner(scope)) is not None:
                current_user.set(owner)
            ended = time.perf_counter()
            log.info(
                "request",
                extra={
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,  # 0 if the client hung up before an answer
                    "ms": round((ended - started) * 1000, 1),
                },
            )
            observe(scope, status, (answered or ended) - started)
            current_origin.reset(noted)
            current_user.reset(user)

    return wrapped


def _origin_of(scope: Any, proxies: int) -> Origin:
    given: bytes | None = None
    agent: str | None = None
    for name, value in scope["headers"]:
        if name == REQUEST_ID:
            given = value
        elif name == b"user-agent":
            agent = value.decode("latin-1")[:LONGEST_AGENT]
    if proxies and given is not None and _VALID_ID.fullmatch(given):
        request = given.decode()
    else:
        request = uuid4().hex
    return Origin("http", client_address(scope, proxies), request, agent)
