"""Quotas: the most that one account may have, store and start.

Each is checked in the transaction that uses it. Transactions of one account that use the same quota
run one after the other: its row is locked, or a counter is.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from rebalancer.application.ports.store import Transaction
from rebalancer.domain.errors import Conflict
from rebalancer.domain.jobs.job import JobState
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.mandate import Mandate

_PROPOSALS = "proposals"
_BYTES = "bytes"

_OPEN_JOBS = frozenset({JobState.QUEUED, JobState.RUNNING})

_ENTRY_SIZE, _PORTFOLIO_SIZE, _SYMBOL_SIZE = 300, 500, 20
"""Bytes that rows take in the database."""


class QuotaReached(Conflict):
    """The account has as much of something as it may have."""

    default_code = "quota_reached"


class DailyQuotaReached(Conflict):
    """The account has used what it may use in one day.

    Attributes:
        limit: The quota.
        retry_after: Seconds until the next day begins.
    """

    default_code = "daily_quota_reached"

    def __init__(self, message: str, *, limit: int, retry_after: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after = retry_after


@attrs.frozen
class Quotas:
    """The most that one account may have and use; 0: unlimited.

    Attributes:
        portfolios: Open portfolios.
        entries: Entries in the ledger of one portfolio.
        proposals: Stored proposals that were never accepted.
        proposals_a_day: New proposals in one day.
        jobs: Unfinished jobs.
        streams: Open streams in one server process.
        bytes_a_day: Bytes that are stored in one day, besides proposals.
        registrations_a_day: Accounts that are registered from one address in one day.
        profiles: Saved mapping profiles.
    """

    portfolios: int = 200
    entries: int = 200_000
    proposals: int = 5_000
    proposals_a_day: int = 2_000
    jobs: int = 20
    streams: int = 10
    bytes_a_day: int = 100_000_000
    registrations_a_day: int = 100
    profiles: int = 100

    def check_portfolios(self, tx: Transaction, owner: UUID) -> None:
        """Check that an account may open one more portfolio.

        Raises:
            QuotaReached: it has as many as it may have.
        """
        if not self.portfolios:
            return
        tx.users.lock(owner)
        if tx.portfolios.count(owner) >= self.portfolios:
            raise QuotaReached(
                f"you have {self.portfolios} portfolios, the maximum; close one first"
            )

    def check_entries(self, recorded: int, new: int) -> None:
        """Check that a ledger may get further entries.

        Args:
            recorded: Entries that it has.
            new: Entries to add.

        Raises:
            QuotaReached: it would have more than it may have.
        """
        if self.entries and recorded + new > self.entries:
            raise QuotaReached(
                f"the ledger has {recorded} entries, and {new} more would exceed the maximum of "
                f"{self.entries}; open another portfolio, and transfer the holdings to it"
            )

    def check_profiles(self, tx: Transaction, owner: UUID) -> None:
        """Check that an account may save one more mapping profile.

        Raises:
            QuotaReached: it has as many as it may have.
        """
        if not self.profiles:
            return
        tx.users.lock(owner)
        if len(tx.profiles.of_owner(owner)) >= self.profiles:
            raise QuotaReached(
                f"you have {self.profiles} mapping profiles, the maximum; delete one first"
            )

    def check_jobs(self, tx: Transaction, owner: UUID) -> None:
        """Check that an account may start one more job.

        Raises:
            QuotaReached: it has as many unfinished jobs as it may have.
        """
        if not self.jobs:
            return
        tx.users.lock(owner)
        if tx.jobs.count(owner, _OPEN_JOBS) >= self.jobs:
            raise QuotaReached(
                f"you have {self.jobs} unfinished jobs, the maximum; wait until one finishes, or "
                "cancel one",
                code="too_many_unfinished_jobs",
            )

    def take_proposals(self, tx: Transaction, owner: UUID, new: int, now: datetime) -> None:
        """Count new proposals of an account.

        Raises:
            QuotaReached: it has as many as it may have.
            DailyQuotaReached: it has requested too many today.
        """
        if self.proposals_a_day:
            self._take(tx, owner, _PROPOSALS, new, self.proposals_a_day, now, "proposals")
        elif self.proposals:
            tx.users.lock(owner)
        self.check_proposals(tx, owner, new)

    def check_proposals(
        self, tx: Transaction, owner: UUID, new: int, now: datetime | None = None
    ) -> None:
        """Check that an account may store further proposals.

        Args:
            tx: Any transaction.
            owner: The account.
            new: Number of proposals.
            now: Current time, to check the quota of the day, too; None: not to.

        Raises:
            QuotaReached: it has as many as it may have.
            DailyQuotaReached: it has requested too many today.
        """
        daily = self.proposals_a_day
        if now is not None and 0 < daily < new + tx.usage.used(owner, _PROPOSALS, now.date()):
            raise _exceeded(daily, "proposals", now)
        if self.proposals and tx.proposals.count_undecided(owner) + new > self.proposals:
            raise QuotaReached(
                f"you have {self.proposals} proposals that were not accepted, the maximum; they "
                "are deleted some time after they expire"
            )

    def take_bytes(self, tx: Transaction, owner: UUID, size: int, now: datetime) -> None:
        """Count bytes that an account stores.

        Raises:
            DailyQuotaReached: it has stored too much today.
        """
        if self.bytes_a_day and size:
            self._take(tx, owner, _BYTES, size, self.bytes_a_day, now, "stored bytes")

    def _take(
        self,
        tx: Transaction,
        owner: UUID,
        quota: str,
        amount: int,
        limit: int,
        now: datetime,
        what: str,
    ) -> None:
        if not tx.usage.take(owner, quota, now.date(), amount, limit=limit):
            raise _exceeded(limit, what, now)


DEFAULT_QUOTAS = Quotas()
UNLIMITED = Quotas(0, 0, 0, 0, 0, 0, 0, 0, 0)


def size_of_entries(entries: Iterable[Entry]) -> int:
    """Return about how many bytes entries take in the database."""
    return sum(_ENTRY_SIZE + len(entry.note) for entry in entries)


def size_of_portfolio(mandate: Mandate, entries: Iterable[Entry]) -> int:
    """Return about how many bytes a new portfolio takes in the database."""
    rules = mandate.preferences
    symbols = len(mandate.targets) + len(rules.do_not_sell) + len(rules.do_not_buy)
    return _PORTFOLIO_SIZE + _SYMBOL_SIZE * symbols + len(mandate.name) + size_of_entries(entries)


def _exceeded(limit: int, what: str, now: datetime) -> DailyQuotaReached:
    return DailyQuotaReached(
        f"this would exceed {limit} {what} in one day, the maximum; try again tomorrow (UTC)",
        limit=limit,
        retry_after=_seconds_left(now),
    )


def _seconds_left(now: datetime) -> int:
    """Return the seconds until the day of a time, in its zone, is over; at least one."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return max(1, round((midnight - now).total_seconds()))
