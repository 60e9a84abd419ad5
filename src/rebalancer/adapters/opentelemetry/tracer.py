"""Spans of sampled traces, sent in batches over HTTP (OTLP).

The sampling decision of a request is made before the library is called: of a hundred requests, only
one pays for spans. The library's own samplers would create an object for each span and drop it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from random import random

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from rebalancer.application.ports.telemetry import Span, SpanKind
from rebalancer.application.telemetry import UNRECORDED, describe_failure
from rebalancer.application.trace_context import NO_SPAN, TraceContext, current_trace

_KINDS: Mapping[SpanKind, trace.SpanKind] = {kind: trace.SpanKind[kind.name] for kind in SpanKind}
_FLUSH = 3000
"""Milliseconds that `flush` waits for the collector."""


class OpenTelemetryTracer:
    """Records spans with OpenTelemetry's library; a process needs one, which threads share.

    Args:
        exporter: Sends finished spans.
        ratio: Share of new traces that is recorded, 0 to 1.
    """

    def __init__(self, exporter: SpanExporter, *, ratio: float) -> None:
        self._ratio = ratio
        named = {SERVICE_NAME: "rebalancer", "service.version": version("rebalancer")}
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # whatever reaches the library is sampled already
            resource=Resource(named).merge(Resource.create()),
            id_generator=_CurrentTrace(),
        )
        self._processor = BatchSpanProcessor(exporter)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("rebalancer", version("rebalancer"))

    def samples(self) -> bool:
        return random() < self._ratio

    def span(self, name: str, kind: SpanKind) -> AbstractContextManager[Span]:
        current = current_trace.get()
        if current is None or not current.sampled:
            return UNRECORDED
        return self._record(name, kind, current)

    def flush(self) -> None:
        self._provider.force_flush(_FLUSH)

    @contextmanager
    def _record(self, name: str, kind: SpanKind, parent: TraceContext) -> Iterator[Span]:
        recorded = self._tracer.start_span(name, _context_of(parent), kind=_KINDS[kind])
        span = _RecordedSpan(recorded)
        own = f"{recorded.get_span_context().span_id:016x}"
        noted = current_trace.set(TraceContext(parent.trace, own, sampled=True))
        try:
            yield span
        except Exception as error:
            if (failure := describe_failure(error)) is not None:
                span.fail(failure)
            raise
        finally:
            current_trace.reset(noted)
            recorded.end()


class _RecordedSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, name: str, value: str | int) -> None:
        self._span.set_attribute(name, value)

    def fail(self, reason: str) -> None:
        self._span.set_status(trace.Status(trace.StatusCode.ERROR, reason))


class _CurrentTrace(RandomIdGenerator):
    """Gives the first span of a trace the id that the trace has already."""

    def generate_trace_id(self) -> int:
        current = current_trace.get()
        return super().generate_trace_id() if current is None else int(current.trace, 16)


def _context_of(parent: TraceContext) -> Context:
    """Return the library's form of a position in a trace."""
    if parent.span == NO_SPAN:
        return Context()
    position = trace.SpanContext(
        int(parent.trace, 16),
        int(parent.span, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(position), Context())


def send_to(endpoint: str, *, ratio: float) -> OpenTelemetryTracer:
    """Return a tracer that sends spans to a collector, such as ``http://localhost:4318``.

    ``OTEL_EXPORTER_OTLP_HEADERS`` and the other variables of the exporter apply.
    """
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    return OpenTelemetryTracer(exporter, ratio=ratio)
