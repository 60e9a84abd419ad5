"""Findings about market data over HTTP."""

from __future__ import annotations

import numpy as np
import pytest

from rebalancer.domain.market.gaps import history_of
from tests.entrypoints.http.conftest import RunningApi, checked, expect_problem

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)
PATH = "/api/market/issues"


@pytest.fixture
def jumps(api: RunningApi) -> RunningApi:
    """Serve prices of which A changes its unit, and B has a large move."""
    days = np.busday_offset(np.datetime64("2024-01-01"), np.arange(6), roll="forward")
    table = [[500.0, 505, 5.04, 5.1, 5, 5], [100.0, 100, 40, 41, 40, 41], [7.0, 7, 7, 7, 7, 7]]
    api.market.serve(history_of(["A", "B", "C"], days, np.array(table).T))
    return api


def test_findings_are_public_listed_and_selected(jumps: RunningApi) -> None:
    found = checked(jumps.client.get(PATH)).json()
    assert [(one["symbol"], one["rule"], one["severity"]) for one in found["items"]] == [
        ("A", "unit_change", "error"),
        ("B", "large_move", "warning"),
    ]
    first = found["items"][0]
    assert (first["day"], first["state"], first["decided"]) == ("2024-01-03", "open", None)
    assert first["text"].startswith("A fell from 505.0 to 5.04 on 2024-01-03")
    errors = checked(jumps.client.get(PATH, params={"severity": "error"})).json()["items"]
    assert [one["symbol"] for one in errors] == ["A"]
    assert checked(jumps.client.get(PATH, params={"symbol": "C"})).json()["items"] == []


def test_findings_come_in_pages(jumps: RunningApi) -> None:
    page = checked(jumps.client.get(PATH, params={"limit": 1})).json()
    rest = checked(jumps.client.get(PATH, params={"limit": 1, "after": page["next"]})).json()
    assert [one["symbol"] for one in (*page["items"], *rest["items"])] == ["A", "B"]
    assert rest["next"] is None


def test_unknown_symbol_and_severity_are_rejected(jumps: RunningApi) -> None:
    expect_problem(jumps.client.get(PATH, params={"symbol": "NONE"}), 404)
    expect_problem(jumps.client.get(PATH, params={"severity": "fatal"}), 400, "severity")
