"""Track record: performance of a recorded portfolio, and two comparisons with the same cash flows.

There are three lines over the same closes: the portfolio as its ledger records it; its initial
investment without rebalancing; a benchmark. Row 0 is the last close at or before the first entry,
and each entry counts at the last close at or before its day.

Within a day, prices move first; then deposits arrive, trades, fees and dividends happen, and
withdrawals leave. A deposit therefore has no part in the return of its day, but shares the costs of
its investment; a withdrawal shares the costs of raising it::

    r[t] = stood[t] / v[t-1] * (v[t] + out[t]) / (stood[t] + in[t]) - 1

where ``v`` is the value after the day's entries and ``stood`` the value at this close of what was
held the day before. A ratio with denominator 0 is 1: an empty account has no return, and its index
continues across the gap.
The first day's return is the costs of its trades, in every figure, as in a backtest.
Transfers in kind count at their value at the close. The day's return includes differences between
trade prices and the close, costs, fees and dividends. Closes are adjusted for dividends, so a
recorded dividend counts twice unless the closes are price-only.

Figures a year follow the observation frequency of the closes. A yearly return is over the time in
which money was *invested*: from the first day after which an asset is held, without the time in
which the account was empty. Cash that waits for the first purchase therefore dilutes nothing, while
cash that a policy or its owner holds later counts, as it is a decision.

References:
    CFA Institute (2020). Global investment performance standards (GIPS), provisions 2.A and 4.A:
    returns of less than a year are not annualised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext
from functools import partial
from itertools import groupby
from uuid import UUID, uuid5

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.comparisons import (
    Columns,
    Course,
    Days,
    simulate_benchmark,
    simulate_no_rebalancing,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.calendars import common_rows
from rebalancer.domain.market.frequency import (
    DAILY,
    ObservationFrequency,
    is_a_year,
    observation_frequency,
    years_between,
)
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import unknown_symbols
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.ledger import FLOWS, Entry, EntryKind, Ledger
from rebalancer.domain.portfolio.ledger_prices import fill_from_ledger

PORTFOLIO = "portfolio"
NO_REBALANCING = "no rebalancing"
TARGETS_MONTHLY = "targets, monthly"

TEN_BASIS_POINTS = CostModel.flat(10.0)
FREE = CostModel.flat(0.0)

_LESS_THAN_A_YEAR = "Money has been invested for less than a year, so no return a year is given."

_ZERO = Decimal(0)
_DIGITS = 60

_OPENING = UUID("5f1d3c86-6a55-4a53-9d0e-4f6b0b9f5c11")
"""Namespace of the ids of entries that stand for those before the first close."""


@attrs.frozen(eq=False)
class Line:
    """Performance of the contributions in one of three ways, over T closes.

    Attributes:
        name: "portfolio", "no rebalancing", "targets, monthly", or the benchmark's symbol.
        values: (T,) value at each close, after that day's entries.
        index: (T,) value per 1 held throughout, without the effect of flows; net of the first
            day's costs.
        twr: Time-weighted return over the whole period, a fraction; None with a single close.
        twr_annual: The same, annualised over the invested time; None for less than a year.
        xirr: Annual money-weighted return; None for less than a year since the first entry, or
            without a solution.
        volatility: Annual volatility of the returns since the first investment, without those of
            an empty account; None for fewer than two returns.
        max_drawdown: Largest loss of the index from its peak or its initial 1; None with a single
            close.
    """

    name: str
    values: Floats
    index: Floats
    twr: float | None
    twr_annual: float | None
    xirr: float | None
    volatility: float | None
    max_drawdown: float | None


@attrs.frozen(eq=False)
class TrackRecord:
    """Performance of a recorded portfolio over T closes.

    Attributes:
        dates: (T,) trading days, from the first entry's to the last close.
        contributions: (T,) cumulative deposits minus withdrawals, in money and in kind.
        gain: Last value minus contributions.
        costs: Total trading costs and fees.
        dividends: Total dividends received as money.
        notes: How entries before the first close and assets without a price are measured, and
            whether the return a year is missing.
        frequency: Number of returns in a year.
    """

    dates: Dates
    contributions: Floats
    portfolio: Line
    no_rebalancing: Line
    benchmark: Line
    gain: float
    costs: float
    dividends: float
    notes: tuple[str, ...] = ()
    frequency: ObservationFrequency = DAILY


def measure_track_record(
    ledger: Ledger,
    targets: Mapping[str, float],
    market: PriceHistory,
    *,
    benchmark: str | None = None,
    costs: CostModel = TEN_BASIS_POINTS,
) -> TrackRecord:
    """Measure a recorded portfolio from its first entry to the market's last close.

    **No rebalancing** equals the portfolio through the first day with a purchase; afterwards
    nothing is traded. Later deposits buy the targets at that day's close without cost; the share of
    cash, and of assets without a price yet, stays in cash. Withdrawals and fees are taken pro rata
    from all holdings and cash. Transfers in kind move the asset; if it is not held, its value is
    taken pro rata. Dividends stay in cash. Without any purchase it equals the portfolio.

    **The benchmark** receives the same contributions, transfers in kind as money, and pays its own
    costs instead of the ledger's. By default it holds the targets: deposits buy them on arrival,
    withdrawals are taken pro rata, and it is rebalanced on the first close of each month. The share
    of an asset without a price stays in cash until the first review at which it has one. A single
    symbol is bought without cost.

    Both comparisons may have less than a withdrawal; they then pay out all they have and are empty
    until the next deposit.

    An asset without a close is valued at its last known price, see `fill_from_ledger`; the
    comparisons buy none of it, and the benchmark sells it at its next review. If the ledger begins
    before the prices, the record begins at the first close, with what the portfolio held then as
    its first contribution.

    Args:
        ledger: Entries of the portfolio; void ones have no part in any figure.
        targets: Strategic weights by symbol, as in `Portfolio`.
        market: Adjusted closes.
        benchmark: A symbol; None: the targets.
        costs: Cost model of the targets as benchmark.

    Raises:
        InvalidRequest: the ledger is empty, or was before the first close; or the benchmark is an
            unknown symbol.
        Overdrawn: cash or a holding is negative at the end of a day.
    """
    ledger = Ledger(ledger.effective)
    if not ledger.entries:
        raise InvalidRequest("the ledger is empty; record a deposit first", code="ledger_empty")
    _ = ledger.positions
    if benchmark is not None and benchmark not in market.columns:
        raise unknown_symbols([benchmark], market.symbols, field="benchmark")
    filled = fill_from_ledger(market, ledger)
    opening = _bring_forward(ledger, filled)
    ledger = opening or ledger
    wanted = dict(targets) if benchmark is None else {benchmark: 1.0}
    symbols = sorted({*ledger.symbols, *targets, *wanted})
    begins, days = _group_by_row(ledger, market)
    dates = market.dates[begins:]
    quoted = _select(market.closes, market, symbols)[begins:] > 0.0
    closes = _select(filled.valuations, filled, symbols)[begins:]
    columns = {symbol: column for column, symbol in enumerate(symbols)}

    recorded = _replay_ledger(days, closes, columns)
    alone = simulate_no_rebalancing(
        recorded, days, closes, quoted, columns, _weights(targets, columns), opening is not None
    )
    charges = (costs if benchmark is None else FREE).of(symbols, Instruments())
    followed = simulate_benchmark(
        recorded, dates, closes, quoted, _weights(wanted, columns), charges
    )

    quoted_columns = [market.column(symbol) for symbol in symbols if symbol in market.columns]
    measured, frequency = _measured_rows(market, begins, quoted_columns)

    def measure(name: str, course: Course) -> Line:
        return _measure(name, course, dates, closes, measured, frequency)

    portfolio = measure(PORTFOLIO, recorded)
    flows = np.zeros(len(dates))
    flows[recorded.rows] = recorded.paid_in - recorded.taken_out
    contributions = np.cumsum(flows)
    with localcontext(prec=_DIGITS):
        paid = sum(
            (each.amount if each.kind is EntryKind.FEE else each.cost for each in ledger.entries),
            _ZERO,
        )
        dividends = sum(
            (entry.amount for entry in ledger.entries if entry.kind is EntryKind.DIVIDEND), _ZERO
        )
    return TrackRecord(
        dates=dates,
        contributions=contributions,
        portfolio=portfolio,
        no_rebalancing=measure(NO_REBALANCING, alone),
        benchmark=measure(benchmark or TARGETS_MONTHLY, followed),
        gain=float(portfolio.values[-1] - contributions[-1]),
        costs=float(paid),
        dividends=float(dividends),
        notes=(
            *_notes(opening, market, [*ledger.symbols], recorded, columns, wanted),
            *([] if portfolio.twr_annual is not None else [_LESS_THAN_A_YEAR]),
        ),
        frequency=frequency,
    )


def _bring_forward(ledger: Ledger, market: PriceHistory) -> Ledger | None:
    """Return the ledger with deposits at the first close in place of all entries before it.

    None if there are none before it. ``market`` has a price of each asset of the ledger.

    Raises:
        InvalidRequest: all entries are before the first close, and they leave nothing.
    """
    first: date = market.dates[0].item()
    early = [entry for entry in ledger.entries if entry.on < first]
    if not early:
        return None
    positions = Ledger(tuple(early)).positions
    deposit = partial(Entry, kind=EntryKind.DEPOSIT, on=first, recorded=early[0].recorded)
    opening = []
    if positions.cash:
        opening.append(deposit(id=uuid5(_OPENING, ""), amount=positions.cash))
    for symbol, units in positions.holdings.items():
        price = Decimal(repr(float(market.closes[0, market.column(symbol)])))
        with localcontext(prec=_DIGITS):
            value = units * price
        opening.append(
            deposit(
                id=uuid5(_OPENING, symbol),
                amount=value,
                symbol=symbol,
                quantity=units,
                price=price,
            )
        )
    later = [entry for entry in ledger.entries if entry.on >= first]
    if not opening and not later:
        raise InvalidRequest(
            f"all entries are before the first close, {first}, and left nothing to measure",
            field="on",
            code="entries_before_prices",
        )
    return Ledger((*opening, *later))


def _select(prices: Floats, market: PriceHistory, symbols: Sequence[str]) -> Floats:
    """Return (T, N) prices of some assets of a market; 0 where there is none."""
    found = np.zeros((len(prices), len(symbols)))
    for at, symbol in enumerate(symbols):
        if symbol in market.columns:
            found[:, at] = np.nan_to_num(prices[:, market.column(symbol)], nan=0.0)
    return found


def _group_by_row(ledger: Ledger, market: PriceHistory) -> tuple[int, Days]:
    """Return the market's row of the first entry, and the entries by row, counted from it."""
    entries = [(day, of_day) for day, of_day in ledger.by_day()]
    effective = np.array([day for day, _ in entries], dtype="datetime64[D]")
    rows = np.searchsorted(market.dates, effective, side="right") - 1
    begins = int(rows[0])
    by_row = groupby(zip(rows, entries, strict=True), key=lambda pair: int(pair[0]) - begins)
    return begins, [(row, [one for _, (_, many) in group for one in many]) for row, group in by_row]


