"""The trace of the work at hand, as services pass it on: W3C Trace Context, level 1.

Reference: https://www.w3.org/TR/trace-context/, section 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from random import getrandbits

import attrs

NO_SPAN = "0" * 16
"""Id of a span that has not begun."""

_NO_TRACE = "0" * 32
_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@attrs.frozen
class TraceContext:
    """A position in a trace.

    Attributes:
        trace: Id of the trace, 32 hexadecimal digits.
        span: Id of the span that later ones belong to, 16 hexadecimal digits.
        sampled: Whether its spans are recorded.
    """

    trace: str
    span: str
    sampled: bool = False

    @classmethod
    def parse(cls, header: str | None) -> TraceContext | None:
        """Read a ``traceparent``; None if there is none, or an invalid one, which is ignored."""
        found = _HEADER.fullmatch(header or "")
        if found is None:
            return None
        version, trace, span, flags, more = found.groups()
        is_valid = version != "ff" and (version != "00" or more is None)
        if not is_valid or trace == _NO_TRACE or span == NO_SPAN:
            return None
        return cls(trace, span, bool(int(flags, 16) & 1))

    @classmethod
    def begin(cls, trace: str, *, sampled: bool) -> TraceContext:
        """Return the start of a trace; one that is not recorded has a span in name only."""
        return cls(trace, NO_SPAN if sampled else f"{getrandbits(64) | 1:016x}", sampled)

    @property
    def header(self) -> str:
        """The context as a ``traceparent``."""
        return f"00-{self.trace}-{self.span}-{self.sampled:02x}"


current_trace: ContextVar[TraceContext | None] = ContextVar("current_trace", default=None)
"""Trace that this thread or task works for."""


def traceparent() -> str | None:
    """Return the current position as a ``traceparent``; None outside a trace."""
    current = current_trace.get()
    return None if current is None else current.header


@contextmanager
def following(header: str | None) -> Iterator[None]:
    """Run a block in the trace that a ``traceparent`` names; in none when None."""
    noted = current_trace.set(TraceContext.parse(header))
    try:
        yield
    finally:
        current_trace.reset(noted)
