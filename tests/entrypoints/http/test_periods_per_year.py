"""Figures a year over HTTP, of prices on every day of the week."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryPrices
from rebalancer.application.ports.market import PriceSource
from rebalancer.domain.market.prices import PriceHistory
from tests.entrypoints.http.conftest import (
    ApiUser,
    RunningApi,
    expect_problem,
    finished_job,
    provide_values,
)

FIRST, ROWS = np.datetime64("2021-03-01"), 500
CLOSES = np.round(100 * (1.0 + 0.02 * (np.arange(ROWS) % 2)) * 1.2 ** (np.arange(ROWS) / 365), 4)
COINS = PriceHistory.of(("A", "B"), FIRST + np.arange(ROWS), np.stack([CLOSES, CLOSES], axis=1))


@pytest.fixture
def owner(start_api: Callable[..., RunningApi]) -> ApiUser:
    return start_api(provide_values({PriceSource: MemoryPrices(COINS)})).register()


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_backtest_states_and_accepts_the_periods_of_a_year(owner: ApiUser) -> None:
    asked = {"policies": ["buy_and_hold"], "cost_bps": 0}
    results = []
    for more in ({}, {"periods_per_year": 252}):
        submitted = owner.post("/api/backtest", asked | more)
        assert submitted.status_code == 202, submitted.text
        results.append(finished_job(owner, submitted.headers["location"])["result"])
    own, stated = results
    assert (own["periods_per_year"], own["frequency"]) == (365.25, "calendar days")
    assert (stated["periods_per_year"], stated["frequency"]) == (252, "stated")
    figures = [each["results"][0]["volatility"] for each in results]
    assert figures[1] == pytest.approx(figures[0] * (252 / 365.25) ** 0.5)
    expect_problem(
        owner.post("/api/backtest", asked | {"periods_per_year": 0}), 400, "periods_per_year"
    )


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_performance_of_a_year_is_that_of_a_year(owner: ApiUser) -> None:
    def performance(row: int) -> dict[str, Any]:
        on = str(COINS.dates[row])
        portfolio = owner.portfolio(
            on=on, holdings={}, cash="1000", targets={"A": 1.0}, preferences={"whole_shares": False}
        )["id"]
        price = repr(float(CLOSES[row]))
        trade = {"side": "buy", "symbol": "A", "quantity": "5", "price": price, "on": on}
        booked = owner.post(f"/api/portfolios/{portfolio}/transactions", {"trades": [trade]})
        assert booked.status_code == 201, booked.text
        answer: dict[str, Any] = owner.get(f"/api/portfolios/{portfolio}/performance").json()
        return answer

    found = performance(ROWS - 366)
    assert (found["periods_per_year"], found["frequency"]) == (365.25, "calendar days")
    kept = found["portfolio"]
    assert kept["time_weighted_return_a_year"] == pytest.approx(kept["time_weighted_return"])
    assert performance(ROWS - 365)["portfolio"]["time_weighted_return_a_year"] is None
