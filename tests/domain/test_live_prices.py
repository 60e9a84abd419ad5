"""Proposals at quotes: which price counts, what is traded, and what stays as it is at closes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.market.actions import ActionKind, CorporateAction
from rebalancer.domain.market.live_quotes import LiveQuote, QuoteLimits
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.live_prices import LivePrices, QuoteBlock, UsedQuote, take_quotes
from rebalancer.domain.rebalancing.model import (
    Failure,
    Proposal,
    ReasonCode,
    RebalanceContext,
    Side,
)
from rebalancer.domain.rebalancing.proposal import propose, propose_book
from tests.builders import (
    a_context,
    a_portfolio,
    flat_prices,
    foreign_prices,
    portfolios,
    quoted_prices,
    varied_prices,
)

LAST_HOUR = datetime(2022, 12, 30, 20, tzinfo=UTC)
MONDAY = datetime(2023, 1, 2, 15, tzinfo=UTC)
CLOSES = flat_prices({"A": 100.0, "B": 50.0})
HELD, HALVES = {"A": 20, "B": 22}, {"A": 0.5, "B": 0.5}


def quote(symbol: str, price: float, *, minutes: float = 1, **fields: object) -> LiveQuote:
    traded = MONDAY - timedelta(minutes=minutes)
    values = {"currency": "USD", "source": "test"} | fields
    return LiveQuote(symbol, price, traded=traded, received=traded, **values)  # type: ignore[arg-type]


def take(
    *quotes: LiveQuote,
    closes: PriceHistory = CLOSES,
    symbols: str = "AB",
    closed: str = "",
    at: datetime = MONDAY,
) -> LivePrices:
    return take_quotes(
        symbols,
        closes,
        {one.symbol: one for one in quotes},
        closed,
        at=at,
        limits=QuoteLimits(),
        valid_for=timedelta(minutes=10),
    )


def at_quotes(live: LivePrices, rule: str = "monthly") -> tuple[RebalanceContext, Proposal]:
    context = a_context(CLOSES, rule, costs=0.0).at_quotes(live)
    return context, propose(a_portfolio(HELD, HALVES, cash=0), context)


def test_weights_and_orders_are_at_quotes() -> None:
    # 20 A at 110 and 22 B at 50 are 2,200 + 1,100; each half is 1,650, so 550 move.
    _, made = at_quotes(take(quote("A", 110.0), quote("B", 50.0)))
    assert [(one.side, one.symbol, one.quantity, one.price) for one in made.orders] == [
        (Side.SELL, "A", Decimal(5), Decimal(110)),
        (Side.BUY, "B", Decimal(11), Decimal(50)),
    ]
    assert made.as_of == date(2023, 1, 2)
    assert made.weights_before == pytest.approx({"A": 2 / 3, "B": 1 / 3})
    assert made.cash_after == 0
    assert made.notes[0] == (
        "Prices are quotes of 2023-01-02 15:00 UTC (A, B), at most 2 minutes old; returns and risk "
        "are measured at closes up to 2022-12-30."
    )


@pytest.mark.parametrize(
    ("quotes", "code", "text"),
    [
        ([], ReasonCode.QUOTE_MISSING, "no quote of A is known; its last close is of 2022-12-30"),
        (
            [quote("A", 110.0, minutes=21)],
            ReasonCode.QUOTE_STALE,
            "the last trade of A was at 2023-01-02 14:39 UTC, more than 20 minutes ago",
        ),
        (
            [quote("A", 1100.0)],
            ReasonCode.QUOTE_IMPLAUSIBLE,
            "A is quoted at 1100 USD, after a close of 100 on 2022-12-30",
        ),
        (
            [quote("A", 110.0, bid=104.5, ask=115.5)],
            ReasonCode.SPREAD_TOO_WIDE,
            "bid and ask of A are 10.0% apart, more than 2.0%",
        ),
    ],
)
def test_an_asset_without_a_good_quote_keeps_its_close_and_is_not_traded(
    quotes: list[LiveQuote], code: ReasonCode, text: str
) -> None:
    # 20 A stay at 100: 2,000 of 3,100.
    _, made = at_quotes(take(*quotes, quote("B", 50.0)))
    assert "A" not in {one.symbol for one in made.orders}
    found = {one.symbol: one for one in made.not_traded}["A"]
    assert (found.reason_code, found.reason) == (code, f"Not traded at quotes: {text}.")
    assert made.weights_before["A"] == pytest.approx(20 / 31)


def test_a_closed_market_leaves_its_close() -> None:
    # B counts at its close of 50, and is traded.
    _, made = at_quotes(take(quote("A", 110.0), closed="B"))
    assert {one.symbol: one.price for one in made.orders} == {"A": 110, "B": 50}
    assert "The market of B is closed; its close of 2022-12-30 counts." in made.notes


def test_a_quote_after_a_split_that_is_not_in_the_closes_is_not_used() -> None:
    closes = quoted_prices(
        {"A": [100.0, 100.0]},
        start=date(2022, 12, 29),
        actions=[CorporateAction("A", date(2023, 1, 2), ActionKind.SPLIT, Decimal("1.05"))],
    )
    (blocked,) = take(quote("A", 95.2), closes=closes, symbols="A").blocked
    assert blocked.block is QuoteBlock.IMPLAUSIBLE
    assert blocked.text == "A has a split on 2023-01-02, after its last close of 2022-12-30"


def test_withheld_and_unknown_assets_need_no_quote() -> None:
    live = take(quote("A", 110.0), symbols="AX")
    assert [one.symbol for one in live.quotes] == ["A"]
    assert live.blocked == ()


def test_policies_and_risk_see_closes_alone() -> None:
    market = varied_prices()
    rule, targets = "minimum_variance", {"C": 0.5, "F": 0.5}
    portfolio = a_portfolio({}, targets, cash=10_000)
    context = a_context(market, rule)
    prices = dict(zip(market.symbols, market.last_closes.tolist(), strict=True))
    same = take(*(quote(one, prices[one]) for one in "CF"), closes=context.market, symbols="CF")
    higher = take(
        *(quote(one, prices[one] * 1.05) for one in "CF"), closes=context.market, symbols="CF"
    )
    close, flat, moved = (
        propose(portfolio, each)
        for each in (context, context.at_quotes(same), context.at_quotes(higher))
    )
    assert flat.volatility_after == close.volatility_after
    # The targets are the same; whole shares at other prices differ from them a little.
    assert moved.weights_after == pytest.approx(close.weights_after, abs=0.02)
    assert moved.orders != close.orders


def test_prices_in_other_currencies_are_converted_at_the_last_rates() -> None:
    closes = foreign_prices(varied_prices())
    context = a_context(closes, "monthly", currency="EUR")
    own = context.market.last_traded[context.market.columns["C"]]
    live = take(quote("C", float(own) * 1.01), closes=context.market, symbols="C")
    row = context.at_quotes(live).market
    column = row.columns["C"]
    rates, after = context.market.last_rates, row.last_rates
    assert rates is not None
    assert after is not None
    assert row.last_prices[column] == pytest.approx(own * 1.01 * rates[column])
    assert after[column] == rates[column]


def test_stored_quotes_replay_to_the_same_hash_and_orders() -> None:
    live = take(quote("A", 110.1, bid=110.0, ask=110.2), closed="B")
    context, made = at_quotes(live)
    stored = msgspec.json.decode(msgspec.json.encode(live), type=LivePrices)
    assert stored == live
    again, same = at_quotes(stored)
    assert same == made
    portfolio = a_portfolio(HELD, HALVES, cash=0)
    assert again.replaying(portfolio, made.input_hash) is not None
    assert context.input_hash(portfolio) == made.input_hash


def test_quotes_enter_the_hash_and_leave_the_one_at_closes() -> None:
    portfolio, context = a_portfolio(HELD, HALVES, cash=0), a_context(CLOSES)
    before, closes = context.input_hash(portfolio), CLOSES.digest
    hashes = {
        context.at_quotes(take(quote("A", price), quote("B", 50.0))).input_hash(portfolio)
        for price in (110.0, 110.5)
    }
    assert len(hashes) == 2
    assert before not in hashes
    assert context.input_hash(portfolio) == before
    assert (CLOSES.digest, len(CLOSES)) == (closes, 2)


def test_quotes_that_are_ordered_grow_too_old() -> None:
    live = take(quote("A", 110.0, minutes=15), quote("B", 50.0, minutes=1))
    assert live.staleness({"A"}, MONDAY + timedelta(minutes=5)) is None
    assert live.staleness({"A"}, MONDAY + timedelta(minutes=6)) == (
        "the quote of A is of 2023-01-02 14:45 UTC, more than 20 minutes ago"
    )
    assert live.staleness({"B"}, MONDAY + timedelta(minutes=6)) is None


def test_used_quotes_have_the_digits_in_which_they_came() -> None:
    assert UsedQuote.of(quote("A", 0.1)).price == Decimal("0.1")


MARKET = varied_prices()
AT_CLOSE = take_quotes(
    MARKET.symbols,
    MARKET,
    {
        symbol: LiveQuote(symbol, price, "USD", LAST_HOUR, LAST_HOUR, "test")
        for symbol, price in zip(MARKET.symbols, MARKET.last_closes.tolist(), strict=True)
    },
    (),
    at=LAST_HOUR,
    limits=QuoteLimits(),
    valid_for=timedelta(minutes=10),
)


@settings(max_examples=15)
@given(
    portfolio=portfolios(MARKET),
    rule=st.sampled_from(["monthly", "band", "minimum_variance", "volatility_target"]),
)
def test_quotes_that_are_the_closes_give_the_proposal_at_closes(
    portfolio: Portfolio, rule: str
) -> None:
    context = a_context(MARKET, rule)
    (close,) = propose_book([portfolio], context)
    (live,) = propose_book([portfolio], context.at_quotes(AT_CLOSE))
    assert live.input_hash != close.input_hash
    if isinstance(close, Proposal) and isinstance(live, Proposal):
        assert live == attrs.evolve(close, input_hash=live.input_hash, notes=live.notes)
        assert set(close.notes) <= set(live.notes)
    else:
        assert isinstance(close, Failure)
        assert isinstance(live, Failure)
        assert str(live.error) == str(close.error)
