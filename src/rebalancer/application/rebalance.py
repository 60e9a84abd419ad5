"""Propose what portfolios should trade, and read proposals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.gains import DayRates
from rebalancer.application.idempotency import ClientRequest
from rebalancer.application.live_prices import NO_LIVE_PRICES, LivePriceSource
from rebalancer.application.metrics import PROPOSALS, REQUESTED
from rebalancer.application.not_found import NOT_FOUND
from rebalancer.application.planned_flows import expected_flows
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.policies import Policies
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.ports.telemetry import Metrics
from rebalancer.application.quotas import DEFAULT_QUOTAS, QuotaReached, Quotas
from rebalancer.application.telemetry import NO_METRICS
from rebalancer.domain.accounts.shares import Right
from rebalancer.domain.errors import (
    Conflict,
    InvalidRequest,
    NotAllowed,
    NotFound,
    RebalancerError,
)
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Rule
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.ledger import Ledger, Overdrawn
from rebalancer.domain.portfolio.lots.planned import PlannedSale, lots_for_sale, plan_sales
from rebalancer.domain.portfolio.lots.sellable import SaleGain, units_of
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate, PortfolioChanged
from rebalancer.domain.portfolio.own_prices import own_prices
from rebalancer.domain.portfolio.planned_flows import FlowDecision
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.lifecycle import (
    ProposalInputs,
    ProposalOrigin,
    ProposalRecord,
    Stage,
)
from rebalancer.domain.rebalancing.model import Failure, Proposal, RebalanceContext, Side
from rebalancer.domain.rebalancing.proposal import propose, propose_book

COMPARED = ("monthly", "band")
"""Simple rules whose proposals are shown for comparison."""

_CACHED = 32
"""Most contexts that are cached."""

_ZERO = Decimal(0)


@attrs.frozen
class ComparedProposal:
    """A proposal, and those of the simple rules under the same context."""

    proposal: Proposal
    others: tuple[Proposal, ...]


@attrs.frozen
class BuildContext:
    """Collect the inputs that proposals have in common."""

    prices: PriceSource
    instruments: InstrumentSource
    policies: Policies
    _recent: dict[tuple[str, str], RebalanceContext] = attrs.field(
        factory=dict, init=False, repr=False
    )

    def __call__(
        self, *, policy_name: str, costs: CostModel, currency: str, as_of: date | None = None
    ) -> RebalanceContext:
        """Return the context as of a day; None: the day of the last close.

        Prices are converted into ``currency``. Equal contexts are usually the same object, because
        hashing a context takes time.

        Raises:
            InvalidRequest: an unknown policy, a day without prices, or malformed prices.
            PricesUnavailable: the provider did not answer.
        """
        own_prices = self.prices.closes(until=as_of)
        market = own_prices.in_currency(currency)
        instruments = self.instruments.instruments()
        known = self._recent.get((policy_name, currency))
        if (
            known is not None
            and known.market is market
            and known.instruments is instruments
            and known.costs == costs
            and known.asked == as_of
        ):
            return known
        context = RebalanceContext(
            policy=self.policies.policy(policy_name),
            market=market,
            instruments=instruments,
            costs=costs,
            currency=currency,
            asked=as_of,
            own_prices=own_prices,
        )
        if len(self._recent) >= _CACHED:
            self._recent.clear()
        self._recent[policy_name, currency] = context
        return context


@attrs.frozen
class ProposalStatus:
    """A proposal and its stage now.

    Attributes:
        stale: Why it can no longer be accepted; None if it can, or if it is decided.
        filled: Quantity of each asset that its recorded trades bought or sold.
    """

    record: ProposalRecord
    stage: Stage
    stale: str | None
    filled: Mapping[str, Decimal] = attrs.field(factory=dict)


@attrs.frozen
class ProposalRequest:
    """Request for a proposal for a stored portfolio.

    Attributes:
        actor: Who requests it: the owner of the portfolio, or an adviser with the right to propose.
        cash_flow: Planned deposit (+) or withdrawal (-), recorded when the proposal is accepted.
        as_of: Day of the closes; None: the last close.
        compared: Whether to propose with the simple rules as well.
        request: The request of the client, which takes effect once; None if it has no key.
        origin: Why it is made automatically; None: someone requests it.
        at_quotes: Whether weights and orders are at live quotes, and not at closes.
        id: Id of the proposal.
    """

    portfolio_id: UUID
    actor: UUID
    policy_name: str
    costs: CostModel
    cash_flow: Decimal = _ZERO
    as_of: date | None = None
    compared: bool = False
    request: ClientRequest | None = None
    origin: ProposalOrigin | None = None
    at_quotes: bool = False
    id: UUID = attrs.field(kw_only=True)
    now: datetime = attrs.field(kw_only=True)


@attrs.frozen
class ProposalResult:
    """A proposal to store, and the proposals of the simple rules if requested.

    Attributes:
        request: The request of the client that it answers, if that has a key.
        replayed: Whether the same request made it before, so that it is stored already.
    """

    current: ProposalStatus
    others: tuple[Proposal, ...] = ()
    request: ClientRequest | None = None
    replayed: bool = False


@attrs.frozen
class ProposeForPortfolio:
    """Propose for stored portfolios, and store the proposals."""

    work: UnitOfWork
    prices: PriceSource
    build_context: BuildContext
    book: BookActions
    quotas: Quotas = DEFAULT_QUOTAS
    live: LivePriceSource = NO_LIVE_PRICES
    metrics: Metrics = NO_METRICS

    def __call__(self, ask: ProposalRequest) -> ProposalResult:
        """Propose for one portfolio.

        Raises:
            NotFound: the portfolio does not exist or belongs to another user.
            NotAllowed: it is shared with the actor without the right to propose.
            InvalidRequest: the policy, the day or the flow is invalid; names the field.
            PricesUnavailable: the provider did not answer.
        """
        (answer,) = self.together([ask])
        if isinstance(answer, RebalancerError):
            raise answer
        return answer

    def together(self, asks: Sequence[ProposalRequest]) -> list[ProposalResult | RebalancerError]:
        """Compute and store a result or an error for each request, in order.

        Results do not depend on the other requests.

        Raises:
            Unavailable: the store did not answer.
        """
        answers = self.compute(asks)
        self.store(answers)
        return answers

    def compute(self, asks: Sequence[ProposalRequest]) -> list[ProposalResult | RebalancerError]:
        """Compute the results without storing them.

        Portfolios with the same context form one book, so that many simultaneous requests take
        little longer than one.

        Raises:
            Unavailable: the store did not answer.
        """
        latest = self.prices.closes()
        books: list[
            tuple[RebalanceContext, list[tuple[int, ProposalRequest, ManagedPortfolio, Portfolio]]]
        ] = []
        with self.work.read() as tx:
            found = tx.portfolios.get_many({ask.portfolio_id for ask in asks})
            answers = _find_refused(tx, asks, found)
            answers |= _find_earlier(tx, asks, latest, refused=answers.keys())
            self._check_quotas(tx, asks, found, answers)
            planning = [one.id for one in found.values() if one.plan]
            decided = tx.flow_decisions.of_portfolios(planning)
        booked = self.book.many(list(found.values()), latest)
        stored = {one.portfolio.id: one for one in booked}
        ledgers = read_ledgers(self.work, [one.portfolio for one in booked])
        for index, ask in enumerate(asks):
            if index in answers:
                continue
            known = stored.get(ask.portfolio_id)
            if known is None:  # closed in the meantime
                answers[index] = NOT_FOUND["portfolio"](ask.portfolio_id)
                continue
            try:
                portfolio = known.portfolio
                context, snapshot = self._inputs(ask, portfolio, decided)
                known.check_units(context.market.last_date)
                snapshot = with_lots(snapshot, portfolio, context, latest, ledgers, ask.now)
            except RebalancerError as error:
                answers[index] = error
                continue
            book = next((rows for of, rows in books if of is context), None)
            if book is None:
                books.append((context, book := []))
            book.append((index, ask, portfolio, snapshot))
        for context, rows in books:
            proposals = propose_book([snapshot for *_, snapshot in rows], context)
            gains = self._sale_gains(rows, proposals, latest)
            for (index, ask, portfolio, snapshot), made in zip(rows, proposals, strict=True):
                if isinstance(made, Failure):
                    answers[index] = made.error
                    continue
                made = attrs.evolve(
                    made,
                    notes=(*made.notes, *stored[portfolio.id].notes),
                    sale_gains=made.sale_gains or gains.get(index, ()),
                )
                record = record_proposal(
                    made,
                    snapshot,
                    portfolio,
                    context,
                    ask.cash_flow,
                    latest,
                    id=ask.id,
                    now=ask.now,
                    actor=ask.actor if ask.origin is None else None,
                    origin=ask.origin,
                )
                others = compare_with_rules(snapshot, context) if ask.compared else ()
                answers[index] = ProposalResult(
                    ProposalStatus(record, record.stage, stale=None), others, ask.request
                )
        return [answers[index] for index in range(len(asks))]

    def store(
        self,
        answers: Sequence[ProposalResult | RebalancerError],
        also: Callable[[Transaction], None] = lambda _: None,
    ) -> None:
        """Store the proposals among the results, in one transaction.

        ``also`` stores what else belongs into the transaction, if there is a proposal.

        Raises:
            Unavailable: the store did not answer; no proposal is stored.
            QuotaReached: an owner has too many proposals; no proposal is stored.
            DailyQuotaReached: an owner has requested too many today; no proposal is stored.
            Conflict: another request with the key of one of them is running; nor is then.
        """
        made = [one for one in answers if isinstance(one, ProposalResult) and not one.replayed]
        if made:
            records = [one.current.record for one in made]
            with self.work.begin() as tx:
                self._take_quotas(tx, records)
                tx.proposals.add(records)
                for one in made:
                    if one.request is not None:
                        record = one.current.record
                        actor = record.actor or record.owner
                        one.request.store_result(tx, actor, record.id, record.proposed)
                also(tx)
            for record in records:
                self.metrics.add(PROPOSALS, record.origin or REQUESTED)

    def _sale_gains(
        self,
        rows: Sequence[tuple[int, ProposalRequest, ManagedPortfolio, Portfolio]],
        proposals: Sequence[Proposal | Failure],
        latest: PriceHistory,
    ) -> dict[int, tuple[SaleGain, ...]]:
        """Return what the sales of proposals would realise, by the index of the request.

        Ledgers are read only for proposals with sales. A ledger that cannot be followed, because it
        has just changed, leaves the gains out: the proposal is stale then.
        """
        selling = [
            (index, ask, portfolio, made)
            for (index, ask, portfolio, snapshot), made in zip(rows, proposals, strict=True)
            if isinstance(made, Proposal)
            and snapshot.lots is None
            and any(one.side is Side.SELL for one in made.orders)
        ]
        if not selling:
            return {}
        with self.work.read() as tx:
            ledgers = tx.portfolios.ledgers([portfolio.id for _, _, portfolio, _ in selling])
            for ledger in ledgers.values():
                _ = ledger.entries  # which are read until the transaction ends
        found: dict[int, tuple[SaleGain, ...]] = {}
        for index, ask, portfolio, made in selling:
            with suppress(Overdrawn):
                found[index] = estimate_gains(
                    made, portfolio.mandate, ledgers[portfolio.id], latest, ask.now
                )
        return found

    def _check_quotas(
        self,
        tx: Transaction,
        asks: Sequence[ProposalRequest],
        portfolios: Mapping[UUID, ManagedPortfolio],
        answers: dict[int, ProposalResult | RebalancerError],
    ) -> None:
        """Answer requests of actors and for owners that have too many proposals.

        `store` checks it again. So one account seldom makes a batch of several fail.
        """
        full: dict[tuple[UUID, UUID], RebalancerError | None] = {}
        for index, ask in enumerate(asks):
            if index in answers:
                continue
            accounts = ask.actor, portfolios[ask.portfolio_id].owner
            if accounts not in full:
                try:
                    self.quotas.check_proposals(tx, ask.actor, 1, ask.now)
                    if accounts[1] != ask.actor:
                        self._check_owner(tx, accounts[1], 1)
                    full[accounts] = None
                except Conflict as error:
                    full[accounts] = error
            refused = full[accounts]
            if refused is not None:
                answers[index] = refused

    def _take_quotas(self, tx: Transaction, records: Sequence[ProposalRecord]) -> None:
        """Count the proposals of each account that requested some, in one order of locks."""
        requested: dict[UUID, list[ProposalRecord]] = {}
        advised: dict[UUID, int] = {}
        for record in records:
            requested.setdefault(record.actor or record.owner, []).append(record)
            if record.actor not in (None, record.owner):
                advised[record.owner] = advised.get(record.owner, 0) + 1
        for actor, mine in sorted(requested.items()):
            self.quotas.take_proposals(tx, actor, len(mine), mine[-1].proposed)
        for owner, new in advised.items():
            self._check_owner(tx, owner, new)

    def _check_owner(self, tx: Transaction, owner: UUID, new: int) -> None:
        """Check that an owner can get further proposals that advisers request.

        Raises:
            QuotaReached: he or she has as many as an account may have.
        """
        try:
            self.quotas.check_proposals(tx, owner, new)
        except QuotaReached:
            raise QuotaReached(
                "the owner has the maximum of proposals that were not accepted; they are deleted "
                "some time after they expire"
            ) from None

    def _inputs(
        self,
        ask: ProposalRequest,
        portfolio: ManagedPortfolio,
        decided: Mapping[UUID, Sequence[FlowDecision]],
    ) -> tuple[RebalanceContext, Portfolio]:
        """Collect the inputs of one proposal; raise InvalidRequest if any of them is invalid."""
        currency = portfolio.mandate.currency
        if currency.round(ask.cash_flow) != ask.cash_flow:
            raise InvalidRequest(
                f"{ask.cash_flow} has more decimals than {currency} allows; round it to "
                f"{currency.minor_unit}",
                field="cash_flow",
                code="amount_too_precise",
            )
        if ask.at_quotes and ask.as_of is not None:
            raise InvalidRequest(
                f"a proposal at quotes is made for now, not for {ask.as_of}; leave the day out, or "
                "request the proposal at closes",
                field="as_of",
                code="day_with_quotes",
            )
        context = self.build_context(
            policy_name=ask.policy_name, costs=ask.costs, currency=currency.code, as_of=ask.as_of
        )
        portfolio = at_close(portfolio, context, self.work)
        own = own_context(portfolio, context, self.work)
        if ask.at_quotes:
            symbols = {*portfolio.positions.holdings, *portfolio.mandate.targets}
            context = own = own.at_quotes(self.live(symbols, own.market, now=ask.now))
        return own, policy_input(
            portfolio,
            context,
            ask.cash_flow,
            decided=decided.get(portfolio.id, ()),
            today=ask.as_of or ask.now.date(),
        )


@attrs.frozen
class ReadProposals:
    """Read proposals for own and shared portfolios."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(self, id: UUID, *, actor: UUID, now: datetime) -> ProposalStatus:
        """Read one proposal.

        Raises:
            NotFound: the proposal does not exist or belongs to another user.
        """
        latest = self.prices.closes()
        with self.work.read() as tx:
            record = tx.proposals.get_for(id, actor)
            version = tx.portfolios.versions([record.portfolio_id])[record.portfolio_id]
            filled = read_fills(tx, [record])
        return proposal_status(record, version, latest, now, filled)

    def all(
        self,
        owner: UUID,
        *,
        portfolio_id: UUID | None = None,
        before: UUID | None = None,
        limit: int,
        now: datetime,
    ) -> list[ProposalStatus]:
        """Read a page of the owner's proposals, or of one own or shared portfolio, latest first.

        Raises:
            NotFound: the portfolio does not exist or belongs to another user.
        """
        latest = self.prices.closes()
        with self.work.read() as tx:
            if portfolio_id is not None:
                owner = tx.portfolios.get_for(portfolio_id, owner).owner
            found = tx.proposals.page(owner, portfolio_id=portfolio_id, before=before, limit=limit)
            versions = tx.portfolios.versions({record.portfolio_id for record in found})
            filled = read_fills(tx, found)
        return [
            proposal_status(one, versions[one.portfolio_id], latest, now, filled) for one in found
        ]


