"""Quotes for a command: from the board that servers share, or straight from the provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.application.ports.quotes import QuoteFeed
    from rebalancer.domain.market.live_quotes import Tick

WAIT = 10.0
"""Seconds for which a command waits for quotes."""


def collect_quotes(wired: Container, symbols: Collection[str]) -> None:
    """Post quotes of assets that have no fresh one on the board and whose market is not closed.

    Returns when each has a quote, or after some seconds; at once where quotes are switched off.
    """
    from rebalancer.application.live_values import DescribeWatched
    from rebalancer.application.ports.clock import Clock
    from rebalancer.application.quote_subscription import PostTicks
    from rebalancer.application.quotes import ReadQuotes
    from rebalancer.domain.market.live_quotes import QuoteLimits
    from rebalancer.wiring.quotes import QuoteSource

    source, describe = wired.get(QuoteSource), wired.get(DescribeWatched)
    if not source.is_on:
        return
    now, limits = wired.get(Clock)(), wired.get(QuoteLimits)
    listed, known = describe.instruments.instruments(), wired.get(ReadQuotes)(symbols)

    def is_open(symbol: str) -> bool:
        hours = describe.hours(listed[symbol].market, now)
        return hours is None or hours.is_open

    missing = [
        symbol
        for symbol in symbols
        if is_open(symbol) and (symbol not in known or known[symbol].age(now) > limits.age)
    ]
    if missing:
        ticks = asyncio.run(_receive(source.create, missing, WAIT))
        wired.get(PostTicks)(ticks)


async def _receive(
    create: Callable[[], QuoteFeed], symbols: Collection[str], wait: float
) -> list[Tick]:
    """Return the last report of each asset, once all have one or a time has passed."""
    latest: dict[str, Tick] = {}
    complete, feed = asyncio.Event(), create()

    def deliver(tick: Tick) -> None:
        if tick.symbol in symbols:
            latest[tick.symbol] = tick
        if len(latest) == len(symbols):
            complete.set()

    feed.want(symbols)
    running = asyncio.create_task(feed.run(deliver))
    waiting = asyncio.create_task(complete.wait())
    try:
        done, _ = await asyncio.wait(
            (running, waiting), timeout=wait, return_when=asyncio.FIRST_COMPLETED
        )
        if running in done:
            running.result()
    finally:
        for task in (running, waiting):
            task.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
    return list(latest.values())
