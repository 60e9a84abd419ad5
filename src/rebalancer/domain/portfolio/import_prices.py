"""Prices of trades beside the closes of their days."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, localcontext

from rebalancer.domain.portfolio.adjusted_units import match_split
from rebalancer.domain.portfolio.entries import TRADES, Entry, EntryKind, multiply_units
from rebalancer.domain.portfolio.import_terms import ImportTerms
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.statements import Remark

_DIGITS = 60

FAR = Decimal("1.5")
"""A price is remarked on if it, or the close of its day, is at least this many times the other."""


def check_prices(
    planned: Sequence[tuple[int, Entry]], terms: ImportTerms, ledger: Ledger
) -> list[Remark]:
    """Return a remark about each asset whose first price far from the close of its day is found.

    It may be another asset, or its units are adjusted. Closes of a market that does not know a
    split of the ledger or of the statement may be adjusted for it, so both readings are tried.
    """
    splits: dict[str, list[Entry]] = defaultdict(list)
    for entry in (*ledger.effective, *(entry for _, entry in planned)):
        if entry.kind is EntryKind.SPLIT and entry.symbol is not None:
            known = terms.splits(entry.symbol)
            if match_split(entry.on, entry.ratio, known) is None:
                splits[entry.symbol].append(entry)
    found: dict[str, Remark] = {}
    for line, entry in planned:
        if entry.kind not in TRADES or entry.symbol in found:
            continue
        assert entry.symbol is not None and entry.price is not None
        close = terms.close(entry.symbol, entry.on, entry.currency or terms.base.code)
        if close is None or not close > 0:
            continue
        traded = _undo(close, entry.on, splits.get(entry.symbol, ()))
        if not (_is_far(entry.price, close) and _is_far(entry.price, traded)):
            continue
        found[entry.symbol] = Remark(
            line,
            "price_far_from_close",
            f"the price of {entry.symbol}, {entry.price:f}, is far from the close of "
            f"{entry.on}, {close:f}; check that it is the same asset, and that its units are "
            "not adjusted for a later split",
        )
    return list(found.values())


def _is_far(price: Decimal, close: Decimal) -> bool:
    with localcontext(prec=_DIGITS):
        return max(price / close, close / price) >= FAR


def _undo(close: Decimal, on: date, splits: Sequence[Entry]) -> Decimal:
    """Return the close that a close was before it was adjusted for splits of later days."""
    with localcontext(prec=_DIGITS):
        for split in {entry.on: entry for entry in splits if entry.on > on}.values():
            assert split.ratio is not None
            close = multiply_units(close, split.ratio)
    return close
