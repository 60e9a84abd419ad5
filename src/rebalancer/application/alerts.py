"""Settings and history of alerts, and of automation, by portfolio."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.ports.policies import Policies
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.sessions import require_recent
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.alerts.automation import AutomationSettings
from rebalancer.domain.alerts.record import AlertRecord, AutomationStop
from rebalancer.domain.alerts.settings import AlertSettings
from rebalancer.domain.alerts.watches import Episode
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.rules import DEFAULT_BAND
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate

DEFAULT_POLICY = "band"
"""Policy of automatic proposals, as of those on request."""


@attrs.frozen
class PortfolioAlerts:
    """Alerts and automation of a portfolio.

    Attributes:
        record: As stored; with the defaults before the first settings.
        stop: The kill switch, if it is set for the account or the deployment.
    """

    record: AlertRecord
    stop: AutomationStop | None


def own_band(mandate: Mandate) -> float:
    """Return the half-width of a portfolio's band."""
    own = mandate.preferences.band
    return DEFAULT_BAND if own is None else own


@attrs.frozen
class ReadAlerts:
    """Read the alerts and the automation of a portfolio."""

    work: UnitOfWork

    def __call__(self, portfolio_id: UUID, *, actor: UUID, now: datetime) -> PortfolioAlerts:
        """Return them; a reader of a shared portfolio may see them, too.

        Raises:
            NotFound: the portfolio does not exist, or is not shared with the actor.
        """
        with self.work.read() as tx:
            portfolio = tx.portfolios.get_for(portfolio_id, actor)
            found = _find(tx, portfolio, now)
            return PortfolioAlerts(found, tx.automation.stop_for(portfolio.owner))

    def episodes(
        self, portfolio_id: UUID, *, actor: UUID, before: UUID | None = None, limit: int
    ) -> list[Episode]:
        """Return past and present alerts, latest first, beginning after the one ``before``.

        Raises:
            NotFound: as on a call.
        """
        with self.work.read() as tx:
            tx.portfolios.get_for(portfolio_id, actor)
            return tx.alerts.episodes(portfolio_id, before=before, limit=limit)


@attrs.frozen
class ChangeAlerts:
    """Choose the alerts of a portfolio."""

    work: UnitOfWork

    def __call__(
        self, portfolio_id: UUID, settings: AlertSettings, *, owner: UUID | None, now: datetime
    ) -> PortfolioAlerts:
        """Return the alerts with the new settings; they are evaluated soon.

        What fires already goes on without another alert.

        Args:
            portfolio_id: The portfolio.
            settings: In place of the present ones.
            owner: Its owner; None: any, for operators at a terminal.
            now: Current time.

        Raises:
            NotFound: the portfolio does not exist or belongs to another user.
            NotAllowed: it is shared with the caller.
        """
        with self.work.begin() as tx:
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            known = _find(tx, portfolio, now)
            changed = attrs.evolve(known, settings=settings, changed=now, due=now)
            if settings != known.settings:
                tx.alerts.save_settings(changed)
                kinds = ",".join(sorted(settings.kinds))
                _record(tx, Action.ALERTS_CHANGED, portfolio, now, kinds=kinds)
            return PortfolioAlerts(changed, _find_stop(tx, portfolio.owner))


@attrs.frozen
class ChangeAutomation:
    """Choose which proposals are made for a portfolio without a request."""

    work: UnitOfWork
    policies: Policies

    def __call__(
        self,
        portfolio_id: UUID,
        automation: AutomationSettings,
        *,
        bearer: Bearer | None,
        now: datetime,
    ) -> PortfolioAlerts:
        """Return the automation with the new settings.

        Args:
            portfolio_id: The portfolio.
            automation: In place of the present settings.
            bearer: The caller; None: an operator at a terminal.
            now: Current time.

        Raises:
            InvalidRequest: the policy is unknown, or proposals are to be accepted that none makes.
            NotFound: the portfolio does not exist or belongs to another user.
            NotAllowed: it is shared with the caller; or proposals are to be accepted within wider
                limits than before, and the last proof of identity is too old.
        """
        if automation.policy is not None:
            try:
                self.policies.policy(automation.policy)
            except InvalidRequest as error:
                raise error.at("policy") from None
        if automation.auto_accept is not None and not automation.proposes:
            raise InvalidRequest(
                "no proposal is made that could be accepted; choose a schedule or alerts, too",
                field="auto_accept",
                code="automation_without_proposals",
            )
        with self.work.begin() as tx:
            owner = None if bearer is None else bearer.owner
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            known = _find(tx, portfolio, now)
            wanted, present = automation.auto_accept, known.automation.auto_accept
            if bearer is not None and wanted is not None and wanted.exceeds(present):
                require_recent(tx, bearer, now)
            changed = attrs.evolve(known, automation=automation, changed=now, due=now)
            if automation != known.automation:
                tx.alerts.save_settings(changed)
                _record(tx, Action.AUTOMATION_CHANGED, portfolio, now, **_describe(automation))
            return PortfolioAlerts(changed, _find_stop(tx, portfolio.owner))


def _find(tx: Transaction, portfolio: ManagedPortfolio, now: datetime) -> AlertRecord:
    found = tx.alerts.find(portfolio.id)
    if found is None:
        return AlertRecord(portfolio.id, portfolio.owner, changed=now, due=now)
    return found


def _find_stop(tx: Transaction, owner: UUID) -> AutomationStop | None:
    return tx.automation.find_stop(None) or tx.automation.find_stop(owner)


def _describe(automation: AutomationSettings) -> Mapping[str, str]:
    """Return settings as facts of an event."""
    facts = {
        "frequency": "none" if automation.frequency is None else automation.frequency.value,
        "on_alert": str(automation.on_alert).lower(),
    }
    limits = automation.auto_accept
    if limits is None:
        return facts
    return facts | {
        "max_turnover": repr(limits.max_turnover),
        "max_cost": f"{limits.max_cost:f}",
        "max_order": f"{limits.max_order:f}",
    }


def _record(
    tx: Transaction, action: Action, portfolio: ManagedPortfolio, now: datetime, **facts: str
) -> None:
    record(
        tx,
        action,
        at=now,
        subject=portfolio.owner,
        target=f"portfolio:{portfolio.id}",
        details=facts,
    )
