"""Groups of a book's assets as arrays, with their bands and limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.portfolio.target_groups import Inside
from rebalancer.domain.portfolio.target_resolution import ResolvedGroup


@attrs.frozen(eq=False)
class BookGroups:
    """Groups of B portfolios, at most G in each; weights are of value.

    Attributes:
        shares: (B, G, K) share of each asset that counts for the group; 0 for others.
        band: (B, G) largest drift without a review, infinite without a band.
        least: (B, G) minimum weight, 0 without one.
        most: (B, G) maximum weight, infinite without one.
        replaces: (B, G) whether the group's band stands for those of its members, because they keep
            their proportions.
    """

    shares: Floats
    band: Floats
    least: Floats
    most: Floats
    replaces: Bools

    @classmethod
    def of(
        cls, groups: Sequence[Sequence[ResolvedGroup]], symbols: Sequence[Sequence[str]], slots: int
    ) -> Self | None:
        """Convert the groups of portfolios; None if none of them has any.

        Args:
            groups: Groups of each portfolio.
            symbols: Symbols of each portfolio in the order of its slots.
            slots: Number of slots of the book, K.
        """
        widest = max(map(len, groups), default=0)
        if not widest:
            return None
        shape = (len(groups), widest)
        found = cls(
            shares=np.zeros((*shape, slots)),
            band=np.full(shape, np.inf),
            least=np.zeros(shape),
            most=np.full(shape, np.inf),
            replaces=np.zeros(shape, dtype=bool),
        )
        for row, each in enumerate(groups):
            for at, one in enumerate(each):
                group, names = one.group, symbols[row]
                found.shares[row, at, : len(names)] = [one.members.get(name, 0) for name in names]
                if group.band is not None:
                    found.band[row, at] = group.band
                    found.replaces[row, at] = group.inside is Inside.CURRENT
                if group.min_weight is not None:
                    found.least[row, at] = group.min_weight
                if group.max_weight is not None:
                    found.most[row, at] = group.max_weight
        return found

    def only(self, rows: Rows) -> Self:
        """Return the groups of some of the portfolios."""
        return type(self)(
            self.shares[rows],
            self.band[rows],
            self.least[rows],
            self.most[rows],
            self.replaces[rows],
        )

    def sums(self, amounts: Floats) -> Floats:
        """(B, G) sum over each group of weights or money, (B, K)."""
        sums: Floats = (self.shares * amounts[:, None, :]).sum(axis=2)
        return sums

    def members(self, groups: Bools) -> Bools:
        """(B, K) assets that count for any of some groups, (B, G)."""
        members: Bools = np.any((self.shares > 0) & groups[:, :, None], axis=1, keepdims=False)
        return members
