"""Work around assets that cannot be traded at a close, see `PriceHistory.withheld`."""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, safe_divide
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.book import Book


def find_withheld(book: Book, market: PriceHistory) -> Bools | None:
    """Return (B, K) slots whose asset is withheld at the market's last close; None without any."""
    columns = market.withheld_columns
    if columns is None:
        return None
    slots: Bools = columns[book.assets] & book.present
    return slots if slots.any() else None


def lock_withheld(book: Book, withheld: Bools) -> Book:
    """Return a book in which withheld assets are not traded.

    What is held of them keeps its weight at its last price. The other targets stay as they are, as
    far as the rest of the portfolio allows; a target that cannot be bought is held in cash.
    """
    limits = book.limits
    total = book.total[:, None]
    kept = np.where(withheld & (total > 0), safe_divide(book.values, total), 0.0)
    kept /= np.maximum(kept.sum(axis=1), 1.0)[:, None]
    others = np.where(withheld, 0.0, book.targets)
    wanted = others.sum(axis=1)
    room = np.maximum(1.0 - kept.sum(axis=1), 0.0)
    share = np.where(wanted > room, safe_divide(room, wanted), 1.0)
    affected: Bools = np.any(withheld, axis=1, keepdims=True)
    return attrs.evolve(
        book,
        targets=np.where(affected, others * share[:, None] + kept, book.targets),
        limits=attrs.evolve(
            limits,
            no_sell=limits.no_sell | withheld,
            no_buy=limits.no_buy | withheld,
            bind=True,
        ),
    )


def hide_withheld(book: Book, withheld: Bools) -> Book:
    """Return the book that a policy decides on: without targets for withheld assets."""
    return attrs.evolve(
        book,
        present=book.present & ~withheld,
        targets=np.where(withheld, 0.0, book.targets),
    )
