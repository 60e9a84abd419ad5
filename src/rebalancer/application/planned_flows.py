"""Plan deposits and withdrawals, and confirm the dates that fall due.

Each use case raises NotFound if the portfolio or the flow does not exist or has another owner.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.corporate_actions import extend_and_book
from rebalancer.application.idempotency import add_key, find_earlier_result, fingerprint
from rebalancer.application.ledger_changes import LedgerChange, change_ledger
from rebalancer.application.not_found import require
from rebalancer.application.owner_entries import CashFlow, Recording
from rebalancer.application.portfolios import check_amount
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, Quotas
from rebalancer.application.valuation import ValuedPortfolio, value_committed
from rebalancer.domain.arrays import Dates
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.market.currencies import missing_rate
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.number_text import money_text
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import ANY_VERSION, AcceptedVersions, ManagedPortfolio
from rebalancer.domain.portfolio.planned_flows import (
    MATCHING_DAYS,
    DueFlow,
    FlowDecision,
    FlowKind,
    FlowOutcome,
    FlowPlan,
    PlannedFlow,
    due_between,
    expected_flow,
    find_matches,
)
from rebalancer.domain.portfolio.portfolio import ExpectedFlow

log = logging.getLogger("rebalancer.flows")

_ONE = Decimal(1)
_PAGE = 500


@attrs.frozen
class OpenFlow:
    """A date that waits for a decision.

    Attributes:
        matches: Entries that may be its payment, the nearest first.
    """

    due: DueFlow
    matches: tuple[Entry, ...] = ()


@attrs.frozen
class PlanStatus:
    """The planned flows of a portfolio.

    Attributes:
        due: Dates up to today that wait for a decision, oldest first.
        coming: Later dates, soonest first.
        decided: What was decided, latest date first.
    """

    portfolio: ManagedPortfolio
    due: tuple[OpenFlow, ...]
    coming: tuple[DueFlow, ...]
    decided: tuple[FlowDecision, ...]

    @property
    def plan(self) -> FlowPlan:
        """The flows, and how proposals count them."""
        return self.portfolio.plan


@attrs.frozen
class ReadPlan:
    """Read the planned flows of a portfolio, and the dates that are due."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(
        self, portfolio_id: UUID, *, actor: UUID, now: datetime, days: int = 90, most: int = 200
    ) -> PlanStatus:
        """Return the plan with at most ``most`` dates of each kind, for ``days`` ahead."""
        market = self.prices.closes()
        today = now.date()
        with self.work.read() as tx:
            portfolio = tx.portfolios.get_for(portfolio_id, actor)
            decided = tx.flow_decisions.of_portfolios([portfolio_id])[portfolio_id]
            sessions = market_sessions(portfolio, market)
            due = portfolio.plan.open_until(today, decided, sessions)[:most]
            entries = tx.portfolios.ledger(portfolio_id).effective if due else ()
        base, used = portfolio.mandate.currency, _payments(decided)
        coming = portfolio.plan.open_between(today, today + timedelta(days=days), decided, sessions)
        return PlanStatus(
            portfolio,
            tuple(OpenFlow(one, tuple(find_matches(one, entries, base, used))) for one in due),
            tuple(coming[:most]),
            tuple(reversed(decided[-most:])),
        )


