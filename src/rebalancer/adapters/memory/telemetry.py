"""Metrics and spans in memory, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from random import getrandbits
from threading import Lock

import attrs

from rebalancer.application.ports.telemetry import Counter, Gauge, Histogram, Span, SpanKind
from rebalancer.application.telemetry import UNRECORDED, describe_failure
from rebalancer.application.trace_context import NO_SPAN, TraceContext, current_trace

Series = tuple[str, ...]
"""Name of a metric, followed by its label values."""


@attrs.define(eq=False)
class MemoryMetrics:
    """Stores measurements by series; histograms store all values."""

    values: dict[Series, float] = attrs.field(factory=dict, init=False)
    observed: dict[Series, list[float]] = attrs.field(factory=dict, init=False)
    _lock: Lock = attrs.field(factory=Lock, init=False)

    def add(self, counter: Counter, *labels: str, amount: float = 1.0) -> None:
        with self._lock:
            series = (counter.name, *labels)
            self.values[series] = self.values.get(series, 0.0) + amount

    def set(self, gauge: Gauge, value: float, *labels: str) -> None:
        with self._lock:
            self.values[gauge.name, *labels] = value

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        with self._lock:
            self.observed.setdefault((histogram.name, *labels), []).append(value)


@attrs.define(eq=False)
class MemorySpan:
    """A finished or running span; ``parent`` is None for the first one of a trace."""

    name: str
    kind: SpanKind
    trace: str
    id: str
    parent: str | None
    attributes: dict[str, str | int] = attrs.field(factory=dict, init=False)
    failure: str | None = attrs.field(default=None, init=False)

    def rename(self, name: str) -> None:
        self.name = name

    def note(self, name: str, value: str | int) -> None:
        self.attributes[name] = value

    def fail(self, reason: str) -> None:
        self.failure = reason


@attrs.define(eq=False)
class MemoryTracer:
    """Records all new traces, or none; spans are listed when they end."""

    all_sampled: bool = True
    spans: list[MemorySpan] = attrs.field(factory=list, init=False)

    def samples(self) -> bool:
        return self.all_sampled

    def span(self, name: str, kind: SpanKind) -> AbstractContextManager[Span]:
        current = current_trace.get()
        if current is None or not current.sampled:
            return UNRECORDED
        return self._record(name, kind, current)

    def flush(self) -> None:
        """See `Tracer.flush`; there is nowhere to send spans."""

    @contextmanager
    def _record(self, name: str, kind: SpanKind, parent: TraceContext) -> Iterator[Span]:
        above = None if parent.span == NO_SPAN else parent.span
        span = MemorySpan(name, kind, parent.trace, f"{getrandbits(64) | 1:016x}", above)
        noted = current_trace.set(TraceContext(parent.trace, span.id, True))
        try:
            yield span
        except Exception as error:
            span.failure = span.failure or describe_failure(error)
            raise
        finally:
            current_trace.reset(noted)
            self.spans.append(span)
