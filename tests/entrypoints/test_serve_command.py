"""`rebalancer serve` without a running server; tests/e2e runs one."""

import json
import logging
import sys

import pytest

from rebalancer.entrypoints.server import JsonLines


def line(name="rebalancer.http", message="said", *args, exc_info=None):
    record = logging.LogRecord(name, logging.INFO, "here.py", 1, message, args, exc_info)
    text = JsonLines().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_log_line_is_one_json_object():
    found = line("_granian", 'said "%s"\n\x1b[31m', "this")
    assert found["message"] == 'said "this"\n\x1b[31m'
    assert (found["level"], found["logger"]) == ("info", "granian")
    assert found["time"].endswith("+00:00") and found["process"] > 0


def test_logged_error_has_traceback():
    try:
        raise ValueError("why")
    except ValueError:
        found = line("rebalancer.http", "GET /api failed", exc_info=sys.exc_info())
    assert found["message"] == "GET /api failed" and "ValueError: why" in found["exception"]


def test_logged_request_has_no_query_and_no_header():
    asked = {
        "method": "GET",
        "path": "/api/portfolios",
        "query_string": "token=secret",
        "status": 200,
        "dt_ms": 1.2345,
        "addr": "127.0.0.1:1234",
    }
    found = line("granian.access", "%(query_string)s", asked)
    assert "secret" not in json.dumps(found) and found["message"] == "request"
    keys = ("method", "path", "status", "ms")
    assert [found[key] for key in keys] == ["GET", "/api/portfolios", 200, 1.2]


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--port", "65536"], "'--port': 65536 is not in the range 0<=x<=65535"),
        (["--workers", "0"], "'--workers': 0 is not in the range 1<=x<=256"),
        (
            ["--host", "0.0.0.0"],
            "a secret key is required to listen on 0.0.0.0",
        ),
        (["--port", "0"], "has no tables"),
    ],
    ids=" ".join,
)
def test_invalid_options_are_rejected(quickly, options, fragment):
    assert quickly("serve", *options).refused(fragment)
