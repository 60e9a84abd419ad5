"""The life of a proposal: proposed, then accepted, rejected or expired, and executed.

An accepted proposal stays open until all its orders are filled, in parts or at once, or until it
is cancelled or expires.
"""

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
from rebalancer.domain.rebalancing.live_prices import LivePrices
from rebalancer.domain.rebalancing.model import Order, Proposal, Side, Status

VALID_FOR = timedelta(hours=24)
"""How long a proposal at closes may be accepted."""

OPEN_FOR = timedelta(days=30)
"""How long an accepted proposal takes trades."""


class ProposalClosed(Conflict):
    """The proposal cannot be decided on: it is decided or has expired."""

    default_code = "proposal_closed"


class ProposalStale(Conflict):
    """The portfolio or the market has changed since the proposal was made."""

    default_code = "proposal_stale"


class Stage(StrEnum):
    """Stage of a proposal."""

    PROPOSED = "proposed"
    NOTHING_TO_DO = "nothing_to_do"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    EXECUTED = "executed"
    CANCELLED = "cancelled"


UNACCEPTED = frozenset({Stage.PROPOSED, Stage.NOTHING_TO_DO, Stage.REJECTED, Stage.EXPIRED})
"""Stages of proposals that were never accepted."""


class ProposalOrigin(StrEnum):
    """Why a proposal was made without a request."""

    SCHEDULE = "schedule"
    ALERT = "alert"


@attrs.frozen
class ProposalInputs:
    """Snapshot of a proposal's inputs, for replay.

    Attributes:
        portfolio: The portfolio, including the cash flow to deal with.
        planned: Part of that cash flow that is not in a ledger yet; acceptance records it.
        version: The portfolio's version.
        prices: Last price of each of its symbols that has one, as traded, in the asset's currency.
        market: SHA-256 of all prices that the policy used.
        newest: Day of the last known close of any of its assets, later than the as-of day of a
            proposal for the past. In older proposals, of any asset at all.
        costs: Label of the cost model.
        rates: Units of the base currency per unit, by the ISO 4217 codes of the other currencies of
            its assets and cash.
        currencies: ISO 4217 code of each asset's currency that is not the base currency.
        live: The quotes at which it was made; None for a proposal at closes.
    """

    portfolio: Portfolio
    planned: Decimal
    version: int
    prices: Mapping[str, Decimal]
    market: str
    newest: date
    costs: str
    rates: Mapping[str, Decimal] = attrs.field(factory=dict)
    currencies: Mapping[str, str] = attrs.field(factory=dict)
    live: LivePrices | None = None


