"""The project's own layout of ledger entries, and the registry that finds readers."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from rebalancer.adapters.statements.rebalancer_csv import RebalancerCsv
from rebalancer.adapters.statements.registry import GENERIC, DiscoveredReaders
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

HEADER = "date,kind,symbol,quantity,price,amount,cost,currency,note,id\n"


def test_each_row_becomes_a_transaction_with_its_line() -> None:
    file = (
        HEADER
        + "2022-01-03,deposit,,,,1000.00,,,opening,d1\n"
        + '\n2022-01-04,buy,AAPL,5,100,500.00,1.50,usd,"two\nlines",\n'
        + "2022-01-05,dividend,AAPL,,,3.10,,EUR,,\n"
    )
    statement = RebalancerCsv().read(b"\xef\xbb\xbf" + file.encode())
    assert statement.layout == "rebalancer_csv"
    assert statement.remarks == ()
    assert statement.transactions == (
        Transaction(
            2,
            EntryKind.DEPOSIT,
            date(2022, 1, 3),
            Decimal("1000.00"),
            external_id="d1",
            note="opening",
        ),
        Transaction(
            4,
            EntryKind.BUY,
            date(2022, 1, 4),
            Decimal("500.00"),
            "USD",
            Instrument("AAPL"),
            Decimal(5),
            Decimal(100),
            Decimal("1.50"),
            note="two\nlines",
        ),
        Transaction(
            6, EntryKind.DIVIDEND, date(2022, 1, 5), Decimal("3.10"), "EUR", Instrument("AAPL")
        ),
    )


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("3.1.2022,deposit,,,,1,,,,", "unreadable_date"),
        ("2022-01-03,gift,,,,1,,,,", "unknown_kind"),
        ('2022-01-03,deposit,,,,"1,5",,,,', "unreadable_number"),
        ("2022-01-03,deposit,,,,1_000,,,,", "unreadable_number"),
        ("2022-01-03,deposit,,,,nan,,,,", "unreadable_number"),
        ("2022-01-03,deposit,,,,-1,,,,", "negative_number"),
        ("2022-01-03,deposit,,,,1,,,", "wrong_number_of_cells"),
    ],
)
def test_row_that_cannot_be_read_is_reported_and_the_others_are_read(row: str, code: str) -> None:
    file = HEADER + row + "\n2022-01-04,deposit,,,,2,,,,\n"
    statement = RebalancerCsv().read(file.encode())
    assert [(one.line, one.code, one.is_error) for one in statement.remarks] == [(2, code, True)]
    assert [one.line for one in statement.transactions] == [3]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (HEADER.encode() + b'2022-01-03,deposit,,,,1,,,"open,', "malformed_csv"),
        (HEADER.encode() + "2022-01-03,deposit,,,,1,,,é,".encode("latin-1"), "not_utf8"),
    ],
)
def test_damaged_file_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        RebalancerCsv().read(data)
    assert caught.value.code == code


def test_registry_finds_the_reader_of_a_file() -> None:
    readers = DiscoveredReaders()
    found = readers.find(HEADER.encode(), "ledger.csv")
    assert found is not None
    assert found.name == "rebalancer_csv"
    assert readers.find(b"\x00\x01 not a statement", "") is None
    assert readers.find(b"", "") is None


def test_names_of_readers_are_unique_and_the_generic_one_is_last() -> None:
    names = [reader.name for reader in DiscoveredReaders().all()]
    assert len(set(names)) == len(names)
    assert GENERIC not in names[:-1]
