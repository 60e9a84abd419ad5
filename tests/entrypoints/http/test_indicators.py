"""Indicators and the schedule over HTTP."""

from __future__ import annotations

import pytest

from tests.entrypoints.http.conftest import RunningApi, checked, expect_problem

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)
PATH = "/api/market/data/A"


def test_indicators_come_with_the_closes_of_their_days(api: RunningApi) -> None:
    asked = {"indicators": "sma:3,macd", "start": api.market.day(20)}
    answer = checked(api.client.get(PATH, params=asked)).json()
    closes = [one["close"] for one in answer["closes"]]
    averages = answer["indicators"]["sma:3"]
    assert len(averages) == len(closes)
    assert averages[-1] == pytest.approx(sum(closes[-3:]) / 3)
    assert averages[0] is not None  # from closes before the window
    assert set(answer["indicators"]) == {
        "sma:3",
        *(f"macd:12:26:9.{name}" for name in ("macd", "macd_signal", "macd_histogram")),
    }
    assert checked(api.client.get(PATH)).json()["indicators"] is None


def test_indicators_that_cannot_be_computed_are_refused(api: RunningApi) -> None:
    for text in ("rsx", "atr", "rsi:0"):
        expect_problem(api.client.get(PATH, params={"indicators": text}), 422, "indicators")
    monthly = {"indicators": "rsi", "interval": "1mo"}
    assert "daily" in expect_problem(api.client.get(PATH, params=monthly), 422, "indicators")


def test_nothing_is_scheduled_before_anything_was_synchronized(api: RunningApi) -> None:
    assert checked(api.client.get("/api/market/schedule")).json() == []


def test_assets_are_found_by_page_number_as_by_cursor(api: RunningApi) -> None:
    def symbols(**asked: object) -> tuple[list[str], str | None]:
        page = checked(api.client.get("/api/market/assets", params={"limit": 4, **asked})).json()
        return [one["symbol"] for one in page["items"]], page["next"]

    assert symbols(page=1) == symbols() == (list("ABCD"), "D")
    assert symbols(page=2) == symbols(after="D") == (list("EFGH"), "H")
    assert symbols(page=3) == (list("IJ"), None)
    assert symbols(page=4) == ([], None)
    expect_problem(api.client.get("/api/market/assets", params={"page": 0}), 400, "page")
