"""Live quotes: the feeds that deliver them, and the board on which a deployment shares them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from rebalancer.domain.market.live_quotes import LiveQuote, PostedQuote, Tick


class QuoteFeed(Protocol):
    """Trades of one provider, as they happen.

    Attributes:
        name: Name of the provider.
    """

    name: str

    def want(self, symbols: Collection[str]) -> None:
        """State the assets to deliver, in place of those stated before.

        It may be called before and during `run`, in its event loop.
        """

    async def run(self, deliver: Callable[[Tick], None]) -> None:
        """Deliver reports until this is cancelled.

        The feed connects again by itself after a fault, and subscribes to all assets again. An
        asset that the provider does not know is never delivered and disturbs no other one.
        ``deliver`` must return soon.

        Raises:
            Unavailable: a package that the feed needs is not installed.
        """


class QuoteBoard(Protocol):
    """Latest quote of each asset, for all processes of a deployment.

    The board keeps no history: a reader that is slow misses quotes in between and gets the latest.

    Each method raises Unavailable if the board cannot be reached.
    """

    def post(self, quotes: Sequence[LiveQuote]) -> tuple[PostedQuote, ...]:
        """Post quotes; return those that are news, with their numbers.

        A quote that does not replace the posted one (see `LiveQuote.replaces`) is left out. Numbers
        grow without end, also over restarts of the board.
        """

    def latest(self, symbols: Collection[str]) -> Mapping[str, PostedQuote]:
        """Return the latest quotes of those assets that have one."""

    def want(self, symbols: Collection[str], *, until: datetime) -> None:
        """Ask for assets until a time; a later time replaces an earlier one."""

    def wanted(self, now: datetime) -> frozenset[str]:
        """Return the assets that are asked for at a time."""

    def follow(self) -> AsyncIterator[Sequence[PostedQuote]]:
        """Yield what is posted from the first iteration on, in the order of numbers.

        The first item is empty and marks the beginning: what `latest` returns after it
        misses nothing. The iterator ends by Unavailable when the connection is lost; follow again
        then, and read `latest`.
        """
