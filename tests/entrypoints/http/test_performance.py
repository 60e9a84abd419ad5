"""Performance over a period: series, contributions, income, months, and all portfolios together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


@pytest.fixture
def portfolio(api: RunningApi, ada: ApiUser) -> str:
    id: str = ada.portfolio(
        cash="1000",
        holdings={"C": "100", "F": "20"},
        targets={"C": 0.5, "F": 0.4},
        on=api.market.day(60),
    )["id"]
    paid = {"kind": "dividend", "symbol": "C", "amount": "12.00", "withheld": "2.00"}
    answer = ada.post(f"/api/portfolios/{id}/cash-flows", paid | {"on": api.market.day(30)})
    assert answer.status_code == 201, answer.text
    return id


def measure(user: ApiUser, id: str, **params: str) -> dict[str, Any]:
    answer = user.get(f"/api/portfolios/{id}/performance", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_contributions_add_up_to_the_return(ada: ApiUser, portfolio: str) -> None:
    found = measure(ada, portfolio)
    line, attribution = found["portfolio"], found["attribution"]
    for part in attribution.values():
        total = sum(one["contribution"] for one in part)
        assert total == pytest.approx(line["time_weighted_return"], abs=1e-12)
        assert sum(one["gain"] for one in part) == pytest.approx(found["gain"], abs=0.05)
    holdings = {one["symbol"]: one for one in attribution["holdings"]}
    assert holdings["C"]["asset_class"] == "equity"
    assert (holdings[None]["kind"], holdings[None]["currency"]) == ("cash", "USD")
    assert {one["name"] for one in attribution["asset_classes"]} == {"equity", "bond", "cash"}
    assert line["index"][-1] == pytest.approx(100 * (1 + line["time_weighted_return"]))
    months = np.prod([1 + one["time_weighted_return"] for one in found["months"]])
    assert months - 1 == pytest.approx(line["time_weighted_return"])
    assert found["income"] == [
        {
            "month": f"{found['income'][0]['month'][:7]}-01",
            "kind": "dividend",
            "symbol": "C",
            "amount": 12.0,
            "withheld": 2.0,
        }
    ]
    benchmark = found["benchmark"]["time_weighted_return"]
    assert found["benchmark_difference"] == line["time_weighted_return"] - benchmark


def test_period_begins_at_the_close_before_it(
    api: RunningApi, ada: ApiUser, portfolio: str
) -> None:
    whole = measure(ada, portfolio)
    since, until = api.market.day(20), api.market.day(5)
    part = measure(ada, portfolio, **{"from": since, "to": until})
    assert (part["first"], part["last"]) == (api.market.day(21), until)
    assert part["portfolio"]["index"][0] == 100.0
    at = [whole["dates"].index(part[day]) for day in ("first", "last")]
    values = [whole["portfolio"]["values"][one] for one in at]
    assert part["portfolio"]["values"][0] == values[0]
    assert part["contributed"] == 0
    assert part["gain"] == pytest.approx(values[1] - values[0], abs=0.01)
    assert part["dividends"] == 0
    assert part["income"] == []
    levels = [whole["portfolio"]["index"][one] for one in at]
    assert part["portfolio"]["time_weighted_return"] == pytest.approx(levels[1] / levels[0] - 1)


@pytest.mark.parametrize(("interval", "most"), [("week", 15), ("month", 5)])
def test_interval_thins_the_series_out(
    ada: ApiUser, portfolio: str, interval: str, most: int
) -> None:
    whole, thin = measure(ada, portfolio), measure(ada, portfolio, interval=interval)
    assert 3 <= len(thin["dates"]) <= most
    assert (thin["dates"][0], thin["dates"][-1]) == (whole["first"], whole["last"])
    for day, value, level, paid in zip(
        thin["dates"],
        thin["portfolio"]["values"],
        thin["portfolio"]["index"],
        thin["contributions"],
        strict=True,
    ):
        at = whole["dates"].index(day)
        assert whole["portfolio"]["values"][at] == value
        assert whole["portfolio"]["index"][at] == level
        assert whole["contributions"][at] == paid
    assert thin["portfolio"]["volatility"] == whole["portfolio"]["volatility"]


def test_mix_of_one_symbol_is_that_symbol(ada: ApiUser, portfolio: str) -> None:
    one = measure(ada, portfolio, benchmark="C")["benchmark"]
    mix = measure(ada, portfolio, benchmark="C:1.0")["benchmark"]
    assert (one.pop("name"), mix.pop("name")) == ("C", "C 100%")
    assert mix == one
    half = measure(ada, portfolio, benchmark=" C:0.5, F:.5")
    assert half["benchmark"]["name"] == "C 50%, F 50%"


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("from=2022-05-02&to=2022-05-01", "from", "period_reversed"),
        ("to=1999-01-01", "to", "period_before_record"),
        ("from=2999-01-01", "from", "period_after_prices"),
        ("benchmark=C:0.7,F:0.4", "benchmark", "invalid_benchmark"),
        ("benchmark=C:0.5,C:0.4", "benchmark", "invalid_benchmark"),
        ("benchmark=C:0.5,F", "benchmark", "invalid_benchmark"),
        ("benchmark=C:0,F:1", "benchmark", "invalid_benchmark"),
        ("benchmark=C:0.5,NOPE:0.4", "benchmark", "unknown_symbol"),
        ("benchmark=XNYS:NOPE", "benchmark", "unknown_symbol"),
    ],
)
def test_silly_requests_are_refused_by_name(
    ada: ApiUser, portfolio: str, query: str, field: str, code: str
) -> None:
    for path in (f"/api/portfolios/{portfolio}/performance", "/api/performance"):
        answer = ada.get(f"{path}?{query}")
        expect_problem(answer, 422)
        (problem,) = answer.json()["errors"]
        assert problem["field"] == field, problem
        assert problem["code"] == code


@pytest.mark.parametrize("query", ["interval=year", "from=yesterday", "to=2022-02-30", "other=1"])
def test_malformed_choices_are_refused_by_name(ada: ApiUser, portfolio: str, query: str) -> None:
    answer = ada.get(f"/api/portfolios/{portfolio}/performance?{query}")
    assert answer.status_code in (400, 422)
    assert query.partition("=")[0] in answer.text


def test_one_portfolio_alone_is_all_portfolios(ada: ApiUser, portfolio: str) -> None:
    alone = measure(ada, portfolio, benchmark="C")
    found = ada.get("/api/performance", params={"benchmark": "C"}).json()
    for name in ("attribution", "income", "dates", "contributions", "gain", "contributed"):
        assert found[name] == alone[name], name
    for name in ("months", "years"):
        for one, other in zip(found[name], alone[name], strict=True):
            assert one["last"] == other["last"]
            assert one["time_weighted_return"] == pytest.approx(other["time_weighted_return"])
    assert found["values"] == alone["portfolio"]["values"]
    assert found["index"] == pytest.approx(alone["portfolio"]["index"])
    assert found["benchmark"] == "C"
    (part,) = found["portfolios"]
    assert part["portfolio_id"] == portfolio
    assert part["contribution"] == pytest.approx(found["time_weighted_return"], abs=1e-12)


def test_portfolios_together_add_up(api: RunningApi, ada: ApiUser, portfolio: str) -> None:
    other = ada.portfolio(cash="50", holdings={"C": "40"}, targets={}, on=api.market.day(40))["id"]
    empty = ada.portfolio(cash="0", targets={"C": 1.0})
    found = ada.get("/api/performance?interval=month").json()
    whole = found["time_weighted_return"]
    for part in (found["portfolios"], *found["attribution"].values()):
        assert sum(one["contribution"] for one in part) == pytest.approx(whole, abs=1e-12)
    assert {one["portfolio_id"] for one in found["portfolios"]} == {portfolio, other}
    assert found["notes"] == [
        f"{empty['name']} is missing: the ledger is empty; record a deposit first."
    ]
    both = [measure(ada, id)["portfolio"]["final_value"] for id in (portfolio, other)]
    assert found["value"] == pytest.approx(sum(both), abs=0.02)
    home = ada.get("/api/home?period=max").json()
    assert whole == pytest.approx(home["changes"][-1]["change"], abs=1e-9)


def test_new_person_has_no_performance(ada: ApiUser) -> None:
    found = ada.get("/api/performance").json()
    assert (found["value"], found["time_weighted_return"], found["dates"]) == (None, None, [])
    assert found["attribution"] == {"holdings": [], "asset_classes": [], "currencies": []}


def test_currency_without_a_rate_is_a_note(ada: ApiUser, portfolio: str) -> None:
    found = ada.get("/api/performance?currency=CHF").json()
    assert found["currency"] == "CHF"
    assert found["value"] is None
    assert "no exchange rate" in found["notes"][0]
