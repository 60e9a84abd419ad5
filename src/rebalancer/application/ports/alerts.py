"""Alerts and automation of portfolios."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.alerts.automation import DaySpending
from rebalancer.domain.alerts.record import AlertRecord, AutomationProgress, AutomationStop
from rebalancer.domain.alerts.settings import AlertKind
from rebalancer.domain.alerts.watches import Episode


class Alerts(Protocol):
    """Settings and states of alerts by portfolio, and their episodes.

    A worker evaluates a portfolio under a lease. What a worker stores after its lease was lost is
    rejected, so no portfolio is evaluated by two workers, and one of a dead worker is taken over.
    """

    def find(self, portfolio: UUID) -> AlertRecord | None:
        """Return the record of a portfolio; None before its first settings."""

    def any(self) -> bool:
        """Return whether any record exists."""

    def of_owner(self, owner: UUID) -> list[AlertRecord]:
        """Return the records of an owner's portfolios, sorted by portfolio."""

    def live(self) -> list[AlertRecord]:
        """Return the records of open portfolios with alerts at quotes, sorted by portfolio."""

    def save_settings(self, record: AlertRecord) -> None:
        """Store settings, automation and due time; a lease ends, state and progress stay.

        For a new record state and progress are stored, too.
        """

    def claim(
        self,
        now: datetime,
        *,
        worker: UUID,
        until: datetime,
        market: str,
        settled: datetime,
        limit: int,
        portfolio: UUID | None = None,
    ) -> list[AlertRecord]:
        """Lease records that are to be evaluated, longest overdue first.

        They are due, or their portfolio has changed since, or the prices have, and no other worker
        holds a lease. Those of closed portfolios and of disabled accounts are left out.

        Args:
            now: Current time.
            worker: Who gets the lease.
            until: End of the lease.
            market: Version of the present prices, which begins with the day of the last close.
                Those of a later day count at once, and those of an earlier day do not count.
            settled: Other prices of the same day count for records that are due at this time, so
                that processes with different prices do not evaluate them again and again.
            limit: Most records.
            portfolio: The only portfolio to lease, which then counts as due; None: any.
        """

    def finish(self, record: AlertRecord, *, worker: UUID, release: bool = True) -> bool:
        """Store state, progress, due time, version and market of a leased record.

        Returns:
            Whether the worker still held the lease; if not, nothing is stored.
        """

    def save_progress(
        self, portfolio: UUID, progress: AutomationProgress, *, worker: UUID, release: bool
    ) -> bool:
        """Store the progress of a leased record, as `finish`."""

    def begin_episodes(self, owner: UUID, episodes: Sequence[Episode]) -> None:
        """Add episodes that began.

        Raises:
            Conflict: one of them is known.
        """

    def end_episode(
        self, portfolio: UUID, kind: AlertKind, subject: str, number: int, now: datetime
    ) -> None:
        """Store that an episode ended; an unknown one is ignored."""

    def episodes(self, portfolio: UUID, *, before: UUID | None = None, limit: int) -> list[Episode]:
        """Return episodes, latest first, beginning after the episode with the id ``before``."""


class AutomationControls(Protocol):
    """What limits automation: the kill switch, and what was accepted on a day."""

    def stop_for(self, owner: UUID) -> AutomationStop | None:
        """Return the stop that concerns an owner: that of the deployment, else the own one.

        In a transaction that writes, no stop that concerns the owner is set until it ends; and one
        that is being set is waited for.
        """

    def find_stop(self, owner: UUID | None) -> AutomationStop | None:
        """Return the stop of an account, or with None that of the deployment."""

    def set_stop(self, owner: UUID | None, now: datetime) -> bool:
        """Set the stop of an account or, with None, of the deployment; return whether it is new."""

    def clear_stop(self, owner: UUID | None) -> bool:
        """Clear a stop; return whether it was set."""

    def spent(self, portfolio: UUID, day: date) -> list[DaySpending]:
        """Return what was accepted automatically for a portfolio on a day of its market."""

    def spend(
        self, portfolio: UUID, owner: UUID, day: date, proposal: UUID, spending: DaySpending
    ) -> None:
        """Add what was accepted.

        Raises:
            Conflict: the proposal was added before.
        """
