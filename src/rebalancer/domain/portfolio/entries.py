"""Entries of a ledger: what each kind states, and what it does to cash and holdings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from functools import lru_cache
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import LARGEST, MOST_DECIMALS, Currency

_ZERO, _ONE = Decimal(0), Decimal(1)
_FINEST = _ONE.scaleb(-MOST_DECIMALS)
_REPEATING = 10
"""Largest denominator of ratios such as 0.6667 that are taken to be fractions."""
_SIGNIFICANT = 4
"""Fewest digits of a ratio that may be a rounded fraction."""


class EntryKind(StrEnum):
    """Kind of entry; a deposit or withdrawal with a symbol is in kind."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    BUY = "buy"
    SELL = "sell"
    FEE = "fee"
    DIVIDEND = "dividend"
    INTEREST = "interest"
    TAX = "tax"
    RETURN_OF_CAPITAL = "return_of_capital"
    EXCHANGE = "exchange"
    SPLIT = "split"
    RENAME = "rename"
    SPIN_OFF = "spin_off"
    MERGER = "merger"


TRADES = frozenset({EntryKind.BUY, EntryKind.SELL})
FLOWS = frozenset({EntryKind.DEPOSIT, EntryKind.WITHDRAWAL})
INCOME = frozenset({EntryKind.DIVIDEND, EntryKind.INTEREST, EntryKind.RETURN_OF_CAPITAL})
"""Kinds that pay money to the portfolio, other than deposits."""
CHARGES = frozenset({EntryKind.FEE, EntryKind.TAX})
"""Kinds that take money, other than withdrawals."""
REORGANISATIONS = frozenset(
    {EntryKind.SPLIT, EntryKind.RENAME, EntryKind.SPIN_OFF, EntryKind.MERGER}
)
"""Kinds that change units at the start of their day, before any trade."""

_WITH_OTHER = REORGANISATIONS - {EntryKind.SPLIT}
_WITH_RATIO = REORGANISATIONS - {EntryKind.RENAME}
_WITH_SHARE = frozenset({EntryKind.SPIN_OFF, EntryKind.MERGER})
_WITHHELD = frozenset({EntryKind.DIVIDEND, EntryKind.INTEREST})
_WITH_SYMBOL = REORGANISATIONS | {EntryKind.RETURN_OF_CAPITAL}
_WITHOUT_SYMBOL = frozenset({EntryKind.EXCHANGE})

_ORDER = {EntryKind.RENAME: 0, EntryKind.SPIN_OFF: 1, EntryKind.SPLIT: 2, EntryKind.MERGER: 3}
LAST_OF_DAY = 4
"""Order of entries that are no reorganisations."""


