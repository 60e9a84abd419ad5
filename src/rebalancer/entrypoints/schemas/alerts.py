"""Alerts and automation of portfolios."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import attrs
from msgspec import Meta, field

from rebalancer.application.alerts import PortfolioAlerts
from rebalancer.domain.alerts.automation import AutoAccept, AutomationSettings, Frequency
from rebalancer.domain.alerts.record import AutomationStop
from rebalancer.domain.alerts.settings import (
    DEFAULT_MARGIN,
    DEFAULT_PAUSE,
    LONGEST_PAUSE,
    AlertKind,
    AlertSettings,
)
from rebalancer.domain.alerts.watches import Episode
from rebalancer.entrypoints.schemas.parameters import PolicyName
from rebalancer.entrypoints.schemas.wire import (
    Body,
    DecimalText,
    Fraction,
    NonNegative,
    View,
    about,
    documented_default,
    format_decimal,
)

_Days = Annotated[int, Meta(ge=1, le=365)]
_Sessions = Annotated[int, Meta(ge=1, le=60)]
_Hours = Annotated[int, Meta(ge=1, le=24)]


class AlertsBody(Body, frozen=True, kw_only=True):
    """The alerts of a portfolio; a kind that is left out or null is off."""

    band: Annotated[bool, about("Alert when the weight of an asset leaves its band.")] = False
    band_width: Annotated[
        Fraction | None, about("Half-width of the band; default: the portfolio's own.")
    ] = None
    drift: Annotated[
        Fraction | None, about("Largest one-way distance of all weights from the targets.")
    ] = None
    drawdown: Annotated[
        Fraction | None, about("Largest loss since the peak, net of deposits and withdrawals.")
    ] = None
    cash_above: Annotated[Fraction | None, about("Largest weight of cash.")] = None
    cash_below: Annotated[Fraction | None, about("Smallest weight of cash.")] = None
    deposit_uninvested: Annotated[
        _Days | None, about("Days for which a deposit may lie uninvested.")
    ] = None
    prices_stale: Annotated[
        _Sessions | None, about("Sessions that may pass without a close of a held asset.")
    ] = None
    proposal_waits: Annotated[
        _Hours | None, about("Hours for which a proposal may wait for a decision.")
    ] = None
    proposal_expires: Annotated[_Hours | None, about("Hours before a proposal expires.")] = None
    margin: Annotated[
        Fraction,
        about("Part of a limit by which a value must be back inside before it can alert again."),
        documented_default(DEFAULT_MARGIN),
    ] = field(default_factory=lambda: Fraction(DEFAULT_MARGIN))
    pause: Annotated[
        Annotated[int, Meta(ge=0, le=LONGEST_PAUSE)],
        about("Least hours between two alerts about the same subject."),
    ] = DEFAULT_PAUSE
    live: Annotated[bool, about("Whether quotes count, too, not only closes.")] = False

    def check(self) -> None:
        """Apply the rules of the domain."""
        self.settings()

    def settings(self) -> AlertSettings:
        """Return the settings.

        Raises:
            InvalidRequest: a limit is out of its range.
        """
        found: dict[str, Any] = {}
        for each in attrs.fields(AlertSettings):
            value = getattr(self, each.name)
            found[each.name] = float(value) if isinstance(value, float) else value
        return AlertSettings(**found)


class AutoAcceptBody(Body, frozen=True, kw_only=True):
    """Limits of automatic acceptance, each for a day of the portfolio's market."""

    max_turnover: Annotated[
        Fraction,
        Meta(description="Most turnover, a fraction of the value.", examples=[0.1]),
    ]
    max_cost: Annotated[NonNegative, about("Most that all orders may cost, above 0.")]
    max_order: Annotated[NonNegative, about("Most that may be ordered of one asset, above 0.")]

    def limits(self) -> AutoAccept:
        """Return the limits.

        Raises:
            InvalidRequest: a limit is out of its range.
        """
        return AutoAccept(float(self.max_turnover), Decimal(self.max_cost), Decimal(self.max_order))


class AutomationBody(Body, frozen=True, kw_only=True):
    """Which proposals are made for a portfolio without a request."""

    frequency: Annotated[
        Literal["session", "weekly", "monthly", "quarterly"] | None,
        about("After each session, or after the first one of a period; null: never by schedule."),
    ] = None
    on_alert: Annotated[bool, about("Whether an alert about the market asks for a proposal.")] = (
        False
    )
    policy: Annotated[PolicyName | None, about("Policy of the proposals; default: band.")] = None
    auto_accept: Annotated[
        AutoAcceptBody | None,
        about(
            "Accept the proposals on paper within these limits; null: they wait for a decision. "
            "Switching it on or raising a limit needs a recent proof of identity."
        ),
    ] = None

    def check(self) -> None:
        """Apply the rules of the domain."""
        self.automation()

    def automation(self) -> AutomationSettings:
        """Return the settings.

        Raises:
            InvalidRequest: a limit is out of its range.
        """
        return AutomationSettings(
            None if self.frequency is None else Frequency(self.frequency),
            self.on_alert,
            self.policy,
            None if self.auto_accept is None else self.auto_accept.limits(),
        )


