"""Portfolios that were measured in this process, so that other periods of them cost little."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime
from threading import Lock
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import attrs

from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.mandate import ManagedPortfolio

MOST_BYTES = 128_000_000
"""Bytes of arrays that a cache keeps; ten years of ten assets take about 2 MB."""


class Sized(Protocol):
    """Something that was measured."""

    @property
    def size(self) -> int:
        """Bytes of its arrays."""


M = TypeVar("M", bound=Sized)


@attrs.frozen(eq=False)
class _Known(Generic[M]):
    """What was measured.

    Attributes:
        version: Version and time of change of the portfolio.
        market: Prices by which it was measured.
    """

    version: tuple[int, datetime]
    market: weakref.ref[PriceHistory]
    measured: M


@attrs.define(eq=False)
class MeasurementCache(Generic[M]):
    """Measurements of all days of recently asked portfolios.

    One holds for the version of its portfolio and for the prices by which it was made: any entry,
    also a back-dated one, gives a portfolio a new version, and any changed price a new market.

    Attributes:
        most: Most bytes of arrays.
        continues: Whether measurements by earlier prices are kept, since they can be continued.
    """

    most: int = MOST_BYTES
    continues: bool = False
    _found: OrderedDict[tuple[UUID, Hashable], _Known[M]] = attrs.field(
        factory=OrderedDict, init=False
    )
    _lock: Lock = attrs.field(factory=Lock, init=False)

    def find(
        self, portfolio: ManagedPortfolio, market: PriceHistory, terms: Hashable = None
    ) -> M | None:
        """Return the measurement of a portfolio as it is now; None if it is not known.

        Args:
            portfolio: As stored.
            market: Current prices.
            terms: What it depends on besides, such as the benchmark.
        """
        with self._lock:
            known = self._found.get((portfolio.id, terms))
            if known is None or known.version != _version(portfolio):
                return None
            if known.market() is not market:
                return None
            self._found.move_to_end((portfolio.id, terms))
            return known.measured

    def recall(self, portfolio: UUID, terms: Hashable = None) -> M | None:
        """Return the last measurement of a portfolio, which may be of another version."""
        with self._lock:
            known = self._found.get((portfolio, terms))
            return None if known is None else known.measured

    def measure(
        self,
        portfolio: ManagedPortfolio,
        market: PriceHistory,
        make: Callable[[], M],
        terms: Hashable = None,
    ) -> M:
        """Return the measurement of a portfolio as it is now, and make it if it is not known.

        ``make`` reads the entries of just this version.
        """
        found = self.find(portfolio, market, terms)
        if found is not None:
            return found
        made = make()
        with self._lock:
            key = (portfolio.id, terms)
            self._found[key] = _Known(_version(portfolio), weakref.ref(market), made)
            self._found.move_to_end(key)
            if not self.continues:  # what is left would hold the earlier prices
                for old in [key for key, one in self._found.items() if one.market() is not market]:
                    del self._found[old]
            left = self.most
            for key, one in reversed(list(self._found.items())):
                left -= one.measured.size
                if left < 0:
                    del self._found[key]
        return made


def _version(portfolio: ManagedPortfolio) -> tuple[int, datetime]:
    return portfolio.version, portfolio.changed
