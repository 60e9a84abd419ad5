"""Histories of 2,000 entries from a file to gains and returns, over HTTP and at a terminal.

What they add up to is computed here on its own, from the events and the closes.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.assembly import PricingTerms, assemble_history
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from tests.entrypoints.conftest import Run
from tests.entrypoints.http.conftest import PASSWORD, ApiUser, RunningApi
from tests.entrypoints.test_store_commands import ADA
from tests.histories import ASSETS, Event, History, make_history, to_flex, to_portfolio_performance

DAYS = np.arange(np.datetime64("2015-01-05"), np.datetime64("2024-12-31"))
DAYS = DAYS[np.is_busday(DAYS)]
LISTED = Instruments.of(
    Instrument(symbol, currency=currency) for symbol, (currency, _, _) in ASSETS.items()
)
HISTORIES: dict[str, tuple[History, Callable[[History], bytes]]] = {
    "ibkr_flex": (make_history(seed=7, transfers=False), to_flex),
    "portfolio_performance_xml": (make_history(seed=7), to_portfolio_performance),
}


SYMBOLS = (*ASSETS, "EURUSD")
CENT = 0.005001


@attrs.frozen
class Sums:
    """What a history adds up to in euros."""

    cash: dict[str, Decimal]
    holdings: dict[str, Decimal]
    value: float
    contributed: float
    twr: float
    irr: float
    gain: Fraction
    dividends: float
    closes: np.ndarray
    splits: list[CorporateAction]

    def market(self) -> PriceHistory:
        """Return closes as traded, exchange rates and splits."""
        terms = PricingTerms("EUR", LISTED)
        found = assemble_history(SYMBOLS, DAYS, self.closes, terms, actions=Actions.of(self.splits))
        assert found is not None
        return found


def steps(changes: list[tuple[date, Any]]) -> np.ndarray:
    """Return the value on each day of what changes on some days."""
    at = np.searchsorted([np.datetime64(on) for on, _ in changes], DAYS, "right") - 1
    return np.array([float(value) for _, value in changes])[np.maximum(at, 0)]


class Account:
    """Cash, units and lots in euros while a history is replayed."""

    def __init__(self, rates: dict[date, Fraction]) -> None:
        self.cash = dict.fromkeys(("EUR", "USD"), Fraction(0))
        self.units = dict.fromkeys(ASSETS, Fraction(0))
        self.lots: dict[str, list[list[Fraction]]] = defaultdict(list)
        self.gain = self.dividends = Fraction(0)
        self.rates = rates

    def euros(self, amount: Fraction, currency: str, on: date) -> Fraction:
        return amount / self.rates[on] if currency == "USD" else amount

    def value(self, prices: dict[str, float], on: date) -> float:
        dollar = float(self.rates[on])
        held = sum(
            float(units) * prices[symbol] / (dollar if ASSETS[symbol][0] == "USD" else 1.0)
            for symbol, units in self.units.items()
            if units
        )
        return held + float(self.cash["EUR"]) + float(self.cash["USD"]) / dollar

    def begin(self, event: Event) -> None:
        """Split units and receive income, before anything else of a day."""
        if event.kind == "split":
            ratio = Fraction(*event.ratio)
            self.units[event.symbol] *= ratio
            for lot in self.lots[event.symbol]:
                lot[0] *= ratio
        if event.kind in ("dividend", "interest"):
            self.cash[event.currency] += Fraction(event.amount - event.withheld)
        if event.kind == "dividend":
            self.dividends += self.euros(Fraction(event.amount), event.currency, event.on)

    def move(self, event: Event) -> None:
        """Book money and trades."""
        amount, cost, units = map(Fraction, (event.amount, event.cost, event.quantity))
        match event.kind:
            case "deposit":
                self.cash[event.currency] += amount
            case "withdrawal" | "fee":
                self.cash[event.currency] -= amount
            case "exchange":
                self.cash[event.currency] -= amount
                self.cash[event.counter_currency] += Fraction(event.counter_amount)
            case "buy" | "transfer_in":
                self.units[event.symbol] += units
                paid = self.euros(amount + cost, event.currency, event.on)
                self.lots[event.symbol].append([units, paid])
                if event.kind == "buy":
                    self.cash[event.currency] -= amount + cost
            case "sell":
                self.units[event.symbol] -= units
                self.cash[event.currency] += amount - cost
                proceeds = self.euros(amount - cost, event.currency, event.on)
                self.gain += round(proceeds, 2) - round(self.take(event.symbol, units), 2)

    def take(self, symbol: str, units: Fraction) -> Fraction:
        """Return the cost of units, first in, first out."""
        lots, cost = self.lots[symbol], Fraction(0)
        while units:
            held, paid = lots.pop(0)
            taken = min(held, units)
            cost += paid * taken / held
            if held > taken:
                lots.insert(0, [held - taken, paid * (held - taken) / held])
            units -= taken
        return cost


def add_up(history: History) -> Sums:
    """Return the sums of a history."""
    days = DAYS.tolist()
    exchanges = [event for event in history.events if event.kind == "exchange"]
    dollars = steps([(one.on, one.counter_amount / one.amount) for one in exchanges])
    closes = {symbol: steps(history.quotes[symbol]) for symbol in ASSETS}
    account = Account({day: Fraction(float(one)) for day, one in zip(days, dollars, strict=True)})
    by_day = defaultdict(list)
    for event in history.events:
        by_day[event.on].append(event)
    flows: list[tuple[date, float]] = []
    growth, before = 1.0, 0.0
    for row, day in enumerate(days):
        prices = {symbol: float(one[row]) for symbol, one in closes.items()}
        for event in by_day[day]:
            account.begin(event)
        stood, paid_in, paid_out = account.value(prices, day), 0.0, 0.0
        for event in by_day[day]:
            account.move(event)
            if event.kind == "deposit":
                paid_in += float(event.amount)
            elif event.kind == "withdrawal":
                paid_out += float(event.amount)
            elif event.kind == "transfer_in":
                worth = event.quantity * history.close(event.symbol, day)
                paid_in += float(account.euros(Fraction(worth), event.currency, day))
        after = account.value(prices, day)
        growth *= (stood / before if before else 1.0) * (after + paid_out) / (stood + paid_in)
        before = after
        flows.append((day, paid_in - paid_out))
    splits = [event for event in history.events if event.kind == "split"]
    return Sums(
        cash={code: to_decimal(one) for code, one in account.cash.items() if one},
        holdings={symbol: to_decimal(one) for symbol, one in account.units.items() if one},
        value=before,
        contributed=sum(amount for _, amount in flows),
        twr=growth - 1.0,
        irr=solve(flows, before),
        gain=account.gain,
        dividends=float(account.dividends),
        closes=np.column_stack([*closes.values(), dollars]),
        splits=[
            CorporateAction(
                one.symbol, one.on, ActionKind.SPLIT, Decimal(one.ratio[0]) / one.ratio[1]
            )
            for one in splits
        ],
    )


def to_decimal(number: Fraction) -> Decimal:
    return Decimal(number.numerator) / number.denominator


def solve(flows: list[tuple[date, float]], value: float) -> float:
    """Return the rate a year at which flows and the last value have no present value."""
    years = np.array([(on - flows[0][0]).days for on, _ in flows]) / 365.0
    paid = np.array([amount for _, amount in flows])
    low, high = -0.99, 10.0
    for _ in range(100):
        rate = (low + high) / 2
        worth = value * (1 + rate) ** -years[-1] - paid @ (1 + rate) ** -years
        low, high = (rate, high) if worth > 0 else (low, rate)
    return low


def check(sums: Sums, shown: Any, performance: Any, gains: Any) -> None:
    """Compare the answers about a portfolio with the sums of its history."""
    cash = shown.get("cash_by_currency", shown["cash"])
    assert {code: Decimal(one) for code, one in cash.items() if Decimal(one)} == sums.cash
    held = {
        symbol: Decimal(one["quantity"] if isinstance(one, dict) else one)
        for symbol, one in shown["holdings"].items()
    }
    assert held == sums.holdings
    assert float(shown["value"]) == pytest.approx(sums.value, abs=CENT)
    line = performance["portfolio"]
    assert line["time_weighted_return"] == pytest.approx(sums.twr, abs=1e-9)
    assert line["money_weighted_return"] == pytest.approx(sums.irr, abs=1e-9)
    assert performance["contributed"] == pytest.approx(sums.contributed, abs=CENT)
    assert performance["dividends"] == pytest.approx(sums.dividends, abs=CENT)
    assert performance["gain"] == pytest.approx(sums.value - sums.contributed, abs=2 * CENT)
    realised = sum(Decimal(year["gain"]) for year in gains["years"])
    assert float(realised) == pytest.approx(float(sums.gain), abs=CENT)


def open_portfolio(store: Run, sums: Sums, folder: Path) -> str:
    """Import the market at a terminal, and open an empty portfolio; return its id."""
    days = np.datetime_as_string(DAYS)
    with (folder / "bars.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("date", "symbol", "close"),
                *(
                    (day, symbol, repr(float(close)))
                    for day, row in zip(days, sums.closes, strict=True)
                    for symbol, close in zip(SYMBOLS, row, strict=True)
                ),
            ]
        )
    listed = [f"{symbol},{currency}" for symbol, (currency, _, _) in ASSETS.items()]
    (folder / "assets.csv").write_text("\n".join(["symbol,currency", *listed]) + "\n")
    files = ["--bars", "bars.csv", "--assets", "assets.csv"]
    if sums.splits:
        splits = [f"{one.symbol},{one.ex_day},split,{one.value}," for one in sums.splits]
        header = "symbol,ex_date,kind,value,currency"
        (folder / "actions.csv").write_text("\n".join([header, *splits]) + "\n")
        files += ["--actions", "actions.csv"]
    told = store("market", "import", *files)
    assert told.code == 0, told
    portfolio = {
        "id": "mine",
        "currency": "EUR",
        "cash": "0",
        "holdings": {},
        "targets": {"FOXT": 1},
    }
    (folder / "mine.json").write_text(json.dumps(portfolio))
    done = store("portfolio", "import", "mine.json", *ADA, "--json")
    assert done.code == 0, done
    id: str = done.json["opened"][0]["id"]
    return id


@pytest.fixture
def work() -> MemoryWork:
    """Keep the HTTP application's data in memory."""
    return MemoryWork()


