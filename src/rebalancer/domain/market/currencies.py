"""Currencies of prices: quote units, exchange rates and their triangulation.

A price is quoted in a currency, or in a unit of one: London quotes in pence, Johannesburg in cents.
Units are stated by the list of instruments and converted on reading; they are never guessed from
the size of a price.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from hashlib import sha256

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.quality import Finding
from rebalancer.domain.money import Currency

Pair = tuple[str, str]
"""Base and quoted currency of an exchange rate."""

Steps = tuple[tuple[str, str, bool], ...]
"""Rates that convert a currency to another: base, quoted currency, and whether it is inverted."""

HUNDREDTH = 100.0

_UNITS = {
    "GBX": "GBP",
    "GBp": "GBP",
    "GBPENCE": "GBP",
    "ZAc": "ZAR",
    "ZAC": "ZAR",
    "ILA": "ILS",
    "ILa": "ILS",
    "USX": "USD",
    "USc": "USD",
    "EUc": "EUR",
}
"""Quote units that are hundredths of a currency, by their usual codes."""

_CODES = frozenset(
    re.findall(
        "[A-Z]{3}",
        """
        AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN
        BWP BYN BZD CAD CDF CHF CLP CNH CNY COD COP CRC CUP CVE CZK DJF DKK DOP DZD EEK EGP ERN
        ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR
        ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LTL LVL LYD MAD
        MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN
        PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SKK SLE SOS SRD SSP
        STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV
        WST XAF XCD XOF XPF YER ZAR ZMW ZWG
        """,
    )
)
"""Currencies of ISO 4217, those that the euro replaced since 1999 included."""


@attrs.frozen
class QuoteUnit:
    """Unit in which a price is quoted.

    Attributes:
        code: As the instrument's list states it, such as "USD" or "GBX".
        currency: ISO 4217 code.
        divisor: Units that make one unit of the currency: 100 for pence, 1 for a currency itself.
    """

    code: str
    currency: str
    divisor: float = 1.0


@lru_cache(maxsize=1024)
def quote_unit(code: str) -> QuoteUnit:
    """Return the unit of a code: a currency, or a hundredth of one, such as GBX, GBp, ZAc or ILA.

    Raises:
        InvalidRequest: it is neither.
    """
    if code in _UNITS:
        return QuoteUnit(code, _UNITS[code], HUNDREDTH)
    return QuoteUnit(code, Currency(code).code)


def divide_quotes(prices: Floats, divisors: Floats) -> Floats:
    """Return prices in currencies from prices in quote units, (..., N).

    A price of up to six decimals keeps its digits: 877.18 pence are 8.7718 pounds, where the
    division of binary fractions gives 8.771799999999999.

    Args:
        prices: (..., N) in quote units, NaN where missing.
        divisors: (N,) units that make one unit of the currency.
    """
    divided = prices / divisors
    for column in np.flatnonzero(divisors != 1.0):
        quoted = prices[..., column]
        millionths = np.rint(quoted * _MILLION)
        decimal = (millionths / _MILLION == quoted) & (np.abs(millionths) < _EXACT_INTEGERS)
        exact = millionths / (_MILLION * divisors[column])
        divided[..., column] = np.where(decimal, exact, divided[..., column])
    return divided


_MILLION = 1e6
_EXACT_INTEGERS = 2.0**53
"""Whole numbers below it are exact in float64."""


def rate_currencies(symbol: str) -> tuple[str, str] | None:
    """Return both currencies of the symbol of an exchange rate; None for other symbols.

    ``EURUSD`` is US dollars per euro.
    """
    if len(symbol) != 6:
        return None
    base, quoted = symbol[:3], symbol[3:]
    return (base, quoted) if base in _CODES and quoted in _CODES and base != quoted else None


def is_rate_symbol(symbol: str) -> bool:
    """Return whether a symbol is that of an exchange rate, which cannot be traded."""
    return rate_currencies(symbol) is not None


@attrs.frozen(eq=False)
class RateSeries:
    """Exchange rate over time: units of ``quoted`` per unit of ``base``.

    Attributes:
        days: Shape (T,), strictly increasing, ``datetime64[D]``.
        rates: Shape (T,), > 0.
    """

    base: str
    quoted: str
    days: Dates
    rates: Floats


@attrs.frozen(eq=False)
class ConvertedRates:
    """Rates between two currencies on given days.

    Attributes:
        rates: (T,) units of the target currency per unit of the source; NaN before the first rate.
        days: (T,) day of each rate, NaT before the first: the last known one stands in for days
            without a rate.
    """

    rates: Floats
    days: Dates


@attrs.frozen(eq=False)
class ExchangeRates:
    """Exchange rates of any pairs of currencies, triangulated.

    The path with the fewest rates counts: the pair itself, its inverse, or over one or more other
    currencies. Among paths of the same length the alphabetical order of the currencies decides.

    Attributes:
        series: Rates by base and quoted currency.
        fallback: Rates for pairs that ``series`` do not connect; read only when one is needed.
        version: Text that changes with the series, so that a digest need not read them; None: the
            series themselves count.
        findings: What the check of the rates found; wrong ones are not in the series.
    """

    series: Mapping[Pair, RateSeries] = attrs.field(factory=dict)
    fallback: ExchangeRates | None = None
    version: str | None = None
    findings: tuple[Finding, ...] = ()
    _paths: dict[Pair, Steps | None] = attrs.field(factory=dict, init=False, repr=False)
    _joined: dict[Pair, RateSeries] = attrs.field(factory=dict, init=False, repr=False)

    def __getstate__(self) -> tuple[object, ...]:
        """Return the state for a pickle: series that are read later are read for it."""
        return dict(self.series), self.fallback, self.version, self.findings

    def __setstate__(self, state: tuple[object, ...]) -> None:
        """Restore the state of a pickle."""
        names = ("series", "fallback", "version", "findings", "_paths", "_joined")
        for name, value in zip(names, (*state, {}, {}), strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, series: Iterable[RateSeries], findings: Iterable[Finding] = ()) -> ExchangeRates:
        """Collect series; of the same pair, the first one counts."""
        found: dict[Pair, RateSeries] = {}
        for one in series:
            if len(one.days):
                found.setdefault((one.base, one.quoted), one)
        return cls(found, findings=tuple(findings))

    def with_fallback(self, other: ExchangeRates) -> ExchangeRates:
        """Return these rates, and the other's for pairs that they cannot convert."""
        if other is NO_RATES or other is self:
            return self
        rest = other if self.fallback is None else self.fallback.with_fallback(other)
        return attrs.evolve(self, fallback=rest)

    def path(self, source: str, target: str) -> Steps | None:
        """Return the rates that convert a currency to another: pair, and whether it is inverted.

        None without a path. Empty for equal currencies.
        """
        key = (source, target)
        if key not in self._paths:
            steps = _search(self.series, source, target)
            if steps is None and self.fallback is not None:
                steps = _search(self._with_fallback_series(), source, target)
            self._paths[key] = steps
        return self._paths[key]

    def convert(self, source: str, target: str, days: Dates) -> ConvertedRates | None:
        """Return the rates from a currency to another on days, shape (T,), increasing.

        The last rate at or before a day counts, however old; ``days`` of the result state its day,
        the oldest of the rates that are combined. None if no path of rates connects the currencies.
        """
        steps = self.path(source, target)
        if steps is None:
            return None
        rates, oldest = np.ones(len(days)), np.array(days, dtype="datetime64[D]")
        for base, quoted, inverted in steps:
            one = self.series.get((base, quoted)) or self._with_fallback_series()[base, quoted]
            rows = np.searchsorted(one.days, days, side="right") - 1
            known = np.where(rows >= 0, one.rates[np.maximum(rows, 0)], np.nan)
            when = np.where(rows >= 0, one.days[np.maximum(rows, 0)], np.datetime64("NaT", "D"))
            rates = rates / known if inverted else rates * known
            oldest = np.where(
                np.isnat(when) | np.isnat(oldest),
                np.datetime64("NaT", "D"),
                np.minimum(when, oldest),
            )
        return ConvertedRates(rates, oldest)

    def first_day(self, source: str, target: str) -> date | None:
        """Return the first day with a rate from a currency to another; None without a path."""
        steps = self.path(source, target)
        if not steps:
            return None
        joined = self._with_fallback_series()
        first: date = max(joined[base, quoted].days[0] for base, quoted, _ in steps).item()
        return first

    @property
    def known_series(self) -> tuple[RateSeries, ...]:
        """All series, and those of the fallback for pairs that the own ones do not have."""
        return tuple(self._with_fallback_series().values())

    @property
    def digest(self) -> str:
        """SHA-256 of the rates, the fallback included; equal for equal ones."""
        sha = sha256((self.version or "").encode())
        for pair, series in sorted(self.series.items()) if self.version is None else ():
            sha.update(repr((pair, len(series.days))).encode())
            sha.update(np.ascontiguousarray(series.days.astype("<i8")).tobytes())
            sha.update(np.ascontiguousarray(series.rates.astype("<f8")).tobytes())
        if self.fallback is not None:
            sha.update(self.fallback.digest.encode())
        return sha.hexdigest()

    def _with_fallback_series(self) -> Mapping[Pair, RateSeries]:
        """Return all series; those of the fallback only for pairs that the own ones do not have."""
        if not self._joined:
            rest = {} if self.fallback is None else self.fallback._with_fallback_series()
            own = self.series
            self._joined.update(own)
            self._joined.update(
                {pair: one for pair, one in rest.items() if _search(own, *pair) is None}
            )
        return self._joined


