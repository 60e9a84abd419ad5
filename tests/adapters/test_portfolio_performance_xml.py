"""Files of Portfolio Performance, with sums computed by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.adapters.statements.portfolio_performance_xml import PortfolioPerformanceXml
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from tests.histories import make_history, to_portfolio_performance
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

READER = PortfolioPerformanceXml()
DATA = sample("portfolio_performance.xml")


def client(*rows: str, version: int = 62, securities: str = "") -> bytes:
    return (
        f"<client>\n<version>{version}</version>\n<securities>{securities}</securities>\n<accounts>"
        f"<account><transactions>\n{''.join(rows)}</transactions></account></accounts></client>"
    ).encode()


def row(kind: str, *, amount: str = "1000", day: str = "2023-01-02T00:00", more: str = "") -> str:
    return (
        f"<account-transaction>\n<date>{day}</date><currencyCode>EUR</currencyCode>"
        f"<amount>{amount}</amount>{more}<type>{kind}</type></account-transaction>\n"
    )


def test_sample_is_recognised_and_others_are_not():
    assert READER.recognises(DATA[:65_536], "export.txt")
    assert READER.recognises(b'<client id="1">\n  <version>62</version>', "")
    assert not READER.recognises(b"<FlexQueryResponse>", "client.xml")
    assert not READER.recognises(b"<client><name>x</name></client>", "client.xml")


def test_positions_of_sample():
    assert holdings(READER.read(DATA)) == {"MUE.DE": Decimal("7.5"), "LWAT.L": Decimal(100)}


def test_cash_of_sample_counts_each_trade_once():
    euros = (
        10_000 - Decimal("1017.50") + 475 - 2000  # deposit, purchase, sale, exchange
        + Decimal("0.75") - Decimal("4.20") - 10 + Decimal("2.50") - 8 - 500
    )  # fmt: skip
    assert cash(READER.read(DATA)) == {"EUR": euros, "USD": 2170 + Decimal("16.50")}


def test_income_costs_and_taxes_of_sample():
    statement = READER.read(DATA)
    assert totals(statement, EntryKind.DIVIDEND) == {"USD": Decimal(20)}
    assert totals(statement, EntryKind.DIVIDEND, "withheld") == {"USD": Decimal(3)}
    assert totals(statement, EntryKind.INTEREST) == {"EUR": 1 + Decimal("2.50")}
    assert totals(statement, EntryKind.TAX) == {"EUR": Decimal(15) + 8}
    assert totals(statement, EntryKind.BUY, "cost") == {"EUR": Decimal("17.50")}
    assert totals(statement, EntryKind.SELL, "cost") == {"EUR": Decimal(10)}
    assert totals(statement, EntryKind.BUY) == {"EUR": Decimal(1000)}
    assert totals(statement, EntryKind.SELL) == {"EUR": Decimal(500)}
    assert statement.currency == "EUR"


def test_prices_in_pence_are_read_in_pounds():
    delivery = next(one for one in READER.read(DATA).transactions if one.currency == "GBP")
    assert (delivery.amount, delivery.price) == (Decimal(1250), Decimal("12.5"))
    assert delivery.cost_basis == Decimal(1250)
    assert delivery.instrument is not None and delivery.instrument.currency == "GBP"


def test_every_row_of_sample_is_read_or_has_a_remark():
    statement = READER.read(DATA)
    marks = (
        *(b"<account-transaction>", b"<portfolio-transaction>"),
        *(b"<accountTransaction>", b"<transactionTo>", b"<event>"),
    )
    check_rows(statement, lines_with(DATA, *marks))
    assert codes(statement, errors=True) == ["unknown_kind"]
    assert sorted(codes(statement, errors=False)) == [
        "cash_side", "cash_side", "exchange_side", "internal_transfer", "internal_transfer",
        "refund", "split_not_booked",
    ]  # fmt: skip


def test_external_ids_are_those_of_the_program_and_distinct():
    ids = [one.external_id for one in READER.read(DATA).transactions]
    assert "b0000000-0000-0000-0000-000000000002:tax" in ids
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "changed",
    [
        b"\xef\xbb\xbf" + DATA,
        DATA.decode().encode("utf-16"),
        b'<?xml version="1.0" encoding="UTF-8"?>\n' + DATA,
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n' + DATA.decode().encode("latin-1"),
        DATA.decode().encode("latin-1"),
        DATA.replace(b"\n", b"\r\n"),
    ],
    ids=["byte order mark", "utf-16", "declared", "latin-1", "latin-1 undeclared", "windows"],
)
def test_other_encodings_give_the_same(changed):
    assert READER.recognises(changed[:65_536], "")
    assert same_transactions(READER.read(changed), READER.read(DATA))


def test_shares_of_older_versions_have_six_decimals():
    old = DATA.replace(b"<version>62<", b"<version>48<").replace(b"00</shares>", b"</shares>")
    assert holdings(READER.read(old)) == holdings(READER.read(DATA))


@pytest.mark.parametrize("version", ["36", "", "x", "٤٠"])
def test_old_and_unknown_versions_are_refused(version):
    with pytest.raises(InvalidRequest, match="open and save it in a current Portfolio Performance"):
        READER.read(DATA.replace(b"<version>62<", f"<version>{version}<".encode()))


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"PORTFOLIO\x01", b"PPPBV1"])
def test_compressed_and_encrypted_files_are_refused(start):
    assert READER.recognises(start + b"\x00" * 20, "My.portfolio")
    with pytest.raises(InvalidRequest, match="save it in Portfolio Performance as XML"):
        READER.read(start + b"\x00" * 20)


@pytest.mark.parametrize("day", ["2023-02-30T00:00", "01.02.2023", "", "2023-13-01"])
def test_wrong_dates_have_a_remark(day):
    statement = READER.read(client(row("DEPOSIT"), row("DEPOSIT", day=day)))
    assert len(statement.transactions) == 1
    assert [(line, code) for line, code, _ in errors(statement)] == [(7, "unreadable_date")]


@pytest.mark.parametrize("amount", ["10.50", "-5", "", "1e5", "9" * 40])
def test_wrong_amounts_have_a_remark(amount):
    statement = READER.read(client(row("DEPOSIT", amount=amount)))
    assert not statement.transactions and len(errors(statement)) == 1


def test_row_of_zero_is_skipped():
    statement = READER.read(client(row("DEPOSIT", amount="0")))
    assert not statement.transactions and codes(statement, errors=False) == ["zero_amount"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("", "incomplete_pair"),
        ('<crossEntry class="buysell" reference="../../../nowhere"/>', "incomplete_pair"),
        ('<crossEntry class="buysell"><accountTransaction reference="../.."/>'
         '<portfolioTransaction reference="../../../.."/></crossEntry>', "incomplete_pair"),
        ('<security reference="../../x[9999999]"/>', "incomplete_pair"),
    ],
)  # fmt: skip
def test_purchase_without_its_other_row_is_an_error(more, code):
    statement = READER.read(client(row("BUY", more=more)))
    assert not statement.transactions and codes(statement) == [code]


def test_pairs_with_different_amounts_are_an_error_on_both_rows_of_the_pair():
    changed = DATA.replace(b"<amount>47500</amount>", b"<amount>47600</amount>", 1)
    statement = READER.read(changed)
    assert codes(statement, errors=True).count("contradicting_pair") == 2
    assert holdings(statement)["MUE.DE"] == Decimal("12.5")


@pytest.mark.parametrize(
    "path",
    ["/client/securities/security", "//client/securities/security[1]", "s1"],
)
def test_references_from_the_root_and_by_number_are_resolved(path):
    security = '<security id="s1"><isin>DE000A000018</isin></security>'
    dividend = row("DIVIDENDS", more=f'<security reference="{path}"/>')
    found = READER.read(client(dividend, securities=security)).transactions[0].instrument
    assert found is not None and found.isin == "DE000A000018"


def test_references_in_circles_end():
    circle = '<security reference="../security"/>'
    statement = READER.read(client(row("DIVIDENDS", more=circle)))
    assert codes(statement) == ["missing_instrument"]


def test_free_delivery_has_no_price_and_no_cost():
    depot = DATA.replace(b"<amount>12500000</amount>", b"<amount>0</amount>")
    delivery = next(one for one in READER.read(depot).transactions if one.currency == "GBP")
    assert (delivery.price, delivery.cost_basis, delivery.on) == (None, 0, date(2023, 6, 1))


def test_document_types_are_refused():
    with pytest.raises(InvalidRequest, match="declares a document type"):
        READER.read(b'<!DOCTYPE client [<!ENTITY a "b">]>\n' + DATA)


def test_truncated_file_is_refused():
    with pytest.raises(InvalidRequest, match="export it again"):
        READER.read(DATA[: len(DATA) // 2])


def test_damaged_files_are_read_or_refused():
    check_damaged(READER, DATA)


def test_history_of_2000_entries_adds_up():
    history = make_history(splits=False)
    data = to_portfolio_performance(history)
    assert READER.recognises(data[:65_536], "")
    statement = READER.read(data)
    assert not errors(statement)
    assert len(statement.transactions) == 2000
    check_rows(statement, lines_with(data, b"<account-transaction", b"<portfolio-transaction"))
    assert cash(statement) == history.money()
    assert holdings(statement) == history.holdings
    for field, expected in (("amount", history.dividends), ("withheld", history.withheld)):
        assert totals(statement, EntryKind.DIVIDEND, field) == expected
    assert totals(statement, EntryKind.FEE) == history.fees
    buys = totals(statement, EntryKind.BUY, "cost")
    sells = totals(statement, EntryKind.SELL, "cost")
    assert {code: buys[code] + sells[code] for code in buys} == history.costs


KINDS = ["BUY", "SELL", "DEPOSIT", "TRANSFER_IN", "TRANSFER_OUT", "DIVIDENDS", "TAXES", "?"]
NAMES = ["account-transaction", "portfolio-transaction", "accountTransaction", "transactionTo"]
drawn = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "type": st.sampled_from([*KINDS, "DELIVERY_INBOUND", ""]),
        "date": st.sampled_from(["2023-01-02T00:00", "2023-02-30", ""]),
        "amount": st.sampled_from(["100", "0", "", "-5", "x"]),
        "currency": st.sampled_from(["EUR", "GBX", "", "euro"]),
        "shares": st.sampled_from(["100000000", "0", "", "-1"]),
        "cross": st.sampled_from(["buysell", "account-transfer", "portfolio-transfer", ""]),
        "other": st.sampled_from(["r0", "r1", "r2", "nowhere"]),
        "security": st.sampled_from(["s1", "nowhere", ""]),
    }
)


@given(st.lists(drawn, min_size=1, max_size=4))
def test_no_row_is_lost(rows):
    texts = []
    for number, one in enumerate(rows):
        security = f'<security reference="{one["security"]}"/>' if one["security"] else ""
        ends = ("accountTransaction", "portfolioTransaction", "transactionFrom", "transactionTo")
        sides = "".join(
            f'<{end} reference="{one["other"] if at % 2 else f"r{number}"}"/>'
            for at, end in enumerate(ends)
        )
        cross = f'<crossEntry class="{one["cross"]}" id="c{number}">{sides}</crossEntry>'
        texts.append(
            f'<{one["name"]} id="r{number}"><date>{one["date"]}</date><amount>{one["amount"]}'
            f"</amount><currencyCode>{one['currency']}</currencyCode><shares>{one['shares']}"
            f"</shares>{security}{cross if one['cross'] else ''}<type>{one['type']}</type>"
            f"</{one['name']}>"
        )
    security = '<security id="s1"><isin>DE000A000018</isin></security>'
    body = "\n".join(f'<crossEntry class="{one["cross"]}">{text}</crossEntry>'
                     for one, text in zip(rows, texts, strict=True))  # fmt: skip
    data = (
        f"<client><version>62</version><securities>{security}</securities><accounts>\n{body}\n"
        "</accounts></client>"
    ).encode()
    statement = check_read(READER, data)
    assert statement is not None
    check_rows(statement, range(2, len(rows) + 2))
