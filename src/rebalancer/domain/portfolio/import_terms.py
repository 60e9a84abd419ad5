"""What the plan of an import depends on besides the statement and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import EntryKind

KnownSplit = tuple[date, Decimal]
"""Ex-day of a split, and new units for each old one."""


def _no_splits(symbol: str) -> Sequence[KnownSplit]:
    return ()


@attrs.frozen
class ImportTerms:
    """What a plan depends on.

    Attributes:
        portfolio: Its id.
        base: Its base currency.
        recorded: Time of recording.
        symbols: Assets with prices.
        market_day: Returns the market day of an entry of a day; raises InvalidRequest if the day is
            outside of the prices.
        close: Returns the close of an asset as of a day in a currency; None without one.
        check_currency: Raises InvalidRequest for a currency without an exchange rate.
        currency_of: Returns the currency of the prices of an asset with prices.
        splits: Returns the splits of an asset that the market knows.
        mapping: Symbols of instruments by symbol, ISIN or name; `LEFT_OUT` leaves out.
        remembered: Of earlier imports; counts after ``mapping``.
        keep_unknown: Whether an unknown instrument is recorded under its own symbol or ISIN.
        include_duplicates: Whether probable duplicates are added.
        planned: Entries that book planned flows; a transaction of nearly their day equals them.
    """

    portfolio: UUID
    base: Currency
    recorded: datetime
    symbols: Collection[str]
    market_day: Callable[[date, EntryKind], date]
    close: Callable[[str, date, str], Decimal | None]
    check_currency: Callable[[str], object]
    currency_of: Callable[[str], str]
    splits: Callable[[str], Sequence[KnownSplit]] = _no_splits
    mapping: Mapping[str, str] = attrs.field(factory=dict)
    remembered: Mapping[str, str] = attrs.field(factory=dict)
    keep_unknown: bool = False
    include_duplicates: bool = False
    planned: Collection[UUID] = frozenset()
