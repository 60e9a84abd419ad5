"""How a kept portfolio did, and how else the same contributions could have gone.

Three lines over the same closes: the portfolio as its ledger has it; its initial investment left
alone; a benchmark. Row 0 is the last close at or before the ledger's first entry, and each entry
counts at the last close at or before its day.

Within a day, prices move first; then deposits arrive, trades, fees and dividends happen, and
withdrawals leave. So a deposit has no part in the return of its own day, but bears the costs of
investing it; and a withdrawal has had its part in the costs of raising it::

    r[t] = stood[t] / v[t-1] * (v[t] + out[t]) / (stood[t] + in[t]) - 1

where ``v`` is worth after the day's entries, ``stood`` what was held the day before at this close,
and a ratio over nothing is 1: an empty account has no return, and its index is linked across the
gap. Where no trade departs from the close this is the time-weighted return of
`metrics.time_weighted_return`. What is moved in kind flows at its worth at the close; prices of
trades other than the close, costs, fees and dividends are the day's return. Closes are adjusted for
dividends: one that is written down too counts twice, unless the closes are of prices alone.

References:
    CFA Institute (2020). Global investment performance standards (GIPS), provisions 2.A and 4.A:
    returns of less than a year are not annualised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from itertools import groupby

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats, Rows
from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.step import settle
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.indicators import TRADING_DAYS
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Decision, Frequency
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import CostModel, CostSchedule
from rebalancer.domain.portfolio.ledger import FLOWS, Entry, EntryKind, Ledger
from rebalancer.domain.rebalancing.solver import solve_trades

PORTFOLIO = "portfolio"
NO_REBALANCING = "no rebalancing"
TARGETS_MONTHLY = "targets, monthly"

TEN_BASIS_POINTS = CostModel.flat(10.0)
FREE = CostModel.flat(0.0)

_ZERO = Decimal(0)
_DIGITS = 60

_ROUNDS = 20
"""Most rounds in which the costs of a withdrawal are solved for; each gains the digits of a cost
rate."""

_SETTLED = 1e-15
"""A share that changes by less is found."""


@attrs.frozen(eq=False)
class Line:
    """One way that the same contributions could have gone, over T closes.

    Attributes:
        name: "portfolio", "no rebalancing", "targets, monthly", or the benchmark's symbol.
        values: (T,) worth at each close, after that day's entries.
        index: (T,) what 1 became that was there throughout, so that flows do not count; costs of
            the first day included.
        twr: Time-weighted return over the whole period, a fraction; None for one close alone.
        twr_annual: The same a year (252 closes); None where there is less than a year of them.
        xirr: Money-weighted return a year; None likewise, or where no rate fits.
        volatility: Of daily returns, a year; days on which nothing was there do not count. None for
            fewer than two returns.
        max_drawdown: Deepest fall of the index below its peak, or below its initial 1; None for one
            close alone.
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
    """How a kept portfolio did over T closes.

    Attributes:
        dates: (T,) trading days, from the first entry's to the last close.
        contributions: (T,) money and assets paid in so far, less what was taken out.
        portfolio: As it was kept.
        no_rebalancing: Had its initial investment been left alone.
        benchmark: Had the contributions gone there.
        gain: Last value less contributions.
        costs: Paid for trades and in fees, so far.
        dividends: Received as money, so far.
    """

    dates: Dates
    contributions: Floats
    portfolio: Line
    no_rebalancing: Line
    benchmark: Line
    gain: float
    costs: float
    dividends: float


