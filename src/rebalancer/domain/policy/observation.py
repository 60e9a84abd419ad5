"""What a learned policy sees: fixed in size, scale-free, and indifferent to the order of assets.

Whatever a portfolio holds, the same figures describe it: those of the `outlook` follow from prices
and strategic weights alone, and could be known of a portfolio without holdings; those of the
`standing` follow from what is held. Every figure is moved and scaled to lie near 0 with a spread of
about 1, and cut off at `FURTHEST`. None changes when assets are listed in another order, or prices
are quoted in another unit.
"""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.market import indicators
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.rules import POLICIES
from rebalancer.domain.portfolio.book import Book

YEAR = indicators.TRADING_DAYS
LOOKBACK = YEAR + 1
"""Closes without which nothing is seen: a year of returns."""

LATELY = 63
"""Days that "lately" means: a quarter."""

FURTHEST = 4.0
"""Scaled features are cut off here, on both sides."""

_TREND_WINDOW = 200
_UNMOVED = 1e-9
"""Daily volatility below this is none."""

_ROUNDING = 1e-12


@attrs.frozen
class Feature:
    """One figure of an observation.

    Attributes:
        name: What it is called in explanations.
        meaning: What it says, with its unit before scaling.
        centre: Subtracted.
        scale: Divided by; the result is cut off at +-`FURTHEST`.
        source: Where the idea comes from.
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
_LUND = "Gupta and Kelly 2019, Factor Momentum Everywhere"

OUTLOOK = (
    Feature("month's volatility", "log of 21-day over 252-day volatility", 0.0, 0.4, _MOREIRA),
    Feature("quarter's volatility", "log of 63-day over 252-day volatility", 0.0, 0.3, _MOREIRA),
    Feature("volatility", "log of 252-day volatility a year over 15%", -0.3, 0.6, _MOREIRA),
    Feature("month's trend", "21-day return in its own deviations", 0.3, 1.0, _MOSKOWITZ),
    Feature("quarter's trend", "63-day return in its own deviations", 0.4, 1.0, _MOSKOWITZ),
    Feature("half-year's trend", "126-day return in its own deviations", 0.5, 1.0, _MOSKOWITZ),
    Feature("year's trend", "252-day return in its own deviations", 0.7, 1.0, _MOSKOWITZ),
    Feature(
        "drawdown",
        "fall from the year's peak in deviations of a year",
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
    Feature("correlation's rise", "the same over 63 days, less that", 0.0, 0.15, _POLLET),
    Feature(
        "spread of volatilities",
        "deviation of the assets' volatilities over their mean",
        0.4,
        0.25,
        "Leote de Carvalho, Lu and Moulin 2012, Demystifying Equity Risk-Based Strategies",
    ),
    Feature(
        "spread of returns",
        "deviation of the assets' 126-day returns in their own deviations",
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
        "63-day return of inverse volatility, as it was then, less the targets', in deviations",
        0.0,
        0.4,
        _LUND,
    ),
    Feature(
        "momentum lately",
        "63-day return of last year's winners, as they were then, less the targets', in deviations",
        0.0,
        0.6,
        _LUND,
    ),
    Feature(
        "trend lately",
        "63-day return saved by cash for what was below its average then, in deviations",
        0.0,
        0.5,
        _LUND,
    ),
)
"""Figures that follow from prices and strategic weights; of the mix of the strategic weights unless
they say otherwise."""

_DYBVIG = "Dybvig and Pezzo 2020, Mean-Variance Portfolio Rebalancing with Transaction Costs"

STANDING = (
    Feature("invested", "share of the portfolio that is invested", 0.8, 0.2, _DYBVIG),
    Feature(
        "departure", "one-way distance of holdings from the strategic weights", 0.2, 0.2, _DYBVIG
    ),
    Feature(
        "weeks since a trade", "log of 1 + weeks; a year where none is known", 1.2, 0.9, _DYBVIG
    ),
    Feature("cost", "log of what trading costs over 10 basis points", 0.0, 0.7, _DYBVIG),
    Feature(
        "risk aversion",
        "log of relative risk aversion over 4",
        0.0,
        0.5,
        "Merton 1969, Lifetime Portfolio Selection under Uncertainty",
    ),
    Feature("number of assets", "log of 1 / sum of squared targets, over 10", 0.0, 0.6, _DYBVIG),
    Feature("strategic cash", "share of the targets left in cash", 0.0, 0.2, _DYBVIG),
)
"""Figures that follow from what is held, by whom, at what cost."""

FEATURES = OUTLOOK + STANDING


@attrs.frozen
class Sleeve:
    """A way to hold the targeted assets, which a learned policy mixes with the strategic one.

    Attributes:
        name: What it is called in explanations.
        rule: The rule that it is the allocation of.
        parameters: That it is run with, beside the rule's own.
        most: Largest part of a mix that it may be. Those that turn over a portfolio many times a
            year may only be a part.
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

