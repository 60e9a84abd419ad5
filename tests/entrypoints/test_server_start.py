"""A server starts without the libraries that only requests to providers need."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.market import SqlMarket
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.instruments import Instrument, Instruments
from tests.entrypoints.conftest import ENVIRONMENT

HEAVY = {"pandas", "exchange_calendars", "httpx", "yfinance", "curl_cffi", "pyrate_limiter"}
PROGRAM = f"""
import asyncio, sys
from rebalancer.config import Settings
from rebalancer.entrypoints.server import create_api

app = create_api(Settings.read())

async def start():
    async with app.lifespan():
        print(app.state.readiness is not None, sorted({HEAVY} & set(sys.modules)))

asyncio.run(start())
"""


def test_a_server_of_stored_prices_loads_calendars_once_on_a_host(tmp_path, sqlite_template):
    path = tmp_path / "stored.db"
    path.write_bytes(sqlite_template.read_bytes())
    engine = connect(f"sqlite:///{path}")
    days = np.arange("2023-01-02", "2024-03-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    market = SqlMarket(engine)
    market.save_bars([Bars("VTI", days, np.full(len(days), 100.0), adjusted=False)])
    market.save_instruments(Instruments.of([Instrument("VTI", currency="USD", market="XNYS")]))
    engine.dispose()
    settings = {
        "REBALANCER_DATABASE_URL": f"sqlite:///{path}",
        "REBALANCER_PRICES": "store",
        "REBALANCER_CACHE": str(tmp_path / "cache"),
    }

    def start():
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            encoding="utf-8",
            env=ENVIRONMENT | settings,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert start() == "True ['exchange_calendars', 'pandas']"
    assert start() == "True []"
