"""Builders of objects that many tests need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import attrs
import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from rebalancer.domain.backtest.engine import BacktestSettings
from rebalancer.domain.jobs.job import Job
from rebalancer.domain.market.actions import Actions, CorporateAction
from rebalancer.domain.market.assembly import (
    US_DOLLARS,
    PricingTerms,
    assemble_history,
    quote_history,
)
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.book import Book, Limits
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.lots.sellable import SellableLot
from rebalancer.domain.portfolio.portfolio import Portfolio, Preferences
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from rebalancer.domain.rebalancing.model import RebalanceContext

USD, JPY, EUR = Currency("USD"), Currency("JPY"), Currency("EUR")


def names(count: int) -> tuple[str, ...]:
    """Return the symbols 'A', 'B', ... 'Z', 'A1', 'B1', ..."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return tuple(letters[i % 26] + (str(i // 26) if i >= 26 else "") for i in range(count))


def prices(
    assets: int = 3,
    days: int = 300,
    *,
    seed: int = 0,
    start: date = date(2020, 1, 1),
    volatility: float = 0.01,
    drift: float = 0.0003,
) -> PriceHistory:
    """Return a reproducible random walk of ``assets`` assets over business days."""
    steps = np.random.default_rng(seed).normal(drift, volatility, (days, assets))
    first = np.datetime64(start, "D")
    dates = np.busday_offset(first, np.arange(days), roll="forward")
    return PriceHistory.of(names(assets), dates, 100.0 * np.exp(np.cumsum(steps, axis=0)))


def as_csv(history: PriceHistory, *, blank: Iterable[tuple[int, int]] = ()) -> str:
    """Return a history as the text of a CSV file; cells (row, column) in ``blank`` are empty."""
    empty = set(blank)
    lines = [",".join(("date", *history.symbols))]
    for t, (day, row) in enumerate(zip(history.dates, history.closes.tolist(), strict=True)):
        cells = ["" if x != x or (t, i) in empty else repr(x) for i, x in enumerate(row)]
        lines.append(",".join((str(day), *cells)))
    return "\n".join(lines) + "\n"


def flat_prices(closes: Mapping[str, float], *, days: int = 2) -> PriceHistory:
    """Return constant closes, for examples computed by hand; the last day is 2022-12-30."""
    dates = np.busday_offset(np.datetime64("2022-12-30"), np.arange(1 - days, 1))
    return PriceHistory.of(tuple(closes), dates, np.tile(list(closes.values()), (days, 1)))


def quoted_prices(
    closes: Mapping[str, Sequence[float | None]],
    *,
    start: date = date(2022, 1, 3),
    actions: Iterable[CorporateAction] = (),
    terms: PricingTerms = US_DOLLARS,
) -> PriceHistory:
    """Return closes as traded on each calendar day, with corporate actions and currencies.

    Symbols such as EURUSD are exchange rates.
    """
    table = np.array(list(closes.values()), dtype=np.float64).T
    dates = np.datetime64(start, "D") + np.arange(len(table))
    found = assemble_history(tuple(closes), dates, table, terms, actions=Actions.of(actions))
    assert found is not None
    return found


def varied_prices(*, seed: int = 0, days: int = 300) -> PriceHistory:
    """Return ten assets, A to J, from a penny share to one that exceeds most portfolios' value.

    A to H are partly correlated, with volatilities of 2% to 45% a year; I hedges them; J was listed
    40 days ago. The last day is 2022-12-30, closes have at most four decimals.
    """
    dice = np.random.default_rng(seed)
    levels = np.array([0.0137, 1.0, 7.77, 25.0, 99.99, 100.0, 312.5, 543_210.0, 50.0, 10.0])
    yearly = np.array([0.45, 0.02, 0.30, 0.20, 0.16, 0.16, 0.25, 0.18, 0.15, 0.35])
    loading = np.array([0.6, 0.1, 0.6, 0.6, 0.8, 0.8, 0.5, 0.7, -0.7, 0.4])
    together = dice.normal(size=(days, 1))
    alone = dice.normal(size=(days, 10))
    moves = (loading * together + np.sqrt(1 - loading**2) * alone) * yearly / np.sqrt(252)
    path = np.cumsum(moves + 0.0002, axis=0)
    closes = np.round(levels * np.exp(path - path[-1]), 4)
    closes[:-40, 9] = np.nan
    dates = np.busday_offset(np.datetime64("2022-12-30"), np.arange(1 - days, 1))
    return PriceHistory.of(names(10), dates, closes)


