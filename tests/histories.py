"""Made-up histories of a depot with the sums that follow from them, computed on their own.

A history keeps its own books while it is made: cash and units never become negative. Nothing here
uses the code that reads statements.
"""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import attrs

ZERO, CENT = Decimal(0), Decimal("0.01")
ASSETS = {
    "ALFA": ("EUR", "DE000A000018", "Alfa Maschinen AG"),
    "BRAV": ("EUR", "DE000A000026", "Bravo Energie SE"),
    "CHAR": ("USD", "US0000000034", "Charlie Foods Inc"),
    "DELT": ("USD", "US0000000042", "Delta Software Corp"),
    "ECHO": ("USD", "US0000000059", "Echo Total Market ETF"),
    "FOXT": ("EUR", "IE00000000F6", "Foxtrot World ETF"),
    "GOLF": ("USD", "US0000000075", "Golf Health Inc"),
    "HOTL": ("EUR", "FR0000000083", "Hotel Luxe SA"),
}
"""Currency, ISIN and name by symbol."""


@attrs.frozen
class Event:
    """What happened.

    Attributes:
        kind: As in ledgers.
        amount: Value traded without costs, income before tax, or money paid, in ``currency``.
        ratio: New units for old ones, of a split.
    """

    kind: str
    on: date
    currency: str
    amount: Decimal = ZERO
    symbol: str = ""
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    cost: Decimal = ZERO
    withheld: Decimal = ZERO
    ratio: tuple[int, int] = (1, 1)
    counter_amount: Decimal = ZERO
    counter_currency: str = ""


