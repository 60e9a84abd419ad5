"""A quote is never a close: it changes no history, indicator, backtest or proposal at closes."""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path

import pytest

import rebalancer
from rebalancer.domain.market.live_quotes import LiveQuote
from tests.entrypoints.http.conftest import START, ApiUser, RunningApi

SOURCE = Path(rebalancer.__file__).parent

FORBIDDEN = (
    "domain/backtest",
    "domain/policy",
    "domain/rebalancing/solver.py",
    "domain/market/prices.py",
    "domain/market/bars.py",
    "domain/market/bar_years.py",
    "domain/market/indicators.py",
    "domain/market/technical.py",
    "application/stored_market.py",
    "application/market_import.py",
    "application/market_data.py",
    "application/synchronize.py",
    "application/indicators.py",
    "application/backtests.py",
    "application/training.py",
    "adapters/sql/market.py",
    "adapters/mongo",
    "adapters/mapped",
    "adapters/redis/prices.py",
    "adapters/rl",
)
"""What stores closes or computes with them."""

QUOTES = ("live_quotes", "ports.quotes", "application.quotes", "application.live_values")


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    plain = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    return named | plain


def test_what_stores_closes_or_computes_with_them_does_not_know_quotes() -> None:
    files = [
        file
        for name in FORBIDDEN
        for file in ([SOURCE / name] if name.endswith(".py") else (SOURCE / name).rglob("*.py"))
    ]
    assert len(files) > len(FORBIDDEN)
    wrong = {
        str(file.relative_to(SOURCE)): found
        for file in files
        if (found := [one for one in imports(file) if one.endswith(QUOTES)])
    }
    assert not wrong


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_posted_quotes_change_nothing_that_is_made_at_closes(api: RunningApi, ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    board = api.app.state.quote_streams.hub._board

    def state() -> list[object]:
        proposal = ada.proposal(portfolio)
        data = [
            ada.get("/api/market/data/C", params={"indicators": "rsi:14,sma:20"}).json(),
            ada.get("/api/market/assets", params={"query": "C"}).json(),
            ada.get(f"/api/portfolios/{portfolio}").json(),
            ada.get(f"/api/portfolios/{portfolio}/performance").json(),
        ]
        return [
            *data,
            {
                name: proposal[name]
                for name in ("as_of", "orders", "input_hash")
                if name in proposal
            },
        ]

    before = state()
    assert len(before[-1]) >= 2
    traded = START - timedelta(minutes=1)
    symbols = [one["symbol"] for one in ada.get("/api/market/assets").json()["items"]]
    posted = board.post(
        [LiveQuote(one, 1.0 + len(one), "USD", traded, traded, "test") for one in symbols]
    )
    assert len(posted) == len(symbols) > 1
    assert state() == before
