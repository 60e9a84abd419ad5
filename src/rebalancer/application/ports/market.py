"""Where market data come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Protocol

from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel


class PriceSource(Protocol):
    """Daily adjusted closes, all in one currency."""

    def symbols(self) -> tuple[str, ...]:
        """Every symbol on offer, in the provider's order, each once."""

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """Closes of ``symbols`` (all when None, else in the order asked for).

        Args:
            symbols: What is wanted.
            days: At most this many rows, counted back from the end; all when None.
            until: The last row is the last close at or before this day, at most 5 business days
                back; the last known close when None.

        Returns:
            Oldest first. A gap of at most 5 rows repeats the last close; an asset has NaN only
            before its first close. The same call gives the same answer.

        Raises:
            InvalidRequest: an unknown symbol (all of them are named), a day outside of the prices,
                or prices that are malformed: says where and how to mend it.
            PricesUnavailable: the provider did not answer.
        """


class PriceCache(Protocol):
    """The market as whoever was first has read it, for all processes that share a store."""

    def get(self, revision: str, read: Callable[[], MarketSnapshot]) -> MarketSnapshot:
        """What was read as of a revision of the store, by any process; else it is read.

        One process reads at a time. Others wait for what it finds, but not for long, and read for
        themselves if it finds nothing. It is no reason to fail that a cache is away, or damaged.

        Args:
            revision: Of the store, asked for before; another one after every change.
            read: Reads it from the store. What it raises is raised, and not kept.
        """


class InstrumentSource(Protocol):
    """What is known of each asset beside its prices."""

    def instruments(self) -> Instruments:
        """The whole list.

        Raises:
            InvalidRequest: the list is malformed: says where and how to mend it.
        """


class Regimes(Protocol):
    """The market regimes that are told apart."""

    def model(self) -> RegimeModel:
        """What was fitted, always the same.

        Raises:
            InvalidRequest: the file that was named for it is missing or damaged.
            Unavailable: what is shipped is missing or damaged; says how to mend it.
        """


def no_progress(_: int) -> None:
    """Tell nobody of progress."""


class MarketStore(PriceSource, InstrumentSource, Protocol):
    """Market data that we keep ourselves.

    As a source it offers assets by symbol. Those whose closes have a gap of more than 5 rows are
    not on offer, and named all the same they are refused, with the reason. What others keep is on
    offer a second later, and until something changes the same call gives the same object. While the
    store is away, what was on offer before stays so.
    """

    def prepare(self) -> None:
        """Make ready to keep them, as far as that is left to us; what is there stays.

        Whoever keeps something makes ready by themselves, once.

        Raises:
            Unavailable: the store did not answer.
        """

    def check(self) -> None:
        """See that what is on offer is what is kept.

        Raises:
            Unavailable: the store does not answer, or did not a moment ago.
            InvalidRequest: what is kept makes no sense.
        """

    def withheld(self) -> Mapping[str, str]:
        """Assets that are kept and not on offer, and why.

        Raises:
            PricesUnavailable: the store did not answer.
        """

    def save_bars(
        self, bars: Sequence[Bars], *, progress: Callable[[int], None] = no_progress
    ) -> int:
        """Keep bars; those of a day that is known already are replaced.

        The same call twice leaves what one leaves. Of a year, figures other than the close are
        kept where all of its days have them. Two calls at once leave what one after the other does.

        Args:
            bars: Of any assets.
            progress: Is told how many more of them are kept.

        Returns:
            How many days were new or different, over all symbols.

        Raises:
            Unavailable: the store did not answer; what was kept before it did not, stays, and the
                same call again does the rest.
        """

    def save_instruments(self, instruments: Instruments) -> int:
        """Keep a list of instruments; those that are known are replaced, others stay.

        They are told in the order in which they were first kept.

        Returns:
            How many were new or different.

        Raises:
            Unavailable: the store did not answer.
        """

    def bars(
        self,
        symbols: Sequence[str] | None = None,
        *,
        first: date | None = None,
        last: date | None = None,
    ) -> dict[str, Bars]:
        """Bars of days from ``first`` to ``last``, by symbol; symbols without any are left out.

        All of them are read at once, however many symbols and years. A figure that is lacking in
        one of the years is lacking.

        Args:
            symbols: Of which assets; of all when None.
            first: The first day; as early as there are any when None.
            last: The last day; likewise.

        Raises:
            Unavailable: the store did not answer.
        """