@attrs.frozen
class RevisePlan:
    """Change the planned flows of a portfolio."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(
        self,
        change: Callable[[ManagedPortfolio], FlowPlan],
        *,
        portfolio_id: UUID,
        owner: UUID,
        accepted: AcceptedVersions = ANY_VERSION,
        request: tuple[object, ...] = (),
        key: str | None = None,
        id: UUID,
        now: datetime,
    ) -> tuple[ValuedPortfolio, UUID, bool]:
        """Return the portfolio, the id of the change, and whether the request was repeated.

        Args:
            change: Makes the plan from the current portfolio.
            portfolio_id: The portfolio.
            owner: Its owner.
            accepted: Versions that may be changed.
            request: What identifies the request, besides the portfolio.
            key: Idempotency key.
            id: Id of the flow that is added, or any.
            now: Current time.

        Raises:
            InvalidRequest: a flow is invalid, or its currency has no exchange rate.
            PortfolioChanged: the version is not accepted.
            Conflict: the idempotency key belongs to another request.
        """
        market = self.prices.closes()
        identity = fingerprint("planned flows", portfolio_id, *request)
        with self.work.begin() as tx:
            stored = tx.portfolios.get(portfolio_id, owner=owner)
            done = find_earlier_result(tx, owner, key, identity)
            revised = stored
            if done is None:
                accepted.check(stored)
                plan = change(stored)
                _check_amounts(plan, stored, market)
                revised = stored.replan(plan, now)
                tx.portfolios.save(revised)
                target = f"portfolio:{portfolio_id}"
                record(tx, Action.FLOWS_PLANNED, at=now, subject=owner, target=target)
                add_key(tx, owner=owner, key=key, request=identity, result=id, now=now)
        valued = value_committed(revised, lambda: market, self.work)
        return valued, id if done is None else done, done is not None


def put_flow(flow: PlannedFlow) -> Callable[[ManagedPortfolio], FlowPlan]:
    """Return the change that adds a flow, or replaces the one with its id.

    A flow whose schedule stays keeps the day of its planning, and thereby its open dates.
    """

    def change(portfolio: ManagedPortfolio) -> FlowPlan:
        earlier = portfolio.plan.find(flow.id)
        same = earlier is not None and earlier.schedule == flow.schedule
        planned = earlier.planned if earlier is not None and same else flow.planned
        return portfolio.plan.put(attrs.evolve(flow, planned=planned))

    return change


def remove_flow(id: UUID) -> Callable[[ManagedPortfolio], FlowPlan]:
    """Return the change that removes a flow; entries that were booked stay."""

    def change(portfolio: ManagedPortfolio) -> FlowPlan:
        require(portfolio.plan.find(id), "flow", id)
        return portfolio.plan.without(id)

    return change


@attrs.frozen
class FlowConfirmation:
    """What the owner states about a date that is due.

    Attributes:
        scheduled: The date of the rule.
        amount: What was paid; None: as planned.
        on: Day of the payment; None: the due date.
        entry: Entry of the ledger that is the payment; None: a new one.
        anyway: Whether a new entry is booked although an entry may be the payment.
    """

    scheduled: date
    amount: Decimal | None = None
    on: date | None = None
    entry: UUID | None = None
    anyway: bool = False


@attrs.frozen
class ConfirmFlow:
    """Book a date of a planned flow, or name the entry that paid it."""

    work: UnitOfWork
    prices: PriceSource
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(
        self,
        confirmation: FlowConfirmation,
        *,
        flow_id: UUID,
        portfolio_id: UUID,
        owner: UUID | None,
        accepted: AcceptedVersions = ANY_VERSION,
        takes_match: bool = False,
        key: str | None = None,
        now: datetime,
    ) -> tuple[Entry, FlowDecision, ValuedPortfolio, bool]:
        """Return the entry, the decision, the portfolio, and whether it was confirmed before.

        Confirming the same date again changes nothing. A date that was skipped can be confirmed.

        Args:
            confirmation: What was paid.
            flow_id: The flow.
            portfolio_id: Its portfolio.
            owner: Owner of the portfolio; None: any.
            accepted: Versions that may be changed.
            takes_match: Whether the nearest matching entry counts as the payment.
            key: Idempotency key of the owner.
            now: Current time.

        Raises:
            InvalidRequest: the date is not one of the flow, or not due yet; or an amount, a day or
                the entry is invalid.
            Conflict: an entry may be the payment already, and none is named; or the idempotency
                key belongs to another request.
            Overdrawn: the withdrawal exceeds the cash.
            PortfolioChanged: the version is not accepted.
        """
        market = self.prices.closes()
        given = confirmation
        request = fingerprint("confirm flow", portfolio_id, flow_id, *attrs.astuple(given))

        def plan(
            tx: Transaction, portfolio: ManagedPortfolio, ledger: Ledger
        ) -> LedgerChange[tuple[Entry, FlowDecision, bool]]:
            find_earlier_result(tx, portfolio.owner, key, request)
            decided = tx.flow_decisions.of_portfolios([portfolio_id])[portfolio_id]
            before = _find_decision(decided, flow_id, given.scheduled)
            if before is not None and before.entry is not None:
                entry = require(ledger.find(before.entry), "entry", before.entry)
                return LedgerChange((entry, before, True))
            due = find_due_date(portfolio, flow_id, given.scheduled, market, now)
            accepted.check(portfolio)
            used = _payments(decided)

            def remember(tx: Transaction, entry: UUID) -> None:
                add_key(tx, owner=portfolio.owner, key=key, request=request, result=entry, now=now)

            matches = find_matches(due, ledger.effective, portfolio.mandate.currency, used)
            chosen = given.entry
            if chosen is None and takes_match and matches:
                chosen = matches[0].id
            if chosen is not None:
                entry = _find_payment(ledger, chosen, due, used)
                decision = _decision(portfolio, due, FlowOutcome.MATCHED, now, entry.id)
                settle = _settle(portfolio, decision)

                def match(tx: Transaction) -> None:
                    settle(tx)
                    remember(tx, entry.id)

                return LedgerChange((entry, decision, False), None, match)
            if matches and not given.anyway:
                raise _matching(matches[0], due, portfolio.mandate.currency)
            recording = Recording(portfolio.mandate.currency, market, ledger, now)
            entry = recording.cash_entry(
                _payment(due, given, market), due.flow.entry_id(given.scheduled)
            )
            extended = extend_and_book(portfolio, ledger, [entry], market, now)
            decision = _decision(portfolio, due, FlowOutcome.BOOKED, now, entry.id)

            def then(tx: Transaction) -> None:
                tx.flow_decisions.put(decision)
                remember(tx, entry.id)

            return LedgerChange((entry, decision, False), extended, then)

        (entry, decision, repeated), portfolio = change_ledger(
            self.work, portfolio_id, owner, plan, now=now, quotas=self.quotas
        )
        if decision.outcome is FlowOutcome.MATCHED and not repeated:
            with self.work.read() as tx:
                portfolio = tx.portfolios.get(portfolio_id, owner=owner)
        return entry, decision, value_committed(portfolio, lambda: market, self.work), repeated


@attrs.frozen
class SkipFlow:
    """Decide that a date of a planned flow is not paid."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(
        self,
        scheduled: date,
        *,
        flow_id: UUID,
        portfolio_id: UUID,
        owner: UUID,
        accepted: AcceptedVersions = ANY_VERSION,
        key: str | None = None,
        now: datetime,
    ) -> tuple[FlowDecision, ValuedPortfolio, bool]:
        """Return the decision, the portfolio, and whether it was skipped before.

        Raises:
            InvalidRequest: the date is not one of the flow, or not due yet.
            Conflict: it is paid already, or the idempotency key belongs to another request.
            PortfolioChanged: the version is not accepted.
        """
        market = self.prices.closes()
        request = fingerprint("skip flow", portfolio_id, flow_id, scheduled)
        with self.work.begin() as tx:
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            find_earlier_result(tx, owner, key, request)
            decided = tx.flow_decisions.of_portfolios([portfolio_id])[portfolio_id]
            decision = _find_decision(decided, flow_id, scheduled)
            if decision is not None and decision.entry is not None:
                raise Conflict(
                    f"the flow of {scheduled} is recorded by entry {decision.entry}; void that "
                    "entry instead",
                    code="flow_recorded",
                )
            repeated = decision is not None
            if decision is None:
                due = find_due_date(portfolio, flow_id, scheduled, market, now)
                accepted.check(portfolio)
                decision = _decision(portfolio, due, FlowOutcome.SKIPPED, now)
                _settle(portfolio, decision)(tx)
                add_key(tx, owner=owner, key=key, request=request, result=flow_id, now=now)
                portfolio = tx.portfolios.get(portfolio_id, owner=owner)
        return decision, value_committed(portfolio, lambda: market, self.work), repeated


