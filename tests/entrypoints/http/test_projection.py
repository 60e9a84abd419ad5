"""Projections over HTTP: answered at once, and as jobs."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from rebalancer.domain.market.assembly import PricingTerms, quote_history
from tests.builders import prices
from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem, finished_job

SMALL = {
    "months": 24,
    "paths": 200,
    "seed": 7,
    "flows": [{"amount": 50}],
    "goal": {"amount": 1500},
    "extra": 25,
}


@pytest.fixture
def path(api: RunningApi, ada: ApiUser) -> str:
    """A portfolio of C and F, whose prices span six years."""
    long = prices(6, 1_600, start=date(2016, 11, 1))
    api.market.serve(quote_history(long, PricingTerms("USD")))
    return f"/api/portfolios/{ada.portfolio(on=api.market.day(60))['id']}/projection"


def succeeded(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert (found["state"], found["progress"], found["error"]) == ("succeeded", 1.0, None)
    result: dict[str, Any] = found["result"]
    return result


def test_a_small_projection_is_answered_at_once(ada: ApiUser, path: str) -> None:
    found = succeeded(ada.post(path, SMALL))
    assert (found["months"], found["paths"], found["currency"]) == (24, 200, "USD")
    assert len(found["dates"]) == len(found["fan"]["p50"]) == len(found["prices"]) == 25
    assert found["paid_in"][-1] == 24 * 50
    low, middle, high = (found["real_fan"][name][-1] for name in ("p5", "p50", "p95"))
    assert low < middle < high < found["fan"]["p95"][-1]
    assert 0 <= found["goal"]["probability"] <= 1
    assert found["goal"]["month"] == 24
    assert found["extra"]["median_gain_real"] > 0
    assert found["extra"]["goal_after"] >= found["extra"]["goal_before"]
    assert any("Past returns are no forecast" in note for note in found["notes"])
    assert succeeded(ada.post(path, SMALL)) == found


def test_a_large_projection_becomes_a_job_with_the_same_figures(ada: ApiUser, path: str) -> None:
    begun = ada.post(path, SMALL | {"paths": 20_000})
    assert begun.status_code == 202, begun.text
    job = begun.json()["id"]
    assert begun.headers["Location"] == f"{path}/{job}"
    finished_job(ada, f"/api/jobs/{job}")
    result = succeeded(ada.get(f"{path}/{job}"))
    assert (result["paths"], result["months"]) == (20_000, 24)
    few = succeeded(ada.post(path, SMALL))
    assert few["real_fan"]["p50"][-1] == pytest.approx(result["real_fan"]["p50"][-1], rel=0.05)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_limit_on_realised_gains_is_stated_not_to_count(ada: ApiUser, path: str) -> None:
    portfolio = path.removesuffix("/projection")
    change = {"preferences": {"max_realised_gain": "100"}}
    assert ada.ask("PATCH", portfolio, json=change, headers={"If-Match": "*"}).is_success
    notes = succeeded(ada.post(path, SMALL))["notes"]
    assert any("no lots, so the limit on realised gains does not count" in one for one in notes)


def test_a_repeated_request_gets_the_same_job(ada: ApiUser, path: str) -> None:
    key, large = {"Idempotency-Key": "a tap"}, SMALL | {"paths": 20_000}
    first = ada.post(path, large, headers=key)
    again = ada.post(path, large, headers=key)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert ada.post(path, large | {"seed": 8}, headers=key).status_code == 409


def test_other_jobs_and_portfolios_are_not_found(ada: ApiUser, path: str) -> None:
    job = ada.post(path, SMALL | {"paths": 20_000}).json()["id"]
    other = f"/api/portfolios/{ada.portfolio()['id']}/projection"
    assert expect_problem(ada.get(f"{other}/{job}"), 404) == f"projection {job} does not exist"


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"months": 0}, 400, "months"),
        ({"policy": "trend", "model": "lognormal"}, 422, "model"),
        ({"flows": [{"amount": 0}]}, 422, "flows.amount"),
        ({"flows": [{"amount": 5, "every": 7}]}, 422, "flows.every"),
        ({"goal": {"amount": 5, "month": 25}}, 422, "goal.month"),
        ({"expected_returns": {"A": 0.05}}, 422, "expected_returns.A"),
        ({"inflation": "high"}, 400, "inflation"),
        ({"inflation": 0.9}, 422, "inflation"),
        ({"paths": 5}, 400, "paths"),
        ({"surprise": 1}, 400, "surprise"),
    ],
)
def test_bad_input_names_its_field(
    ada: ApiUser, path: str, change: dict[str, Any], status: int, field: str
) -> None:
    expect_problem(ada.post(path, SMALL | change), status, field)


def test_prices_of_less_than_three_years_are_refused(ada: ApiUser) -> None:
    answer = ada.post(f"/api/portfolios/{ada.portfolio()['id']}/projection", SMALL)
    assert "a projection needs 3" in str(answer.json()["errors"])
    expect_problem(answer, 422, "targets")
