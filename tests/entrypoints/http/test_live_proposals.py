"""Proposals at quotes, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from rebalancer.domain.market.live_quotes import LiveQuote
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import cost_model
from rebalancer.domain.rebalancing.lifecycle import ProposalInputs
from rebalancer.domain.rebalancing.model import RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose
from tests.builders import CLASSES
from tests.entrypoints.http.conftest import START, ApiUser, RunningApi

MARKET = "/api/market/data/C?indicators=rsi:14"


@pytest.fixture(autouse=True)
def empty_board(api: RunningApi) -> Iterator[None]:
    """Remove the quotes of other tests from the board of the application, and then those of it."""
    latest = api.app.state.quote_streams.hub._board._latest
    latest.clear()
    yield
    latest.clear()


def post_quotes(
    api: RunningApi, factor: float = 1.01, *, minutes: float = 1, **only: float
) -> None:
    """Post quotes of C and F near their last closes."""
    traded = api.time.now - timedelta(minutes=minutes)
    last = api.market.closes()
    api.app.state.quote_streams.hub._board.post(
        [
            LiveQuote(
                one,
                only.get(one, round(float(last.last_closes[last.columns[one]]) * 1.01, 4)),
                "USD",
                traded,
                traded,
                "test",
            )
            for one in "CF"
        ]
    )


def predict(user: ApiUser, portfolio: str, **fields: Any) -> Any:
    body = {"portfolio_id": portfolio, "policy": "monthly", "prices": "live"} | fields
    return user.post("/api/rebalance/predict", body)


pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


def test_proposal_at_quotes_fills_at_its_prices_and_changes_nothing_at_closes(
    api: RunningApi, ada: ApiUser
) -> None:
    portfolio = ada.portfolio()["id"]
    closes, market = ada.proposal(portfolio, policy="monthly"), ada.get(MARKET).json()
    post_quotes(api)
    made = predict(ada, portfolio)
    assert made.status_code == 201, made.text
    live = made.json()
    assert (closes["prices"], closes["live"]) == ("close", None)
    assert live["prices"] == "live"
    assert live["as_of"] == "2026-11-02"
    quoted = {one["symbol"]: one for one in live["live"]["quotes"]}
    assert {one: quoted[one]["age_seconds"] for one in quoted} == {"C": 60.0, "F": 60.0}
    assert {one["symbol"]: one["price"] for one in live["orders"]} == {
        symbol: one["price"] for symbol, one in quoted.items()
    }
    assert live["expires"] == (START + timedelta(minutes=10)).isoformat().replace("+00:00", "Z")
    assert ada.get(f"/api/rebalance/{live['id']}").json()["live"] == live["live"]
    # Nothing at closes has changed.
    again = ada.proposal(portfolio, policy="monthly")
    assert (again["input_hash"], again["orders"]) == (closes["input_hash"], closes["orders"])
    assert ada.get(MARKET).json() == market

    accepted = ada.post(f"/api/rebalance/{live['id']}/accept")
    assert accepted.status_code == 200, accepted.text
    entries = ada.get(f"/api/portfolios/{portfolio}/transactions").json()["items"]
    bought = {one["symbol"]: one["price"] for one in entries if one["kind"] == "buy"}
    assert {one: Decimal(price) for one, price in bought.items()} == {
        one: Decimal(each["price"]) for one, each in quoted.items()
    }


def test_a_stored_proposal_at_quotes_replays(api: RunningApi, ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    post_quotes(api)
    id = UUID(predict(ada, portfolio).json()["id"])
    with api.work.read() as tx:
        record = tx.proposals.get(id)
    document = msgspec.json.encode(record.inputs)
    inputs = msgspec.json.decode(document, type=ProposalInputs)
    assert inputs.live == record.inputs.live
    assert inputs.live is not None
    context = RebalanceContext(
        parse_rule("monthly"), api.market.closes(), CLASSES, cost_model(None, None, None), "USD"
    ).at_quotes(inputs.live)
    assert context.history.digest == inputs.market
    again = propose(inputs.portfolio, context)
    assert again.input_hash == record.proposal.input_hash
    assert again.orders == record.proposal.orders


def test_an_asset_without_a_plausible_quote_is_not_traded(api: RunningApi, ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    post_quotes(api, C=5000.0)
    live = predict(ada, portfolio).json()
    (blocked,) = [one for one in live["not_traded"] if one["symbol"] == "C"]
    assert blocked["reason_code"] == "quote_implausible"
    assert blocked["reason"].startswith("Not traded at quotes: C is quoted at 5000 USD, after a")
    assert [one["symbol"] for one in live["orders"]] == ["F"]


@pytest.mark.parametrize(
    ("minutes", "later", "code", "text"),
    [
        (1, 10, "proposal_closed", "expired at 2026-11-02 09:10 UTC; request a new one"),
        (19, 2, "proposal_stale", "more than 20 minutes ago; request a new one"),
    ],
)
def test_old_quotes_cannot_be_accepted(
    api: RunningApi, ada: ApiUser, minutes: int, later: int, code: str, text: str
) -> None:
    portfolio = ada.portfolio()["id"]
    post_quotes(api, minutes=minutes)
    id = predict(ada, portfolio).json()["id"]
    api.time.advance(minutes=later)
    refused = ada.post(f"/api/rebalance/{id}/accept")
    assert refused.status_code == 409
    assert text in refused.json()["detail"]
    assert refused.json()["code"] in (code, "proposal_expired")


def test_live_prices_are_refused_without_quotes_or_for_a_past_day(
    api: RunningApi, ada: ApiUser
) -> None:
    portfolio = ada.portfolio()["id"]
    missing = predict(ada, portfolio)
    assert (missing.status_code, missing.json()["code"]) == (422, "no_quotes")
    past = predict(ada, portfolio, as_of=api.market.last)
    assert (past.status_code, past.json()["code"]) == (422, "day_with_quotes")
    other = predict(ada, portfolio, prices="open")
    assert other.status_code in (400, 422)
