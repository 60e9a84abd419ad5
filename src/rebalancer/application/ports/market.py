"""Sources and stores of market data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, tzinfo
from typing import Literal, Protocol

import attrs

from rebalancer.domain.arrays import Dates
from rebalancer.domain.market.actions import Actions, CorporateAction
from rebalancer.domain.market.bar_years import BarYear
from rebalancer.domain.market.bars import BAR_FIELDS, Bars, MarketSnapshot
from rebalancer.domain.market.close_columns import CloseColumns
from rebalancer.domain.market.currencies import ExchangeRates
from rebalancer.domain.market.history_tables import OpenTables
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Verdict
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.market.sessions import Sessions
from rebalancer.domain.market.yields import Yields


class PriceSource(Protocol):
    """Daily adjusted closes, all in one currency."""

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol with prices, in the provider's order, each once."""

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """Return the closes of ``symbols``, in that order; of all assets when None.

        Args:
            symbols: Assets.
            days: At most this many rows, counted from the end; all when None.
            until: The last row is the last close at or before this day, which may be as many
                weekdays later as `PriceHistory.row_as_of` allows; the last known close when None.

        Returns:
            Oldest first; each row has at least one price of an asset of the source. A missing
            close repeats the last one or is NaN, as `rebalancer.domain.market.gaps` states. The
            same call returns equal prices.

        Raises:
            InvalidRequest: symbols are unknown (the message names all), the day lies outside the
                prices, or the prices are malformed; the message names the place.
            PricesUnavailable: the provider did not answer.
        """


@attrs.frozen
class PriceReading:
    """How prices were read.

    Attributes:
        layout: Name of the layout of a file; None for other sources.
        notes: What was assumed, as sentences.
    """

    layout: str | None = None
    notes: tuple[str, ...] = ()


class PriceDetails(Protocol):
    """What a source has besides closes."""

    def reading(self) -> PriceReading:
        """Return how the prices were read.

        Raises:
            InvalidRequest: the prices are malformed; the message names the place.
        """

    def yields(self) -> Mapping[str, Yields]:
        """Return yields by name; they are not assets, and `PriceSource` does not have them.

        Raises:
            InvalidRequest: the prices are malformed; the message names the place.
        """


class PriceCache(Protocol):
    """Market snapshots that processes share."""

    def get(self, revision: str, read: Callable[[], MarketSnapshot]) -> MarketSnapshot:
        """Return the snapshot of a revision, from any process; otherwise read it.

        One process reads at a time. Others wait for its result for a limited time, and then read
        themselves. If the cache is down or damaged, the snapshot is read.

        Args:
            revision: Of the market store, read before; it changes with every change.
            read: Reads the snapshot from the store. Its errors are raised and not cached.
        """


BuildHistory = Callable[[OpenTables], PriceHistory | None]
"""Builds a history, whose tables may be collected in those that the function opens."""


class SharedHistories(Protocol):
    """Assembled price histories that the processes of a host share."""

    def get(self, key: str, build: BuildHistory) -> PriceHistory | None:
        """Return the history of a key, from any process of the host; otherwise build it.

        One process builds at a time. Others wait for its result for a limited time, and then build
        their own. A history that cannot be shared is built by each process. Equal keys must stand
        for equal histories.

        Args:
            key: States everything that the history follows from.
            build: Builds the history. Its errors are raised and not cached.
        """


class InstrumentSource(Protocol):
    """Names, asset classes and volumes of assets."""

    def instruments(self) -> Instruments:
        """Return the whole list.

        Raises:
            InvalidRequest: the list is malformed; the message names the place.
        """


class RateSource(Protocol):
    """Reference exchange rates."""

    def rates(self) -> ExchangeRates:
        """Return all rates; the same each time. None are available without their package."""


class Calendars(Protocol):
    """Trading sessions of markets."""

    def sessions(self, markets: Collection[str]) -> Sessions:
        """Return the days of the sessions of those markets that are known.

        From 1990 on, or from the first day of which they are known, until about a year ahead.

        Args:
            markets: ISO 10383 codes, or `ALWAYS_OPEN`.
        """

    def closing_times(self, market: str) -> Dates | None:
        """Return when each of the sessions of `sessions` ends; None if they are not known.

        Increasing, ``datetime64[s]`` in UTC; half days end earlier.
        """

    def opening_times(self, market: str) -> Dates | None:
        """Return when each of the sessions of `sessions` begins; None if they are not known.

        As `closing_times`.
        """

    def time_zone(self, market: str) -> tzinfo:
        """Return the time zone of a market; UTC if it is not known."""


