"""Value of a recorded portfolio over time, continued from what is known of it.

A snapshot holds a history up to the last close, and the positions at a close some weeks before, its
base. Later entries and later closes change only what follows the base, so that only those days are
measured again. The snapshot does not hold, and all entries are measured again, if

- an entry takes effect at the base or before it, or voids an entry that does;
- a price, an exchange rate or a corporate action up to the base was restated;
- an entry that was not booked may stand for a corporate action, or the ledger completes the prices
  of the market: these may change the prices before them, see `own_prices`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.courses import PriceTable, convert_early, replay_ledger
from rebalancer.domain.backtest.lines import measure_growth
from rebalancer.domain.backtest.periods import ValueHistory
from rebalancer.domain.backtest.replays import (
    Replay,
    add_up_flows,
    foreign_currencies,
    opening_entries,
)
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.action_reviews import SPLIT_WITHIN
from rebalancer.domain.portfolio.entries import Entry, EntryKind, move_units
from rebalancer.domain.portfolio.entry_order import effective_entries
from rebalancer.domain.portfolio.ledger import Ledger, LedgerMark
from rebalancer.domain.portfolio.ledger_prices import row_of
from rebalancer.domain.portfolio.own_prices import select_assets
from rebalancer.domain.portfolio.positions import Positions

_RECORDED = datetime(1970, 1, 1, tzinfo=UTC)
"""Of the entries that stand for those up to the base."""

WINDOW = 22
"""Closes from the base to the last one, at least: entries of a month ago are continued, too. A
base is moved when it is twice as far away."""

_DIGITS = 60
_ZERO = Decimal(0)

_CONTINUED = frozenset(
    {
        EntryKind.DEPOSIT,
        EntryKind.WITHDRAWAL,
        EntryKind.BUY,
        EntryKind.SELL,
        EntryKind.FEE,
        EntryKind.TAX,
        EntryKind.INTEREST,
        EntryKind.EXCHANGE,
    }
)
"""Kinds that cannot stand for a corporate action."""

_BOOKED = frozenset(
    {
        EntryKind.DIVIDEND,
        EntryKind.RETURN_OF_CAPITAL,
        EntryKind.SPLIT,
        EntryKind.SPIN_OFF,
    }
)
"""Kinds that change no price if they book an action which the market has."""


@attrs.frozen(eq=False)
class HistoryBase:
    """State at a close, from which later days are measured.

    Attributes:
        row: Its row in the history.
        positions: Cash and holdings after its entries.
        recent: Effective entries after it, in their order of effect.
        symbols: Assets of the ledger.
        currencies: Currencies other than the base currency in which entries changed cash.
        digest: Of the prices up to it.
    """

    row: int
    positions: Positions
    recent: tuple[Entry, ...]
    symbols: tuple[str, ...]
    currencies: tuple[str, ...]
    digest: str


@attrs.frozen(eq=False)
class HistorySnapshot:
    """Value of a recorded portfolio up to the last close, from which it can be continued.

    Attributes:
        history: The value.
        currency: ISO 4217 code of the portfolio's base currency.
        base: State before the last days; None if the history cannot be continued.
    """

    history: ValueHistory
    currency: str
    base: HistoryBase | None = None

    def continued(
        self, entries: Sequence[Entry], market: PriceHistory, *, window: int = WINDOW
    ) -> HistorySnapshot | None:
        """Return the snapshot with entries that were recorded later, and the closes of a market.

        It equals that of all entries, see `take_snapshot`. None if it does not follow from this
        one, so that all entries are needed.
        """
        found = self.continued_with(entries, market, window=window)
        return None if found is None else found[0]

    def continued_with(
        self, entries: Sequence[Entry], market: PriceHistory, *, window: int = WINDOW
    ) -> tuple[HistorySnapshot, Replay] | None:
        """Return what `continued` does, and what was replayed: the days from the base on."""
        base, history = self.base, self.history
        if base is None or len(market) < 2:
            return None
        recent = _add_entries(base.recent, entries)
        if recent is None:
            return None
        begins = int(np.searchsorted(market.dates, history.dates[0]))
        start = begins + base.row
        if start + 1 >= len(market) or market.dates[start] != history.dates[base.row]:
            return None
        if any(row_of(market.dates, entry.on) <= start for entry in entries):
            return None
        digest = _digest_prices(
            market, base.symbols, base.currencies, self.currency, begins, base.row, history
        )
        if digest != base.digest:
            return None
        return self._measure(base, recent, market, begins, window)

    def _measure(
        self,
        base: HistoryBase,
        recent: tuple[Entry, ...],
        market: PriceHistory,
        begins: int,
        window: int,
    ) -> tuple[HistorySnapshot, Replay] | None:
        """Measure the days after the base again."""
        later = Ledger(recent)
        symbols = sorted({*base.symbols, *later.symbols})
        part = select_assets(market, symbols).since(begins + base.row)
        first: date = part.dates[0].item()
        held = sorted(base.positions.holdings)
        converted = convert_early(part, self.currency)
        currencies = sorted(
            {*base.positions.foreign_cash, *foreign_currencies(later, self.currency)}
        )
        prices = PriceTable.of(converted, converted, held, currencies, self.currency)
        if not (prices.shares[0] > 0.0).all():
            return None
        opening = opening_entries(base.positions, first, prices, recorded=_RECORDED)
        if not opening:
            return None
        ledger = Ledger((*opening, *recent))
        replay = Replay.of(ledger, part, (), self.currency, checked=True)
        if not replay.plain or replay.begins > 0:
            return None
        tail = _measure_history(replay)
        known, row = self.history, base.row
        history = ValueHistory(
            market.dates[begins:],
            np.append(known.values[: row + 1], tail.values[1:]),
            np.append(
                known.contributions[: row + 1],
                known.contributions[row] + (tail.contributions[1:] - tail.contributions[0]),
            ),
            np.append(known.index[: row + 1], known.index[row] * tail.index[1:] / tail.index[0]),
        )
        if len(history.dates) - 1 - row <= 2 * window and not _awaits_close(replay, market):
            same = attrs.evolve(base, recent=recent)
            return HistorySnapshot(history, self.currency, same), replay
        later_one = HistorySnapshot(
            history,
            self.currency,
            _find_base(
                replay,
                history,
                market,
                symbols=tuple(symbols),
                currencies=tuple(sorted({*base.currencies, *currencies})),
                currency=self.currency,
                skipped=row,
                window=window,
            ),
        )
        return later_one, replay


@attrs.frozen(eq=False)
class KeptHistory:
    """A snapshot of a stored portfolio.

    Attributes:
        mark: End of the ledger that it includes.
        snapshot: With a base.
    """

    mark: LedgerMark
    snapshot: HistorySnapshot


def take_snapshot(
    ledger: Ledger,
    market: PriceHistory,
    *,
    currency: str = "USD",
    window: int = WINDOW,
    checked: bool = False,
) -> HistorySnapshot:
    """Measure the history of all entries of a ledger, and keep what continues it.

    The history is that of `measure_history`, which also describes the errors.

    Args:
        ledger: Of the portfolio.
        market: Prices, in any currencies.
        currency: ISO 4217 code of the portfolio's base currency.
        window: Closes from the base to the last one, at least.
        checked: Whether it is known that the ledger is not overdrawn, as of a stored one.
    """
    replay = Replay.of(ledger, market, (), currency, checked=checked)
    return snapshot_of(replay, _measure_history(replay), market, currency, window)


def snapshot_of(
    replay: Replay,
    history: ValueHistory,
    market: PriceHistory,
    currency: str,
    window: int = WINDOW,
) -> HistorySnapshot:
    """Return the snapshot of all entries of a ledger whose history was measured."""
    if not replay.plain:
        return HistorySnapshot(history, currency)
    base = _find_base(
        replay,
        history,
        market,
        symbols=tuple(sorted(replay.ledger.symbols)),
        currencies=tuple(foreign_currencies(replay.ledger, currency)),
        currency=currency,
        skipped=0,
        window=window,
    )
    return HistorySnapshot(history, currency, base)


def _measure_history(replay: Replay) -> ValueHistory:
    recorded, prices = replay_ledger(replay.days, replay.prices), replay.prices
    growth = measure_growth(recorded, prices.traded, prices.rates)
    index: Floats = np.cumprod(growth.ratio, dtype=np.float64)
    return ValueHistory(replay.dates, growth.values, add_up_flows(recorded, replay.dates), index)


def _add_entries(recent: Sequence[Entry], entries: Sequence[Entry]) -> tuple[Entry, ...] | None:
    """Return recent entries and later ones without those that are void.

    None if one voids an earlier entry, or may change what is before it.
    """
    known = {entry.id for entry in (*recent, *entries)}
    for entry in entries:
        if not _is_continued(entry) or (entry.voids is not None and entry.voids not in known):
            return None
    together = (*recent, *entries)
    if any(entry.kind is EntryKind.RENAME for entry in together):
        return None
    found = effective_entries(together)
    gone = {entry.id for entry in together} - {entry.id for entry in found}
    if any(entry.id in gone and not _is_continued(entry) for entry in together):
        return None
    return found


def _is_continued(entry: Entry) -> bool:
    """Return whether an entry leaves the prices before its day as they are."""
    return entry.kind in _CONTINUED or (entry.kind in _BOOKED and entry.action is not None)


def _find_base(
    replay: Replay,
    history: ValueHistory,
    market: PriceHistory,
    *,
    symbols: tuple[str, ...],
    currencies: tuple[str, ...],
    currency: str,
    skipped: int,
    window: int,
) -> HistoryBase | None:
    """Return the state some closes before the last one; None for a short history.

    Args:
        replay: Entries by row, counted from ``skipped``.
        history: Its last days follow from these entries.
        market: In any currencies.
        symbols: Assets of all entries.
        currencies: Foreign currencies of all entries.
        currency: The base currency.
        skipped: Row of the history at which ``replay`` begins.
        window: Closes after the base, at least.
    """
    row = len(history.dates) - 1 - window
    if row < skipped or row < 0 or _awaits_close(replay, market):
        return None
    cash: dict[str, Decimal] = {}
    holdings: dict[str, Decimal] = {}
    with localcontext(prec=_DIGITS):
        for at, entries in replay.days:
            if at + skipped > row:
                break
            for entry in entries:
                move_units(holdings, entry)
                for code, change in entry.cash_changes:
                    cash[code or currency] = cash.get(code or currency, _ZERO) + change
    positions = Positions(
        cash.pop(currency, _ZERO),
        {symbol: units for symbol, units in sorted(holdings.items()) if units},
        foreign_cash={code: money for code, money in sorted(cash.items()) if money},
    )
    begins = int(np.searchsorted(market.dates, history.dates[0]))
    digest = _digest_prices(market, symbols, currencies, currency, begins, row, history)
    recent = tuple(entry for at, entries in replay.days if at + skipped > row for entry in entries)
    return HistoryBase(row, positions, recent, symbols, currencies, digest)


def _awaits_close(replay: Replay, market: PriceHistory) -> bool:
    """Return whether an entry takes effect after the last close, so that its row is to come."""
    last: date = market.last_date
    return any(entry.on > last for entry in replay.ledger.entries)


def _digest_prices(
    market: PriceHistory,
    symbols: Sequence[str],
    currencies: Sequence[str],
    currency: str,
    begins: int,
    row: int,
    history: ValueHistory,
) -> str:
    """Return a digest of all that a market states of some assets up to a row of a history."""
    part = select_assets(market, symbols)
    rows = slice(begins, begins + row + 1)
    converted = convert_early(part, currency)
    prices = PriceTable.of(converted, converted, symbols, currencies, currency)
    sha = hashlib.sha256()
    known = [symbol for symbol in symbols if symbol in part.columns]
    sha.update(repr((symbols, known, currencies, currency, market.dates[0], row)).encode())
    sha.update(np.ascontiguousarray(market.dates[rows].astype("<i8")).tobytes())
    for table in (prices.traded, prices.rates):
        sha.update(np.ascontiguousarray(table[rows].astype("<f8")).tobytes())
    sha.update(np.packbits(np.isnan(part.traded[rows])).tobytes())
    quotes = part.quotes
    if quotes is not None:
        last: date = history.dates[row].item() + SPLIT_WITHIN
        sha.update(repr(sorted(quotes.adjusted & set(symbols))).encode())
        for symbol in known:
            for action in quotes.actions.by_symbol.get(symbol, ()):
                if action.ex_day <= last:
                    sha.update(repr(action).encode())
    return sha.hexdigest()
