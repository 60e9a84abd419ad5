"""A portfolio in two currencies whose assets split and pay: imported files, and the API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rebalancer.entrypoints.cli.files import write_text
from rebalancer.entrypoints.cli.tour import Client, running

if TYPE_CHECKING:
    from rich.console import Console

    from rebalancer.domain.market.prices import PriceHistory

SYMBOLS = ("AAPL", "KO")
_FIRST, _LAST = np.datetime64("2020-06-01"), np.datetime64("2020-12-31")
_SPLIT_DAY, _SPLIT = np.datetime64("2020-08-31"), 4
_ACTIONS = """symbol,ex_date,kind,value,currency
AAPL,2020-08-31,split,4:1,
KO,2020-09-14,dividend,0.41,USD
"""
_ASSETS = """symbol,name,asset_class,currency,market
AAPL,Apple,equity,USD,XNAS
KO,Coca-Cola,equity,USD,XNYS
"""
_PORTFOLIO = {
    "name": "Euro and dollar",
    "currency": "EUR",
    "on": str(_FIRST),
    "cash": {"EUR": "1000.00", "USD": "500.00"},
    "holdings": {"AAPL": "10", "KO": "100"},
    "targets": {"AAPL": 0.4, "KO": 0.5},
}


def tour_in_currencies(screen: Console, history: PriceHistory, folder: Path) -> None:
    """Import prices as traded with a split and a dividend, and show a portfolio in two currencies.

    Args:
        screen: Where to print.
        history: Packaged adjusted closes of `SYMBOLS`.
        folder: Where the imported files are written.

    Raises:
        InvalidRequest: the folder cannot be written.
        Unavailable: the server did not start, or rejected a request.
    """
    files = {"bars": _bars(history), "actions": _ACTIONS, "assets": _ASSETS}
    options = []
    for name, text in files.items():
        path = folder / f"{name}.csv"
        write_text(path, text, field="out")
        options += [f"--{name}", str(path)]
    screen.print(
        "Imported bars.csv, actions.csv and assets.csv: the packaged closes of AAPL and KO of June "
        "to December 2020, those of AAPL before its split of 4 for 1 times 4, and one dividend of "
        "KO. They are near what was traded, and not exactly that. The portfolio's base currency "
        "is the euro; exchange rates are the reference rates of the European Central Bank.\n"
    )
    with running(options) as address:
        client = Client(address, screen)
        who = {"email": "ada@example.org", "password": "a long sentence is best"}
        client("POST", "/api/users/register", who | {"name": "Ada"})
        client.token = client("POST", "/api/users/login", who)["access_token"]
        opened = client("POST", "/api/portfolios", _PORTFOLIO)
        client.comment(
            f"opened on {_FIRST} with 1,000.00 EUR and 500.00 USD in cash, 10 AAPL and 100 KO"
        )
        booked = client("GET", f"/api/portfolios/{opened['id']}/actions")
        for action in booked["items"]:
            client.comment(_describe_action(action))
        now = client("GET", f"/api/portfolios/{opened['id']}")
        client.comment(_describe_portfolio(now))
        done = client("GET", f"/api/portfolios/{opened['id']}/performance")
        own = done["portfolio"]
        total, local = own["time_weighted_return"], own["local_return"]
        client.comment(
            f"{done['first']} to {done['last']}: {total:+.1%} in EUR; assets in their currency "
            f"{local:+.1%}, currency {own['currency_effect']:+.1%}, dividends "
            f"{done['dividends']:.2f} EUR"
        )
        proposal = client("POST", "/api/rebalance/predict", {"portfolio_id": opened["id"]})
        client.comment(_describe_orders(proposal))


def _bars(history: PriceHistory) -> str:
    """Return bars of closes as traded, made from adjusted ones."""
    closes = history.closes.copy()
    closes[history.dates < _SPLIT_DAY, history.column("AAPL")] *= _SPLIT
    inside = (history.dates >= _FIRST) & (history.dates <= _LAST)
    lines = ["date,symbol,close"]
    for day, row in zip(history.dates[inside], closes[inside], strict=True):
        lines += [f"{day},{symbol},{row[history.column(symbol)]:.2f}" for symbol in history.symbols]
    return "\n".join(lines) + "\n"


def _describe_action(action: dict[str, Any]) -> str:
    effects = []
    for entry in action["entries"]:
        if entry["kind"] == "split":
            effects.append(
                f"{action['units']} shares became {float(entry['ratio']):g} times as many"
            )
        elif entry["kind"] == "dividend":
            effects.append(f"{entry['amount']} {entry['currency']} for {action['units']} shares")
        elif entry["kind"] == "exchange":
            effects.append(f"exchanged for {entry['counter_amount']} {entry['counter_currency']}")
    return f"{action['key']}: {', '.join(effects) or action['state']}"


def _describe_portfolio(portfolio: dict[str, Any]) -> str:
    held = ", ".join(
        f"{one['quantity']} {symbol} at {one['price']} {one['currency']}"
        for symbol, one in portfolio["holdings"].items()
    )
    cash = " and ".join(
        f"{amount} {code}" for code, amount in portfolio["cash_by_currency"].items()
    )
    return f"worth {portfolio['value']} {portfolio['currency']}: {held}, {cash} in cash"


def _describe_orders(proposal: dict[str, Any]) -> str:
    orders = [
        f"{one['side']} {one['quantity']} {one['symbol']} for {one['amount']} {one['currency']}"
        for one in proposal["orders"]
    ]
    conversions = [
        f"{one['from_amount']} {one['from_currency']} to {one['to_amount']} {one['to_currency']}"
        for one in proposal["conversions"]
    ]
    return (
        f"{', '.join(orders) or 'nothing to trade'}; converts {', '.join(conversions) or 'nothing'}"
    )
