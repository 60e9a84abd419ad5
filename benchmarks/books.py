"""Write random books of portfolios and random prices, for measuring speed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.portfolio.risk import RISK_PROFILES

ASSETS, ROWS = 500, 300


def business_days(first: str, count: int) -> NDArray[np.datetime64]:
    """Return consecutive business days from ``first`` on, shape (count,)."""
    return np.busday_offset(np.array(first, "datetime64[D]"), np.arange(count))


def write_prices(path: Path, *, assets: int = ASSETS, rows: int = ROWS, seed: int = 1) -> None:
    """Write a price file of random walks with a common factor."""
    random = np.random.default_rng(seed)
    market = random.normal(0.0003, 0.008, (rows, 1))
    closes = 20 * np.exp(random.normal(0, 1, assets))
    closes = closes * np.cumprod(1 + market + random.normal(0, 0.012, (rows, assets)), axis=0)
    days = business_days("2021-01-04", rows)
    with path.open("w") as file:
        file.write("date," + ",".join(f"S{column:03}" for column in range(assets)) + "\n")
        for day, row in zip(days, np.round(closes, 2), strict=True):
            file.write(f"{day}," + ",".join(map(str, row.tolist())) + "\n")


def write_book(
    path: Path, portfolios: int, *, assets: int = ASSETS, profiles: bool = False, seed: int = 2
) -> None:
    """Write a file of portfolios of 5 to 30 assets each.

    Every fourth has a cash flow, every third a turnover cap and a minimum trade, and with
    ``profiles`` every third a risk profile.
    """
    named = list(RISK_PROFILES)
    random = np.random.default_rng(seed)
    with path.open("w") as file:
        for number in range(portfolios):
            count = int(random.integers(5, 31))
            symbols = [f"S{column:03}" for column in random.choice(assets, count, replace=False)]
            weights = random.dirichlet(np.full(count, 5.0)) * 0.98
            line = {
                "id": f"p{number}",
                "currency": "USD",
                "cash": f"{random.uniform(0, 5_000):.2f}",
                "holdings": {
                    symbol: str(int(random.integers(1, 400)))
                    for symbol in symbols[: count - count // 8]
                },
                "targets": {
                    symbol: round(float(weight), 6)
                    for symbol, weight in zip(symbols[count // 10 :], weights, strict=False)
                },
                "last_rebalance": "2021-11-30",
            }
            if number % 4 == 0:
                line["cash_flow"] = f"{random.uniform(-500, 2_000):.2f}"
            if number % 3 == 0:
                line["preferences"] = {"min_trade": "50.00", "max_turnover": 0.3}
            if profiles and number % 3 == 1:
                line["risk_profile"] = named[number % len(named)]
            file.write(json.dumps(line) + "\n")
