"""Asking policies what portfolios should trade."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import attrs

from rebalancer.application.portfolios import find_earlier_result, fingerprint
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.policies import Policies
from rebalancer.application.ports.portfolios import Broker
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.errors import InvalidRequest, NotFound, RebalancerError
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.lifecycle import ProposalInputs, ProposalRecord, Stage
from rebalancer.domain.rebalancing.model import Failure, Proposal, RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose, propose_book

COMPARED = ("monthly", "band")
"""The simple rules that stand beside every single proposal."""

_RECENT = 32
"""RebalanceContext that are remembered."""

_ZERO = Decimal(0)


@attrs.frozen
class Comparison:
    """A proposal, and what simple rules would do at the same moment."""

    proposal: Proposal
    others: tuple[Proposal, ...]


@attrs.frozen
class BuildContext:
    """Fix what proposals follow from: prices up to a day, a policy, a price list."""

    prices: PriceSource
    instruments: InstrumentSource
    policies: Policies
    _recent: dict[tuple[str, str], RebalanceContext] = attrs.field(
        factory=dict, init=False, repr=False
    )

    def __call__(
        self, *, policy_name: str, costs: CostModel, currency: str, as_of: date | None = None
    ) -> RebalanceContext:
        """RebalanceContext as of a day; the last close when None.

        Equal context are the same object, if not asked for long ago, since hashing them takes time.

        Raises:
            InvalidRequest: an unknown policy, a day without prices, or malformed prices.
            PricesUnavailable: the provider did not answer.
        """
        market = self.prices.closes(until=as_of)
        instruments = self.instruments.instruments()
        known = self._recent.get((policy_name, currency))
        if (
            known is not None
            and known.market is market
            and known.instruments is instruments
            and known.costs == costs
        ):
            return known
        context = RebalanceContext(
            policy=self.policies.policy(policy_name),
            market=market,
            instruments=instruments,
            costs=costs,
            currency=currency,
        )
        if len(self._recent) >= _RECENT:
            self._recent.clear()
        self._recent[policy_name, currency] = context
        return context


@attrs.frozen
class ProposeRebalance:
    """Ask a policy what one portfolio should trade, and simple rules for comparison."""

    def __call__(self, portfolio: Portfolio, context: RebalanceContext) -> Comparison:
        """The proposal, and those of `COMPARED` under the same context.

        Raises:
            InvalidRequest: the portfolio contradicts itself or the market; names the field.
        """
        return Comparison(proposal=propose(portfolio, context), others=_others(portfolio, context))


@attrs.frozen
class ProposeForBook:
    """Ask a policy what each portfolio of a book should trade."""

    def __call__(
        self, portfolios: Sequence[Portfolio], context: RebalanceContext
    ) -> list[Proposal | Failure]:
        """One answer for each portfolio, in order; one that fails does not stop the rest."""
        return propose_book(portfolios, context)


class Mode(StrEnum):
    """How an accepted proposal is carried out: on paper here, or elsewhere by its owner."""

    PAPER = "paper"
    WORKSHEET = "worksheet"


@attrs.frozen
class ProposalStatus:
    """A proposal, and how it stands to the present.

    Attributes:
        record: The proposal, with what it saw and what became of it.
        stage: Where it stands now.
        stale: Why it no longer fits; None when it does, or is decided.
    """

    record: ProposalRecord
    stage: Stage
    stale: str | None


@attrs.frozen
class ProposalRequest:
    """Somebody wants to know what a kept portfolio should trade.

    Attributes:
        portfolio_id: Which.
        owner: Whose.
        policy_name: Who decides.
        costs: The price list.
        cash_flow: Deposit (+) or withdrawal (-) planned with it, recorded when it is accepted.
        as_of: The day to decide on; the last close when None.
        compared: Whether to ask the simple rules too.
        id: The proposal's.
        now: When.
    """

    portfolio_id: UUID
    owner: UUID
    policy_name: str
    costs: CostModel
    cash_flow: Decimal = _ZERO
    as_of: date | None = None
    compared: bool = False
    id: UUID = attrs.field(kw_only=True)
    now: datetime = attrs.field(kw_only=True)


@attrs.frozen
class ProposalResult:
    """The kept proposal; and those of `COMPARED`, which are not kept, if they were asked for."""

    current: ProposalStatus
    others: tuple[Proposal, ...] = ()


@attrs.frozen
class ProposeForPortfolio:
    """Ask a policy what kept portfolios should trade, and keep the answers."""

    work: UnitOfWork
    prices: PriceSource
    build_context: BuildContext

    def __call__(self, ask: ProposalRequest) -> ProposalResult:
        """The answer for one portfolio.

        Raises:
            NotFound: there is no such portfolio, or it is somebody else's.
            InvalidRequest: the policy, the day or the flow makes no sense; names the field.
            PricesUnavailable: the provider did not answer.
        """
        (answer,) = self.together([ask])
        if isinstance(answer, RebalancerError):
            raise answer
        return answer

    def together(self, asks: Sequence[ProposalRequest]) -> list[ProposalResult | RebalancerError]:
        """One answer or error for each ask, in order: each as if it had been asked alone.

        Raises:
            Unavailable: the store did not answer.
        """
        answers = self.compute(asks)
        self.store(answers)
        return answers

    def compute(self, asks: Sequence[ProposalRequest]) -> list[ProposalResult | RebalancerError]:
        """The same answers before they are kept.

        Portfolios on the same context are one book, so that many who ask at once wait little longer
        than one.

        Raises:
            Unavailable: the store did not answer.
        """
        answers: dict[int, ProposalResult | RebalancerError] = {}
        newest = self.prices.closes(days=1).last_date
        books: list[
            tuple[RebalanceContext, list[tuple[int, ProposalRequest, ManagedPortfolio, Portfolio]]]
        ] = []
        with self.work.read() as tx:
            kept = tx.portfolios.get_many({ask.portfolio_id for ask in asks})
        for index, ask in enumerate(asks):
            portfolio = kept.get(ask.portfolio_id)
            if portfolio is None or portfolio.owner != ask.owner:
                answers[index] = NotFound(f"there is no portfolio {ask.portfolio_id}")
                continue
            try:
                context, snapshot = self._asked(ask, portfolio)
            except RebalancerError as error:
                answers[index] = error
                continue
            book = next((rows for known, rows in books if known is context), None)
            if book is None:
                books.append((context, book := []))
            book.append((index, ask, portfolio, snapshot))
        for context, rows in books:
            proposals = propose_book([snapshot for *_, snapshot in rows], context)
            for (index, ask, portfolio, snapshot), made in zip(rows, proposals, strict=True):
                if isinstance(made, Failure):
                    answers[index] = made.error
                    continue
                record = record_proposal(
                    made,
                    snapshot,
                    portfolio,
                    context,
                    ask.cash_flow,
                    newest,
                    id=ask.id,
                    now=ask.now,
                )
                others = _others(snapshot, context) if ask.compared else ()
                answers[index] = ProposalResult(
                    ProposalStatus(record, record.stage, stale=None), others
                )
        return [answers[index] for index in range(len(asks))]

    def store(self, answers: Sequence[ProposalResult | RebalancerError]) -> None:
        """Keep what was considered, in one transaction.

        Raises:
            Unavailable: the store did not answer; nothing is kept.
        """
        records = [one.current.record for one in answers if isinstance(one, ProposalResult)]
        if records:
            with self.work.begin() as tx:
                tx.proposals.add(records)

    def _asked(
        self, ask: ProposalRequest, portfolio: ManagedPortfolio
    ) -> tuple[RebalanceContext, Portfolio]:
        """What the answer follows from.

        Raises:
            InvalidRequest: the policy, the day or the flow makes no sense; names the field.
        """
        currency = portfolio.mandate.currency
        if currency.round(ask.cash_flow) != ask.cash_flow:
            raise InvalidRequest(
                f"is finer than {currency.minor_unit}, the least that can be paid",
                field="cash_flow",
            )
        context = self.build_context(
            policy_name=ask.policy_name, costs=ask.costs, currency=currency.code, as_of=ask.as_of
        )
        return context, policy_input(portfolio, context, ask.cash_flow)


@attrs.frozen
class ReadProposals:
    """Look at a proposal, or at all of one's own."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(self, id: UUID, *, owner: UUID, now: datetime) -> ProposalStatus:
        """The proposal as it stands now.

        Raises:
            NotFound: there is none, or it is somebody else's.
        """
        newest = self.prices.closes(days=1).last_date
        with self.work.read() as tx:
            record = tx.proposals.get(id, owner=owner)
            version = tx.portfolios.get(record.portfolio_id, owner=owner).version
        return _current(record, version, newest, now)

    def all(
        self,
        owner: UUID,
        *,
        portfolio_id: UUID | None = None,
        before: UUID | None = None,
        limit: int,
        now: datetime,
    ) -> list[ProposalStatus]:
        """Some of the owner's proposals, the latest first.

        Raises:
            NotFound: there is no such portfolio, or it is somebody else's.
        """
        newest = self.prices.closes(days=1).last_date
        with self.work.read() as tx:
            if portfolio_id is not None:
                tx.portfolios.get(portfolio_id, owner=owner)
            found = tx.proposals.page(owner, portfolio_id=portfolio_id, before=before, limit=limit)
            versions = tx.portfolios.versions({record.portfolio_id for record in found})
        return [_current(one, versions[one.portfolio_id], newest, now) for one in found]


