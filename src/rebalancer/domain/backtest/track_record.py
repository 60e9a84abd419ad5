"""Track record: performance of a recorded portfolio, and two comparisons with the same cash flows.

There are three lines over the same closes: the portfolio as its ledger records it; its initial
investment without rebalancing; a benchmark. Row 0 is the last close at or before the first entry,
and each entry counts at the last close at or before its day.

The portfolio is valued at the prices of shares as traded, in its base currency; the comparisons
have total returns, in which distributions are reinvested. Splits, spin-offs, new symbols and
mergers change units before the prices of their day count, so they move value without a flow.
Dividends, interest and returned capital are income of their day, net of the tax that is withheld;
fees, other taxes and exchanges of currency are costs of it. So income counts once: the price of the
ex-day is lower by it, and no adjusted price counts.

Within a day, prices move and income arrives first; then deposits arrive, trades and fees happen,
and withdrawals leave. A deposit therefore has no part in the return of its day, but shares the
costs of its investment; a withdrawal shares the costs of raising it::

    r[t] = stood[t] / v[t-1] * (v[t] + out[t]) / (stood[t] + in[t]) - 1

where ``v`` is the value after the day's entries and ``stood`` the value at this close of what was
held the day before, with its income. A ratio with denominator 0 is 1: an empty account has no
return, and its index continues across the gap.
The first day's return is the costs of its trades, in every figure, as in a backtest.
Transfers in kind count at their value at the close. The day's return includes differences between
trade prices and the close.

Money in other currencies is held in them. Each flow, income and cost is converted at the rate of
its day. The return splits into a local return and a currency effect: with ``still`` as ``stood`` at
the exchange rates of the close before, the currency effect of a day is ``stood / still - 1``, and
the local return is the rest, so that ``(1 + local) * (1 + currency) = 1 + r``. Both are linked by
multiplication over the days. This is the multiplicative form of the split by Karnosky and Singer,
without their separation of interest rates.

Figures a year follow the observation frequency of the closes. A yearly return is over the time in
which money was *invested*: from the first day after which an asset is held, without the time in
which the account was empty. Cash that waits for the first purchase therefore dilutes nothing, while
cash that a policy or its owner holds later counts, as it is a decision.

References:
    CFA Institute (2020). Global investment performance standards (GIPS), provisions 2.A and 4.A:
    returns of less than a year are not annualised.
    Karnosky, D. S. and Singer, B. D. (1994). Global asset management and performance attribution.
    Research Foundation of the Institute of Chartered Financial Analysts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.backtest.comparisons import simulate_benchmark, simulate_no_rebalancing
from rebalancer.domain.backtest.contributions import (
    DailyContributions,
    Item,
    measure_contributions,
)
from rebalancer.domain.backtest.courses import (
    Course,
    Days,
    PriceTable,
    replay_ledger,
)
from rebalancer.domain.backtest.income import Income, collect_income
from rebalancer.domain.backtest.lines import Growth, Line, Span, measure_growth, measure_line
from rebalancer.domain.backtest.periods import find_span
from rebalancer.domain.backtest.replays import Replay, add_up_flows
from rebalancer.domain.market.frequency import (
    DAILY,
    ObservationFrequency,
)
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import unknown_symbols
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.own_prices import adjustment_note

PORTFOLIO = "portfolio"
NO_REBALANCING = "no rebalancing"
TARGETS_MONTHLY = "targets, monthly"

TEN_BASIS_POINTS = CostModel.flat(10.0)
FREE = CostModel.flat(0.0)

_LESS_THAN_A_YEAR = "Money has been invested for less than a year, so no return a year is given."

_ZERO = Decimal(0)
_DIGITS = 60


@attrs.frozen(eq=False)
class TrackRecord:
    """Performance of a recorded portfolio over the T closes of a period.

    Attributes:
        dates: (T,) trading days, from the first entry's to the last close, or those of the period.
        contributions: (T,) cumulative deposits minus withdrawals since the period began, in money
            and in kind.
        gain: Growth of the value that is not from contributions.
        costs: Total trading costs and fees, and what currency exchanges cost against the day's
            rates.
        dividends: Total dividends before tax.
        interest: Total interest before tax.
        returned_capital: Total capital returned.
        taxes: Total taxes, withheld or paid.
        notes: How entries before the first close and assets without a price are measured, which
            splits and dividends are not known, and whether the return a year is missing.
        frequency: Number of returns in a year.
        span: Rows of the period in ``daily``.
        daily: Contributions of holdings on all days since the first entry.
        income: Income of the period by month.
    """

    dates: Dates
    contributions: Floats
    portfolio: Line
    no_rebalancing: Line
    benchmark: Line
    gain: float
    costs: float
    dividends: float
    span: Span
    daily: DailyContributions[Item]
    income: tuple[Income, ...] = ()
    interest: float = 0.0
    returned_capital: float = 0.0
    taxes: float = 0.0
    notes: tuple[str, ...] = ()
    frequency: ObservationFrequency = DAILY


def measure_track_record(
    ledger: Ledger,
    targets: Mapping[str, float],
    market: PriceHistory,
    *,
    benchmark: str | Mapping[str, float] | None = None,
    costs: CostModel = TEN_BASIS_POINTS,
    currency: str = "USD",
    since: date | None = None,
    until: date | None = None,
) -> TrackRecord:
    """Measure a recorded portfolio from its first entry to the market's last close.

    A period has the same lines, measured from the last close before its first day: the money that
    an account held then counts as invested, and not as contributed.

    **No rebalancing** equals the portfolio through the first day with a purchase; afterwards
    nothing is traded. Later deposits buy the targets at that day's close without cost; the share of
    cash, and of assets without a price yet, stays in cash. Withdrawals, fees and taxes are taken
    pro rata from all holdings and cash. Transfers in kind move the asset; if it is not held, its
    value is taken pro rata. Distributions are reinvested in the asset that pays them; interest
    stays in cash. Without any purchase it equals the portfolio.

    **The benchmark** receives the same contributions, transfers in kind as money, and pays its own
    costs instead of the ledger's. By default it holds the targets: deposits buy them on arrival,
    withdrawals are taken pro rata, and it is rebalanced on the first close of each month. The share
    of an asset without a price stays in cash until the first review at which it has one. A single
    symbol, or a mix that is rebalanced monthly, is bought without cost. Distributions are
    reinvested.

    Both comparisons may have less than a withdrawal; they then pay out all they have and are empty
    until the next deposit.

    An asset without a close is valued at its last known price, see `own_prices`; the comparisons
    buy none of it, and the benchmark sells it at its next review. If the ledger begins before the
    prices, the record begins at the first close, with what the portfolio held then as its first
    contribution.

    Args:
        ledger: Entries of the portfolio; void ones have no part in any figure.
        targets: Strategic weights by symbol, as in `Portfolio`.
        market: Prices, in any currencies.
        benchmark: A symbol, or weights by symbol, whose rest is cash; None: the targets.
        costs: Cost model of the targets as benchmark.
        currency: ISO 4217 code of the portfolio's base currency, in which all figures are.
        since: First day of the period; None: the first one.
        until: Last day of the period; None: that of the last close.

    Raises:
        InvalidRequest: the ledger is empty, or was before the first close; the benchmark has an
            unknown symbol; a currency cannot be converted; or see `find_span`.
        Overdrawn: cash or a holding is negative at the end of a day.
    """
    recorded = record_portfolio(
        ledger, targets, market, benchmark=benchmark, costs=costs, currency=currency
    )
    return recorded.over(since, until)


@attrs.frozen(eq=False)
class RecordedPortfolio:
    """A recorded portfolio and its comparisons over all days, of which periods are measured.

    Attributes:
        replay: Its entries and prices.
        recorded: Its holdings.
        alone: Those without rebalancing.
        followed: Those of the benchmark.
        benchmark: Name of the benchmark.
        wanted: Weights of the benchmark.
        growth: Growth of the portfolio.
        paid_in: (T,) cumulative deposits minus withdrawals.
        daily: Contributions of holdings.
    """

    replay: Replay
    recorded: Course
    alone: Course
    followed: Course
    benchmark: str
    wanted: Mapping[str, float]
    growth: Growth
    paid_in: Floats
    daily: DailyContributions[Item]

    @property
    def size(self) -> int:
        """Return about how many bytes its arrays take."""
        daily, prices = self.daily, self.replay.prices
        tables = (daily.held, daily.local, daily.currency, daily.earned, daily.traded)
        levels = (prices.traded, prices.total, prices.rates, self.growth.held)
        courses = (self.recorded, self.alone, self.followed)
        held = (table for one in courses for table in (one.opening, one.quantities))
        return sum(table.nbytes for table in (*tables, *levels, *held))

    def over(self, since: date | None = None, until: date | None = None) -> TrackRecord:
        """Return the figures of a period, see `measure_track_record`.

        Raises:
            InvalidRequest: see `find_span`.
        """
        replay, recorded = self.replay, self.recorded
        prices, dates = replay.prices, replay.dates
        span = find_span(dates, since, until)
        measured = replay.measured()

        def measure(name: str, course: Course) -> Line:
            return measure_line(name, course, prices.total, prices.rates, measured, span)

        portfolio = measure_line(
            PORTFOLIO, recorded, prices.traded, prices.rates, measured, span, self.growth
        )
        before = 0.0 if span.first is None else float(self.paid_in[span.first])
        contributions: Floats = self.paid_in[span.shown] - before
        stood = 0.0 if span.first is None else float(portfolio.values[0])
        totals = _sum_entries(replay.days, prices, span)
        traded = sorted(replay.ledger.symbols - _renamed(replay.ledger, replay.market))
        return TrackRecord(
            dates=dates[span.shown],
            contributions=contributions,
            portfolio=portfolio,
            no_rebalancing=measure(NO_REBALANCING, self.alone),
            benchmark=measure(self.benchmark, self.followed),
            gain=float(portfolio.values[-1] - stood - contributions[-1]),
            **{name: float(amount) for name, amount in totals.items()},
            span=span,
            daily=self.daily,
            income=tuple(collect_income(replay.days, dates, prices, span)),
            notes=(
                *_notes(
                    replay.opening, replay.market, traded, recorded, prices.assets, self.wanted
                ),
                *_rate_notes(replay.filled, prices, dates[0].item()),
                *_adjustment_notes(replay.filled, recorded, prices),
                *([] if portfolio.twr_annual is not None else [_LESS_THAN_A_YEAR]),
            ),
            frequency=measured.frequency,
        )


def record_portfolio(
    ledger: Ledger,
    targets: Mapping[str, float],
    market: PriceHistory,
    *,
    benchmark: str | Mapping[str, float] | None = None,
    costs: CostModel = TEN_BASIS_POINTS,
    currency: str = "USD",
) -> RecordedPortfolio:
    """Return a recorded portfolio and its comparisons, of which periods can be measured.

    `measure_track_record` describes arguments and errors.
    """
    wanted = _wanted(benchmark, targets, market)
    replay = Replay.of(ledger, market, {*targets, *wanted}, currency)
    days, dates, prices = replay.days, replay.dates, replay.prices
    recorded = replay_ledger(days, prices)
    alone = simulate_no_rebalancing(
        recorded, days, prices, _weights(targets, prices), replay.opening is not None
    )
    charges = (costs if benchmark is None else FREE).of(
        [*prices.assets, *prices.currencies], Instruments()
    )
    followed = simulate_benchmark(recorded, dates, prices, _weights(wanted, prices), charges)
    growth = measure_growth(recorded, prices.traded, prices.rates)
    return RecordedPortfolio(
        replay,
        recorded,
        alone,
        followed,
        _benchmark_name(benchmark),
        wanted,
        growth,
        add_up_flows(recorded, dates),
        measure_contributions(
            dates, recorded, days, prices, growth, replay.currencies(currency), currency
        ),
    )


def _wanted(
    benchmark: str | Mapping[str, float] | None,
    targets: Mapping[str, float],
    market: PriceHistory,
) -> dict[str, float]:
    """Return the weights of the benchmark; raise InvalidRequest if a symbol is unknown."""
    if benchmark is None:
        return dict(targets)
    mix = {benchmark: 1.0} if isinstance(benchmark, str) else dict(benchmark)
    unknown = [symbol for symbol in mix if symbol not in market.columns]
    if unknown:
        raise unknown_symbols(unknown, market.symbols, field="benchmark")
    return mix


def _benchmark_name(benchmark: str | Mapping[str, float] | None) -> str:
    if benchmark is None:
        return TARGETS_MONTHLY
    if isinstance(benchmark, str):
        return benchmark
    return ", ".join(f"{symbol} {100.0 * weight:.4g}%" for symbol, weight in benchmark.items())


def _renamed(ledger: Ledger, market: PriceHistory) -> set[str]:
    """Return the old symbols of assets whose new symbols the market has."""
    return {
        entry.symbol
        for entry in ledger.entries
        if entry.kind is EntryKind.RENAME and entry.symbol and entry.other in market.columns
    }


def _sum_entries(days: Days, prices: PriceTable, span: Span) -> dict[str, Decimal]:
    """Return costs, taxes and income of a period in the base currency, at the rates of the days."""
    counted = range(span.counted.start, span.counted.stop)
    totals = dict.fromkeys(("costs", "taxes", "dividends", "interest", "returned_capital"), _ZERO)
    with localcontext(prec=_DIGITS):
        for row, entries in days:
            for entry in entries if row in counted else ():
                rate = _exact_rate(prices, entry.currency, row)
                totals["costs"] += entry.cost * rate
                totals["taxes"] += entry.withheld * rate
                if entry.kind in _TOTALS:
                    totals[_TOTALS[entry.kind]] += entry.amount * rate
                elif entry.kind is EntryKind.EXCHANGE and entry.counter_amount is not None:
                    received = _exact_rate(prices, entry.counter_currency, row)
                    totals["costs"] += entry.amount * rate - entry.counter_amount * received
    return totals


_TOTALS = {
    EntryKind.FEE: "costs",
    EntryKind.TAX: "taxes",
    EntryKind.DIVIDEND: "dividends",
    EntryKind.INTEREST: "interest",
    EntryKind.RETURN_OF_CAPITAL: "returned_capital",
}
"""Totals to which the amounts of entries belong."""


def _exact_rate(prices: PriceTable, currency: str | None, row: int) -> Decimal:
    return Decimal(repr(prices.rate(currency, row)))


def _rate_notes(market: PriceHistory, prices: PriceTable, first: date) -> list[str]:
    """Return sentences about exchange rates that begin after the first day of the record."""
    quotes = market.quotes
    if quotes is None or quotes.currency is None:
        return []
    priced = {market.currency_of(one, quotes.currency) for one in prices.assets}
    notes = []
    for currency in sorted({*priced, *prices.currencies} - {quotes.currency}):
        rates = quotes.exchange.convert(currency, quotes.currency, market.dates)
        if rates is None:
            continue
        known = rates.days[~np.isnat(rates.days)]
        if len(known) and known[0].item() > first:
            notes.append(
                f"The exchange rate from {currency} to {quotes.currency} begins on {known[0]}; "
                "earlier days are measured at that rate."
            )
    return notes


def _adjustment_notes(
    market: PriceHistory, recorded: Course, prices: PriceTable
) -> tuple[str, ...]:
    """Return the caution about assets whose splits and dividends are not known."""
    last = recorded.quantities[-1]
    note = adjustment_note(market, [one for one, at in prices.assets.items() if last[at] > 0.0])
    return () if note is None else (note,)


def _notes(
    opening: Ledger | None,
    market: PriceHistory,
    traded: Sequence[str],
    recorded: Course,
    columns: Mapping[str, int],
    wanted: Mapping[str, float],
) -> tuple[str, ...]:
    """Return how entries before the first close and assets without a price are measured."""
    notes = []
    if opening is not None:
        notes.append(
            f"Measured from {market.dates[0]}, the first available close: what the portfolio held "
            "then counts as one contribution."
        )
    for symbol in traded:
        last = market.last_known(symbol)
        if last is None:
            notes.append(f"{symbol} has no price data; it is valued at the prices of its entries.")
        elif symbol in market.withheld and recorded.quantities[-1, columns[symbol]] > 0.0:
            notes.append(f"{symbol} has no close since {last[0]}; it is valued at its last price.")
    for symbol in sorted(wanted):
        last = market.last_known(symbol)
        if symbol in market.excluded:
            notes.append(
                f"{symbol} is not tradable ({market.excluded[symbol]}); the comparisons buy none "
                "of it."
            )
        elif last is None:
            notes.append(f"{symbol} has no price data; the comparisons hold its share in cash.")
        elif symbol in market.withheld:
            notes.append(
                f"{symbol} has no close since {last[0]}; since then the comparisons buy none of it."
            )
    return tuple(notes)


def _weights(targets: Mapping[str, float], prices: PriceTable) -> Floats:
    """Return (N + C,) weights; a sum within the tolerance above 1 is scaled to 1."""
    weights = np.zeros(prices.traded.shape[1])
    for symbol, weight in targets.items():
        weights[prices.assets[symbol]] = weight
    whole: Floats = weights / max(float(weights.sum()), 1.0)
    return whole