@attrs.define
class History:
    """Events, and what they add up to.

    Attributes:
        realised: Gains of sales by first in, first out, costs included, by currency.
        quotes: Closes as traded by symbol, each from its day on, the earliest first.
    """

    events: list[Event] = attrs.field(factory=list)
    cash: dict[str, Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    units: dict[str, Fraction] = attrs.field(factory=lambda: defaultdict(Fraction))
    dividends: dict[str, Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    withheld: dict[str, Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    costs: dict[str, Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    interest: dict[str, Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    fees: dict[str, Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    realised: dict[str, Fraction] = attrs.field(factory=lambda: defaultdict(Fraction))
    lots: dict[str, list[list[Fraction]]] = attrs.field(factory=lambda: defaultdict(list))
    quotes: dict[str, list[tuple[date, Decimal]]] = attrs.field(factory=lambda: defaultdict(list))

    @property
    def holdings(self) -> dict[str, Decimal]:
        return {
            symbol: Decimal(units.numerator) / Decimal(units.denominator)
            for symbol, units in self.units.items()
            if units
        }

    def close(self, symbol: str, on: date) -> Decimal:
        """Return the close of a day."""
        return [price for day, price in self.quotes[symbol] if day <= on][-1]

    def money(self) -> dict[str, Decimal]:
        return {currency: amount for currency, amount in self.cash.items() if amount}

    def add(self, event: Event) -> None:
        self.events.append(event)
        cash = self.cash
        match event.kind:
            case "deposit":
                cash[event.currency] += event.amount
            case "withdrawal":
                cash[event.currency] -= event.amount
            case "fee":
                cash[event.currency] -= event.amount
                self.fees[event.currency] += event.amount
            case "interest":
                cash[event.currency] += event.amount
                self.interest[event.currency] += event.amount
            case "dividend":
                cash[event.currency] += event.amount - event.withheld
                self.dividends[event.currency] += event.amount
                self.withheld[event.currency] += event.withheld
            case "exchange":
                cash[event.currency] -= event.amount
                cash[event.counter_currency] += event.counter_amount
            case "split":
                ratio = Fraction(*event.ratio)
                self.units[event.symbol] *= ratio
                for lot in self.lots[event.symbol]:
                    lot[0] *= ratio
            case "buy" | "transfer_in":
                if event.kind == "buy":
                    cash[event.currency] -= event.amount + event.cost
                    self.costs[event.currency] += event.cost
                self.units[event.symbol] += Fraction(event.quantity)
                self.lots[event.symbol].append(
                    [Fraction(event.quantity), Fraction(event.amount + event.cost)]
                )
            case "sell":
                cash[event.currency] += event.amount - event.cost
                self.costs[event.currency] += event.cost
                self.units[event.symbol] -= Fraction(event.quantity)
                self._realise(event)
            case other:
                raise AssertionError(other)
        assert cash[event.currency] >= 0 and self.units[event.symbol] >= 0, event

    def _realise(self, event: Event) -> None:
        left = Fraction(event.quantity)
        paid = Fraction(0)
        lots = self.lots[event.symbol]
        while left:
            lot = lots[0]
            taken = min(lot[0], left)
            cost = lot[1] * taken / lot[0]
            lot[0], lot[1], left, paid = lot[0] - taken, lot[1] - cost, left - taken, paid + cost
            if not lot[0]:
                lots.pop(0)
        self.realised[event.currency] += Fraction(event.amount - event.cost) - paid


def make_history(
    seed: int = 20, entries: int = 2000, *, splits: bool = True, transfers: bool = True
) -> History:
    """Return a history of some entries over ten years, in euros and dollars.

    Args:
        splits: Whether it has splits.
        transfers: Whether it has transfers in kind, whose cost Flex Queries do not state.
    """
    dice = random.Random(seed)
    history = History()
    prices = {symbol: dice.randint(20_00, 200_00) for symbol in ASSETS}
    on = date(2015, 1, 5)
    for symbol, price in prices.items():
        history.quotes[symbol].append((on, Decimal(price) * CENT))
    history.add(Event("deposit", on, "EUR", Decimal(50_000)))
    days = 3600 / entries
    while len(history.events) < entries:
        on = date(2015, 1, 5) + timedelta(days=int(len(history.events) * days))
        on += timedelta(days=max(0, on.weekday() - 4) and 7 - on.weekday())
        event = _event(dice, history, prices, on, splits)
        if event is not None and (transfers or event.kind != "transfer_in"):
            history.add(event)
    return history


def _event(
    dice: random.Random, history: History, prices: dict[str, int], on: date, splits: bool
) -> Event | None:
    symbol = dice.choice(list(ASSETS))
    currency = ASSETS[symbol][0]
    prices[symbol] = max(200, round(prices[symbol] * dice.uniform(0.95, 1.055)))
    price = Decimal(prices[symbol]) * CENT
    history.quotes[symbol].append((on, price))
    held = history.holdings.get(symbol, ZERO)
    drawn = dice.random()
    if drawn < 0.10:
        return Event("deposit", on, "EUR", Decimal(dice.randint(100_000, 400_000)) * CENT)
    if drawn < 0.12:
        most = int(history.cash["EUR"])
        return Event("withdrawal", on, "EUR", Decimal(dice.randint(1, most))) if most > 1 else None
    if drawn < 0.20:
        euros = (history.cash["EUR"] * Decimal("0.3")).quantize(CENT)
        if euros < 100:
            return None
        dollars = (euros * Decimal(dice.randint(10_500, 12_500)) / 10_000).quantize(CENT)
        return Event("exchange", on, "EUR", euros, counter_amount=dollars, counter_currency="USD")
    if drawn < 0.22:
        return Event("interest", on, currency, Decimal(dice.randint(1, 5_000)) * CENT)
    if drawn < 0.25:
        fee = Decimal(dice.randint(50, 1_000)) * CENT
        return Event("fee", on, currency, fee) if history.cash[currency] > fee else None
    if drawn < 0.40:
        if not held:
            return None
        gross = (held * price * Decimal("0.01")).quantize(CENT) + CENT
        tax = (gross * Decimal("0.15")).quantize(CENT)
        return Event("dividend", on, currency, gross, symbol, withheld=tax)
    if drawn < 0.405 and splits:
        # A split counts from the start of its day, so nothing else precedes it there.
        if not held or held % 2 or history.events[-1].on == on:
            return None
        prices[symbol] = max(200, prices[symbol] * 2 // 3)
        history.quotes[symbol].append((on, Decimal(prices[symbol]) * CENT))
        return Event("split", on, currency, symbol=symbol, ratio=(3, 2))
    if drawn < 0.415:
        units = Decimal(dice.randint(1, 20))
        return Event("transfer_in", on, currency, units * price, symbol, units, price)
    cost = Decimal(dice.randint(35, 990)) * CENT
    if drawn < 0.82:
        units = Decimal(dice.choice((1, 2, 5, 10, 25))) * dice.choice((Decimal(1), Decimal("0.5")))
        amount = (units * price).quantize(CENT)
        if amount + cost > history.cash[currency]:
            return None
        return Event("buy", on, currency, amount, symbol, units, price, cost)
    units = min(Decimal(dice.randint(1, 30)), held)
    amount = (units * price).quantize(CENT)
    if not units or amount <= cost:
        return None
    return Event("sell", on, currency, amount, symbol, units, price, cost)


def to_flex(history: History) -> bytes:
    """Return a history as an Activity Flex Query of Interactive Brokers."""
    sections: dict[str, list[str]] = {
        name: [] for name in ("Trades", "CashTransactions", "CorporateActions", "Transfers")
    }
    for number, event in enumerate(history.events, 1):
        day = f"{event.on:%Y%m%d}"
        _, isin, name = ASSETS.get(event.symbol, ("", "", ""))
        fields: dict[str, object] = {
            "accountId": "U0000000",
            "currency": event.currency,
            "transactionID": number,
            "reportDate": day,
            "assetCategory": "STK" if event.symbol else "",
            "symbol": event.symbol,
            "description": name,
            "isin": isin,
            "conid": 1000 + [*ASSETS].index(event.symbol) if event.symbol else "",
        }
        match event.kind:
            case "buy" | "sell":
                sign = 1 if event.kind == "buy" else -1
                fields |= {
                    "tradeID": number,
                    "tradeDate": day,
                    "dateTime": f"{day};1530{number % 60:02}",
                    "transactionType": "ExchTrade",
                    "buySell": event.kind.upper(),
                    "quantity": sign * event.quantity,
                    "tradePrice": event.price,
                    "proceeds": -sign * event.amount,
                    "ibCommission": -event.cost,
                    "ibCommissionCurrency": event.currency,
                    "taxes": 0,
                    "netCash": -sign * event.amount - event.cost,
                    "levelOfDetail": "EXECUTION",
                }
                sections["Trades"].append(_row("Trade", fields))
            case "exchange":
                rate = event.counter_amount / event.amount
                fields |= {
                    "currency": event.counter_currency,
                    "assetCategory": "CASH",
                    "symbol": f"{event.currency}.{event.counter_currency}",
                    "tradeID": number,
                    "tradeDate": day,
                    "transactionType": "ExchTrade",
                    "buySell": "SELL",
                    "quantity": -event.amount,
                    "tradePrice": round(rate, 5),
                    "proceeds": event.counter_amount,
                    "ibCommission": 0,
                    "ibCommissionCurrency": "EUR",
                    "levelOfDetail": "EXECUTION",
                }
                sections["Trades"].append(_row("Trade", fields))
            case "split":
                new, old = event.ratio
                text = (
                    f"{event.symbol}({isin}) SPLIT {new} FOR {old} ({event.symbol}, {name}, {isin})"
                )
                fields |= {"type": "FS", "dateTime": f"{day};202500", "description": text}
                fields |= {"actionID": 50_000 + number, "quantity": 1, "proceeds": 0}
                sections["CorporateActions"].append(_row("CorporateAction", fields))
            case "transfer_in":
                fields |= {"date": day, "type": "ACATS", "direction": "IN", "cashTransfer": 0}
                fields |= {"quantity": event.quantity, "positionAmount": event.amount}
                sections["Transfers"].append(_row("Transfer", fields))
            case "dividend":
                text = f"{event.symbol}({isin}) CASH DIVIDEND {event.currency} {number} PER SHARE"
                fields |= {"dateTime": f"{day};202000", "levelOfDetail": "DETAIL"}
                paid = {"type": "Dividends", "amount": event.amount, "description": text}
                sections["CashTransactions"].append(_row("CashTransaction", fields | paid))
                paid = {"type": "Withholding Tax", "amount": -event.withheld}
                paid |= {"description": f"{text} - US TAX", "transactionID": 70_000 + number}
                if event.withheld:
                    sections["CashTransactions"].append(_row("CashTransaction", fields | paid))
            case kind:
                sign = -1 if kind in ("withdrawal", "fee") else 1
                named = {
                    "interest": "Broker Interest Received",
                    "fee": "Other Fees",
                }.get(kind, "Deposits/Withdrawals")
                fields |= {"type": named, "dateTime": day, "amount": sign * event.amount}
                sections["CashTransactions"].append(
                    _row("CashTransaction", fields | {"levelOfDetail": "DETAIL"})
                )
    body = "\n".join(
        f"<{name}>\n" + "\n".join(rows) + f"\n</{name}>" for name, rows in sections.items()
    )
    return (
        '<FlexQueryResponse queryName="All" type="AF">\n<FlexStatements count="1">\n'
        '<FlexStatement accountId="U0000000" fromDate="20150101" toDate="20241231">\n'
        '<AccountInformation accountId="U0000000" currency="EUR" />\n'
        f"{body}\n</FlexStatement>\n</FlexStatements>\n</FlexQueryResponse>\n"
    ).encode()


def _row(name: str, fields: dict[str, object]) -> str:
    return f"<{name} " + " ".join(f'{field}="{value}"' for field, value in fields.items()) + " />"


def to_portfolio_performance(history: History) -> bytes:
    """Return a history as a file of Portfolio Performance, with an account for each currency.

    The rows of the securities account are nested in the first purchase of a cash account, and
    everything else refers to them, as the program writes it.
    """
    splits = [event for event in history.events if event.kind == "split"]

    def events(symbol: str) -> str:
        found = "".join(
            f"<event>\n<date>{one.on}</date>\n<type>STOCK_SPLIT</type>\n"
            f"<details>{one.ratio[0]}:{one.ratio[1]}</details>\n</event>\n"
            for one in splits
            if one.symbol == symbol
        )
        return f"<events>\n{found}</events>\n"

    def adjusted(event: Event) -> int:
        """Return the shares as the program changes them for later splits."""
        shares = Fraction(event.quantity) * 10**8
        for one in splits:
            if one.symbol == event.symbol and one.on > event.on:
                shares *= Fraction(*one.ratio)
        assert shares.denominator == 1
        return int(shares)

    securities = "".join(
        f"<security>\n<uuid>s{at}</uuid>\n<name>{name}</name>\n<currencyCode>{currency}"
        f"</currencyCode>\n<isin>{isin}</isin>\n<tickerSymbol>{symbol}</tickerSymbol>\n{events(symbol)}</security>\n"
        for at, (symbol, (currency, isin, name)) in enumerate(ASSETS.items(), 1)
    )
    accounts: dict[str, list[str]] = {"EUR": [], "USD": []}
    depot: list[str] = []
    for number, event in enumerate(history.events, 1):
        security = ""
        if event.symbol:
            at = [*ASSETS].index(event.symbol) + 1
            security = f'<security reference="{at}"/>\n'
        taxes = {"FEE": event.cost, "TAX": event.withheld}
        units = "".join(
            f'<unit type="{kind}"><amount currency="{event.currency}" amount="{_cents(amount)}"/>'
            "</unit>\n"
            for kind, amount in taxes.items()
            if amount
        )
        rows = accounts[event.currency]
        match event.kind:
            case "buy" | "sell":
                sign = 1 if event.kind == "buy" else -1
                value = event.amount + sign * event.cost
                kind = event.kind.upper()
                cross = (
                    f'<crossEntry class="buysell" id="c{number}">\n<portfolioTransaction '
                    f'reference="p{number}"/>\n<accountTransaction reference="a{number}"/>\n'
                    "</crossEntry>\n"
                )
                again = f'<crossEntry class="buysell" reference="c{number}"/>\n'
                rows.append(_pp("account", number, event, kind, value, security + cross))
                shares = f"<shares>{adjusted(event)}</shares>\n<units>\n{units}</units>\n"
                inside = security + again + shares
                depot.append(_pp("portfolio", number, event, kind, value, inside))
            case "transfer_in":
                shares = f"<shares>{adjusted(event)}</shares>\n"
                kind = "DELIVERY_INBOUND"
                depot.append(_pp("portfolio", number, event, kind, event.amount, security + shares))
            case "exchange":
                cross = (
                    f'<crossEntry class="account-transfer" id="c{number}">\n<transactionFrom '
                    f'reference="a{number}"/>\n<transactionTo reference="t{number}"/>\n'
                    "</crossEntry>\n"
                )
                rows.append(_pp("account", number, event, "TRANSFER_OUT", event.amount, cross))
                other = attrs.evolve(event, currency=event.counter_currency)
                again = f'<crossEntry class="account-transfer" reference="c{number}"/>\n'
                gained = _pp("account", number, other, "TRANSFER_IN", event.counter_amount, again)
                accounts[other.currency].append(gained.replace(f'"a{number}"', f'"t{number}"'))
            case "split":
                pass
            case kind:
                named = {
                    "deposit": "DEPOSIT",
                    "withdrawal": "REMOVAL",
                    "fee": "FEES",
                    "interest": "INTEREST",
                    "dividend": "DIVIDENDS",
                }[kind]
                value = event.amount - event.withheld
                inside = f"{security}<units>\n{units}</units>\n"
                rows.append(_pp("account", number, event, named, value, inside))
    body = "".join(
        f"<account>\n<name>{currency}</name>\n<currencyCode>{currency}</currencyCode>\n"
        f"<transactions>\n{''.join(rows)}</transactions>\n</account>\n"
        for currency, rows in accounts.items()
    )
    securities = "".join(
        part if not at else f'<security id="{at}">{part}'
        for at, part in enumerate(securities.split("<security>"))
    )
    return (
        "<client>\n<version>62</version>\n<baseCurrency>EUR</baseCurrency>\n<securities>\n"
        f"{securities}</securities>\n<accounts>\n{body}</accounts>\n<portfolios>\n<portfolio>\n"
        f"<name>Depot</name>\n<transactions>\n{''.join(depot)}</transactions>\n</portfolio>\n"
        "</portfolios>\n</client>\n"
    ).encode()


def _pp(account: str, number: int, event: Event, kind: str, value: Decimal, inside: str) -> str:
    return (
        f'<{account}-transaction id="{account[0]}{number}">\n<uuid>{account[0]}{number}</uuid>\n'
        f"<date>{event.on}T00:00</date>\n<currencyCode>{event.currency}</currencyCode>\n"
        f"<amount>{_cents(value)}</amount>\n{inside}<type>{kind}</type>\n</{account}-transaction>\n"
    )


def _cents(amount: Decimal) -> int:
    cents = amount * 100
    assert cents == int(cents), amount
    return int(cents)
