"""Statements in OFX and QFX, with sums computed by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.adapters.statements.ofx import Ofx
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from tests.statements import (
    cash,
    check_damaged,
    check_read,
    check_rows,
    codes,
    errors,
    holdings,
    lines_with,
    same_transactions,
    sample,
    totals,
)

READER = Ofx()
DATA = sample("ofx_investment.ofx")
BANK = sample("ofx_bank.qfx")
MARKS = [
    f"<{name}>".encode()
    for name in (
        *("INVBANKTRAN", "BUYSTOCK", "BUYMF", "SELLSTOCK", "REINVEST", "INCOME", "INVEXPENSE"),
        *("MARGININTEREST", "RETOFCAP", "TRANSFER", "SPLIT", "BUYOPT", "STMTTRN"),
    )
]


def bank(*rows: str, currency: str = "EUR") -> bytes:
    return (
        f"OFXHEADER:100\n\n<OFX><STMTRS><CURDEF>{currency}<BANKTRANLIST>\n"
        + "\n".join(rows)
        + "\n</BANKTRANLIST></STMTRS></OFX>"
    ).encode()


def row(amount: str = "5", day: str = "20240102", more: str = "") -> str:
    return f"<STMTTRN><TRNTYPE>OTHER<DTPOSTED>{day}<TRNAMT>{amount}{more}</STMTTRN>"


def invested(kind: str, inside: str) -> bytes:
    return (
        f"<OFX><INVSTMTRS><CURDEF>USD<INVTRANLIST><{kind}><INVTRAN><FITID>1<DTTRADE>20240102"
        f"</INVTRAN><SECID><UNIQUEID>US0000000034<UNIQUEIDTYPE>ISIN</SECID>{inside}</{kind}>"
        "</INVTRANLIST></INVSTMTRS></OFX>"
    ).encode()


def test_samples_are_recognised_and_others_are_not():
    for data in (DATA, BANK, bank(), b"\xef\xbb\xbf" + BANK, BANK.decode().encode("utf-16")):
        assert READER.recognises(data[:65_536], "download")
    assert not READER.recognises(b"<FlexQueryResponse>", "x.ofx")
    assert not READER.recognises(b"", "x.qfx")


def test_positions_of_sample():
    """6 ACME split 3:2; the fund's dividend buys 0.206."""
    assert holdings(READER.read(DATA)) == {
        "ACME": Decimal(9),
        "INDX": Decimal("20.331"),
        "CHAR": Decimal(5),
        "GB0000000031": Decimal(100),
    }


def test_cash_of_sample():
    dollars = (
        10_000 - 1005 - Decimal("1007.25") + 425 + Decimal("8.50") + Decimal("0.42")
        - Decimal("0.20") - 3 + 2 + Decimal("0.75") - 500 - 20
    )  # fmt: skip
    assert cash(READER.read(DATA)) == {"USD": dollars, "GBP": Decimal(-200)}


def test_income_costs_and_taxes_of_sample():
    statement = READER.read(DATA)
    assert totals(statement, EntryKind.DIVIDEND) == {"USD": Decimal(10) + Decimal("10.30")}
    assert totals(statement, EntryKind.DIVIDEND, "withheld") == {"USD": Decimal("1.50")}
    assert totals(statement, EntryKind.TAX) == {"USD": Decimal(10)}
    assert totals(statement, EntryKind.SELL) == {"USD": Decimal(440)}
    assert totals(statement, EntryKind.SELL, "cost") == {"USD": Decimal(5)}
    assert totals(statement, EntryKind.FEE) == {"USD": Decimal("23.20")}
    transfer = next(one for one in statement.transactions if one.external_id == "T11")
    assert (transfer.amount, transfer.cost_basis) == (Decimal(400), Decimal(350))
    assert statement.currency == "USD"


def test_every_row_of_sample_is_read_or_has_a_remark():
    statement = READER.read(DATA)
    check_rows(statement, lines_with(DATA, *MARKS))
    assert codes(statement) == ["unsupported_asset", "corrected_row"]
    assert "BUYOPT" in errors(statement)[0][2]


def test_names_have_the_characters_of_the_stated_code_page():
    named = {one.instrument.name for one in READER.read(DATA).transactions if one.instrument}
    assert "Acme Café Corp" in named
    notes = {one.note for one in READER.read(DATA).transactions}
    assert "ACME CORP R&D" in notes and "ACH DEPOSIT" in notes


def test_bank_statement_in_xml():
    statement = READER.read(BANK)
    assert cash(statement) == {"EUR": Decimal("1500.50") - 200 + Decimal("1.25") - Decimal("3.90")}
    kinds = [one.kind for one in statement.transactions]
    assert kinds == [
        EntryKind.DEPOSIT, EntryKind.WITHDRAWAL, EntryKind.INTEREST, EntryKind.FEE,
    ]  # fmt: skip
    assert statement.transactions[1].note == "Miete <Januar>"
    assert codes(statement) == ["repeated_row"]
    check_rows(statement, lines_with(BANK, *MARKS))


@pytest.mark.parametrize(
    "changed",
    [
        b"\xef\xbb\xbf" + DATA.decode("cp1252").encode(),
        DATA.decode("cp1252").replace("1252", "NONE").replace("USASCII", "UTF-8").encode(),
        DATA.replace(b"\r\n", b"\n"),
        DATA.decode("cp1252").encode("utf-16"),
        DATA.lower().replace(b"acme", b"ACME"),
    ],
    ids=["byte order mark", "utf-8", "unix", "utf-16", "small letters"],
)
def test_other_encodings_give_the_same_cash(changed):
    assert cash(READER.read(changed)) == cash(READER.read(DATA))


