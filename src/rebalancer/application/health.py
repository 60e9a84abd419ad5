"""Readiness: whether the dependencies answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import NewType
from uuid import UUID

import attrs

from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.errors import NotFound, RebalancerError, Unavailable

UNKNOWN_ID = UUID(int=0)

MOST_NAMED = 5
"""Withheld assets that a note names."""


class State(StrEnum):
    """Readiness of the application."""

    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


class Degraded(Unavailable):
    """A dependency is away; the message states how the application continues."""

    default_code = "degraded"


@attrs.frozen
class Dependency:
    """A dependency of the application.

    Attributes:
        check: Asks the dependency; raises its error, or `Degraded` if the application continues.
            NotFound is an answer.
        fallback: How the application continues without it; empty for an essential dependency.
        note: Describes what deserves attention although the dependency works; empty if nothing
            does. Called after the check.
    """

    name: str
    check: Callable[[], object]
    fallback: str = ""
    note: Callable[[], str] | None = None


Dependencies = NewType("Dependencies", tuple[Dependency, ...])
"""All configured dependencies."""


@attrs.frozen
class Health:
    """Readiness of the application.

    Attributes:
        state: The worst state that follows from a dependency.
        parts: ``ok`` for each dependency, or its error and the fallback.
        notes: What deserves attention although a dependency works, by its name.
    """

    state: State
    parts: dict[str, str]
    notes: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class CheckHealth:
    """Ask each dependency."""

    dependencies: Dependencies

    def __call__(self) -> Health:
        """Return the readiness."""
        state, parts, notes = State.OK, {}, {}
        for dependency in self.dependencies:
            name, fallback = dependency.name, dependency.fallback
            try:
                with suppress(NotFound):
                    dependency.check()
                parts[name] = "ok"
                if dependency.note is not None and (note := dependency.note()):
                    notes[name] = note
            except RebalancerError as error:
                parts[name] = f"{error}; {fallback}" if fallback else str(error)
                if not fallback and not isinstance(error, Degraded):
                    state = State.UNAVAILABLE
                elif state is State.OK:
                    state = State.DEGRADED
        return Health(state, parts, notes)


def store_dependency(work: UnitOfWork) -> Dependency:
    """Return the store, which is essential."""

    def check() -> None:
        with work.read() as tx:
            tx.probe.read()
        try:
            with work.begin() as tx:
                tx.probe.write()
        except Unavailable as error:
            if error.code != "database_busy":  # a long transaction writes, so writing works
                raise

    return Dependency("store", check)


def stored_prices_dependency(market: StoredMarket) -> Dependency:
    """Return the stored prices; the last ones read are served while their store is away."""

    def check() -> None:
        market.closes(days=1)
        try:
            market.check()
        except RebalancerError as error:
            raise Degraded(f"{error}; serving the prices read last") from error

    return Dependency("prices", check, note=lambda: describe_withheld(market))


def describe_withheld(prices: PriceSource) -> str:
    """Describe the assets that are not tradable at the last close; empty if all are.

    Raises:
        InvalidRequest: the prices are malformed.
        PricesUnavailable: the provider did not answer.
    """
    withheld = prices.closes().withheld
    named = [f"{symbol} ({reason})" for symbol, reason in list(withheld.items())[:MOST_NAMED]]
    more = len(withheld) - len(named)
    if more > 0:
        named.append(f"and {more} more")
    return f"not tradable: {', '.join(named)}" if named else ""