@pytest.fixture
def store(quickly: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a new database with the user Ada."""
    monkeypatch.setenv("REBALANCER_PRICES", "store")
    monkeypatch.setenv("REBALANCER_CURRENCY", "EUR")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    assert quickly("db", "upgrade").code == 0
    assert quickly("user", "create", "--email", "ada@example.org").code == 0
    return quickly


@pytest.mark.parametrize("layout", HISTORIES)
def test_history_gives_the_same_sums_over_http_and_at_a_terminal(
    layout: str, api: RunningApi, ada: ApiUser, store: Run, tmp_path: Path
) -> None:
    history, write = HISTORIES[layout]
    sums = add_up(history)
    market = sums.market()
    api.market.serve(market)
    id = ada.portfolio(currency="EUR", cash="0", targets={"FOXT": 1.0})["id"]
    path = f"/api/portfolios/{id}"
    file = {"file": ("all.xml", write(history))}
    made = ada.ask("POST", f"{path}/imports", files=file, data={"dry_run": "false"})
    assert made.status_code == 200, made.text
    assert made.json()["record"]["entries"] == 2000
    codes = {one["code"] for one in made.json()["preview"]["remarks"]}
    assert "price_far_from_close" not in codes
    shown = ada.get(path).json()
    check(sums, shown, ada.get(f"{path}/performance").json(), ada.get(f"{path}/gains").json())

    (tmp_path / "all.xml").write_bytes(write(history))
    id = open_portfolio(store, sums, tmp_path)
    command = ("portfolio", "import-statement", "all.xml", "--portfolio", id, "--commit", "--json")
    done = store(*command)
    assert done.code == 0, done
    assert done.json["record"]["entries"] == 2000
    found = [store("portfolio", what, id, "--json") for what in ("show", "performance", "gains")]
    assert {one.code for one in found} == {0}, found
    check(sums, *(one.json for one in found))
