"""Traces are passed on as W3C Trace Context states."""

import pytest

from rebalancer.application.trace_context import (
    NO_SPAN,
    TraceContext,
    current_trace,
    following,
    traceparent,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
    ],
)
def test_valid_header_is_read(header, sampled):
    assert TraceContext.parse(header) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{NO_SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_invalid_header_is_ignored(header):
    assert TraceContext.parse(header) is None


def test_context_is_written_as_it_is_read():
    for sampled in (True, False):
        context = TraceContext(TRACE, SPAN, sampled)
        assert TraceContext.parse(context.header) == context
    begun = TraceContext.begin(TRACE, sampled=False)
    assert TraceContext.parse(begun.header) == begun


def test_block_follows_a_trace():
    assert traceparent() is None
    with following(f"00-{TRACE}-{SPAN}-01"):
        assert traceparent() == f"00-{TRACE}-{SPAN}-01"
        with following(None):
            assert current_trace.get() is None
    assert traceparent() is None