@attrs.frozen
class AcceptProposal:
    """Agree to a proposal: its orders are carried out on paper, or taken elsewhere."""

    work: UnitOfWork
    prices: PriceSource
    broker: Broker

    def __call__(
        self,
        id: UUID,
        *,
        owner: UUID,
        mode: Mode = Mode.PAPER,
        key: str | None = None,
        now: datetime,
    ) -> tuple[ProposalStatus, bool]:
        """The accepted proposal, and whether the same request had accepted it before.

        On paper it is executed: the planned cash flow and every fill stand in the ledger. With a
        worksheet it waits until its trades are recorded.

        Raises:
            NotFound: there is none, or it is somebody else's.
            ProposalClosed: it is decided, expired, or has nothing to trade.
            ProposalStale: the portfolio or the market has moved on.
            Conflict: the key belongs to another request.
        """
        newest = self.prices.closes(days=1).last_date
        with self.work.read() as tx:
            fills = self.broker.execute(tx.proposals.get(id, owner=owner))
        asked = fingerprint("accept", id, mode.value)
        with self.work.begin() as tx:
            record = tx.proposals.get(id, owner=owner)
            portfolio = tx.portfolios.get(record.portfolio_id, owner=owner)
            if find_earlier_result(tx, owner, key, asked) is not None:
                return _current(record, portfolio.version, newest, now), True
            done = record.accepted(now, version=portfolio.version, newest=newest)
            if mode is Mode.PAPER:
                entries = done.entries(fills, now)
                ledger = tx.portfolios.ledger(portfolio.id).extended_by(entries)
                portfolio = portfolio.book(ledger, now)
                tx.portfolios.save(portfolio, entries=entries)
                done = done.carried_out(now)
            tx.proposals.save(done, expected=record.stage)
            if key is not None:
                tx.keys.add(IdempotencyKey(owner, key, asked, result=id, created=now))
        return _current(done, portfolio.version, newest, now), False


