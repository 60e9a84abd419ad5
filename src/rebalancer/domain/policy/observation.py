"""Observation: compute the features and sleeves of an input set for a book of portfolios.

Each figure of `features` has one function here, so a policy pays only for what it observes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, cached_property

import attrs
import numpy as np

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
from rebalancer.domain.market.frequency import ObservationFrequency
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.features import (
    FURTHEST,
    INPUTS_1,
    KNOWN_SLEEVES,
    LATELY,
    LONGEST,
    TREND_WINDOW,
    YEAR,
    Feature,
    InputSet,
    Sleeve,
)
from rebalancer.domain.policy.formulas import Allocation
from rebalancer.domain.policy.rules import POLICIES
from rebalancer.domain.portfolio.book import Book

_UNMOVED = 1e-9
"""Daily volatility below this value counts as this value."""

_LEAST_DOWNSIDE = 0.1
"""Least downside semi-deviation, in deviations of the year."""

_ROUNDING = 1e-12

MOST_TURNOVER = 1.5
"""Most turnover of a policy with an allowance, in multiples of the monthly rule's."""

PAUSE = 28
"""Days after a trade during which such a policy does not trade."""

_DAYS_A_YEAR = 365.25


@attrs.frozen(eq=False)
class MarketView:
    """The market at a close, from the point of view of B portfolios' strategic weights.

    Attributes:
        features: (B, M) scaled market features; meaningless in rows that are not ``known``.
        sleeves: (B, S, K) weights; each row sums to at most the strategic sum.
        known: (B,) whether history is long enough and the targets are not all cash.
        volatility: (B,) annual volatility of the strategic mix over 252 days.
        turnover: (B,) one-way turnover of the monthly rule over 252 days; 0 in sets without an
            allowance.
    """

    features: Floats
    sleeves: Floats
    known: Bools
    volatility: Floats
    turnover: Floats


@attrs.frozen(eq=False)
class MarketViews:
    """Cache of market views, for policies that observe the same prices again and again.

    The members of an ensemble see what the ensemble sees. One cache serves one history of prices
    and one model of regimes; nothing limits its size.
    """

    _known: dict[object, MarketView] = attrs.field(factory=dict, init=False)

    def find(
        self, book: Book, market: PriceHistory, regimes: RegimeModel, inputs: InputSet
    ) -> MarketView:
        """Return the view of `market_features`, computed once for each close and targets."""
        seen = (book.assets, book.present, book.targets)
        key = (len(market), market.last_date, inputs, *(each.tobytes() for each in seen))
        if key not in self._known:
            self._known[key] = market_features(book, market, regimes, inputs)
        return self._known[key]


def market_features(
    book: Book, market: PriceHistory, regimes: RegimeModel, inputs: InputSet = INPUTS_1
) -> MarketView:
    """Compute features and sleeves from strategic weights and the closes of the last year.

    A portfolio's features come from the rows on which all of its targets trade; see
    `market.calendars`. Nothing is known from prices that are rarer than daily.
    """
    parts = _split(book, market, inputs)
    if len(parts) == 1:
        return _view(book, parts[0][1], regimes, inputs)
    whole = _nothing_known(book, inputs)
    for rows, history in parts:
        view = _view(book.only(rows), history, regimes, inputs)
        for field in attrs.fields(MarketView):
            getattr(whole, field.name)[rows] = getattr(view, field.name)
    return whole


def portfolio_features(
    book: Book, inputs: InputSet = INPUTS_1, allowed: Floats | None = None
) -> Floats:
    """Compute the scaled features of each portfolio, shape (B, P).

    Args:
        book: The portfolios.
        inputs: Set of the features.
        allowed: (B,) `allowance` of each, in sets that have one.
    """
    standing = _Standing(book, np.full(len(book), np.inf) if allowed is None else allowed)
    raw = np.stack([PORTFOLIO_FIGURES[one.name](standing) for one in inputs.portfolio], axis=1)
    return _scale(raw, inputs.portfolio)


