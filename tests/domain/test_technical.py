"""Technical indicators agree with TA-Lib, and never look ahead."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.technical import (
    INDICATORS,
    Series,
    compute_indicators,
    drawdown,
    ewma_volatility,
    parse_indicators,
    value_at_risk,
)

talib = pytest.importorskip("talib")


def bars(rows: int, seed: int) -> Series:
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, rows)))
    high = close * (1 + np.abs(random.normal(0, 0.01, rows)))
    low = close * (1 - np.abs(random.normal(0, 0.01, rows)))
    days = np.datetime64("2020-01-01", "D") + np.arange(rows)
    volume = np.rint(random.uniform(1e3, 1e6, rows))
    market = 50 * np.exp(np.cumsum(random.normal(0, 0.01, rows)))
    return Series(days, close, high, low, volume, market)


ORACLES = {
    "sma:20": lambda s: [talib.SMA(s.close, 20)],
    "sma:1": lambda s: [s.close],
    "ema:20": lambda s: [talib.EMA(s.close, 20)],
    "macd:12:26:9": lambda s: talib.MACD(s.close, 12, 26, 9),
    "macd:5:35:5": lambda s: talib.MACD(s.close, 5, 35, 5),
    "rsi:14": lambda s: [talib.RSI(s.close, 14)],
    "rsi:2": lambda s: [talib.RSI(s.close, 2)],
    "bollinger:20:2": lambda s: talib.BBANDS(s.close, 20, 2.0, 2.0),
    "atr:14": lambda s: [talib.ATR(s.high, s.low, s.close, 14)],
    "adx:14": lambda s: [
        talib.ADX(s.high, s.low, s.close, 14),
        talib.PLUS_DI(s.high, s.low, s.close, 14),
        talib.MINUS_DI(s.high, s.low, s.close, 14),
    ],
    "stochastic:14:3:3": lambda s: talib.STOCH(s.high, s.low, s.close, 14, 3, 0, 3, 0),
    "obv": lambda s: [talib.OBV(s.close, s.volume)],
}


@pytest.mark.parametrize("text", ORACLES)
@pytest.mark.parametrize("rows", [1, 10, 40, 400])
def test_values_are_those_of_the_reference(text, rows):
    series = bars(rows, seed=rows)
    found = compute_indicators(series, parse_indicators(text))
    for values, expected in zip(found.values(), ORACLES[text](series), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9)


@given(rows=st.integers(2, 120), seed=st.integers(0, 99), name=st.sampled_from(sorted(INDICATORS)))
def test_no_value_depends_on_a_later_day(rows, seed, name):
    whole = bars(rows + 20, seed)
    early = Series(
        *(
            None if part is None else part[:rows]
            for part in (
                whole.days,
                whole.close,
                whole.high,
                whole.low,
                whole.volume,
                whole.market,
            )
        )
    )
    text = {"beta": "beta:10", "correlation": "correlation:10", "var": "var:20"}.get(name, name)
    wanted = parse_indicators(text)
    known, later = compute_indicators(early, wanted), compute_indicators(whole, wanted)
    for column, values in known.items():
        np.testing.assert_allclose(later[column][:rows], values, rtol=1e-12, atol=1e-12)


def test_constant_prices_have_neither_strength_nor_risk():
    flat = np.full(300, 42.0)
    days = np.datetime64("2020-01-01", "D") + np.arange(300)
    series = Series(days, flat, flat, flat, flat, flat)
    found = compute_indicators(
        series, parse_indicators("rsi,adx,stochastic,var,drawdown,ewma_volatility,bollinger,beta")
    )
    assert all(
        np.nanmax(np.append(0.0, np.abs(values))) in (0.0, 42.0) for values in found.values()
    )


def test_risk_by_hand():
    close = np.array([100.0, 90.0, 99.0, 99.0])
    np.testing.assert_allclose(drawdown(close), [0.0, 0.1, 0.01, 0.01])
    worst = value_at_risk(close, 3)
    assert worst["var"][3] == pytest.approx(0.1)
    assert worst["cvar"][3] == pytest.approx(0.1)
    logs = np.log([0.9, 1.1])
    expected = np.sqrt(252 * (0.94 * logs[0] ** 2 + 0.06 * logs[1] ** 2))
    assert ewma_volatility(close, 0.94, 252.0)[2] == pytest.approx(expected)


def test_an_asset_moves_with_itself():
    series = bars(300, seed=1)
    same = Series(series.days, series.close, market=series.close)
    found = compute_indicators(same, parse_indicators("beta:50,correlation:50"))
    for values in found.values():
        np.testing.assert_allclose(values[50:], 1.0)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "no indicator is named"),
        ("rsx", "rsx is not an indicator"),
        ("rsi:0", "from 2 to"),
        ("rsi:14.5", "whole number"),
        ("rsi:x", "whole number"),
        ("rsi:14:3", "takes 1 parameter"),
        ("obv:3", "takes no parameters"),
        ("macd:26:12", "shorter than the slow one"),
        ("ewma_volatility:1.5", "from 0 to 1"),
        (",".join(["rsi"] * 21), "at most 20"),
    ],
)
def test_requests_that_cannot_be_read_name_the_remedy(text, fragment):
    with pytest.raises(InvalidRequest, match=fragment):
        parse_indicators(text)


def test_what_prices_lack_is_named():
    series = bars(30, seed=1)
    closes = Series(series.days, series.close)
    with pytest.raises(InvalidRequest, match="needs high and low"):
        compute_indicators(closes, parse_indicators("atr"))
