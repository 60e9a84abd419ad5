"""Trades of Flex Queries, with those that were cancelled or corrected."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal

from rebalancer.adapters.statements.drafts import Draft, clean, read_currency, round_number, shorten
from rebalancer.adapters.statements.ibkr_rows import UNITS, Row
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Transaction

_ZERO = Decimal(0)
_TRADE_ROWS = frozenset({"Trade", "Order", "SymbolSummary", "AssetSummary", "Lot", "WashSale"})


class Trades:
    """Books the trades of a file."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def read(self, rows: Sequence[Row]) -> None:
        """Book each trade, or report it."""
        for row in self._valid_trades(self._finest(rows)):
            with self._draft.row(row.line):
                self._draft.add(*_trade(row))
        fields = {name for row in rows for name in row.element.attributes}
        if rows and not fields & {"ibCommission", "netCash"}:
            self._draft.skip(
                0,
                "costs_unknown",
                "the trades have no commissions; add the fields ibCommission, "
                "ibCommissionCurrency and taxes to the Flex Query",
            )

    def _finest(self, rows: Sequence[Row]) -> list[Row]:
        """Return executions, or orders without them; report sums of them."""
        levels: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            levels[_level(row)].append(row)
        chosen = "EXECUTION" if "EXECUTION" in levels else "ORDER"
        found = levels.get(chosen, [])
        for level, those in levels.items():
            for row in those:
                if level == "UNKNOWN":
                    self._draft.fail(
                        row.line,
                        "unknown_row",
                        f"<{clean(row.element.name, 40)}> of level "
                        f"{shorten(row.text('levelOfDetail'))} is unknown; record it by hand",
                    )
                elif level != chosen and (level != "SUM" or found):
                    self._draft.skip(
                        row.line,
                        "summary_row",
                        f"<{row.element.name}> repeats trades of the file, and is not read",
                    )
                elif level == "SUM":
                    self._draft.fail(
                        row.line,
                        "executions_missing",
                        f"<{row.element.name}> is a sum or a lot; choose Executions in the "
                        "options of the section Trades",
                    )
        return found

    def _valid_trades(self, rows: Sequence[Row]) -> list[Row]:
        """Return the trades without cancelled ones and those that corrections replace."""
        originals = _Originals(rows)
        cancelled = dict[Row, Row]()
        for row in rows:
            if not _cancels(row):
                continue
            original = originals.take_for(row)
            if original is None:
                self._draft.skip(
                    row.line,
                    "cancels_earlier_trade",
                    f"this row cancels a trade of an earlier statement, "
                    f"{shorten(row.text('origTradeID') or row.id)}; it is booked as the "
                    "opposite trade",
                )
                continue
            cancelled |= {original: row, row: original}
            name = original.id or f"of line {original.line}"
            self._draft.skip(
                original.line,
                "cancelled_trade",
                f"trade {name} was cancelled in line {row.line}, and is not booked; void it if "
                "an earlier import booked it",
            )
            self._draft.skip(
                row.line, "cancelled_trade", f"this row cancels trade {name}; neither is booked"
            )
        for row in rows:
            if row in cancelled or _cancels(row) or not _corrects(row):
                continue
            original = originals.take_named(row)
            if original is not None:
                cancelled[original] = row
                self._draft.skip(
                    original.line,
                    "corrected_trade",
                    f"trade {original.id} is replaced by its correction in line {row.line}; void "
                    "it if an earlier import booked it",
                )
        return [row for row in rows if row not in cancelled]


def _level(row: Row) -> str:
    """Return EXECUTION, ORDER, SUM or UNKNOWN."""
    stated = row.text("levelOfDetail").upper()
    if row.element.name not in _TRADE_ROWS:
        return "UNKNOWN"
    if row.element.name == "Trade" and stated in ("", "EXECUTION"):
        return "EXECUTION"
    if row.element.name == "Order" or (row.element.name == "Trade" and stated == "ORDER"):
        return "ORDER"
    return "SUM"


def _cancels(row: Row) -> bool:
    return (
        "Ca" in row.codes
        or "(Ca.)" in row.text("buySell")
        or row.text("transactionType") in ("TradeCancel", "FracShareCancel")
    )


def _corrects(row: Row) -> bool:
    return "Co" in row.codes or row.text("transactionType") == "TradeCorrect"


