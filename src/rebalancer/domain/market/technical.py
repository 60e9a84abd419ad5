"""Technical indicators and rolling risk of one asset, from its daily bars.

Every value depends on bars up to its own day alone; days before an indicator has enough of them are
NaN. Averages named after Wilder weight a new value by ``1 / period``, exponential ones by
``2 / (period + 1)``; both begin with the mean of the first ``period`` values.

References:
    Wilder, J. W. (1978). New Concepts in Technical Trading Systems: RSI, ATR, ADX.
    Appel, G. (2005). Technical Analysis: Power Tools for Active Investors: MACD.
    Bollinger, J. (2002). Bollinger on Bollinger Bands.
    Lane, G. (1984). Lane's stochastics. Technical Analysis of Stocks and Commodities 2(3).
    Granville, J. (1963). New Key to Stock Market Profits: OBV.
    J.P. Morgan and Reuters (1996). RiskMetrics technical document: EWMA volatility.
    Rockafellar, R. T. and Uryasev, S. (2000). Optimization of conditional value-at-risk: CVaR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.errors import InvalidRequest

LONGEST = 5_000
"""Longest period of an indicator."""

MOST = 20
"""Most indicators in one request."""

TAIL = 0.05
"""Share of the worst days in value at risk and expected shortfall."""


@attrs.frozen(eq=False)
class Series:
    """Daily bars of one asset, adjusted for splits and distributions, oldest first.

    Attributes:
        days: (T,) increasing.
        close: (T,) > 0.
        high, low: (T,) or None.
        volume: (T,) units, or None.
        market: (T,) total-return closes of what beta and correlation compare with, or None.
        periods_per_year: Closes a year.
    """

    days: Dates
    close: Floats
    high: Floats | None = None
    low: Floats | None = None
    volume: Floats | None = None
    market: Floats | None = None
    periods_per_year: float = 252.0


def _smooth(values: Floats, weight: float, kept: float, before: float) -> Floats:
    """Return ``y[t] = weight values[t] + kept y[t-1]``, (T,), where ``before`` is ``y[-1]``.

    scipy.signal takes half a second to import, so it is loaded when it is first needed.
    """
    from scipy.signal import lfilter

    smoothed: Floats
    smoothed, _ = lfilter([weight], [1.0, -kept], values, zi=np.array([kept * before]))
    return smoothed


Columns = dict[str, Floats]
"""Values (T,) by name, NaN where an indicator has too few days yet."""


@attrs.frozen
class Indicator:
    """Indicator that can be asked for by name.

    Attributes:
        title: What it is.
        defaults: Values of its parameters, in order.
        compute: Returns its columns.
        needs: Attributes of `Series` that it needs besides the closes.
        smallest: Least value of each parameter.
    """

    title: str
    defaults: tuple[float, ...]
    compute: Callable[..., Columns]
    needs: tuple[str, ...] = ()
    smallest: tuple[float, ...] = ()


@attrs.frozen
class IndicatorRequest:
    """One indicator with its parameters, as in "rsi:14"."""

    name: str
    parameters: tuple[float, ...]

    @property
    def text(self) -> str:
        """The request as it is written."""
        return ":".join([self.name, *(f"{value:g}" for value in self.parameters)])


def sma(values: Floats, period: int) -> Floats:
    """Return the simple moving average, (T,)."""
    found = np.full(len(values), np.nan)
    if len(values) >= period:
        found[period - 1 :] = sliding_window_view(values, period).mean(axis=1)
    return found


def ema(values: Floats, period: int, *, start: int = 0) -> Floats:
    """Return the exponential moving average, (T,), whose first value is a mean.

    Args:
        values: (T,), NaN at the beginning only.
        period: Days of the first mean.
        start: First row of the first mean.
    """
    return _recursive_mean(values, period, 2.0 / (period + 1.0), start)


def wilder_mean(values: Floats, period: int) -> Floats:
    """Return Wilder's average, (T,); NaN at the beginning of the values is left out."""
    known = np.flatnonzero(~np.isnan(values))
    return _recursive_mean(values, period, 1.0 / period, int(known[0]) if len(known) else 0)


def _recursive_mean(values: Floats, period: int, weight: float, start: int) -> Floats:
    found = np.full(len(values), np.nan)
    first = start + period - 1
    if first >= len(values):
        return found
    found[first] = values[start : first + 1].mean()
    rest = values[first + 1 :]
    if len(rest):
        found[first + 1 :] = _smooth(rest, weight, 1.0 - weight, found[first])
    return found