@attrs.frozen
class BookDueFlows:
    """Book the due flows of portfolios whose owners chose that."""

    work: UnitOfWork
    prices: PriceSource
    confirm: ConfirmFlow

    def __call__(self, now: datetime) -> int:
        """Return how many dates were booked, or matched with entries.

        A date that cannot be booked, such as a withdrawal without enough cash, stays due.
        """
        count, last = 0, None
        while True:
            with self.work.read() as tx:
                found = tx.portfolios.with_automatic_flows(after=last, limit=_PAGE)
                decided = tx.flow_decisions.of_portfolios([one.id for one in found])
            if not found:
                return count
            market = self.prices.closes()
            last = found[-1].id
            for portfolio in found:
                sessions = market_sessions(portfolio, market)
                for due in portfolio.plan.open_until(now.date(), decided[portfolio.id], sessions):
                    try:
                        self.confirm(
                            FlowConfirmation(due.scheduled),
                            flow_id=due.flow.id,
                            portfolio_id=portfolio.id,
                            owner=None,
                            takes_match=True,
                            now=now,
                        )
                    except (Conflict, InvalidRequest) as error:
                        log.info("flow of portfolio %s stays due: %s", portfolio.id, error)
                        break  # later ones of the portfolio wait, in order
                    count += 1


