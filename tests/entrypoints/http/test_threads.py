"""Each kind of waiting has its own bounded threads."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from pathlib import Path

import pytest

from rebalancer.entrypoints.http import routes
from rebalancer.entrypoints.http.threads import Pool, ServerBusy, run_in

TIMEOUT = 60.0

marker: ContextVar[str] = ContextVar("marker", default="unset")


def test_context_variables_reach_the_thread() -> None:
    async def ask() -> str:
        marker.set("set by the request")
        return await run_in(Pool(name="test", threads=1, waiting=1), marker.get)

    assert asyncio.run(ask()) == "set by the request"


def test_full_pool_refuses_and_delays_no_other() -> None:
    blocked, free = (Pool(name="test", threads=1, waiting=2) for _ in range(2))
    release = threading.Event()

    async def attack() -> list[str]:
        slow = [asyncio.create_task(run_in(blocked, release.wait, TIMEOUT)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ServerBusy, match="try again"):
            await run_in(blocked, str)
        answers = [await run_in(free, str.upper, "free")]
        release.set()
        await asyncio.gather(*slow)
        return [*answers, await run_in(blocked, str.upper, "again")]

    assert asyncio.run(attack()) == ["FREE", "AGAIN"]


def test_abandoned_calls_leave_their_places() -> None:
    pool = Pool(name="test", threads=1, waiting=1)
    release = threading.Event()

    async def abandon() -> str:
        running = asyncio.create_task(run_in(pool, release.wait, TIMEOUT))
        for _ in range(3):
            waiting = asyncio.create_task(run_in(pool, str))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        release.set()
        await running
        return await run_in(pool, str.upper, "free")

    assert asyncio.run(abandon()) == "FREE"


def test_errors_reach_the_caller() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(run_in(Pool(name="test", threads=1, waiting=1), fail))


def test_routes_use_the_bounded_pools() -> None:
    folder = Path(routes.__path__[0])
    used = [
        file.name
        for file in folder.glob("*.py")
        if "to_thread(" in file.read_text(encoding="utf-8")
    ]
    assert used == []
