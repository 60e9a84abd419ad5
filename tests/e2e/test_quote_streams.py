"""Quotes of a real deployment: two server processes, Redis, and a worker that subscribes."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import watchdog
from tests.e2e.conftest import TIMEOUT, Running, until
from tests.e2e.test_jobs import logged_in
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.internet import Internet
from tests.servers import Valkey, running
from tests.yahoo_stream import YahooStreamServer


@contextmanager
def working(folder: Path, env: dict[str, str], name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker."""
    with (folder / f"{name}.jsonl").open("wb") as log:
        worker = subprocess.Popen(
            [COMMAND, "worker"], env=ENVIRONMENT | env, cwd=folder, stdout=log, stderr=log
        )
    watchdog.watch(worker)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()
        watchdog.release(worker)


class Watching:
    """A client in a thread of its own; it keeps the events of its stream."""

    def __init__(self, client: httpx.Client, path: str, **query: str) -> None:
        self.events: list[tuple[str, int, Any]] = []
        self.encoding: str | None = None
        self.ended = False
        self._client, self._path, self._query = client, path, query
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        found: dict[str, str] = {}
        try:
            with self._client.stream(
                "GET", self._path, params=self._query, headers={"Accept-Encoding": "gzip"}
            ) as stream:
                assert stream.status_code == 200
                self.encoding = stream.headers.get("content-encoding")
                for line in stream.iter_lines():
                    name, _, text = line.partition(": ")
                    if name in ("event", "id", "data"):
                        found[name] = text
                    elif not line and "data" in found:
                        data = json.loads(found["data"])
                        self.events.append((found["event"], int(found["id"]), data))
                        found = {}
        finally:
            self.ended = True

    def prices(self, symbol: str) -> list[float]:
        """Return the prices of an asset that came."""
        return [
            data["price"]
            for event, _, data in list(self.events)
            if event == "quote" and data["symbol"] == symbol
        ]


@pytest.fixture
def stream() -> YahooStreamServer:
    return YahooStreamServer()


def test_streams_of_two_processes_survive_the_death_of_the_subscriber_and_of_redis(
    serve: Callable[..., Running], stream: YahooStreamServer, tmp_path: Path
) -> None:
    with running(Valkey) as redis, ExitStack() as stack:
        internet = stack.enter_context(Internet({}, sockets=stream.sockets()))
        env = {
            **internet.environment(tmp_path),
            "REBALANCER_REDIS_URL": redis.url,
            "REBALANCER_QUOTES": "yahoo",
        }
        server = serve("--workers", "2", env=env)
        first = stack.enter_context(working(tmp_path, env, "first"))
        with server.client() as client:
            client.headers.update(logged_in(client))
            watching = [
                Watching(client, "/api/market/stream", symbols="AAPL,MSFT") for _ in range(4)
            ]
            until(lambda: stream.subscribed() == {"AAPL", "MSFT"})

            def all_have(price: float) -> bool:
                stream.send("AAPL", price)
                return all(price in one.prices("AAPL") for one in watching)

            until(lambda: all_have(250.5))
            assert {one.encoding for one in watching} == {None}
            second = stack.enter_context(working(tmp_path, env, "second"))
            first.kill()
            until(lambda: stream.subscribed() == {"AAPL", "MSFT"} and second.poll() is None)
            until(lambda: all_have(251.5))
            redis.kill()
            redis.start()
            until(lambda: all_have(252.5))
            for one in watching:
                numbers = [number for _, number, _ in one.events]
                assert numbers == sorted(numbers)
            assert server.stop() == 0  # although streams are open
            for one in watching:
                one.thread.join(TIMEOUT)
                assert one.ended