def rsi(values: Floats, period: int) -> Floats:
    """Return the relative strength index, (T,), in [0, 100]; 0 where nothing moved."""
    changes = np.diff(values, prepend=np.nan)
    gains = wilder_mean(np.where(np.isnan(changes), np.nan, np.maximum(changes, 0.0)), period)
    losses = wilder_mean(np.where(np.isnan(changes), np.nan, np.maximum(-changes, 0.0)), period)
    total = gains + losses
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(total > 0, 100.0 * gains / total, np.where(total == 0, 0.0, total))
    return found


def macd(values: Floats, fast: int, slow: int, signal: int) -> Columns:
    """Return moving average convergence and divergence, its signal, and their difference.

    Both averages begin on the same day: that on which the slow one has its first mean.
    """
    line = ema(values, fast, start=slow - fast) - ema(values, slow)
    smoothed = ema(line, signal, start=slow - 1)
    line[: slow + signal - 2] = np.nan
    return {"macd": line, "macd_signal": smoothed, "macd_histogram": line - smoothed}


def bollinger(values: Floats, period: int, width: float) -> Columns:
    """Return the moving average, and bands of population deviations around it."""
    middle = sma(values, period)
    spread = np.full(len(values), np.nan)
    if len(values) >= period:
        spread[period - 1 :] = sliding_window_view(values, period).std(axis=1)
    return {
        "bollinger_upper": middle + width * spread,
        "bollinger_middle": middle,
        "bollinger_lower": middle - width * spread,
    }


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """Return the largest distance of high, low and the close before, (T,); NaN on the first day."""
    before = np.append(np.nan, close[:-1])
    widest: Floats = np.maximum(high, before) - np.minimum(low, before)
    return widest


def atr(high: Floats, low: Floats, close: Floats, period: int) -> Floats:
    """Return the average true range, (T,), in the unit of the prices."""
    return wilder_mean(true_range(high, low, close), period)


def adx(high: Floats, low: Floats, close: Floats, period: int) -> Columns:
    """Return the average directional index, and both directional indicators, in [0, 100]."""
    up, down = np.diff(high, prepend=np.nan), -np.diff(low, prepend=np.nan)
    with np.errstate(invalid="ignore"):
        plus = np.where((up > down) & (up > 0), up, 0.0)
        minus = np.where((down > up) & (down > 0), down, 0.0)
    ranges = _wilder_sum(true_range(high, low, close), period)
    with np.errstate(invalid="ignore", divide="ignore"):
        plus_index = 100.0 * _wilder_sum(plus, period) / ranges
        minus_index = 100.0 * _wilder_sum(minus, period) / ranges
        total = plus_index + minus_index
        moved = np.where(total > 0, 100.0 * np.abs(plus_index - minus_index) / total, 0.0)
    moved[np.isnan(total)] = np.nan
    return {
        "adx": _recursive_mean(moved, period, 1.0 / period, period),
        "adx_plus": plus_index,
        "adx_minus": minus_index,
    }


def _wilder_sum(values: Floats, period: int) -> Floats:
    """Return Wilder's smoothed sum, (T,): the sum so far less its share, plus the new value."""
    found = np.full(len(values), np.nan)
    if len(values) <= period:
        return found
    first = values[1:period].sum()
    kept = 1.0 - 1.0 / period
    found[period:] = _smooth(values[period:], 1.0, kept, first)
    return found


def stochastic(
    high: Floats, low: Floats, close: Floats, period: int, slowing: int, smoothing: int
) -> Columns:
    """Return the slow stochastic %K and its average %D, in [0, 100]."""
    fast = np.full(len(close), np.nan)
    if len(close) >= period:
        highest = sliding_window_view(high, period).max(axis=1)
        lowest = sliding_window_view(low, period).min(axis=1)
        spread = highest - lowest
        safe = np.where(spread > 0, spread, 1.0)
        place = 100.0 * (close[period - 1 :] - lowest) / safe
        fast[period - 1 :] = np.where(spread > 0, place, 0.0)
    slow = _sma_after_gap(fast, slowing)
    average = _sma_after_gap(slow, smoothing)
    slow = np.where(np.isnan(average), np.nan, slow)
    return {"stochastic_k": slow, "stochastic_d": average}


def _sma_after_gap(values: Floats, period: int) -> Floats:
    """Return the moving average of values that begin with NaN, (T,)."""
    known = np.flatnonzero(~np.isnan(values))
    found = np.full(len(values), np.nan)
    if len(known):
        found[known[0] :] = sma(values[known[0] :], period)
    return found