_ALLOCATIONS = tuple(
    POLICIES[sleeve.rule].build({**POLICIES[sleeve.rule].parameters, **sleeve.parameters})
    for sleeve in SLEEVES
)


@attrs.frozen(eq=False)
class Outlook:
    """What prices and strategic weights say to B portfolios at a close.

    Attributes:
        features: (B, `OUTLOOK`) scaled; rows that are not ``known`` mean nothing.
        sleeves: (B, `SLEEVES`, K) weights, each row summing to the strategic sum or less.
        known: (B,) whether there was history enough, and something to hold.
        volatility: (B,) of the strategic mix over 252 days, a year.
    """

    features: Floats
    sleeves: Floats
    known: Bools
    volatility: Floats


def outlook(book: Book, market: PriceHistory, regimes: RegimeModel) -> Outlook:
    """What a learned policy sees of the market, for each portfolio of a book.

    Args:
        book: Portfolios at the market's last close.
        market: Nothing after that close is looked at, nor more than `LOOKBACK` closes.
        regimes: The model behind the regimes' probabilities.
    """
    invested = book.targets.sum(axis=1)
    yearly = indicators.volatility(market, YEAR)
    targeted = book.present & (book.targets > 0)
    unknown = np.isnan(yearly[book.assets]) & targeted
    known = (invested > 0) & ~unknown.any(axis=1)
    weights = np.where(
        known[:, None], book.targets / np.where(invested > 0, invested, 1.0)[:, None], 0.0
    )
    rows, assets = len(book), book.assets
    if not known.any():
        return Outlook(
            features=np.zeros((rows, len(OUTLOOK))),
            sleeves=np.zeros((rows, len(SLEEVES), assets.shape[1])),
            known=known,
            volatility=np.zeros(rows),
        )
    sleeves = np.stack([each.weigh(book, market)[0] for each in _ALLOCATIONS], axis=1)
    sleeves = np.where(known[:, None, None], sleeves, 0.0)
    daily = indicators.mix_returns(market, YEAR, weights, assets, book.present)
    raw = _raw(book, market, weights, sleeves, daily, regimes)
    deviation = _deviation(daily)
    moved = deviation > _UNMOVED
    features = _scaled(np.where((known & moved)[:, None], raw, _NOTHING), OUTLOOK)
    return Outlook(features, sleeves, known, deviation * np.sqrt(YEAR))


def standing(book: Book) -> Floats:
    """What a learned policy sees of each portfolio itself, (B, `STANDING`), scaled."""
    total = book.total
    whole = np.where(total > 0, total, 1.0)
    held = np.where(total[:, None] > 0, book.values / whole[:, None], 0.0)
    invested = held.sum(axis=1)
    moved = held - book.targets
    departure = (np.abs(moved).sum(axis=1) + np.abs(moved.sum(axis=1))) / 2
    days = (book.as_of - book.traded).astype("timedelta64[D]").astype(np.float64)
    weeks = np.where(np.isnat(book.traded), 52.0, np.maximum(days, 0.0) / 7.0)
    spread = np.square(book.targets).sum(axis=1)
    wanted = book.targets.sum(axis=1)
    count = np.where(spread > 0, np.square(wanted) / np.where(spread > 0, spread, 1.0), 1.0)
    raw = np.stack(
        [
            invested,
            departure,
            np.log1p(weeks),
            np.log(np.maximum(book.cost_rate, 1e-5) / 1e-3),
            np.log(book.risk_aversion / 4.0),
            np.log(count / 10.0),
            1.0 - wanted,
        ],
        axis=1,
    )
    return _scaled(raw, STANDING)


