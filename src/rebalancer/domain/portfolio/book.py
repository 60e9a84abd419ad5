"""Represent portfolios as arrays; a single portfolio is a book of one.

Portfolios hold few of a market's U assets, so a book has B x K slots instead of B x U: each slot
refers to a column of the market, and unused slots are empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows, safe_divide
from rebalancer.domain.errors import InvalidRequest, combine
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import unknown_symbols
from rebalancer.domain.portfolio.book_groups import BookGroups
from rebalancer.domain.portfolio.costs import BASIS_POINT, DEFAULT_BPS
from rebalancer.domain.portfolio.lots.gain_rates import LotGains
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.portfolio.quantities import order_step, sellable_quantity
from rebalancer.domain.portfolio.risk import UNPROFILED_RISK_AVERSION

_LANES, _BLOCK = 8, 128
"""Slots come in multiples of 8, above 128 in 128 times a power of 2. numpy sums a row in eight
lanes, and halves a row longer than 128, so zero slots at its end do not change the sum, and a
portfolio's figures do not depend on the other portfolios, to the last bit."""


@attrs.frozen(eq=False)
class Limits:
    """Constraints of B portfolios over their K slots; infinite or zero where none is set.

    Attributes:
        no_sell: (B, K) assets that are never sold.
        no_buy: (B, K) assets that are never bought.
        reserve: (B,) cash to hold, money.
        max_turnover: (B,) one-way, fraction of value.
        max_departure: (B,) one-way distance of a policy's targets from the strategic ones.
        max_weight: (B,) weight of one asset, fraction of value.
        equity: (B, K) assets under the equity ceiling.
        equity_ceiling: (B,) fraction of value.
        cash_floor: (B,) fraction of value.
        target_volatility: (B,) a year.
        tolerated_drawdown: (B,) fraction of value.
        bind: Whether any of them may bind; False selects the solver's fast path.
        lots: (B,) for each portfolio whose sales prefer losses and small gains, the `LotGains` of
            its slots in order; None for others. None: for none of them.
        groups: Bands and limits of groups; None without any.
    """

    no_sell: Bools
    no_buy: Bools
    reserve: Floats
    max_turnover: Floats
    max_departure: Floats
    max_weight: Floats
    equity: Bools
    equity_ceiling: Floats
    cash_floor: Floats
    target_volatility: Floats
    tolerated_drawdown: Floats
    bind: bool = True
    lots: NDArray[np.object_] | None = None
    groups: BookGroups | None = None

    def __attrs_post_init__(self) -> None:
        if not self.bind and (
            self.no_sell.any()
            or self.groups is not None
            or self.no_buy.any()
            or self.reserve.any()
            or self.cash_floor.any()
            or not all(np.isposinf(getattr(self, name)).all() for name in _CEILINGS)
        ):
            raise ValueError("limits that are set must have bind=True")

    @classmethod
    def none(cls, book: Book) -> Limits:
        """Return limits of a book that constrain nothing."""
        return _no_limits(*book.present.shape)

    def only(self, rows: Rows) -> Limits:
        """Return the limits of some of the portfolios."""
        if not self.bind:
            return _no_limits(len(rows), self.no_sell.shape[1])
        lots = None if self.lots is None else self.lots[rows]
        groups = None if self.groups is None else self.groups.only(rows)
        arrays = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return Limits(**arrays, lots=lots, groups=groups)

    @property
    def profiled(self) -> Bools:
        """(B,) whether a portfolio has a risk profile."""
        return np.isfinite(self.target_volatility)


_ARRAYS = tuple(
    name for name in attrs.fields_dict(Limits) if name not in ("bind", "lots", "groups")
)
_CEILINGS = (
    "max_turnover",
    "max_departure",
    "max_weight",
    "equity_ceiling",
    "target_volatility",
    "tolerated_drawdown",
)


@lru_cache(maxsize=1024)
def _no_limits(portfolios: int, slots: int) -> Limits:
    """Limits that constrain nothing; cached, because books are sliced in inner loops."""
    nowhere = np.broadcast_to(np.False_, (portfolios, slots))
    zero, infinite = np.broadcast_to(0.0, portfolios), np.broadcast_to(np.inf, portfolios)
    return Limits(
        no_sell=nowhere,
        no_buy=nowhere,
        reserve=zero,
        max_turnover=infinite,
        max_departure=infinite,
        max_weight=infinite,
        equity=nowhere,
        equity_ceiling=infinite,
        cash_floor=zero,
        target_volatility=infinite,
        tolerated_drawdown=infinite,
        bind=False,
    )


