"""`rebalancer serve` without a running server; tests/e2e runs one."""

import json
import logging
import sys
from uuid import uuid4

import pytest

from rebalancer.application.audit import current_origin, current_user
from rebalancer.domain.audit.events import Origin
from rebalancer.entrypoints.server import JsonLines


def line(name="rebalancer.http", message="said", *args, exc_info=None, **extra):
    record = logging.LogRecord(name, logging.INFO, "here.py", 1, message, args, exc_info)
    record.__dict__ |= extra
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


def test_logged_request_names_its_origin_and_user():
    user = uuid4()
    answer = {"method": "GET", "path": "/api/portfolios", "status": 200, "ms": 1.2}
    origin = current_origin.set(Origin("http", "203.0.113.7", "request-1", "secret agent"))
    owner = current_user.set(user)
    found = line("rebalancer.access", "request", **answer)
    current_origin.reset(origin)
    current_user.reset(owner)
    assert found.items() >= answer.items()
    names = ("message", "request", "network", "user")
    assert [found[name] for name in names] == ["request", "request-1", "203.0.113.0/24", str(user)]
    assert "203.0.113.7" not in str(found) and "secret" not in str(found)
    assert "request" not in line()


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--port", "65536"], "'--port': 65536 is not in the range 0<=x<=65535"),
        (["--workers", "0"], "'--workers': 0 is not in the range 1<=x<=256"),
        (["--app", "--workers", "2"], "the web client holds its windows in one process"),
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
