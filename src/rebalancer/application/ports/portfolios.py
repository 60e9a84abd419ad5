"""Portfolios, proposals, and the broker that executes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from rebalancer.domain.accounts.shares import Right
from rebalancer.domain.backtest.history_snapshots import KeptHistory
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.portfolio.ledger import Entry, Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, UnreadablePortfolio
from rebalancer.domain.rebalancing.lifecycle import Fill, ProposalRecord, Stage


class LongReplay(Exception):
    """A transaction that holds locks needs many entries of a ledger; read them outside of it."""


class Portfolios(Protocol):
    """Portfolios and their ledgers.

    Those of other owners are not found, unless they are shared and both accounts are enabled.
    """

    def add(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        """Add a new portfolio with the first entries of its ledger."""

    def get(self, id: UUID, *, owner: UUID | None = None) -> ManagedPortfolio:
        """Return the portfolio of this id; of any owner when None, for operators.

        Raises:
            NotFound: it does not exist, is closed, or has another owner.
            NotAllowed: its owner shares it with ``owner``.
        """

    def get_for(self, id: UUID, actor: UUID, right: Right = Right.READ) -> ManagedPortfolio:
        """Return the portfolio of this id if the actor owns it, or has a right to it.

        Raises:
            NotFound: it does not exist, is closed, or is not shared with the actor.
            NotAllowed: it is shared without the right; see `check_right`.
        """

    def save(
        self,
        portfolio: ManagedPortfolio,
        *,
        entries: Sequence[Entry] = (),
        ledger: Ledger | None = None,
    ) -> None:
        """Replace the previous version of a portfolio, and append entries to its ledger.

        Args:
            portfolio: The next version.
            entries: To append.
            ledger: With these entries, if the caller has added it up; None: it is read.

        Raises:
            PortfolioChanged: the stored version is not the previous one; nothing is written.
            Conflict: an entry is in the ledger already.
        """

    def mark_booked(self, actions: str, versions: Mapping[UUID, int]) -> None:
        """Store that ledgers have booked all corporate actions of a digest; versions stay.

        ``versions`` names the version of each portfolio; one with another version is left alone.
        """

    def histories(self, ids: Collection[UUID]) -> dict[UUID, KeptHistory]:
        """Return the snapshots of histories that are stored; unknown ids are left out.

        They are only a cache: what was recorded or restated later is for the reader to find out.
        A snapshot of another version is left out.
        """

    def keep_histories(self, kept: Mapping[UUID, KeptHistory]) -> None:
        """Store snapshots, each with a base, in place of earlier ones."""

    def close(self, id: UUID, *, owner: UUID, version: int, now: datetime) -> None:
        """Close a portfolio: it is no longer found, but its ledger stays.

        Raises:
            NotFound: as `get`.
            PortfolioChanged: the stored version is another one.
        """

    def with_automatic_flows(
        self, *, after: UUID | None = None, limit: int
    ) -> list[ManagedPortfolio]:
        """Return open portfolios of all owners whose due flows are booked by themselves, by id.

        Beginning after the id ``after``.
        """

    def followers(self, model: UUID) -> list[ManagedPortfolio]:
        """Return the open portfolios that follow a model, by id."""

    def count(self, owner: UUID) -> int:
        """Return the number of an owner's open portfolios."""

    def page(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        """Return an owner's portfolios, oldest first, beginning after the id ``after``."""

    def of_owner(
        self, owner: UUID, *, after: UUID | None = None, limit: int
    ) -> list[ManagedPortfolio]:
        """Return an owner's portfolios like `page`, with the closed ones."""

    def closings(self, owner: UUID) -> dict[UUID, datetime]:
        """Return when each closed portfolio of an owner was closed."""

    def shared_page(
        self, actor: UUID, *, after: UUID | None = None, limit: int
    ) -> list[ManagedPortfolio]:
        """Return portfolios of others that the actor may read, like `page`."""

    def get_many(self, ids: Collection[UUID]) -> dict[UUID, ManagedPortfolio]:
        """Return open portfolios of any owner by id; unknown ones are left out."""

    def versions(self, ids: Collection[UUID]) -> dict[UUID, int]:
        """Return the current version of each portfolio; unknown ones are left out."""

    def chunk(
        self, *, after: UUID | None = None, until: UUID | None = None, limit: int | None = None
    ) -> list[ManagedPortfolio | UnreadablePortfolio]:
        """Return portfolios of all owners with ``after`` < id <= ``until``, sorted by id.

        A portfolio that cannot be read does not affect the others.
        """

    def symbols(self) -> frozenset[str]:
        """Return the assets that open portfolios of any owner hold or target."""

    def chunk_boundaries(self, size: int) -> list[UUID]:
        """Return the id of each ``size``-th open portfolio, sorted by id."""

    def ledger(self, id: UUID) -> Ledger:
        """Return all entries as recorded; an empty ledger for an unknown portfolio.

        Entries of a long ledger are read when they are needed, until the transaction ends. Then
        its methods raise LongReplay if the transaction holds locks and needs many entries.
        """

    def ledgers(self, ids: Collection[UUID]) -> dict[UUID, Ledger]:
        """Return the ledger of each portfolio, as `ledger`, with few queries.

        The notes that owners wrote may be missing.
        """

    def entries(self, id: UUID, *, before: UUID | None = None, limit: int) -> list[Entry]:
        """Return entries, latest recorded first, beginning after the entry ``before``."""

    def void(self, id: UUID, entries: Collection[UUID]) -> frozenset[UUID]:
        """Return which of the entries of a portfolio are void."""

    def fills(self, proposals: Mapping[UUID, UUID]) -> dict[UUID, dict[str, Decimal]]:
        """Return the quantity of each asset that trades filled, by proposal.

        ``proposals`` names the portfolio of each. A proposal without trades has no quantities.
        """


class Proposals(Protocol):
    """Proposals and their status."""

    def add(self, records: Sequence[ProposalRecord]) -> None:
        """Add new proposals."""

    def get(self, id: UUID, *, owner: UUID | None = None) -> ProposalRecord:
        """Return the proposal of this id; of any owner when None, for operators.

        Raises:
            NotFound: it does not exist, its portfolio is closed, or it has another owner.
            NotAllowed: the owner shares the portfolio with ``owner``.
        """

    def get_for(self, id: UUID, actor: UUID, right: Right = Right.READ) -> ProposalRecord:
        """Return the proposal of this id if the actor owns the portfolio, or has a right to it.

        Raises:
            NotFound: the proposal does not exist, or as `Portfolios.get_for`.
            NotAllowed: as `Portfolios.get_for`.
        """

    def save(self, record: ProposalRecord, *, expected: Stage) -> None:
        """Replace the proposal whose stored stage is ``expected``.

        Raises:
            NotFound: as `get`.
            ProposalClosed: the stored stage is another one; nothing is written.
        """

    def count_undecided(self, owner: UUID) -> int:
        """Return the number of an owner's proposals that were never accepted.

        Proposals of closed portfolios count.
        """

    def waiting(
        self, portfolios: Collection[UUID], now: datetime
    ) -> dict[UUID, list[ProposalRecord]]:
        """Return the proposals that can still be decided, oldest first, by portfolio.

        A portfolio without one is left out.
        """

    def delete_expired(self, before: datetime, *, limit: int) -> int:
        """Delete some of the proposals that were never accepted and were made before a time.

        A proposal that can still be accepted at this time stays.

        Returns:
            How many were deleted, at most ``limit``.
        """

    def page(
        self,
        owner: UUID,
        *,
        portfolio_id: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[ProposalRecord]:
        """Return proposals of an owner or one portfolio, latest first, after ``before``.

        Proposals of closed portfolios are left out.
        """

    def of_owner(
        self, owner: UUID, *, before: UUID | None = None, limit: int
    ) -> list[ProposalRecord]:
        """Return proposals of an owner like `page`, with those of closed portfolios."""


class IdempotencyKeys(Protocol):
    """Results of requests with an idempotency key."""

    def get(self, owner: UUID, key: str) -> IdempotencyKey | None:
        """Return the result of an earlier request; None without one."""

    def add(self, key: IdempotencyKey) -> None:
        """Add a result.

        Raises:
            Conflict: another request with this key is running.
        """

    def save_answer(self, owner: UUID, key: str, answer: str) -> None:
        """Store the answer to a request; an unknown key is ignored, an earlier answer stays."""

    def delete_before(self, before: datetime) -> int:
        """Delete results created before a time; return how many."""


class Broker(Protocol):
    """Executes orders: they are submitted, then their fills arrive."""

    @property
    def fills_at_once(self) -> bool:
        """Whether all fills are known at once, without effects outside of this process.

        Then acceptance and fills are stored in one transaction. Otherwise the acceptance is stored
        first, then the orders are submitted, and `CollectFills` records the fills when all have
        arrived.
        """

    @property
    def is_simulated(self) -> bool:
        """Whether executions are simulated, without real money."""

    def submit(self, record: ProposalRecord) -> None:
        """Submit a proposal's orders; submitting the same proposal again has no effect.

        Raises:
            Unavailable: the broker did not answer; the orders may have been submitted.
        """

    def fills(self, record: ProposalRecord) -> list[Fill] | None:
        """Return the fills in the order of the orders; None until all have arrived.

        The same proposal has the same fills whenever they are read.

        Raises:
            Unavailable: the broker did not answer.
        """

    def pending(self) -> Sequence[UUID]:
        """Return the submitted proposals whose fills may not be booked yet.

        A proposal is listed until its fills were read in full; one that is already booked may be.

        Raises:
            Unavailable: the broker did not answer.
        """