def _each(value: str | float, kind: str) -> Any:
    """Return a default for a field with one value for each portfolio."""
    return attrs.Factory(
        lambda book: np.full(len(book.cash), value, dtype=kind),
        takes_self=True,
    )


@attrs.frozen(eq=False)
class Book:
    """B portfolios at one close each, before trading.

    Attributes:
        assets: (B, K) column of the market in each slot; 0 in unused ones.
        present: (B, K) whether the slot is used.
        values: (B, K) money held in each slot at the close, 0 in unused ones.
        cash: (B,) money of all currencies in the base currency, before the cash flow.
        flow: (B,) deposit (+) or withdrawal (-) to deal with, money.
        targets: (B, K) strategic weights, rows sum to at most 1.
        as_of: (B,) day of the close.
        reviewed: (B,) day of the last rebalance or review, NaT if unknown.
        band: (B,) preferred half-width for band policies, NaN if not set.
        limits: Constraints; by default none.
        traded: (B,) day of the last trade, NaT if unknown.
        cost_rate: (B,) usual cost of trading, as a share of traded value.
        risk_aversion: (B,) relative, see `RiskProfile`.
    """

    assets: Rows
    present: Bools
    values: Floats
    cash: Floats
    targets: Floats
    as_of: Dates
    flow: Floats = attrs.field(default=_each(0.0, "float64"))
    reviewed: Dates = attrs.field(default=_each("NaT", "datetime64[D]"))
    band: Floats = attrs.field(default=_each(np.nan, "float64"))
    limits: Limits = attrs.field(default=attrs.Factory(Limits.none, takes_self=True))
    traded: Dates = attrs.field(default=_each("NaT", "datetime64[D]"))
    cost_rate: Floats = attrs.field(default=_each(DEFAULT_BPS * BASIS_POINT, "float64"))
    risk_aversion: Floats = attrs.field(default=_each(UNPROFILED_RISK_AVERSION, "float64"))

    def __len__(self) -> int:
        return len(self.cash)

    @property
    def total(self) -> Floats:
        """(B,) portfolio value V: cash, cash flow and holdings before trading."""
        total: Floats = self.cash + self.flow + self.values.sum(axis=1)
        return total

    def weights(self, moved: Floats | float = 0.0) -> Floats:
        """(B, K) weights after moving money between cash and the assets.

        Args:
            moved: (B, K) money bought (+) or sold (-).
        """
        return safe_divide(self.values + moved, self.total[:, None])

    def only(self, rows: Rows) -> Book:
        """Return the book of some of the portfolios.

        It is built field by field, as are books elsewhere: in the inner loops of backtests and
        training, `attrs.evolve` takes longer than the arithmetic.
        """
        return Book(
            assets=self.assets[rows],
            present=self.present[rows],
            values=self.values[rows],
            cash=self.cash[rows],
            flow=self.flow[rows],
            targets=self.targets[rows],
            as_of=self.as_of[rows],
            reviewed=self.reviewed[rows],
            band=self.band[rows],
            limits=self.limits.only(rows),
            traded=self.traded[rows],
            cost_rate=self.cost_rate[rows],
            risk_aversion=self.risk_aversion[rows],
        )

    @classmethod
    def single(cls, columns: int, *, targets: Floats, cash: float, on: np.datetime64) -> Book:
        """Return a book of one, all in cash, over the first ``columns`` assets of a market."""
        return cls(
            assets=np.arange(columns)[None, :],
            present=np.ones((1, columns), dtype=bool),
            values=np.zeros((1, columns)),
            cash=np.array([cash]),
            targets=targets[None, :],
            as_of=np.array([on], dtype="datetime64[D]"),
        )


@attrs.frozen(eq=False)
class OrderRules:
    """Rules for the orders of B portfolios.

    Attributes:
        quantities: (B, K) held.
        prices: (B, K) as-of closes in the base currency, the last ones of withheld assets; 1 in
            unused slots, and where an asset has no price yet.
        step: (B, K) quantity that orders are multiples of.
        sellable: (B, K) quantity that a sale which closes the position sells.
        min_trade: (B,) minimum value of an order, money.
        minor_unit: (B,) smallest amount of money.
        skip_unprofitable: (B,) drop orders whose cost exceeds their benefit.
        risk_aversion: (B,) relative risk aversion.
    """

    quantities: Floats
    prices: Floats
    step: Floats
    sellable: Floats
    min_trade: Floats
    minor_unit: Floats
    skip_unprofitable: Bools
    risk_aversion: Floats


