"""Answers of the server, for tests of the view models."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from rebalancer_app.gateway.decoding import decode
from rebalancer_app.gateway.gains import Gains
from rebalancer_app.gateway.home import Home
from rebalancer_app.gateway.performance import Performance
from rebalancer_app.gateway.portfolios import Portfolio
from rebalancer_app.gateway.rebalance import Proposal

ONE, TWO = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
DAYS = [date(2025, 11, 3) + timedelta(days) for days in range(61)]


def home(**more: Any) -> Home:
    """Return a summary of one portfolio outside its band."""
    change = {"period": "1Y", "since": "2025-01-02", "gain": "-12.30", "change": -0.0123}
    card = {
        "id": str(ONE),
        "name": "Pension",
        "currency": "EUR",
        "value": "1234567.89",
        "changes": [change],
        "sparkline": [1.0, 2.0],
        "drift": 0.165,
        "band": 0.02,
        "outside": ["AAPL"],
        "uninvested": "0",
    }
    found: dict[str, Any] = {
        "currency": "EUR",
        "value": "1234567.89",
        "as_of": "2026-01-02",
        "period": "1Y",
        "history": {"dates": ["2026-01-01", "2026-01-02"], "values": [1, 2], "contributions": []},
        "changes": [change],
        "portfolios": [card],
        "to_do": [],
        "notes": ["A note."],
    }
    found["history"]["contributions"] = [1, 1]
    return decode(found | more, Home)


def to_do(task: str, **more: Any) -> dict[str, Any]:
    """Return something to do."""
    ids = {"portfolio_id": str(ONE), "proposal_id": str(TWO)}
    return {"task": task, "symbols": [], "days": None} | ids | more


def portfolio(**more: Any) -> Portfolio:
    """Return a portfolio of two assets, one without a price."""
    held = {
        "quantity": "10.500",
        "price": "100.25",
        "currency": "USD",
        "price_date": "2026-01-02",
        "stale": False,
        "value": "1052.63",
        "weight": 0.7,
    }
    unknown = held | {"price": None, "value": None, "weight": None, "currency": None}
    found: dict[str, Any] = {
        "id": str(ONE),
        "version": 3,
        "name": "Pension",
        "currency": "USD",
        "targets": {"AAPL": 0.6, "BND": 0.3},
        "risk_profile": "balanced",
        "preferences": {
            "whole_shares": False,
            "do_not_sell": [],
            "do_not_buy": [],
            "band": None,
        },
        "as_of": "2026-01-02",
        "value": "1503.76",
        "cash": "451.13",
        "uninvested": "100.00",
        "holdings": {"AAPL": held, "GOLD": unknown},
        "notes": [],
        "last_rebalance": None,
        "created": "2025-01-02T00:00:00Z",
        "changed": "2025-01-02T00:00:00Z",
    }
    return decode(found | more, Portfolio)


def proposal(**more: Any) -> Proposal:
    """Return a proposal of a sale and a purchase that waits for a decision."""
    order = {
        "symbol": "AAPL",
        "side": "sell",
        "quantity": "2.50",
        "price": "100.10",
        "value": "250.25",
        "cost": "0.25",
        "reason": "It is above its band.",
        "currency": "USD",
        "amount": "250.25",
    }
    found: dict[str, Any] = {
        "id": str(TWO),
        "portfolio_id": str(ONE),
        "stage": "proposed",
        "stale": None,
        "proposed": NOW.isoformat(),
        "expires": (NOW + timedelta(hours=5)).isoformat(),
        "decided": None,
        "open_until": None,
        "remark": "",
        "policy": "band",
        "as_of": "2026-01-02",
        "currency": "EUR",
        "orders": [order, order | {"symbol": "BND", "side": "buy"}],
        "conversions": [],
        "fills": [],
        "not_traded": [{"symbol": "GOLD", "reason": "It is within its band."}],
        "weights_before": {"AAPL": 0.7},
        "weights_after": {"AAPL": 0.6, "BND": 0.3},
        "cash_after": "150.00",
        "turnover": 0.25,
        "cost": "0.50",
        "drift_before": 0.1,
        "drift_after": 0.0,
        "volatility_before": 0.2,
        "volatility_after": 0.15,
        "notes": [],
        "others": [
            {
                "policy": "monthly",
                "status": "proposed",
                "orders": 2,
                "turnover": 0.3,
                "cost": "0.75",
                "drift_after": 0.0,
            }
        ],
        "disclaimer": "Computed, not advice.",
    }
    return decode(found | more, Proposal)


def performance(**more: Any) -> Performance:
    """Return sixty days of a portfolio that fell and rose."""
    values = [1000.0 + 10 * (n % 7) for n in range(len(DAYS))]
    line = {
        "name": "portfolio",
        "final_value": values[-1],
        "time_weighted_return": 0.04,
        "time_weighted_return_a_year": None,
        "money_weighted_return": None,
        "volatility": 0.12,
        "max_drawdown": -0.06,
        "values": values,
    }
    found: dict[str, Any] = {
        "currency": "EUR",
        "first": DAYS[0].isoformat(),
        "last": DAYS[-1].isoformat(),
        "contributed": 1000.0,
        "gain": -40.255,
        "costs": 1.5,
        "dividends": 0.0,
        "interest": 0.0,
        "taxes": 0.0,
        "portfolio": line,
        "no_rebalancing": line,
        "benchmark": line | {"name": "AAPL:0.6, BND:0.3"},
        "dates": [day.isoformat() for day in DAYS],
        "contributions": [1000.0] * len(DAYS),
        "notes": [],
    }
    return decode(found | more, Performance)


def exact(text: str) -> Decimal:
    """Return a decimal number."""
    return Decimal(text)


def gains(**more: Any) -> Gains:
    """Return a year with a gain, one asset that is held in two lots, and one that is sold."""
    year = {
        "year": "2025",
        "gain": "120.50",
        "short_term": "-30.00",
        "long_term": "150.50",
        "undetermined": "0.00",
        "unknown": 1,
        "dividends": "12.00",
        "interest": None,
        "withheld": "1.80",
        "fees": "0.00",
    }
    lot = {
        "symbol": "AAPL",
        "quantity": "10.00",
        "acquired": "2023-01-03",
        "days": 1095,
        "term": "long",
        "cost": "800.00",
        "gain": "1200.00",
    }
    sold = {"symbol": "GOLD", "on": "2025-06-02", "quantity": "3", "gain": "120.50"}
    found: dict[str, Any] = {
        "currency": "EUR",
        "method": "fifo",
        "as_of": "2026-01-02",
        "years": [year | {"year": "2024"}, year],
        "disposals": [sold, sold | {"gain": None}],
        "open_lots": [
            lot,
            lot | {"acquired": None, "days": None, "term": None, "gain": "-1.00"},
        ],
        "unrealised": {"gain": "1199.00", "unknown": 0},
        "notes": ["A note."],
    }
    return decode(found | more, Gains)
