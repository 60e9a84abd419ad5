"""Activities of Wealthfolio, with sums computed by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rebalancer.adapters.statements.wealthfolio_csv import WealthfolioCsv
from rebalancer.domain.portfolio.entries import EntryKind
from tests.statements import (
    cash,
    check_damaged,
    check_rows,
    codes,
    errors,
    holdings,
    same_transactions,
    sample,
    totals,
)

READER = WealthfolioCsv()
DATA = sample("wealthfolio.csv")
HEADER = b"date,symbol,quantity,activityType,unitPrice,currency,fee,amount,subtype\n"


def test_sample_is_recognised_and_others_are_not():
    assert READER.recognises(DATA, "activities.csv")
    assert not READER.recognises(b"date,symbol,quantity,avgCost,currency\n", "wealthfolio.csv")


def test_positions_of_sample():
    """0.333333333333 units are rounded in the file; the split triples 6.333333333333."""
    assert holdings(READER.read(DATA)) == {
        "MSFT": Decimal("6.333333333333") * 3,
        "VTI": Decimal("0.05"),
        "LWAT.L": Decimal(100),
    }


def test_cash_of_sample():
    third = (Decimal("0.333333333333") * Decimal("368.604651162791")).quantize(Decimal("1e-12"))
    dollars = (
        10_000 - Decimal("2406.25") - third + Decimal("7.50") + 998 + Decimal("3.21")
        - Decimal("4.50") - 2 - 1001 - Decimal("600.03") + 5
    )  # fmt: skip
    assert cash(READER.read(DATA)) == {"USD": dollars, "EUR": Decimal(920)}


def test_income_and_costs_of_sample():
    statement = READER.read(DATA)
    assert totals(statement, EntryKind.DIVIDEND) == {"USD": Decimal("17.50")}
    assert totals(statement, EntryKind.INTEREST) == {"USD": Decimal("8.21")}
    assert totals(statement, EntryKind.FEE) == {"USD": Decimal("5.50")}
    assert totals(statement, EntryKind.TAX) == {"USD": Decimal(2)}
    transfer = next(one for one in statement.transactions if one.currency == "GBP")
    assert (transfer.amount, transfer.price, transfer.cost_basis) == (250, Decimal("2.5"), 250)


def test_every_row_of_sample_is_read_or_has_a_remark():
    statement = READER.read(DATA)
    check_rows(statement, range(2, 19))
    assert codes(statement) == ["exchange_side", "other_income", "unknown_kind", "unknown_kind"]
    assert [line for line, _, _ in errors(statement)] == [17, 18]


def test_columns_of_the_export_of_the_app_are_read():
    data = (
        b"id,accountName,assetId,activityType,activityDate,quantity,unitPrice,currency,fee,isDraft\n"
        b"a1,Broker,MSFT,BUY,2023-01-03T15:02:36.329Z,2,100,USD,1,false\n"
        b"a2,Other,MSFT,BUY,2023-01-03T15:02:36.329Z,2,100,USD,1,true\n"
    )
    statement = READER.read(data)
    assert cash(statement) == {"USD": Decimal(-201)}
    assert codes(statement) == ["several_accounts", "draft"]
    assert statement.transactions[0].external_id == "a1"


@pytest.mark.parametrize(
    "changed",
    [
        b"\xef\xbb\xbf" + DATA,
        DATA.decode().encode("utf-16"),
        DATA.replace(b"\n", b"\r\n"),
        DATA.replace(b'"10,000.00"', b"10000").replace(b",", b";"),
    ],
)
def test_other_encodings_and_delimiters_give_the_same(changed):
    assert READER.recognises(changed, "")
    assert same_transactions(READER.read(changed), READER.read(DATA))


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (b"soon,MSFT,1,BUY,1,USD,0,,", "unreadable_date"),
        (b"2023-01-01,MSFT,one,BUY,1,USD,0,,", "unreadable_number"),
        (b"2023-01-01,MSFT,0,BUY,1,USD,0,,", "missing_quantity"),
        (b"2023-01-01,MSFT,1,GIFT,1,USD,0,,", "unknown_kind"),
        (b"2023-01-01,$CASH-USD,1,BUY,1,USD,0,,", "missing_instrument"),
        (b"2023-01-01,MSFT,1,BUY,1,dollar,0,,", "invalid_currency"),
        (b"2023-01-01,MSFT,1,BUY,1,USD,-1,,", "amount_out_of_range"),
        (b"2023-01-01,MSFT,1,SPLIT,1,USD,0,,", "invalid_ratio"),
        (b"2023-01-01,$CASH-USD,1,CONVERSION_OUT,1,USD,0,5,", "incomplete_pair"),
        (b"2023-01-01,MSFT,1", "incomplete_row"),
    ],
)
def test_wrong_rows_have_a_remark_with_their_line(row, code):
    statement = READER.read(HEADER + b"2023-01-01,MSFT,1,BUY,1,USD,0,,\n" + row + b"\n")
    assert len(statement.transactions) == 1
    assert [(line, found) for line, found, _ in errors(statement)] == [(3, code)]


def test_row_of_zero_is_skipped():
    statement = READER.read(HEADER + b"2023-01-01,$CASH-USD,1,FEE,0,USD,0,0,\n")
    assert not statement.transactions and codes(statement, errors=False) == ["zero_amount"]


def test_damaged_files_are_read_or_refused():
    check_damaged(READER, DATA)
