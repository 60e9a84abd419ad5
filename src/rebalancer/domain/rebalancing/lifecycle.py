"""What becomes of a proposal: proposed, then accepted, rejected or expired, and executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.errors import Conflict
from rebalancer.domain.portfolio.ledger import Entry, EntryKind
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.model import Proposal, Side, Status

VALID_FOR = timedelta(hours=24)
"""How long a proposal may be accepted."""

_ZERO = Decimal(0)


class ProposalClosed(Conflict):
    """It can no longer be decided on: somebody did, or its time is over."""


class ProposalStale(Conflict):
    """The portfolio or the market has moved on since: ask for another proposal."""


class Stage(StrEnum):
    """Where a proposal stands."""

    PROPOSED = "proposed"
    NOTHING_TO_DO = "nothing_to_do"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    EXECUTED = "executed"


@attrs.frozen
class ProposalInputs:
    """What a proposal was made from, so that it can be made again.

    Attributes:
        portfolio: As it stood, with the cash flow to be dealt with.
        planned: The part of that cash flow which is in no ledger yet; acceptance records it.
        version: The portfolio's version.
        prices: The as-of close of each of its symbols.
        market: SHA-256 of all the prices that the policy saw.
        newest: The last close that there was, which is later than the proposal's own day when
            somebody asks about the past.
        costs: The price list, as it is called.
    """

    portfolio: Portfolio
    planned: Decimal
    version: int
    prices: Mapping[str, Decimal]
    market: str
    newest: date
    costs: str


@attrs.frozen
class Fill:
    """A trade that was made.

    Attributes:
        symbol: What.
        side: Bought or sold.
        quantity: How many, > 0.
        price: Of one.
        value: Quantity times price, in money that was paid.
        cost: What the trade cost on top.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    value: Decimal
    cost: Decimal


def fill_id(proposal: UUID, number: int) -> UUID:
    """Of the ledger entry of a proposal's n-th fill.

    A ledger takes each id once, so that however a proposal is carried out, it is so once.
    """
    return uuid5(proposal, f"fill {number}")


@attrs.frozen
class ProposalRecord:
    """A proposal, what it saw, and what was made of it.

    Attributes:
        id: Unique.
        owner: Whose portfolio.
        portfolio_id: Which.
        proposal: What to trade, and why.
        seen: What it was made from.
        proposed: When, with a time zone.
        expires: From when on it can no longer be accepted.
        stage: Where it stands, as last written down; see `stage_at`.
        decided: When it was accepted or rejected.
        executed: When its trades were recorded.
        remark: Why it was rejected, or what its owner wanted to remember.
        run: The batch run that made it; None when a person asked.
    """

    id: UUID
    owner: UUID
    portfolio_id: UUID
    proposal: Proposal
    inputs: ProposalInputs
    proposed: datetime
    expires: datetime
    stage: Stage
    decided: datetime | None = None
    executed: datetime | None = None
    remark: str = ""
    run: UUID | None = None

    @classmethod
    def of(
        cls,
        proposal: Proposal,
        inputs: ProposalInputs,
        *,
        id: UUID,
        owner: UUID,
        now: datetime,
        run: UUID | None = None,
    ) -> ProposalRecord:
        """A proposal as it is made."""
        made = proposal.status is Status.PROPOSED
        return cls(
            id=id,
            owner=owner,
            portfolio_id=UUID(proposal.portfolio_id),
            proposal=proposal,
            inputs=inputs,
            proposed=now,
            expires=now + VALID_FOR,
            stage=Stage.PROPOSED if made else Stage.NOTHING_TO_DO,
            run=run,
        )

    def stage_at(self, now: datetime) -> Stage:
        """Where it stands at a time: undecided proposals expire."""
        waiting = self.stage is Stage.PROPOSED
        return Stage.EXPIRED if waiting and now >= self.expires else self.stage

    def staleness(self, *, version: int, newest: date) -> str | None:
        """Why it no longer fits the portfolio's version or the last close; None when it does."""
        if version != self.inputs.version:
            return (
                "the portfolio has changed since it was proposed "
                f"(version {self.inputs.version}, now {version})"
            )
        if newest != self.inputs.newest:
            return (
                f"there are closes of {newest}; the last that it knew was of {self.inputs.newest}"
            )
        return None

    def accepted(self, now: datetime, *, version: int, newest: date) -> ProposalRecord:
        """The proposal, its owner having agreed to it.

        Args:
            now: When.
            version: The portfolio's present version.
            newest: The last close that there is.

        Raises:
            ProposalClosed: it has been decided on, has expired, or has nothing to trade.
            ProposalStale: the portfolio or the market has moved on.
        """
        self._open(now, "accept")
        if (why := self.staleness(version=version, newest=newest)) is not None:
            raise ProposalStale(f"{why}; ask for another proposal")
        return attrs.evolve(self, stage=Stage.ACCEPTED, decided=now)

    def rejected(self, now: datetime, remark: str = "") -> ProposalRecord:
        """The proposal, its owner having declined it.

        Raises:
            ProposalClosed: it has been decided on, has expired, or has nothing to trade.
        """
        self._open(now, "reject")
        return attrs.evolve(self, stage=Stage.REJECTED, decided=now, remark=remark)

    def carried_out(self, now: datetime) -> ProposalRecord:
        """The proposal, its trades having been made.

        Raises:
            ProposalClosed: it is not waiting for them.
        """
        if self.stage is not Stage.ACCEPTED:
            raise ProposalClosed(
                f"is {self.stage_at(now)}; only an accepted proposal waits for its trades"
            )
        return attrs.evolve(self, stage=Stage.EXECUTED, executed=now)

    def entries(self, fills: Sequence[Fill], now: datetime) -> list[Entry]:
        """Ledger entries of the planned cash flow and of fills at the as-of close.

        Their ids follow from the proposal's, see `fill_id`.
        """
        on = self.proposal.as_of
        found = []
        if self.inputs.planned:
            pays_in = self.inputs.planned > 0
            found.append(
                Entry(
                    id=uuid5(self.id, "cash flow"),
                    kind=EntryKind.DEPOSIT if pays_in else EntryKind.WITHDRAWAL,
                    on=on,
                    recorded=now,
                    amount=abs(self.inputs.planned),
                    proposal=self.id,
                )
            )
        for number, fill in enumerate(fills):
            found.append(
                Entry(
                    id=fill_id(self.id, number),
                    kind=EntryKind.BUY if fill.side is Side.BUY else EntryKind.SELL,
                    on=on,
                    recorded=now,
                    amount=fill.value,
                    symbol=fill.symbol,
                    quantity=fill.quantity,
                    price=fill.price,
                    cost=fill.cost,
                    proposal=self.id,
                )
            )
        return found

    def _open(self, now: datetime, verb: str) -> None:
        stage = self.stage_at(now)
        if stage is Stage.PROPOSED:
            return
        if stage is Stage.NOTHING_TO_DO:
            raise ProposalClosed(f"there is nothing to {verb}: it trades nothing")
        if stage is Stage.EXPIRED:
            raise ProposalClosed(f"expired at {self.expires:%Y-%m-%d %H:%M} UTC; ask for another")
        raise ProposalClosed(f"is {stage} already")
