"""Summarise all portfolios of an owner: value, change, drift, and what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, localcontext
from enum import StrEnum
from uuid import UUID

import attrs
import numpy as np

from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.histories import ReadHistories
from rebalancer.application.planned_flows import market_sessions
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.rebalance import ReadProposals
from rebalancer.application.target_groups import resolve_mandate
from rebalancer.application.valuation import ValuedPortfolio, value_booked
from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.periods import (
    Period,
    PeriodChange,
    ValueHistory,
    add_histories,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.policy.rules import DEFAULT_BAND
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.portfolio.planned_flows import DueFlow, FlowDecision
from rebalancer.domain.portfolio.target_groups import Inside
from rebalancer.domain.portfolio.target_resolution import ResolvedTargets
from rebalancer.domain.rebalancing.lifecycle import Stage

MOST_PORTFOLIOS = 200
"""Portfolios in a summary; the oldest ones."""

_ZERO = Decimal(0)
_ROUNDING = 1e-9
_DIGITS = 60
_RECENT_PROPOSALS = 30
_PRICES_OLD_AFTER = 5
"""Days from the last close after which prices count as old: more than a long weekend."""


class Task(StrEnum):
    """Kind of thing to do, the most urgent first."""

    PROPOSAL_WAITS = "proposal_waits"
    TRADES_EXPECTED = "trades_expected"
    FLOW_DUE = "flow_due"
    DEPOSIT_UNINVESTED = "deposit_uninvested"
    OUTSIDE_BAND = "outside_band"
    NO_VALUE = "no_value"
    NO_TARGETS = "no_targets"
    PRICES_OLD = "prices_old"


@attrs.frozen
class ToDo:
    """Something to do.

    Attributes:
        portfolio_id: Portfolio that it concerns; None: all of them.
        proposal_id: Proposal that it concerns, if any.
        symbols: Assets that it concerns, if any.
        days: Age of the prices; None otherwise.
        flow: Due date of a planned flow that it concerns, if any.
    """

    task: Task
    portfolio_id: UUID | None = None
    proposal_id: UUID | None = None
    symbols: tuple[str, ...] = ()
    days: int | None = None
    flow: DueFlow | None = None


@attrs.frozen(eq=False)
class PortfolioSummary:
    """One portfolio in a summary.

    Attributes:
        history: Its value over time, in its base currency; None without entries or a value.
        drift: Largest distance of a weight, or of the cash's, from its target; None without a
            value.
        band: Half-width of its no-trade band.
        outside: Assets whose weights are outside the band.
    """

    valued: ValuedPortfolio
    history: ValueHistory | None
    drift: float | None
    band: float
    outside: tuple[str, ...]


@attrs.frozen(eq=False)
class HomeSummary:
    """All portfolios of an owner.

    Attributes:
        currency: Of value and history.
        value: Sum of the portfolios' values; None if one has no value or no exchange rate.
        history: Value over time of the portfolios that have a value; None without any.
        changes: Change over each period.
        as_of: Day of the last close; None without portfolios.
        notes: What is missing in the sums, as sentences.
    """

    currency: Currency
    value: Decimal | None
    history: ValueHistory | None
    changes: tuple[PeriodChange, ...]
    as_of: date | None
    portfolios: tuple[PortfolioSummary, ...]
    to_do: tuple[ToDo, ...]
    notes: tuple[str, ...]


@attrs.frozen
class SummarizeHome:
    """Summarise all portfolios of an owner."""

    work: UnitOfWork
    prices: PriceSource
    book: BookActions
    proposals: ReadProposals
    histories: ReadHistories
    base: Currency
    instruments: InstrumentSource

    def __call__(
        self, owner: UUID, *, currency: Currency | None = None, now: datetime
    ) -> HomeSummary:
        """Return the summary in a currency; None: the one that most portfolios have."""
        market = self.prices.closes()
        with self.work.read() as tx:
            found = tx.portfolios.page(owner, limit=MOST_PORTFOLIOS)
            planning = [one.id for one in found if one.plan]
            decided = tx.flow_decisions.of_portfolios(planning) if planning else {}
        booked = self.book.many(found, market)
        valued = [value_booked(one, market, self.work) for one in booked]
        histories_by_id = self.histories([one.portfolio for one in booked], market)
        listed = self.instruments.instruments()
        summaries = tuple(
            _summarize(one, histories_by_id.get(one.portfolio.id), listed) for one in valued
        )
        chosen = currency or commonest_currency(found, self.base)
        value, histories, notes = _convert(summaries, chosen, market)
        history = add_histories(histories)
        waiting = self.proposals.all(owner, limit=_RECENT_PROPOSALS, now=now)
        last = market.last_date
        to_do = [
            *(
                ToDo(Task.PROPOSAL_WAITS, status.record.portfolio_id, status.record.id)
                for status in waiting
                if status.stage is Stage.PROPOSED and status.stale is None
            ),
            *(
                ToDo(Task.TRADES_EXPECTED, status.record.portfolio_id, status.record.id)
                for status in waiting
                if status.stage is Stage.ACCEPTED
            ),
            *(
                ToDo(Task.FLOW_DUE, one.id, flow=due)
                for one in found
                if one.id in decided
                for due in _due_flows(one, decided[one.id], market, now.date())
            ),
            *(todo for one in summaries for todo in _to_do(one)),
        ]
        age = (now.date() - last).days
        if found and age > _PRICES_OLD_AFTER:
            to_do.append(ToDo(Task.PRICES_OLD, days=age))
        order = list(Task)
        return HomeSummary(
            currency=chosen,
            value=value,
            history=history,
            changes=() if history is None else tuple(history.change(one) for one in Period),
            as_of=last if found else None,
            portfolios=summaries,
            to_do=tuple(sorted(to_do, key=lambda one: order.index(one.task))),
            notes=tuple(notes),
        )


def _summarize(
    valued: ValuedPortfolio, history: ValueHistory | None, instruments: Instruments
) -> PortfolioSummary:
    mandate = valued.portfolio.mandate
    own = mandate.preferences.band
    band = DEFAULT_BAND if own is None else own
    try:
        resolved = resolve_mandate(valued, instruments, mandate)
    except InvalidRequest:  # a class group without members
        resolved = ResolvedTargets(mandate.targets, ())
    distances = _distances(valued, resolved.weights)
    drift = max(map(abs, distances.values()), default=None)
    beyond, calm = _judge_groups(resolved, distances)
    outside = tuple(
        symbol
        for symbol, one in sorted(distances.items())
        if symbol and (symbol in beyond or (abs(one) > band and symbol not in calm))
    )
    return PortfolioSummary(valued, history, drift, band, outside)


def _judge_groups(
    resolved: ResolvedTargets, distances: Mapping[str, float]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the members of groups beyond their bands or limits, and those whose bands stand aside.

    The latter are in groups within their bands that keep the proportions of their members.
    """
    beyond: set[str] = set()
    calm: set[str] = set()
    for one in resolved.groups if distances else ():
        group, drift = one.group, one.weight(distances)
        weight = one.weight(resolved.weights) + drift
        least, most = group.min_weight or 0.0, group.max_weight
        outside = weight < least - _ROUNDING or (most is not None and weight > most + _ROUNDING)
        if outside or (group.band is not None and abs(drift) > group.band + _ROUNDING):
            beyond.update(one.members)
        elif group.band is not None and group.inside is Inside.CURRENT:
            calm.update(one.members)
    return frozenset(beyond), frozenset(calm)