def _find_refused(
    tx: Transaction,
    asks: Sequence[ProposalRequest],
    portfolios: Mapping[UUID, ManagedPortfolio],
) -> dict[int, ProposalResult | RebalancerError]:
    """Return the errors of requests for unknown portfolios, or without a right, by index."""
    refused: dict[int, ProposalResult | RebalancerError] = {}
    for index, ask in enumerate(asks):
        known = portfolios.get(ask.portfolio_id)
        try:
            if known is None:
                raise NOT_FOUND["portfolio"](ask.portfolio_id)
            if known.owner != ask.actor:
                tx.portfolios.get_for(ask.portfolio_id, ask.actor, Right.PROPOSE)
        except (NotAllowed, NotFound) as error:
            refused[index] = error
    return refused


def _find_earlier(
    tx: Transaction,
    asks: Sequence[ProposalRequest],
    latest: PriceHistory,
    *,
    refused: Collection[int],
) -> dict[int, ProposalResult | RebalancerError]:
    """Return the proposals of requests that are repeated, by index."""
    found: dict[int, ProposalResult | RebalancerError] = {}
    for index, ask in enumerate(asks):
        if ask.request is None or index in refused:
            continue
        try:
            if (earlier := ask.request.earlier_result(tx, ask.actor)) is not None:
                record = tx.proposals.get_for(earlier, ask.actor)
                version = tx.portfolios.versions([record.portfolio_id])[record.portfolio_id]
                current = proposal_status(
                    record, version, latest, ask.now, read_fills(tx, [record])
                )
                found[index] = ProposalResult(current, replayed=True)
        except (Conflict, NotFound) as error:
            found[index] = error
    return found


