"""Corporate actions of the market, booked in a ledger."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.market.actions import (
    ActionKind,
    Actions,
    CorporateAction,
    inferred_source,
)
from rebalancer.domain.market.currencies import ExchangeRates, RateSeries
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.action_reviews import review_actions
from rebalancer.domain.portfolio.corporate_actions import (
    ActionReview,
    ActionState,
    BookingTerms,
    due_actions,
    follow_renames,
)
from rebalancer.domain.portfolio.ledger import Entry, Ledger
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.domain.portfolio.portfolio import Conversions, Preferences
from tests.builders import USD, quoted_prices
from tests.domain.test_ledger import FIRST, NOW, buy, deposit, entry, in_kind, laws, ledger, sell

PORTFOLIO = UUID(int=7)
LATER = NOW + timedelta(hours=1)
DAYS = np.arange(np.datetime64(FIRST), np.datetime64(FIRST) + 40)
EURO_RATES = ExchangeRates.of([RateSeries("EUR", "USD", DAYS, np.full(len(DAYS), 1.25))])


def action(
    kind: str, value: object = 0, day: int = 5, symbol: str = "A", **others: Any
) -> CorporateAction:
    when = FIRST + timedelta(days=day)
    return CorporateAction(symbol, when, ActionKind(kind), Decimal(str(value)), **others)


def terms(*actions: CorporateAction, **others: Any) -> BookingTerms:
    plain = BookingTerms(
        PORTFOLIO, USD, Conversions.AUTOMATIC, Actions.of(actions), DAYS, EURO_RATES
    )
    return attrs.evolve(plain, **others)


def review(booked: Ledger, *actions: CorporateAction, **others: Any) -> list[ActionReview]:
    return review_actions(booked, terms(*actions, **others), LATER)


def book(booked: Ledger, *actions: CorporateAction, **others: Any) -> Ledger:
    """Book everything that is due, and check that nothing is due afterwards."""
    due = [one for found in review(booked, *actions, **others) for one in found.due]
    longer = booked.extended_by(due)
    assert len({one.id for one in longer.entries}) == len(longer.entries)
    assert all(not found.due for found in review(longer, *actions, **others))
    return longer


HELD = ledger(in_kind("deposit", 10, "A"), deposit(100))


def test_split_changes_the_units_held() -> None:
    booked = book(HELD, action("split", 4))
    assert booked.positions.holdings == {"A": 40}
    assert booked.entries[-1].action == "A 2022-01-08 split"


def test_actions_before_the_purchase_or_after_the_sale_are_not_booked() -> None:
    booked = ledger(deposit(100), buy(10, "A", 1, day=5), sell(10, "A", 2, day=8))
    assert review(booked, action("dividend", 1, 5), action("dividend", 1, 9)) == []
    # On the ex-day of the sale the holder of the day before is paid.
    paid = book(booked, action("dividend", 1, 8))
    assert paid.positions.cash == 100 - 10 + 20 + 10


def test_dividend_is_paid_on_units_held_before_a_split_of_the_same_day() -> None:
    booked = book(HELD, action("split", 4), action("dividend", "0.50"))
    assert booked.positions.cash == 105
    later = book(HELD, action("split", 4), action("dividend", "0.50", day=6))
    assert later.positions.cash == 120


def test_late_split_corrects_a_dividend_that_followed_it() -> None:
    booked = book(HELD, action("dividend", 1, day=6))
    corrected = book(booked, action("split", 4, day=5), action("dividend", 1, day=6))
    assert corrected.positions.cash == 140
    assert len(corrected.effective) == 4


def test_corrected_figure_voids_the_entry_and_books_another() -> None:
    booked = book(HELD, action("dividend", "0.50"))
    corrected = book(booked, action("dividend", "0.60"))
    assert corrected.positions.cash == 106
    wrong, reversal, right = corrected.entries[-3:]
    assert (reversal.voids, reversal.action) == (wrong.id, wrong.action)
    assert right.id != wrong.id and right.amount == 6
    # Back to the first figure: booked a third time.
    assert book(corrected, action("dividend", "0.50")).positions.cash == 105


def test_withdrawn_action_is_reversed_and_booked_again_when_it_counts_again() -> None:
    split, dividend = action("split", 4), action("dividend", "0.50", day=9)
    booked = book(HELD, split, dividend)
    assert (booked.positions.holdings, booked.positions.cash) == ({"A": 40}, 120)
    withdrawn = {"actions": Actions.of([split, dividend]).without([split.key])}
    without = book(booked, **withdrawn)
    assert (without.positions.holdings, without.positions.cash) == ({"A": 10}, 105)
    assert review(HELD, **withdrawn)[0].action == dividend  # what was never booked stays out
    again = book(without, split, dividend)
    assert (again.positions.holdings, again.positions.cash) == ({"A": 40}, 120)


def test_stated_split_replaces_an_inferred_one_that_is_booked() -> None:
    source = inferred_source(FIRST + timedelta(days=5), FIRST + timedelta(days=20))
    inferred = attrs.evolve(action("split", 4), source=source)
    booked = book(HELD, inferred)
    stated = book(booked, inferred, action("split", 4, day=12))
    assert stated.positions.holdings == {"A": 40}
    assert [one.on.day for one in stated.effective if one.action] == [15]


def test_trade_that_is_voided_later_changes_what_was_paid() -> None:
    bought = buy(5, "A", 1, day=1)
    booked = book(HELD.extended_by([bought]), action("dividend", 1))
    assert booked.positions.cash == 95 + 15
    without = booked.extended_by([bought.reversal(recorded=LATER)])
    assert book(without, action("dividend", 1)).positions.cash == 110


def test_position_that_never_was_leaves_no_dividend_and_gets_it_again() -> None:
    arrived = in_kind("deposit", 10, "A")
    booked = book(ledger(arrived, deposit(1)), action("dividend", 1))
    removed = book(booked.extended_by([arrived.reversal(recorded=LATER)]), action("dividend", 1))
    assert removed.positions.cash == 1
    again = book(removed.extended_by([in_kind("deposit", 3, "A")]), action("dividend", 1))
    assert again.positions.cash == 4


def test_entry_that_its_owner_voided_is_not_booked_again() -> None:
    booked = book(HELD, action("dividend", 1))
    dismissed = booked.extended_by([booked.entries[-1].reversal(recorded=LATER)])
    (found,) = review(dismissed, action("dividend", 1))
    assert (found.state, found.due) == (ActionState.DISMISSED, ())


def test_owners_own_entry_counts_for_the_action() -> None:
    own = entry("dividend", "8.50", 20, symbol="A")  # paid later, net of tax
    recorded = HELD.extended_by([own])
    (found,) = review(recorded, action("dividend", 1))
    assert (found.state, found.entries) == (ActionState.BOOKED, (own,))
    # It counts for one action, and not for one of another size.
    assert book(
        recorded, action("dividend", 1), action("dividend", 1, 8)
    ).positions.cash == Decimal("118.50")
    assert book(recorded, action("dividend", 3)).positions.cash == Decimal("138.50")
    in_euros = HELD.extended_by([entry("dividend", "7.90", 6, symbol="A", currency="EUR")])
    assert review(in_euros, action("dividend", 1))[0].state is ActionState.BOOKED


def test_owners_own_split_counts_for_the_action() -> None:
    own = entry("split", 0, 6, symbol="A", ratio=Decimal("0.3333"))
    (found,) = review(HELD.extended_by([own]), action("split", "0.333333"))
    assert found.state is ActionState.BOOKED
    assert review(HELD.extended_by([own]), action("split", 2))[0].state is ActionState.PENDING


def test_distribution_in_another_currency_is_converted_at_the_rate_of_the_day() -> None:
    booked = book(HELD, action("dividend", "0.33", currency="EUR"))
    assert (booked.positions.cash, booked.positions.foreign_cash) == (Decimal("104.12"), {})
    listed = book(HELD, action("dividend", "0.33", currency="EUR"), conversions=Conversions.LISTED)
    assert listed.positions.foreign_cash == {"EUR": Decimal("3.30")}
    without = book(HELD, action("dividend", "0.33", currency="CHF"))
    assert without.positions.foreign_cash == {"CHF": Decimal("3.30")}
    corrected = book(booked, action("dividend", "0.40", currency="EUR"))
    assert (corrected.positions.cash, corrected.positions.foreign_cash) == (105, {})


def test_quote_units_and_minor_units_of_a_distribution_count() -> None:
    pence = book(HELD, action("dividend", "12.5", currency="GBX"), currency=Currency("GBP"))
    assert pence.positions.cash == Decimal("101.25")
    yen = book(HELD, action("dividend", "12.55", currency="JPY"), currency=Currency("JPY"))
    assert yen.positions.cash == 226
    assert review(HELD, action("dividend", "0.0001")) == []


def test_spin_off_credits_units_of_the_other_asset_and_its_own_actions() -> None:
    booked = book(
        HELD,
        action("spin_off", "0.25", other="S"),
        action("dividend", 2, day=9, symbol="S"),
        action("split", 2, day=9, symbol="S"),
    )
    assert booked.positions.holdings == {"A": 10, "S": 5}
    assert booked.positions.cash == 105


def test_new_symbol_carries_on_what_was_traded_under_the_old_one() -> None:
    sold = sell(4, "A", 1, day=7)
    booked = book(
        HELD.extended_by([sold]),
        action("rename", other="N"),
        action("dividend", 1, day=8, symbol="N"),
    )
    assert booked.positions.holdings == {"N": 6}
    assert booked.positions.cash == 100 + 4 + 6


def test_stated_action_replaces_an_inferred_one_on_an_earlier_day() -> None:
    source = inferred_source(FIRST + timedelta(days=2), FIRST + timedelta(days=30))
    guess = action("split", 4, day=2, source=source)
    sold = sell(8, "A", 1, day=25)
    booked = book(HELD.extended_by([in_kind("deposit", 1, "A", 3)]), guess)
    assert booked.positions.holdings == {"A": 41}
    known = book(booked.extended_by([sold]), action("split", 4, day=20))
    assert known.positions.holdings == {"A": 36}
    withdrawn = book(booked, guess, action("split", 4, day=20))
    assert withdrawn.positions.holdings == {"A": 44}
    assert len({one.id for one in withdrawn.entries}) == len(withdrawn.entries)
    another = book(booked, guess, action("split", 2, day=20))
    assert another.positions.holdings == {"A": 82}


def test_corrected_ex_day_moves_a_dividend_with_its_exchange() -> None:
    booked = book(HELD, action("dividend", 1, day=5, currency="EUR"))
    moved = book(
        booked.extended_by([in_kind("deposit", 2, "A", 6)]),
        action("dividend", 1, day=8, currency="EUR"),
    )
    assert (moved.positions.cash, moved.positions.foreign_cash) == (115, {})


def test_action_that_the_market_no_longer_knows_stays_booked() -> None:
    booked = book(HELD, action("split", 4), action("dividend", 1, day=5))
    assert book(booked).positions == booked.positions
    later = book(booked, action("split", 2, day=39), action("dividend", 1, day=39))
    assert later.positions.holdings == {"A": 80}
    assert later.positions.cash == 150


def test_delisting_has_no_entry() -> None:
    assert review(HELD, action("delisting")) == []


def test_action_between_market_days_counts_on_the_next_one() -> None:
    weekdays = DAYS[np.is_busday(DAYS)]
    (found,) = review(HELD, action("split", 2, day=5), dates=weekdays)  # a Saturday
    assert found.on == date(2022, 1, 10)


def test_confirmed_entry_of_other_figures_is_not_corrected() -> None:
    confirmed = attrs.evolve(
        entry("dividend", 9, 5, symbol="A", withheld=Decimal(1)), action="A 2022-01-08 dividend"
    )
    (found,) = review(HELD.extended_by([confirmed]), action("dividend", 1))
    assert (found.state, found.entries) == (ActionState.BOOKED, (confirmed,))


def test_pending_actions_that_are_not_confirmed_have_no_effect() -> None:
    split, dividend = action("split", 4), action("dividend", 1, day=8)
    key = "A 2022-01-11 dividend"
    (_, found) = review_actions(HELD, terms(split, dividend), LATER, only=[key])
    assert [one.amount for one in found.due] == [10]
    (_, found) = review_actions(HELD, terms(split, dividend), LATER)
    assert [one.amount for one in found.due] == [40]


@st.composite
def markets(draw: st.DrawFn) -> list[CorporateAction]:
    """Draw splits, dividends and spin-offs of two assets over ten days."""
    found = []
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["split", "dividend", "spin_off"]))
        value = draw(st.sampled_from(["2", "0.5", "0.25"]))
        other = {"other": "C"} if kind == "spin_off" else {}
        symbol = draw(st.sampled_from("AB"))
        found.append(action(kind, value, draw(st.integers(0, 9)), symbol, **other))
    return found


@st.composite
def trades(draw: st.DrawFn) -> list[Entry]:
    """Draw transfers and purchases that are never overdrawn."""
    found = [deposit(100_000, day=-1)]
    for _ in range(draw(st.integers(0, 4))):
        day, symbol = draw(st.integers(-1, 9)), draw(st.sampled_from("AB"))
        units = draw(st.integers(1, 9))
        found.append(
            draw(
                st.sampled_from(
                    [in_kind("deposit", units, symbol, day), buy(units, symbol, 3, day)]
                )
            )
        )
    return found


@laws
@given(trades(), markets(), markets(), st.data())
def test_booking_depends_on_what_is_known_and_not_on_when(
    lines: list[Entry],
    early: list[CorporateAction],
    late: list[CorporateAction],
    data: st.DataObject,
) -> None:
    """Trades and actions that arrive in any order lead to the same positions."""
    known = {one.key: one for one in (*early, *late)}.values()
    expected = book(Ledger(tuple(lines)), *known).positions
    first = data.draw(st.integers(1, len(lines)))
    grown = book(Ledger(tuple(lines[:first])), *early)
    grown = book(grown.extended_by(lines[first:]), *known)
    assert grown.positions == attrs.evolve(expected, uninvested=grown.positions.uninvested)


def test_mandate_follows_a_new_symbol_that_has_prices() -> None:
    market = quoted_prices(
        {"A": [1.0] * 5 + [None] * 35, "N": [1.0] * 40, "B": [1.0] * 40},
        start=FIRST,
        actions=[action("rename", other="N"), action("rename", symbol="B", other="N")],
    )
    mandate = Mandate(
        "M",
        USD,
        {"A": 0.25, "B": 0.25, "N": 0.25},
        preferences=Preferences(do_not_sell=frozenset("A"), do_not_buy=frozenset("B")),
    )
    followed = follow_renames(mandate, market)
    assert followed.targets == {"N": 0.5, "B": 0.25}
    assert followed.preferences.do_not_sell == {"N"}
    assert followed.preferences.do_not_buy == {"B"}
    assert follow_renames(followed, market) is followed


def test_mandate_without_new_symbols_is_the_same() -> None:
    market = quoted_prices({"A": [1.0] * 5}, start=FIRST)
    mandate = Mandate("M", USD, {"A": 0.5})
    assert follow_renames(mandate, market) is mandate


@pytest.mark.parametrize("kind", ["capital_gain", "return_of_capital"])
def test_other_distributions_are_paid_and_named(kind: str) -> None:
    booked = book(HELD, action(kind, 1))
    assert booked.positions.cash == 110
    assert booked.entries[-1].note.startswith(kind.replace("_gain", " gain").replace("_", " "))


def test_split_that_the_prices_do_not_show_waits_until_they_do() -> None:
    split = action("split", 4, day=20)
    shown = quoted_prices({"A": [40.0] * 20 + [10.0] * 20, "B": [5.0] * 40}, actions=[split])
    assert [one.symbol for one in due_actions(shown)] == ["A"]
    flat = quoted_prices({"A": [40.0] * 40, "B": [5.0] * 40}, actions=[split])
    assert flat.withheld.keys() == {"A"}
    assert not len(due_actions(flat))
    booked = book(HELD, split)
    assert book(booked, actions=due_actions(flat)).positions.holdings == {"A": 10}
    late = quoted_prices({"A": [40.0] * 25 + [10.0] * 15, "B": [5.0] * 40}, actions=[split])
    assert [one.symbol for one in due_actions(late)] == ["A"]