def allowance(book: Book, monthly_turnover: Floats) -> Floats:
    """Return the one-way turnover that a policy may trade today, (B,), a fraction of value.

    It accrues with the time since the last trade, for at most a year, at `MOST_TURNOVER` times
    the turnover a year of the monthly rule. What a trade does not use is lost, so the trades of
    any period stay within what accrues in it. For `PAUSE` days after a trade it is 0, which keeps
    orders few. Without a known trade it is unlimited: the holdings are then bought for the first
    time.

    Args:
        book: The portfolios.
        monthly_turnover: (B,) one-way turnover of the monthly rule in the past year.
    """
    days = (book.as_of - book.traded).astype("timedelta64[D]").astype(np.float64)
    years = np.clip(days / _DAYS_A_YEAR, 0.0, 1.0)
    accrued = np.where(days < PAUSE, 0.0, MOST_TURNOVER * monthly_turnover * years)
    return np.where(np.isnat(book.traded), np.inf, accrued)


def observed_frequency(
    book: Book, market: PriceHistory, inputs: InputSet = INPUTS_1
) -> ObservationFrequency:
    """Return the observation frequency of the features of the only portfolio of a book."""
    ((_, history),) = _split(book, market, inputs)
    return history.frequency


def _split(book: Book, market: PriceHistory, inputs: InputSet) -> list[tuple[Rows, PriceHistory]]:
    targeted = book.present & (book.targets > 0)
    return split_by_calendar(market, book.assets, targeted, inputs.lookback)


def _nothing_known(book: Book, inputs: InputSet) -> MarketView:
    return MarketView(
        features=np.zeros((len(book), len(inputs.market))),
        sleeves=np.zeros((len(book), len(inputs.sleeves), book.assets.shape[1])),
        known=np.zeros(len(book), dtype=bool),
        volatility=np.zeros(len(book)),
        turnover=np.zeros(len(book)),
    )


def _view(book: Book, market: PriceHistory, regimes: RegimeModel, inputs: InputSet) -> MarketView:
    """Compute features and sleeves of portfolios with one calendar, that of the market."""
    if not market.frequency.is_daily:
        return _nothing_known(book, inputs)
    invested = book.targets.sum(axis=1)
    yearly = indicators.volatility(market, market.frequency.rows(YEAR))
    targeted = book.present & (book.targets > 0)
    unknown = np.isnan(yearly[book.assets]) & targeted
    known = (invested > 0) & ~unknown.any(axis=1)
    if not known.any():
        return _nothing_known(book, inputs)
    weights = np.where(known[:, None], book.targets / positive_or_one(invested)[:, None], 0.0)
    mix = _Mix(book, market, regimes, weights, known)
    sleeves = np.stack([mix.sleeve(each) for each in inputs.sleeves], axis=1)
    raw = np.stack([MARKET_FIGURES[one.name](mix) for one in inputs.market], axis=1)
    moved = mix.deviation > _UNMOVED
    # Features of a mix whose price does not move are all 0 after scaling.
    centres = np.array([feature.centre for feature in inputs.market])
    features = _scale(np.where((known & moved)[:, None], raw, centres), inputs.market)
    return MarketView(
        features=features,
        sleeves=sleeves,
        known=known,
        volatility=mix.deviation * np.sqrt(market.frequency.periods_per_year),
        turnover=mix.monthly_turnover() if inputs.has_allowance else np.zeros(len(book)),
    )


@cache
def _allocation(rule: str, parameters: tuple[tuple[str, float], ...]) -> Allocation:
    return POLICIES[rule].build({**POLICIES[rule].parameters, **dict(parameters)})