def propose_and_compare(portfolio: Portfolio, context: RebalanceContext) -> ComparedProposal:
    """Propose for one portfolio with a policy and with the simple rules.

    Raises:
        InvalidRequest: the portfolio contradicts itself or the market; names the field.
    """
    return ComparedProposal(propose(portfolio, context), compare_with_rules(portfolio, context))


def compare_with_rules(portfolio: Portfolio, context: RebalanceContext) -> tuple[Proposal, ...]:
    """Propose with each simple rule under the same context."""
    return tuple(
        propose(portfolio, attrs.evolve(context, policy=parse_rule(name)))
        for name in COMPARED
        if name != context.policy.name
    )


def at_close(
    portfolio: ManagedPortfolio, context: RebalanceContext, work: UnitOfWork
) -> ManagedPortfolio:
    """Return a portfolio without the corporate actions after the close of a context.

    It is the same object, and nothing is read, unless a past day is asked for that has later
    actions.
    """
    quotes, last = context.market.quotes, context.market.last_date
    if (
        context.asked is None
        or quotes is None
        or len(quotes.actions.until(last)) == len(quotes.actions)
    ):
        return portfolio
    with work.read() as tx:
        entries = tx.portfolios.ledger(portfolio.id).effective
    until = tuple(one for one in entries if one.action is None or one.on <= last)
    if len(until) == len(entries):
        return portfolio
    return attrs.evolve(portfolio, positions=Ledger(until).positions)