CLASSES = Instruments.of(
    Instrument(symbol, asset_class=asset_class)
    for symbol, asset_class in {
        "A": AssetClass.EQUITY,
        "B": AssetClass.MONEY_MARKET,
        "C": AssetClass.EQUITY,
        "D": AssetClass.COMMODITY,
        "E": AssetClass.EQUITY,
        "F": AssetClass.BOND,
        "I": AssetClass.GOLD,
    }.items()
)
"""Classes of the assets of `varied_prices`; those of G, H and J are unknown."""


CURRENCIES = {
    "A": "EUR",
    "B": "USD",
    "C": "USD",
    "D": "JPY",
    "E": "GBX",
    "F": "EUR",
    "G": "JPY",
    "H": "USD",
    "I": "GBX",
    "J": "KWD",
}
RATES = {"EURUSD": 1.085, "EURJPY": 162.35, "EURGBP": 0.8555, "EURKWD": 0.3331}


def foreign_prices(closes: PriceHistory, *, currency: str = "EUR") -> PriceHistory:
    """Return the prices of `varied_prices` quoted in several currencies, at constant rates."""
    rates = np.tile(list(RATES.values()), (len(closes), 1))
    together = PriceHistory.of(
        (*closes.symbols, *RATES), closes.dates, np.hstack([closes.closes, rates])
    )
    listed = Instruments.of(
        Instrument(symbol, currency=CURRENCIES[symbol]) for symbol in CURRENCIES
    )
    return quote_history(together, PricingTerms(currency, listed))


def a_context(
    market: PriceHistory,
    rule: str = "monthly",
    *,
    costs: CostModel | float = 10.0,
    instruments: Instruments = CLASSES,
    currency: str = "USD",
) -> RebalanceContext:
    """What proposals follow from; costs in basis points or as a model."""
    model = costs if isinstance(costs, CostModel) else CostModel.flat(costs)
    return RebalanceContext(parse_rule(rule), market, instruments, model, currency)


def a_portfolio(
    holdings: Mapping[str, object] | None = None,
    targets: Mapping[str, float] | None = None,
    *,
    cash: object = 0,
    flow: object = 0,
    id: str = "P",
    currency: Currency = USD,
    last_rebalance: date | None = None,
    profile: str | None = None,
    lots: Mapping[str, Sequence[tuple[object, object]]] | None = None,
    gain_this_year: object = 0,
    **preferences: Any,
) -> Portfolio:
    """Build a portfolio; amounts and quantities as text or numbers, preferences by name.

    Lots are pairs of units and cost; a cost of None is unknown.
    """
    amounts = ("quantity_step", "min_trade", "cash_reserve")
    for name in (*amounts, "max_realised_gain", "max_realised_gain_year"):
        if preferences.get(name) is not None:
            preferences[name] = Decimal(str(preferences[name]))
    for name in ("do_not_sell", "do_not_buy"):
        if name in preferences:
            preferences[name] = frozenset(preferences[name])
    return Portfolio(
        id=id,
        currency=currency,
        cash=Decimal(str(cash)),
        holdings={symbol: Decimal(str(held)) for symbol, held in (holdings or {}).items()},
        targets=dict(targets or {}),
        risk_profile=RISK_PROFILES[profile] if profile else None,
        cash_flow=Decimal(str(flow)),
        last_rebalance=last_rebalance,
        preferences=Preferences(**preferences),
        lots=None if lots is None else {symbol: _lots(each) for symbol, each in lots.items()},
        gain_this_year=Decimal(str(gain_this_year)),
    )


def _lots(pairs: Sequence[tuple[object, object]]) -> tuple[SellableLot, ...]:
    return tuple(
        SellableLot(Decimal(str(units)), None if cost is None else Decimal(str(cost)))
        for units, cost in pairs
    )