@attrs.frozen
class Fill:
    """An executed order; its value is the money paid or received, without the cost.

    ``currency`` is the ISO 4217 code of price, value and cost; None: the base currency.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    value: Decimal
    cost: Decimal
    currency: str | None = None

    @classmethod
    def of(cls, order: Order) -> Fill:
        """Return the fill of an order at its reference price and expected cost."""
        return cls(
            order.symbol,
            order.side,
            order.quantity,
            order.price,
            order.value if order.amount is None else order.amount,
            order.cost if order.cost_amount is None else order.cost_amount,
            order.currency,
        )


_KINDS = {Side.BUY: EntryKind.BUY, Side.SELL: EntryKind.SELL}


def fill_id(proposal: UUID, number: int) -> UUID:
    """Return the id of the ledger entry of a proposal's n-th fill.

    A ledger takes each id once, so a proposal is never executed twice.
    """
    return uuid5(proposal, f"fill {number}")


@attrs.frozen
class ProposalRecord:
    """A proposal, its inputs and its history.

    Attributes:
        proposed: When it was made, with a time zone.
        expires: From when on it can no longer be accepted.
        stage: Stage as last stored; see `stage_at`.
        decided: When it was accepted or rejected.
        executed: When the last of its orders was filled.
        remark: Why it was rejected or cancelled, in the owner's words.
        run: The batch run that made it; None for a single request.
        cancelled: When its open orders were cancelled.
        actor: Who requested it: its owner, or an adviser; None: a batch run, or not recorded.
        origin: Why it was made automatically; None: it was requested.
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
    cancelled: datetime | None = None
    actor: UUID | None = None
    origin: ProposalOrigin | None = None

    @classmethod
    def new(
        cls,
        proposal: Proposal,
        inputs: ProposalInputs,
        *,
        id: UUID,
        owner: UUID,
        now: datetime,
        run: UUID | None = None,
        actor: UUID | None = None,
        origin: ProposalOrigin | None = None,
    ) -> ProposalRecord:
        """Record a new proposal."""
        made, live = proposal.status is Status.PROPOSED, inputs.live
        return cls(
            id=id,
            owner=owner,
            portfolio_id=UUID(proposal.portfolio_id),
            proposal=proposal,
            inputs=inputs,
            proposed=now,
            expires=now + VALID_FOR if live is None else live.expires,
            stage=Stage.PROPOSED if made else Stage.NOTHING_TO_DO,
            run=run,
            actor=actor,
            origin=origin,
        )

    def stage_at(self, now: datetime) -> Stage:
        """Return the stage at a time: proposals expire, undecided or with open orders."""
        undecided = self.stage is Stage.PROPOSED and now >= self.expires
        unfilled = self.open_until is not None and now >= self.open_until
        return Stage.EXPIRED if undecided or unfilled else self.stage

    @property
    def open_until(self) -> datetime | None:
        """When an accepted proposal expires; None in any other stage."""
        if self.stage is not Stage.ACCEPTED or self.decided is None:
            return None
        return self.decided + OPEN_FOR

    def open_quantities(self, filled: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Return the quantity of each order that is not filled yet."""
        still = {
            order.symbol: order.quantity - filled.get(order.symbol, Decimal(0))
            for order in self.proposal.orders
        }
        return {symbol: quantity for symbol, quantity in still.items() if quantity > 0}

    def staleness(self, *, version: int, newest: date, now: datetime | None = None) -> str | None:
        """Explain why a proposal is stale; None if it is not.

        Args:
            version: The portfolio's current version.
            newest: Day of the last close of any of the portfolio's assets.
            now: Time at which quotes may be too old; None: they are not checked.
        """
        if version != self.inputs.version:
            return (
                "the portfolio has changed since it was proposed "
                f"(version {self.inputs.version}, now {version})"
            )
        if newest > self.inputs.newest:
            known = self.inputs.newest
            return f"there are newer closes, of {newest}; the proposal is based on those of {known}"
        if self.inputs.live is not None and now is not None:
            ordered = {order.symbol for order in self.proposal.orders}
            return self.inputs.live.staleness(ordered, now)
        return None

    def accept(self, now: datetime, *, version: int, newest: date) -> ProposalRecord:
        """Return the proposal, accepted by its owner.

        Args:
            now: Time of the acceptance.
            version: The portfolio's current version.
            newest: Day of the last close of any of the portfolio's assets.

        Raises:
            ProposalClosed: it is decided, has expired, or has nothing to trade.
            ProposalStale: the portfolio or the market has changed.
        """
        self._check_open(now)
        if (why := self.staleness(version=version, newest=newest, now=now)) is not None:
            raise ProposalStale(f"proposal {self.id} is stale: {why}; request a new one")
        return attrs.evolve(self, stage=Stage.ACCEPTED, decided=now)

    def reject(self, now: datetime, remark: str = "") -> ProposalRecord:
        """Return the proposal, rejected by its owner.

        Raises:
            ProposalClosed: it is decided, has expired, or has nothing to trade.
        """
        self._check_open(now)
        return attrs.evolve(self, stage=Stage.REJECTED, decided=now, remark=remark)

    def supersede(self, now: datetime, by: UUID) -> ProposalRecord:
        """Return the undecided proposal as expired, because a newer one takes its place.

        Raises:
            ProposalClosed: it is decided, has expired, or has nothing to trade.
        """
        self._check_open(now)
        remark = f"Superseded by proposal {by}."
        return attrs.evolve(self, stage=Stage.EXPIRED, expires=now, remark=remark)

    def fill(
        self, trades: Sequence[Entry], filled: Mapping[str, Decimal], now: datetime
    ) -> tuple[ProposalRecord, list[Entry]]:
        """Return the proposal and the trades, those linked to it that fill an open order.

        A trade fills an order of its asset and side for which a quantity is missing, also if it
        trades more. All others stay trades of their own, and so does each trade after the
        proposal was cancelled or has expired.

        Args:
            trades: In the order of execution, without a link.
            filled: Quantity that earlier trades filled, by symbol.
            now: Time of recording.

        Raises:
            ProposalClosed: it was never accepted, or is executed.
        """
        stage = self.stage_at(now)
        if stage is Stage.CANCELLED or (stage is Stage.EXPIRED and self.open_until is not None):
            return self, list(trades)
        if stage is not Stage.ACCEPTED:
            raise ProposalClosed(
                f"proposal {self.id} is {stage}; only an accepted one takes trades; record these "
                "without it",
                code="proposal_not_accepted",
            )
        kinds = {order.symbol: _KINDS[order.side] for order in self.proposal.orders}
        still = self.open_quantities(filled)
        linked: list[Entry] = []
        for trade in trades:
            symbol = trade.symbol
            if symbol in still and kinds[symbol] is trade.kind:
                still[symbol] -= trade.quantity
                if still[symbol] <= 0:
                    del still[symbol]
                trade = attrs.evolve(trade, proposal=self.id)
            linked.append(trade)
        if not still:
            return attrs.evolve(self, stage=Stage.EXECUTED, executed=now), linked
        return self, [
            attrs.evolve(trade, partial=True) if trade.proposal is not None else trade
            for trade in linked
        ]

    def cancel(self, now: datetime, remark: str = "") -> ProposalRecord:
        """Return the accepted proposal without its open orders; trades made stay.

        Raises:
            ProposalClosed: it is not accepted, or has expired.
        """
        if self.stage_at(now) is not Stage.ACCEPTED:
            raise ProposalClosed(
                f"proposal {self.id} is {self.stage_at(now)}; only an accepted one can be "
                "cancelled",
                code="proposal_not_accepted",
            )
        return attrs.evolve(self, stage=Stage.CANCELLED, cancelled=now, remark=remark)

    def reopen(self) -> ProposalRecord:
        """Return the executed proposal with open orders, because a trade of it was void."""
        return attrs.evolve(self, stage=Stage.ACCEPTED, executed=None)

    def execute(self, now: datetime) -> ProposalRecord:
        """Return the proposal with its trades made.

        Raises:
            ProposalClosed: it is not accepted.
        """
        if self.stage is not Stage.ACCEPTED:
            raise ProposalClosed(
                f"proposal {self.id} is {self.stage_at(now)}; only an accepted one can be executed",
                code="proposal_not_accepted",
            )
        return attrs.evolve(self, stage=Stage.EXECUTED, executed=now)

    def ledger_entries(
        self, fills: Sequence[Fill], now: datetime, *, last_entry: date | None = None
    ) -> list[Entry]:
        """Return the ledger entries of the planned cash flow, of fills and of conversions.

        They are on the as-of day, or on that of the ledger's last entry if it is later: a deposit
        at a weekend, with the close of a coin, pays for shares at Friday's close.
        """
        on = max(self.proposal.as_of, last_entry or self.proposal.as_of)
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
                    kind=_KINDS[fill.side],
                    on=on,
                    recorded=now,
                    amount=fill.value,
                    symbol=fill.symbol,
                    quantity=fill.quantity,
                    price=fill.price,
                    cost=fill.cost,
                    proposal=self.id,
                    currency=self._foreign(fill.currency),
                )
            )
        for number, conversion in enumerate(self.proposal.conversions):
            found.append(
                Entry(
                    id=uuid5(self.id, f"conversion {number}"),
                    kind=EntryKind.EXCHANGE,
                    on=on,
                    recorded=now,
                    amount=conversion.from_amount,
                    currency=self._foreign(conversion.from_currency),
                    counter_amount=conversion.to_amount,
                    counter_currency=self._foreign(conversion.to_currency),
                    proposal=self.id,
                )
            )
        return found

    def _foreign(self, currency: str | None) -> str | None:
        """Return a currency, or None for the base currency, as ledgers state them."""
        return None if currency == self.inputs.portfolio.currency.code else currency

    def _check_open(self, now: datetime) -> None:
        stage = self.stage_at(now)
        if stage is Stage.NOTHING_TO_DO:
            raise ProposalClosed(
                f"proposal {self.id} has no orders, so there is nothing to decide",
                code="proposal_without_orders",
            )
        if stage is Stage.EXPIRED:
            raise ProposalClosed(
                f"proposal {self.id} expired at {self.expires:%Y-%m-%d %H:%M} UTC; "
                "request a new one",
                code="proposal_expired",
            )
        if stage is not Stage.PROPOSED:
            raise ProposalClosed(f"proposal {self.id} is already {stage}")
