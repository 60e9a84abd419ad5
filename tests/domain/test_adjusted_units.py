"""Units of statements that are adjusted for later splits, computed by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.import_balances import replay_balances
from rebalancer.domain.portfolio.import_plan import ImportPlan, plan_import
from rebalancer.domain.portfolio.import_terms import KnownSplit
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.statements import Statement, Transaction
from tests.builders import USD
from tests.domain.test_import_plan import AAPL, buy, deposit, entries, statement, terms

SPLIT_DAY = date(2022, 2, 1)
EARLIER, LATER = date(2022, 1, 10), date(2022, 3, 1)


def split(ratio: str = "4", on: date = SPLIT_DAY, *, adjusts: bool = True) -> Transaction:
    return Transaction(
        9, EntryKind.SPLIT, on, instrument=AAPL, ratio=Decimal(ratio), adjusts_earlier=adjusts
    )


def sell(quantity: str, price: str, on: date) -> Transaction:
    return attrs.evolve(buy(quantity, price, on=on), kind=EntryKind.SELL, line=8)


def trades(plan: ImportPlan) -> list[tuple[Decimal, Decimal | None]]:
    return [(one.quantity, one.price) for one in entries(plan) if one.quantity]


def held(plan: ImportPlan) -> Decimal:
    return replay_balances(Ledger(entries(plan)), USD)[1]["AAPL"]


def codes(plan: ImportPlan) -> list[str]:
    return [one.code for one in plan.remarks]


def market(*splits: KnownSplit, before: str = "200", after: str = "50") -> Any:
    """Return terms of a market with closes as traded."""
    known = sorted(splits)
    return terms(
        splits=lambda symbol: known if symbol == "AAPL" else (),
        close=lambda symbol, on, currency: Decimal(before if on < SPLIT_DAY else after),
    )


def test_rows_before_a_stated_split_are_recorded_as_they_were_traded() -> None:
    """10 bought at 200 before a split of 4 for 1 are 40 at 50 in the file; 8 follow at 60."""
    file = statement(
        deposit("9000"), split(), buy("40", "50", on=EARLIER), buy("8", "60", on=LATER)
    )
    plan = plan_import(file, terms(), Ledger())
    assert trades(plan) == [(Decimal(10), Decimal(200)), (Decimal(8), Decimal(60))]
    assert [one.kind for one in entries(plan)] == ["deposit", "buy", "split", "buy"]
    assert held(plan) == 48
    assert [one.code for one in plan.remarks] == ["split_undone"]
    assert plan.remarks[0].line == 9
    again = plan_import(file, terms(), Ledger(entries(plan)))
    assert not again.entries and {one.certainty for one in again.duplicates} == {"recorded"}


def test_file_from_before_the_split_and_a_later_one_add_each_row_once() -> None:
    first = plan_import(statement(buy("10", "200", on=EARLIER, external_id="a")), terms(), Ledger())
    later = statement(split(), buy("40", "50", on=EARLIER, external_id="a"))
    plan = plan_import(later, terms(), Ledger(entries(first)))
    assert [one.kind for one in entries(plan)] == ["split"]
    assert [one.certainty for one in plan.duplicates] == ["recorded"]


def test_units_that_were_recorded_adjusted_are_not_split_again() -> None:
    row = buy("40", "50", on=EARLIER, external_id="a")
    first = plan_import(statement(row), terms(), Ledger())
    plan = plan_import(statement(split(), row), terms(), Ledger(entries(first)))
    assert not plan.entries
    assert codes(plan) == ["units_recorded_adjusted"]


@pytest.mark.parametrize("stated", [True, False])
def test_closes_show_whether_rows_are_adjusted_for_a_split_of_the_market(stated: bool) -> None:
    known = market((SPLIT_DAY, Decimal(4)))
    own = (split(),) if stated else ()
    adjusted = plan_import(statement(*own, buy("40", "51", on=EARLIER)), known, Ledger())
    assert trades(adjusted) == [(Decimal(10), Decimal(204))]
    assert codes(adjusted) == ["split_undone"]
    traded = plan_import(statement(*own, buy("10", "204", on=EARLIER)), known, Ledger())
    assert trades(traded) == [(Decimal(10), Decimal(204))]
    assert codes(traded) == (["split_not_applied"] if stated else [])


def test_split_that_the_statement_books_leaves_its_rows_as_they_are() -> None:
    file = statement(buy("10", "200", on=EARLIER), split(adjusts=False), sell("40", "51", LATER))
    plan = plan_import(file, market((SPLIT_DAY, Decimal(4))), Ledger())
    assert [one.quantity for one in entries(plan)] == [10, 0, 40]
    assert (held(plan), codes(plan)) == (0, [])


def test_only_the_splits_up_to_the_day_of_the_file_are_undone() -> None:
    """A file of January is adjusted for the split of 2 for 1 then, and not for that of February."""
    day = date(2022, 1, 20)
    known = market((day, Decimal(2)), (SPLIT_DAY, Decimal(4)))
    file = statement(buy("20", "100", on=EARLIER), buy("5", "210", on=date(2022, 1, 25)))
    plan = plan_import(file, known, Ledger())
    assert trades(plan) == [(Decimal(10), Decimal(200)), (Decimal(5), Decimal(210))]


def test_price_that_follows_from_an_own_split_has_no_remark() -> None:
    """A market without the split has closes that are adjusted for it."""
    file = statement(buy("10", "200", on=EARLIER), split(adjusts=False))
    assert codes(plan_import(file, market(before="50"), Ledger())) == []
    alone = statement(buy("10", "200", on=EARLIER))
    assert codes(plan_import(alone, market(before="50"), Ledger())) == ["price_far_from_close"]


def test_thirds_of_units_leave_nothing_after_all_are_sold() -> None:
    file = statement(split("3"), buy("10", "50", on=EARLIER), sell("10", "50", LATER))
    plan = plan_import(file, terms(), Ledger())
    assert entries(plan)[0].quantity == Decimal("3.333333333333")
    assert held(plan) == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 27), st.integers(1, 400)), min_size=1, max_size=6),
    st.lists(
        st.tuples(st.integers(2, 28), st.sampled_from(["2:1", "3:2", "7:3", "1:10"])),
        max_size=3,
        unique_by=lambda one: one[0],
    ),
)
def test_undoing_gives_the_units_that_were_traded(
    rows: list[tuple[int, int]], splits: list[tuple[int, str]]
) -> None:
    """What is held in the end are the units of the file, and before it those that were traded."""
    ratios = {day: Fraction(*map(int, text.split(":"))) for day, text in splits}
    transactions: list[Transaction] = []
    traded, final = [], Fraction(0)
    for day, hundredths in sorted(rows):
        units = Fraction(hundredths * 3 * 7, 100)
        traded.append(units)
        for on, ratio in ratios.items():
            units *= ratio if on > day else 1
        final += units
        quantity = Decimal(units.numerator) / units.denominator
        transactions.append(buy(str(quantity), "10", on=date(2022, 1, day)))
    for day, ratio in ratios.items():
        value = (Decimal(ratio.numerator) / ratio.denominator).quantize(Decimal("1e-12"))
        transactions.append(split(str(value), date(2022, 1, day)))
    plan = plan_import(Statement("example", tuple(transactions)), terms(), Ledger())
    found = [one.quantity for one in entries(plan) if isinstance(one, Entry) and one.quantity]
    near = Fraction(1, 10**10)
    assert all(abs(Fraction(one) - units) < near for one, units in zip(found, traded, strict=True))
    assert abs(Fraction(held(plan)) - final) < near
