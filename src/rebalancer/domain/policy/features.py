"""Features: the inputs of a learned policy, a fixed number for every portfolio.

`market_features` depend on prices and strategic weights alone, `portfolio_features` also on what is
held. Each feature is centred and scaled to a mean near 0 and a spread near 1, and clipped at
`FURTHEST`. Features depend neither on the order of the assets nor on the unit of prices or money.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import (
    Bools,
    Floats,
    Rows,
    one_way_distance,
    positive_or_one,
    safe_divide,
)
from rebalancer.domain.market import indicators
from rebalancer.domain.market.calendars import split_by_calendar
from rebalancer.domain.market.frequency import TRADING_DAYS, ObservationFrequency
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.rules import POLICIES
from rebalancer.domain.portfolio.book import Book

YEAR = TRADING_DAYS
LOOKBACK = YEAR + 1
"""Daily closes that features need: a year of returns."""

LATELY = 63
"""Trading days of the features of the last quarter."""

FURTHEST = 4.0
"""Features are clipped at plus and minus this value."""

_TREND_WINDOW = 200
_UNMOVED = 1e-9
"""Daily volatility below this value counts as this value."""

_ROUNDING = 1e-12


@attrs.frozen
class Feature:
    """One input of a network.

    Attributes:
        meaning: Definition before scaling, with its unit.
        centre: Subtracted from the raw figure.
        scale: Divisor of the difference; the quotient is clipped at +-`FURTHEST`.
    """

    name: str
    meaning: str
    centre: float
    scale: float
    source: str


_MOREIRA = "Moreira and Muir 2017, Volatility-Managed Portfolios"
_MOSKOWITZ = "Moskowitz, Ooi and Pedersen 2012, Time Series Momentum"
_POLLET = "Pollet and Wilson 2010, Average Correlation and Stock Market Returns"
_HAMILTON = "Hamilton 1989, A New Approach to the Economic Analysis of Nonstationary Time Series"
_GUPTA = "Gupta and Kelly 2019, Factor Momentum Everywhere"
_DYBVIG = "Dybvig and Pezzo 2020, Mean-Variance Portfolio Rebalancing with Transaction Costs"
_TREND_OF_DAYS = "{}-day return divided by its own deviation"

MARKET_FEATURES = (
    Feature("month's volatility", "log of 21-day over 252-day volatility", 0.0, 0.4, _MOREIRA),
    Feature("quarter's volatility", "log of 63-day over 252-day volatility", 0.0, 0.3, _MOREIRA),
    Feature("volatility", "log of 252-day volatility a year over 15%", -0.3, 0.6, _MOREIRA),
    Feature("month's trend", _TREND_OF_DAYS.format(21), 0.3, 1.0, _MOSKOWITZ),
    Feature("quarter's trend", _TREND_OF_DAYS.format(63), 0.4, 1.0, _MOSKOWITZ),
    Feature("half-year's trend", _TREND_OF_DAYS.format(126), 0.5, 1.0, _MOSKOWITZ),
    Feature("year's trend", _TREND_OF_DAYS.format(252), 0.7, 1.0, _MOSKOWITZ),
    Feature(
        "drawdown",
        "fall from the year's peak divided by a year's deviation",
        0.5,
        0.5,
        "Grossman and Zhou 1993, Optimal Investment Strategies for Controlling Drawdowns",
    ),
    Feature(
        "breadth",
        "share of the targets above their 200-day average",
        0.65,
        0.3,
        "Faber 2007, A Quantitative Approach to Tactical Asset Allocation",
    ),
    Feature("correlation", "mean correlation of the targets over 252 days", 0.35, 0.25, _POLLET),
    Feature(
        "correlation's rise", "the same over 63 days, minus the 252-day figure", 0.0, 0.15, _POLLET
    ),
    Feature(
        "spread of volatilities",
        "deviation of the assets' volatilities divided by their mean",
        0.4,
        0.25,
        "Leote de Carvalho, Lu and Moulin 2012, Demystifying Equity Risk-Based Strategies",
    ),
    Feature(
        "spread of returns",
        "deviation of the assets' 126-day returns, each divided by its own deviation",
        0.8,
        0.4,
        "Stivers and Sun 2010, Cross-Sectional Return Dispersion and Time Variation in Premiums",
    ),
    Feature("calm", "probability of the calmest regime", 0.5, 0.35, _HAMILTON),
    Feature("stressed", "probability of the most stressed regime", 0.2, 0.3, _HAMILTON),
    Feature(
        "risk saved by parity",
        "log of the 252-day volatility of risk parity over the targets'",
        -0.4,
        0.4,
        "Maillard, Roncalli and Teiletche 2010, The Properties of Equally Weighted Risk "
        "Contribution Portfolios",
    ),
    Feature(
        "low risk lately",
        "63-day return of the inverse-volatility mix of that time minus the targets', in "
        "deviations",
        0.0,
        0.4,
        _GUPTA,
    ),
    Feature(
        "momentum lately",
        "63-day return of last year's winners at that time minus the targets', in deviations",
        0.0,
        0.6,
        _GUPTA,
    ),
    Feature(
        "trend lately",
        "63-day return saved by holding cash instead of assets below their average at that time, "
        "in deviations",
        0.0,
        0.5,
        _GUPTA,
    ),
)
"""Features of the mix of the strategic weights, unless their meaning names another one."""

PORTFOLIO_FEATURES = (
    Feature("invested", "share of the portfolio that is invested", 0.8, 0.2, _DYBVIG),
    Feature(
        "departure", "one-way distance of holdings from the strategic weights", 0.2, 0.2, _DYBVIG
    ),
    Feature("weeks since a trade", "log of 1 + weeks; a year if unknown", 1.2, 0.9, _DYBVIG),
    Feature("cost", "log of the trading cost divided by 10 basis points", 0.0, 0.7, _DYBVIG),
    Feature(
        "risk aversion",
        "log of relative risk aversion divided by 4",
        0.0,
        0.5,
        "Merton 1969, Lifetime Portfolio Selection under Uncertainty",
    ),
    Feature(
        "number of assets",
        "log of 1 / sum of squared targets, divided by 10",
        0.0,
        0.6,
        "Woerheide and Persson 1993, An Index of Portfolio Diversification",
    ),
    Feature(
        "strategic cash",
        "share of cash in the targets",
        0.0,
        0.2,
        "Merton 1969, Lifetime Portfolio Selection under Uncertainty",
    ),
)
"""Features of the portfolio, its costs and its owner."""

FEATURES = MARKET_FEATURES + PORTFOLIO_FEATURES

_COLUMNS = {feature.name: column for column, feature in enumerate(FEATURES)}


@attrs.frozen
class Sleeve:
    """An allocation that a learned policy mixes with the strategic weights.

    Attributes:
        parameters: Parameters that differ from the rule's defaults.
        most: Largest part of a mix. Sleeves that turn a portfolio over many times a year get only a
            small part.
    """

    name: str
    rule: str
    parameters: dict[str, float] = attrs.field(factory=dict)
    most: float = 1.0


SLEEVES = (
    Sleeve("inverse volatility", "inverse_volatility", {"window": 126}),
    Sleeve("risk parity", "risk_parity", {"window": YEAR}),
    Sleeve("momentum", "momentum", most=0.15),
    Sleeve("trend", "trend", {"window": _TREND_WINDOW}, most=0.15),
)

RISK_PARITY = [sleeve.name for sleeve in SLEEVES].index("risk parity")
"""Position of risk parity among the sleeves."""

_ALLOCATIONS = tuple(
    POLICIES[sleeve.rule].build({**POLICIES[sleeve.rule].parameters, **sleeve.parameters})
    for sleeve in SLEEVES
)


@attrs.frozen(eq=False)
class MarketView:
    """The market at a close, from the point of view of B portfolios' strategic weights.

    Attributes:
        features: (B, `MARKET_FEATURES`) scaled; meaningless in rows that are not ``known``.
        sleeves: (B, `SLEEVES`, K) weights; each row sums to at most the strategic sum.
        known: (B,) whether history is long enough and the targets are not all cash.
        volatility: (B,) annual volatility of the strategic mix over 252 days.
    """

    features: Floats
    sleeves: Floats
    known: Bools
    volatility: Floats


def unscaled(features: NDArray[np.floating[Any]], name: str) -> NDArray[np.floating[Any]]:
    """Return the figure behind one scaled feature; ``features`` are the first N, (..., N)."""
    column = _COLUMNS[name]
    figure: NDArray[np.floating[Any]] = (
        features[..., column] * FEATURES[column].scale + FEATURES[column].centre
    )
    return figure


def market_features(book: Book, market: PriceHistory, regimes: RegimeModel) -> MarketView:
    """Compute features and sleeves from strategic weights and the closes of the last year.

    A portfolio's features come from the rows on which all of its targets trade; see
    `market.calendars`. Nothing is known from prices that are rarer than daily.
    """
    parts = _split(book, market)
    if len(parts) == 1:
        return _view(book, parts[0][1], regimes)
    whole = _nothing_known(book)
    for rows, history in parts:
        view = _view(book.only(rows), history, regimes)
        for field in attrs.fields(MarketView):
            getattr(whole, field.name)[rows] = getattr(view, field.name)
    return whole


def observed_frequency(book: Book, market: PriceHistory) -> ObservationFrequency:
    """Return the observation frequency of the features of the only portfolio of a book."""
    ((_, history),) = _split(book, market)
    return history.frequency


def _split(book: Book, market: PriceHistory) -> list[tuple[Rows, PriceHistory]]:
    targeted = book.present & (book.targets > 0)
    return split_by_calendar(market, book.assets, targeted, LOOKBACK)


def _nothing_known(book: Book) -> MarketView:
    return MarketView(
        features=np.zeros((len(book), len(MARKET_FEATURES))),
        sleeves=np.zeros((len(book), len(SLEEVES), book.assets.shape[1])),
        known=np.zeros(len(book), dtype=bool),
        volatility=np.zeros(len(book)),
    )


@attrs.frozen
class _Windows:
    """Look-backs of the features, in returns of the market."""

    month: int
    quarter: int
    half_year: int
    year: int
    average: int

    @classmethod
    def of(cls, frequency: ObservationFrequency) -> _Windows:
        days = (21, LATELY, 126, YEAR, _TREND_WINDOW)
        return cls(*(frequency.rows(each) for each in days))


def _view(book: Book, market: PriceHistory, regimes: RegimeModel) -> MarketView:
    """Compute features and sleeves of portfolios with one calendar, that of the market."""
    if not market.frequency.is_daily:
        return _nothing_known(book)
    windows = _Windows.of(market.frequency)
    invested = book.targets.sum(axis=1)
    yearly = indicators.volatility(market, windows.year)
    targeted = book.present & (book.targets > 0)
    unknown = np.isnan(yearly[book.assets]) & targeted
    known = (invested > 0) & ~unknown.any(axis=1)
    weights = np.where(known[:, None], book.targets / positive_or_one(invested)[:, None], 0.0)
    if not known.any():
        return _nothing_known(book)
    sleeves = np.stack([each.weigh(book, market)[0] for each in _ALLOCATIONS], axis=1)
    sleeves = np.where(known[:, None, None], sleeves, 0.0)
    daily = indicators.mix_returns(market, windows.year, weights, book.assets, book.present)
    raw = _raw_market_features(book, market, windows, weights, sleeves, daily, regimes)
    deviation = _deviation(daily)
    moved = deviation > _UNMOVED
    features = _scale(np.where((known & moved)[:, None], raw, _CENTRES), MARKET_FEATURES)
    yearly_periods = market.frequency.periods_per_year
    return MarketView(features, sleeves, known, deviation * np.sqrt(yearly_periods))


def portfolio_features(book: Book) -> Floats:
    """Compute the scaled features of each portfolio, shape (B, `PORTFOLIO_FEATURES`)."""
    total = book.total
    held = np.where(total[:, None] > 0, book.values / positive_or_one(total)[:, None], 0.0)
    days = (book.as_of - book.traded).astype("timedelta64[D]").astype(np.float64)
    weeks = np.where(np.isnat(book.traded), 52.0, np.maximum(days, 0.0) / 7.0)
    squares = np.square(book.targets).sum(axis=1)
    wanted = book.targets.sum(axis=1)
    count = np.where(squares > 0, safe_divide(np.square(wanted), squares), 1.0)
    raw = np.stack(
        [
            held.sum(axis=1),
            one_way_distance(held - book.targets),
            np.log1p(weeks),
            np.log(np.maximum(book.cost_rate, 1e-5) / 1e-3),
            np.log(book.risk_aversion / 4.0),
            np.log(count / 10.0),
            1.0 - wanted,
        ],
        axis=1,
    )
    return _scale(raw, PORTFOLIO_FEATURES)


def _raw_market_features(
    book: Book,
    market: PriceHistory,
    windows: _Windows,
    weights: Floats,
    sleeves: Floats,
    daily: Floats,
    regimes: RegimeModel,
) -> Floats:
    """Compute the unscaled market features, shape (B, `MARKET_FEATURES`).

    From strategic weights, fully invested (B, K), the weights of sleeves (B, `SLEEVES`, K) and the
    daily returns of the strategic mixes over a year (B, T).
    """
    assets = book.assets

    def mean(of_assets: Floats) -> Floats:
        """Return the strategic mean, (B,), of a figure (U,) of each asset."""
        figures: Floats = (np.nan_to_num(of_assets)[assets] * weights).sum(axis=1)
        return figures

    def deviation(of_assets: Floats) -> Floats:
        figures = np.nan_to_num(of_assets)[assets]
        middle = (figures * weights).sum(axis=1, keepdims=True)
        spread: Floats = np.sqrt((weights * np.square(figures - middle)).sum(axis=1))
        return spread

    year = np.maximum(_deviation(daily), _UNMOVED)
    wealth = np.cumsum(np.log1p(np.maximum(daily, -0.99)), axis=1)
    peak = np.maximum(wealth.max(axis=1), 0.0)

    def trend(days: int) -> Floats:
        before = wealth[:, -1 - days] if days < wealth.shape[1] else 0.0
        risen: Floats = (wealth[:, -1] - before) / (year * np.sqrt(days))
        return risen

    yearly = indicators.volatility(market, windows.year)
    log_closes = market.memo("log closes", lambda: np.log(market.closes[-windows.year - 1 :]))
    half_year = log_closes[-1] - log_closes[-windows.half_year - 1]
    average = indicators.moving_average(market, windows.average)
    above = (market.last_closes >= average * (1.0 - _ROUNDING)).astype(np.float64)
    level = np.maximum(mean(yearly), _UNMOVED)
    correlation = _correlation(weights, book, market, windows.year)
    chances = regimes.probabilities(daily, market.frequency)
    parity = np.where(weights > 0, sleeves[:, RISK_PARITY], 0.0)
    parity_risk = indicators.mix_volatility(
        parity / np.maximum(parity.sum(axis=1), _UNMOVED)[:, None],
        assets,
        np.nan_to_num(indicators.covariance(market, windows.year)),
    )
    annual = year * np.sqrt(market.frequency.periods_per_year)
    quarter = year * np.sqrt(windows.quarter)
    low_risk, winners, saved = _recent_gains(book, market, windows, weights)
    columns = [
        np.log(np.maximum(_deviation(daily[:, -windows.month :]), _UNMOVED) / year),
        np.log(np.maximum(_deviation(daily[:, -windows.quarter :]), _UNMOVED) / year),
        np.log(annual / 0.15),
        trend(windows.month),
        trend(windows.quarter),
        trend(windows.half_year),
        trend(windows.year),
        (peak - wealth[:, -1]) / annual,
        mean(above),
        correlation,
        _correlation(weights, book, market, windows.quarter) - correlation,
        deviation(yearly) / level,
        deviation(half_year) / (level * np.sqrt(0.5)),
        chances[:, 0],
        chances[:, -1],
        np.log(np.maximum(parity_risk, _UNMOVED) / annual),
        low_risk / quarter,
        winners / quarter,
        saved / quarter,
    ]
    return np.stack(columns, axis=1)


def _recent_gains(
    book: Book, market: PriceHistory, windows: _Windows, weights: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return last quarter's log returns, (B,), of three sleeves less the strategic mix.

    The sleeves are inverse volatility, momentum and trend, weighted by what was known a quarter
    ago.
    """

    def known_then() -> tuple[Floats, Floats, Floats, Floats]:
        closes = market.closes[-windows.year - 1 :]
        then = closes[: len(closes) - windows.quarter]
        half_year = windows.half_year
        returns = then[-half_year:] / then[-half_year - 1 : -1] - 1.0
        volatility = np.nan_to_num(returns.std(axis=0, ddof=1))
        since = np.nan_to_num(np.log(closes[-1] / then[-1]))
        past = np.nan_to_num(np.log(then[-windows.month - 1] / then[0]))
        above = (then[-1] >= then.mean(axis=0) * (1.0 - _ROUNDING)).astype(np.float64)
        return volatility, since, past, above

    volatility, since, past, above = market.memo("a quarter ago", known_then)
    gained = since[book.assets]
    strategic = (gained * weights).sum(axis=1)
    sigma = volatility[book.assets]
    floor = np.maximum((sigma * weights).sum(axis=1, keepdims=True) * 1e-2, _UNMOVED)
    careful = np.where(weights > 0, 1.0 / np.maximum(sigma, floor), 0.0)
    careful /= np.maximum(careful.sum(axis=1, keepdims=True), _UNMOVED)
    best = past[book.assets]
    middle = (best * weights).sum(axis=1, keepdims=True)
    spread = np.sqrt((weights * np.square(best - middle)).sum(axis=1, keepdims=True))
    score = np.clip((best - middle) / np.maximum(spread, _UNMOVED), -1.0, 1.0)
    winning = weights * (1.0 + score)
    winning /= np.maximum(winning.sum(axis=1, keepdims=True), _UNMOVED)
    return (
        (gained * careful).sum(axis=1) - strategic,
        (gained * winning).sum(axis=1) - strategic,
        -(gained * weights * (1.0 - above[book.assets])).sum(axis=1),
    )


