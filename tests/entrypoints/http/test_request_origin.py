"""Each answer has a request id, which its log lines carry, too."""

import asyncio
import json
import logging

import pytest

from rebalancer.adapters.memory.telemetry import MemoryMetrics, MemoryTracer
from rebalancer.application.audit import current_origin
from rebalancer.application.trace_context import TraceContext, current_trace, traceparent
from rebalancer.domain.audit.events import Origin
from rebalancer.entrypoints.http.request_batching import RequestBatcher
from rebalancer.entrypoints.http.request_metrics import count_requests
from rebalancer.entrypoints.http.request_origin import note_origins
from rebalancer.entrypoints.server import JsonLines

BEHIND_A_PROXY = [(b"x-forwarded-for", b"2001:db8:1:2::3"), (b"user-agent", b"curl/8")]


def ask(path="/api/users/profile", *, headers=(), proxies=0, peer="198.51.100.7"):
    """Ask an application that returns what it sees; return its origin and its answer's id."""
    seen, sent = [], []

    async def app(scope, receive, send):
        seen.append(await asyncio.to_thread(current_origin.get))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": list(headers)}
    scope["client"] = (peer, 1)
    asyncio.run(note_origins(app, proxies=proxies)(scope, None, send))
    return seen[0], dict(sent[0]["headers"])[b"x-request-id"].decode()


def test_requests_without_a_proxy_get_new_ids():
    origin, answered = ask(headers=[(b"x-request-id", b"forged-by-a-client")])
    assert origin.request == answered != "forged-by-a-client"
    assert (origin.via, origin.address, origin.agent) == ("http", "198.51.100.7", None)
    assert ask()[1] != ask()[1]


def test_trusted_proxy_names_the_request_and_the_address():
    headers = [*BEHIND_A_PROXY, (b"x-request-id", b"a-7.b_Z0")]
    origin, answered = ask(headers=headers, proxies=1)
    assert origin.request == answered == "a-7.b_Z0"
    assert (origin.address, origin.agent) == ("2001:db8:1:2::3", "curl/8")


@pytest.mark.parametrize(
    "id", [b"", b"short", b"a" * 65, b"a b c d e f", b"abcdefgh\n", b"\xff" * 9]
)
def test_invalid_ids_are_replaced(id):
    assert len(ask(headers=[(b"x-request-id", id)], proxies=1)[1]) == 32


@pytest.mark.parametrize("peer", ["::ffff:192.0.2.1", "192.0.2.1"])
def test_mapped_addresses_are_written_as_ipv4(peer):
    assert ask(peer=peer)[0].address == "192.0.2.1"


def test_unknown_address_is_left_out():
    assert ask(peer="testclient")[0].address is None


def test_answers_and_log_lines_of_a_request_have_its_id_and_user(api, caplog, monkeypatch):
    ada = api.register()
    lines = []
    with caplog.at_level(logging.INFO, "rebalancer.access"):
        monkeypatch.setattr(
            caplog.handler,
            "format",
            lambda record: lines.append(JsonLines().format(record)) or "",
        )
        answer = ada.get("/api/users/profile")
        refused = api.client.get("/api/users/profile")
    first, second = map(json.loads, lines)
    keys = ("method", "path", "status", "request")
    expected = ["GET", "/api/users/profile", 200, answer.headers["X-Request-ID"]]
    assert [first[key] for key in keys] == expected
    assert first["user"] == ada.get("/api/users/profile").json()["id"]
    assert (second["status"], second["request"]) == (401, refused.headers["X-Request-ID"])
    assert "user" not in second


def test_only_a_batch_of_one_request_has_its_origin():
    computed, stored = [], []

    class Handler:
        def compute(self, requests):
            computed.append((len(requests), current_origin.get().request))
            return requests

        def store(self, results):
            stored.append((len(results), current_origin.get().request))

    async def ask(batcher, name):
        current_origin.set(Origin("http", request=name))
        await batcher(Handler(), name)

    async def run():
        batcher = RequestBatcher(concurrency=1)
        await asyncio.create_task(ask(batcher, "alone"))
        await asyncio.gather(*(ask(batcher, f"request-{n}") for n in range(3)))

    asyncio.run(run())
    assert computed == stored == [(1, "alone"), (3, None)]


