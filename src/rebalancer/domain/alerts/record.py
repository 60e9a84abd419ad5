"""Alerts and automation of a portfolio, as they are stored."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.alerts.automation import NO_AUTOMATION, AutomationSettings
from rebalancer.domain.alerts.evaluation import AlertState
from rebalancer.domain.alerts.settings import NO_ALERTS, AlertSettings
from rebalancer.domain.rebalancing.lifecycle import ProposalOrigin


@attrs.frozen
class Trigger:
    """Why an automatic proposal is to be made.

    Attributes:
        origin: A schedule or an alert.
        cause: Day of the scheduled session, or key of the episode.
    """

    origin: ProposalOrigin
    cause: str

    def proposal_id(self, portfolio: UUID) -> UUID:
        """Return the id of its proposal, so that it is made once whatever happens."""
        return uuid5(portfolio, f"automatic {self.origin} {self.cause}")


@attrs.frozen
class AutomationProgress:
    """How far the automation of a portfolio is.

    Attributes:
        scheduled: Last session after which a proposal was due by schedule; None before the first.
        pending: Why a proposal is to be made now; None without a reason.
        accepting: Proposal that is to be accepted automatically; None without one.
        last_proposal: The last automatic proposal; None before the first.
        last_run: When automation last made a proposal, or found nothing to trade.
        outcome: Code of what came of it; empty before the first.
    """

    scheduled: date | None = None
    pending: Trigger | None = None
    accepting: UUID | None = None
    last_proposal: UUID | None = None
    last_run: datetime | None = None
    outcome: str = ""

    @property
    def is_open(self) -> bool:
        """Whether something is left to do."""
        return self.pending is not None or self.accepting is not None


@attrs.frozen
class AlertRecord:
    """Alerts and automation of a portfolio.

    Attributes:
        owner: Owner of the portfolio, who gets the notices.
        settings: The alerts that the owner wants.
        automation: The proposals that are made without a request.
        state: State of the alerts.
        progress: How far automation is.
        changed: When the owner last changed the settings.
        due: When the portfolio is evaluated again at the latest.
        version: Version of the portfolio at the last evaluation; None before the first.
        market: Version of the prices at the last evaluation: the day of the last close, and a
            digest; None before the first.
    """

    portfolio: UUID
    owner: UUID
    changed: datetime
    due: datetime
    settings: AlertSettings = NO_ALERTS
    automation: AutomationSettings = NO_AUTOMATION
    state: AlertState = attrs.field(factory=AlertState)
    progress: AutomationProgress = attrs.field(factory=AutomationProgress)
    version: int | None = None
    market: str | None = None

    @property
    def is_used(self) -> bool:
        """Whether anything is to be evaluated."""
        return bool(self.settings.kinds) or self.automation.proposes or self.progress.is_open


@attrs.frozen
class AutomationStop:
    """The kill switch: while it is set, nothing is proposed or accepted automatically.

    Attributes:
        owner: Account whose portfolios it concerns; None: all of the deployment.
        since: When it was set.
    """

    owner: UUID | None
    since: datetime