def _distances(valued: ValuedPortfolio, targets: Mapping[str, float]) -> dict[str, float]:
    """Return weight minus target of each asset, and of cash under the empty name.

    Empty without a value, or without targets.
    """
    total = valued.value
    if not total or not targets:
        return {}
    found = dict.fromkeys(targets, 0.0)
    for symbol, one in valued.prices.items():
        found[symbol] = float((one.value or _ZERO) / total)
    found[""] = 1.0 - sum(found.values())
    left = max(0.0, 1.0 - sum(targets.values()))
    return {
        symbol: weight - targets.get(symbol, left if not symbol else 0.0)
        for symbol, weight in found.items()
    }


def _due_flows(
    portfolio: ManagedPortfolio,
    decided: Sequence[FlowDecision],
    market: PriceHistory,
    today: date,
) -> list[DueFlow]:
    """Return the oldest date of each planned flow that waits for a decision."""
    open_dates = portfolio.plan.open_until(today, decided, market_sessions(portfolio, market))
    oldest: dict[UUID, DueFlow] = {}
    for one in open_dates:
        oldest.setdefault(one.flow.id, one)
    return list(oldest.values())


def _to_do(one: PortfolioSummary) -> list[ToDo]:
    """Return what to do about one portfolio."""
    managed = one.valued.portfolio
    found = []
    targeted = managed.mandate.targets or managed.mandate.target_groups
    if managed.positions.uninvested > 0 and targeted:
        found.append(ToDo(Task.DEPOSIT_UNINVESTED, managed.id))
    elif one.outside:
        found.append(ToDo(Task.OUTSIDE_BAND, managed.id, symbols=one.outside))
    if one.valued.value is None:
        found.append(ToDo(Task.NO_VALUE, managed.id))
    if not targeted:
        found.append(ToDo(Task.NO_TARGETS, managed.id))
    return found


