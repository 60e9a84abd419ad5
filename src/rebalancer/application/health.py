"""Whether we could serve."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NewType
from uuid import UUID

import attrs

from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.reports import Reports
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.errors import NotFound, RebalancerError, Unavailable

_NOBODY = UUID(int=0)


class State(StrEnum):
    """How well we could serve."""

    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


class Degraded(Unavailable):
    """A part is away, and we go on as the message says."""


@attrs.frozen
class Part:
    """Something that we depend on.

    Attributes:
        name: What it is called.
        check: Asks it, and raises what is wrong with it; `Degraded` if that is no great harm.
        without: How we go on while it is away, in words; empty: we do not.
    """

    name: str
    check: Callable[[], None]
    without: str = ""

    @property
    def essential(self) -> bool:
        """Whether nothing goes without it."""
        return not self.without


Parts = NewType("Parts", tuple[Part, ...])
"""All that we depend on, as it is wired."""


@attrs.frozen
class Health:
    """How we are.

    Attributes:
        state: The worst that follows from any part.
        parts: Each part's state: ``ok``, or what is wrong with it and how we go on.
    """

    state: State
    parts: dict[str, str]


@attrs.frozen
class CheckHealth:
    """Ask each part that we depend on."""

    parts: Parts

    def __call__(self) -> Health:
        """How we are."""
        state, told = State.OK, {}
        for part in self.parts:
            try:
                part.check()
            except RebalancerError as error:
                told[part.name] = f"{error}; {part.without}" if part.without else str(error)
                if part.essential and not isinstance(error, Degraded):
                    state = State.UNAVAILABLE
                elif state is State.OK:
                    state = State.DEGRADED
            else:
                told[part.name] = "ok"
        return Health(state, told)


def store_part(work: UnitOfWork) -> Part:
    """The store."""

    def check() -> None:
        try:
            with work.read() as tx:
                tx.users.get(_NOBODY)
        except NotFound:
            return

    return Part("store", check)


def reports_part(reports: Reports) -> Part:
    """Where reports are kept; what is decided and done needs none of them."""

    def check() -> None:
        try:
            reports.get(_NOBODY)
        except NotFound:
            return

    return Part("reports", check, "reports can neither be kept nor read")


def prices_part(prices: PriceSource) -> Part:
    """The prices."""

    def check() -> None:
        prices.closes(days=1)

    return Part("prices", check)


def kept_part(market: StoredMarket) -> Part:
    """Prices that we keep ourselves: those that are known serve on while their store is away."""

    def check() -> None:
        market.closes(days=1)
        try:
            market.check()
        except RebalancerError as error:
            raise Degraded(f"{error}; prices that are known serve on") from error

    return Part("prices", check)
