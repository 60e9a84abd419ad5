"""Instruments: name, asset class and daily volume of assets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.asset_classes import AssetClass as AssetClass
from rebalancer.domain.market.currencies import quote_unit

ALWAYS_OPEN = "24/7"
"""Market of assets that trade on every day of the week."""

_MIC = re.compile("[A-Z0-9]{4}")


def is_market_code(text: str) -> bool:
    """Return whether a text has the form of an ISO 10383 market code (MIC)."""
    return _MIC.fullmatch(text) is not None


COIN_STEP = Decimal("0.00000001")
"""Smallest quantity of a coin: a hundred-millionth, as of Bitcoin."""


def is_multiple(quantity: Decimal, step: Decimal) -> bool:
    """Return whether a quantity is a whole number of steps."""
    count = quantity / step
    return count == count.to_integral_value()


@attrs.frozen
class Instrument:
    """Asset that can be traded.

    Attributes:
        symbol: Its ticker, unique within a list.
        asset_class: None when unknown, which limits treat as equity.
        daily_volume: Average value traded in a day, in the currency of its price; None when
            unknown: then size causes no slippage.
        quantity_step: Smallest quantity that its market trades, > 0: every order is a multiple of
            it, also one that closes a position. None: as the portfolio prefers.
        lot_size: Whole number of shares that orders are multiples of; closing a position sells an
            odd lot as well. None: no lots.
        currency: Currency or quote unit of its price, such as USD or GBX, see `quote_unit`; None:
            that of the prices.
        market: ISO 10383 code (MIC) of its exchange, or "24/7"; None: its days tell.
    """

    symbol: str
    name: str = ""
    asset_class: AssetClass | None = None
    daily_volume: float | None = attrs.field(default=None)
    quantity_step: Decimal | None = attrs.field(default=None)
    lot_size: Decimal | None = attrs.field(default=None)
    currency: str | None = attrs.field(default=None)
    market: str | None = attrs.field(default=None)

    @currency.validator
    def _check_currency(self, _: object, code: str | None) -> None:
        if code is not None:
            quote_unit(code)

    @market.validator
    def _check_market(self, _: object, code: str | None) -> None:
        if code is not None and code != ALWAYS_OPEN and not is_market_code(code):
            raise InvalidRequest(
                f"{code!r} is not a market of {self.symbol}; enter its ISO 10383 code, such as "
                f"XNYS, or {ALWAYS_OPEN}",
                field="market",
                code="invalid_market",
            )

    @daily_volume.validator
    def _check_volume(self, _: object, volume: float | None) -> None:
        if volume is not None and not (math.isfinite(volume) and volume > 0):
            raise InvalidRequest(
                f"{volume} is not a daily volume of {self.symbol}; enter a positive number or none",
                field="daily_volume",
                code="invalid_daily_volume",
            )

    @quantity_step.validator
    def _check_step(self, _: object, step: Decimal | None) -> None:
        if step is not None and not (step.is_finite() and step > 0):
            raise InvalidRequest(
                f"{step} is not a quantity step of {self.symbol}; enter the smallest quantity that "
                "can be traded, or none",
                field="quantity_step",
                code="invalid_quantity_step",
            )

    @lot_size.validator
    def _check_lot(self, _: object, lot: Decimal | None) -> None:
        if lot is None:
            return
        if not (lot.is_finite() and lot >= 1 and lot == lot.to_integral_value()):
            raise InvalidRequest(
                f"{lot} is not a lot size of {self.symbol}; enter a whole number, or none",
                field="lot_size",
                code="invalid_lot_size",
            )
        if self.quantity_step is not None and not is_multiple(lot, self.quantity_step):
            raise InvalidRequest(
                f"a lot of {lot} {self.symbol} is not a multiple of the quantity step "
                f"{self.quantity_step}; change one of them",
                field="lot_size",
                code="invalid_lot_size",
            )

    @property
    def order_step(self) -> Decimal | None:
        """Quantity that orders are multiples of; None: as the portfolio prefers.

        Coins, whose market never closes, trade in fractions unless a step is stated.
        """
        if self.lot_size is not None:
            return self.lot_size
        if self.quantity_step is None and self.market == ALWAYS_OPEN:
            return COIN_STEP
        return self.quantity_step

    @property
    def counts_as_equity(self) -> bool:
        """Whether an equity limit applies to it."""
        return self.asset_class in (None, AssetClass.EQUITY)


@attrs.frozen
class Instruments:
    """A list of instruments by symbol; an unlisted symbol is an instrument of unknown class."""

    by_symbol: Mapping[str, Instrument] = attrs.field(factory=dict)

    @classmethod
    def of(cls, instruments: Iterable[Instrument]) -> Instruments:
        """Collect instruments.

        Raises:
            InvalidRequest: a symbol occurs twice.
        """
        found: dict[str, Instrument] = {}
        for instrument in instruments:
            if instrument.symbol in found:
                raise InvalidRequest(
                    f"{instrument.symbol} is listed twice; keep one entry",
                    field="assets",
                    code="duplicate_symbol",
                )
            found[instrument.symbol] = instrument
        return cls(found)

    def __getitem__(self, symbol: str) -> Instrument:
        return self.by_symbol.get(symbol) or Instrument(symbol)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self.by_symbol.values())

    @property
    def markets(self) -> frozenset[str]:
        """Codes of the markets that are stated."""
        return frozenset(each.market for each in self if each.market is not None)

    @property
    def stepped(self) -> frozenset[str]:
        """Symbols of the instruments that have a quantity step or a lot size of their own."""
        return frozenset(each.symbol for each in self if each.order_step is not None)

    def equity_mask(self, symbols: Iterable[str]) -> Bools:
        """Return which symbols count as equity, shape (N,)."""
        known = map(self.by_symbol.get, symbols)
        return np.array([each is None or each.counts_as_equity for each in known], dtype=bool)