def track_record(
    ledger: Ledger,
    targets: Mapping[str, float],
    market: PriceHistory,
    *,
    benchmark: str | None = None,
    costs: CostModel = TEN_BASIS_POINTS,
) -> TrackRecord:
    """Measure a kept portfolio from its first entry to the market's last close.

    **No rebalancing** is the portfolio itself through the first day on which anything was bought;
    afterwards nothing is traded. Later deposits buy the targets at that day's close without cost
    (the share of cash, and of assets without a price yet, stays cash), withdrawals and fees are
    taken pro rata from everything, moves in kind move the asset (what is not held of it is taken
    pro rata, at its worth), and dividends stay in cash. Where nothing was ever bought it is the
    portfolio.

    **The benchmark** receives the same contributions, what moves in kind as money, and pays its own
    costs rather than the ledger's. By default it holds the targets: deposits buy them on arrival,
    withdrawals are taken pro rata, and on the first close of each month all goes to target. The
    share of an asset without a price waits in cash for the first review at which it has one. A
    single symbol is bought without cost.

    No line but the portfolio can be told to leave enough for later withdrawals: one that has less
    than is taken out gives all that it has, and is empty until the next deposit.

    Args:
        ledger: What happened.
        targets: Strategic weights by symbol, as in `Portfolio`.
        market: Adjusted closes.
        benchmark: A symbol; None for the targets.
        costs: What the targets as a benchmark pay for trades.

    Raises:
        InvalidRequest: the ledger is empty or begins before the prices do, a symbol is unknown, or
            an asset was traded or moved before its first price.
        Overdrawn: the ledger leaves less than nothing at the end of some day.
    """
    if not ledger.entries:
        raise InvalidRequest("there is nothing in its ledger yet; begin with a deposit")
    _ = ledger.positions
    moved = {entry.symbol for entry in ledger.entries if entry.symbol and entry.quantity}
    wanted = dict(targets) if benchmark is None else {benchmark: 1.0}
    fields = {
        **{symbol: f"targets.{symbol}" for symbol in targets},
        **({} if benchmark is None else {benchmark: "benchmark"}),
        **{symbol: f"holdings.{symbol}" for symbol in moved},
    }
    symbols = sorted(fields)
    for symbol in symbols:
        if symbol not in market.columns:
            raise InvalidRequest(
                f"{symbol} is unknown: the prices have no such column", field=fields[symbol]
            )
    begins, days = _days(ledger, market)
    dates = market.dates[begins:]
    closes = market.closes[begins:, [market.column(symbol) for symbol in symbols]]
    columns = {symbol: column for column, symbol in enumerate(symbols)}
    _require_prices(days, dates, closes, columns)
    closes = np.nan_to_num(closes, nan=0.0)

    kept = _kept(days, closes, columns)
    alone = _left_alone(kept, days, closes, columns, _weights(targets, columns))
    charges = (costs if benchmark is None else FREE).of(symbols, Instruments())
    followed = _followed(kept, dates, closes, _weights(wanted, columns), charges)

    portfolio = _line(PORTFOLIO, kept, dates, closes)
    flows = np.zeros(len(dates))
    flows[kept.rows] = kept.paid_in - kept.taken_out
    contributions = np.cumsum(flows)
    with localcontext(prec=_DIGITS):
        paid = sum((_expense(entry) for entry in ledger.entries), _ZERO)
        dividends = sum(
            (entry.amount for entry in ledger.entries if entry.kind is EntryKind.DIVIDEND), _ZERO
        )
    return TrackRecord(
        dates=dates,
        contributions=contributions,
        portfolio=portfolio,
        no_rebalancing=_line(NO_REBALANCING, alone, dates, closes),
        benchmark=_line(benchmark or TARGETS_MONTHLY, followed, dates, closes),
        gain=float(portfolio.values[-1] - contributions[-1]),
        costs=float(paid),
        dividends=float(dividends),
    )


Days = list[tuple[int, list[Entry]]]
"""The E rows, from 0 on, at which something was entered, and what."""

Columns = Mapping[str, int]


@attrs.frozen(eq=False)
class _Course:
    """An account at the E rows at which anything happened to it, row 0 first.

    Attributes:
        rows: (E,) rows, increasing.
        quantities: (E, N) held afterwards.
        cash: (E,) money afterwards.
        paid_in: (E,) worth of what arrived.
        taken_out: (E,) worth of what left.
    """

    rows: Rows
    quantities: Floats
    cash: Floats
    paid_in: Floats
    taken_out: Floats

    @classmethod
    def at(cls, rows: Sequence[int] | Rows, assets: int) -> _Course:
        """Nothing at all, to be filled in."""
        none = np.zeros((3, len(rows)))
        return cls(np.asarray(rows, dtype=np.intp), np.zeros((len(rows), assets)), *none)


