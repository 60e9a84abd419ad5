"""A collector of traces for tests: it receives spans over HTTP (OTLP) and remembers them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@attrs.frozen
class Received:
    """A span that was received; ``parent`` is empty for the first one of a trace."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str]


@attrs.define
class Collector:
    """Spans that were received, and where to send them."""

    endpoint: str
    spans: list[Received] = attrs.field(factory=list)

    def trace(self, id: str) -> list[Received]:
        return [span for span in self.spans if span.trace == id]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Receive spans on a free port while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.spans.extend(_read(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _read(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    {
                        one.key: one.value.string_value or str(one.value.int_value)
                        for one in span.attributes
                    },
                )
