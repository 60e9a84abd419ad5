"""The kill switch of automation, for owners and for operators."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.notices import raise_notice
from rebalancer.application.operators import authorize
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.sessions import require_recent
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.alerts.record import AutomationStop
from rebalancer.domain.audit.events import Action
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.notices.notice import Notice


@attrs.frozen
class ReadStops:
    """Read the kill switch."""

    work: UnitOfWork

    def __call__(self, owner: UUID) -> AutomationStop | None:
        """Return the stop that concerns an account; None if automation may run."""
        with self.work.read() as tx:
            return tx.automation.stop_for(owner)

    def of_deployment(self, bearer: Bearer | None) -> AutomationStop | None:
        """Return the stop of the deployment; None if it is not set.

        Raises:
            NotAllowed: the caller is not an operator.
        """
        with self.work.begin() as tx:
            authorize(tx, bearer)
            return tx.automation.find_stop(None)


@attrs.frozen
class StopAutomation:
    """Stop automatic proposals and acceptances, for an account or the whole deployment.

    When it returns, nothing is accepted automatically any more: an acceptance that had begun is
    finished by then, or is rejected.
    """

    work: UnitOfWork

    def __call__(self, owner: UUID, *, now: datetime) -> AutomationStop:
        """Stop it for all portfolios of an account; doing it twice changes nothing."""
        with self.work.begin() as tx:
            if tx.automation.set_stop(owner, now):
                _record(tx, Action.AUTOMATION_STOPPED, owner, now)
                key = f"automation stopped {now.isoformat()}"
                notice = Notice.new(
                    NoticeKind.KILL_SWITCH,
                    owner=owner,
                    key=key,
                    now=now,
                    link="/account",
                    by="owner",
                )
                raise_notice(tx, notice)
            return tx.automation.find_stop(owner) or AutomationStop(owner, now)

    def everywhere(self, bearer: Bearer | None, *, now: datetime) -> AutomationStop:
        """Stop it for the whole deployment; no proof of identity is asked for, to lose no time.

        Raises:
            NotAllowed: the caller is not an operator.
        """
        with self.work.begin() as tx:
            authorize(tx, bearer)
            if tx.automation.set_stop(None, now):
                _record(tx, Action.AUTOMATION_STOPPED, None, now)
            return tx.automation.find_stop(None) or AutomationStop(None, now)


@attrs.frozen
class ResumeAutomation:
    """Let automation run again. What was due meanwhile is not made up for."""

    work: UnitOfWork

    def __call__(self, bearer: Bearer, *, now: datetime) -> AutomationStop | None:
        """Clear the stop of an account; return that of the deployment, if it is set.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
        """
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            return _clear(tx, bearer.owner, now)

    def everywhere(self, bearer: Bearer | None, *, now: datetime) -> None:
        """Clear the stop of the deployment; those of accounts stay.

        Raises:
            NotAllowed: the caller is not an operator, or the last proof of identity is too old.
        """
        with self.work.begin() as tx:
            authorize(tx, bearer, recent_at=now)
            if tx.automation.clear_stop(None):
                _record(tx, Action.AUTOMATION_RESUMED, None, now)

    def for_account(self, owner: UUID, *, now: datetime) -> AutomationStop | None:
        """Clear the stop of an account, for operators at a terminal."""
        with self.work.begin() as tx:
            return _clear(tx, tx.users.get(owner).id, now)


def _clear(tx: Transaction, owner: UUID, now: datetime) -> AutomationStop | None:
    """Clear the stop of an account; return that of the deployment, if it is set."""
    if tx.automation.clear_stop(owner):
        _record(tx, Action.AUTOMATION_RESUMED, owner, now)
    return tx.automation.stop_for(owner)


def _record(tx: Transaction, action: Action, owner: UUID | None, now: datetime) -> None:
    target = "deployment" if owner is None else f"user:{owner}"
    record(tx, action, at=now, subject=owner, target=target)