def _days(ledger: Ledger, market: PriceHistory) -> tuple[int, Days]:
    """The market's row of the first entry, and entries by row from there on."""
    entries = [(day, of_day) for day, of_day in ledger.by_day()]
    effective = np.array([day for day, _ in entries], dtype="datetime64[D]")
    rows = np.searchsorted(market.dates, effective, side="right") - 1
    if rows[0] < 0:
        raise InvalidRequest(
            f"{entries[0][0]} lies before the first close, {market.dates[0]}", field="on"
        )
    begins = int(rows[0])
    by_row = groupby(zip(rows, entries, strict=True), key=lambda pair: int(pair[0]) - begins)
    return begins, [(row, [one for _, (_, many) in group for one in many]) for row, group in by_row]


def _require_prices(days: Days, dates: Dates, closes: Floats, columns: Columns) -> None:
    """Raise unless whatever was traded or moved had a price that day."""
    for row, entries in days:
        for entry in entries:
            symbol = entry.symbol
            if symbol and entry.quantity and np.isnan(closes[row, columns[symbol]]):
                raise InvalidRequest(
                    f"{symbol} has no price on {dates[row]} or before, but the ledger moves it",
                    field=f"holdings.{symbol}",
                )


def _weights(targets: Mapping[str, float], columns: Columns) -> Floats:
    """(N,) weights; within the tolerance above 1 they mean exactly 1."""
    weights = np.zeros(len(columns))
    for symbol, weight in targets.items():
        weights[columns[symbol]] = weight
    whole: Floats = weights / max(float(weights.sum()), 1.0)
    return whole


def _expense(entry: Entry) -> Decimal:
    return entry.amount if entry.kind is EntryKind.FEE else entry.cost


def _worth(entry: Entry, close: Floats, columns: Columns) -> float:
    """Of a deposit or withdrawal, at the close."""
    if entry.symbol is None:
        return float(entry.amount)
    return float(entry.quantity) * float(close[columns[entry.symbol]])


def _kept(days: Days, closes: Floats, columns: Columns) -> _Course:
    """The account as the ledger has it: where Decimal becomes float64."""
    course = _Course.at([row for row, _ in days], len(columns))
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
                    flows[at] += _worth(entry, closes[row], columns)
            course.cash[at] = float(cash)
    return course


def _left_alone(
    kept: _Course, days: Days, closes: Floats, columns: Columns, targets: Floats
) -> _Course:
    """The account, had nothing been traded after the first day of buying."""
    bought = (
        at for at, (_, entries) in enumerate(days) if any(e.kind is EntryKind.BUY for e in entries)
    )
    initial = next(bought, len(days)) + 1
    course = attrs.evolve(
        kept,
        quantities=kept.quantities.copy(),
        cash=kept.cash.copy(),
        taken_out=kept.taken_out.copy(),
    )
    for at, (row, entries) in enumerate(days[initial:], start=initial):
        close = closes[row]
        held, cash = course.quantities[at - 1].copy(), float(course.cash[at - 1])
        invested = fees = owed = moved = 0.0
        # First what arrives, then what leaves: the order of writing does not matter.
        for entry in sorted(entries, key=lambda entry: entry.kind is EntryKind.WITHDRAWAL):
            match entry.kind, entry.symbol:
                case EntryKind.DEPOSIT, None:
                    invested += float(entry.amount)
                case EntryKind.DEPOSIT, str(symbol):
                    held[columns[symbol]] += float(entry.quantity)
                case EntryKind.DIVIDEND, _:
                    cash += float(entry.amount)
                case EntryKind.FEE, _:
                    fees += float(entry.amount)
                case EntryKind.WITHDRAWAL, None:
                    owed += float(entry.amount)
                case EntryKind.WITHDRAWAL, str(symbol):
                    given = min(float(held[columns[symbol]]), float(entry.quantity))
                    held[columns[symbol]] -= given
                    moved += given * float(close[columns[symbol]])
                    owed += (float(entry.quantity) - given) * float(close[columns[symbol]])
        known = close > 0.0
        buys = np.where(known, targets, 0.0) * invested
        held += buys / np.where(known, close, 1.0)
        cash += invested - float(buys.sum())
        total = cash + float(held @ close)
        asked = owed + fees
        taken = min(asked, total)
        left = 1.0 - taken / total if total > 0.0 else 1.0
        course.quantities[at], course.cash[at] = held * left, cash * left
        course.taken_out[at] = moved + (taken * (owed / asked) if asked > 0.0 else 0.0)
    return course


