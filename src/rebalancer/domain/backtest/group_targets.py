"""Targets by groups in backtests: resolved at each review, as in proposals."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.book_groups import BookGroups
from rebalancer.domain.portfolio.target_groups import Inside, LookThrough, TargetTree
from rebalancer.domain.portfolio.target_resolution import resolve_targets


@attrs.frozen
class GroupTargets:
    """Targets by groups whose weights depend on what is held.

    Attributes:
        tree: The targets.
        instruments: Asset classes.
        look_through: Classes of funds of several classes.
    """

    tree: TargetTree
    instruments: Instruments
    look_through: LookThrough = attrs.field(factory=dict)

    def at(self, book: Book, symbols: Sequence[str]) -> tuple[Book, BookGroups | None]:
        """Return the book of one with the targets at its values, and the bands of groups.

        Raises:
            InvalidRequest: a class group has no member.
        """
        resolved = resolve_targets(
            self.tree,
            dict(zip(symbols, book.values[0].tolist(), strict=True)),
            class_of=lambda symbol: self.instruments[symbol].asset_class,
            look_through=self.look_through,
        )
        weights = np.array([resolved.weights.get(symbol, 0.0) for symbol in symbols])
        weights /= max(float(weights.sum()), 1.0)
        groups = BookGroups.of([resolved.groups], [symbols], len(symbols))
        return attrs.evolve(book, targets=weights[None, :]), groups


def depends_on_holdings(tree: TargetTree) -> bool:
    """Return whether targets by groups say more than the weights that follow from stated ones."""
    return any(
        one.inside is Inside.CURRENT
        or one.asset_class is not None
        or any(limit is not None for limit in (one.band, one.min_weight, one.max_weight))
        for one in tree.walk()
    )