def market_sessions(portfolio: ManagedPortfolio, market: PriceHistory) -> Dates | None:
    """Return the sessions of a portfolio's main market; None if they are not known.

    It is the market with the largest part of the targets, or of the number of holdings without
    targets; the first by its code of several.
    """
    if market.quotes is None or not market.quotes.sessions:
        return None
    weights = portfolio.mandate.targets or dict.fromkeys(portfolio.positions.holdings, 1.0)
    shares: dict[str, float] = {}
    for symbol, weight in weights.items():
        code = market.known_market(symbol) if symbol in market.columns else None
        if code is not None:
            shares[code] = shares.get(code, 0.0) + weight
    if not shares:
        return None
    return market.quotes.sessions[min(shares, key=lambda code: (-round(shares[code], 9), code))]


def expected_flows(
    portfolio: ManagedPortfolio,
    decided: Sequence[FlowDecision],
    market: PriceHistory,
    today: date,
) -> tuple[ExpectedFlow, ...]:
    """Return the planned flows that a proposal counts, by day.

    Args:
        portfolio: With its plan.
        decided: What was decided about its dates.
        market: Prices in its base currency.
        today: Day from which the horizon is counted.

    Raises:
        InvalidRequest: a currency has no exchange rate.
    """
    if not portfolio.plan:
        return ()
    base = portfolio.mandate.currency
    found = portfolio.plan.expected(today, decided, market_sessions(portfolio, market))
    return tuple(expected_flow(due, base, _rate(due.flow, base, market)) for due in found)


def find_due_date(
    portfolio: ManagedPortfolio,
    flow_id: UUID,
    scheduled: date,
    market: PriceHistory,
    now: datetime,
) -> DueFlow:
    """Return a date of a flow that can be decided: due, or due within a few days.

    Raises:
        NotFound: the portfolio has no such flow.
        InvalidRequest: the date is not one of the flow, or is due later.
    """
    flow = require(portfolio.plan.find(flow_id), "flow", flow_id)
    sessions = market_sessions(portfolio, market)
    around = timedelta(days=31)
    near = due_between(flow, scheduled - timedelta(days=1), scheduled + around, sessions)
    due = next((one for one in near if one.scheduled == scheduled), None)
    if due is None:
        nearest = next(iter(near), None)
        remedy = "" if nearest is None else f", such as {nearest.scheduled}"
        raise InvalidRequest(
            f"{scheduled} is not a date of this planned flow; choose one of its dates{remedy}",
            field="scheduled",
            code="not_a_due_date",
        )
    latest = now.date() + timedelta(days=MATCHING_DAYS)
    if due.due > latest:
        raise InvalidRequest(
            f"the flow of {scheduled} is due on {due.due}; decide about it at most "
            f"{MATCHING_DAYS} days before",
            field="scheduled",
            code="flow_not_due",
        )
    return due


