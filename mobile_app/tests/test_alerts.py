"""What the screens of alerts and automation show and read."""

from datetime import UTC, datetime
from decimal import Decimal

import attrs

from rebalancer_app.gateway.alerts import (
    Alerts,
    AlertSettings,
    Automation,
    Limits,
    Stop,
    Watch,
)
from rebalancer_app.model.alerts import (
    firing_lines,
    outcome_line,
    read_typed,
    stop_line,
    typed_of,
)
from rebalancer_app.model.formats import Formats
from rebalancer_app.texts import load_texts

EN, DE = load_texts("en"), load_texts("de")
BRITISH, GERMAN = Formats.of("en-GB"), Formats.of("de-DE")
AT = datetime(2026, 1, 5, 22, tzinfo=UTC)
RUNS = Stop(False, None, None)
ALERTS = Alerts(
    AlertSettings(band=True, drift=0.125, proposal_waits=6, pause=48),
    [Watch("band", "SPY", "firing", AT), Watch("drift", "", "armed", None)],
)
AUTOMATION = Automation(
    "weekly", False, "band", Limits(0.1, Decimal("20.50"), Decimal(1000)), AT, "accepted", RUNS
)


def test_settings_that_are_shown_are_read_back():
    for formats, texts in ((BRITISH, EN), (GERMAN, DE)):
        typed = typed_of(ALERTS, AUTOMATION, formats)
        read, wrong = read_typed(typed, ALERTS, AUTOMATION, formats, texts)
        assert wrong == {}
        settings, request = read
        assert settings == ALERTS.settings
        assert (request.frequency, request.auto_accept) == ("weekly", AUTOMATION.auto_accept)
    assert typed.limits["drift"] == "12,5"


def test_mistakes_are_named_by_field():
    typed = typed_of(ALERTS, AUTOMATION, BRITISH)
    limits = {**typed.limits, "drift": "much", "proposal_waits": "25"}
    accept = {"max_turnover": "", "max_cost": "0", "max_order": "x"}
    typed = attrs.evolve(typed, limits=limits, accept_limits=accept, frequency="never")

    read, wrong = read_typed(typed, ALERTS, AUTOMATION, BRITISH, EN)

    assert read is None
    assert set(wrong) == {
        *("drift", "proposal_waits", "max_turnover", "max_cost", "max_order", "frequency")
    }


def test_empty_limits_switch_alerts_off():
    typed = typed_of(ALERTS, AUTOMATION, BRITISH)
    typed = attrs.evolve(typed, limits=dict.fromkeys(typed.limits, ""), accepts=False)
    (settings, request), _ = read_typed(typed, ALERTS, AUTOMATION, BRITISH, EN)
    assert (settings.drift, settings.proposal_waits, request.auto_accept) == (None, None, None)


def test_state_is_described():
    assert firing_lines(ALERTS, BRITISH, EN) == ["An asset leaves its band SPY, since 5 Jan 2026"]
    assert outcome_line(AUTOMATION, BRITISH, EN) == "Last accepted on paper on 5 Jan 2026"
    refused = attrs.evolve(AUTOMATION, outcome="auto_accept_cost")
    assert outcome_line(refused, BRITISH, EN).startswith("Not done on 5 Jan 2026")
    assert stop_line(RUNS, GERMAN, DE) == "Die Automatik darf laufen"
    stopped = Stop(True, "owner", AT)
    assert stop_line(stopped, BRITISH, EN) == "You stopped automation on 5 Jan 2026"