def _notes(
    opening: Ledger | None,
    market: PriceHistory,
    traded: Sequence[str],
    recorded: Course,
    columns: Columns,
    wanted: Mapping[str, float],
) -> tuple[str, ...]:
    """Return how entries before the first close and assets without a price are measured."""
    notes = []
    if opening is not None:
        notes.append(
            f"Measured from {market.dates[0]}, the first available close: what the portfolio held "
            "then counts as one contribution."
        )
    for symbol in sorted(traded):
        last = market.last_known(symbol)
        if last is None:
            notes.append(f"{symbol} has no price data; it is valued at the prices of its entries.")
        elif symbol in market.withheld and recorded.quantities[-1, columns[symbol]] > 0.0:
            notes.append(f"{symbol} has no close since {last[0]}; it is valued at its last price.")
    for symbol in sorted(wanted):
        last = market.last_known(symbol)
        if last is None:
            notes.append(f"{symbol} has no price data; the comparisons hold its share in cash.")
        elif symbol in market.withheld:
            notes.append(
                f"{symbol} has no close since {last[0]}; since then the comparisons buy none of it."
            )
    return tuple(notes)


def _weights(targets: Mapping[str, float], columns: Columns) -> Floats:
    """Return (N,) weights; a sum within the tolerance above 1 is scaled to 1."""
    weights = np.zeros(len(columns))
    for symbol, weight in targets.items():
        weights[columns[symbol]] = weight
    whole: Floats = weights / max(float(weights.sum()), 1.0)
    return whole


