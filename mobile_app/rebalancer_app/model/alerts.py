"""What the screens of alerts and automation show, and what is typed there."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from rebalancer_app.gateway.alerts import (
    Alerts,
    AlertSettings,
    Automation,
    AutomationRequest,
    Limits,
    Stop,
)
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.numbers import read_number
from rebalancer_app.texts import Texts

PERCENT = ("drift", "drawdown", "cash_above", "cash_below")
"""Kinds whose limits are typed as percentages."""

COUNTS = ("deposit_uninvested", "prices_stale", "proposal_waits", "proposal_expires")
"""Kinds whose limits are whole numbers."""

FREQUENCIES = ("never", "session", "weekly", "monthly", "quarterly")
LIMITS = ("max_turnover", "max_cost", "max_order")
_MOST = {"deposit_uninvested": 365, "prices_stale": 60, "proposal_waits": 24}


@attrs.frozen
class Typed:
    """The fields of the screen, as text; an empty limit switches its alert off."""

    band: bool
    live: bool
    limits: Mapping[str, str]
    frequency: str
    on_alert: bool
    accepts: bool
    accept_limits: Mapping[str, str]


def typed_of(alerts: Alerts, automation: Automation, formats: Formats) -> Typed:
    """Return the fields with the present settings."""
    settings, limits = alerts.settings, automation.auto_accept
    shown = {name: _percent(getattr(settings, name), formats) for name in PERCENT}
    for name in COUNTS:
        value = getattr(settings, name)
        shown[name] = "" if value is None else str(value)
    return Typed(
        settings.band,
        settings.live,
        shown,
        automation.frequency or "never",
        automation.on_alert,
        limits is not None,
        {
            "max_turnover": _percent(limits.max_turnover if limits else None, formats),
            "max_cost": "" if limits is None else formats.plain(limits.max_cost),
            "max_order": "" if limits is None else formats.plain(limits.max_order),
        },
    )


def read_typed(
    typed: Typed, alerts: Alerts, automation: Automation, formats: Formats, texts: Texts
) -> tuple[tuple[AlertSettings, AutomationRequest] | None, dict[str, str]]:
    """Return the settings that were typed, or what is wrong by field."""
    wrong: dict[str, str] = {}
    chosen: dict[str, Any] = {}
    for name in PERCENT:
        chosen[name] = _read_percent(name, typed.limits[name], wrong, formats, texts)
    for name in COUNTS:
        text, most = typed.limits[name].strip(), _MOST.get(name, 24)
        number = int(text) if text.isdecimal() and len(text) < 4 else None
        if text and (number is None or not 1 <= number <= most):
            wrong[name] = texts("flows.day_wrong", most=most)
        chosen[name] = number
    limits = None
    if typed.accepts:
        share = _read_percent(
            "max_turnover", typed.accept_limits["max_turnover"], wrong, formats, texts
        )
        amounts: dict[str, Decimal] = {}
        for name in ("max_cost", "max_order"):
            amount = read_number(typed.accept_limits[name], formats)
            if amount is None or amount <= 0:
                wrong[name] = texts("money.amount_wrong")
            else:
                amounts[name] = amount
        if share is None:
            wrong.setdefault("max_turnover", texts("alerts.percent_wrong"))
        elif len(amounts) == 2:
            limits = Limits(share, **amounts)
        if typed.frequency == "never" and not typed.on_alert:
            wrong["frequency"] = texts("alerts.schedule_missing")
    if wrong:
        return None, wrong
    settings = attrs.evolve(alerts.settings, band=typed.band, live=typed.live, **chosen)
    frequency = None if typed.frequency == "never" else typed.frequency
    request = AutomationRequest(frequency, typed.on_alert, automation.policy, limits)
    return (settings, request), {}


def firing_lines(alerts: Alerts, formats: Formats, texts: Texts) -> list[str]:
    """Return the alerts that fire now, as sentences."""
    return [
        texts(
            "alerts.firing",
            what=texts(f"alerts.kind_{one.kind}"),
            subject="" if one.kind.startswith("proposal") else one.subject,
            day=formats.day(one.firing_since.date()),
        ).replace(" ,", ",")
        for one in alerts.watches
        if one.firing_since is not None
    ]


def outcome_line(automation: Automation, formats: Formats, texts: Texts) -> str:
    """Return what came of the last automatic run; empty before the first."""
    if automation.last_run is None:
        return ""
    known = ("proposed", "accepted", "nothing_to_do")
    name = automation.outcome if automation.outcome in known else "refused"
    return texts(f"alerts.outcome_{name}", day=formats.day(automation.last_run.date()))


def stop_line(stop: Stop, formats: Formats, texts: Texts) -> str:
    """Return the state of the kill switch, as a sentence."""
    if not stop.stopped or stop.since is None:
        return texts("automation.runs")
    return texts(f"automation.stopped_{stop.by}", day=formats.day(stop.since.date()))


def _percent(share: float | None, formats: Formats) -> str:
    if share is None:
        return ""
    return formats.plain((Decimal(repr(share)) * 100).normalize())


def _read_percent(
    name: str, text: str, wrong: dict[str, str], formats: Formats, texts: Texts
) -> float | None:
    if not text.strip():
        return None
    number = read_number(text.replace("%", ""), formats)
    if number is None or not 0 < number <= 100 or (number == 100 and name in PERCENT):
        wrong[name] = texts("alerts.percent_wrong")
        return None
    return float(number / 100)