def policy_input(
    portfolio: ManagedPortfolio,
    context: RebalanceContext,
    cash_flow: Decimal,
    *,
    decided: Sequence[FlowDecision] = (),
    today: date,
) -> Portfolio:
    """Return the portfolio as the policy sees it, with the planned flows that it counts.

    Args:
        portfolio: As it is stored.
        context: The inputs that proposals have in common.
        cash_flow: Planned with the proposal.
        decided: What was decided about dates of its planned flows.
        today: Day from which their horizon is counted.

    Raises:
        InvalidRequest: the ledger has entries after the as-of day, or the currency of a planned
            flow has no exchange rate.
    """
    last = portfolio.positions.last_entry
    if last is not None and last > context.market.last_date:
        raise InvalidRequest(
            f"the close of {context.market.last_date} is before the last entry of the ledger, "
            f"{last}; choose a day with a later close",
            field="as_of",
            code="as_of_before_ledger",
        )
    snapshot = portfolio.snapshot(cash_flow)
    if not portfolio.plan:
        return snapshot
    market = context.in_currency(portfolio.mandate.currency.code).history
    expected = expected_flows(portfolio, decided, market, today)
    return attrs.evolve(snapshot, expected=expected) if expected else snapshot


def read_ledgers(work: UnitOfWork, portfolios: Iterable[ManagedPortfolio]) -> dict[UUID, Ledger]:
    """Return the ledgers of the portfolios that ask for lots, with few queries."""
    asking = [one.id for one in portfolios if one.mandate.preferences.asks_for_lots]
    if not asking:
        return {}
    with work.read() as tx:
        ledgers = tx.portfolios.ledgers(asking)
        for ledger in ledgers.values():
            _ = ledger.entries  # which are read until the transaction ends
    return ledgers


