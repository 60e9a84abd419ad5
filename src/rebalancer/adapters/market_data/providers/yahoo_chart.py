"""Read Yahoo's charts: bars as traded, corporate actions and what they state of the asset.

Yahoo's prices are adjusted for splits, its dividends too. Both are multiplied back by the splits
that came later, so that bars are as traded. They are float32 in a longer form; seven significant
digits restore what was quoted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from rebalancer.adapters.market_data.providers.rows import bars_of_columns
from rebalancer.application.ports.providers import Fetched
from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.market.actions import ActionKind, CorporateAction
from rebalancer.domain.market.bars import BAR_FIELDS
from rebalancer.domain.market.instruments import ALWAYS_OPEN, AssetClass, Instrument

_DIGITS = 7
"""Significant digits of a float32."""

_SURE_SPLIT = math.log(1.45)
"""Size of a split whose missing adjustment is certain to be seen in the prices around it."""

_SAME_RATIO = 0.12
"""Difference of logarithms up to which a fall is taken for that of a split."""

MARKETS = {
    "AMS": "XAMS",
    "ASE": "XASE",
    "ASX": "XASX",
    "ATH": "ASEX",
    "BRU": "XBRU",
    "BSE": "XBOM",
    "BTS": "BATS",
    "BUE": "XBUE",
    "CCC": ALWAYS_OPEN,
    "CPH": "XCSE",
    "DUB": "XDUB",
    "EBS": "XSWX",
    "FRA": "XFRA",
    "GER": "XETR",
    "HEL": "XHEL",
    "HKG": "XHKG",
    "IOB": "XLON",
    "ISE": "XDUB",
    "JKT": "XIDX",
    "JNB": "XJSE",
    "JPX": "XTKS",
    "KLS": "XKLS",
    "KSC": "XKRX",
    "LIS": "XLIS",
    "LSE": "XLON",
    "MCE": "XMAD",
    "MEX": "XMEX",
    "MIL": "XMIL",
    "NCM": "XNAS",
    "NGM": "XNAS",
    "NMS": "XNAS",
    "NSI": "XNSE",
    "NYQ": "XNYS",
    "NZE": "XNZE",
    "OSL": "XOSL",
    "PAR": "XPAR",
    "PCX": "ARCX",
    "SAO": "BVMF",
    "SES": "XSES",
    "SHH": "XSHG",
    "SHZ": "XSHE",
    "STO": "XSTO",
    "TAI": "XTAI",
    "TLV": "XTAE",
    "TOR": "XTSE",
    "VIE": "XWBO",
    "WSE": "XWAR",
}
"""ISO 10383 codes by Yahoo's codes of exchanges."""

CLASSES = {
    "EQUITY": AssetClass.EQUITY,
    "CRYPTOCURRENCY": AssetClass.OTHER,
    "FUTURE": AssetClass.COMMODITY,
}


class _Period(msgspec.Struct):
    start: int = 0
    end: int = 0


class _Trading(msgspec.Struct):
    regular: _Period | None = None


class _Meta(msgspec.Struct, rename="camel"):
    currency: str | None = None
    exchange_name: str | None = None
    instrument_type: str | None = None
    gmtoffset: int = 0
    regular_market_price: float | None = None
    regular_market_time: int | None = None
    long_name: str | None = None
    short_name: str | None = None
    current_trading_period: _Trading | None = None


class _Payment(msgspec.Struct):
    date: int
    amount: float


class _Split(msgspec.Struct):
    date: int
    numerator: float
    denominator: float


class _Events(msgspec.Struct, rename="camel"):
    dividends: dict[str, _Payment] = {}
    capital_gains: dict[str, _Payment] = {}
    splits: dict[str, _Split] = {}


class _Quote(msgspec.Struct):
    open: list[float | None] = []
    high: list[float | None] = []
    low: list[float | None] = []
    close: list[float | None] = []
    volume: list[float | None] = []


class _Indicators(msgspec.Struct):
    quote: list[_Quote] = []


class Chart(msgspec.Struct):
    meta: _Meta
    timestamp: list[int] = []
    events: _Events | None = None
    indicators: _Indicators = msgspec.field(default_factory=_Indicators)


class _Error(msgspec.Struct):
    code: str = ""
    description: str = ""


class _Charts(msgspec.Struct):
    result: list[Chart] | None = None
    error: _Error | None = None


class ChartAnswer(msgspec.Struct):
    chart: _Charts