@attrs.frozen
class Entry:
    """One line of a ledger.

    Attributes:
        id: Unique; the same id is the same entry.
        on: Effective market day; it counts from that day's close. A reorganisation counts from the
            start of its day.
        recorded: Time of recording, with a zone.
        amount: Value in ``currency``, >= 0: money paid in or out, value traded or moved in kind,
            without costs; income before tax; money that an exchange gives; money that a merger pays
            besides units. 0 for other reorganisations.
        symbol: Asset that is traded, moved or reorganised, or pays the income or charge; None
            otherwise.
        quantity: Units traded or moved, > 0; 0 for money alone and for reorganisations.
        price: Price per unit in ``currency``; None where the quantity is 0.
        cost: Cost of the trade on top, in ``currency``, >= 0.
        proposal: Proposal that the trade executes; None without one.
        voids: Entry that this one voids, with whose values it is recorded; None for most entries.
        partial: Whether orders of the proposal were still open after this entry was recorded.
        currency: ISO 4217 code of amount, price and cost; None: the portfolio's base currency.
        withheld: Tax withheld from a dividend or interest, 0 <= withheld <= amount.
        ratio: Split: new units per old one. Spin-off and merger: units of ``other`` per unit.
        other: New symbol, or asset that is received by a spin-off or merger.
        cost_share: Share of the cost that passes to ``other``, 0 to 1; None: unknown.
        cost_basis: Cost in ``currency`` at which an asset moved in kind was bought; None: unknown.
        counter_amount: Money in ``counter_currency`` that an exchange brings, > 0.
        counter_currency: ISO 4217 code; None: the base currency.
        action: Key of the corporate action that it books. A reversal has it only if the action was
            corrected, not if its owner voids the entry.

    Raises:
        InvalidRequest: an attribute contradicts the kind; its field is named.
    """

    id: UUID
    kind: EntryKind
    on: date
    recorded: datetime
    amount: Decimal
    symbol: str | None = None
    quantity: Decimal = _ZERO
    price: Decimal | None = None
    cost: Decimal = _ZERO
    proposal: UUID | None = None
    note: str = ""
    voids: UUID | None = None
    partial: bool = False
    currency: str | None = None
    withheld: Decimal = _ZERO
    ratio: Decimal | None = None
    other: str | None = None
    cost_share: Decimal | None = None
    cost_basis: Decimal | None = None
    counter_amount: Decimal | None = None
    counter_currency: str | None = None
    action: str | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("amount", "quantity", "cost", "withheld"):
            _check_size(getattr(self, name), name)
        if self.recorded.tzinfo is None:
            raise InvalidRequest(
                f"{self.recorded} has no time zone; add one",
                field="recorded",
                code="missing_time_zone",
            )
        self._check_units()
        if self.cost and self.kind not in TRADES:
            raise InvalidRequest(
                "only trades have a cost; record a fee as an entry of its own",
                field="cost",
                code="unexpected_value",
            )
        if self.currency is not None:
            Currency(self.currency)
        if self.kind in _WITH_SYMBOL and not self.symbol:
            raise _missing(self.kind, "symbol")
        if self.kind in _WITHOUT_SYMBOL and self.symbol is not None:
            raise _unexpected(self.kind, "symbol")
        if self.kind in REORGANISATIONS or self.ratio is not None or self.other is not None:
            self._check_reorganisation()
        self._check_shares_of_cost()
        self._check_withheld()
        self._check_exchange()

    def _check_units(self) -> None:
        """Check symbol, price and quantity of what moves, and the amount of money."""
        moves = self.moves_units
        if moves and not self.quantity > 0:
            raise not_positive(self.quantity, "quantity")
        if self.price is not None and not (self.price.is_finite() and 0 < self.price < LARGEST):
            raise not_positive(self.price, "price")
        if moves and not (self.symbol and self.price is not None):
            raise InvalidRequest(
                f"a {self.kind} of an asset needs a symbol and a price; add it",
                field="price" if self.symbol else "symbol",
                code="missing_value",
            )
        if not moves and (self.quantity or self.price is not None):
            raise InvalidRequest(
                f"a {self.kind} of money has no quantity and no price; omit both"
                if self.kind not in REORGANISATIONS
                else f"a {self.kind} has no quantity and no price, but a ratio; omit both",
                field="quantity" if self.quantity else "price",
                code="unexpected_value",
            )
        if not moves and self.kind not in REORGANISATIONS and not self.amount > 0:
            raise not_positive(self.amount, "amount")

    def _check_reorganisation(self) -> None:
        if self.amount and self.kind in REORGANISATIONS and self.kind is not EntryKind.MERGER:
            raise _unexpected(self.kind, "amount")
        if self.kind in _WITH_RATIO:
            if self.ratio is None:
                raise _missing(self.kind, "ratio")
            if not (self.ratio.is_finite() and 0 < self.ratio < LARGEST):
                raise not_positive(self.ratio, "ratio")
        elif self.ratio is not None:
            raise _unexpected(self.kind, "ratio")
        if self.kind in _WITH_OTHER:
            if not self.other:
                raise _missing(self.kind, "other")
            if self.other == self.symbol:
                raise InvalidRequest(
                    f"{self.other} is the same asset; enter the other one",
                    field="other",
                    code="same_asset",
                )
        elif self.other is not None:
            raise _unexpected(self.kind, "other")

    def _check_shares_of_cost(self) -> None:
        if self.cost_share is not None:
            if self.kind not in _WITH_SHARE:
                raise _unexpected(self.kind, "cost_share")
            if not (self.cost_share.is_finite() and 0 <= self.cost_share <= 1):
                raise InvalidRequest(
                    f"{self.cost_share} is not a share of the cost; enter 0 to 1",
                    field="cost_share",
                    code="invalid_share",
                )
        if self.cost_basis is not None:
            if not (self.kind in FLOWS and self.symbol is not None):
                raise _unexpected(self.kind, "cost_basis")
            _check_size(self.cost_basis, "cost_basis")

    def _check_withheld(self) -> None:
        if not self.withheld:
            return
        if self.kind not in _WITHHELD:
            raise _unexpected(self.kind, "withheld")
        if self.withheld > self.amount:
            raise InvalidRequest(
                f"{self.withheld} exceeds the amount before tax, {self.amount}; enter at most that",
                field="withheld",
                code="tax_exceeds_income",
            )

    def _check_exchange(self) -> None:
        if self.kind is not EntryKind.EXCHANGE:
            for name in ("counter_amount", "counter_currency"):
                if getattr(self, name) is not None:
                    raise _unexpected(self.kind, name)
            return
        if self.counter_amount is None:
            raise _missing(self.kind, "counter_amount")
        _check_size(self.counter_amount, "counter_amount")
        if not self.counter_amount:
            raise not_positive(self.counter_amount, "counter_amount")
        if self.counter_currency is not None:
            Currency(self.counter_currency)
        if self.counter_currency == self.currency:
            raise InvalidRequest(
                "an exchange is between two currencies; enter the other one",
                field="counter_currency",
                code="same_currency",
            )

    @property
    def moves_units(self) -> bool:
        """Whether it trades or transfers units of its asset."""
        return self.kind in TRADES or (self.kind in FLOWS and self.symbol is not None)

    @property
    def cash(self) -> Decimal:
        """Change of the cash in its currency; see `cash_changes` for both sides of an exchange."""
        match self.kind:
            case EntryKind.BUY:
                change = -self.amount - self.cost
            case EntryKind.SELL:
                change = self.amount - self.cost
            case EntryKind.FEE | EntryKind.TAX | EntryKind.EXCHANGE:
                change = -self.amount
            case EntryKind.DIVIDEND | EntryKind.INTEREST | EntryKind.RETURN_OF_CAPITAL:
                change = self.amount - self.withheld
            case EntryKind.MERGER:
                change = self.amount
            case EntryKind.DEPOSIT | EntryKind.WITHDRAWAL:
                return self.flow if self.symbol is None else _ZERO
            case _:
                return _ZERO
        return self._signed(change)

    @property
    def cash_changes(self) -> tuple[tuple[str | None, Decimal], ...]:
        """Change of cash by currency, None being the base currency; both sides of an exchange."""
        if self.counter_amount is None:
            return ((self.currency, self.cash),)
        return (
            (self.currency, self.cash),
            (self.counter_currency, self._signed(self.counter_amount)),
        )

    @property
    def units(self) -> Decimal:
        """Units of its symbol that it trades or transfers; 0 for reorganisations."""
        grows = self.kind in (EntryKind.BUY, EntryKind.DEPOSIT)
        return self._signed(self.quantity if grows else -self.quantity)

    @property
    def flow(self) -> Decimal:
        """Value in its currency that the owner paid in (+) or took out (-), or moved in kind."""
        if self.kind not in FLOWS:
            return _ZERO
        return self._signed(self.amount if self.kind is EntryKind.DEPOSIT else -self.amount)

    def _signed(self, change: Decimal) -> Decimal:
        return change if self.voids is None else -change

    @property
    def title(self) -> str:
        """Short description, such as "purchase of 10 AAPL of 2022-01-03"."""
        what = _TITLES[self.kind]
        if self.kind in REORGANISATIONS:
            what = f"{what} of {self.symbol}"
        elif self.quantity:
            what = f"{what} of {self.quantity.normalize():f} {self.symbol}"
        else:
            unit = "" if self.currency is None else f" {self.currency}"
            what = f"{what} of {self.amount:f}{unit}"
        return f"{what} of {self.on}"

    def reversal(
        self,
        *,
        recorded: datetime,
        note: str = "",
        partial: bool = False,
        corrects: bool = False,
    ) -> Entry:
        """Return the entry that voids this one; its id follows from this one's.

        Args:
            recorded: Time of recording.
            note: Why.
            partial: See `Entry`.
            corrects: Whether the corporate action that this one books was corrected.
        """
        return attrs.evolve(
            self,
            id=void_id(self.id),
            recorded=recorded,
            note=note,
            voids=self.id,
            partial=partial,
            action=self.action if corrects else None,
        )