def with_lots(
    snapshot: Portfolio,
    portfolio: ManagedPortfolio,
    context: RebalanceContext,
    latest: PriceHistory,
    ledgers: Mapping[UUID, Ledger],
    now: datetime,
) -> Portfolio:
    """Return a portfolio with its lots at the close, if its preferences ask for them.

    Args:
        snapshot: What the policy sees.
        portfolio: As it is stored.
        context: The inputs that proposals have in common.
        latest: The last known closes.
        ledgers: As `read_ledgers` returns them.
        now: Current time.

    Raises:
        PortfolioChanged: the ledger has changed since the portfolio was read.
    """
    preferences = snapshot.preferences
    if not preferences.asks_for_lots:
        return snapshot
    found = lots_for_sale(
        ledgers[portfolio.id],
        on=context.market.last_date,
        now=now,
        method=preferences.lot_method,
        currency=snapshot.currency,
        rates=DayRates(latest, snapshot.currency.code),
    )
    held = {symbol: units for symbol, units in snapshot.holdings.items() if units}
    if {symbol: units_of(lots) for symbol, lots in found.lots.items()} != held:
        raise PortfolioChanged(
            f"portfolio {portfolio.id} has changed while it was read; request the proposal again"
        )
    year = found.gain_this_year if preferences.max_realised_gain_year is not None else _ZERO
    return attrs.evolve(snapshot, lots=found.lots, gain_this_year=year)


