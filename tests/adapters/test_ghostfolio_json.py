"""Exports of Ghostfolio, with sums computed by hand."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.adapters.statements.ghostfolio_json import GhostfolioJson
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
    same_transactions,
    sample,
    totals,
)

READER = GhostfolioJson()
DATA = sample("ghostfolio.json")
ACTIVITY = {
    "accountId": "a",
    "comment": None,
    "fee": 1,
    "id": "g",
    "quantity": 2,
    "type": "BUY",
    "unitPrice": 3,
    "currency": "USD",
    "dataSource": "YAHOO",
    "date": "2023-01-10T00:00:00.000Z",
    "symbol": "MSFT",
}


def export(*activities: object) -> bytes:
    return json.dumps({"meta": {"version": "2"}, "activities": activities}).encode()


def test_sample_is_recognised_and_others_are_not():
    assert READER.recognises(DATA, "x")
    assert READER.recognises(export(ACTIVITY), "")
    assert READER.recognises(b'{"meta":{"date":"","version":"2"},"accounts":[{"balances":[', "")
    assert not READER.recognises(b"[1, 2]", "ghostfolio.json")
    assert not READER.recognises(b'{"holdings": []}', "ghostfolio.json")
    assert not READER.recognises(b"date,symbol\n", "")


def test_positions_of_sample():
    assert holdings(READER.read(DATA)) == {
        "MSFT": 10 + Decimal("0.333333333333") - 4,
        "VWRL.L": Decimal(20),
        "Waldfonds Süd": Decimal(3),
    }


def test_cash_of_sample():
    """0.333333333333 at 368.604651162791 is 122.868217054141, by hand, with 12 decimals."""
    third = (Decimal("0.333333333333") * Decimal("368.604651162791")).quantize(Decimal("1e-12"))
    assert cash(READER.read(DATA)) == {
        "USD": -Decimal("1504.00") - third + 798 + 3 - Decimal("0.25"),
        "GBP": Decimal(-1703),
        "EUR": -300 - Decimal("4.9") + Decimal("12.34"),
    }


def test_income_and_costs_of_sample():
    statement = READER.read(DATA)
    assert totals(statement, EntryKind.DIVIDEND) == {"USD": Decimal(3)}
    assert totals(statement, EntryKind.INTEREST) == {"EUR": Decimal("12.34")}
    assert totals(statement, EntryKind.FEE) == {"USD": Decimal("0.25"), "EUR": Decimal("4.9")}
    assert totals(statement, EntryKind.BUY, "cost") == {
        "USD": Decimal("1.5"),
        "GBP": Decimal(3),
        "EUR": Decimal(0),
    }
    assert statement.currency == "EUR"


def test_every_activity_of_sample_is_read_or_has_a_remark():
    statement = READER.read(DATA)
    check_rows(statement, range(1, 11))
    assert codes(statement) == [
        "cash_not_in_file", "late_times", "unsupported_asset", "unknown_kind",
    ]  # fmt: skip
    assert [line for line, _, _ in errors(statement)] == [9, 10]


def test_identifiers_of_profiles_are_read():
    isins = {one.instrument.isin for one in READER.read(DATA).transactions if one.instrument}
    assert isins == {"", "IE00B3RBWM25"}


def test_profiles_inside_activities_are_read():
    nested = ACTIVITY | {
        "symbol": None,
        "SymbolProfile": {"symbol": "SAP.DE", "dataSource": "YAHOO", "isin": "DE0007164600"},
    }
    found = READER.read(export(nested)).transactions[0].instrument
    assert found is not None and (found.symbol, found.isin) == ("SAP.DE", "DE0007164600")


@pytest.mark.parametrize(
    "changed",
    [b"\xef\xbb\xbf" + DATA, DATA.decode().encode("utf-16"), DATA.decode().encode("latin-1")],
)
def test_other_encodings_give_the_same(changed):
    assert READER.recognises(changed, "")
    assert same_transactions(READER.read(changed), READER.read(DATA))


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("date", "10.01.2023", "unreadable_date"),
        ("date", None, "unreadable_date"),
        ("type", "SWAP", "unknown_kind"),
        ("type", None, "unknown_kind"),
        ("currency", "dollars", "invalid_currency"),
        ("quantity", "many", "unreadable_number"),
        ("quantity", True, "unreadable_number"),
        ("quantity", -1, "amount_out_of_range"),
        ("quantity", 1e30, "amount_too_large"),
        ("fee", -1, "amount_out_of_range"),
        ("symbol", "", "missing_instrument"),
        ("unitPrice", [], "unreadable_number"),
        ("unitPrice", None, "missing_value"),
    ],
)
def test_wrong_values_have_a_remark(field, value, code):
    statement = READER.read(export(ACTIVITY, ACTIVITY | {field: value}))
    assert len(statement.transactions) == 1
    assert [(line, found) for line, found, _ in errors(statement)] == [(2, code)]


@pytest.mark.parametrize("document", [b"[]", b"{}", b'{"activities": 1}', b"null", b'{"a": NaN}'])
def test_other_documents_are_refused(document):
    with pytest.raises(InvalidRequest):
        READER.read(document)


@pytest.mark.parametrize(
    "document", [b'{"activities": ' + b"[" * 100_000, b'{"activities": [' + b"9" * 10_000 + b"]}"]
)
def test_deep_and_long_documents_do_not_crash(document):
    check_read(READER, document)


def test_truncated_file_is_refused_with_its_line():
    with pytest.raises(InvalidRequest, match=r"line \d+ is not JSON .*export it again"):
        READER.read(DATA[: len(DATA) // 2])


def test_damaged_files_are_read_or_refused():
    check_damaged(READER, DATA)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*ACTIVITY, "SymbolProfile"]), values, max_size=3))
def test_no_activity_is_lost(changes):
    document = json.dumps({"activities": [ACTIVITY | changes]}).encode()
    statement = check_read(READER, document)
    if statement is not None:  # a document with NaN is refused
        check_rows(statement, [1])
