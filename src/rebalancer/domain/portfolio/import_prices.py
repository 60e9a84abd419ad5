"""Prices of trades beside the closes of their days."""

from __future__ import annotations

from decimal import Decimal, localcontext

from rebalancer.domain.portfolio.entries import TRADES, Entry
from rebalancer.domain.portfolio.import_terms import ImportTerms
from rebalancer.domain.portfolio.statements import Remark

_DIGITS = 60

FAR = Decimal("1.5")
"""A price is remarked on if it, or the close of its day, is at least this many times the other."""


class PriceChecks:
    """Compares prices of trades with closes: another asset or adjusted units are far from them.

    Attributes:
        remarks: At most one for each asset.
    """

    def __init__(self, terms: ImportTerms) -> None:
        self.remarks: list[Remark] = []
        self._terms = terms
        self._seen: set[str] = set()

    def check(self, line: int, entry: Entry) -> None:
        """Compare the price of an entry, unless its asset has a remark already."""
        if entry.kind not in TRADES or entry.symbol in self._seen:
            return
        assert entry.symbol is not None and entry.price is not None
        currency = entry.currency or self._terms.base.code
        close = self._terms.close(entry.symbol, entry.on, currency)
        if close is None or not close > 0:
            return
        with localcontext(prec=_DIGITS):
            factor = max(entry.price / close, close / entry.price)
        if factor < FAR:
            return
        self._seen.add(entry.symbol)
        self.remarks.append(
            Remark(
                line,
                "price_far_from_close",
                f"the price of {entry.symbol}, {entry.price:f}, is far from the close of "
                f"{entry.on}, {close:f}; check that it is the same asset, and that its units are "
                "not adjusted for a later split",
            )
        )
