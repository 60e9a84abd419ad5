"""Backtests of assets in several currencies, and in whole shares over splits and dividends."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.application.backtests import BacktestRequest, RunBacktest
from rebalancer.application.reporting.backtest import backtest_document
from rebalancer.domain.backtest.result import Backtest
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.assembly import PricingTerms, assemble_history
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency

DAYS = np.array(
    ["2022-01-27", "2022-01-28", "2022-01-31", "2022-02-01", "2022-02-02"], dtype="datetime64[D]"
)
LISTED = Instruments.of(
    [
        Instrument("NYC", currency="USD"),
        Instrument("TYO", currency="JPY"),
        Instrument("LSE", currency="GBX"),
    ]
)
TABLE = np.array(
    # NYC, TYO, LSE, EURUSD, EURJPY, EURGBP
    [
        [100.0, 2600.0, 850.0, 1.25, 130.0, 0.85],
        [100.0, 2600.0, 850.0, 1.25, 130.0, 0.85],
        [110.0, 2600.0, 850.0, 1.10, 130.0, 0.85],
        [110.0, 2600.0, 680.0, 1.10, 130.0, 0.85],
        [110.0, 2600.0, 680.0, 1.10, 130.0, 0.80],
    ]
)
SYMBOLS = ("NYC", "TYO", "LSE", "EURUSD", "EURJPY", "EURGBP")


def history(
    table: np.ndarray = TABLE, symbols: tuple[str, ...] = SYMBOLS, actions: Actions | None = None
) -> PriceHistory:
    found = assemble_history(
        symbols, DAYS, table, PricingTerms("EUR", LISTED), actions=actions or Actions()
    )
    assert found is not None
    return found


def run(
    prices: PriceHistory, *, base: str = "EUR", policy: str = "buy_and_hold", **terms: object
) -> Backtest:
    request = BacktestRequest(
        policies=(policy,),
        **{"cost_bps": 0.0, "currency": base} | terms,  # type: ignore[arg-type]
    )
    test = RunBacktest(
        MemoryPrices(prices), MemoryInstruments(LISTED), MemoryPolicies(), currency=Currency("USD")
    )
    return test(request)


def values(done: Backtest) -> list[float]:
    return [round(value, 12) for value in done.results[0].path.values.tolist()]


def test_values_by_hand_in_euros() -> None:
    done = run(history())
    # NYC: 80 EUR, then 100; TYO: 20 EUR; LSE: 10 EUR, 8, then 8.5; a third of the money each.
    expected = [1.0, 1.0, (1.25 + 1 + 1) / 3, (1.25 + 1 + 0.8) / 3, (1.25 + 1 + 0.85) / 3]
    assert values(done) == pytest.approx(expected, abs=1e-12)
    assert done.currency == "EUR"
    assert backtest_document(done)["currency"] == "EUR"


def test_the_base_currency_is_that_of_the_settings() -> None:
    request = BacktestRequest(policies=("buy_and_hold",))
    test = RunBacktest(MemoryPrices(history()), MemoryInstruments(LISTED), MemoryPolicies())
    assert test(request).currency == "USD"
    assert "currency" not in request.to_json()
    stored = BacktestRequest(policies=("monthly",), currency="EUR").to_json()
    assert BacktestRequest.from_json(stored).currency == "EUR"


def test_the_value_of_cash_in_another_currency_moves_with_its_rate() -> None:
    done = run(history(), base="USD", targets={"LSE": 1.0})
    dollars = TABLE[:, 2] / 100 / TABLE[:, 5] * TABLE[:, 3]
    assert values(done) == pytest.approx((dollars / dollars[0]).tolist(), abs=1e-12)


def test_conversions_cost() -> None:
    free = run(history(), targets={"NYC": 0.5})
    paid = run(history(), targets={"NYC": 0.5}, fx_spread_bps=100.0)
    assert paid.results[0].performance.cost_paid == pytest.approx(0.005, rel=0.02)
    assert free.results[0].performance.cost_paid == 0.0
    at_home = run(history(), base="USD", targets={"NYC": 0.5}, fx_spread_bps=100.0)
    assert at_home.results[0].performance.cost_paid == 0.0


def test_a_missing_rate_is_refused_where_it_is_needed() -> None:
    prices = history(TABLE[:, [0, 1, 3]], ("NYC", "TYO", "EURUSD"))
    with pytest.raises(InvalidRequest, match="from JPY to EUR") as refused:
        run(prices, targets={"NYC": 0.5, "TYO": 0.5})
    assert refused.value.code == "no_exchange_rate"
    done = run(prices)  # equal weights of what can be converted
    assert values(done)[-1] == pytest.approx(1.25)
    assert any("TYO has no exchange rate from JPY to EUR" in one.text for one in done.cautions)


def test_old_rates_have_a_caution() -> None:
    table = TABLE.copy()
    table[1:, 4] = np.nan
    codes = [one.code for one in run(history(table)).cautions]
    assert "exchange_rates_old" not in codes  # four weekdays
    dates = np.array(["2022-01-03", "2022-01-28", "2022-01-31", "2022-02-01", "2022-02-02"])
    found = assemble_history(
        SYMBOLS, dates.astype("datetime64[D]"), table, PricingTerms("EUR", LISTED)
    )
    assert found is not None
    texts = [one.text for one in run(found).cautions if one.code == "exchange_rates_old"]
    assert texts == [
        "On 2022-02-02 the exchange rate from JPY to EUR is of 2022-01-03, 22 weekdays earlier."
    ]


def test_an_assumed_currency_has_a_caution() -> None:
    found = assemble_history(
        ("XYZ", "EURUSD"), DAYS, TABLE[:, [0, 3]], PricingTerms("USD", Instruments())
    )
    assert found is not None
    texts = [one.text for one in run(found).cautions if one.code == "currency_assumed"]
    assert len(texts) == 1
    assert "XYZ" in texts[0]


def test_a_holding_without_current_price_moves_with_its_currency() -> None:
    converted = history().in_currency("USD")
    table = TABLE.copy()
    table[3:, 2] = np.nan
    gap = history(table).in_currency("USD")
    np.testing.assert_allclose(
        gap.last_total_returns[3:, 2], 8.5 / TABLE[3:, 5] * TABLE[3:, 3], rtol=1e-15
    )
    np.testing.assert_array_equal(converted.last_total_returns, converted.closes)


SPLIT = CorporateAction("NYC", date(2022, 1, 31), ActionKind.SPLIT, Decimal(3))
DIVIDEND = CorporateAction("NYC", date(2022, 1, 31), ActionKind.DIVIDEND, Decimal(1))


def one_asset(closes: list[float], *actions: CorporateAction) -> PriceHistory:
    table = np.array(closes)[:, None]
    return history(table, ("NYC",), Actions.of(actions))


def test_whole_shares_are_bought_at_the_price_as_traded() -> None:
    prices = one_asset([300.0, 300.0, 100.0, 100.0, 100.0], SPLIT)
    done = run(prices, base="USD", capital=1000.0, as_live=True, policy="monthly")
    path = done.results[0].path
    assert path.values.tolist() == [1.0] * 5
    assert path.weights[:, 0].tolist() == pytest.approx([0.9, 0.9, 0.9, 1.0, 1.0])
    assert path.orders.tolist() == [1, 0, 0, 1, 0]  # one more share of 100 after the split


def test_a_distribution_buys_whole_shares_and_leaves_cash() -> None:
    dividend = CorporateAction("NYC", date(2022, 1, 31), ActionKind.DIVIDEND, Decimal(25))
    prices = one_asset([100.0, 100.0, 75.0, 75.0, 75.0], dividend)
    done = run(prices, base="USD", capital=1000.0, as_live=True, policy="monthly")
    path = done.results[0].path
    assert path.values.tolist() == pytest.approx([1.0] * 5)
    # 10 shares become 13.33 on the ex-day; at the next review 13 stay, the rest is cash.
    assert path.weights[3, 0] == pytest.approx(13 * 75 / 1000)


def test_without_actions_levels_are_the_prices() -> None:
    request = BacktestRequest(policies=("monthly",), currency="EUR")
    test = RunBacktest(MemoryPrices(history()), MemoryInstruments(LISTED), MemoryPolicies())
    universe = test.settings(request).universe
    assert universe.levels is universe.prices
