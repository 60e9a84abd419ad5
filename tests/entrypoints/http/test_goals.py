"""Goals of a portfolio over HTTP, and their chances in a projection."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from rebalancer.domain.market.assembly import PricingTerms, quote_history
from tests.builders import prices
from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem


@pytest.fixture
def path(api: RunningApi, ada: ApiUser) -> str:
    """A portfolio of C and F, whose prices span six years."""
    long = prices(6, 1_600, start=date(2016, 11, 1))
    api.market.serve(quote_history(long, PricingTerms("USD")))
    return f"/api/portfolios/{ada.portfolio(on=api.market.day(60))['id']}"


def goal(api: RunningApi, name: str = "House", days: int = 400, **changes: Any) -> dict[str, Any]:
    by = api.time().date() + timedelta(days=days)
    return {"name": name, "amount": "900", "by": str(by)} | changes


def test_goals_are_replaced_as_a_whole_and_keep_their_day(
    api: RunningApi, ada: ApiUser, path: str
) -> None:
    assert ada.get(f"{path}/goals").json() == {"currency": "USD", "goals": []}
    tag = ada.get(path).headers["ETag"]
    wanted = [goal(api), goal(api, "Boat", 800, nominal=True)]
    made = ada.ask("PUT", f"{path}/goals", json={"goals": wanted}, headers={"If-Match": tag})
    assert made.status_code == 200, made.text
    today = str(api.time().date())
    assert [(one["name"], one["set_on"]) for one in made.json()["goals"]] == [
        ("House", today),
        ("Boat", today),
    ]
    assert ada.get(f"{path}/goals").json() == made.json()
    late = ada.ask("PUT", f"{path}/goals", json={"goals": []}, headers={"If-Match": tag})
    expect_problem(late, 412)
    api.time.advance(days=30)
    again = api.log_in().ask("PUT", f"{path}/goals", json={"goals": [*wanted, goal(api, "Car")]})
    assert [one["set_on"] for one in again.json()["goals"]][:2] == [today, today]
    assert again.json()["goals"][2]["set_on"] != today


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"amount": "0"}, 422, "goals[0].amount"),
        ({"amount": "-5"}, 400, "goals[0].amount"),
        ({"by": "2001-01-01"}, 422, "goals[0].by"),
        ({"name": " "}, 422, "goals[0].name"),
        ({"colour": "red"}, 400, "goals[0].colour"),
    ],
)
def test_bad_goals_name_their_field_and_change_nothing(
    api: RunningApi, ada: ApiUser, path: str, changes: dict[str, Any], status: int, field: str
) -> None:
    wrong = ada.ask("PUT", f"{path}/goals", json={"goals": [goal(api) | changes]})
    expect_problem(wrong, status, field)
    assert ada.get(f"{path}/goals").json()["goals"] == []


def test_two_goals_of_one_name_are_refused(api: RunningApi, ada: ApiUser, path: str) -> None:
    twice = ada.ask("PUT", f"{path}/goals", json={"goals": [goal(api), goal(api)]})
    expect_problem(twice, 422, "goals")


def test_a_projection_has_the_chance_of_each_goal_and_counts_planned_flows(
    api: RunningApi, ada: ApiUser, path: str
) -> None:
    planned = {"kind": "deposit", "amount": "100", "every": "month"}
    assert ada.post(f"{path}/flows", planned).status_code == 201
    wanted = [goal(api), goal(api, "Dream", amount="1000000000"), goal(api, "Far", 4_000)]
    assert ada.ask("PUT", f"{path}/goals", json={"goals": wanted}).status_code == 200
    asked = {"months": 24, "paths": 200, "inflation": 0.03}
    found = ada.post(f"{path}/projection", asked).json()["result"]
    assert [(one["name"], one["month"]) for one in found["goals"]] == [("House", 13), ("Dream", 13)]
    assert found["goals"][0]["probability"] == 1.0
    assert found["goals"][1]["probability"] == 0.0
    assert found["paid_in"][-1] == 2400
    without = ada.post(f"{path}/projection", asked | {"planned_flows": False}).json()["result"]
    assert without["paid_in"][-1] == 0