_JUMPS = frozenset({Rule.SPLIT_RATIO, Rule.LARGE_MOVE})
"""Findings that a split may explain which only a ledger knows."""


def _doubted(market: PriceHistory) -> frozenset[str]:
    """Return the assets that are withheld, or jump as if they were split."""
    jumps = (one.symbol for one in market.findings if one.rule in _JUMPS)
    return frozenset([*market.withheld, *jumps])


def own_context(
    portfolio: ManagedPortfolio, context: RebalanceContext, work: UnitOfWork
) -> RebalanceContext:
    """Return the context in a portfolio's base currency, with its ledger's prices.

    See `own_prices`. If the market prices all assets of the portfolio, and none of those that it
    holds jumps as if it was split, nothing is read, and portfolios with the same base currency get
    the same object.
    """
    context = context.in_currency(portfolio.mandate.currency.code)
    market = context.market
    symbols = (*portfolio.positions.holdings, *portfolio.mandate.targets)
    doubted = market.memo("doubted", lambda: _doubted(market))
    if all(symbol in market.columns for symbol in symbols) and doubted.isdisjoint(
        portfolio.positions.holdings
    ):
        return context
    with work.read() as tx:
        ledger = tx.portfolios.ledger(portfolio.id)
        _ = ledger.entries  # which are read until the transaction ends
    filled = own_prices(market, ledger, portfolio.mandate.currency.code, symbols)
    return context if filled is market else attrs.evolve(context, market=filled)


