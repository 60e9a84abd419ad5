"""What a statement would add to a ledger."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.import_balances import (
    Overdraft,
    PositionChange,
    compare_balances,
    replay_balances,
)
from rebalancer.domain.portfolio.import_duplicates import Certainty
from rebalancer.domain.portfolio.import_plan import ImportPlan, plan_import
from rebalancer.domain.portfolio.import_terms import ImportTerms
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.missing_cash import deposit_missing_cash
from rebalancer.domain.portfolio.statements import Instrument, Remark, Statement, Transaction
from tests.builders import EUR, USD

PORTFOLIO = UUID(int=7)
NOW = datetime(2022, 6, 1, tzinfo=UTC)
MONDAY = date(2022, 1, 3)
AAPL, KO = Instrument("AAPL", "US0378331005", "Apple Inc."), Instrument("KO")


def terms(**changes: Any) -> ImportTerms:
    def refuse(code: str) -> None:
        if code not in ("USD", "EUR"):
            raise InvalidRequest(f"{code} has no exchange rate", code="missing_rate")

    return attrs.evolve(
        ImportTerms(
            portfolio=PORTFOLIO,
            base=USD,
            recorded=NOW,
            symbols={"AAPL", "KO", "MSFT"},
            market_day=lambda day, kind: day,
            close=lambda symbol, day, currency: Decimal(50) if symbol == "KO" else None,
            check_currency=refuse,
            currency_of=lambda symbol: "USD",
        ),
        **changes,
    )


def deposit(amount: str = "1000", *, line: int = 2, on: date = MONDAY, **more: Any) -> Transaction:
    return Transaction(line, EntryKind.DEPOSIT, on, Decimal(amount), **more)


def buy(quantity: str, price: str, *, line: int = 3, **more: Any) -> Transaction:
    values: dict[str, Any] = {
        "on": MONDAY,
        "amount": Decimal(quantity) * Decimal(price),
        "instrument": AAPL,
        "quantity": Decimal(quantity),
        "price": Decimal(price),
    }
    return Transaction(line, EntryKind.BUY, **(values | more))


def statement(*transactions: Transaction, **more: Any) -> Statement:
    return Statement("example", transactions, **more)


def entries(plan: ImportPlan) -> tuple[Entry, ...]:
    return tuple(planned.entry for planned in plan.entries)


def test_transactions_become_entries_with_their_lines() -> None:
    plan = plan_import(
        statement(deposit(), buy("2", "150.25", cost=Decimal("1.234"))), terms(), Ledger()
    )
    assert [one.line for one in plan.entries] == [2, 3]
    paid, bought = entries(plan)
    assert (paid.kind, paid.amount, paid.currency) == (EntryKind.DEPOSIT, Decimal(1000), None)
    assert (bought.symbol, bought.quantity) == ("AAPL", Decimal(2))
    assert bought.price == Decimal("150.25")
    assert bought.amount == Decimal("300.50")
    assert bought.cost == Decimal("1.23")  # rounded to the cent
    assert plan.errors == ()


def test_same_statement_twice_adds_nothing() -> None:
    file = statement(deposit(), buy("2", "100"), buy("2", "100", line=4))
    first = plan_import(file, terms(), Ledger())
    assert len(first.entries) == 3  # equal rows are two entries
    again = plan_import(file, terms(), Ledger(entries(first)))
    assert again.entries == ()
    assert [one.certainty for one in again.duplicates] == [Certainty.RECORDED] * 3
    assert [one.line for one in again.duplicates] == [2, 3, 4]


def test_external_id_counts_more_than_content() -> None:
    first = plan_import(statement(deposit(external_id="x")), terms(), Ledger())
    ledger = Ledger(entries(first))
    other = plan_import(statement(deposit(on=date(2022, 1, 4), external_id="y")), terms(), ledger)
    assert len(other.entries) == 1
    corrected = plan_import(statement(deposit("999", external_id="x")), terms(), ledger)
    assert corrected.entries == ()
    assert [one.certainty for one in corrected.duplicates] == [Certainty.CHANGED]
    assert corrected.duplicates[0].recorded == ledger.entries[0]


def test_one_external_id_of_two_bookings_gives_two_entries() -> None:
    income = Transaction(
        2,
        EntryKind.DIVIDEND,
        MONDAY,
        Decimal(10),
        instrument=KO,
        external_id="1",
    )
    tax = attrs.evolve(income, line=3, kind=EntryKind.TAX, amount=Decimal("1.5"))
    assert len(plan_import(statement(income, tax), terms(), Ledger()).entries) == 2


def test_entry_recorded_by_hand_is_a_probable_duplicate() -> None:
    by_hand = Entry(UUID(int=1), EntryKind.DEPOSIT, MONDAY, NOW, Decimal(1000))
    file = statement(deposit(), deposit(line=3))
    plan = plan_import(file, terms(), Ledger((by_hand,)))
    assert [one.line for one in plan.entries] == [3]  # each recorded entry stands for one row
    assert [(one.line, one.certainty, one.recorded.id) for one in plan.duplicates] == [
        (2, Certainty.PROBABLE, by_hand.id)
    ]
    kept = plan_import(file, terms(include_duplicates=True), Ledger((by_hand,)))
    assert [one.line for one in kept.entries] == [2, 3]
    assert kept.duplicates[0].is_added


def test_entry_that_its_owner_voided_is_not_added_again() -> None:
    file = statement(deposit())
    (entry,) = entries(plan_import(file, terms(), Ledger()))
    ledger = Ledger((entry, entry.reversal(recorded=NOW)))
    plan = plan_import(file, terms(), ledger)
    assert plan.entries == ()
    assert [one.certainty for one in plan.duplicates] == [Certainty.VOID]


def test_entry_of_an_undone_import_is_added_again_with_another_id() -> None:
    file = statement(deposit())
    (entry,) = entries(plan_import(file, terms(), Ledger()))
    ledger = Ledger((entry, entry.reversal(recorded=NOW)))
    (again,) = entries(plan_import(file, terms(), ledger, undone=[entry.id]))
    assert again.id != entry.id
    assert attrs.evolve(again, id=entry.id) == entry
    third = plan_import(file, terms(), ledger.followed_by([again]), undone=[entry.id])
    assert third.entries == ()


def test_unknown_instrument_is_listed_with_its_lines_and_the_mapping_names_it() -> None:
    siemens = Instrument("SIE", "DE0007236101", "Siemens AG")
    file = statement(
        deposit(),
        buy("1", "10", line=3, instrument=siemens),
        buy("1", "11", line=4, instrument=attrs.evolve(siemens, name="")),
    )
    plan = plan_import(file, terms(), Ledger())
    (unknown,) = plan.unknown
    assert (unknown.name, unknown.lines) == ("SIE", (3, 4))
    assert unknown.instrument == siemens
    assert [one.line for one in plan.entries] == [2]
    for name in ("sie", "DE0007236101", "Siemens AG"):
        mapped = plan_import(file, terms(mapping={name: "MSFT"}), Ledger())
        assert mapped.unknown == ()
        assert [entry.symbol for entry in entries(mapped)] == [None, "MSFT", "MSFT"]
    left_out = plan_import(file, terms(mapping={"SIE": ""}), Ledger())
    assert (left_out.left_out, left_out.unknown) == (2, ())
    own = plan_import(file, terms(mapping={"SIE": "SIE"}), Ledger())
    assert {entry.symbol for entry in entries(own)} == {None, "SIE"}
    kept = plan_import(file, terms(keep_unknown=True), Ledger())
    assert entries(kept) == entries(own)


def test_mapping_is_remembered_and_does_not_change_ids() -> None:
    file = statement(buy("1", "10", instrument=Instrument("SIE")))
    given_now = plan_import(file, terms(mapping={"SIE": "MSFT"}), Ledger())
    remembered = plan_import(file, terms(remembered={"SIE": "MSFT"}), Ledger())
    assert entries(given_now) == entries(remembered)
    assert remembered.mapping == {"SIE": "MSFT"}
    other = plan_import(file, terms(mapping={"SIE": "KO"}), Ledger(entries(given_now)))
    assert [one.certainty for one in other.duplicates] == [Certainty.CHANGED]


def test_mapping_to_a_symbol_without_prices_is_refused() -> None:
    file = statement(buy("1", "10", instrument=Instrument("SIE")))
    with pytest.raises(InvalidRequest, match="no prices of MSTF are known") as caught:
        plan_import(file, terms(mapping={"SIE": "MSTF"}), Ledger())
    assert (caught.value.field, caught.value.code) == ("mapping", "unknown_symbol")


def test_name_in_the_mapping_that_the_statement_lacks_is_reported() -> None:
    plan = plan_import(statement(deposit()), terms(mapping={"SEI": "KO"}), Ledger())
    assert [(one.code, one.is_error) for one in plan.remarks] == [("unused_mapping", False)]


def test_same_symbol_with_two_isins_is_named_by_isin() -> None:
    file = statement(
        buy("1", "10", instrument=Instrument("SIE", "DE0007236101")),
        buy("1", "10", line=4, instrument=Instrument("SIE", "US8261975010")),
    )
    plan = plan_import(file, terms(), Ledger())
    assert [one.name for one in plan.unknown] == ["DE0007236101", "US8261975010"]


def test_asset_of_another_currency_is_reported_once() -> None:
    listed = Instrument("AAPL", currency="EUR")
    file = statement(buy("1", "10", instrument=listed), buy("1", "11", line=4, instrument=listed))
    plan = plan_import(file, terms(), Ledger())
    assert [(one.line, one.code) for one in plan.remarks] == [(3, "other_currency")]
    assert len(plan.entries) == 2


@pytest.mark.parametrize(
    ("transaction", "code"),
    [
        (buy("0", "10"), "not_positive"),
        (deposit(currency="XXX"), "missing_rate"),
        (deposit(currency="dollars"), "invalid_currency"),
        (Transaction(3, EntryKind.SPLIT, MONDAY, instrument=KO), "missing_value"),
    ],
)
def test_invalid_transaction_is_an_error_of_its_line_and_others_are_planned(
    transaction: Transaction, code: str
) -> None:
    file = statement(transaction, deposit("5", line=9), remarks=(Remark(1, "skipped", "skipped"),))
    plan = plan_import(file, terms(), Ledger())
    assert [(one.line, one.code) for one in plan.errors] == [(transaction.line, code)]
    assert plan.remarks[0].code == "skipped"
    assert [one.line for one in plan.entries] == [9]


def test_missing_price_and_amount_follow_from_each_other() -> None:
    file = statement(
        buy("3", "10", amount=Decimal(0)),
        attrs.evolve(buy("3", "10", line=4, amount=Decimal(10)), price=None),
        Transaction(5, EntryKind.DEPOSIT, MONDAY, instrument=KO, quantity=Decimal(2)),
    )
    bought, priced, moved = entries(plan_import(file, terms(), Ledger()))
    assert bought.amount == Decimal(30)
    assert priced.price == Decimal("3.333333333333")
    assert (moved.price, moved.amount) == (Decimal(50), Decimal(100))  # the close of KO


def test_amount_below_a_cent_is_left_out_with_a_remark() -> None:
    interest = Transaction(2, EntryKind.INTEREST, MONDAY, Decimal("0.004"))
    plan = plan_import(statement(interest), terms(), Ledger())
    assert plan.entries == ()
    assert [(one.code, one.is_error) for one in plan.remarks] == [("rounds_to_zero", False)]


def test_currency_of_the_account_counts_where_a_line_states_none() -> None:
    plan = plan_import(statement(deposit(), currency="EUR"), terms(), Ledger())
    assert entries(plan)[0].currency == "EUR"
    same = plan_import(statement(deposit(), currency="EUR"), terms(base=EUR), Ledger())
    assert entries(same)[0].currency is None


def test_statement_with_the_latest_day_first_is_recorded_in_order() -> None:
    tuesday = date(2022, 1, 4)
    file = statement(
        buy("1", "10", line=2, on=tuesday),
        buy("2", "10", line=3, on=tuesday),
        deposit(line=4),
    )
    assert [one.line for one in plan_import(file, terms(), Ledger()).entries] == [4, 3, 2]


def test_note_becomes_one_visible_line() -> None:
    file = statement(deposit(note="two\n lines\u200b\x1b[31m " + "x" * 600))
    note = entries(plan_import(file, terms(), Ledger()))[0].note
    assert note.startswith("two lines[31m xxx")
    assert len(note) == 500


def test_overdrafts_are_listed_by_day_with_the_balances_after() -> None:
    tuesday = date(2022, 1, 4)
    sale = Transaction(
        5,
        EntryKind.SELL,
        tuesday,
        Decimal(60),
        instrument=KO,
        quantity=Decimal(1),
        price=Decimal(60),
    )
    plan = plan_import(statement(deposit("100"), buy("2", "75"), sale), terms(), Ledger())
    cash, units, overdrafts = replay_balances(Ledger(entries(plan)), USD)
    assert cash == {"USD": Decimal(10)}  # 100 - 150 + 60
    assert units == {"AAPL": Decimal(2), "KO": Decimal(-1)}
    assert overdrafts == [
        Overdraft(MONDAY, None, "USD", Decimal(-50)),
        Overdraft(tuesday, "KO", None, Decimal(-1)),
    ]
    assert "cash in USD would be -50.00 at the end of 2022-01-03" in overdrafts[0].message


def test_changes_name_cash_and_holdings_before_and_after() -> None:
    before = Ledger(entries(plan_import(statement(deposit("500")), terms(), Ledger())))
    plan = plan_import(statement(buy("2", "75")), terms(), before)
    assert compare_balances(before, before.followed_by(entries(plan)), USD) == [
        PositionChange(None, "USD", Decimal(500), Decimal(350)),
        PositionChange("AAPL", None, Decimal(0), Decimal(2)),
    ]


def test_price_far_from_the_close_is_remarked_once_for_each_asset() -> None:
    near, far = (
        buy("1", price, instrument=KO, line=line) for price, line in (("40", 2), ("12.50", 3))
    )
    plan = plan_import(statement(near, far, attrs.evolve(far, line=4)), terms(), Ledger())
    assert [(one.line, one.code, one.is_error) for one in plan.remarks] == [
        (3, "price_far_from_close", False)
    ]
    assert len(plan.entries) == 3
    abroad = buy("1", "12.50", instrument=KO, currency="EUR")
    closes = terms(close=lambda symbol, day, currency: Decimal(50) if currency == "USD" else None)
    assert plan_import(statement(abroad), closes, Ledger()).remarks == ()


def test_missing_cash_is_deposited_on_each_day_in_its_currency() -> None:
    tuesday, friday = date(2022, 1, 4), date(2022, 1, 7)
    sale = Transaction(
        6,
        EntryKind.SELL,
        tuesday,
        Decimal(100),
        instrument=AAPL,
        quantity=Decimal(1),
        price=Decimal(100),
    )
    file = statement(
        deposit("50"),
        buy("2", "75"),  # 100 are missing
        buy("1", "30", line=4, currency="EUR"),  # 30 are missing
        sale,
        buy("1", "120", line=7, on=friday),  # 20 are missing
    )
    plan = plan_import(file, terms(), Ledger())
    funded = deposit_missing_cash(plan, Ledger(), USD)
    added = [one.entry for one in funded.entries if one.line == 0]
    assert [(one.on, one.currency, one.amount) for one in added] == [
        (MONDAY, None, Decimal(100)),
        (MONDAY, "EUR", Decimal(30)),
        (friday, None, Decimal(20)),
    ]
    ledger = Ledger(entries(funded))
    assert replay_balances(ledger, USD)[2] == []
    assert ledger.positions.cash == 0
    again = plan_import(file, terms(), ledger)
    assert deposit_missing_cash(again, ledger, USD).entries == ()
    assert deposit_missing_cash(plan, Ledger(), USD) == funded


_AMOUNTS = st.integers(1, 5).map(str)
_ROWS = st.lists(
    st.builds(
        deposit,
        _AMOUNTS,
        on=st.dates(date(2022, 1, 3), date(2022, 1, 6)),
        external_id=st.sampled_from(["", "", "a", "b"]),
    ),
    max_size=12,
)


@given(_ROWS)
def test_every_row_is_added_once_however_often_the_file_is_read(rows: list[Transaction]) -> None:
    file = statement(*rows)
    first = plan_import(file, terms(), Ledger())
    assert len({entry.id for entry in entries(first)}) == len(rows)
    assert plan_import(file, terms(), Ledger(entries(first))).entries == ()


@given(_ROWS, st.integers(0, 12))
def test_overlapping_files_of_whole_days_add_each_row_once(
    rows: list[Transaction], days: int
) -> None:
    cut = date(2022, 1, 3 + days % 5)
    early = statement(*(row for row in rows if row.on < cut))
    first = plan_import(early, terms(), Ledger())
    ledger = Ledger(entries(first))
    second = plan_import(statement(*rows), terms(), ledger)
    total = ledger.followed_by(entries(second))
    assert len(total.entries) == len(rows)
    assert total.positions.cash == sum(row.amount for row in rows)