def find_columns(portfolio: Portfolio, market: PriceHistory) -> list[int]:
    """Find the market's column of each of a portfolio's `symbols`.

    A target may lack a price, see `withheld`; a holding needs one, however old, for its value.

    Raises:
        InvalidRequest: a symbol is unknown, or is held and has no price yet; the field names the
            symbol, and whether it is held or targeted. `InvalidFields` if several are.
    """
    priced: dict[str, int] = market.memo("priced columns", lambda: _priced(market))
    try:
        return [priced[symbol] for symbol in portfolio.symbols]
    except KeyError:
        known, holdings = market.columns, portfolio.holdings
        missing = [
            symbol
            for symbol in portfolio.symbols
            if symbol not in known or (symbol not in priced and holdings.get(symbol))
        ]
        if not missing:
            return [known[symbol] for symbol in portfolio.symbols]
        faults = [_missing_price(symbol, portfolio, market) for symbol in missing]
        raise combine(faults) from None


def _missing_price(symbol: str, portfolio: Portfolio, market: PriceHistory) -> InvalidRequest:
    field = f"{'holdings' if symbol in portfolio.holdings else 'targets'}.{symbol}"
    if symbol in market.columns:
        return InvalidRequest(
            f"no price on {market.last_date} or before; add its prices, or choose a day that has "
            "them",
            field=field,
            code="no_price_yet",
        )
    return unknown_symbols([symbol], market.symbols, field=field, named=False)


def _priced(market: PriceHistory) -> dict[str, int]:
    """Return the columns that have a price, by symbol."""
    known = np.isfinite(market.last_prices).tolist()
    return {symbol: column for symbol, column in market.columns.items() if known[column]}


