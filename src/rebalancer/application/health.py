"""Whether we could serve."""

from __future__ import annotations

from uuid import UUID

import attrs

from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.errors import NotFound, RebalancerError

_NOBODY = UUID(int=0)


@attrs.frozen
class CheckHealth:
    """Ask each part that we depend on."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(self) -> dict[str, str]:
        """Each part's state: ``ok``, or what is wrong with it."""
        return {"store": self._store(), "prices": self._prices()}

    def _store(self) -> str:
        try:
            with self.work.read() as tx:
                tx.users.get(_NOBODY)
        except NotFound:
            return "ok"
        except RebalancerError as error:
            return str(error)
        return "ok"

    def _prices(self) -> str:
        try:
            self.prices.closes(days=1)
        except RebalancerError as error:
            return str(error)
        return "ok"