def test_sgml_and_xml_forms_give_the_same():
    plain = row(more="<FITID>1<MEMO><NAME>Shop")
    closed = (
        "<STMTTRN><TRNTYPE>OTHER</TRNTYPE><DTPOSTED>20240102</DTPOSTED><TRNAMT>5</TRNAMT>"
        "<FITID>1</FITID><MEMO/><NAME>Shop</NAME></STMTTRN>"
    )
    one, other = READER.read(bank(plain)), READER.read(bank(closed))
    assert same_transactions(one, other)
    assert one.transactions[0].note == "Shop"


@pytest.mark.parametrize("day", ["20240230", "02.01.2024", "", "2024"])
def test_wrong_dates_have_a_remark(day):
    statement = READER.read(bank(row(), row(day=day)))
    assert len(statement.transactions) == 1
    assert [line for line, _, _ in errors(statement)] == [5]


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("1,234.5", "1234.5"),
        ("12,50", "12.5"),
        ("1.234,5", "1234.5"),
        ("+7", "7"),
        ("1,234", "1234"),
    ],
)
def test_both_decimal_marks_are_read(amount, expected):
    assert cash(READER.read(bank(row(amount)))) == {"EUR": Decimal(expected)}


@pytest.mark.parametrize("amount", ["five", "", "1e40", "--1"])
def test_wrong_amounts_have_a_remark(amount):
    statement = READER.read(bank(row(amount)))
    assert not statement.transactions and len(errors(statement)) == 1


def test_row_of_zero_is_skipped():
    statement = READER.read(bank(row("0.00")))
    assert not statement.transactions and codes(statement, errors=False) == ["zero_amount"]


def test_wrong_currency_of_an_account_has_a_remark_on_each_row():
    statement = READER.read(bank(row(), row(), currency="Euro"))
    assert [line for line, _, _ in errors(statement)] == [3, 4, 5]


def test_deleted_row_is_not_booked():
    delete = row("-5", more="<FITID>2<CORRECTFITID>1<CORRECTACTION>DELETE")
    statement = READER.read(bank(row(more="<FITID>1"), delete))
    assert not statement.transactions
    assert codes(statement) == ["corrected_row", "deletes_row"]


def test_same_number_with_other_content_is_read():
    statement = READER.read(bank(row("5", more="<FITID>1"), row("6", more="<FITID>1")))
    assert cash(statement) == {"EUR": Decimal(11)}


def test_converted_money_is_in_the_currency_of_the_account():
    more = "<TOTAL>9<INCOMETYPE>DIV<ORIGCURRENCY><CURRATE>1.1<CURSYM>EUR</ORIGCURRENCY>"
    assert cash(READER.read(invested("INCOME", more))) == {"USD": Decimal(9)}


def test_negative_income_is_an_error():
    statement = READER.read(invested("INCOME", "<TOTAL>-9<INCOMETYPE>DIV"))
    assert codes(statement, errors=True) == ["opposite_sign"]


def test_transfer_without_price_uses_the_close_of_the_day():
    statement = READER.read(invested("TRANSFER", "<UNITS>5<TFERACTION>OUT<POSTYPE>LONG"))
    assert holdings(statement) == {"US0000000034": Decimal(-5)}
    assert statement.transactions[0].price is None


def test_days_are_those_that_are_stated():
    """23:00 in New York is the next day in UTC; the stated day counts."""
    statement = READER.read(bank(row(day="20240102230000.000[-5:EST]")))
    assert statement.transactions[0].on == date(2024, 1, 2)


@pytest.mark.parametrize(
    "declaration", ['<!DOCTYPE OFX SYSTEM "x.dtd">', '<!ENTITY a "b">', "<!ELEMENT OFX ANY>"]
)
def test_declarations_are_refused(declaration):
    with pytest.raises(InvalidRequest, match="line 1 declares a document type or an entity"):
        READER.read(declaration.encode() + b"\n" + BANK)


def test_truncated_file_is_refused():
    with pytest.raises(InvalidRequest, match="the file ends too early, since INVTRANLIST is not"):
        READER.read(DATA[: DATA.index(b"</INVTRANLIST>")])


def test_stray_end_tag_is_refused_with_its_line():
    with pytest.raises(InvalidRequest, match="line 4 closes 'STOCK', which is not open"):
        READER.read(bank("</STOCK>"))


def test_deep_files_are_refused():
    with pytest.raises(InvalidRequest, match="exceeds 60 elements inside each other"):
        READER.read(b"<OFX>" + b"<A>" * 100_000)


def test_open_cdata_is_refused():
    with pytest.raises(InvalidRequest, match="CDATA that does not end"):
        READER.read(b"<OFX><A>" + b"<![CDATA[" * 300_000)


def test_file_without_statement_is_an_error():
    assert codes(READER.read(b"<OFX><SIGNON>1</OFX>"), errors=True) == ["missing_statement"]


def test_damaged_files_are_read_or_refused():
    check_damaged(READER, DATA)
    check_damaged(READER, BANK)


TAGS = ["STMTTRN", "TRNAMT", "DTPOSTED", "MEMO", "BUYSTOCK", "INVBUY", "SECID", "SPLIT", "UNITS"]
pieces = st.sampled_from(
    [f"<{tag}>" for tag in TAGS]
    + [f"</{tag}>" for tag in TAGS]
    + ["1", "-3", "20240102", "x", "\n"]
)


@settings(max_examples=80, deadline=None)
@given(st.lists(pieces, max_size=25))
def test_any_order_of_tags_is_read_or_refused(tags):
    check_read(READER, bank("".join(tags)))