def commonest_currency(portfolios: Sequence[ManagedPortfolio], default: Currency) -> Currency:
    """Return the currency that most portfolios have, the first one of several."""
    counts = Counter(one.mandate.currency.code for one in portfolios)
    return Currency(counts.most_common(1)[0][0]) if counts else default


def _convert(
    summaries: Sequence[PortfolioSummary], currency: Currency, market: PriceHistory
) -> tuple[Decimal | None, list[ValueHistory], list[str]]:
    """Return the sum of all values in a currency, the converted histories, and what is missing.

    A portfolio without a value or an exchange rate has no part in the histories.
    """
    total: Decimal | None = _ZERO
    histories, notes = [], []
    for one in summaries:
        managed, value = one.valued.portfolio, one.valued.value
        base = managed.mandate.currency.code
        rates = _rates(market, base, currency.code, one.history)
        if value is None or rates is None:
            reason = "it has no value" if value is None else f"no exchange rate from {base}"
            notes.append(f"{managed.mandate.name} is missing in the total: {reason}.")
            total = None
            continue
        if total is not None:
            with localcontext(prec=_DIGITS):
                total += value * Decimal(repr(float(rates[-1])))
        if one.history is not None:
            histories.append(_scale(one.history, rates))
    return None if total is None else currency.round(total), histories, notes


def _rates(
    market: PriceHistory, source: str, target: str, history: ValueHistory | None
) -> Floats | None:
    """Return the exchange rates on the days of a history, the last one at least; None without."""
    dates = market.dates[-1:] if history is None else history.dates
    if source == target:
        return np.ones(len(dates))
    found = None
    if market.quotes is not None:
        found = market.quotes.exchange.convert(source, target, dates)
    if found is None or np.isnan(found.rates[-1]):
        return None
    known = np.flatnonzero(~np.isnan(found.rates))
    rates: Floats = np.where(np.isnan(found.rates), found.rates[known[0]], found.rates)
    return rates


def _scale(history: ValueHistory, rates: Floats) -> ValueHistory:
    """Return a history in another currency; each flow is converted at the rate of its day."""
    flows = np.diff(history.contributions, prepend=0.0) * rates
    return ValueHistory(
        history.dates,
        history.values * rates,
        np.cumsum(flows),
        history.index * rates / rates[0],
    )