# Traces and metrics.

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())


def trace(*, status=200, headers=(), proxies=0, sampled=True, method="GET", route="/api/{id}"):
    """Ask an application; return the trace that it sees, the spans, and the metrics."""
    seen, tracer, metrics = [], MemoryTracer(sampled), MemoryMetrics()

    async def app(scope, receive, send):
        scope |= {"path_template": route} if route else {}
        seen.append(await asyncio.to_thread(traceparent))
        if status is not None:
            await send({"type": "http.response.start", "status": status, "headers": []})

    async def send(message):
        pass

    scope = {"type": "http", "method": method, "path": "/api/7", "headers": list(headers)}
    scope["client"] = ("198.51.100.7", 1)
    noted = note_origins(app, proxies=proxies, observe=count_requests(metrics), tracer=tracer)
    asyncio.run(noted(scope, None, send))
    assert current_trace.get() is None
    return TraceContext.parse(seen[0]), tracer.spans, metrics


def test_request_begins_a_trace_named_by_its_route():
    context, (span,), _ = trace(headers=[(b"x-request-id", b"0" * 31 + b"1")], proxies=1)
    assert context == TraceContext("0" * 31 + "1", span.id, sampled=True)
    assert (span.name, span.trace, span.parent) == ("GET /api/{id}", "0" * 31 + "1", None)
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/api/{id}",
        "http.response.status_code": 200,
    }
    assert span.failure is None


def test_request_ids_of_other_forms_are_not_used_as_trace_ids():
    context, _, _ = trace(headers=[(b"x-request-id", b"a-7.b_Z0")], proxies=1)
    assert len(context.trace) == 32


def test_trusted_proxy_decides_whether_a_trace_is_recorded():
    context, (span,), _ = trace(headers=[GIVEN], proxies=1, sampled=False)
    assert (context.trace, span.parent) == (TRACE, SPAN)
    unsampled = (b"traceparent", GIVEN[1][:-1] + b"0")
    context, spans, _ = trace(headers=[unsampled], proxies=1, sampled=True)
    assert (context, spans) == (TraceContext(TRACE, SPAN), [])


def test_client_names_the_trace_and_cannot_have_it_recorded():
    context, spans, _ = trace(headers=[GIVEN], sampled=False)
    assert (context, spans) == (TraceContext(TRACE, SPAN), [])
    context, (span,), _ = trace(headers=[GIVEN], sampled=True)
    assert (context.trace, span.parent) == (TRACE, SPAN)


def test_invalid_traceparent_begins_a_new_trace():
    context, (span,), _ = trace(headers=[(b"traceparent", b"00-\xff")])
    assert (context.trace, span.parent) == (span.trace, None)


@pytest.mark.parametrize(
    ("status", "method", "route", "series"),
    [
        (200, "GET", "/api/{id}", ("/api/{id}", "GET", "2xx")),
        (404, "GET", None, ("unrouted", "GET", "4xx")),
        (503, "POST", "/api/{id}", ("/api/{id}", "POST", "5xx")),
        (405, "SPY", "/api/{id}", ("/api/{id}", "other", "4xx")),
        (None, "GET", "/api/{id}", ("/api/{id}", "GET", "aborted")),
    ],
)
def test_requests_are_counted_and_timed(status, method, route, series):
    _, (span,), metrics = trace(status=status, method=method, route=route)
    assert metrics.values == {("rebalancer_http_requests_total", *series): 1}
    (timed,) = metrics.observed.items()
    assert timed[0] == ("rebalancer_http_request_seconds", *series[:2])
    assert 0 < timed[1][0] < 60
    assert span.name == f"{series[1]} {series[0]}"
    assert span.failure == ("status 503" if status == 503 else None)


def test_log_line_of_a_request_carries_its_trace():
    record = logging.LogRecord("rebalancer.jobs", logging.INFO, "", 0, "done", (), None)
    noted = current_trace.set(TraceContext(TRACE, SPAN))
    line = json.loads(JsonLines().format(record))
    current_trace.reset(noted)
    assert line["trace"] == TRACE
    assert "trace" not in json.loads(JsonLines().format(record))
