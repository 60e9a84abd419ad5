"""The real application, over memory and over SQLite; only time, names and prices are ours."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import attrs
import httpx
import pytest
from dishka import Provider, Scope
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy import Engine, event

from rebalancer.adapters.memory import MemoryInstruments, MemoryWork
from rebalancer.adapters.security.passwords import ArgonPasswords
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.migrations import upgrade
from rebalancer.adapters.sql.store import SqlWork
from rebalancer.application.ports import (
    Clock,
    Ids,
    InstrumentSource,
    Passwords,
    PriceSource,
    PricesUnavailable,
    UnitOfWork,
)
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.entrypoints.http.app import application
from rebalancer.wiring import Sources, async_container
from tests.builders import CLASSES, varied_prices

PASSWORD = "correct horse battery staple"
START = datetime(2026, 11, 2, 9, tzinfo=UTC)
NOBODY = UUID(int=7)
"""An id that nothing has."""


class Time:
    """A clock that stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **much: float) -> None:
        self.now += timedelta(**much)


class Names:
    """Ids that follow from how many there were before."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def __call__(self) -> UUID:
        return uuid5(NOBODY, str(next(self._numbers)))


class Market:
    """A history of which the last days are still to come."""

    def __init__(self, history: PriceHistory, *, to_come: int = 5) -> None:
        self._history = history
        self._to_come = to_come
        self.away = False

    def pass_a_day(self) -> None:
        self._to_come -= 1

    def symbols(self) -> tuple[str, ...]:
        return self._history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        if self.away:
            raise PricesUnavailable("the exchange is on fire")
        known = self._history.until(len(self._history) - 1 - self._to_come)
        return known.window(symbols, days=days, until=until)

    @property
    def last(self) -> str:
        return self.closes().last_date.isoformat()

    def day(self, back: int) -> str:
        """An earlier day with a close."""
        return str(self.closes().dates[-1 - back])


class Work:
    """A store that can be taken away, or made to break."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work
        self.away = False
        self.broken: Exception | None = None

    def begin(self) -> Any:
        return self._opened(self._work.begin)

    def read(self) -> Any:
        return self._opened(self._work.read)

    def _opened(self, way: Callable[[], Any]) -> Any:
        if self.away:
            raise Unavailable("the database did not answer")
        if self.broken is not None:
            raise self.broken
        return way()