def obv(close: Floats, volume: Floats) -> Floats:
    """Return on-balance volume, (T,): volume of rising days less that of falling ones."""
    signs = np.sign(np.diff(close, prepend=close[:1]))
    signs[:1] = 1.0
    total: Floats = np.cumsum(signs * volume)
    return total


def ewma_volatility(close: Floats, decay: float, periods_per_year: float) -> Floats:
    """Return annual volatility by exponentially weighted squared returns, (T,).

    ``v[t] = decay v[t-1] + (1 - decay) r[t]^2``, beginning with the first squared return.
    """
    squares = np.diff(np.log(close)) ** 2
    found = np.full(len(close), np.nan)
    if len(squares):
        later = _smooth(squares[1:], 1.0 - decay, decay, squares[0])
        variance = np.append(squares[:1], later)
        found[1:] = np.sqrt(variance * periods_per_year)
    return found


def value_at_risk(close: Floats, period: int) -> Columns:
    """Return the daily loss that 5% of the last days exceed, and the mean of those losses.

    Historical: the quantile of the sample, as a positive fraction of value.
    """
    returns = close[1:] / close[:-1] - 1.0
    risk, shortfall = np.full((2, len(close)), np.nan)
    if len(returns) >= period:
        ordered = np.sort(sliding_window_view(returns, period), axis=1)
        worst = max(1, int(np.ceil(TAIL * period)))
        risk[period:] = -ordered[:, worst - 1]
        shortfall[period:] = -ordered[:, :worst].mean(axis=1)
    return {"var": risk, "cvar": shortfall}


def drawdown(close: Floats) -> Floats:
    """Return the loss from the highest close so far, (T,), a fraction >= 0."""
    lost: Floats = 1.0 - close / np.maximum.accumulate(close)
    return lost


def beta_and_correlation(close: Floats, market: Floats, period: int) -> tuple[Floats, Floats]:
    """Return the slope and the correlation of daily returns against the market's, each (T,)."""
    beta, correlation = np.full((2, len(close)), np.nan)
    own, other = close[1:] / close[:-1] - 1.0, market[1:] / market[:-1] - 1.0
    if len(own) >= period:
        ours = sliding_window_view(own, period)
        theirs = sliding_window_view(other, period)
        ours = ours - ours.mean(axis=1, keepdims=True)
        theirs = theirs - theirs.mean(axis=1, keepdims=True)
        shared = (ours * theirs).sum(axis=1)
        variance, market_variance = (ours**2).sum(axis=1), (theirs**2).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            beta[period:] = np.where(market_variance > 0, shared / market_variance, np.nan)
            both = np.sqrt(variance * market_variance)
            correlation[period:] = np.where(both > 0, shared / both, np.nan)
    return beta, correlation


def _one(name: str, values: Floats) -> Columns:
    return {name: values}


INDICATORS: Mapping[str, Indicator] = {
    "sma": Indicator(
        "simple moving average", (20,), lambda s, n: _one("sma", sma(s.close, n)), smallest=(1,)
    ),
    "ema": Indicator(
        "exponential moving average",
        (20,),
        lambda s, n: _one("ema", ema(s.close, n)),
        smallest=(1,),
    ),
    "macd": Indicator(
        "moving average convergence and divergence",
        (12, 26, 9),
        lambda s, fast, slow, signal: macd(s.close, fast, slow, signal),
        smallest=(2, 2, 1),
    ),
    "rsi": Indicator(
        "relative strength index", (14,), lambda s, n: _one("rsi", rsi(s.close, n)), smallest=(2,)
    ),
    "bollinger": Indicator(
        "Bollinger bands", (20, 2.0), lambda s, n, k: bollinger(s.close, n, k), smallest=(2, 0.1)
    ),
    "atr": Indicator(
        "average true range",
        (14,),
        lambda s, n: _one("atr", atr(s.high, s.low, s.close, n)),
        ("high", "low"),
        (1,),
    ),
    "adx": Indicator(
        "average directional index",
        (14,),
        lambda s, n: adx(s.high, s.low, s.close, n),
        ("high", "low"),
        (2,),
    ),
    "stochastic": Indicator(
        "stochastic oscillator",
        (14, 3, 3),
        lambda s, n, slowing, smoothing: stochastic(s.high, s.low, s.close, n, slowing, smoothing),
        ("high", "low"),
        (1, 1, 1),
    ),
    "obv": Indicator(
        "on-balance volume", (), lambda s: _one("obv", obv(s.close, s.volume)), ("volume",)
    ),
    "ewma_volatility": Indicator(
        "exponentially weighted volatility a year",
        (0.94,),
        lambda s, decay: _one(
            "ewma_volatility", ewma_volatility(s.close, decay, s.periods_per_year)
        ),
        smallest=(0.0,),
    ),
    "beta": Indicator(
        "beta against an equal mix of all assets",
        (252,),
        lambda s, n: _one("beta", beta_and_correlation(s.close, s.market, n)[0]),
        ("market",),
        (2,),
    ),
    "correlation": Indicator(
        "correlation with an equal mix of all assets",
        (252,),
        lambda s, n: _one("correlation", beta_and_correlation(s.close, s.market, n)[1]),
        ("market",),
        (2,),
    ),
    "var": Indicator(
        "value at risk and expected shortfall of a day, 95%",
        (252,),
        lambda s, n: value_at_risk(s.close, n),
        smallest=(2,),
    ),
    "drawdown": Indicator(
        "loss from the highest close", (), lambda s: _one("drawdown", drawdown(s.close))
    ),
}
"""Indicators by name."""

