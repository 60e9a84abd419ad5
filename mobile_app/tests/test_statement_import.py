"""The review of a statement: texts, hidden amounts, and encodings of files."""

from uuid import UUID

import attrs
import pytest
from test_screens import BRITISH, EN, words_of

from rebalancer_app.gateway.decoding import decode
from rebalancer_app.gateway.imports import ImportPreview
from rebalancer_app.model.formats import HIDDEN
from rebalancer_app.model.statement_import import decode_statement, import_screen
from rebalancer_app.texts import LANGUAGES, load_texts

ENTRY = {
    "id": str(UUID(int=1)),
    "kind": "buy",
    "on": "2026-01-02",
    "recorded": "2026-01-03T04:05:06Z",
    "amount": "1234.50",
    "currency": "EUR",
    "cash": "-1234.50",
    "symbol": "SAP",
    "quantity": "10",
    "price": "123.45",
    "cost": "0",
    "proposal_id": None,
    "note": "",
    "voids": None,
    "voided_by": None,
    "withheld": "0",
    "other": None,
}
PREVIEW = {
    "title": "Broker (CSV)",
    "entries": [{"line": 2, "entry": ENTRY}],
    "entry_count": 1,
    "duplicate_count": 3,
    "unknown": [{"key": "SIE", "name": "Siemens", "isin": "", "suggestions": []}],
    "remarks": [
        {"line": 5, "message": "'x' is not a number", "is_error": True},
        {"line": 0, "message": "the whole file", "is_error": False},
    ],
    "error_count": 1,
    "changes": [
        {"symbol": None, "currency": "EUR", "before": "2000", "after": "765.50"},
        {"symbol": "SAP", "currency": None, "before": "0", "after": "10"},
    ],
    "overdrafts": [],
    "problems": [{"field": "mapping", "code": "unknown_instruments", "message": "no symbol"}],
}


def preview(**more):
    return decode(PREVIEW | more, ImportPreview)


def test_review_shows_what_changes_and_what_is_missing():
    screen = import_screen(preview(), BRITISH, EN)
    assert screen.summary == "1 new entry"
    assert screen.duplicates == "3 are recorded already and are left out."
    assert screen.changes == (("Cash", "€2,000.00", "€765.50"), ("SAP", "0", "10"))
    assert screen.entries == ("2 Jan 2026 · Bought · SAP · €1,234.50",)
    assert screen.remarks == ("Line 5: 'x' is not a number", "the whole file")
    assert screen.problems == ("No symbol.",)
    assert (screen.can_skip, screen.can_deposit, screen.is_ready) == (True, False, False)


def test_statement_without_problems_can_be_added_unless_nothing_is_new():
    assert import_screen(preview(problems=[]), BRITISH, EN).is_ready
    assert not import_screen(preview(problems=[], entry_count=0, entries=[]), BRITISH, EN).is_ready


def test_missing_cash_can_be_deposited_and_missing_units_cannot():
    day = {"on": "2026-01-02", "balance": "-1"}
    cash = preview(overdrafts=[day | {"symbol": None, "currency": "EUR"}])
    units = preview(overdrafts=[day | {"symbol": "SAP", "currency": None}])
    assert import_screen(cash, BRITISH, EN).can_deposit
    assert not import_screen(units, BRITISH, EN).can_deposit


def test_hidden_amounts_are_nowhere():
    screen = import_screen(preview(), BRITISH, EN, hidden=True)
    assert not [text for text in words_of(screen) if "234" in text or "765" in text]
    assert screen.changes[0] == ("Cash", HIDDEN, HIDDEN)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_language_has_a_review(language):
    screen = import_screen(preview(), BRITISH, load_texts(language))
    assert all(words_of(attrs.evolve(screen, entries=())))


@pytest.mark.parametrize(
    "data",
    ["Größe".encode(), "\ufeffGröße".encode(), "Größe".encode("cp1252"), "Größe".encode("utf-16")],
)
def test_text_of_a_file_is_read_in_its_encoding(data):
    assert decode_statement(data) == "Größe"