def record_proposal(
    proposal: Proposal,
    asked: Portfolio,
    portfolio: ManagedPortfolio,
    context: RebalanceContext,
    planned: Decimal,
    latest: PriceHistory,
    *,
    id: UUID,
    now: datetime,
    run: UUID | None = None,
    actor: UUID | None = None,
    origin: ProposalOrigin | None = None,
) -> ProposalRecord:
    """Record a proposal together with the inputs that it was made from.

    ``latest`` has the last known closes, also for a proposal for the past.
    """
    own = context.in_currency(asked.currency.code)
    inputs = ProposalInputs(
        portfolio=asked,
        planned=planned,
        version=portfolio.version,
        prices=own.last_prices(asked),
        market=own.history.digest,
        newest=latest.newest_close(asked.symbols),
        costs=context.costs.label,
        rates=own.last_rates(asked),
        currencies=own.foreign_currencies(asked),
        live=own.live,
    )
    return ProposalRecord.new(
        proposal,
        inputs,
        id=id,
        owner=portfolio.owner,
        now=now,
        run=run,
        actor=actor,
        origin=origin,
    )


def estimate_gains(
    proposal: Proposal, mandate: Mandate, ledger: Ledger, latest: PriceHistory, now: datetime
) -> tuple[SaleGain, ...]:
    """Return what the sales of a proposal would realise by the portfolio's lot method.

    Raises:
        Overdrawn: the ledger holds less than is to be sold.
    """
    sales = [
        PlannedSale(
            one.symbol,
            one.quantity,
            one.price,
            one.value if one.amount is None else one.amount,
            one.cost if one.cost_amount is None else one.cost_amount,
            one.currency,
        )
        for one in proposal.orders
        if one.side is Side.SELL
    ]
    return plan_sales(
        ledger,
        sales,
        on=proposal.as_of,
        now=now,
        method=mandate.preferences.lot_method,
        currency=mandate.currency,
        rates=DayRates(latest, mandate.currency.code),
    )


def read_fills(
    tx: Transaction, records: Sequence[ProposalRecord]
) -> dict[UUID, dict[str, Decimal]]:
    """Return what was filled of proposals that were accepted."""
    accepted = {one.id: one.portfolio_id for one in records if one.stage in _ACCEPTED}
    return tx.portfolios.fills(accepted) if accepted else {}


_ACCEPTED = frozenset({Stage.ACCEPTED, Stage.EXECUTED, Stage.CANCELLED})


def proposal_status(
    record: ProposalRecord,
    version: int,
    latest: PriceHistory,
    now: datetime,
    filled: Mapping[UUID, Mapping[str, Decimal]] | None = None,
) -> ProposalStatus:
    """Return a proposal with its stage at a time.

    Args:
        record: The proposal as stored.
        version: Current version of its portfolio.
        latest: The last known closes.
        now: The time.
        filled: Fills by proposal.
    """
    stage, stale = record.stage_at(now), None
    if stage is Stage.PROPOSED:
        newest = newest_close(record, latest)
        stale = record.staleness(version=version, newest=newest, now=now)
    return ProposalStatus(record, stage, stale, (filled or {}).get(record.id, {}))


def newest_close(record: ProposalRecord, latest: PriceHistory) -> date:
    """Return the day of the last close of any asset of a proposal's portfolio."""
    return latest.newest_close(record.inputs.portfolio.symbols)
