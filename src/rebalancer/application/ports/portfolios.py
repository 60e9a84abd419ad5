"""What is held, what was proposed, and who carries it out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.portfolio.ledger import Entry, Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, UnreadablePortfolio
from rebalancer.domain.rebalancing.lifecycle import Fill, ProposalRecord, Stage


class Portfolios(Protocol):
    """Portfolios in somebody's keeping; those of others do not exist."""

    def add(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        """Keep a new portfolio and the entries that its ledger begins with."""

    def get(self, id: UUID, *, owner: UUID | None = None) -> ManagedPortfolio:
        """The portfolio of this id; of any owner when None, for operators.

        Raises:
            NotFound: there is none, it is closed, or it is somebody else's.
        """

    def save(self, portfolio: ManagedPortfolio, *, entries: Sequence[Entry] = ()) -> None:
        """Replace the portfolio of the version before, and add entries to its ledger.

        Raises:
            PortfolioChanged: the kept version is not the one before; nothing is written.
            Conflict: one of the entries is in the ledger already.
        """

    def close(self, id: UUID, *, owner: UUID, version: int, now: datetime) -> None:
        """Put a portfolio away: it is found no more, its ledger is kept for the record.

        Raises:
            NotFound: as `get`.
            PortfolioChanged: the kept version is not this one.
        """

    def page(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        """Portfolios of an owner, the oldest first, from the one that follows ``after`` on."""

    def get_many(self, ids: Collection[UUID]) -> dict[UUID, ManagedPortfolio]:
        """Portfolios of anybody by id, unknown and closed ones left out; at once, however many."""

    def versions(self, ids: Collection[UUID]) -> dict[UUID, int]:
        """The present version of each of these portfolios; unknown ones are left out."""

    def chunk(
        self, *, after: UUID | None = None, until: UUID | None = None, limit: int | None = None
    ) -> list[ManagedPortfolio | UnreadablePortfolio]:
        """Portfolios of everybody by id, those behind ``after`` up to ``until``: for operators.

        One that cannot be read keeps nobody from the others.
        """

    def chunk_boundaries(self, size: int) -> list[UUID]:
        """Of all open portfolios by id, each ``every``-th one."""

    def ledger(self, id: UUID) -> Ledger:
        """All entries of a portfolio, as they were written down; empty for an unknown one."""

    def entries(self, id: UUID, *, before: UUID | None = None, limit: int) -> list[Entry]:
        """Entries of a portfolio, the latest written first, from the one before ``before`` on."""


class Proposals(Protocol):
    """What was proposed, and what became of it."""

    def add(self, records: Sequence[ProposalRecord]) -> None:
        """Keep new proposals."""

    def get(self, id: UUID, *, owner: UUID | None = None) -> ProposalRecord:
        """The proposal of this id; of any owner when None, for operators.

        Raises:
            NotFound: there is none, its portfolio is closed, or it is somebody else's.
        """

    def save(self, record: ProposalRecord, *, expected: Stage) -> None:
        """Replace the proposal whose stored stage is ``expected``.

        Raises:
            NotFound: as `get`.
            ProposalClosed: its stage is another one: somebody was quicker; nothing is written.
        """

    def page(
        self,
        owner: UUID,
        *,
        portfolio_id: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[ProposalRecord]:
        """Proposals for an owner, or for one portfolio, the latest first, from ``before`` on.

        Proposals for closed portfolios are left out.
        """


class IdempotencyKeys(Protocol):
    """Requests that were carried out."""

    def get(self, owner: UUID, key: str) -> IdempotencyKey | None:
        """What came of a request; None when it was never made."""

    def add(self, key: IdempotencyKey) -> None:
        """Keep a new one.

        Raises:
            Conflict: the same request is being carried out this moment.
        """

    def delete_before(self, before: datetime) -> int:
        """Forget those that were created before a moment; how many there were."""


class Broker(Protocol):
    """Who carries out orders.

    A broker that trades for real must be told before anything is recorded, and asked again after a
    crash: that takes the stage ``accepted``, written down first. The paper broker has no effects
    of its own, so that its fills are recorded in one transaction with the acceptance.
    """

    def execute(self, record: ProposalRecord) -> list[Fill]:
        """Carry out a proposal's orders, in their order; the same proposal gives the same fills."""
