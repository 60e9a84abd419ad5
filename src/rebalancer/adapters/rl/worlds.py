"""Worlds to learn in: random universes with random targets on real and resampled price paths.

A world is a series of weekly reviews of one portfolio's market: `market_features` and sleeves at
each review, the price changes until the next, and the result of the monthly rule. None of these
depend on the learner's actions, so they are computed once, for thousands of worlds at a time, and
learners use them again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows, Singles
from rebalancer.domain.backtest.step import step
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.features import INPUTS_1, LONGEST, LOOKBACK, InputSet
from rebalancer.domain.policy.observation import market_features
from rebalancer.domain.policy.policy import Decision, Frequency
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import CostSchedule

WEEKS = 104
"""Weekly steps in a world: two years."""

SMALLEST, LARGEST = 4, 30
"""Range of the number of assets in a universe; a small panel gives fewer."""

SLOTS = 32

MEAN_BLOCK = 63
"""Mean length of a resampled block, in days; volatility clusters within a block."""

_SYNTHETIC_ASSETS = 40

_USUAL_SHARPE = 0.45
"""Annual Sharpe ratio of a single asset in long histories of many countries, less survivorship bias
(Dimson, Marsh and Staunton 2002, Triumph of the Optimists)."""

_USUAL_RATE = 0.005
"""Mean annual interest on cash in the simulation; Sharpe ratios measure returns above it."""

_WORLDS_A_PATH = 40
_LARGEST_JUMP = 5.0


@attrs.frozen(eq=False)
class Worlds:
    """M worlds of L steps over K slots, in single precision because of their size.

    Attributes:
        targets: (M, K) strategic weights, rows sum to at most 1.
        present: (M, K) slots in use.
        days: (M, L + 1) review dates.
        growth: (M, L, K) price relatives from one review to the next.
        features: (M, L + 1, market features).
        sleeves: (M, L + 1, S, K).
        volatility: (M, L + 1) annual volatility of the strategic mix over the past year.
        turnover: (M, L + 1) one-way turnover of the monthly rule over the past year.
        monthly: (M, L) return of the monthly rule from one review to the next, before costs.
        monthly_turnover: (M, L) one-way turnover of the monthly rule.
        inputs: The set of the features and sleeves.
    """

    targets: Floats
    present: Bools
    days: Dates
    growth: Singles
    features: Singles
    sleeves: Singles
    volatility: Singles
    turnover: Singles
    monthly: Singles
    monthly_turnover: Singles
    inputs: InputSet = INPUTS_1

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def steps(self) -> int:
        """L, the steps in a world."""
        return int(self.growth.shape[1])

    @classmethod
    def joined(cls, parts: Sequence[Worlds]) -> Worlds:
        """Join several collections of worlds of one input set."""
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in attrs.fields(cls)
                if field.name != "inputs"
            },
            inputs=parts[0].inputs,
        )


def resampled(panel: PriceHistory, *, seed: int, rows: int = 1_500) -> PriceHistory:
    """Resample a price path with the risk of a panel, but other returns.

    The stationary bootstrap (Politis and Romano 1994) draws days of all assets together in blocks,
    which preserves correlations and volatility clusters. Then each asset's returns are stretched by
    a random factor around 1. Returns are not preserved: a learner would memorise crashes, and the
    assets of a panel are survivors. So half of the blocks change their sign, and a random mean in
    proportion to risk replaces the mean of all returns.

    Args:
        panel: At least `LOOKBACK` rows; assets without prices throughout are left out.
        seed: Of the resampling.
        rows: Length of the path.

    Raises:
        InvalidRequest: no asset has prices throughout.
    """
    random = np.random.default_rng(seed)
    whole = np.flatnonzero(~np.isnan(panel.closes).any(axis=0))
    if not whole.size:
        raise InvalidRequest(
            "no asset has prices on all days; add a complete column", code="no_complete_prices"
        )
    if whole.size > _SYNTHETIC_ASSETS:
        whole = np.sort(random.choice(whole, _SYNTHETIC_ASSETS, replace=False))
    closes = panel.closes[:, whole]
    returns = closes[1:] / closes[:-1] - 1.0
    count = len(returns)
    returns = returns - returns.mean(axis=0)
    deviation = returns.std(axis=0)
    sharpe = random.normal(_USUAL_SHARPE, 0.1) + random.normal(0.0, 0.1, whole.size)
    drift = sharpe * deviation / np.sqrt(252.0) + _USUAL_RATE / 252.0
    fresh = random.random(rows - 1) < 1.0 / MEAN_BLOCK
    fresh[0] = True
    starts = random.integers(0, count, rows - 1)
    position = np.arange(rows - 1)
    begun = np.maximum.accumulate(np.where(fresh, position, 0))
    drawn = returns[(starts[begun] + position - begun) % count]
    turned = (random.random(rows - 1) < 0.5)[begun]
    drawn = np.where(turned[:, None], -drawn, drawn) + drift
    common = np.exp(random.normal(0.0, 0.25))
    stretch = common * np.exp(random.normal(0.0, 0.25, whole.size))
    moves = np.clip(1.0 + drawn * stretch, 1.0 / _LARGEST_JUMP, _LARGEST_JUMP)
    path = np.concatenate([np.ones((1, whole.size)), np.cumprod(moves, axis=0)])
    # Within what may be a price, however long and wild the path.
    path = np.clip(100.0 * path, 1e-6, 1e11)
    days = np.busday_offset(np.datetime64("2000-01-03"), np.arange(rows), roll="forward").astype(
        "datetime64[D]"
    )
    return PriceHistory.of([panel.symbols[column] for column in whole], days, path)


def draw_worlds(
    panels: Sequence[PriceHistory],
    regimes: RegimeModel,
    *,
    count: int,
    seed: int,
    weeks: int = WEEKS,
    synthetic: float = 1.0,
    inputs: InputSet = INPUTS_1,
    progress: Callable[[int], None] = lambda _: None,
) -> Worlds:
    """Draw worlds from panels of prices.

    Args:
        panels: Real prices; each is used equally often.
        regimes: Model of market regimes.
        count: Number of worlds.
        seed: Seed of all draws.
        weeks: Steps in a world.
        synthetic: Share of the worlds whose path is resampled.
        inputs: Features and sleeves to compute.
        progress: Receives the number of worlds drawn since the last call.

    Raises:
        InvalidRequest: a panel is too short for one world.
    """
    random = np.random.default_rng(seed)
    made: list[Worlds] = []
    each = np.diff(np.linspace(0, count, len(panels) + 1).astype(int))
    for number, (panel, share) in enumerate(zip(panels, each, strict=True)):
        rows = _looks(panel)
        if len(rows) < weeks + 2:
            raise InvalidRequest(
                f"a panel with {panel.symbols[0]} has {len(panel)} rows; training needs a year and "
                f"{weeks} weeks more, about {LOOKBACK + 5 * (weeks + 2)} rows",
                field="prices",
                code="prices_too_short",
            )
        paths = [(panel, int(share) - round(share * synthetic))]
        fake = round(share * synthetic)
        several = max(1, fake // _WORLDS_A_PATH)
        for part in range(several):
            size = fake // several + (part < fake % several)
            if size:
                path_seed = int(random.integers(2**31)) + number
                paths.append((resampled(panel, seed=path_seed), size))
        for path, size in paths:
            if size:
                made.append(_on(path, regimes, size, random, weeks, inputs))
                progress(size)
    return Worlds.joined(made)


def _looks(panel: PriceHistory) -> Rows:
    """Return the review dates of a weekly policy with enough history, as rows."""
    rows = np.flatnonzero(Frequency.WEEKLY.reviews(panel.dates))
    return rows[rows >= LOOKBACK - 1]


def _on(
    panel: PriceHistory,
    regimes: RegimeModel,
    count: int,
    random: np.random.Generator,
    weeks: int,
    inputs: InputSet,
) -> Worlds:
    """Draw worlds on one panel."""
    rows = _looks(panel)
    start = random.integers(0, len(rows) - weeks, count)
    # An asset needs a year of prices before the first review.
    known = np.array([np.argmax(~np.isnan(column)) for column in panel.closes.T])
    assets, present = np.zeros((count, SLOTS), dtype=np.intp), np.zeros((count, SLOTS), dtype=bool)
    for world in range(count):
        there = np.flatnonzero(known <= rows[start[world]] - LOOKBACK + 1)
        most = min(LARGEST, len(there))
        least = min(SMALLEST, most)
        if most < 1:
            raise InvalidRequest(
                "no asset has a year of prices at the start; add older prices",
                field="prices",
                code="prices_too_short",
            )
        # Uniform in the logarithm, as small universes are common.
        size = round(np.exp(random.uniform(np.log(least), np.log(most))))
        chosen = random.choice(there, size, replace=False)
        assets[world, :size], present[world, :size] = chosen, True
    targets = _targets(present, random)
    features = np.zeros((count, weeks + 1, len(inputs.market)), dtype=np.float32)
    sleeves = np.zeros((count, weeks + 1, len(inputs.sleeves), SLOTS), dtype=np.float32)
    volatility = np.zeros((count, weeks + 1), dtype=np.float32)
    past_turnover = np.zeros((count, weeks + 1), dtype=np.float32)
    days = panel.dates[rows[start[:, None] + np.arange(weeks + 1)]]
    for look, row in enumerate(rows):
        here = np.flatnonzero((start <= look) & (look <= start + weeks))
        if not here.size:
            continue
        book = _book(assets[here], present[here], targets[here], panel.dates[row])
        market = panel.until(int(row)).since(max(int(row) - LONGEST, 0))
        seen = market_features(book, market, regimes, inputs)
        at = look - start[here]
        features[here, at] = seen.features
        sleeves[here, at] = seen.sleeves
        volatility[here, at] = seen.volatility
        past_turnover[here, at] = seen.turnover
    closes = panel.closes[rows[start[:, None] + np.arange(weeks + 1)]]  # (M, L + 1, U)
    held = np.take_along_axis(closes, assets[:, None, :], axis=2)
    growth = np.where(present[:, None, :], held[:, 1:] / held[:, :-1], 1.0)
    monthly, turnover = _monthly(growth, present, targets, days)
    return Worlds(
        targets=targets,
        present=present,
        days=days,
        growth=growth.astype(np.float32),
        features=features,
        sleeves=sleeves,
        volatility=volatility,
        turnover=past_turnover,
        monthly=monthly.astype(np.float32),
        monthly_turnover=turnover.astype(np.float32),
        inputs=inputs,
    )


def _targets(present: Bools, random: np.random.Generator) -> Floats:
    """Draw strategic weights: half of them equal, a fifth of them with some cash."""
    count = len(present)
    even = present / present.sum(axis=1, keepdims=True)
    drawn = np.where(present, random.gamma(3.0, size=present.shape) + 1e-3, 0.0)
    uneven = drawn / drawn.sum(axis=1, keepdims=True)
    weights = np.where((random.random(count) < 0.5)[:, None], even, uneven)
    cash = np.where(random.random(count) < 0.2, random.uniform(0.0, 0.3, count), 0.0)
    targets: Floats = weights * (1.0 - cash)[:, None]
    return targets


def _book(assets: Rows, present: Bools, targets: Floats, day: np.datetime64) -> Book:
    count = len(targets)
    return Book(
        assets=assets,
        present=present,
        values=np.zeros(targets.shape),
        cash=np.ones(count),
        targets=targets,
        as_of=np.full(count, day),
    )


def _monthly(growth: Floats, present: Bools, targets: Floats, days: Dates) -> tuple[Floats, Floats]:
    """Compute return and turnover of the monthly rule, (M, L), before costs, for each week."""
    count, weeks, _ = growth.shape
    book = _book(np.zeros(present.shape, dtype=np.intp), present, targets, days[0, 0])
    book = attrs.evolve(book, values=targets, cash=1.0 - targets.sum(axis=1), as_of=days[:, 0])
    nothing = np.zeros(1)
    free = CostSchedule(nothing, nothing, nothing, nothing, nothing, nothing + np.inf)
    returns, turnover = np.empty((count, weeks)), np.empty((count, weeks))
    for week in range(weeks):
        before = book.total
        due = Frequency.MONTHLY.due(book.reviewed, book.as_of)
        decision = Decision(targets, due)
        book, done = step(book, decision, free, growth[:, week], 1.0, days[:, week + 1])
        returns[:, week] = book.total / before - 1.0
        turnover[:, week] = done.turnover
    return returns, turnover
