"""Lots by each method, against examples of public tax guidance and computations by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import attrs
import pytest

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.lots.model import (
    Disposal,
    LotHistory,
    LotMethod,
    MatchRule,
    Term,
    term_of,
)
from rebalancer.domain.portfolio.lots.replay import trace_lots
from rebalancer.domain.portfolio.lots.years import realised_gains
from tests.domain.test_ledger import NOW, buy, entry, in_kind, sell
from tests.domain.test_ledger_reorganisations import rename, spin_off, split

USD, GBP = Currency("USD"), Currency("GBP")


def no_rate(currency: str, on: date) -> Decimal | None:
    return None


def trace(*entries: Entry, method: str = "fifo", base: str = "USD", **more: Any) -> LotHistory:
    more.setdefault("rates", no_rate)
    return trace_lots(Ledger(entries), LotMethod(method), base=base, **more)


def on(one: Entry, day: str) -> Entry:
    """Return an entry on another day."""
    return attrs.evolve(one, on=date.fromisoformat(day))


def rounded(history: LotHistory, currency: Currency = USD) -> list[Disposal]:
    return list(realised_gains(history, currency).disposals)


def gains(history: LotHistory, currency: Currency = USD) -> list[Decimal | None]:
    return [one.gain for one in rounded(history, currency)]


FUND = (  # IRS Publication 564 (2009), table 3
    on(buy(160, "F", 25), "2008-02-06"),
    on(buy(240, "F", 20), "2008-08-07"),
    on(buy(10, "F", 30), "2008-12-18"),
    on(sell(210, "F", 32), "2009-10-01"),
)


def test_first_shares_are_sold_first_as_in_irs_publication_564() -> None:
    history = trace(*FUND)
    sold = rounded(history)[0]
    # 160 x 25 + 50 x 20
    assert (sold.proceeds, sold.cost, sold.gain) == (6720, 5000, 1720)
    assert [use.quantity for use in sold.uses] == [160, 50]
    assert [use.term(sold.on) for use in sold.uses] == [Term.LONG, Term.LONG]
    assert [(lot.quantity, lot.cost) for lot in history.lots] == [(190, 3800), (10, 300)]


def test_average_basis_is_that_of_irs_publication_564() -> None:
    history = trace(*FUND, method="average_cost")
    sold = rounded(history)[0]
    # 9,100 / 410 a share, which the publication rounds to 22.20 before it multiplies: 4,662
    assert sold.cost == Decimal("4660.98")
    assert sum(lot.cost or 0 for lot in history.lots) == Decimal(9100) - (
        history.disposals[0].cost or 0
    )


def test_last_and_dearest_shares_are_sold_first() -> None:
    # 10 x 30 + 200 x 20
    assert rounded(trace(*FUND, method="lifo"))[0].cost == 4300
    # 10 x 30 + 160 x 25 + 40 x 20
    assert rounded(trace(*FUND, method="highest_cost"))[0].cost == 5100


def test_lots_that_the_caller_names_are_sold() -> None:
    # J. K. Lasser, Your Income Tax, section 30.2: 100 at 77, 200 at 84, 100 at 105; sold at 90
    bought = (
        on(buy(100, "S", 77), "1998-05-04"),
        on(buy(200, "S", 84), "1999-05-04"),
        on(buy(100, "S", 105), "2000-05-04"),
    )
    sold = on(sell(100, "S", 90), "2000-11-01")
    named = {sold.id: {bought[2].id: Decimal(100)}}
    history = trace(*bought, sold, method="specific", selections=named)
    assert gains(history) == [-1500]
    assert history.disposals[0].uses[0].term(sold.on) is Term.SHORT
    # Without a name, the first lot counts as sold.
    assert gains(trace(*bought, sold, method="specific")) == [1300]
    half = {sold.id: {bought[2].id: Decimal(40)}}
    history = trace(*bought, sold, method="specific", selections=half)
    assert [use.quantity for use in history.disposals[0].uses] == [40, 60]


@pytest.mark.parametrize(
    ("units", "method", "code"),
    [
        ("101", "specific", "lot_not_held"),
        ("0", "specific", "lot_not_held"),
        ("70", "specific", "lots_exceed_sale"),
        ("1", "fifo", "lots_not_used"),
    ],
)
def test_impossible_selection_of_lots_is_rejected(units: str, method: str, code: str) -> None:
    bought, sold = buy(100, "S", 1), sell(60, "S", 1, day=1)
    named = {sold.id: {bought.id: Decimal(units)}}
    with pytest.raises(InvalidRequest) as raised:
        trace(bought, sold, method=method, selections=named)
    assert (raised.value.code, raised.value.field) == (code, "lots")


def test_selection_for_an_unknown_sale_is_rejected() -> None:
    bought = buy(100, "S", 1)
    with pytest.raises(InvalidRequest, match="not a sale that counts"):
        trace(bought, method="specific", selections={bought.id: {bought.id: Decimal(1)}})


def test_uk_pool_is_that_of_hmrc_helpsheet_284_example_3() -> None:
    history = trace(
        on(buy(1000, "L", "4.00", cost=150), "2015-04-01"),
        on(buy(500, "L", "4.10", cost=80), "2018-09-01"),
        on(sell(700, "L", "4.80", cost=100), "2023-05-01"),
        on(sell(400, "L", "5.20", cost=105), "2024-02-01"),
        method="uk_pool",
        base="GBP",
    )
    first, second = rounded(history, GBP)
    # 6,280 x 700 / 1,500 and 6,280 x 400 / 1,500; the helpsheet rounds gains to 329 and 300
    assert (first.proceeds, first.cost) == (3260, Decimal("2930.67"))
    assert (second.proceeds, second.cost) == (1975, Decimal("1674.67"))
    assert (first.gain, second.gain) == (Decimal("329.33"), Decimal("300.33"))
    assert [use.rule for use in first.uses] == [MatchRule.POOL]
    pool = history.lots[0]
    assert (pool.quantity, pool.acquired) == (400, None)
    year = realised_gains(history, GBP).years
    assert [(str(one.year), one.gain) for one in year] == [("2023-24", Decimal("629.66"))]


def test_shares_bought_within_30_days_are_matched_as_in_hmrc_helpsheet_284_example_2() -> None:
    history = trace(
        on(buy(9500, "M", 1), "2021-01-04"),  # the helpsheet does not state what they cost
        on(sell(4000, "M", "1.50"), "2023-08-30"),
        on(buy(500, "M", "1.70"), "2023-09-11"),
        method="uk_pool",
        base="GBP",
    )
    pooled, matched = rounded(history, GBP)[0].uses
    # 500 of 4,000 for 6,000 x 500 / 4,000 = 750, against 850
    assert (matched.quantity, matched.gain, matched.rule) == (500, -100, MatchRule.THIRTY_DAYS)
    assert (pooled.quantity, pooled.gain, pooled.rule) == (3500, 1750, MatchRule.POOL)
    assert (history.lots[0].quantity, history.lots[0].cost) == (6000, 6000)


def test_shares_bought_back_within_30_days_replace_the_pool() -> None:
    # ACCA, Chargeable gains, part 2, example 27: 2,000 - 1,900
    history = trace(
        on(buy(1000, "L", 10), "2020-07-05"),
        on(sell(1000, "L", 2), "2020-12-02"),
        on(buy(1000, "L", "1.90"), "2020-12-10"),
        method="uk_pool",
        base="GBP",
    )
    assert gains(history, GBP) == [100]
    assert [(lot.quantity, lot.cost) for lot in history.lots] == [(1000, 10_000)]


def test_same_day_purchase_is_matched_before_an_earlier_sale() -> None:
    history = trace(
        buy(100, "A", 1),
        sell(50, "A", 3, day=10),
        buy(30, "A", 2, day=20),
        sell(20, "A", 4, day=20),
        buy(100, "A", 5, day=40),
        method="uk_pool",
    )
    early, late = history.disposals
    # Day 20: 20 of the 30 bought are sold that day, so 10 are left for the sale of day 10, and
    # day 40, 30 days after it, provides the other 40.
    assert [(use.quantity, use.cost, use.rule) for use in late.uses] == [
        (20, 40, MatchRule.SAME_DAY)
    ]
    assert [(use.quantity, use.cost, use.rule) for use in early.uses] == [
        (10, 20, MatchRule.THIRTY_DAYS),
        (40, 200, MatchRule.THIRTY_DAYS),
    ]
    assert [(lot.quantity, lot.cost) for lot in history.lots] == [(160, 400)]


@pytest.mark.parametrize(("day", "gain"), [(30, 10), (31, 20)])
def test_purchase_is_matched_for_30_days_after_a_sale(day: int, gain: int) -> None:
    history = trace(
        buy(10, "A", 1), sell(10, "A", 3, day=1), buy(10, "A", 2, day=1 + day), method="uk_pool"
    )
    assert gains(history) == [gain]


def test_match_within_30_days_follows_a_split_and_a_new_symbol() -> None:
    history = trace(
        buy(100, "A", 1),
        sell(10, "A", 4, day=5),
        rename("A", "B", day=6),
        split(2, "B", day=7),
        buy(14, "B", 1, day=8),
        method="uk_pool",
    )
    # 14 new units are 7 old ones; the other 3 are of the pool.
    uses = {use.rule: (use.quantity, use.cost) for use in history.disposals[0].uses}
    assert uses == {MatchRule.THIRTY_DAYS: (7, 14), MatchRule.POOL: (3, 3)}
    assert [(lot.symbol, lot.quantity, lot.cost) for lot in history.lots] == [("B", 194, 97)]


def test_costs_of_trades_belong_to_cost_and_proceeds() -> None:
    sold = trace(buy(10, "A", 100, cost=5), sell(4, "A", 120, day=1, cost="2.50")).disposals[0]
    assert (sold.proceeds, sold.cost, sold.gain) == (Decimal("477.50"), 402, Decimal("75.50"))


def test_gain_counts_the_exchange_rates_of_both_days() -> None:
    rates = {0: Decimal("0.80"), 30: Decimal("0.95")}

    def rate(currency: str, on: date) -> Decimal | None:
        return rates.get((on - date(2022, 1, 3)).days) if currency == "USD" else None

    entries = (
        buy(10, "A", 100, currency="USD", cost=1),
        sell(10, "A", 90, day=30, currency="USD"),
    )
    sold = trace(*entries, base="EUR", rates=rate).disposals[0]
    # A loss of 101 dollars is a gain of 900 x 0.95 - 1,001 x 0.80 euros.
    assert (sold.cost, sold.proceeds, sold.gain) == (
        Decimal("800.8"),
        855,
        Decimal("54.2"),
    )
    without = trace(*entries, base="CHF")
    assert without.disposals[0].gain is None
    assert without.notes == (
        "No exchange rate from USD to CHF is known on 2022-01-03 and 2022-02-02, so amounts of "
        "then are unknown; import earlier rates.",
    )


def test_split_keeps_cost_and_day_of_each_lot() -> None:
    history = trace(
        buy(10, "A", 100), buy(5, "A", 40, day=3), split(3, "A", 5), sell(31, "A", 50, day=9)
    )
    # 30 units for 1,000, and 1 of 15 units that cost 200.
    assert rounded(history)[0].cost == Decimal("1013.33")
    assert history.lots[0].acquired == date(2022, 1, 6)


def test_reverse_split_divides_units_so_that_they_add_up() -> None:
    bought = [buy(1, "A", 10, day=day) for day in range(4)]
    history = trace(*bought, split("0.333333", "A", 9))
    held = Ledger((*bought, split("0.333333", "A", 9)))
    assert (
        sum(lot.quantity for lot in history.lots)
        == held.followed_by([entry("deposit", 100, -1)]).positions.holdings["A"]
    )
    assert sum(lot.cost or 0 for lot in history.lots) == 40


def test_spin_off_passes_a_share_of_each_cost() -> None:
    history = trace(
        buy(100, "A", 10),
        spin_off("A", "S", "0.2", day=400, cost_share=Decimal("0.25")),
        sell(20, "S", 20, day=401),
    )
    sold = history.disposals[0]
    assert (sold.cost, sold.gain) == (250, 150)
    assert sold.uses[0].term(sold.on) is Term.LONG  # since the parent was bought
    assert [(lot.symbol, lot.cost) for lot in history.lots] == [("A", 750)]


def test_spin_off_without_a_share_leaves_both_costs_unknown() -> None:
    history = trace(buy(100, "A", 10), spin_off("A", "S", "0.2", 5), sell(100, "A", 9, day=6))
    assert history.disposals[0].gain is None
    assert [(lot.symbol, lot.cost) for lot in history.lots] == [("S", None)]
    assert history.notes == (
        "The spin-off of 2022-01-08 does not state which share of the cost of A passes to S, so "
        "the costs of both are unknown; record it with its share of the cost.",
    )


def test_money_of_a_merger_is_the_proceeds_of_the_cost_that_stays() -> None:
    merged = entry(
        "merger", 300, 10, symbol="A", other="B", ratio=Decimal("0.5"), cost_share=Decimal("0.8")
    )
    history = trace(buy(100, "A", 10), merged)
    paid = history.disposals[0]
    assert (paid.kind, paid.quantity, paid.proceeds, paid.cost) == ("merger", 100, 300, 200)
    lot = history.lots[0]
    assert (lot.symbol, lot.quantity, lot.cost) == ("B", 50, 800)
    assert lot.acquired == date(2022, 1, 3)


def test_merger_into_shares_alone_realises_nothing() -> None:
    merged = entry("merger", 0, 10, symbol="A", other="B", ratio=Decimal(2))
    history = trace(buy(100, "A", 10), merged)
    assert history.disposals == ()
    assert [(lot.quantity, lot.cost) for lot in history.lots] == [(200, 1000)]


def test_transfers_in_kind_have_the_stated_cost_and_realise_nothing() -> None:
    moved = attrs.evolve(in_kind("deposit", 10, "A"), cost_basis=Decimal(250))
    left = in_kind("withdrawal", 4, "A", day=2)
    history = trace(moved, left, sell(6, "A", 50, day=3))
    assert (history.transfers[0].cost, history.transfers[0].quantity) == (100, 4)
    sold = history.disposals[0]
    assert sold.gain == 150
    # They may have been bought long before they were moved.
    assert (sold.uses[0].days(sold.on), sold.uses[0].term(sold.on)) == (None, None)


def test_unknown_cost_basis_is_stated() -> None:
    history = trace(in_kind("deposit", 10, "A"), buy(5, "A", 2), sell(12, "A", 3, day=400))
    sold = history.disposals[0]
    assert (sold.gain, sold.proceeds) == (None, 36)
    assert [use.gain for use in sold.uses] == [None, 2]
    assert sold.uses[0].term(sold.on) is Term.LONG  # moved in more than a year ago
    assert history.notes == (
        "The cost of 10 units of A moved in on 2022-01-03 is unknown, and so are their gains; "
        "void each deposit and record it with its cost basis.",
    )
    year = realised_gains(history, USD).years[0]
    assert (year.unknown, year.gain, year.proceeds) == (1, 0, 0)


def test_returned_capital_reduces_cost_and_is_a_gain_beyond_it() -> None:
    def returned(amount: object, day: int) -> Entry:
        return entry("return_of_capital", amount, day, symbol="A")

    history = trace(buy(10, "A", 10), returned(60, 5), returned(70, 6), sell(10, "A", 1, day=7))
    beyond, sold = history.disposals
    assert (beyond.kind, beyond.proceeds, beyond.cost, beyond.gain) == (
        "return_of_capital",
        30,
        0,
        30,
    )
    assert (sold.cost, sold.gain) == (0, 10)
    after = trace(buy(10, "A", 10), sell(10, "A", 12, day=7), returned(5, 9))
    assert gains(after) == [20, 5]


def test_void_entries_do_not_count() -> None:
    mistake = buy(10, "A", 1000)
    history = trace(
        mistake, mistake.reversal(recorded=NOW), buy(10, "A", 10), sell(10, "A", 11, day=1)
    )
    assert gains(history) == [10]


def test_income_is_converted_and_summed_by_year() -> None:
    history = trace(
        entry("dividend", 100, 0, symbol="A", currency="GBP", withheld=Decimal(15)),
        entry("interest", 7, 1),
        entry("tax", 2, 2),
        entry("fee", 3, 400),
        base="EUR",
        rates=lambda currency, on: Decimal("1.2"),
    )
    first, second = realised_gains(history, Currency("EUR")).years
    assert (first.dividends, first.interest, first.withheld, first.taxes) == (120, 7, 18, 2)
    assert (str(second.year), second.fees, second.dividends) == ("2023", 3, 0)


@pytest.mark.parametrize(
    ("acquired", "on", "term"),
    [
        ("2022-03-10", "2023-03-10", Term.SHORT),  # exactly a year is not more
        ("2022-03-10", "2023-03-11", Term.LONG),
        ("2019-02-28", "2020-02-29", Term.SHORT),  # Revenue Ruling 66-7
        ("2019-02-28", "2020-03-01", Term.LONG),
        ("2020-02-28", "2021-02-28", Term.SHORT),
        ("2020-02-29", "2021-03-01", Term.LONG),
    ],
)
def test_term_is_long_after_more_than_a_year(acquired: str, on: str, term: Term) -> None:
    assert term_of(date.fromisoformat(acquired), date.fromisoformat(on)) is term


def test_sale_recorded_before_the_purchase_of_its_day_uses_it() -> None:
    sold, bought = sell(5, "A", 12, day=1), buy(5, "A", 10, day=1)
    assert gains(trace(sold, bought)) == [10]


def test_lots_keep_their_ids() -> None:
    bought = buy(5, "A", 10)
    history = trace(bought, rename("A", "B", 1), split(2, "B", 2))
    assert [lot.id for lot in history.lots] == [bought.id]