def open_book(
    portfolios: Sequence[Portfolio],
    places: Sequence[Sequence[int]],
    market: PriceHistory,
    instruments: Instruments,
) -> tuple[Book, OrderRules]:
    """Convert portfolios to arrays at the last prices of ``market``, and Decimal to float64.

    Args:
        portfolios: At least one.
        places: For each portfolio, the columns that `find_columns` returns.
        market: Prices up to the as-of close.
        instruments: Asset classes.
    """
    count = len(portfolios)
    widest = max((len(columns) for columns in places), default=1)
    shape = (count, count_slots(widest))
    assets = np.zeros(shape, dtype=np.intp)
    present = np.zeros(shape, dtype=bool)
    quantities = np.zeros(shape)
    targets = np.zeros(shape)
    no_sell = np.zeros(shape, dtype=bool)
    no_buy = np.zeros(shape, dtype=bool)
    for row, (portfolio, columns) in enumerate(zip(portfolios, places, strict=True)):
        used = len(columns)
        symbols = portfolio.symbols
        assets[row, :used] = columns
        present[row, :used] = True
        held, wanted = portfolio.holdings, portfolio.targets
        quantities[row, :used] = [float(held.get(symbol, 0)) for symbol in symbols]
        targets[row, :used] = [wanted.get(symbol, 0.0) for symbol in symbols]
        preferences = portfolio.preferences
        if preferences.do_not_sell:
            no_sell[row, :used] = [symbol in preferences.do_not_sell for symbol in symbols]
        if preferences.do_not_buy:
            no_buy[row, :used] = [symbol in preferences.do_not_buy for symbol in symbols]
    # Targets within the tolerance above 1 mean exactly 1.
    targets /= np.maximum(targets.sum(axis=1), 1.0)[:, None]

    def column(values: list[float]) -> Floats:
        return np.array(values, dtype=np.float64)

    known = np.isfinite(market.last_prices)
    equity = instruments.equity_mask(market.symbols)[assets] & present
    wishes = [portfolio.preferences for portfolio in portfolios]
    profiles = [portfolio.risk_profile for portfolio in portfolios]
    limits = Limits(
        no_sell=no_sell,
        no_buy=no_buy,
        reserve=column([float(portfolio.required_cash) for portfolio in portfolios]),
        max_turnover=column([_or(wish.max_turnover, np.inf) for wish in wishes]),
        max_departure=column([wish.max_departure for wish in wishes]),
        max_weight=column(
            [
                min(_or(wish.max_weight, np.inf), profile.max_weight if profile else np.inf)
                for wish, profile in zip(wishes, profiles, strict=True)
            ]
        ),
        equity=equity,
        equity_ceiling=column([p.equity_ceiling if p else np.inf for p in profiles]),
        cash_floor=column([p.cash_floor if p else 0.0 for p in profiles]),
        target_volatility=column([p.target_volatility if p else np.inf for p in profiles]),
        tolerated_drawdown=column([p.tolerated_drawdown if p else np.inf for p in profiles]),
    )
    prices = np.where(present & known[assets], market.last_prices[assets], 1.0)
    if any(portfolio.lots is not None for portfolio in portfolios):
        limits = attrs.evolve(limits, lots=_lot_gains(portfolios, prices))
    step = np.broadcast_to(column([float(wish.step) for wish in wishes])[:, None], shape)
    sellable = quantities
    stepped = instruments.stepped
    if stepped or not all(wish.sell_remainders for wish in wishes):
        step, sellable = step.copy(), quantities.copy()
        for row, portfolio in enumerate(portfolios):
            for slot, symbol in enumerate(portfolio.symbols):
                if symbol in stepped or not portfolio.preferences.sell_remainders:
                    step[row, slot] = order_step(portfolio, symbol, instruments)
                    sellable[row, slot] = sellable_quantity(portfolio, symbol, instruments)
    risk_aversion = column([p.risk_aversion if p else UNPROFILED_RISK_AVERSION for p in profiles])
    book = Book(
        assets=assets,
        present=present,
        values=quantities * prices,
        cash=column([_cash(portfolio, market) for portfolio in portfolios]),
        flow=column([float(portfolio.cash_flow) for portfolio in portfolios]),
        targets=targets,
        as_of=_days_of_closes(assets, present, market),
        reviewed=np.array([p.last_rebalance for p in portfolios], dtype="datetime64[D]"),
        band=column([_or(wish.band, np.nan) for wish in wishes]),
        limits=limits,
        traded=np.array([p.last_rebalance for p in portfolios], dtype="datetime64[D]"),
        risk_aversion=risk_aversion,
    )
    order_rules = OrderRules(
        quantities=quantities,
        prices=prices,
        step=step,
        sellable=sellable,
        min_trade=column([float(wish.min_trade) for wish in wishes]),
        minor_unit=column([float(portfolio.currency.minor_unit) for portfolio in portfolios]),
        skip_unprofitable=np.array([wish.skip_unprofitable for wish in wishes], dtype=bool),
        risk_aversion=risk_aversion,
    )
    return book, order_rules


def _lot_gains(portfolios: Sequence[Portfolio], prices: Floats) -> NDArray[np.object_]:
    """(B,) the lots of each portfolio's slots at their prices; None without lots."""
    found = np.full(len(portfolios), None, dtype=object)
    for row, portfolio in enumerate(portfolios):
        if portfolio.lots is not None:
            found[row] = tuple(
                LotGains.of(portfolio.lots.get(symbol, ()), price)
                for symbol, price in zip(portfolio.symbols, prices[row].tolist(), strict=False)
            )
    return found


def _days_of_closes(assets: Rows, present: Bools, market: PriceHistory) -> Dates:
    """(B,) day of the last close of any of a portfolio's assets, or the market's last one.

    So a portfolio of shares has no new close at a weekend, although coins have one.
    """
    newest = market.dates[-1]
    own = market.last_own_days
    if market.carried is None or not len(own) or (own == newest).all():
        return np.full(len(assets), newest)
    days = np.where(present & ~np.isnat(own[assets]), own[assets], np.datetime64(0, "D"))
    latest: Dates = days.max(axis=1)
    return np.where(latest > np.datetime64(0, "D"), latest, newest)


def _cash(portfolio: Portfolio, market: PriceHistory) -> float:
    """Return the value of the cash of all currencies, in the base currency."""
    cash = float(portfolio.cash)
    for code, amount in portfolio.foreign_cash.items():
        rate = market.last_rate(code)
        assert rate is not None  # `RebalanceContext.prepare` has checked it
        cash += float(amount) * rate
    return cash


def count_slots(widest: int) -> int:
    """Return the number of slots for a book whose largest portfolio has ``widest`` assets."""
    if widest <= _BLOCK:
        return -(-max(widest, 1) // _LANES) * _LANES
    return _BLOCK << (-(-widest // _BLOCK) - 1).bit_length()


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
