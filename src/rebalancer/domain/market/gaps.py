"""Turn the closes that a source has into a price history: gaps and days without any price.

A missing close is bridged by the last one for as long as a market may be closed: `GRACE` weekdays,
or twice the asset's usual interval between closes if that is longer, as for weekly and monthly
prices. Weekdays rather than rows, so that an asset is judged by its own days: a file may hold
several exchanges, and coins that trade every day. An asset whose market's sessions are known is
judged by those instead, and its close is bridged over `SESSION_GRACE` missed ones. An asset has no
price on later days, until its next close.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from types import MappingProxyType

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.close_quality import Splits, check_closes
from rebalancer.domain.market.prices import GRACE, PriceHistory, usual_graces
from rebalancer.domain.market.quality import NO_DECISIONS, Decisions, count_weekdays
from rebalancer.domain.market.sessions import SESSION_GRACE, count_sessions, covers


def history_of(
    symbols: Sequence[str],
    days: Sequence[date] | Dates,
    closes: Floats,
    *,
    accepted: Collection[str] = (),
    sessions: Sequence[Dates | None] | None = None,
    decisions: Decisions = NO_DECISIONS,
    splits: Splits = MappingProxyType({}),
    every_day: bool = False,
) -> PriceHistory:
    """Return the history of closes as a source has them.

    Closes that a check finds wrong are not used. Each missing close repeats the last one within the
    grace.

    Args:
        symbols: N symbols.
        days: T days, increasing.
        closes: Shape (T, N), NaN where a price is missing; an asset may have none at all.
        accepted: Symbols whose jumps are true.
        sessions: Sessions of the market of each symbol, None where they are not known.
        decisions: Days on which an operator accepted a change.
        splits: Splits that the closes are adjusted for.
        every_day: Keep days without any price, even if no day has one; else they are left out.

    Raises:
        InvalidRequest: there is no price at all, or as `PriceHistory.of`.
    """
    table = np.asarray(closes, dtype=np.float64)
    dates = np.asarray(days, dtype="datetime64[D]")
    if not every_day and table.shape == (len(dates), len(symbols)):
        traded = ~np.isnan(table).all(axis=1)
        if not traded.any():
            raise InvalidRequest(
                "no prices: every close is missing; at least one is required", code="no_prices"
            )
        if not traded.all():
            table, dates = table[traded], dates[traded]
    reported = PriceHistory.of(symbols, dates, table)  # validated before the checks
    unusable, findings = check_closes(
        symbols, dates, table, accepted=accepted, decisions=decisions, splits=splits
    )
    used = table if unusable is None else np.where(unusable, np.nan, table)
    filled, carried = carry_forward(dates, used, sessions)
    if carried is None and unusable is None:
        return reported if not findings else reported.with_findings(findings)
    for values in (filled, carried):
        if values is not None:
            values.setflags(write=False)
    return attrs.evolve(
        reported,
        closes=filled,
        carried=carried,
        reported=None if unusable is None else reported.closes,
        all_findings=findings,
    )


def judge_by_sessions(
    history: PriceHistory, sessions: Sequence[Dates | None] | None
) -> PriceHistory:
    """Return a history whose gaps are judged by the sessions of each asset's own market.

    Args:
        history: Closes as a source has them.
        sessions: Sessions of the market of each symbol, None where they are not known.
    """
    if sessions is None or all(one is None for one in sessions):
        return history
    if history.reported is None and history.carried is None:
        return history
    doubted = {finding.symbol for finding in history.all_findings}
    again = history_of(
        history.symbols,
        history.dates,
        history.reported_closes,
        accepted=set(history.symbols) - doubted,  # checked before, or their jumps are accepted
        sessions=sessions,
    )
    return attrs.evolve(again, periods_per_year=history.periods_per_year, excluded=history.excluded)


def accept_jumps(history: PriceHistory, symbols: Collection[str]) -> PriceHistory:
    """Return a history in which the jumps of some assets are true moves of their prices.

    Symbols without findings, or without prices, change nothing.
    """
    doubted = {finding.symbol for finding in history.all_findings}
    accepted = [symbol for symbol in history.symbols if symbol in doubted and symbol in symbols]
    if not accepted:
        return history
    findings = [one for one in history.all_findings if one.symbol not in accepted]
    if history.reported is None:
        return history.with_findings(findings)
    columns = [history.column(symbol) for symbol in accepted]
    filled, repeated = carry_forward(history.dates, history.reported[:, columns])
    closes = history.closes.copy()
    closes[:, columns] = filled
    carried = np.zeros(closes.shape, bool) if history.carried is None else history.carried.copy()
    carried[:, columns] = False if repeated is None else repeated
    return PriceHistory.of(
        history.symbols,
        history.dates,
        closes,
        carried,
        reported=history.reported,
        findings=findings,
    )


def carry_forward(
    days: Dates, closes: Floats, sessions: Sequence[Dates | None] | None = None
) -> tuple[Floats, Bools | None]:
    """Repeat the last close of each column within its grace.

    Args:
        days: Shape (T,).
        closes: Shape (T, N), NaN where a price is missing.
        sessions: Sessions of the market of each column, None where they are not known.

    Returns:
        The closes, NaN where none is current; and (T, N) the repeated ones, None if there are none.
    """
    missing = np.isnan(closes)
    columns = np.flatnonzero(missing.any(axis=0))
    if not len(columns):
        return closes, None
    weekdays = count_weekdays(days)
    own = dict(_count_own_sessions(days, sessions, columns))
    filled, carried = closes, None
    for column in columns.tolist():
        known = np.flatnonzero(~missing[:, column])
        rows = np.flatnonzero(missing[:, column])
        rows = rows[rows > known[0]] if len(known) else rows[:0]
        if not len(rows):
            continue
        last = np.searchsorted(known, rows) - 1
        counted, least = (own[column], SESSION_GRACE) if column in own else (weekdays, GRACE)
        age = counted[rows] - counted[known[last]]
        within = age <= least
        if not within.all():
            gaps, gap_of = np.unique(last, return_inverse=True)
            within = age <= usual_graces(counted[known], gaps, least)[gap_of]
        if carried is None:
            filled, carried = closes.copy(order="K"), np.zeros_like(missing)
        filled[rows[within], column] = closes[known[last[within]], column]
        carried[rows[within], column] = True
    return (closes, None) if carried is None or not carried.any() else (filled, carried)


def _count_own_sessions(
    days: Dates, sessions: Sequence[Dates | None] | None, columns: Rows
) -> Iterator[tuple[int, Floats]]:
    """Yield the columns among some whose sessions are known, and (T,) their counts."""
    counts: dict[int, Floats] = {}
    for column in columns.tolist() if sessions is not None else ():
        own = None if sessions is None else sessions[column]
        if own is None or not covers(own, days):
            continue
        if id(own) not in counts:
            counts[id(own)] = count_sessions(own, days)
        yield column, counts[id(own)]