class AlertSettingsView(View, frozen=True, kw_only=True):
    """Which alerts are wanted, with their limits; null: off."""

    band: bool
    band_width: float | None
    drift: float | None
    drawdown: float | None
    cash_above: float | None
    cash_below: float | None
    deposit_uninvested: int | None
    prices_stale: int | None
    proposal_waits: int | None
    proposal_expires: int | None
    margin: float
    pause: int
    live: bool


class WatchView(View, frozen=True, kw_only=True):
    """State of one alert that has fired before; all others are armed."""

    kind: AlertKind
    subject: Annotated[str, about("Asset or proposal; empty for the whole portfolio.")]
    state: Literal["armed", "firing"]
    firing_since: Annotated[datetime | None, about("null while armed.")]
    last_alert: datetime | None
    episodes: Annotated[int, about("How often it has fired.")]


class AlertsView(View, frozen=True, kw_only=True):
    """Alerts of a portfolio."""

    portfolio_id: UUID
    settings: AlertSettingsView
    watches: list[WatchView]
    evaluated: Annotated[datetime | None, about("Last evaluation; null before the first.")]


class AutoAcceptView(View, frozen=True, kw_only=True):
    """Limits of automatic acceptance, each for a day."""

    max_turnover: float
    max_cost: DecimalText
    max_order: DecimalText


class StopView(View, frozen=True, kw_only=True):
    """The kill switch."""

    stopped: Annotated[bool, about("Nothing is proposed or accepted automatically.")]
    by: Annotated[
        Literal["owner", "operator"] | None, about("Who has set it; null while it is not set.")
    ]
    since: Annotated[datetime | None, about("null while it is not set.")]


class AutomationView(View, frozen=True, kw_only=True):
    """Automatic proposals of a portfolio."""

    portfolio_id: UUID
    frequency: Frequency | None
    on_alert: bool
    policy: str | None
    auto_accept: AutoAcceptView | None
    last_proposal: Annotated[UUID | None, about("The last automatic proposal.")]
    last_run: Annotated[datetime | None, about("When automation last did something.")]
    outcome: Annotated[
        str,
        about(
            "What came of it: proposed, accepted, nothing_to_do, or the code of a refusal; empty "
            "before the first run."
        ),
    ]
    stop: StopView


class EpisodeView(View, frozen=True, kw_only=True):
    """One alert, from its beginning until the value was back inside its limit."""

    id: UUID
    kind: AlertKind
    subject: str
    number: Annotated[int, about("From 1, of this kind and subject.")]
    began: datetime
    ended: Annotated[datetime | None, about("null while it fires.")]
    value: Annotated[float, about("At its beginning, in the unit of the limit.")]
    limit: float


def alerts_view(found: PortfolioAlerts) -> AlertsView:
    """Show the alerts of a portfolio."""
    record = found.record
    return AlertsView(
        portfolio_id=record.portfolio,
        settings=AlertSettingsView.of(record.settings),
        watches=[
            WatchView(
                kind=one.kind,
                subject=one.subject,
                state="armed" if one.firing_since is None else "firing",
                firing_since=one.firing_since,
                last_alert=one.last_alert,
                episodes=one.episode,
            )
            for one in record.state.watches
        ],
        evaluated=record.state.evaluated,
    )


def automation_view(found: PortfolioAlerts) -> AutomationView:
    """Show the automation of a portfolio."""
    automation, progress = found.record.automation, found.record.progress
    limits = automation.auto_accept
    return AutomationView(
        portfolio_id=found.record.portfolio,
        frequency=automation.frequency,
        on_alert=automation.on_alert,
        policy=automation.policy,
        auto_accept=None
        if limits is None
        else AutoAcceptView(
            max_turnover=limits.max_turnover,
            max_cost=DecimalText(format_decimal(limits.max_cost)),
            max_order=DecimalText(format_decimal(limits.max_order)),
        ),
        last_proposal=progress.last_proposal,
        last_run=progress.last_run,
        outcome=progress.outcome,
        stop=stop_view(found.stop),
    )


def stop_view(stop: AutomationStop | None) -> StopView:
    """Show the kill switch."""
    if stop is None:
        return StopView(stopped=False, by=None, since=None)
    by: Literal["owner", "operator"] = "operator" if stop.owner is None else "owner"
    return StopView(stopped=True, by=by, since=stop.since)


def episode_view(episode: Episode) -> EpisodeView:
    """Show an episode."""
    return EpisodeView.of(episode)
