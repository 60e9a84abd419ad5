"""Ledger entries that owners record: cash flows, transfers in kind, exchanges and trades."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID, uuid5

import attrs

from rebalancer.application.portfolios import (
    check_amount,
    check_tradable,
    find_market_day,
    get_close,
)
from rebalancer.application.trade_amounts import check_plausible, traded_amount
from rebalancer.domain.errors import FaultCollector, InvalidRequest
from rebalancer.domain.market.currencies import NO_RATES, ExchangeRates, missing_rate
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.corporate_actions import convert_money
from rebalancer.domain.portfolio.entries import FLOWS, INCOME, TRADES, Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger, not_positive
from rebalancer.domain.portfolio.own_prices import own_prices, select_assets

_ZERO = Decimal(0)
_DIGITS = 60

_NAMING = INCOME - {EntryKind.INTEREST} | {EntryKind.TAX}
"""Kinds of cash flows that may name an asset."""


@attrs.frozen
class CashFlow:
    """Cash flow, transfer in kind or exchange to record; on the day of the last close by default.

    Attributes:
        amount: In ``currency``; income before tax. None for a transfer in kind: its value at the
            price.
        symbol: Asset that is transferred, or that pays the income or the tax.
        currency: ISO 4217 code; None: the base currency, or that of a transferred asset.
        withheld: Tax withheld from the income.
        quantity: Units that are transferred; 0 for money.
        price: Price of a transferred unit; None: the close of the day.
        cost_basis: What the transferred units cost; None: unknown.
        counter_amount: Money in ``counter_currency`` that an exchange brings.
        counter_currency: ISO 4217 code; None: the base currency.
    """

    kind: EntryKind
    amount: Decimal | None = None
    on: date | None = None
    symbol: str | None = None
    note: str = ""
    currency: str | None = None
    withheld: Decimal = _ZERO
    quantity: Decimal = _ZERO
    price: Decimal | None = None
    cost_basis: Decimal | None = None
    counter_amount: Decimal | None = None
    counter_currency: str | None = None

    def identity(self) -> tuple[object, ...]:
        """Return the fields that identify a cash flow; older versions know no further ones."""
        every = attrs.astuple(self)
        is_new = every[_KNOWN:] != attrs.astuple(CashFlow(self.kind))[_KNOWN:]
        return every if is_new else every[:_KNOWN]


_KNOWN = 5
"""Number of fields of cash flows that older versions know."""


@attrs.frozen
class Trade:
    """Executed trade to record; on the day of the last close by default.

    Attributes:
        price: As traded, in the currency of the asset.
        amount: Total of the broker without costs; None: quantity times price, rounded.
        confirmed: Whether the owner confirms a price that is far from the close of the day.
        currency: ISO 4217 code of price, amount and cost; None: that of the asset.
    """

    kind: EntryKind
    symbol: str
    quantity: Decimal
    price: Decimal
    cost: Decimal = _ZERO
    on: date | None = None
    note: str = ""
    amount: Decimal | None = None
    confirmed: bool = False
    currency: str | None = None

    def identity(self) -> tuple[object, ...]:
        """Return the fields that identify a trade; older versions know no further ones."""
        known = (*attrs.astuple(self)[:7],)
        if self.currency is not None:
            return (*known, self.amount, self.confirmed, self.currency)
        new = self.amount is not None or self.confirmed
        return (*known, self.amount, self.confirmed) if new else known


@attrs.frozen
class Recording:
    """What the entries of a portfolio are checked against.

    Attributes:
        base: Base currency of the portfolio.
        market: Prices of shares in each asset's own currency.
        ledger: Of the portfolio.
        now: Time of recording.
    """

    base: Currency
    market: PriceHistory
    ledger: Ledger
    now: datetime

    def cash_entry(self, flow: CashFlow, id: UUID) -> Entry:
        """Return the entry of a cash flow, a transfer in kind or an exchange.

        Raises:
            InvalidRequest: a field is invalid, or a currency has no exchange rate.
            InvalidFields: several fields are.
        """
        if flow.quantity:
            return self._transfer(flow, id)
        faults = FaultCollector()
        on, amount, currency = self.market.last_date, _ZERO, self.base
        with faults.collect():
            currency = self._currency(flow.currency, "currency")
        with faults.collect():
            amount = check_amount(flow.amount or _ZERO, currency, field="amount")
        with faults.collect():
            on = find_market_day(flow.on, self.market, self.now)
        with faults.collect():
            self._check_symbol(flow)
        counter = None
        with faults.collect():
            if flow.kind is EntryKind.EXCHANGE:
                brought = self._currency(flow.counter_currency, "counter_currency")
                counter = brought.code
                check_amount(flow.counter_amount or _ZERO, brought, field="counter_amount")
        with faults.collect():
            if flow.withheld:
                check_amount(flow.withheld, currency, field="withheld")
        faults.raise_any()
        return Entry(
            id=id,
            kind=flow.kind,
            on=on,
            recorded=self.now,
            amount=amount,
            symbol=flow.symbol,
            note=flow.note,
            currency=self._foreign(currency.code),
            withheld=flow.withheld,
            price=flow.price,
            cost_basis=flow.cost_basis,
            counter_amount=flow.counter_amount,
            counter_currency=self._foreign(counter or flow.counter_currency),
        )

    def own_closes(self, trades: Sequence[Trade]) -> PriceHistory:
        """Return the closes of traded assets as traded, with splits that the ledger records.

        They are those of the market where it has a current close, unless a corporate action that
        only the ledger knows changes them; then its entries are read.
        """
        traded = {trade.symbol for trade in trades}
        entries: tuple[Entry, ...] = ()
        if any(map(self._may_restate, traded)):
            entries = tuple(entry for entry in self.ledger.effective if entry.symbol in traded)
        chosen = select_assets(self.market, sorted(traded))
        return own_prices(chosen, Ledger(entries), self.base.code)

    def _may_restate(self, symbol: str) -> bool:
        """Return whether the ledger may change the closes of an asset as traded.

        Splits do if the closes may include them or not; all actions do if the closes are adjusted.
        """
        if self.market.quotes is None:
            return self.ledger.has_corporate_entries(symbol, EntryKind.SPLIT)
        adjusted = symbol in self.market.quotes.adjusted
        return adjusted and self.ledger.has_corporate_entries(symbol)

    def trade_entry(
        self, trade: Trade, own: PriceHistory, known: Collection[str], id: UUID
    ) -> Entry:
        """Return the entry of a trade; assets in ``known`` need no price.

        Its price is compared with the close in ``own``, see `own_closes`, if the market has one.

        Raises:
            InvalidRequest: a field is invalid.
            InvalidFields: several fields are.
        """
        if trade.kind not in TRADES:
            raise InvalidRequest(
                f"{trade.kind} is not a trade; choose buy or sell",
                field="side",
                code="invalid_side",
            )
        faults, market = FaultCollector(), self.market
        on, cost, amount = market.last_date, trade.cost, _ZERO
        currency = self.base
        with faults.collect():
            stated = trade.currency or self.currency_of(trade.symbol)
            currency = self._currency(stated, "currency")
        with faults.collect():
            on = find_market_day(trade.on, market, self.now)
        with faults.collect():
            if trade.symbol not in known:
                check_tradable(trade.symbol, market, on, field="symbol")
        for name in ("quantity", "price"):
            with faults.collect():
                if not getattr(trade, name) > 0:
                    raise not_positive(getattr(trade, name), name)
        with faults.collect():
            if trade.quantity > 0 and trade.price > 0:
                amount = traded_amount(trade.quantity, trade.price, trade.amount, currency)
                if not trade.confirmed:
                    close = self._known_close(trade.symbol, own, on, currency)
                    check_plausible(amount, trade.price, close)
        with faults.collect():
            if cost:
                cost = check_amount(cost, currency, field="cost")
        faults.raise_any()
        return Entry(
            id=id,
            kind=trade.kind,
            on=on,
            recorded=self.now,
            amount=amount,
            symbol=trade.symbol,
            quantity=trade.quantity,
            price=trade.price,
            cost=cost,
            note=trade.note,
            currency=self._foreign(currency.code),
        )

    def exchanges(self, trades: Sequence[Entry]) -> list[Entry]:
        """Return the exchanges that a broker makes with trades in other currencies.

        What the cash of a currency lacks for a purchase is converted from the base currency, and
        the proceeds of a sale are converted to it, at the rate of the day. Without a rate there is
        no exchange.
        """
        found: list[Entry] = []
        added: list[Entry] = []
        for trade in trades:
            added.append(trade)
            if trade.currency is None:
                continue
            buys = trade.kind is EntryKind.BUY
            exchange = (
                self._payment_exchange(trade, added) if buys else self.proceeds_exchange(trade)
            )
            if exchange is not None:
                found.append(exchange)
                added.append(exchange)
        return found

    def currency_of(self, symbol: str) -> str:
        """Return the currency of an asset: that of the market, or of its last entry."""
        base = self.base.code
        if symbol in self.market.columns:
            return self.market.currency_of(symbol, base)
        return self.ledger.currency_of(symbol) or base

    def _transfer(self, flow: CashFlow, id: UUID) -> Entry:
        """Return the entry of a deposit or withdrawal in kind."""
        if flow.kind not in FLOWS:
            raise InvalidRequest(
                f"a {flow.kind} is money, so it has no quantity; omit it",
                field="quantity",
                code="unexpected_value",
            )
        if flow.symbol is None:
            raise InvalidRequest(
                "a transfer in kind needs the symbol of its asset; add it",
                field="symbol",
                code="missing_value",
            )
        faults, market, symbol = FaultCollector(), self.market, flow.symbol
        on, price, currency = market.last_date, flow.price or _ZERO, self.base
        with faults.collect():
            on = find_market_day(flow.on, market, self.now)
        with faults.collect():
            stated = flow.currency or self.currency_of(symbol)
            currency = self._currency(stated, "currency")
        with faults.collect():
            if flow.price is None:
                price = self._transfer_price(symbol, on, currency)
            elif symbol not in self.ledger.symbols:
                check_tradable(symbol, market, on, field="symbol")
        faults.raise_any()
        return Entry(
            id=id,
            kind=flow.kind,
            on=on,
            recorded=self.now,
            amount=traded_amount(flow.quantity, price, flow.amount, currency),
            symbol=symbol,
            quantity=flow.quantity,
            price=price,
            note=flow.note,
            currency=self._foreign(currency.code),
            cost_basis=flow.cost_basis,
        )

    def _transfer_price(self, symbol: str, on: date, currency: Currency) -> Decimal:
        """Return the close of a day; raise InvalidRequest without one in the currency."""
        own = self.currency_of(symbol)
        if own != currency.code:
            raise InvalidRequest(
                f"the closes of {symbol} are in {own}; state the price in {currency}, or omit the "
                "currency",
                field="price",
                code="missing_value",
            )
        try:
            return get_close(symbol, self.market, on, field="symbol")
        except InvalidRequest as error:
            if error.code != "no_current_price":
                raise
            problem = error.message.partition(";")[0]
            raise InvalidRequest(
                f"{problem}; state the price", field="price", code=error.code
            ) from None

    def _check_symbol(self, flow: CashFlow) -> None:
        if flow.symbol is None:
            return
        if flow.kind not in _NAMING:
            remedy = (
                "state the quantity that is transferred, or omit the symbol"
                if flow.kind in FLOWS
                else "omit it"
            )
            raise InvalidRequest(
                f"a {flow.kind} of money has no symbol; {remedy}",
                field="symbol",
                code="unexpected_value",
            )
        if flow.symbol not in self.ledger.symbols:
            check_tradable(flow.symbol, self.market, self.market.last_date, field="symbol")

    def _currency(self, code: str | None, field: str) -> Currency:
        """Return a currency that can be converted into the base one; that one for None."""
        if code is None or code == self.base.code:
            return self.base
        try:
            currency = Currency(code)
        except InvalidRequest as error:
            raise InvalidRequest(error.message, field=field, code=error.code) from None
        if self._rates.path(code, self.base.code) is None:
            raise missing_rate(code, self.base.code, field=field)
        return currency

    def _foreign(self, code: str | None) -> str | None:
        """Return a currency as ledgers state it: None for the base currency."""
        return None if code == self.base.code else code

    @property
    def _rates(self) -> ExchangeRates:
        return NO_RATES if self.market.quotes is None else self.market.quotes.exchange

    def _known_close(
        self, symbol: str, own: PriceHistory, on: date, currency: Currency
    ) -> Decimal | None:
        """Return the close as traded as of a day; None without a current one in this currency."""
        if self.currency_of(symbol) != currency.code:
            return None
        with suppress(InvalidRequest):
            get_close(symbol, self.market, on, field="symbol")
            return get_close(symbol, own, on, field="symbol")
        return None

    def proceeds_exchange(self, entry: Entry) -> Entry | None:
        """Return the exchange of what a sale or income brings; None without a rate."""
        assert entry.currency is not None
        worth = self._convert(entry.cash, entry)
        if worth is None:
            return None
        return Entry(
            id=exchange_id(entry.id),
            kind=EntryKind.EXCHANGE,
            on=entry.on,
            recorded=self.now,
            amount=entry.cash,
            currency=entry.currency,
            counter_amount=worth,
            note=f"of the {entry.title}",
            action=entry.action,
        )

    def _payment_exchange(self, trade: Entry, added: Sequence[Entry]) -> Entry | None:
        """Return the exchange that pays what cash lacks for a purchase; None if none is needed."""
        assert trade.currency is not None
        missing = -self.ledger.followed_by(added).least_cash(trade.currency, trade.on)
        worth = self._convert(missing, trade)
        if worth is None:
            return None
        return Entry(
            id=exchange_id(trade.id),
            kind=EntryKind.EXCHANGE,
            on=trade.on,
            recorded=self.now,
            amount=worth,
            counter_amount=missing,
            counter_currency=trade.currency,
            note=f"for the {trade.title}",
        )

    def _convert(self, money: Decimal, entry: Entry) -> Decimal | None:
        """Return money of an entry's currency in the base currency at the rate of its day."""
        if not money > 0:
            return None
        return convert_money(money, str(entry.currency), self.base, entry.on, self._rates)


def exchange_id(trade: UUID) -> UUID:
    """Return the id of the exchange that was booked with a trade."""
    return uuid5(trade, "exchange")
