"""The origin of each request: client address, request id, client program, and trace.

All log lines and audit events of a request carry its id, also those that threads write for it, and
so does the answer, as ``X-Request-ID``. Log lines also carry the id of its trace, which jobs that
the request submits continue.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Any
from uuid import uuid4

import attrs
from litestar.types import ASGIApp, Message, Receive, Send

from rebalancer.application.audit import current_origin, current_user
from rebalancer.application.ports.telemetry import Span, SpanKind, Tracer
from rebalancer.application.telemetry import NO_TRACER
from rebalancer.application.trace_context import TraceContext, current_trace
from rebalancer.domain.accounts.sessions import LONGEST_AGENT
from rebalancer.domain.audit.events import Origin
from rebalancer.entrypoints.http.idempotency import noted_owner
from rebalancer.entrypoints.http.rate_limits import client_address
from rebalancer.entrypoints.http.request_metrics import Observe, method_of, route_of

REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"
_TRACE = re.compile("[0-9a-f]{32}")
_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")

log = logging.getLogger("rebalancer.access")


def note_origins(
    app: ASGIApp,
    *,
    proxies: int,
    observe: Observe = lambda scope, status, seconds: None,
    tracer: Tracer = NO_TRACER,
) -> ASGIApp:
    """Return an application that notes origin and trace of each request, and logs each answer.

    A request continues the trace that its ``traceparent`` names; otherwise its id is that of a new
    trace. Only a trusted proxy decides whether a trace is recorded: a client could have all
    requests recorded.

    Args:
        app: The application.
        proxies: Trusted proxies. The last one may name the request with ``X-Request-ID``; without
            a proxy every request gets a new id, so that clients cannot forge entries of the log.
        observe: Called at the end of each request.
        tracer: Records requests.
    """

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        answered: float | None = None
        origin, parent = _origin_of(scope, proxies)
        trace = _trace_of(origin, parent, proxies, tracer)
        header = (REQUEST_ID, str(origin.request).encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.perf_counter()
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        noted, user = current_origin.set(origin), current_user.set(None)
        traced = current_trace.set(trace)
        try:
            with tracer.span("request", SpanKind.SERVER) as span:
                try:
                    await app(scope, receive, send_with_id)
                finally:
                    if trace.sampled:
                        _describe(span, scope, status)
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
            current_trace.reset(traced)

    return wrapped


def _origin_of(scope: Any, proxies: int) -> tuple[Origin, str | None]:
    """Return the origin of a request, and its ``traceparent``."""
    given: bytes | None = None
    agent: str | None = None
    parent: str | None = None
    for name, value in scope["headers"]:
        if name == REQUEST_ID:
            given = value
        elif name == b"user-agent":
            agent = value.decode("latin-1")[:LONGEST_AGENT]
        elif name == TRACEPARENT:
            parent = value.decode("latin-1")
    if proxies and given is not None and _VALID_ID.fullmatch(given):
        request = given.decode()
    else:
        request = uuid4().hex
    return Origin("http", client_address(scope, proxies), request, agent), parent


def _trace_of(origin: Origin, parent: str | None, proxies: int, tracer: Tracer) -> TraceContext:
    """Return the trace that a request continues or begins."""
    given = None if parent is None else TraceContext.parse(parent)
    if given is not None:
        return given if proxies else attrs.evolve(given, sampled=tracer.samples())
    id = str(origin.request)
    if _TRACE.fullmatch(id) is None:  # a proxy has named the request
        id = uuid4().hex
    return TraceContext.begin(id, sampled=tracer.samples())


def _describe(span: Span, scope: Any, status: int) -> None:
    """Name the span of a request after its route, by the conventions of OpenTelemetry."""
    method, route = method_of(scope), route_of(scope)
    span.rename(f"{method} {route}")
    span.note("http.request.method", method)
    span.note("http.route", route)
    span.note("http.response.status_code", status)
    if status >= 500:
        span.fail(f"status {status}")
