"""Flex Queries of Interactive Brokers, with sums computed by hand."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.adapters.statements.ibkr_flex import IbkrFlex
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument
from tests.histories import make_history, to_flex
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

READER = IbkrFlex()
DATA = sample("ibkr_flex.xml")
ROWS = (b"<Trade ", b"<Order ", b"<Lot ", b"<CashTransaction ", b"<CorporateAction ", b"<Transfer ")


def query(*rows: str, section: str = "Trades", **fields: str) -> bytes:
    stated = "".join(f' {name}="{value}"' for name, value in fields.items())
    return (
        f'<FlexQueryResponse><FlexStatements><FlexStatement accountId="U1"{stated}>'
        f"<{section}>\n" + "\n".join(rows) + f"\n</{section}></FlexStatement></FlexStatements>"
        "</FlexQueryResponse>"
    ).encode()


def trade(**fields: str) -> str:
    stated = {
        "currency": "USD",
        "assetCategory": "STK",
        "symbol": "AAPL",
        "tradeDate": "20240110",
        "quantity": "10",
        "tradePrice": "5",
        "ibCommission": "-1",
    } | fields
    return "<Trade " + " ".join(f'{name}="{value}"' for name, value in stated.items()) + "/>"


def cash_row(kind: str, amount: str, **fields: str) -> str:
    stated = {"currency": "USD", "type": kind, "amount": amount, "dateTime": "20240215"} | fields
    return "<CashTransaction " + " ".join(f'{n}="{v}"' for n, v in stated.items()) + "/>"


def test_sample_is_recognised_and_others_are_not():
    assert READER.recognises(DATA[:65_536], "export.txt")
    assert not READER.recognises(b"<client><version>62</version></client>", "flex.xml")
    assert not READER.recognises(b"", "")


def test_positions_of_sample():
    """10 AAPL split 4:1, one NEWCO per 8 AAPL, 3 BIG per NEWCO, renamed to HUGE."""
    assert holdings(READER.read(DATA)) == {
        "AAPL": Decimal(40),
        "SAP": Decimal(1000 - 400 + 50),
        "HUGE": Decimal(15),
        "VTI": Decimal(10),
    }


def test_cash_of_sample():
    euros = (
        Decimal("10000")
        - 500  # deposit and withdrawal
        - Decimal("1410.10")
        + Decimal("597.5")
        - Decimal("78.5")  # SAP
        - 3000
        - Decimal("1.83")
        + 100  # exchanges
        - Decimal("5.5")
        - Decimal("1.23")
        - 1
        + Decimal("0.4")
    )
    dollars = (
        Decimal("-1113.35")
        - Decimal("743.05")  # AAPL
        + 3300
        - 105  # exchanges
        + Decimal("2.4")
        - Decimal("0.36")
        + Decimal("2.6")
        + Decimal("4.5")
        + 10
        + Decimal("42.5")  # merger, transfer
    )
    assert cash(READER.read(DATA)) == {"EUR": euros, "USD": dollars}


def test_income_costs_and_taxes_of_sample():
    statement = READER.read(DATA)
    assert totals(statement, EntryKind.DIVIDEND) == {"USD": Decimal("5.0")}
    assert totals(statement, EntryKind.DIVIDEND, "withheld") == {"USD": Decimal("0.36")}
    assert totals(statement, EntryKind.TAX) == {"EUR": Decimal("5.5")}
    assert totals(statement, EntryKind.BUY, "cost") == {"USD": Decimal(1), "EUR": Decimal("6.10")}
    assert totals(statement, EntryKind.SELL, "cost") == {"EUR": Decimal("2.5")}
    assert statement.currency == "EUR"


def test_corporate_actions_take_effect_on_their_report_date():
    split = next(one for one in READER.read(DATA).transactions if one.kind is EntryKind.SPLIT)
    assert (split.on, split.ratio) == (date(2024, 6, 11), Decimal(4))
    assert split.instrument is not None and split.instrument.isin == "US0378331005"


def test_every_row_of_sample_is_read_or_has_a_remark():
    statement = READER.read(DATA)
    check_rows(statement, lines_with(DATA, *ROWS))
    assert sorted(codes(statement, errors=True)) == [
        "unknown_kind", "unsupported_action", "unsupported_asset",
    ]  # fmt: skip
    assert "section_skipped" in codes(statement)
    for line, _, message in errors(statement):
        assert line and "by hand" in message


def test_external_ids_are_those_of_the_broker_and_distinct():
    ids = [one.external_id for one in READER.read(DATA).transactions]
    assert "9101" in ids and "9108:commission" in ids
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "changed",
    [
        b"\xef\xbb\xbf" + DATA,
        DATA.decode().encode("utf-16"),
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n' + DATA,
        DATA.replace(b"\n", b"\r\n"),
        b"\n\n" + DATA,
    ],
    ids=["byte order mark", "utf-16", "declared", "windows", "blank lines"],
)
def test_other_encodings_give_the_same(changed):
    assert READER.recognises(changed[:65_536], "")
    assert same_transactions(READER.read(changed), READER.read(DATA))


def test_latin_1_without_declaration_is_read():
    changed = DATA.replace(b"SAP SE", "SAP Gesellschaft für Software".encode("latin-1"))
    named = [one.instrument for one in READER.read(changed).transactions if one.instrument]
    assert "SAP Gesellschaft für Software" in {one.name for one in named}


@pytest.mark.parametrize(
    ("convert", "day"),
    [
        (lambda d: f"{d[:4]}-{d[4:6]}-{d[6:]}", "2024-01-15"),
        (lambda d: f"{d[4:6]}/{d[6:]}/{d[:4]}", "01/15/2024"),
        (lambda d: f"{d[6:]}/{d[4:6]}/{d[2:4]}", "15/01/24"),
    ],
)
def test_other_date_formats_give_the_same(convert, day):
    changed = re.sub(
        rb'"(20\d{6})((?:;\d{6})?)"',
        lambda found: f'"{convert(found[1].decode())}{found[2].decode()}"'.encode(),
        DATA,
    )
    assert day.encode() in changed
    assert same_transactions(READER.read(changed), READER.read(DATA))


def test_named_months_are_read():
    statement = READER.read(query(trade(tradeDate="05-Mar-24")))
    assert statement.transactions[0].on == date(2024, 3, 5)


def test_ambiguous_dates_are_refused():
    with pytest.raises(InvalidRequest, match="set the date format of the Flex Query to yyyyMMdd"):
        READER.read(query(trade(tradeDate="01/02/2024")))


@pytest.mark.parametrize("day", ["20241301", "2024-02-30", "soon", "13/13/2024", "00-Foo-24"])
def test_wrong_dates_have_a_remark(day):
    data = query(trade(tradeDate="20240110"), trade(tradeDate=day))
    if day.startswith("13/"):
        with pytest.raises(InvalidRequest):
            READER.read(data)
        return
    statement = READER.read(data)
    assert len(statement.transactions) == 1
    assert codes(statement) == ["unreadable_date"]


@pytest.mark.parametrize("number", ["ten", "1,2,3", "1.2.3", "NaN", "1e99", "\uff11\uff10", ""])
def test_wrong_quantities_have_a_remark(number):
    statement = READER.read(query(trade(quantity=number)))
    assert not statement.transactions
    assert len(errors(statement)) == 1


def test_orders_are_read_without_executions():
    order = trade(levelOfDetail="ORDER").replace("<Trade", "<Order")
    assert len(READER.read(query(order)).transactions) == 1
    both = READER.read(query(order, trade()))
    assert len(both.transactions) == 1 and codes(both) == ["summary_row"]


def test_summaries_alone_are_an_error():
    row = trade(levelOfDetail="SYMBOL_SUMMARY").replace("<Trade", "<SymbolSummary")
    statement = READER.read(query(row))
    assert not statement.transactions and codes(statement) == ["executions_missing"]


def test_cancel_without_number_finds_the_trade_by_its_terms():
    cancel = trade(quantity="-10", notes="Ca", ibCommission="1", transactionID="2")
    statement = READER.read(query(trade(transactionID="1"), trade(transactionID="3"), cancel))
    assert [one.external_id for one in statement.transactions] == ["3"]
    assert codes(statement) == ["cancelled_trade", "cancelled_trade"]


def test_cancel_of_an_earlier_statement_is_booked_as_opposite_trade():
    """The commission of 1 is paid back, so the sale brings 51."""
    cancel = trade(quantity="-10", buySell="BUY (Ca.)", ibCommission="1", origTradeID="77")
    statement = READER.read(query(cancel))
    assert cash(statement) == {"USD": Decimal(51)}
    assert holdings(statement) == {"AAPL": Decimal(-10)}
    assert codes(statement) == ["cancels_earlier_trade"]


def test_trade_that_is_booked_again_has_the_number_of_the_cancelled_one():
    cancel = trade(quantity="-10", tradeID="", origTradeID="7", buySell="BUY (Ca.)", notes="Ca")
    again = trade(quantity="9", tradeID="7", transactionID="3", buySell="BUY")
    first = trade(tradeID="7", transactionID="1", buySell="BUY")
    for rows in ([first, cancel, again], [again, cancel, first]):
        statement = READER.read(query(*rows))
        assert [one.external_id for one in statement.transactions] == ["3"]
        assert codes(statement) == ["cancelled_trade", "cancelled_trade"]


@pytest.mark.parametrize("quantity", ["10", "-10"])
def test_cancelled_purchase_takes_units_whatever_its_sign(quantity):
    statement = READER.read(query(trade(quantity=quantity, buySell="BUY (Ca.)", notes="Ca")))
    assert holdings(statement) == {"AAPL": Decimal(-10)}


def test_correction_replaces_the_trade_that_it_names():
    fixed = trade(transactionType="TradeCorrect", origTradeID="7", tradePrice="6", tradeID="8")
    statement = READER.read(query(trade(tradeID="7"), fixed))
    assert cash(statement) == {"USD": Decimal(-61)}
    assert codes(statement) == ["corrected_trade"]


def test_commission_in_another_currency_is_a_fee_of_its_own():
    statement = READER.read(query(trade(ibCommission="-2", ibCommissionCurrency="EUR")))
    assert cash(statement) == {"USD": Decimal(-50), "EUR": Decimal(-2)}


def test_net_cash_gives_the_cost_if_commissions_are_missing():
    assert cash(READER.read(query(trade(ibCommission="", netCash="-51.5")))) == {
        "USD": Decimal("-51.5")
    }


def test_missing_costs_have_a_remark():
    row = trade().replace(' ibCommission="-1"', "")
    assert codes(READER.read(query(row))) == ["costs_unknown"]


def test_tax_posted_later_than_its_dividend_is_an_entry_of_its_own():
    rows = [
        cash_row("Dividends", "10", symbol="A", reportDate="20240215"),
        cash_row("Withholding Tax", "-1.5", symbol="A", reportDate="20240301"),
        cash_row("Withholding Tax", "0.5", symbol="A", reportDate="20240401"),
    ]
    statement = READER.read(query(*rows, section="CashTransactions"))
    kinds = [one.kind for one in statement.transactions]
    assert kinds == [EntryKind.DIVIDEND, EntryKind.TAX, EntryKind.INTEREST]
    assert cash(statement) == {"USD": Decimal(9)}
    assert codes(statement) == ["opposite_sign"]


@pytest.mark.parametrize("kind", ["Dividends", "Other Fees", "Deposits/Withdrawals"])
def test_cash_of_zero_is_skipped_and_without_amount_is_an_error(kind):
    rows = [cash_row(kind, "0", symbol="A"), cash_row(kind, "", symbol="A")]
    statement = READER.read(query(*rows, section="CashTransactions"))
    assert not statement.transactions
    assert codes(statement) == ["zero_amount", "missing_value"]


def test_tax_on_interest_is_a_tax_without_asset():
    rows = [
        cash_row("Broker Interest Received", "5", description="EUR CREDIT INT FOR JAN-2024"),
        cash_row("Withholding Tax", "-1", description="WITHHOLDING @ 20% ON CREDIT INT"),
    ]
    statement = READER.read(query(*rows, section="CashTransactions"))
    assert [one.kind for one in statement.transactions] == [EntryKind.INTEREST, EntryKind.TAX]
    assert statement.transactions[1].instrument is None
    assert cash(statement) == {"USD": Decimal(4)} and not statement.remarks


def test_lots_of_transfers_are_not_read_twice():
    fields = 'currency="USD" assetCategory="STK" symbol="A" date="20240102" quantity="5"'
    rows = [f'<Transfer {fields} positionAmount="50"/>', f"<TransferLot {fields}/>"]
    statement = READER.read(query(*rows, section="Transfers"))
    assert holdings(statement) == {"A": Decimal(5)} and codes(statement) == ["summary_row"]


def test_taxes_of_two_dividends_of_a_day_go_to_their_own():
    name = "A(US0378331005) CASH DIVIDEND USD {} PER SHARE"
    rows = [
        cash_row("Dividends", "10", symbol="A", description=name.format("1.00")),
        cash_row("Dividends", "20", symbol="A", description=name.format("2.00")),
        cash_row(
            "Withholding Tax", "-3", symbol="A", description=name.format("2.00") + " - US TAX"
        ),
        cash_row(
            "Withholding Tax", "-1", symbol="A", description=name.format("1.00") + " - US TAX"
        ),
    ]
    statement = READER.read(query(*rows, section="CashTransactions"))
    assert [one.withheld for one in statement.transactions] == [Decimal(1), Decimal(3)]


def test_overlapping_periods_are_read_once():
    row = cash_row("Deposits/Withdrawals", "10", transactionID="1")
    statement = READER.read(query(row, row, section="CashTransactions"))
    assert cash(statement) == {"USD": Decimal(10)}
    assert codes(statement) == ["repeated_row"]


@pytest.mark.parametrize(
    ("row", "held"),
    [
        ('type="RS" description="A(US0378331005) SPLIT 1 FOR 10 (A, A, X)" quantity="-9"', "1"),
        ('type="SD" description="A(US0378331005) STOCK DIVIDEND 1 FOR 20 (A, A, X)" quantity="1"',
         "10.5"),
        ('type="FS" description="A(US0378331005) SPLIT 4 FOR 3 (A, A, X)" quantity="3"',
         "13.333333333333"),
    ],
)  # fmt: skip
def test_splits_change_units(row, held):
    action = f'<CorporateAction currency="USD" symbol="A" reportDate="20240601" {row}/>'
    data = query(trade(symbol="A")).replace(
        b"</Trades>", f"</Trades><CorporateActions>{action}</CorporateActions>".encode()
    )
    assert holdings(READER.read(data)) == {"A": Decimal(held)}


def test_terms_are_read_in_small_letters_and_from_the_field_of_newer_queries():
    rows = [
        '<CorporateAction currency="USD" symbol="NEWC" type="SO" reportDate="20240402" '
        'quantity="2" description="OLDC(US1111111111) Spinoff  1 for 4 (NEWC, NEW CO-W/I, '
        'US2222222222)"/>',
        '<CorporateAction currency="USD" symbol="OLDC" isin="US1111111111" type="SD" quantity="1" '
        'description="OLD CO" reportDate="20240601" actionDescription="OLDC (US1111111111) Stock '
        'Dividend US1111111111 416666667 for 10000000000 (OLDC, OLD CO, US1111111111)"/>',
    ]
    spin_off, dividend = READER.read(query(*rows, section="CorporateActions")).transactions
    assert (spin_off.kind, spin_off.ratio) == (EntryKind.SPIN_OFF, Decimal("0.25"))
    assert spin_off.other == Instrument("NEWC", "US2222222222", "NEW CO-W/I", "USD")
    assert (dividend.kind, dividend.ratio) == (EntryKind.SPLIT, Decimal("1.0416666667"))


def test_cash_merger_is_a_sale():
    action = (
        '<CorporateAction currency="USD" symbol="A" type="TC" reportDate="20240601" quantity="-10" '
        'proceeds="500" description="A(US0378331005) MERGED(Acquisition) FOR USD 50.00 PER SHARE"/>'
    )
    statement = READER.read(query(action, section="CorporateActions"))
    assert cash(statement) == {"USD": Decimal(500)}
    assert statement.transactions[0].price == Decimal(50)


def test_change_of_identifier_alone_has_a_remark_on_both_rows():
    rows = [
        f'<CorporateAction currency="USD" symbol="{symbol}" type="IC" reportDate="20240601" '
        f'quantity="{units}" description="A(US0378331005) CUSIP/ISIN CHANGE TO (X) (A, A, X)"/>'
        for symbol, units in (("A.OLD", -1), ("A", 1))
    ]
    statement = READER.read(query(*rows, section="CorporateActions"))
    assert not statement.transactions
    assert codes(statement, errors=False) == ["identifier_changed"] * 2


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE x [<!ENTITY a "b">]>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE x PUBLIC "-//A//B" "http://example.com/x.dtd">',
    ],
)
def test_document_types_are_refused(declaration):
    data = b'<?xml version="1.0"?>\n' + declaration.encode() + b"\n" + DATA
    with pytest.raises(InvalidRequest, match="line 2 declares a document type") as caught:
        READER.read(data)
    assert caught.value.code == "xml_declarations_not_allowed"


def test_deep_files_are_refused():
    deep = b"<FlexQueryResponse>" + b"<a>" * 100_000
    with pytest.raises(InvalidRequest, match="exceeds 400 elements inside each other"):
        READER.read(deep)


def test_truncated_file_is_refused_with_its_line():
    with pytest.raises(InvalidRequest, match=r"line 9 .*incomplete, export it again"):
        READER.read(b"\n".join(DATA.splitlines()[:9]))


def test_other_documents_are_refused():
    with pytest.raises(InvalidRequest, match="is not a Flex Query"):
        READER.read(b"<html><body>FlexQueryResponse</body></html>")


def test_query_without_sections_is_an_error():
    assert codes(READER.read(query(section="OpenPositions")), errors=True) == ["missing_sections"]


def test_rows_on_one_line_are_distinguished():
    data = query(trade(tradeID="1"), trade(tradeID="2")).replace(b"\n", b"")
    assert len(READER.read(data).transactions) == 2


def test_damaged_files_are_read_or_refused():
    check_damaged(READER, DATA)
    assert check_read(READER, b"") is None
    assert check_read(READER, b"\xff\xfe\x00") is None


def test_history_of_2000_entries_adds_up():
    history = make_history()
    statement = READER.read(to_flex(history))
    assert len(statement.transactions) == 2000
    assert not errors(statement)
    assert set(codes(statement)) == {"withheld_tax"}
    assert cash(statement) == history.money()
    assert holdings(statement) == history.holdings
    for field, expected in (("amount", history.dividends), ("withheld", history.withheld)):
        assert totals(statement, EntryKind.DIVIDEND, field) == expected
    assert totals(statement, EntryKind.INTEREST) == history.interest
    assert totals(statement, EntryKind.FEE) == history.fees


SECTIONS = {
    "Trades": "Trade",
    "CashTransactions": "CashTransaction",
    "CorporateActions": "CorporateAction",
    "Transfers": "Transfer",
}
FIELDS = {
    "currency": ["USD", "EUR", "", "usd", "BASE_SUMMARY"],
    "assetCategory": ["STK", "CASH", "OPT", "FUND", ""],
    "symbol": ["AAPL", "EUR.USD", "", "--", "A.B.C"],
    "isin": ["US0378331005", ""],
    "conid": ["1", "2", ""],
    "tradeID": ["1", "2", ""],
    "origTradeID": ["1", "2", ""],
    "transactionID": ["1", "2", "3", ""],
    "tradeDate": ["20240110", "20240230", "", "2024-01-11"],
    "dateTime": ["20240110;093000", "", "soon"],
    "reportDate": ["20240111", "20240112", ""],
    "date": ["20240110", ""],
    "quantity": ["1", "-1", "0", "", "1e20", "x"],
    "tradePrice": ["5", "0", "", "-5"],
    "proceeds": ["5", "-5", "", "0"],
    "ibCommission": ["-1", "1", "", "-9"],
    "ibCommissionCurrency": ["USD", "EUR", "", "?"],
    "taxes": ["0", "-0.5"],
    "buySell": ["BUY", "SELL", "BUY (Ca.)", ""],
    "notes": ["P", "Ca", "Co", "P;Ca", ""],
    "levelOfDetail": ["EXECUTION", "ORDER", "CLOSED_LOT", "DETAIL", "SUMMARY", ""],
    "type": ["Dividends", "Withholding Tax", "Other Fees", "FS", "SO", "TC", "IC", "ACATS", "?"],
    "amount": ["1", "-1", "0", "", "0.5", "-0.5"],
    "description": [
        "A(US0378331005) SPLIT 2 FOR 1 (A, A, X)",
        "A(US0378331005) SPINOFF 1 FOR 0 (B, B, X)",
        "A(US0378331005) MERGED(Acquisition) WITH B 1 FOR 2 (B, B, X)",
        "A(US0378331005) CASH DIVIDEND USD 1 PER SHARE",
        "",
    ],
    "actionID": ["1", ""],
    "direction": ["IN", "OUT", "-"],
    "positionAmount": ["5", "-5", "0"],
    "cashTransfer": ["0", "5", ""],
}
stated = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in FIELDS.items()}
)


@given(st.lists(st.tuples(st.sampled_from([*SECTIONS]), stated), min_size=1, max_size=6))
def test_no_row_is_lost_and_no_row_is_booked_twice(rows):
    lines = [
        f"<{section}><{SECTIONS[section]} "
        + " ".join(f'{name}="{value}"' for name, value in fields.items())
        + f"/></{section}>"
        for section, fields in rows
    ]
    data = (
        "<FlexQueryResponse><FlexStatements><FlexStatement>\n"
        + "\n".join(lines)
        + "\n</FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()
    statement = check_read(READER, data)
    assert statement is not None
    check_rows(statement, range(2, len(rows) + 2))
    failed = {line for line, _, _ in errors(statement)}
    assert not failed & {one.line for one in statement.transactions}