def _search(series: Mapping[Pair, RateSeries], source: str, target: str) -> Steps | None:
    """Return the shortest path of rates, breadth first; neighbours in alphabetical order."""
    if source == target:
        return ()
    links: dict[str, dict[str, tuple[str, str, bool]]] = {}
    for base, quoted in sorted(series):
        links.setdefault(base, {})[quoted] = (base, quoted, False)
        links.setdefault(quoted, {}).setdefault(base, (base, quoted, True))
    seen = {source}
    paths: list[tuple[str, Steps]] = [(source, ())]
    while paths:
        longer = []
        for currency, steps in paths:
            for neighbour in sorted(links.get(currency, {})):
                if neighbour in seen:
                    continue
                seen.add(neighbour)
                extended = (*steps, links[currency][neighbour])
                if neighbour == target:
                    return extended
                longer.append((neighbour, extended))
        paths = longer
    return None


NO_RATES = ExchangeRates()


def missing_rate(
    source: str,
    target: str,
    *,
    field: str = "currency",
    exchange: ExchangeRates | None = None,
) -> InvalidRequest:
    """Return the error for currencies that no exchange rate connects, or none on a day.

    Args:
        source: Currency to convert from.
        target: Currency to convert into.
        field: Field of the request that needs the rate.
        exchange: Rates, of which the first one may be of a later day.
    """
    unit = next((code for code in (source, target) if code in _UNITS), None)
    if unit is not None:
        return InvalidRequest(
            f"{unit} is a quote unit of prices, not a currency; state amounts in {_UNITS[unit]}",
            field=field,
            code="quote_unit",
        )
    first = None if exchange is None else exchange.first_day(source, target)
    if first is not None:
        return InvalidRequest(
            f"the exchange rate from {source} to {target} is not known before {first}; choose a "
            "later day, or import earlier rates",
            field=field,
            code="no_exchange_rate",
        )
    return InvalidRequest(
        f"no exchange rate from {source} to {target} is known; import {source}{target} or "
        f"{target}{source}, or rates of both to a third currency",
        field=field,
        code="no_exchange_rate",
    )


def split_rates(
    symbols: Sequence[str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the symbols of assets, and those of exchange rates, each in the given order."""
    rates = tuple(symbol for symbol in symbols if is_rate_symbol(symbol))
    return tuple(symbol for symbol in symbols if symbol not in rates), rates