_FRACTIONS = {"ewma_volatility": (0,), "bollinger": (1,)}
"""Parameters that need not be whole numbers, by position."""


def parse_indicators(text: str) -> tuple[IndicatorRequest, ...]:
    """Read a list such as "rsi:14,macd,bollinger:20:2.5".

    Raises:
        InvalidRequest: a name is unknown, or a parameter is outside its range.
    """
    found = []
    for part in (one.strip() for one in text.split(",")):
        if not part:
            continue
        name, *given = part.casefold().split(":")
        if name not in INDICATORS:
            raise InvalidRequest(
                f"{name} is not an indicator; choose some of {', '.join(INDICATORS)}",
                field="indicators",
                code="unknown_indicator",
            )
        found.append(IndicatorRequest(name, _parameters(part, name, given)))
    if not found:
        raise InvalidRequest(
            f"no indicator is named; choose some of {', '.join(INDICATORS)}",
            field="indicators",
            code="unknown_indicator",
        )
    if len(found) > MOST:
        raise InvalidRequest(
            f"{len(found)} indicators are too many; ask for at most {MOST}",
            field="indicators",
            code="too_many_indicators",
        )
    return tuple(found)


def _parameters(part: str, name: str, given: Sequence[str]) -> tuple[float, ...]:
    one = INDICATORS[name]
    if len(given) > len(one.defaults):
        takes = len(one.defaults)
        raise InvalidRequest(
            f"{part}: {name} takes {takes or 'no'} parameter{'' if takes == 1 else 's'}",
            field="indicators",
            code="invalid_indicator",
        )
    values = list(one.defaults)
    for at, text in enumerate(given):
        try:
            values[at] = float(text)
        except ValueError:
            values[at] = float("nan")
    for at, value in enumerate(values):
        whole = at not in _FRACTIONS.get(name, ())
        highest = 1.0 if name == "ewma_volatility" else LONGEST
        least = one.smallest[at] if at < len(one.smallest) else 1
        if not least <= value <= highest or (whole and value != int(value)):
            kind = "a whole number" if whole else "a number"
            raise InvalidRequest(
                f"{part}: parameter {at + 1} of {name} is {kind} from {least:g} to {highest:g}",
                field="indicators",
                code="invalid_indicator",
            )
    if name == "macd" and not values[0] < values[1]:
        raise InvalidRequest(
            f"{part}: the fast average must be shorter than the slow one",
            field="indicators",
            code="invalid_indicator",
        )
    return tuple(
        value if at in _FRACTIONS.get(name, ()) else int(value) for at, value in enumerate(values)
    )


def compute_indicators(series: Series, wanted: Sequence[IndicatorRequest]) -> Columns:
    """Return the columns of indicators, each named by its request, such as "rsi:14".

    An indicator with several columns has theirs after a dot: "macd:12:26:9.macd_signal".

    Raises:
        InvalidRequest: the asset lacks what an indicator needs.
    """
    found: Columns = {}
    for one in wanted:
        indicator = INDICATORS[one.name]
        missing = [name for name in indicator.needs if getattr(series, name) is None]
        if missing:
            raise InvalidRequest(
                f"{one.name} needs {' and '.join(missing)}, which the prices of this asset lack; "
                "import bars with these fields, or choose another indicator",
                field="indicators",
                code="missing_bar_fields",
            )
        columns = indicator.compute(series, *one.parameters)
        for name, values in columns.items():
            found[one.text if len(columns) == 1 else f"{one.text}.{name}"] = values
    return found
