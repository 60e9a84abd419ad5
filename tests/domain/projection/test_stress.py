"""Stress tests by hand: episodes, classes, betas, currencies, and the proposal after them."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from rebalancer.application.stress import stress_portfolio
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.assembly import PricingTerms, quote_history
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.projection.stress import Shock, find_moves, shock_prices
from tests.builders import EUR, a_context, a_portfolio

KINDS = Instruments.of(
    [
        Instrument("A", asset_class=AssetClass.EQUITY),
        Instrument("B", asset_class=AssetClass.BOND),
        Instrument("C", asset_class=AssetClass.EQUITY),
    ]
)


def covid(*, young: bool = False) -> PriceHistory:
    """Prices around the spring of 2020: A falls from 100 to 66, B rises by a tenth."""
    days = [date(2020, 2, 18), date(2020, 2, 19), date(2020, 3, 23), date(2020, 6, 1)]
    closes = np.array([[90, 50, 10], [100, 50, 10], [66, 55, 5], [120, 60, 20]], dtype=float)
    if young:
        closes[:3, 2] = np.nan
    return PriceHistory.of(("A", "B", "C"), days, closes)


def in_euros(closes: PriceHistory) -> PriceHistory:
    """The same prices in euros, at 1.2 dollars a euro."""
    rates = np.full((len(closes), 1), 1.2)
    table = np.hstack([closes.closes, rates])
    together = PriceHistory.of((*closes.symbols, "EURUSD"), closes.dates, table)
    listed = Instruments.of(Instrument(symbol, currency="EUR") for symbol in closes.symbols)
    return quote_history(together, PricingTerms("EUR", listed))


HELD = a_portfolio({"A": 10, "B": 10, "C": 10}, {"A": 0.5, "B": 0.3, "C": 0.1}, cash=200)


def stressed(market: PriceHistory, **shock: Any) -> dict[str | None, Any]:
    report = stress_portfolio(HELD, a_context(market, costs=0.0, instruments=KINDS), Shock(**shock))
    return {one.symbol: (one.before, pytest.approx(one.after)) for one in report.assets}


def test_an_episode_repeats_what_each_asset_did() -> None:
    found = stressed(covid(), episode="covid_2020")
    assert found == {"A": (1200, 792), "B": (600, 660), "C": (200, 100), None: (200, 200)}


def test_an_asset_without_prices_then_moves_as_its_class() -> None:
    context = a_context(covid(young=True), instruments=KINDS)
    report = stress_portfolio(HELD, context, Shock(episode="covid_2020"))
    moved = {one.symbol: round(one.move, 6) for one in report.assets}
    assert moved["C"] == -0.34
    assert report.notes == (
        "C had no prices then; it moves as the mean of 1 assets of the class equity.",
    )


def test_what_names_an_asset_most_closely_counts() -> None:
    found = stressed(
        covid(), episode="covid_2020", classes={AssetClass.EQUITY: -0.5}, assets={"C": 0.25}
    )
    assert found == {"A": (1200, 600), "B": (600, 660), "C": (200, 250), None: (200, 200)}


def test_assets_follow_a_factor_by_their_beta() -> None:
    returns = np.random.default_rng(1).normal(0, 0.01, (300, 1)) * np.array([1.0, -0.5, 2.0])
    days = np.busday_offset(np.datetime64("2020-01-01"), np.arange(301), roll="forward")
    levels = np.vstack([np.zeros(3), np.cumsum(returns, axis=0)])
    market = PriceHistory.of(("A", "B", "C"), days, 100 * np.exp(levels))
    moves = find_moves(Shock(factor=("A", -0.2)), market, KINDS, HELD)
    assert moves.assets == pytest.approx([-0.2, 0.1, -0.4])


def test_a_currency_moves_prices_cash_and_nothing_of_the_base() -> None:
    market = in_euros(covid())
    portfolio = a_portfolio({"A": 10}, {"A": 1.0}, cash=100)
    context = a_context(market, costs=0.0, instruments=KINDS)
    report = stress_portfolio(portfolio, context, Shock(currencies={"EUR": -0.1}))
    asset, cash = report.assets
    assert asset.after == pytest.approx(0.9 * asset.before)
    assert (cash.before, cash.after) == (100, 100)
    both = stress_portfolio(
        portfolio, context, Shock(currencies={"EUR": -0.1}, classes={AssetClass.EQUITY: -0.5})
    )
    assert both.assets[0].after == pytest.approx(0.45 * asset.before)
    at_home = a_portfolio({"A": 10}, {"A": 1.0}, currency=EUR)
    own = a_context(market, costs=0.0, instruments=KINDS, currency="EUR")
    same = stress_portfolio(at_home, own, Shock(currencies={"EUR": -0.1}))
    assert same.after == pytest.approx(same.before)


def test_the_policy_proposes_at_the_prices_after_the_shock() -> None:
    context = a_context(covid(), costs=0.0, instruments=KINDS)
    report = stress_portfolio(HELD, context, Shock(classes={AssetClass.EQUITY: -0.5}))
    # 600 of A, 600 of B, 100 of C and 200 in cash: to 750, 450 (2.5 shares) and 150.
    assert {(one.symbol, one.side.value, int(one.quantity)) for one in report.proposal.orders} == {
        ("A", "buy", 2), ("B", "sell", 2), ("C", "buy", 5),
    }  # fmt: skip
    assert report.proposal.as_of == date(2020, 6, 2)


def test_prices_before_the_shock_stay_as_they_are() -> None:
    market = covid()
    moves = find_moves(Shock(assets={"A": -0.3}), market, KINDS, HELD)
    shocked = shock_prices(market, moves)
    assert (shocked.closes[:-1] == market.closes).all()
    assert len(market) == 4 and len(shocked) == 5


@pytest.mark.parametrize(
    ("shock", "field"),
    [
        ({}, "episode"),
        ({"episode": "flood"}, "episode"),
        ({"episode": "dot_com_2000"}, "episode"),
        ({"assets": {"X": -0.1}}, "assets.X"),
        ({"assets": {"A": -1.0}}, "assets.A"),
        ({"classes": {AssetClass.BOND: 11.0}}, "classes.bond"),
        ({"factor": ("X", -0.1)}, "factor.symbol"),
        ({"factor": ("A", -0.1)}, "factor.symbol"),
        ({"factor": ("A", float("nan"))}, "factor.change"),
    ],
)
def test_bad_shocks_name_their_field(shock: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as found:
        stressed(covid(), **shock)
    assert found.value.field == field