def _replay_ledger(days: Days, closes: Floats, columns: Columns) -> Course:
    """Return the account as recorded; here Decimal becomes float64."""
    course = Course.zeros([row for row, _ in days], len(columns))
    cash, held = _ZERO, dict.fromkeys(columns, _ZERO)
    with localcontext(prec=_DIGITS):
        for at, (row, entries) in enumerate(days):
            course.quantities[at] = course.quantities[max(at - 1, 0)]
            for entry in entries:
                cash += entry.cash
                if entry.quantity and entry.symbol is not None:
                    held[entry.symbol] += entry.units
                    course.quantities[at, columns[entry.symbol]] = float(held[entry.symbol])
                if entry.kind in FLOWS:
                    arrives = entry.kind is EntryKind.DEPOSIT
                    flows = course.paid_in if arrives else course.taken_out
                    flows[at] += (
                        float(entry.amount)
                        if entry.symbol is None
                        else float(entry.quantity) * float(closes[row, columns[entry.symbol]])
                    )
            course.cash[at] = float(cash)
    return course


def _measured_rows(
    market: PriceHistory, begins: int, columns: Sequence[int]
) -> tuple[Rows, ObservationFrequency]:
    """Return the rows, counted from ``begins``, between which returns count, and their frequency.

    These are the first row and those on which all assets trade; see `market.calendars`.
    """
    common = common_rows(market, np.array(columns, dtype=np.intp))
    frequency = market.frequency
    if not common.all() and market.periods_per_year is None:
        frequency = observation_frequency(market.dates[common])
    return np.flatnonzero(np.append(True, common[begins + 1 :])), frequency