def _correlation(weights: Floats, book: Book, market: PriceHistory, days: int) -> Floats:
    """Return the mean correlation, (B,), that a mix's volatility implies, weighted by risk.

    It is 0 for a mix of one asset.
    """
    table = np.nan_to_num(indicators.covariance(market, days))
    variance = table.diagonal()[book.assets]
    alone = (np.square(weights) * variance).sum(axis=1)
    summed = np.square((weights * np.sqrt(np.maximum(variance, 0.0))).sum(axis=1))
    pairs = summed - alone
    mixed = np.square(indicators.mix_volatility(weights, book.assets, table))
    several = pairs > 1e-9 * np.maximum(summed, 1e-30)
    implied = (mixed - alone) / np.where(several, pairs, 1.0)
    return np.where(several, np.clip(implied, -1.0, 1.0), 0.0)


def _deviation(daily: Floats) -> Floats:
    """Return the sample deviation, (B,), of (B, T) daily returns."""
    spread: Floats = np.ascontiguousarray(daily).std(axis=1, ddof=1)
    return spread


def _scale(raw: Floats, features: tuple[Feature, ...]) -> Floats:
    centre = np.array([feature.centre for feature in features])
    scale = np.array([feature.scale for feature in features])
    scaled: Floats = np.clip((raw - centre) / scale, -FURTHEST, FURTHEST)
    return scaled


_CENTRES = np.array([feature.centre for feature in MARKET_FEATURES])
"""Raw features of a mix whose price does not move: all 0 after scaling."""