def a_book(
    targets: ArrayLike,
    values: ArrayLike | None = None,
    *,
    market: PriceHistory | None = None,
    cash: ArrayLike = 100.0,
    flow: ArrayLike = 0.0,
    as_of: ArrayLike = "2024-05-15",
    reviewed: ArrayLike = "NaT",
    band: ArrayLike = np.nan,
    limits: Mapping[str, ArrayLike] | None = None,
    **fields: Any,
) -> Book:
    """Build a book of B portfolios over the first K assets of a market.

    Every other argument is one value for all portfolios, or an array of the field's shape.

    Args:
        targets: (B, K) or (K,) strategic weights.
        values: (B, K) or (K,) money held; by default the portfolios hold only cash.
        market: Take ``as_of`` from its last close.
        cash: (B,) money.
        flow: (B,) deposit or withdrawal.
        as_of: (B,) day of the close.
        reviewed: (B,) day of the last review.
        band: (B,) preferred half-width.
        limits: Fields of `Limits` that bind; the others allow everything.
        fields: Further fields of `Book`.
    """
    wanted = np.atleast_2d(np.array(targets, dtype=np.float64))
    held = np.zeros(wanted.shape) if values is None else np.array(values, dtype=np.float64)
    shape = np.broadcast_shapes(wanted.shape, held.shape)
    count, slots = shape

    def filled(value: ArrayLike, shape: tuple[int, ...], kind: str = "float64") -> Any:
        return np.broadcast_to(np.array(value, dtype=kind), shape).copy()

    book = Book(
        **{
            "assets": filled(np.arange(slots), shape, "intp"),
            "present": np.ones(shape, dtype=bool),
            "values": filled(held, shape),
            "cash": filled(cash, (count,)),
            "flow": filled(flow, (count,)),
            "targets": filled(wanted, shape),
            "as_of": filled(
                as_of if market is None else market.dates[-1], (count,), "datetime64[D]"
            ),
            "reviewed": filled(reviewed, (count,), "datetime64[D]"),
            "band": filled(band, (count,)),
            **fields,
        }
    )
    if limits is None:
        return book
    none = attrs.evolve(Limits.none(book), bind=True)
    bounds: dict[str, Any] = {
        name: np.broadcast_to(np.array(value), getattr(none, name).shape)
        for name, value in limits.items()
    }
    return attrs.evolve(book, limits=attrs.evolve(none, **bounds))


def one_of(book: Book, row: int) -> Book:
    """Return the book of one of its portfolios."""
    return book.only(np.array([row]))


def a_job(
    kind: str = "backtest",
    request: Mapping[str, Any] | None = None,
    *,
    owner: UUID | None = None,
    now: datetime | None = None,
    **changes: Any,
) -> Job:
    """Build a queued job, created at ``now`` or at this moment; ``changes`` are fields of `Job`."""
    asked = {"days": 5} if request is None else request
    created = now or datetime.now(UTC)
    return attrs.evolve(Job.new(kind, asked, id=uuid4(), owner=owner, now=created), **changes)


