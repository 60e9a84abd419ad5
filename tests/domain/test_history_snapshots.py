"""A history that is continued from a snapshot equals that of all entries."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rebalancer.domain.backtest.account_snapshots import AccountSnapshot, take_account_snapshot
from rebalancer.domain.backtest.accounts import MeasuredAccount, measure_history
from rebalancer.domain.backtest.history_snapshots import HistorySnapshot, take_snapshot
from rebalancer.domain.backtest.lines import Span
from rebalancer.domain.backtest.periods import ValueHistory
from rebalancer.domain.market.actions import Actions
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import Ledger, Overdrawn
from tests.domain.test_adjustment import DAYS, action, day, laws
from tests.domain.test_track_record import NOW, entry, trade

WINDOW = 4
DICE = np.random.default_rng(7)
CLOSES = {
    "A": np.round(10 * np.cumprod(DICE.normal(1.001, 0.02, 30)), 4),
    "B": np.round(50 * np.cumprod(DICE.normal(1.001, 0.02, 30)), 4),
    "EURUSD": np.round(1.1 * np.cumprod(DICE.normal(1.0, 0.005, 30)), 5),
}
LISTED = Instruments.of([Instrument("A", currency="USD"), Instrument("B", currency="EUR")])
OPENING = (
    entry("deposit", 100_000, day(0)),
    entry("deposit", 100_000, day(0), currency="USD"),
    entry("deposit", 5_000, day(0), symbol="A", quantity=500, price=10, currency="USD"),
    entry("deposit", 25_000, day(0), symbol="B", quantity=500, price=50),
)


@attrs.define
class World:
    """A market and a ledger that change, with a snapshot that is continued where it can be."""

    rows: int = 18
    adjusted: bool = False
    factors: dict[tuple[str, int], float] = attrs.field(factory=dict)
    actions: list[Any] = attrs.field(factory=list)
    entries: list[Entry] = attrs.field(factory=lambda: list(OPENING))
    snapshot: HistorySnapshot | None = None
    account: AccountSnapshot | None = None
    seen: int = 0
    continued: int = 0

    def market(self) -> PriceHistory:
        bars = []
        for symbol, table in CLOSES.items():
            closes = table[: self.rows].copy()
            for (named, row), factor in self.factors.items():
                if named == symbol and row < self.rows:
                    closes[row] *= factor
            rated = symbol == "EURUSD"
            bars.append(
                Bars(symbol, DAYS[: self.rows], closes, adjusted=self.adjusted and not rated)
            )
        known = [one for one in self.actions if one.ex_day <= day(self.rows - 1)]
        found = MarketSnapshot.of(bars, Actions.of(known)).history(PricingTerms("EUR", LISTED))
        assert found is not None
        return found

    def check(self) -> None:
        """Continue the snapshot, or take a new one, and compare it with all entries."""
        market, ledger = self.market(), Ledger(tuple(self.entries))
        later, found = self.entries[self.seen :], None
        account = self.account and self.account.continued(later, market, window=WINDOW)
        if self.snapshot is not None:
            found = self.snapshot.continued(later, market, window=WINDOW)
            self.continued += found is not None
        self.snapshot = found or take_snapshot(ledger, market, currency="EUR", window=WINDOW)
        self.seen = len(self.entries)
        assert_equal(self.snapshot.history, measure_history(ledger, market, currency="EUR"))
        assert (account is None) == (found is None)
        whole = take_account_snapshot(ledger, market, currency="EUR", window=WINDOW)
        self.account = account or whole
        assert_same_account(self.account.account, whole.account)

    def change(self, step: tuple[str, int, int]) -> None:
        """Apply one step, unless the ledger would be overdrawn."""
        count = len(self.entries)
        self._apply(step)
        try:
            _ = Ledger(tuple(self.entries)).positions
        except Overdrawn:
            del self.entries[count:]

    def _apply(self, step: tuple[str, int, int]) -> None:
        """Apply one step: its kind, a row, and a number of 1 to 20."""
        kind, at, much = step
        row = min(at, self.rows - 1)
        on, add = day(row), self.entries.append
        match kind:
            case "close":
                self.rows = min(self.rows + 1 + much % 3, len(DAYS))
            case "restate":
                self.factors["A" if much % 2 else "EURUSD", row] = 1 + much / 500
            case "action":
                known = {(one.kind, one.ex_day) for one in self.actions}
                new = action("dividend", row, much / 100, currency="USD")
                if much % 4 == 0:
                    new = action("split", row, 2)
                if (new.kind, new.ex_day) in known:
                    self.actions = [one for one in self.actions if one.ex_day != new.ex_day]
                else:
                    self.actions.append(new)
            case "book":
                known = [one for one in self.actions if one.ex_day <= day(self.rows - 1)]
                if known:
                    one = known[much % len(known)]
                    paid = {"currency": "USD"} if one.kind == "dividend" else {"ratio": Decimal(2)}
                    amount = much if one.kind == "dividend" else 0
                    add(entry(one.kind, amount, one.ex_day, symbol="A", action="key", **paid))
            case "correct":
                booked = [one for one in self.entries if one.action and one.voids is None]
                gone = {one.voids for one in self.entries}
                if booked and booked[-1].id not in gone:
                    add(booked[-1].reversal(recorded=NOW, corrects=True))
            case "void":
                gone = {one.voids for one in self.entries}
                free = [
                    one
                    for one in self.entries[len(OPENING) :]
                    if one.voids is None and one.id not in gone
                ]
                if free:
                    add(free[-(much % len(free)) - 1].reversal(recorded=NOW))
            case "buy" | "sell":
                symbol, currency = ("A", "USD") if much % 2 else ("B", None)
                price = f"{CLOSES[symbol][row] * (1 + much / 1000):.4f}"
                add(trade(kind, much, symbol, price, on, currency=currency, cost=1))
            case "exchange":
                other = {"counter_amount": Decimal(much), "counter_currency": "USD"}
                add(entry(kind, much, on, **other))
            case "dividend":
                add(entry(kind, much, on, symbol="A", currency="USD", withheld=Decimal("0.1")))
            case "split":
                add(entry(kind, 0, on, symbol="A", ratio=Decimal(2)))
            case "spin_off":
                add(entry(kind, 0, on, symbol="A", other="B", ratio=Decimal("0.1")))
            case "rename":
                add(entry(kind, 0, on, symbol="A", other="B"))
            case "unlisted":
                add(trade("buy", much, "X", much, on))
            case _:
                add(entry(kind, much, on, currency="USD" if much % 3 == 0 else None))


def assert_equal(one: ValueHistory, other: ValueHistory) -> None:
    assert one.dates.tolist() == other.dates.tolist()
    for name in ("values", "contributions", "index"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-10, abs=1e-7), name


def assert_same_account(one: MeasuredAccount, other: MeasuredAccount) -> None:
    """Compare history, contributions and income of all days, and of some periods."""
    assert_equal(one.history, other.history)
    last = len(other.history.dates) - 1
    for span in (Span(None, last), Span(last // 2, last), Span(0, last // 2), Span(last - 1, last)):
        assert one.daily.index(span) == pytest.approx(other.daily.index(span))
        found, wanted = (
            {part.label: attrs.astuple(part)[1:] for part in each.daily.over(span)}
            for each in (one, other)
        )
        assert found.keys() == wanted.keys()
        for label, parts in wanted.items():
            known = [value is not None for value in parts]
            assert [value is not None for value in found[label]] == known
            assert [value or 0.0 for value in found[label]] == pytest.approx(
                [value or 0.0 for value in parts], rel=1e-8, abs=1e-8
            )
        incomes = [each.income(span) for each in (one, other)]
        keys = [[(each.month, each.kind, each.symbol) for each in some] for some in incomes]
        assert keys[0] == keys[1]
        sums = [[each.amount for each in some] for some in incomes]
        assert sums[0] == pytest.approx(sums[1])


PLAIN = ("deposit", "withdrawal", "buy", "sell", "fee", "tax", "interest", "exchange")
OTHERS = ("close", "close", "void", "restate", "dividend", "split", "spin_off")
ACTIONS = ("action", "action", "book", "book", "correct")
RARE = ("rename", "unlisted")
late = st.integers(12, len(DAYS) - 1)
steps = st.lists(
    st.tuples(
        st.sampled_from((*PLAIN, *PLAIN, *PLAIN, *OTHERS, *ACTIONS, *RARE)),
        st.one_of(late, late, late, late, st.integers(0, len(DAYS) - 1)),
        st.integers(1, 20),
    ),
    min_size=1,
    max_size=5,
)


@settings(laws, max_examples=40)
@given(st.lists(steps, min_size=1, max_size=6), st.booleans())
def test_continued_history_equals_that_of_all_entries(
    batches: Sequence[list[tuple[str, int, int]]], adjusted: bool
) -> None:
    world = World(adjusted=adjusted)
    world.check()
    for batch in batches:
        for step in batch:
            world.change(step)
        world.check()
    event(f"continued: {min(world.continued, 3)}")


@settings(laws, max_examples=25)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from((*PLAIN, "close", "void")), late, st.integers(1, 20)),
            min_size=1,
            max_size=3,
        ),
        min_size=2,
        max_size=8,
    )
)
def test_usual_changes_are_continued(batches: Sequence[list[tuple[str, int, int]]]) -> None:
    world = World()
    world.check()
    for batch in batches:
        for step in batch:
            world.change(step)
        world.check()
    event(f"continued: {min(world.continued, 5)} of {min(len(batches), 5)}")


def test_new_closes_and_entries_after_the_base_are_continued() -> None:
    world = World()
    world.check()
    world.change(("close", 0, 1))
    world.check()
    world.change(("buy", 17, 5))
    world.change(("withdrawal", 16, 5))
    world.check()
    world.change(("void", 0, 1))
    world.check()
    assert world.continued == 3


def test_booked_action_is_continued_and_corrected() -> None:
    world = World(adjusted=True)
    world.check()
    world.change(("action", 20, 3))
    world.check()
    before = world.continued
    world.change(("close", 0, 2))
    world.change(("book", 0, 5))
    world.check()
    world.change(("correct", 0, 1))
    world.check()
    assert world.continued == before + 2
    assert len(world.entries) == len(OPENING) + 2


@pytest.mark.parametrize(
    "step",
    [
        ("deposit", 3, 5),  # back-dated to before the base
        ("restate", 3, 1),
        ("restate", 3, 2),  # an exchange rate
        ("action", 5, 3),
        ("dividend", 17, 5),
        ("split", 17, 5),
        ("rename", 17, 5),
        ("unlisted", 17, 5),
    ],
)
def test_what_may_change_earlier_days_needs_all_entries(step: tuple[str, int, int]) -> None:
    world = World()
    world.check()
    world.change(step)
    world.check()
    assert world.continued == 0


def test_reversal_of_an_early_entry_needs_all_entries() -> None:
    world = World()
    world.change(("fee", 3, 5))
    world.check()
    world.change(("void", 0, 1))
    world.check()
    assert world.continued == 0
    assert world.snapshot is not None
    assert world.snapshot.base is not None


def test_short_history_has_no_base() -> None:
    world = World(rows=3)
    world.check()
    assert world.snapshot is not None
    assert world.snapshot.base is None