def void_id(entry: UUID) -> UUID:
    """Return the id of the entry that voids an entry, so that no entry is voided twice."""
    return uuid5(entry, "void")


_TITLES = {
    EntryKind.DEPOSIT: "deposit",
    EntryKind.WITHDRAWAL: "withdrawal",
    EntryKind.BUY: "purchase",
    EntryKind.SELL: "sale",
    EntryKind.FEE: "fee",
    EntryKind.DIVIDEND: "dividend",
    EntryKind.INTEREST: "interest",
    EntryKind.TAX: "tax",
    EntryKind.RETURN_OF_CAPITAL: "return of capital",
    EntryKind.EXCHANGE: "exchange",
    EntryKind.SPLIT: "split",
    EntryKind.RENAME: "new symbol",
    EntryKind.SPIN_OFF: "spin-off",
    EntryKind.MERGER: "merger",
}


def order_of_effect(entry: Entry) -> int:
    """Return the sort key of the entries of a day.

    New symbols come first, then spin-offs, splits and mergers; all others follow as recorded. So
    the ratio of a spin-off is per unit before a split of the same day.
    """
    return _ORDER.get(entry.kind, LAST_OF_DAY)


def move_units(holdings: dict[str, Decimal], entry: Entry) -> tuple[str, ...]:
    """Change units by symbol as an effective entry does; return the symbols that it changes.

    Apply the entries of each day in their `order_of_effect`, in a decimal context of 60 digits.
    Units that no trade could sell, finer than 12 decimals, are rounded.

    Args:
        holdings: Units by symbol; changed in place. Symbols without units may stay with 0.
        entry: An entry that counts, not one that voids.
    """
    symbol = entry.symbol
    if symbol is None:
        return ()
    if entry.quantity:
        holdings[symbol] = holdings.get(symbol, _ZERO) + entry.units
        return (symbol,)
    if entry.kind not in REORGANISATIONS:
        return ()
    held = holdings.get(symbol, _ZERO)
    if entry.kind is EntryKind.SPLIT:
        assert entry.ratio is not None
        holdings[symbol] = multiply_units(held, entry.ratio)
        return (symbol,)
    assert entry.other is not None
    received = held if entry.ratio is None else multiply_units(held, entry.ratio)
    holdings[entry.other] = holdings.get(entry.other, _ZERO) + received
    if entry.kind is EntryKind.SPIN_OFF:
        return (entry.other,)
    holdings[symbol] = _ZERO
    return (symbol, entry.other)