def _raw(
    book: Book,
    market: PriceHistory,
    weights: Floats,
    sleeves: Floats,
    daily: Floats,
    regimes: RegimeModel,
) -> Floats:
    """(B, `OUTLOOK`) unscaled features of fully invested mixes whose daily returns are (B, 252)."""
    assets = book.assets

    def mean(of_assets: Floats) -> Floats:
        """(B,) strategic mean of a figure (U,) of each asset."""
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

    yearly = indicators.volatility(market, YEAR)
    log_closes = market.memo("log closes", lambda: np.log(market.closes[-LOOKBACK:]))
    half_year = log_closes[-1] - log_closes[-127]
    average = indicators.moving_average(market, _TREND_WINDOW)
    above = (market.last_closes >= average * (1.0 - _ROUNDING)).astype(np.float64)
    level = np.maximum(mean(yearly), _UNMOVED)
    correlation = _correlation(weights, book, market, YEAR)
    chances = regimes.probabilities(daily)
    own = np.where(weights > 0, sleeves[:, 1], 0.0)
    parity = indicators.mix_volatility(
        own / np.maximum(own.sum(axis=1), _UNMOVED)[:, None],
        assets,
        np.nan_to_num(indicators.covariance(market, YEAR)),
    )
    quarter = year * np.sqrt(LATELY)
    low_risk, winners, saved = _lately(book, market, weights)
    columns = [
        np.log(np.maximum(_deviation(daily[:, -21:]), _UNMOVED) / year),
        np.log(np.maximum(_deviation(daily[:, -63:]), _UNMOVED) / year),
        np.log(year * np.sqrt(YEAR) / 0.15),
        trend(21),
        trend(63),
        trend(126),
        trend(YEAR),
        (peak - wealth[:, -1]) / (year * np.sqrt(YEAR)),
        mean(above),
        correlation,
        _correlation(weights, book, market, LATELY) - correlation,
        deviation(yearly) / level,
        deviation(half_year) / (level * np.sqrt(0.5)),
        chances[:, 0],
        chances[:, -1],
        np.log(np.maximum(parity, _UNMOVED) / (year * np.sqrt(YEAR))),
        low_risk / quarter,
        winners / quarter,
        saved / quarter,
    ]
    return np.stack(columns, axis=1)


def _lately(book: Book, market: PriceHistory, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """(B,) log returns over the last quarter of three sleeves less the strategic, as begun then."""

    def known_then() -> tuple[Floats, Floats, Floats, Floats]:
        closes = market.closes[-LOOKBACK:]
        then = closes[: len(closes) - LATELY]
        returns = then[-126:] / then[-127:-1] - 1.0
        volatility = np.nan_to_num(returns.std(axis=0, ddof=1))
        since = np.nan_to_num(np.log(closes[-1] / then[-1]))
        past = np.nan_to_num(np.log(then[-22] / then[0]))
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
    """(B,) mean correlation, weighted by risk, that a mix's volatility implies; 0 of one asset."""
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
    """(B,) sample deviation of (B, T) daily returns."""
    spread: Floats = np.ascontiguousarray(daily).std(axis=1, ddof=1)
    return spread


def _scaled(raw: Floats, features: tuple[Feature, ...]) -> Floats:
    centre = np.array([feature.centre for feature in features])
    scale = np.array([feature.scale for feature in features])
    scaled: Floats = np.clip((raw - centre) / scale, -FURTHEST, FURTHEST)
    return scaled


_NOTHING = np.array([feature.centre for feature in OUTLOOK])
"""What is seen of a mix that does not move: nothing out of the ordinary."""
