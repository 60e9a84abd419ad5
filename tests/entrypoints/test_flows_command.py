"""`rebalancer portfolio flows`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.entrypoints.test_store_commands import PORTFOLIO, keep, register, store

__all__ = ["keep", "register", "store"]


@pytest.fixture
def id(keep):
    """Return the id of a stored portfolio."""
    return keep(PORTFOLIO)[0]


def test_flow_is_planned_listed_confirmed_and_removed(store, id):
    today = datetime.now(UTC).date()
    first = today - timedelta(days=3)  # planned today: the date itself never falls due
    made = store(
        *("portfolio", "flows", "add", id, "--kind", "deposit", "--amount", "25.50"),
        *("--every", "week", "--day", str(today.isoweekday()), "--first", str(first), "--json"),
    )
    assert made.code == 0, made
    (flow,) = made.json["flows"]
    assert (flow["amount"], flow["every"], flow["day"]) == ("25.50", "week", today.isoweekday())
    scheduled = (made.json["due"] + made.json["coming"])[0]["scheduled"]
    place = ("--portfolio", id, "--scheduled", scheduled)
    skipped = store("portfolio", "flows", "skip", flow["id"], *place, "--json")
    assert [one["outcome"] for one in skipped.json["decided"]] == ["skipped"]
    for _ in range(2):
        paid = store("portfolio", "flows", "confirm", flow["id"], *place, "--json")
        assert [one["outcome"] for one in paid.json["decided"]] == ["booked"], paid
    refused = store("portfolio", "flows", "skip", flow["id"], *place)
    assert refused.refused("void that entry instead")
    terms = store("portfolio", "flows", "terms", id, "--horizon", "30", "--automatic")
    assert "up to 30 days ahead" in " ".join(terms.stdout.split())
    removed = store("portfolio", "flows", "remove", flow["id"], "--portfolio", id)
    assert "No planned flows." in removed.stdout


def test_invalid_flow_is_refused(store, id):
    add = ("portfolio", "flows", "add", id, "--kind", "deposit")
    assert store(*add, "--amount", "-5").refused("amount")
    assert store(*add, "--amount", "5", "--every", "week", "--day", "9").refused("weekday")