class Person:
    """Somebody with an access token; every problem that they are told of is checked."""

    def __init__(self, client: TestClient[Litestar], login: dict[str, Any]) -> None:
        self.client = client
        self.login = login
        self.headers = {"Authorization": f"Bearer {login['access_token']}"}
        self.id = UUID(login["user"]["id"])

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self.headers | options.pop("headers", {})
        return checked(self.client.request(method, path, headers=headers, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.ask("POST", path, json=json, **options)

    def put(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.ask("PUT", path, json=json, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("DELETE", path, **options)

    def portfolio(self, **fields: Any) -> dict[str, Any]:
        """Open a portfolio: 10,000 in cash, to be halved between C and F."""
        body = {"name": "Mine", "cash": "10000", "targets": {"C": 0.5, "F": 0.5}} | fields
        opened = self.post("/api/portfolios", body)
        assert opened.status_code == 201, opened.text
        return opened.json()

    def proposal(self, portfolio: str, **fields: Any) -> dict[str, Any]:
        """Ask for a proposal."""
        asked = self.post("/api/rebalance/predict", {"portfolio_id": portfolio} | fields)
        assert asked.status_code == 201, asked.text
        return asked.json()

    def pages(self, path: str, cursor: str, limit: int) -> list[list[dict[str, Any]]]:
        """All pages of a list."""
        found, params = [], {"limit": limit}
        while True:
            page = self.get(path, params=params).json()
            found.append(page["items"])
            if page["next"] is None:
                return found
            params[cursor] = page["next"]


@attrs.define
class World:
    """The application and what surrounds it."""

    app: Litestar
    client: TestClient[Litestar]
    time: Time
    market: Market
    work: Work
    engine: Engine | None

    def somebody(self, email: str = "ada@example.org") -> Person:
        """Register and log in."""
        credentials = {"email": email, "password": PASSWORD}
        registered = checked(self.client.post("/api/users/register", json=credentials))
        assert registered.status_code == 201, registered.text
        return self.logged_in(email)

    def logged_in(self, email: str = "ada@example.org") -> Person:
        """Log in."""
        credentials = {"email": email, "password": PASSWORD}
        given = checked(self.client.post("/api/users/login", json=credentials))
        assert given.status_code == 200, given.text
        return Person(self.client, given.json())

    def statements(self) -> Statements:
        """Count SQL statements from now on."""
        assert self.engine is not None
        return Statements(self.engine)


class Statements:
    """SQL statements while a block runs; transactions and pragmas do not count."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self.all: list[str] = []

    def __enter__(self) -> Statements:
        event.listen(self._engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        if not statement.startswith(("PRAGMA", "BEGIN")):
            with self._lock:
                self.all.append(statement)


def checked(answer: httpx.Response) -> httpx.Response:
    """An answer; if it is a problem, it must be one as RFC 9457 has it, and tell no secrets."""
    if answer.status_code >= 400 and "/health/" not in str(answer.url):
        assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
        problem = answer.json() if answer.request.method != "HEAD" else {}
        if problem:
            assert problem["status"] == answer.status_code
            assert set(problem) <= {"title", "status", "detail", "errors"}
            assert problem["title"] and problem["detail"]
            for error in problem.get("errors", ()):
                assert error["field"] and error["message"], problem
        for secret in ("Traceback", 'File "', "sqlalchemy", "SELECT ", "INSERT ", "/site-packages"):
            assert secret not in answer.text
    return answer


def problem(answer: httpx.Response, status: int, *fields: str) -> str:
    """What is said of a refusal, which must be of this status and name these fields."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    named = [error["field"] for error in told.get("errors", ())]
    assert not fields or named == list(fields), told
    return str(told["detail"])


def at_once(count: int, ask: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    """The answers to requests that are made side by side, as nearly as threads can."""
    together = threading.Barrier(count)

    def one(number: int) -> httpx.Response:
        together.wait()
        return ask(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, to be copied."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    engine = connect(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest) -> str:
    """Which store is behind the application; parametrise it to have but one."""
    return str(request.param)


@pytest.fixture
def in_world(store: str, migrated: Path, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Start the application in a world of its own, perhaps with parts that a test brings along."""
    ended = []

    def start(*overrides: Provider) -> World:
        engine = None
        if store == "sqlite":
            path = shutil.copy(migrated, tmp_path / f"{len(ended)}.db")
            engine = connect(f"sqlite:///{path}")
            ended.append(engine.dispose)
        work = Work(MemoryWork() if engine is None else SqlWork(engine))
        parts = {
            UnitOfWork: work,
            PriceSource: Market(varied_prices()),
            InstrumentSource: MemoryInstruments(CLASSES),
            Passwords: ArgonPasswords(time_cost=1, memory_kib=64),
            Clock: Time(),
            Ids: Names(),
        }
        app = application(async_container(Sources(), provided(parts), *overrides))
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        ended.append(lambda: client.__exit__(None, None, None))
        return World(app, client, parts[Clock], parts[PriceSource], work, engine)

    yield start
    for end in reversed(ended):
        end()


def provided(parts: dict[Any, Any]) -> Provider:
    """Ready-made parts, by port."""
    provider = Provider(scope=Scope.APP)
    for port, part in parts.items():
        provider.provide(_giving(part), provides=port)
    return provider


def _giving(part: Any) -> Callable[[], Any]:
    return lambda: part


@pytest.fixture
def world(in_world: Callable[..., World]) -> World:
    return in_world()


@pytest.fixture
def ada(world: World) -> Person:
    return world.somebody()
