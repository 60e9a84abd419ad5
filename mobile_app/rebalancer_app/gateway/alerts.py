"""Alerts of portfolios, automatic proposals, and the kill switch."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import attrs

from rebalancer_app.gateway.client import Endpoint


@attrs.frozen
class AlertSettings:
    """Which alerts are wanted, with their limits; None: off."""

    band: bool = False
    band_width: float | None = None
    drift: float | None = None
    drawdown: float | None = None
    cash_above: float | None = None
    cash_below: float | None = None
    deposit_uninvested: int | None = None
    prices_stale: int | None = None
    proposal_waits: int | None = None
    proposal_expires: int | None = None
    margin: float = 0.2
    pause: int = 24
    live: bool = False


@attrs.frozen
class Watch:
    """An alert that has fired before."""

    kind: str
    subject: str
    state: str
    firing_since: datetime | None


@attrs.frozen
class Alerts:
    """Alerts of a portfolio."""

    settings: AlertSettings
    watches: list[Watch]


@attrs.frozen
class Limits:
    """Limits of automatic acceptance, each for a day."""

    max_turnover: float
    max_cost: Decimal
    max_order: Decimal


@attrs.frozen
class Stop:
    """The kill switch."""

    stopped: bool
    by: str | None
    since: datetime | None


@attrs.frozen
class Automation:
    """Automatic proposals of a portfolio."""

    frequency: str | None
    on_alert: bool
    policy: str | None
    auto_accept: Limits | None
    last_run: datetime | None
    outcome: str
    stop: Stop


@attrs.frozen
class AutomationRequest:
    """Automatic proposals that are wanted."""

    frequency: str | None
    on_alert: bool
    policy: str | None
    auto_accept: Limits | None


_PATH = "/api/portfolios/{portfolio_id}"
ALERTS = Endpoint("GET", f"{_PATH}/alerts", Alerts)
CHOOSE = Endpoint("PUT", f"{_PATH}/alerts", Alerts, AlertSettings, keyed=False)
AUTOMATION = Endpoint("GET", f"{_PATH}/automation", Automation)
AUTOMATE = Endpoint("PUT", f"{_PATH}/automation", Automation, AutomationRequest, keyed=False)
STOPPED = Endpoint("GET", "/api/automation", Stop)
STOP = Endpoint("POST", "/api/automation/stop", Stop, keyed=False)
RESUME = Endpoint("POST", "/api/automation/resume", Stop, keyed=False)