def read_chart(symbol: str, result: Chart, since: date | None, now: datetime) -> Fetched:
    """Return bars as traded, actions and the instrument of a chart."""
    meta, offset = result.meta, np.timedelta64(result.meta.gmtoffset, "s")
    stamps = np.array(result.timestamp, dtype="datetime64[s]")
    days: Dates = (stamps + offset).astype("datetime64[D]")
    prices = result.indicators.quote[0] if result.indicators.quote else _Quote()
    columns = {name: _floats(getattr(prices, name), len(days)) for name in BAR_FIELDS}
    today = (np.datetime64(int(now.timestamp()), "s") + offset).astype("datetime64[D]").item()
    events = result.events or _Events()
    splits = _splits_of(symbol, events, offset, today)
    undone = [one for one in splits if _is_adjusted_for(one, days, columns["close"])]
    factors = np.ones(len(days))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is left out
        for split in undone:
            factors[days < np.datetime64(split.ex_day, "D")] *= float(split.value)
        for name in BAR_FIELDS[:-1]:
            columns[name] = _rounded(columns[name] * factors)
        columns["volume"] = np.rint(columns["volume"] / factors)
    known = ~_still_open(meta, days, now)
    actions = [*splits, *_payments_of(symbol, result, offset, today, undone)]
    if since is not None:
        known &= days >= np.datetime64(since, "D")
        actions = [one for one in actions if one.ex_day >= since]
    bars = bars_of_columns(
        symbol, days[known], {name: values[known] for name, values in columns.items()}
    )
    instrument = Instrument(
        symbol,
        name=meta.long_name or meta.short_name or "",
        asset_class=CLASSES.get(meta.instrument_type or ""),
        currency=meta.currency,
        market=MARKETS.get(meta.exchange_name or ""),
    )
    actions.sort(key=lambda one: (one.ex_day, one.kind))
    return Fetched(bars, tuple(actions), instrument)


def _still_open(meta: _Meta, days: Dates, now: datetime) -> NDArray[np.bool_]:
    """(T,) whether a day's session has not ended; without stated hours it ends with the day."""
    local = np.datetime64(int(now.timestamp()), "s") + np.timedelta64(meta.gmtoffset, "s")
    today = local.astype("datetime64[D]")
    period = meta.current_trading_period
    regular = None if period is None else period.regular
    if regular is not None and regular.end:
        ends = np.datetime64(regular.end, "s") + np.timedelta64(meta.gmtoffset, "s")
        if ends <= local and (ends - np.timedelta64(1, "s")).astype("datetime64[D]") == today:
            today += np.timedelta64(1, "D")
    still: NDArray[np.bool_] = days >= today
    return still


def _splits_of(
    symbol: str, events: _Events, offset: np.timedelta64, today: date
) -> list[CorporateAction]:
    """Return the splits that have happened; those to come may yet be changed."""
    found = [
        CorporateAction(
            symbol,
            _day_of(one.date, offset),
            ActionKind.SPLIT,
            (Decimal(repr(one.numerator)) / Decimal(repr(one.denominator)))
            .quantize(Decimal("1e-9"))
            .normalize(),
        )
        for one in events.splits.values()
        if one.numerator > 0 and one.denominator > 0 and one.numerator != one.denominator
    ]
    return [one for one in found if one.ex_day <= today]


def _is_adjusted_for(split: CorporateAction, days: Dates, close: Floats) -> bool:
    """Return whether Yahoo's prices before a split are adjusted for it.

    For some days after it they may not be: then they fall by the ratio of the split on its day.
    """
    known = np.flatnonzero(np.isfinite(close) & (close > 0))
    at = int(np.searchsorted(days[known], np.datetime64(split.ex_day, "D")))
    ratio = math.log(float(split.value))
    if not 0 < at < len(known) or abs(ratio) < _SURE_SPLIT:
        return True
    fall = math.log(close[known[at - 1]] / close[known[at]])
    return abs(fall - ratio) > _SAME_RATIO


def _payments_of(
    symbol: str,
    result: Chart,
    offset: np.timedelta64,
    today: date,
    undone: Sequence[CorporateAction],
) -> list[CorporateAction]:
    """Return distributions up to today, per share as traded before the ex-day.

    Args:
        symbol: The asset.
        result: The chart.
        offset: Of the market's time from UTC.
        today: Day at the market.
        undone: Splits for which Yahoo's figures are adjusted.
    """
    events = result.events or _Events()
    paid: list[CorporateAction] = []
    for kind, payments in (
        (ActionKind.DIVIDEND, events.dividends),
        (ActionKind.CAPITAL_GAIN, events.capital_gains),
    ):
        for one in payments.values():
            ex_day = _day_of(one.date, offset)
            factor = 1.0
            for split in undone:
                # A distribution counts per share held before the ex-day, also before a split on it.
                factor *= float(split.value) if split.ex_day >= ex_day else 1.0
            amount = float(_rounded(np.array([one.amount * factor]))[0])
            if amount > 0 and ex_day <= today:
                value = Decimal(repr(amount))
                paid.append(CorporateAction(symbol, ex_day, kind, value, result.meta.currency))
    return paid


def _day_of(stamp: int, offset: np.timedelta64) -> date:
    day: date = (np.datetime64(stamp, "s") + offset).astype("datetime64[D]").item()
    return day


def _floats(values: Sequence[float | None], count: int) -> Floats:
    """(T,) numbers, NaN for those that are missing."""
    if len(values) != count:
        return np.full(count, np.nan)
    return np.array(values, dtype=np.float64)


def _rounded(values: Floats) -> Floats:
    """Round to the digits of a float32."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        rounded: Floats = np.where(np.isfinite(scale), np.rint(values * scale) / scale, values)
    return rounded
