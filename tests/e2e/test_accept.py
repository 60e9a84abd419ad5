"""An acceptance interrupted before or after its commit is executed exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from tests.contracts.databases import new_database
from tests.e2e.conftest import Running, until
from tests.e2e.test_server import logged_in

OPENED = {
    "name": "Retirement",
    "targets": {"AAPL": 0.3, "KO": 0.3, "PG": 0.3},
    "cash": "10000",
    "on": "2022-12-28",
}
KEY = {"Idempotency-Key": "the one and only"}

BEFORE = "waiting for the portfolio's lock"
AFTER = "during a slow commit"


@contextmanager
def stopped_at(url: str, where: str) -> Iterator[Callable[[], bool]]:
    """Stop acceptances at a point; yield a function that returns whether one has reached it."""
    with psycopg.connect(url) as operator, psycopg.connect(url, autocommit=True) as watch:
        if where == BEFORE:
            operator.execute("SELECT * FROM portfolios FOR UPDATE")
        else:
            watch.execute(
                "CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " PERFORM pg_sleep(3); RETURN NULL; END $$"
            )
            watch.execute(
                "CREATE CONSTRAINT TRIGGER take_a_while AFTER UPDATE ON proposals DEFERRABLE"
                " INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION take_a_while()"
            )

        def reached() -> bool:
            waits = "wait_event_type = 'Lock'" if where == BEFORE else "wait_event = 'PgSleep'"
            found = watch.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                f" AND application_name = 'rebalancer' AND {waits}"
            )
            return found.fetchone() == (1,)

        yield reached
        if where == AFTER:
            until(lambda: not reached())
            watch.execute("DROP TRIGGER take_a_while ON proposals")


def kill(server: Running) -> None:
    """Kill the server and all its processes."""
    parent = psutil.Process(server.process.pid)
    for process in (parent, *parent.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    server.process.wait(120)


@pytest.mark.parametrize("where", [BEFORE, AFTER], ids=["before", "after"])
def test_interrupted_acceptance_is_executed_once(
    serve: Callable[..., Running], postgres_url: str, where: str
) -> None:
    with new_database(postgres_url) as url:
        env = {"REBALANCER_DATABASE_URL": url}
        first = serve("--upgrade", env=env)
        with first.client() as client:
            logged_in(client)
            portfolio = client.post("/api/portfolios", json=OPENED).json()["id"]
            made = client.post("/api/rebalance/predict", json={"portfolio_id": portfolio}).json()
            path = f"/api/rebalance/{made['id']}/accept"
            with ThreadPoolExecutor(1) as thread, stopped_at(url, where) as reached:
                asked = thread.submit(client.post, path, headers=KEY)
                until(reached)
                kill(first)
                assert isinstance(asked.exception(20), httpx.TransportError)
            token = client.headers["Authorization"]
        second = serve(env=env)
        with second.client(headers={"Authorization": token}) as client:
            stored = client.get(f"/api/rebalance/{made['id']}").json()
            assert stored["stage"] == ("proposed" if where == BEFORE else "executed")
            answers: list[Any] = []
            threads = [
                threading.Thread(
                    target=lambda: answers.append(client.post(path, headers=KEY).json())
                )
                for _ in range(3)
            ]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
            assert {answer.get("stage", answer.get("status")) for answer in answers} <= {
                "executed",
                409,  # while another request is in progress
            }
            assert client.post(path, headers=KEY).json()["stage"] == "executed"
            entries = client.get(f"/api/portfolios/{portfolio}/transactions").json()["items"]
            fills = [one for one in entries if one["kind"] in ("buy", "sell")]
            assert sorted((one["symbol"], one["quantity"]) for one in fills) == sorted(
                (order["symbol"], order["quantity"]) for order in made["orders"]
            )
            assert client.get(f"/api/portfolios/{portfolio}").json()["version"] == 2
        assert second.stop() == 0