def _measure(
    name: str,
    course: Course,
    dates: Dates,
    closes: Floats,
    measured: Rows,
    frequency: ObservationFrequency,
) -> Line:
    """Return the performance figures of an account, its returns between the measured rows."""
    rows, count = course.rows, len(dates)
    part = np.repeat(np.arange(len(rows)), np.diff(np.append(rows, count)))
    values = (course.quantities[part] * closes).sum(axis=1) + course.cash[part]
    stood = values.copy()
    stood[0] = 0.0
    stood[rows[1:]] = (course.quantities[:-1] * closes[rows[1:]]).sum(axis=1) + course.cash[:-1]
    paid_in, taken_out = np.zeros(count), np.zeros(count)
    paid_in[rows], taken_out[rows] = course.paid_in, course.taken_out
    before = np.append(0.0, values[:-1])
    growth = _ratio(stood, before) * _ratio(values + taken_out, stood + paid_in)
    index: Floats = np.cumprod(growth, dtype=np.float64)
    held: Bools = np.logical_or.reduce(course.quantities != 0.0, axis=1)
    invested = np.logical_or.accumulate(held[part])
    counts = invested & ((before > 0.0) | (paid_in > 0.0))
    periods = np.append(0, measured[:-1] + 1)  # the first row of each
    counts = np.logical_or.reduceat(counts, periods)
    returns = (np.multiply.reduceat(growth, periods) - 1.0)[counts]
    # The time at whose beginning the account held money, from the first investment on.
    days = int(np.diff(dates).astype(np.int64)[invested[:-1] & (values[:-1] > 0.0)].sum())
    first, last = dates[-1] - np.timedelta64(days, "D"), dates[-1]
    flows = taken_out - paid_in
    flows[-1] += values[-1]
    return Line(
        name=name,
        values=values,
        index=index,
        twr=float(index[-1] - 1.0) if count > 1 else None,
        twr_annual=(
            metrics.cagr(float(index[-1]), years_between(first, last))
            if is_a_year(first, last)
            else None
        ),
        xirr=_solve_xirr(flows, dates) if is_a_year(dates[0], last) else None,
        volatility=(
            metrics.annual_volatility(returns, frequency.periods_per_year)
            if len(returns) > 1
            else None
        ),
        max_drawdown=metrics.max_drawdown(np.append(1.0, index)) if count > 1 else None,
    )


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part over whole; 1 if the whole is 0."""
    ratio: Floats = np.divide(part, whole, out=np.ones_like(part), where=whole > 0.0)
    return ratio


def _solve_xirr(flows: Floats, dates: Dates) -> float | None:
    """Return the annual rate that solves the flows and the last value; None without a solution."""
    rows = np.flatnonzero(flows)
    try:
        return metrics.xirr(flows[rows], dates[rows].tolist())
    except InvalidRequest:
        return None