def _rate(flow: PlannedFlow, base: Currency, market: PriceHistory) -> Decimal:
    currency = flow.currency_in(base)
    if currency == base:
        return _ONE
    rate = market.last_rate(currency.code)
    if rate is None:
        raise missing_rate(currency.code, base.code, field="currency")
    return Decimal(repr(rate))


def _check_amounts(plan: FlowPlan, portfolio: ManagedPortfolio, market: PriceHistory) -> None:
    base = portfolio.mandate.currency
    for flow in plan.flows:
        if flow in portfolio.plan.flows:
            continue
        check_amount(flow.amount, flow.currency_in(base), field="amount")
        if flow.currency is not None:
            _rate(flow, base, market.in_currency(base.code))


def _payments(decided: Iterable[FlowDecision]) -> frozenset[UUID]:
    return frozenset(one.entry for one in decided if one.entry is not None)


def _find_decision(
    decided: Iterable[FlowDecision], flow: UUID, scheduled: date
) -> FlowDecision | None:
    return next((one for one in decided if (one.flow, one.scheduled) == (flow, scheduled)), None)


def _decision(
    portfolio: ManagedPortfolio,
    due: DueFlow,
    outcome: FlowOutcome,
    now: datetime,
    entry: UUID | None = None,
) -> FlowDecision:
    return FlowDecision(portfolio.id, due.flow.id, due.scheduled, outcome, now, entry)


def _settle(portfolio: ManagedPortfolio, decision: FlowDecision) -> Callable[[Transaction], None]:
    """Return what stores a decision without an entry; the next version makes proposals stale."""

    def then(tx: Transaction) -> None:
        tx.portfolios.save(portfolio.replan(portfolio.plan, decision.decided))
        tx.flow_decisions.put(decision)

    return then


def _find_payment(ledger: Ledger, id: UUID, due: DueFlow, used: frozenset[UUID]) -> Entry:
    """Return the entry that an owner names as the payment of a date.

    Raises:
        NotFound: the ledger has no such entry.
        InvalidRequest: it is void, the payment of another date, or no money of this kind.
    """
    entry = require(ledger.find(id), "entry", id)
    problem = None
    if entry.kind.value != due.flow.kind.value or entry.symbol is not None:
        problem = f"is not a {due.flow.kind} of money"
    elif entry.id in used:
        problem = "is the payment of another date"
    elif entry.voids is not None or all(one.id != id for one in ledger.effective):
        problem = "is void"
    if problem is not None:
        raise InvalidRequest(
            f"entry {id} {problem}; name another entry, or omit it",
            field="entry_id",
            code="entry_does_not_match",
        )
    return entry


def _matching(entry: Entry, due: DueFlow, base: Currency) -> Conflict:
    amount = money_text(entry.amount, due.flow.currency_in(base).minor_unit)
    return Conflict(
        f"a {due.flow.kind} of {amount} {due.flow.currency_in(base)} of {entry.on} is recorded "
        f"already, which may be this one; name entry {entry.id} as its payment, or state that it "
        "is another one",
        code="flow_matches_entry",
    )


def _payment(due: DueFlow, given: FlowConfirmation, market: PriceHistory) -> CashFlow:
    flow = due.flow
    on = given.on
    if on is None and due.due <= market.last_date:
        on = due.due
    kind = EntryKind.DEPOSIT if flow.kind is FlowKind.DEPOSIT else EntryKind.WITHDRAWAL
    amount = flow.amount if given.amount is None else given.amount
    return CashFlow(kind, amount, on, note=flow.note, currency=flow.currency)
