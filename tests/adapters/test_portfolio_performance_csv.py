"""CSV exports of Portfolio Performance, with sums computed by hand."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from rebalancer.adapters.statements.portfolio_performance_csv import PortfolioPerformanceCsv
from rebalancer.domain.errors import InvalidRequest
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

READER = PortfolioPerformanceCsv()
ACCOUNT = sample("portfolio_performance_konto.csv")
DEPOT = sample("portfolio_performance_depot.csv")
ALL = sample("portfolio_performance_all.csv")
HEADER = (
    "Date,Type,Value,Transaction Currency,Gross Amount,Currency Gross Amount,Exchange Rate,Fees,"
    "Taxes,Shares,ISIN,WKN,Ticker Symbol,Security Name,Note\n"
)


def table(*rows: str) -> bytes:
    return (HEADER + "\n".join(rows) + "\n").encode()


def test_samples_are_recognised_and_others_are_not():
    for data in (ACCOUNT, DEPOT, ALL):
        assert READER.recognises(data, "export.csv")
    assert not READER.recognises(b"Date,Type,Value\n2023-01-01,Buy,1\n", "portfolio.csv")
    assert not READER.recognises(b"", "")


def test_cash_of_the_account():
    assert cash(READER.read(ACCOUNT)) == {
        "EUR": 10_000 - Decimal("1017.50") - 2000 + Decimal("15.30") + 475 + Decimal("0.75")
        - Decimal("4.20") - 10 + Decimal("2.50") - 8 + 3 - 500
    }  # fmt: skip


def test_income_costs_and_taxes_of_the_account():
    statement = READER.read(ACCOUNT)
    assert totals(statement, EntryKind.DIVIDEND) == {"EUR": Decimal(18)}
    assert totals(statement, EntryKind.DIVIDEND, "withheld") == {"EUR": Decimal("2.20")}
    assert totals(statement, EntryKind.INTEREST) == {"EUR": Decimal("6.50")}
    assert totals(statement, EntryKind.TAX) == {"EUR": Decimal(23)}
    assert totals(statement, EntryKind.BUY) == {"EUR": Decimal(1000)}
    assert totals(statement, EntryKind.BUY, "cost") == {"EUR": Decimal("17.50")}
    assert totals(statement, EntryKind.SELL) == {"EUR": Decimal(500)}
    assert totals(statement, EntryKind.FEE) == {"EUR": Decimal("14.70")}
    assert statement.currency == "EUR"


def test_positions_of_the_securities_account():
    statement = READER.read(DEPOT)
    assert holdings(statement) == {
        "MUE.DE": Decimal("7.5"),
        "LWAT.L": Decimal(90),
        "CHAR": Decimal(20),
    }
    delivery = next(one for one in statement.transactions if one.currency == "GBP")
    assert (delivery.amount, delivery.price) == (Decimal(1250), Decimal("12.5"))


def test_trades_have_the_same_identifier_in_both_exports():
    """So the import of the second file knows them, and cash is counted once."""
    one = {t.external_id: t for t in READER.read(ACCOUNT).transactions if t.external_id}
    other = {t.external_id: t for t in READER.read(DEPOT).transactions if t.external_id}
    assert set(one) == set(other) and len(one) == 3  # a purchase, a sale and its tax
    assert {id: attrs.evolve(t, line=1) for id, t in one.items()} == {
        id: attrs.evolve(t, line=1) for id, t in other.items()
    }


def test_both_rows_of_a_trade_in_one_file_count_once():
    statement = READER.read(ALL)
    assert cash(statement) == {"EUR": 10_000 - Decimal("1017.50") - 1000 + 475 - 500}
    assert holdings(statement) == {"MUE.DE": Decimal("17.5"), "LWAT.L": Decimal(100)}
    assert [(one.line, one.code) for one in statement.remarks] == [
        (3, "cash_side"),
        (8, "cash_side"),
    ]
    check_rows(statement, range(2, 11))


def test_every_row_of_samples_is_read_or_has_a_remark():
    check_rows(READER.read(ACCOUNT), [*range(2, 14), 15])
    check_rows(READER.read(DEPOT), range(2, 7))
    assert codes(READER.read(ACCOUNT)) == ["one_sided_transfer", "refund", "refund", "unknown_kind"]
    assert errors(READER.read(ACCOUNT))[0][0] == 15


def test_german_and_english_exports_give_the_same():
    german = (
        ALL.decode().splitlines()[0].replace(",", ";"),
        "2023-01-02;Einlage;10.000,00;EUR;;;;;;;;;;;",
        "2023-03-15;Dividende;15,30;EUR;20,00;USD;0,9;0,50;2,20;20;US0000000034;;CHAR;C;",
    )
    english = table(
        '2023-01-02,Deposit,"10,000.00",EUR,,,,,,,,,,,',
        "2023-03-15,Dividend,15.30,EUR,20.00,USD,0.9,0.50,2.20,20,US0000000034,,CHAR,C,",
    )
    assert same_transactions(READER.read("\n".join(german).encode()), READER.read(english))


@pytest.mark.parametrize(
    "changed",
    [
        ACCOUNT[3:],
        ACCOUNT.decode("utf-8-sig").encode("latin-1"),
        ACCOUNT.decode("utf-8-sig").encode("utf-16"),
        ACCOUNT.replace(b"\n", b"\r\n"),
    ],
    ids=["no mark", "latin-1", "utf-16", "windows"],
)
def test_other_encodings_give_the_same(changed):
    assert READER.recognises(changed, "")
    assert cash(READER.read(changed)) == cash(READER.read(ACCOUNT))


def test_older_exports_without_fees_are_read():
    data = (
        "Date;Type;Value;Transaction Currency;Shares;ISIN;WKN;Ticker Symbol;Security Name;Note\n"
        "2016-01-02;Buy;-1,010.00;EUR;10;DE000A000018;A00001;MUE.DE;M;\n"
    )
    statement = READER.read(data.encode())
    assert cash(statement) == {"EUR": Decimal(-1010)}
    assert holdings(statement) == {"MUE.DE": Decimal(10)}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("2023-02-30,Deposit,1.00,EUR,,,,,,,,,,,", "unreadable_date"),
        (",Deposit,1.00,EUR,,,,,,,,,,,", "missing_value"),
        ("2023-02-01,Gift,1.00,EUR,,,,,,,,,,,", "unknown_kind"),
        ("2023-02-01,Deposit,one,EUR,,,,,,,,,,,", "unreadable_number"),
        ("2023-02-01,Deposit,,EUR,,,,,,,,,,,", "missing_value"),
        ("2023-02-01,Deposit,-5.00,EUR,,,,,,,,,,,", "opposite_sign"),
        ("2023-02-01,Deposit,5.00,Euro,,,,,,,,,,,", "invalid_currency"),
        ("2023-02-01,Buy,5.00,EUR,,,,,,,DE000A000018,,,,", "missing_quantity"),
        ("2023-02-01,Buy,5.00,EUR,,,,,,1,,,,,", "missing_instrument"),
        ("2023-02-01,Buy,5.00,EUR,,,,9.00,,1,DE000A000018,,,,", "amount_out_of_range"),
        ("2023-02-01,Deposit,5.00", "incomplete_row"),
        ('2023-02-01,"Deposit,5.00,EUR,,,,,,,,,,,', "malformed_row"),
    ],
)
def test_wrong_rows_have_a_remark_with_their_line(row, code):
    good = "2023-01-02,Deposit,1.00,EUR,,,,,,,,,,,"
    statement = READER.read(table(good, row))
    assert len(statement.transactions) == 1
    assert [(line, found) for line, found, _ in errors(statement)] == [(3, code)]


def test_row_of_zero_is_skipped():
    statement = READER.read(table("2023-02-01,Deposit,0.00,EUR,,,,,,,,,,,"))
    assert not statement.transactions and codes(statement, errors=False) == ["zero_amount"]


def test_mixed_number_formats_are_refused():
    with pytest.raises(InvalidRequest, match="export the file again in one language"):
        READER.read(
            table(
                "2023-01-02,Deposit,1.50,EUR,,,,,,,,,,,", '2023-01-02,Fees,"-1,50",EUR' + "," * 11
            )
        )


def test_damaged_files_are_read_or_refused():
    check_damaged(READER, ACCOUNT, steps=60)
    check_damaged(READER, ALL, steps=60)