def multiply_units(units: Decimal, ratio: Decimal) -> Decimal:
    """Return units times a ratio, exactly, and rounded only where it has more than 12 decimals.

    A ratio that is rounded, such as 0.3333, is taken to be the fraction that it stands for.
    """
    numerator, denominator = _fraction(ratio)
    product = units * numerator / denominator
    exponent = product.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MOST_DECIMALS:
        product = product.quantize(_FINEST, ROUND_HALF_EVEN)
    return product


def same_ratio(one: Decimal | None, other: Decimal | None) -> bool:
    """Return whether two ratios stand for the same fraction, such as 0.3333 and 0.333333."""
    if one is None or other is None:
        return one is other
    (top, bottom), (above, below) = _fraction(one), _fraction(other)
    return top * below == above * bottom


@lru_cache(maxsize=1024)
def _fraction(ratio: Decimal) -> tuple[Decimal, Decimal]:
    """Return numerator and denominator of a ratio: 1 and 3 of 0.3333, and itself and 1 of 0.25."""
    _, digits, exponent = ratio.as_tuple()
    if len(digits) < _SIGNIFICANT or not isinstance(exponent, int) or exponent >= 0:
        return ratio, _ONE
    unit = _ONE.scaleb(exponent)
    inverse = (1 / ratio).to_integral_value()
    candidates = [Decimal(n) for n in range(2, _REPEATING + 1)]
    for denominator in (*candidates, inverse):
        numerator = (ratio * denominator).to_integral_value()
        if denominator > 0 and numerator > 0:
            fraction = numerator / denominator
            if fraction != ratio and abs(fraction - ratio) < unit:
                return numerator, denominator
    return ratio, _ONE


def filled_quantities(entries: Iterable[Entry]) -> dict[str, Decimal]:
    """Return the quantity of each asset that trades bought or sold, without void ones."""
    filled: dict[str, Decimal] = {}
    for entry in entries:
        if entry.kind in TRADES and entry.symbol is not None:
            quantity = entry.quantity if entry.voids is None else -entry.quantity
            filled[entry.symbol] = filled.get(entry.symbol, _ZERO) + quantity
    return {symbol: quantity for symbol, quantity in filled.items() if quantity}


def not_positive(number: Decimal, field: str) -> InvalidRequest:
    """Return the error for an amount, quantity or price that is not positive."""
    return InvalidRequest(
        f"{number} is out of range; enter more than 0, and less than {LARGEST:E}",
        field=field,
        code="not_positive",
    )


def _check_size(number: Decimal, field: str) -> None:
    if not (number.is_finite() and 0 <= number < LARGEST):
        raise InvalidRequest(
            f"{number} is out of range; enter 0 or more, and less than {LARGEST:E}",
            field=field,
            code="amount_out_of_range",
        )


def _missing(kind: EntryKind, field: str) -> InvalidRequest:
    named = _FIELDS[field]
    return InvalidRequest(
        f"a {_TITLES[kind]} needs {named}; add it", field=field, code="missing_value"
    )


def _unexpected(kind: EntryKind, field: str) -> InvalidRequest:
    named = _FIELDS[field]
    return InvalidRequest(
        f"a {_TITLES[kind]} does not have {named}; omit it", field=field, code="unexpected_value"
    )


_FIELDS: Mapping[str, str] = {
    "symbol": "a symbol",
    "amount": "an amount",
    "ratio": "a ratio",
    "other": "the symbol of another asset",
    "cost_share": "a share of the cost",
    "cost_basis": "a cost basis",
    "withheld": "withheld tax",
    "counter_amount": "an amount in another currency",
    "counter_currency": "another currency",
}