class Regimes(Protocol):
    """The fitted market regimes."""

    def model(self) -> RegimeModel:
        """Return the fitted model; the same each time.

        Raises:
            InvalidRequest: the chosen file is missing or damaged.
            Unavailable: the packaged file is missing or damaged.
        """

    def known_until(self) -> date | None:
        """Return the last day of prices that the model was fitted to; None if it is not stated.

        Raises:
            InvalidRequest, Unavailable: as `model`.
        """


Revised = Literal["bars", "actions", "instruments", "verdicts"]
"""Kinds of market data that have a revision of their own."""


def no_progress(_: int) -> None:
    """Progress callback that does nothing."""


class MarketStore(Protocol):
    """Market data that this deployment stores itself.

    Callers read prices through `StoredMarket`, which caches and validates them. Each method raises
    Unavailable if the store does not answer.
    """

    def prepare(self) -> None:
        """Create collections, indexes and checks where the store has them; existing ones stay.

        Saving does this by itself, once.
        """

    def revision(self, *of: Revised) -> str:
        """Return the revisions of some kinds of data, separated by spaces.

        Every change makes a new one. A database that was created again never repeats a revision of
        the one before.
        """

    def save_bars(
        self,
        bars: Sequence[Bars],
        *,
        known: datetime | None = None,
        source: str = "",
        progress: Callable[[int], None] = no_progress,
    ) -> int:
        """Save bars; bars of a day that is stored already are replaced, and kept as a change.

        Idempotent. Within a year, fields other than the close are stored only if all of its days
        have them. Two concurrent calls have the same result as one after the other. After an error
        the bars saved before it stay, and the same call saves the rest.

        An asset has bars as traded or adjusted ones. The first bars as traded replace all adjusted
        ones of the asset; adjusted bars of an asset that has bars as traded are not saved.

        Args:
            bars: Of any assets.
            known: When these figures became known; None: now.
            source: Where they come from.
            progress: Called with the number of further assets that are saved.

        Returns:
            How many days were new or different, over all symbols.
        """

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of all assets that have bars, sorted."""

    def save_instruments(self, instruments: Instruments) -> int:
        """Save instruments; stored ones with the same symbol are replaced, others stay.

        Returns:
            How many were new or different.
        """

    def bars(
        self,
        fields: Sequence[str] = BAR_FIELDS,
        *,
        symbols: Collection[str] | None = None,
        since: date | None = None,
        known_by: datetime | None = None,
    ) -> dict[str, Bars]:
        """Return bars by symbol, sorted, in one query.

        A field of an asset is present if all of its years have it; ``close`` must be requested.

        Args:
            fields: Of `BAR_FIELDS`.
            symbols: Assets; None: all.
            since: First day; None: all days.
            known_by: Figures as they were known at a time: later days are missing, and a corrected
                figure is the earlier one. None: as they are known now.
        """

    def years(self, symbol: str, *, since: date | None = None) -> tuple[BarYear, ...]:
        """Return the stored years of an asset with the source of each day, oldest first.

        Args:
            symbol: The asset.
            since: Only years from that of this day on; None: all.
        """

    def closes(self, symbols: Collection[str]) -> CloseColumns:
        """Return the closes of some assets as they are known now, sorted by symbol, in one query.

        The same as those of `bars`, and faster for many assets. Assets without any are left out.
        """

    def save_actions(
        self, actions: Iterable[CorporateAction], *, known: datetime | None = None, source: str = ""
    ) -> int:
        """Save corporate actions; one with the key of a stored one corrects it.

        Idempotent. The corrected figure is kept.

        Args:
            actions: Of any assets.
            known: When these figures became known; None: now.
            source: Where they come from.

        Returns:
            How many were new or different.
        """

    def actions(self, *, known_by: datetime | None = None) -> Actions:
        """Return all corporate actions; as they were known at a time, if one is given."""

    def save_verdicts(self, verdicts: Iterable[Verdict]) -> int:
        """Save decisions of operators on findings; a later one on the same finding counts.

        Returns:
            How many were new or different.
        """

    def verdicts(self) -> tuple[Verdict, ...]:
        """Return the decisions on findings, the latest one on each, sorted by key."""

    def instruments(self) -> Instruments:
        """Return all instruments, in the order in which they were first saved."""