class _Originals:
    """Trades that others of the file may cancel or correct.

    A trade that is booked again has the number of the cancelled one, so quantities count, too.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._by: dict[tuple[object, ...], deque[Row]] = defaultdict(deque)
        self._taken: set[Row] = set()
        for row in rows:
            if _cancels(row):
                continue
            for name in ("transactionID", "tradeID"):
                if row.text(name):
                    self._by[name, row.text(name)].append(row)
            with suppress(InvalidRequest):
                quantity = _signed_quantity(row)
                self._by["tradeID", row.text("tradeID"), quantity].append(row)
                self._by[_terms_of(row, quantity)].append(row)

    def take_for(self, cancel: Row) -> Row | None:
        """Return the trade that a row cancels: by number, else by terms with opposite quantity."""
        keys: list[tuple[object, ...]] = [("transactionID", cancel.text("origTransactionID"))]
        named = ("tradeID", cancel.text("origTradeID"))
        with suppress(InvalidRequest):
            quantity = -_signed_quantity(cancel)
            keys += [(*named, quantity), named, _terms_of(cancel, quantity)]
        return self._first(keys or [named], cancel)

    def take_named(self, row: Row) -> Row | None:
        """Return the trade that a row names as its original."""
        names = ("transactionID", "origTransactionID"), ("tradeID", "origTradeID")
        return self._first([(name, row.text(stated)) for name, stated in names], row)

    def _first(self, keys: Iterable[tuple[object, ...]], row: Row) -> Row | None:
        for key in keys:
            if key[1] not in ("", "0"):
                found = self._take(self._by[key], row)
                if found is not None:
                    return found
        return None

    def _take(self, candidates: deque[Row], row: Row) -> Row | None:
        """Return the first candidate that is neither taken nor the row itself."""
        at = 0
        while at < len(candidates):
            one = candidates[at]
            if one is row:
                at = 1  # it is there once
                continue
            del candidates[at]
            if one not in self._taken:
                self._taken.add(one)
                return one
        return None


def _terms_of(row: Row, quantity: Decimal) -> tuple[object, ...]:
    on = row.day("tradeDate", "dateTime", "reportDate")
    return "terms", row.asset or " ", row.currency, quantity, row.number("tradePrice"), on


def _signed_quantity(row: Row) -> Decimal:
    """Return the change of units by the word of a row, or else by the sign of its quantity.

    ``BUY (Ca.)`` takes units away.
    """
    signed, word = row.number("quantity"), row.text("buySell").upper()
    if not word.startswith(("BUY", "SELL")):
        return signed
    adds = word.startswith("BUY") != ("(CA.)" in word)
    return abs(signed) if adds else -abs(signed)


def _trade(row: Row) -> list[Transaction]:
    category = row.text("assetCategory").upper()
    if category == "CASH":
        return _exchange(row)
    if category not in UNITS:
        what = f"the asset category {shorten(category)}" if category else "a missing asset category"
        raise InvalidRequest(
            f"{what} is not supported, such as that of {shorten(row.text('symbol'))}; "
            + ("record its money by hand" if category else "add assetCategory to the Flex Query"),
            code="unsupported_asset",
        )
    signed = _signed_quantity(row)
    if not signed:
        raise InvalidRequest(
            "the trade has the quantity 0; record it by hand", code="missing_quantity"
        )
    quantity, price = abs(signed), row.number("tradePrice")
    amount = abs(row.number("proceeds")) or abs(row.number("tradeMoney"))
    amount = amount or round_number(quantity * price, "amount")
    if not price > 0:
        price = round_number(amount / quantity, "price")
    kind = EntryKind.BUY if signed > 0 else EntryKind.SELL
    cost, fees = _costs(row, amount, kind)
    if cost < 0:  # a rebate
        amount, cost = (amount + cost if kind is EntryKind.BUY else amount - cost), _ZERO
    trade = Transaction(
        row.line,
        kind,
        row.day("tradeDate", "dateTime", "reportDate"),
        amount,
        row.currency,
        row.instrument,
        quantity,
        price,
        cost,
        external_id=row.id,
        note=clean(row.text("transactionType") if _cancels(row) or _corrects(row) else ""),
    )
    return [trade, *fees]


def _costs(row: Row, amount: Decimal, kind: EntryKind) -> tuple[Decimal, list[Transaction]]:
    """Return the cost in the currency of a trade, and fees in another one."""
    commission, taxes = -row.number("ibCommission"), -row.number("taxes")
    if not row.text("ibCommission") and row.text("netCash"):
        net = abs(row.number("netCash"))
        return (net - amount if kind is EntryKind.BUY else amount - net), []
    charged = row.text("ibCommissionCurrency")
    if not commission or not charged or charged == row.currency:
        return commission + taxes, []
    return taxes, [_fee(row, commission, read_currency(charged))]


def _fee(row: Row, commission: Decimal, currency: str) -> Transaction:
    return Transaction(
        row.line,
        EntryKind.FEE if commission > 0 else EntryKind.INTEREST,
        row.day("tradeDate", "dateTime", "reportDate"),
        abs(commission),
        currency,
        external_id=f"{row.id}:commission" if row.id else "",
        note=clean(f"Commission of {row.text('symbol')}"),
    )


def _exchange(row: Row) -> list[Transaction]:
    """Return the exchange of a trade such as EUR.USD, which is priced in dollars."""
    symbol = row.text("symbol").upper()
    bought, dot, paid = symbol.partition(".")
    if not dot:
        raise InvalidRequest(
            f"{shorten(symbol)} does not name two currencies; record the exchange by hand",
            code="unknown_currencies",
        )
    bought, paid = read_currency(bought), read_currency(paid)
    signed = _signed_quantity(row)
    money = abs(row.number("proceeds")) or abs(row.number("tradeMoney"))
    money = money or round_number(abs(signed) * row.number("tradePrice"), "amount")
    gives, takes = (money, abs(signed)) if signed > 0 else (abs(signed), money)
    exchange = Transaction(
        row.line,
        EntryKind.EXCHANGE,
        row.day("tradeDate", "dateTime", "reportDate"),
        gives,
        paid if signed > 0 else bought,
        counter_amount=takes,
        counter_currency=bought if signed > 0 else paid,
        external_id=row.id,
        note=clean(f"{symbol} at {row.text('tradePrice')}"),
    )
    commission = -(row.number("ibCommission") + row.number("taxes"))
    if not commission:
        return [exchange]
    currency = row.text("ibCommissionCurrency") or row.base or paid
    return [exchange, _fee(row, commission, read_currency(currency))]