def _rarely(often: Any, rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw a constant in three of four cases, otherwise from ``rare``."""
    return st.integers(0, 3).flatmap(lambda die: rare if die == 3 else st.just(often))


def _shares(draw: st.DrawFn, count: int, total: float) -> list[float]:
    parts = draw(st.lists(st.integers(0, 20), min_size=count, max_size=count))
    whole = max(sum(parts), 1)
    return [part / whole * total for part in parts]


@st.composite
def portfolios(
    draw: st.DrawFn,
    market: PriceHistory,
    *,
    currency: Currency = USD,
    least: int = 1,
    most: int = 6,
) -> Portfolio:
    """Draw portfolios of every shape over a market's assets; a few contradict themselves.

    They are worth 1 to 1e9 and have ``least`` to ``most`` assets, held, targeted or both, with
    deposits and withdrawals up to about their value, debits, locks, reserves, caps, steps and
    profiles.
    """
    symbols = draw(
        st.lists(st.sampled_from(market.symbols), min_size=least, max_size=most, unique=True)
    )
    value = 10.0 ** draw(st.sampled_from([4, 5, 3, 6, 2, 9, 1, 0]))
    digits = -int(currency.minor_unit.as_tuple().exponent)

    def money(amount: float) -> Decimal:
        return Decimal(str(round(amount, digits))).quantize(currency.minor_unit)

    whole = draw(st.booleans())
    if whole:
        step = Decimal(draw(st.sampled_from(["0.0001", "1", "10", "100"])))
    else:
        step = Decimal(draw(st.sampled_from(["0.0001", "0.001", "0.01", "0.5", "0.000001"])))
    cash = draw(st.sampled_from([0.1, 0.0, 0.02, 0.5, 1.0, -0.05, -0.3]))
    weights = _shares(draw, len(symbols), 1.0 - cash)
    grid = Decimal(1) if whole and draw(_rarely(True, st.just(False))) else Decimal("0.000001")
    holdings = {}
    for symbol, weight in zip(symbols, weights, strict=True):
        quantity = weight * value / market.last_closes[market.column(symbol)]
        held = Decimal(repr(float(quantity))).quantize(grid)
        if held or draw(st.integers(0, 3)) == 0:
            holdings[symbol] = held
    if draw(st.integers(0, 3)) == 0:  # nearly at target already
        aims = [max(w + draw(st.sampled_from([0.0, 0.005, -0.03])), 0.0) for w in weights]
        over = max(sum(aims), 1.0)
        aims = [aim / over for aim in aims]
    else:
        total = draw(st.sampled_from([1.0, 0.9, 0.98, 0.5, 0.0]))
        aims = _shares(draw, len(symbols), total)
    targets = {
        symbol: math.floor(aim * 1e6) / 1e6
        for symbol, aim in zip(symbols, aims, strict=True)
        if aim > 0 or symbol not in holdings
    }
    some = st.lists(st.sampled_from(symbols), unique=True).map(frozenset)
    flow = draw(
        _rarely(
            0.0,
            st.sampled_from(
                [0.05, -0.05, 0.5, -0.5, 2.0, -0.9, -0.99, -0.9985, -1.0, -1.2, 1e-4, -1e-4]
            ),
        )
    )
    last = market.last_date
    return Portfolio(
        id=f"P{draw(st.integers(0, 999))}",
        currency=currency,
        cash=money(cash * value),
        holdings=holdings,
        targets=targets,
        risk_profile=draw(_rarely(None, st.sampled_from(list(RISK_PROFILES.values())))),
        cash_flow=money(flow * value),
        last_rebalance=draw(
            st.sampled_from([None, last, last - timedelta(days=40), last - timedelta(days=400)])
        ),
        preferences=Preferences(
            whole_shares=whole,
            quantity_step=step,
            min_trade=money(draw(_rarely(0.0, st.sampled_from([0.001, 0.01, 0.2]))) * value),
            do_not_sell=draw(_rarely(frozenset(), some)),
            do_not_buy=draw(_rarely(frozenset(), some)),
            max_turnover=draw(_rarely(None, st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))),
            cash_reserve=money(
                draw(_rarely(0.0, st.sampled_from([0.01, 0.1, 0.5, 0.999, 1.0, 1.5]))) * value
            ),
            max_weight=draw(_rarely(None, st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.9]))),
            band=draw(_rarely(None, st.sampled_from([0.0, 0.01, 0.1, 1.0]))),
            skip_unprofitable=draw(_rarely(False, st.just(True))),
            max_departure=draw(st.sampled_from([0.2, 1.0, 0.0, 0.05])),
        ),
    )


def backtest_settings(
    history: PriceHistory,
    targets: Sequence[float] | None = None,
    *,
    bps: float = 10.0,
    costs: CostModel | None = None,
    first: int = 0,
    risk_free: float | np.ndarray = 0.0,
    **others: object,
) -> BacktestSettings:
    """Settings of a backtest; equal weights, 10 basis points and cash at 0 by default."""
    count = len(history.symbols)
    return BacktestSettings(
        prices=history,
        first=first,
        targets=np.full(count, 1 / count) if targets is None else np.array(targets),
        costs=costs or CostModel.flat(bps),
        risk_free=np.broadcast_to(np.asarray(risk_free, dtype=float), (len(history),)),
        **others,  # type: ignore[arg-type]
    )