@attrs.frozen
class RejectProposal:
    """Decline a proposal."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(self, id: UUID, *, owner: UUID, remark: str = "", now: datetime) -> ProposalStatus:
        """The rejected proposal.

        Raises:
            NotFound: there is none, or it is somebody else's.
            ProposalClosed: it is decided, expired, or has nothing to trade.
        """
        newest = self.prices.closes(days=1).last_date
        with self.work.begin() as tx:
            record = tx.proposals.get(id, owner=owner)
            version = tx.portfolios.get(record.portfolio_id, owner=owner).version
            rejected = record.rejected(now, remark)
            tx.proposals.save(rejected, expected=record.stage)
        return _current(rejected, version, newest, now)


def _others(portfolio: Portfolio, context: RebalanceContext) -> tuple[Proposal, ...]:
    """What the simple rules would do."""
    return tuple(
        propose(portfolio, attrs.evolve(context, policy=parse_rule(name)))
        for name in COMPARED
        if name != context.policy.name
    )


def policy_input(
    portfolio: ManagedPortfolio, context: RebalanceContext, cash_flow: Decimal
) -> Portfolio:
    """Return the portfolio as the policy sees it.

    Raises:
        InvalidRequest: the ledger goes on after the close that is asked about.
    """
    last = portfolio.positions.last_entry
    if last is not None and last > context.market.last_date:
        raise InvalidRequest(
            f"{context.market.last_date} lies before the last entry of the ledger, of {last}; take "
            "that day or a later one",
            field="as_of",
        )
    return portfolio.snapshot(cash_flow)


def record_proposal(
    proposal: Proposal,
    asked: Portfolio,
    portfolio: ManagedPortfolio,
    context: RebalanceContext,
    planned: Decimal,
    newest: date,
    *,
    id: UUID,
    now: datetime,
    run: UUID | None = None,
) -> ProposalRecord:
    """Record a proposal together with the inputs that it was made from."""
    seen = ProposalInputs(
        portfolio=asked,
        planned=planned,
        version=portfolio.version,
        prices=_closes(asked, context),
        market=context.market.digest,
        newest=newest,
        costs=context.costs.label,
    )
    return ProposalRecord.of(proposal, seen, id=id, owner=portfolio.owner, now=now, run=run)


def _closes(asked: Portfolio, context: RebalanceContext) -> dict[str, Decimal]:
    market = context.market
    exact, columns = market.exact_closes(), market.columns
    return {symbol: exact[columns[symbol]] for symbol in asked.symbols}


def _current(record: ProposalRecord, version: int, newest: date, now: datetime) -> ProposalStatus:
    stage = record.stage_at(now)
    undecided = stage is Stage.PROPOSED
    stale = record.staleness(version=version, newest=newest) if undecided else None
    return ProposalStatus(record, stage, stale)
