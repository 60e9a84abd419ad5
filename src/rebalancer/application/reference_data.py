"""Read fundamentals and economic series: from the store, and from providers when they are old."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.providers import ProviderFault, UnknownSymbol
from rebalancer.application.ports.reference import ReferenceStore, StoredFacts, StoredSeries
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.domain.errors import NotFound
from rebalancer.domain.market.symbols import normalize_symbol

log = logging.getLogger("rebalancer.market")

FACTS_AGE = timedelta(days=7)
"""Age at which fundamentals are fetched again."""

SERIES_AGE = timedelta(days=1)
"""The same of economic series."""

_EARLY = timedelta(hours=6)
"""Time by which the schedule is early, so that a daily run misses nothing by minutes."""


@attrs.frozen
class ReadFacts:
    """Read the fundamentals of an asset; fetch them if there are none or old ones."""

    store: ReferenceStore
    chain: ProviderChain
    clock: Clock

    def __call__(self, symbol: str, *, age: timedelta = FACTS_AGE) -> tuple[StoredFacts, str]:
        """Return fundamentals, and why they are old; empty if they are not.

        Args:
            symbol: The asset.
            age: Least age at which they are fetched again.

        Raises:
            NotFound: no provider knows the asset.
            ProviderFault: no provider answered, and none are stored.
            Unavailable: the store did not answer.
        """
        symbol = normalize_symbol(symbol)
        stored, now = self.store.facts(symbol), self.clock()
        if stored is not None and now - stored.fetched < age:
            return stored, ""
        try:
            provider, facts = self.chain.facts(symbol)
        except ProviderFault as fault:
            if stored is not None:
                return stored, fault.message
            if isinstance(fault, UnknownSymbol):
                raise NotFound(fault.message, code="fundamentals_not_found") from None
            raise
        finite = {name: value for name, value in facts.figures.items() if math.isfinite(value)}
        found = StoredFacts(attrs.evolve(facts, figures=finite), provider, now)
        self.store.save_facts(found)
        return found, ""


@attrs.frozen
class ReadSeries:
    """Read an economic series; fetch it if it is new or old."""

    store: ReferenceStore
    chain: ProviderChain
    clock: Clock

    def __call__(self, id: str, *, age: timedelta = SERIES_AGE) -> tuple[StoredSeries, str]:
        """Return a series with all its vintages, and why it is old; empty if it is not.

        Args:
            id: As the provider writes it, such as DGS10.
            age: Least age at which it is fetched again.

        Raises:
            NotFound: no provider knows the series.
            ProviderFault: no provider answered, and the series is not stored.
            Unavailable: the store did not answer.
        """
        id = normalize_symbol(id)
        stored, now = self.store.series(id), self.clock()
        if stored is not None and now - stored.fetched < age:
            return stored, ""
        known = stored is not None and stored.provider in self.chain.providers
        only = stored.provider if stored is not None and known else None
        try:
            provider, series = self.chain.series(id, since=None, provider=only)
        except ProviderFault as fault:
            if stored is not None:
                return stored, fault.message
            if isinstance(fault, UnknownSymbol):
                raise NotFound(fault.message, code="series_not_found") from None
            raise
        finite = tuple(one for one in series.observations if math.isfinite(one.value))
        found = StoredSeries(attrs.evolve(series, observations=finite), provider, now)
        return self.store.save_series(found), ""


@attrs.frozen
class RefreshReference:
    """Fetch again what was asked for before."""

    read_facts: ReadFacts
    read_series: ReadSeries

    def is_needed(self) -> tuple[bool, bool]:
        """Return whether there are fundamentals, and whether there are series, to refresh.

        Raises:
            Unavailable: the store did not answer.
        """
        store = self.read_facts.store
        return bool(store.facts_fetched()), bool(store.series_fetched())

    def facts(self, now: datetime, beat: Callable[[], None]) -> tuple[int, list[str]]:
        """Refresh fundamentals; return how many were due, and the faults.

        Args:
            now: Current time.
            beat: Called after each; what it raises ends the run.

        Raises:
            Unavailable: the store did not answer.
        """
        fetched, age = self.read_facts.store.facts_fetched(), FACTS_AGE - _EARLY
        due = [symbol for symbol, time in fetched.items() if now - time >= age]
        return len(due), self._refresh(due, lambda one: self.read_facts(one, age=age)[1], beat)

    def series(self, now: datetime, beat: Callable[[], None]) -> tuple[int, list[str]]:
        """Refresh economic series; as `facts`."""
        fetched, age = self.read_series.store.series_fetched(), SERIES_AGE - _EARLY
        due = [id for id, time in fetched.items() if now - time >= age]
        return len(due), self._refresh(due, lambda one: self.read_series(one, age=age)[1], beat)

    def _refresh(
        self, names: list[str], read: Callable[[str], str], beat: Callable[[], None]
    ) -> list[str]:
        """Read each; return why some could not be fetched."""
        faults = []
        for name in names:
            if fault := read(name):
                log.info("%s cannot be refreshed: %s", name, fault)
                faults.append(fault)
            beat()
        return faults