@attrs.frozen
class _Windows:
    """Look-backs of the features, in returns of the market."""

    month: int
    quarter: int
    half_year: int
    year: int
    average: int
    anchor: int

    @classmethod
    def of(cls, frequency: ObservationFrequency) -> _Windows:
        days = (21, LATELY, 126, YEAR, TREND_WINDOW, LONGEST)
        return cls(*(frequency.rows(each) for each in days))


@attrs.define(eq=False, slots=False)
class _Mix:
    """Figures of the strategic mixes of B portfolios, each computed once, when it is needed.

    Attributes:
        weights: (B, K) strategic weights of the mix, fully invested; 0 where unknown.
        known: (B,) whether history is long enough.
    """

    book: Book
    market: PriceHistory
    regimes: RegimeModel
    weights: Floats
    known: Bools
    _sleeves: dict[str, Floats] = attrs.field(factory=dict, init=False)

    @cached_property
    def windows(self) -> _Windows:
        return _Windows.of(self.market.frequency)

    def sleeve(self, sleeve: Sleeve) -> Floats:
        """Return the weights of a sleeve, (B, K)."""
        if sleeve.name not in self._sleeves:
            allocation = _allocation(sleeve.rule, tuple(sleeve.parameters.items()))
            weights = allocation.weigh(self.book, self.market)[0]
            self._sleeves[sleeve.name] = np.where(self.known[:, None], weights, 0.0)
        return self._sleeves[sleeve.name]

    @cached_property
    def daily(self) -> Floats:
        """(B, T) daily returns over a year."""
        return indicators.mix_returns(
            self.market, self.windows.year, self.weights, self.book.assets, self.book.present
        )

    @cached_property
    def deviation(self) -> Floats:
        """(B,) deviation of the daily returns."""
        return _deviation(self.daily)

    @cached_property
    def year(self) -> Floats:
        """(B,) the same, at least `_UNMOVED`."""
        return np.maximum(self.deviation, _UNMOVED)

    @cached_property
    def annual(self) -> Floats:
        """(B,) annual volatility."""
        volatility: Floats = self.year * np.sqrt(self.market.frequency.periods_per_year)
        return volatility

    @cached_property
    def wealth(self) -> Floats:
        """(B, T) log wealth since the beginning of the year."""
        return np.cumsum(np.log1p(np.maximum(self.daily, -0.99)), axis=1)

    @cached_property
    def yearly(self) -> Floats:
        """(U,) annual volatility of each asset."""
        return indicators.volatility(self.market, self.windows.year)

    @cached_property
    def chances(self) -> Floats:
        """(B, S) probabilities of the regimes."""
        return self.regimes.probabilities(self.daily, self.market.frequency)

    @cached_property
    def gains(self) -> tuple[Floats, Floats, Floats]:
        return _recent_gains(self.book, self.market, self.windows, self.weights)

    def mean(self, of_assets: Floats) -> Floats:
        """Return the strategic mean, (B,), of a figure (U,) of each asset."""
        figures: Floats = (np.nan_to_num(of_assets)[self.book.assets] * self.weights).sum(axis=1)
        return figures

    def spread(self, of_assets: Floats) -> Floats:
        """Return the strategic deviation, (B,), of a figure (U,) of each asset."""
        figures = np.nan_to_num(of_assets)[self.book.assets]
        middle = (figures * self.weights).sum(axis=1, keepdims=True)
        spread: Floats = np.sqrt((self.weights * np.square(figures - middle)).sum(axis=1))
        return spread

    @cached_property
    def level(self) -> Floats:
        """(B,) mean annual volatility of the assets."""
        return np.maximum(self.mean(self.yearly), _UNMOVED)

    def relative_deviation(self, days: int) -> Floats:
        """Return the log, (B,), of a recent deviation over that of the year."""
        recent = np.maximum(_deviation(self.daily[:, -days:]), _UNMOVED)
        relative: Floats = np.log(recent / self.year)
        return relative

    def trend(self, days: int) -> Floats:
        """Return the log return over some days, (B,), in deviations."""
        before = self.wealth[:, -1 - days] if days < self.wealth.shape[1] else 0.0
        risen: Floats = (self.wealth[:, -1] - before) / (self.year * np.sqrt(days))
        return risen

    def correlation(self, days: int) -> Floats:
        """Return the mean correlation, (B,), that the mix's volatility implies."""
        if days not in self._correlations:
            self._correlations[days] = _correlation(self.weights, self.book, self.market, days)
        return self._correlations[days]

    _correlations: dict[int, Floats] = attrs.field(factory=dict, init=False)

    def above(self) -> Floats:
        """Return the strategic share, (B,), of assets above their average close."""
        average = indicators.moving_average(self.market, self.windows.average)
        above = (self.market.last_closes >= average * (1.0 - _ROUNDING)).astype(np.float64)
        return self.mean(above)

    def drawdown(self) -> Floats:
        """Return the fall from the year's peak, (B,), in annual deviations."""
        peak = np.maximum(self.wealth.max(axis=1), 0.0)
        fall: Floats = (peak - self.wealth[:, -1]) / self.annual
        return fall

    def half_year_spread(self) -> Floats:
        """Return the spread, (B,), of the assets' returns over half a year."""
        windows = self.windows
        log_closes = self.market.memo(
            "log closes", lambda: np.log(self.market.closes[-windows.year - 1 :])
        )
        half_year = log_closes[-1] - log_closes[-windows.half_year - 1]
        spread: Floats = self.spread(half_year) / (self.level * np.sqrt(0.5))
        return spread

    def saved(self, sleeve: Sleeve) -> Floats:
        """Return the log, (B,), of a sleeve's volatility over that of the strategic mix."""
        shares = np.where(self.weights > 0, self.sleeve(sleeve), 0.0)
        risk = indicators.mix_volatility(
            shares / np.maximum(shares.sum(axis=1), _UNMOVED)[:, None],
            self.book.assets,
            np.nan_to_num(indicators.covariance(self.market, self.windows.year)),
        )
        saved: Floats = np.log(np.maximum(risk, _UNMOVED) / self.annual)
        return saved

    def downside(self, days: int) -> Floats:
        """Return the log, (B,), of a recent downside semi-deviation over the year's deviation."""
        losses = np.minimum(self.daily[:, -days:], 0.0)
        recent = np.sqrt(2.0 * np.square(losses).mean(axis=1))
        relative: Floats = np.log(np.maximum(recent / self.year, _LEAST_DOWNSIDE))
        return relative

    def anchored(self) -> Floats:
        """Return the mean log, (B,), of the assets' volatility over that of up to five years."""
        most = self.windows.anchor

        def compute() -> Floats:
            returns = self.market.returns(most)
            with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # an asset without closes
                spread: Floats = np.nanstd(returns, axis=0, ddof=1)
                anchor = spread * np.sqrt(self.market.frequency.periods_per_year)
                relative: Floats = np.log(
                    np.maximum(self.yearly, _UNMOVED) / np.maximum(anchor, _UNMOVED)
                )
            return relative

        return self.mean(self.market.memo(("volatility's anchor", most), compute))

    def monthly_turnover(self) -> Floats:
        """Return the one-way turnover of the monthly rule over the last year, (B,).

        It is estimated from 12 months of equal length, each of which begins at the targets.
        """
        month, targets = self.windows.month, self.book.targets

        def compute() -> Floats:
            closes = self.market.closes[-12 * month - 1 :: month]
            return np.nan_to_num(closes[1:] / closes[:-1], nan=1.0)

        cash = 1.0 - targets.sum(axis=1)
        total = np.zeros(len(targets))
        for growth in self.market.memo(("growth by month", month), compute):
            grown = targets * growth[self.book.assets]
            after = cash + grown.sum(axis=1)
            total += one_way_distance(grown / positive_or_one(after)[:, None] - targets)
        return np.where(self.known, total, 0.0)

    def lately(self, place: int) -> Floats:
        """Return last quarter's gain of a sleeve, (B,), in deviations."""
        gained: Floats = self.gains[place] / (self.year * np.sqrt(self.windows.quarter))
        return gained


