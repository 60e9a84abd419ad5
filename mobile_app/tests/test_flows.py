"""What the screen of planned flows shows, and what its form reads."""

from decimal import Decimal
from uuid import UUID

import pytest
from examples import ONE, TWO

from rebalancer_app.gateway.decoding import decode
from rebalancer_app.gateway.flows import Plan
from rebalancer_app.model.flows import flow_screen, read_flow
from rebalancer_app.model.formats import HIDDEN, Formats
from rebalancer_app.texts import LANGUAGES, load_texts

EN, DE = load_texts("en"), load_texts("de")
BRITISH, GERMAN = Formats.of("en-GB"), Formats.of("de-DE")
FLOW = {
    "id": str(ONE),
    "kind": "deposit",
    "amount": "500.00",
    "currency": "EUR",
    "every": "month",
    "day": 31,
    "first": "2026-01-31",
    "last": None,
    "note": "Salary",
}
DUE = {
    "flow_id": str(ONE),
    "kind": "deposit",
    "amount": "500.00",
    "currency": "EUR",
    "scheduled": "2026-01-31",
    "due": "2026-02-02",
    "note": "Salary",
}
ENTRY = {
    "id": str(TWO),
    "kind": "deposit",
    "on": "2026-02-01",
    "recorded": "2026-02-01T12:00:00Z",
    "amount": "500.00",
    "currency": "EUR",
    "cash": "500.00",
    "symbol": None,
    "quantity": None,
    "price": None,
    "cost": "0",
    "proposal_id": None,
    "note": "",
    "voids": None,
    "voided_by": None,
    "withheld": "0",
    "other": None,
}


def plan(**more):
    found = {
        "flows": [FLOW],
        "horizon": 14,
        "automatic": False,
        "due": [DUE | {"matches": [ENTRY]}],
        "coming": [DUE | {"scheduled": "2026-02-28", "due": "2026-03-02"}],
    }
    return decode(found | more, Plan)


def test_due_dates_offer_their_match():
    screen = flow_screen(plan(), BRITISH, EN)
    (due,) = screen.due
    assert (due.title, due.details) == ("Deposit of €500.00", "due on 2 Feb 2026 · Salary")
    assert (due.match, due.key) == (UUID(int=2), "2026-01-31")
    assert due.matched == "An entry of 1 Feb 2026 may be this payment."
    assert screen.flows[0].rule == "Monthly on day 31, from 31 Jan 2026"
    assert screen.coming == ("2 Mar 2026: Deposit of €500.00",)


def test_dates_without_a_match_have_nothing_to_name():
    (due,) = flow_screen(plan(due=[DUE | {"matches": []}]), GERMAN, DE).due
    assert (due.match, due.matched) == (None, "")
    assert due.title == "Einzahlung von 500,00\u00a0€"


def test_hidden_amounts_are_nowhere():
    screen = flow_screen(plan(), BRITISH, EN, hidden=True)
    assert HIDDEN in screen.due[0].title and "500" not in repr(screen)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("every", ["week", "month", "quarter", "year"])
def test_rules_have_words(language, every):
    flow = FLOW | {"every": every, "day": 5, "last": "2027-01-31"}
    screen = flow_screen(plan(flows=[flow]), BRITISH, load_texts(language))
    assert screen.flows[0].rule.count(",") == 2


def test_form_reads_numbers_of_the_region():
    request, wrong = read_flow("deposit", "1.250,50", "month", "", " Rent ", GERMAN, DE)
    assert (request.amount, request.day, request.note, wrong) == (
        Decimal("1250.50"),
        None,
        "Rent",
        {},
    )


@pytest.mark.parametrize(
    ("amount", "every", "day", "field"),
    [
        ("", "month", "1", "amount"),
        ("-5", "month", "1", "amount"),
        ("5", "month", "32", "day"),
        ("5", "week", "8", "day"),
        ("5", "month", "x", "day"),
    ],
)
def test_form_names_what_is_wrong(amount, every, day, field):
    request, wrong = read_flow("deposit", amount, every, day, "", BRITISH, EN)
    assert request is None
    assert list(wrong) == [field]
