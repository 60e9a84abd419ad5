"""What the screens of model portfolios show."""

from examples import ONE, TWO

from rebalancer_app.gateway.decoding import decode
from rebalancer_app.gateway.models import ModelDetail, Preview
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.models import model_screen, preview_screen, typed_targets
from rebalancer_app.model.targets import add_targets
from rebalancer_app.texts import load_texts

EN, DE = load_texts("en"), load_texts("de")
BRITISH, GERMAN = Formats.of("en-GB"), Formats.of("de-DE")
EXCEEDS = {"code": "targets_exceed_limits", "message": "The targets exceed the limits."}


def preview(*problems, orders=True):
    order = {"symbol": "AAPL", "side": "buy", "quantity": "3"}
    made = {"orders": [order] if orders else [], "turnover": 0.25, "cost": "1.20"}
    follower = {
        "portfolio_id": str(ONE),
        "name": "Pension",
        "problems": list(problems),
        "proposal": made,
    }
    found = {"followers": [follower], "trading": int(orders), "blocked": len(problems)}
    return decode(found, Preview)


def test_versions_and_followers_are_listed():
    version = {
        "number": 2,
        "targets": {"AAPL": 0.6, "BND": 0.4},
        "target_groups": None,
        "band": None,
        "note": "Less equity",
        "created": "2026-01-02T12:00:00Z",
    }
    follower = {"portfolio_id": str(ONE), "name": "Pension", "version": 1, "pinned": True}
    model = decode(
        {
            "id": str(TWO),
            "name": "Balanced",
            "version": 3,
            "latest": 2,
            "versions": [version],
            "followers": [follower, follower | {"name": "Child", "version": 2, "pinned": False}],
        },
        ModelDetail,
    )
    screen = model_screen(model, BRITISH, EN)
    assert screen.versions[0].title == "Version 2, 2 Jan 2026"
    assert screen.versions[0].targets == "AAPL 60.0%, BND 40.0%"
    assert screen.followers == (("Pension", "stays with version 1"), ("Child", "version 2"))


def test_preview_names_trades_and_limits():
    screen = preview_screen(preview(EXCEEDS), BRITISH, EN)
    (row,) = screen.rows
    assert (screen.summary, screen.is_ready) == ("1 portfolio would trade", True)
    assert row.summary == "Turnover 25.0%, cost 1.20"
    assert row.lines == ("The targets exceed the limits.", "Buy 3 AAPL")
    assert row.exceeds == ONE


def test_other_problems_keep_a_draft_from_being_published():
    unknown = {"code": "no_exchange_rate", "message": "No rate."}
    assert not preview_screen(preview(unknown), BRITISH, EN).is_ready
    calm = preview_screen(preview(orders=False), GERMAN, DE)
    assert calm.rows[0].summary == "Nichts zu handeln"
    assert calm.rows[0].exceeds is None


def test_typed_targets_are_read_back():
    targets = {"AAPL": 0.6, "BND": 0.3333}
    for formats, texts in ((BRITISH, EN), (GERMAN, DE)):
        state = add_targets(typed_targets(targets, formats), formats, texts)
        assert state.is_valid
        assert state.shares == targets