def _followed(
    kept: _Course, dates: Dates, closes: Floats, targets: Floats, charges: CostSchedule
) -> _Course:
    """The contributions, had they gone to the targets, reviewed monthly."""
    due = Frequency.MONTHLY.reviews(dates)
    flows = np.zeros(len(dates))
    flows[kept.rows] = kept.paid_in - kept.taken_out
    course = _Course.at(np.flatnonzero(due | (flows != 0.0)), len(targets))
    course.paid_in[:] = np.maximum(flows[course.rows], 0.0)
    prices = closes[course.rows]
    known = prices > 0.0
    aims = np.where(known, targets, 0.0)
    # What a deposit buys does not depend on what is there already.
    bought, rest = _at_target(
        np.zeros_like(aims), course.paid_in, aims, charges, dates[course.rows]
    )
    held, cash = np.zeros(len(targets)), 0.0
    for at, row in enumerate(course.rows):
        values, flow = held * prices[at], float(flows[row])
        if flow < 0.0:
            share, course.taken_out[at] = _raised(-flow, values, cash, charges)
            values, cash = values * (1.0 - share), cash * (1.0 - share)
        elif flow > 0.0 and not due[row]:
            values, cash = values + bought[at], cash + float(rest[at])
        elif flow > 0.0:
            cash += flow
        if due[row] and (cash > 0.0 or values.any()):
            one, money = _at_target(
                values[None], np.array([cash]), aims[at : at + 1], charges, dates[row : row + 1]
            )
            values, cash = one[0], float(money[0])
        held = values / np.where(known[at], prices[at], 1.0)
        course.quantities[at], course.cash[at] = held, cash
    return course


def _at_target(
    values: Floats, cash: Floats, targets: Floats, charges: CostSchedule, on: Dates
) -> tuple[Floats, Floats]:
    """(B, N) values and (B,) cash after all has gone to target and costs are paid."""
    count, assets = values.shape
    book = Book(
        assets=np.broadcast_to(np.arange(assets), values.shape),
        present=np.ones(values.shape, dtype=bool),
        values=values,
        cash=cash,
        flow=np.zeros(count),
        targets=targets,
        as_of=on,
        reviewed=on,
        band=np.full(count, np.nan),
    )
    decision = Decision(targets, due=np.ones(count, dtype=bool))
    after = settle(book, solve_trades(book, decision, charges), decision)
    return after.values, after.cash


def _raised(
    amount: float, values: Floats, cash: float, charges: CostSchedule
) -> tuple[float, float]:
    """The share of everything that is sold to take out an amount, costs paid; what is taken out.

    If all of it does not yield the amount, the share is 1, and what it yields is taken out.
    """
    total = cash + float(values.sum())
    if not total > 0.0:
        return 0.0, 0.0
    share, paid = 0.0, 0.0
    for _ in range(_ROUNDS):
        before, share = share, min((amount + paid) / total, 1.0)
        paid = float(charges(values * share).sum())
        if abs(share - before) <= _SETTLED:
            break
    return share, max(share * total - paid, 0.0)


def _line(name: str, course: _Course, dates: Dates, closes: Floats) -> Line:
    """The figures of an account, from what happened to it."""
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
    returns = (growth - 1.0)[before > 0.0]
    a_year = count - 1 >= TRADING_DAYS
    flows = taken_out - paid_in
    flows[-1] += values[-1]
    return Line(
        name=name,
        values=values,
        index=index,
        twr=float(index[-1] - 1.0) if count > 1 else None,
        twr_annual=metrics.cagr(np.append(1.0, index[1:])) if a_year else None,
        xirr=_xirr(flows, dates) if a_year else None,
        volatility=metrics.annual_volatility(returns) if len(returns) > 1 else None,
        max_drawdown=metrics.max_drawdown(np.append(1.0, index)) if count > 1 else None,
    )


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Part over whole; 1 over nothing."""
    ratio: Floats = np.divide(part, whole, out=np.ones_like(part), where=whole > 0.0)
    return ratio


def _xirr(flows: Floats, dates: Dates) -> float | None:
    """Annual rate that explains the flows, the last value among them; None where none does."""
    rows = np.flatnonzero(flows)
    try:
        return metrics.xirr(flows[rows], dates[rows].tolist())
    except InvalidRequest:
        return None