MARKET_FIGURES: dict[str, Callable[[_Mix], Floats]] = {
    "month's volatility": lambda mix: mix.relative_deviation(mix.windows.month),
    "quarter's volatility": lambda mix: mix.relative_deviation(mix.windows.quarter),
    "volatility": lambda mix: np.log(mix.annual / 0.15),
    "month's trend": lambda mix: mix.trend(mix.windows.month),
    "quarter's trend": lambda mix: mix.trend(mix.windows.quarter),
    "half-year's trend": lambda mix: mix.trend(mix.windows.half_year),
    "year's trend": lambda mix: mix.trend(mix.windows.year),
    "drawdown": _Mix.drawdown,
    "breadth": _Mix.above,
    "correlation": lambda mix: mix.correlation(mix.windows.year),
    "correlation's rise": lambda mix: (
        mix.correlation(mix.windows.quarter) - mix.correlation(mix.windows.year)
    ),
    "spread of volatilities": lambda mix: mix.spread(mix.yearly) / mix.level,
    "spread of returns": _Mix.half_year_spread,
    "calm": lambda mix: mix.chances[:, 0],
    "stressed": lambda mix: mix.chances[:, -1],
    "risk saved by parity": lambda mix: mix.saved(KNOWN_SLEEVES["risk parity"]),
    "low risk lately": lambda mix: mix.lately(0),
    "momentum lately": lambda mix: mix.lately(1),
    "trend lately": lambda mix: mix.lately(2),
    "quarter's downside": lambda mix: mix.downside(mix.windows.quarter),
    "volatility's anchor": _Mix.anchored,
}
"""Unscaled market features by name, (B,)."""


