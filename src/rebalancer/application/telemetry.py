"""Telemetry that is switched off, and transactions as spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

import attrs

from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.ports.telemetry import (
    Counter,
    Gauge,
    Histogram,
    Metrics,
    Span,
    SpanKind,
    Tracer,
)
from rebalancer.application.trace_context import current_trace
from rebalancer.domain.errors import RebalancerError, Unavailable

Begin = Callable[[], AbstractContextManager[Transaction]]
"""Begins a transaction."""


class NoMetrics:
    """Discards all measurements."""

    def add(self, counter: Counter, *labels: str, amount: float = 1.0) -> None:
        """See `Metrics.add`."""

    def set(self, gauge: Gauge, value: float, *labels: str) -> None:
        """See `Metrics.set`."""

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        """See `Metrics.observe`."""


class NoSpan:
    """An operation that is not recorded."""

    def rename(self, name: str) -> None:
        """See `Span.rename`."""

    def note(self, name: str, value: str | int) -> None:
        """See `Span.note`."""

    def fail(self, reason: str) -> None:
        """See `Span.fail`."""


UNRECORDED: Final[AbstractContextManager[Span]] = nullcontext(NoSpan())


class NoTracer:
    """Records no trace."""

    def samples(self) -> bool:
        """See `Tracer.samples`."""
        return False

    def span(self, name: str, kind: SpanKind) -> AbstractContextManager[Span]:
        """See `Tracer.span`."""
        return UNRECORDED

    def flush(self) -> None:
        """See `Tracer.flush`."""


def describe_failure(error: Exception) -> str | None:
    """Return how a span states that an exception left it; None: the operation worked.

    A refusal, such as of a missing portfolio, is an answer. Messages are left out, as they may
    quote what users wrote.
    """
    if isinstance(error, Unavailable):
        return error.code
    return None if isinstance(error, RebalancerError) else type(error).__name__


NO_METRICS: Final[Metrics] = NoMetrics()
NO_TRACER: Final[Tracer] = NoTracer()


@attrs.frozen
class TracedWork:
    """A unit of work whose transactions are spans of the current trace."""

    work: UnitOfWork
    tracer: Tracer

    def begin(self) -> AbstractContextManager[Transaction]:
        """See `UnitOfWork.begin`."""
        return self._traced("store write", self.work.begin)

    def read(self) -> AbstractContextManager[Transaction]:
        """See `UnitOfWork.read`."""
        return self._traced("store read", self.work.read)

    def _traced(self, name: str, begin: Begin) -> AbstractContextManager[Transaction]:
        current = current_trace.get()
        if current is None or not current.sampled:
            return begin()
        return self._recorded(name, begin)

    @contextmanager
    def _recorded(self, name: str, begin: Begin) -> Iterator[Transaction]:
        with self.tracer.span(name, SpanKind.CLIENT), begin() as tx:
            yield tx
