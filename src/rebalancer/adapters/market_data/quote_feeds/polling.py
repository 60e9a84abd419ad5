"""Quotes of providers without a stream: each asset is asked for again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.providers import (
    ProviderFault,
    QuotaSpent,
    Refused,
    Throttled,
    UnknownSymbol,
)
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.application.resilience import OutageLog
from rebalancer.domain.market.live_quotes import Tick

log = logging.getLogger("rebalancer.quotes")

FORGOTTEN = timedelta(hours=1)
"""Time until an asset is asked for again that no provider knows."""


class PolledQuotes:
    """See `QuoteFeed`: asks the chain of providers, which keeps paces, quotas and breakers.

    Assets are asked for one after the other, so that a feed takes no more than one place in the
    pace of a provider.

    Args:
        chain: Providers.
        clock: Time.
        interval: Seconds from the beginning of a round to that of the next one.
    """

    name = "polling"

    def __init__(self, chain: ProviderChain, clock: Clock, *, interval: float = 60.0) -> None:
        self._chain, self._clock, self._interval = chain, clock, interval
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._unknown: dict[str, datetime] = {}
        self._outage = OutageLog(log, "no provider has quotes", "providers have quotes again")

    def want(self, symbols: Collection[str]) -> None:
        self._wanted = frozenset(symbols)
        self._changed.set()

    async def run(self, deliver: Callable[[Tick], None]) -> None:
        loop = asyncio.get_running_loop()
        asked: frozenset[str] = frozenset()
        begins = loop.time()
        while True:
            self._changed.clear()
            wanted = self._wanted
            new, asked = wanted - asked, wanted
            is_due = loop.time() >= begins
            if is_due:
                begins = loop.time() + self._interval
            await self._ask(sorted(wanted if is_due else new), deliver)
            try:
                wait = max(begins - loop.time(), 0.0)
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    async def _ask(self, symbols: Collection[str], deliver: Callable[[Tick], None]) -> None:
        """Ask for assets; stop early when the providers want no further requests."""
        now = self._clock()
        self._unknown = {one: until for one, until in self._unknown.items() if until > now}
        for symbol in symbols:
            if symbol in self._unknown or symbol not in self._wanted:
                continue
            try:
                deliver(await asyncio.to_thread(self._chain.quote, symbol))
            except UnknownSymbol:
                self._unknown[symbol] = now + FORGOTTEN
            except (Throttled, QuotaSpent, Refused) as fault:
                self._outage.failed(fault.message)
                return
            except ProviderFault as fault:
                self._outage.failed(fault.message)
            else:
                self._outage.succeeded()