@attrs.define(eq=False, slots=False)
class _Standing:
    """Figures of B portfolios themselves; ``allowed`` is their `allowance`."""

    book: Book
    allowed: Floats

    @cached_property
    def held(self) -> Floats:
        """(B, K) weights held."""
        total = self.book.total
        return np.where(total[:, None] > 0, self.book.values / positive_or_one(total)[:, None], 0.0)

    @cached_property
    def wanted(self) -> Floats:
        """(B,) strategic share invested."""
        wanted: Floats = self.book.targets.sum(axis=1)
        return wanted

    def weeks(self) -> Floats:
        """Return the weeks since the last trade, (B,); a year if unknown."""
        book = self.book
        days = (book.as_of - book.traded).astype("timedelta64[D]").astype(np.float64)
        return np.where(np.isnat(book.traded), 52.0, np.maximum(days, 0.0) / 7.0)

    def count(self) -> Floats:
        """Return the number of equal targets, (B,), with the same concentration."""
        squares = np.square(self.book.targets).sum(axis=1)
        return np.where(squares > 0, safe_divide(np.square(self.wanted), squares), 1.0)


PORTFOLIO_FIGURES: dict[str, Callable[[_Standing], Floats]] = {
    "invested": lambda one: one.held.sum(axis=1),
    "departure": lambda one: one_way_distance(one.held - one.book.targets),
    "weeks since a trade": lambda one: np.log1p(one.weeks()),
    "cost": lambda one: np.log(np.maximum(one.book.cost_rate, 1e-5) / 1e-3),
    "risk aversion": lambda one: np.log(one.book.risk_aversion / 4.0),
    "number of assets": lambda one: np.log(one.count() / 10.0),
    "strategic cash": lambda one: 1.0 - one.wanted,
    "allowance": lambda one: np.log1p(np.minimum(one.allowed, 1.0) / 0.05),
}
"""Unscaled portfolio features by name, (B,)."""


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
