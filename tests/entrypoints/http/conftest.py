"""The real application, over memory and over SQLite; only time, names and prices are ours."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import attrs
import httpx
import pytest
from dishka import Provider, Scope, provide
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy import Engine, event

from rebalancer.adapters.memory.market import MemoryInstruments
from rebalancer.adapters.memory.reports import MemoryReports
from rebalancer.adapters.memory.revocations import MemoryRevocations
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.security.passwords import ArgonPasswords
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.job_worker import Handlers, JobExecutor, JobSettings, RunJob
from rebalancer.application.ports.accounts import Passwords, Revocations
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.reports import Reports
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.config import Settings
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable
from rebalancer.entrypoints.http.app import application
from rebalancer.wiring.container import build_async_container
from rebalancer.wiring.market import Sources
from tests.builders import CLASSES, varied_prices
from tests.contracts.databases import new_database
from tests.contracts.jobs import InThreadExecutor

PASSWORD = "correct horse battery staple"
START = datetime(2026, 11, 2, 9, tzinfo=UTC)
HISTORY = varied_prices()
UNLIMITED = Settings(rate_limit=0, login_limit=0)
"""Nobody asks too often; but for tests of that."""
TO_COME = 5
"""Days of it that nobody knows yet at the start of a test."""
NOBODY = UUID(int=7)
"""An id that nothing has."""


class Time:
    """A clock that stands still until somebody moves it."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **much: float) -> None:
        self.now += timedelta(**much)


class Names:
    """Ids that follow from how many there were before."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._numbers = itertools.count()

    def __call__(self) -> UUID:
        return uuid5(NOBODY, str(next(self._numbers)))


class Market:
    """A history of which the last days are still to come."""

    def __init__(self, history: PriceHistory) -> None:
        self._history = history
        self.renew()

    def renew(self) -> None:
        self.away = False
        self._tell(TO_COME)

    def pass_a_day(self) -> None:
        self._tell(self._to_come - 1)

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
        return self._known.window(symbols, days=days, until=until)

    def _tell(self, to_come: int) -> None:
        self._to_come = to_come
        self._known = self._history.until(len(self._history) - 1 - to_come)

    @property
    def last(self) -> str:
        return self.closes().last_date.isoformat()

    def day(self, back: int) -> str:
        """An earlier day with a close."""
        return str(self.closes().dates[-1 - back])


class Work:
    """A store that can be taken away, or made to break."""

    def __init__(self) -> None:
        self.renew(MemoryWork())

    def renew(self, work: UnitOfWork) -> None:
        self._work = work
        self.away = False
        self.broken: Exception | None = None

    @property
    def engine(self) -> Engine:
        assert isinstance(self._work, SqlWork)
        return self._work.engine

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


class Ended:
    """Logins that were ended, of one test: names come again in the next."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._revocations = MemoryRevocations()

    def revoke(self, family: UUID) -> None:
        self._revocations.revoke(family)

    async def is_revoked(self, family: UUID) -> bool:
        return await self._revocations.is_revoked(family)


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


class Parts:
    """What surrounds the application."""

    def __init__(self) -> None:
        self.time, self.names = Time(), Names()
        self.market, self.work = Market(HISTORY), Work()
        self.reports = MemoryReports()
        self.ended = Ended()

    def renew(self, work: UnitOfWork) -> None:
        """As if nothing had happened yet, over an empty store."""
        for part in (self.time, self.names, self.market, self.ended):
            part.renew()
        self.work.renew(work)


@attrs.frozen
class World:
    """The application and what surrounds it."""

    app: Litestar
    client: TestClient[Litestar]
    parts: Parts

    @property
    def time(self) -> Time:
        return self.parts.time

    @property
    def market(self) -> Market:
        return self.parts.market

    @property
    def work(self) -> Work:
        return self.parts.work

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
        return Statements(self.work.engine)


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
            assert set(problem) <= {"title", "status", "detail", "errors", "type", "code"}
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


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest) -> str:
    """Which store is behind the application; parametrise it to have but one."""
    return str(request.param)


@pytest.fixture
def work(request: pytest.FixtureRequest, store: str, tmp_path: Path) -> Iterator[UnitOfWork]:
    """An empty store."""
    if store == "memory":
        yield MemoryWork()
        return
    with ExitStack() as stack:
        if store == "sqlite":
            template = request.getfixturevalue("sqlite_template")
            url = f"sqlite:///{shutil.copy(template, tmp_path / 'rebalancer.db')}"
        else:
            server = request.getfixturevalue("postgres_url")
            template = request.getfixturevalue("postgres_template")
            url = stack.enter_context(new_database(server, template))
        engine = connect(url)
        stack.callback(engine.dispose)
        yield SqlWork(engine)


@pytest.fixture(scope="session")
def shared() -> Iterator[World]:
    """An application for all tests of this process, each of which sees it as new."""
    with started(Parts()) as world:
        yield world


@pytest.fixture
def world(shared: World, work: UnitOfWork) -> World:
    """The application at the start."""
    shared.parts.renew(work)
    return shared


@pytest.fixture
def in_world(work: UnitOfWork) -> Iterator[Callable[..., World]]:
    """The application with parts that a test brings along."""
    with ExitStack() as stack:

        def start(*overrides: Provider, settings: Settings = UNLIMITED) -> World:
            parts = Parts()
            parts.renew(work)
            # And with a store that is far away, so that every answer comes from a thread.
            return stack.enter_context(
                started(parts, *overrides, embedded=False, settings=settings)
            )

        yield start


@pytest.fixture
def ada(world: World) -> Person:
    return world.somebody()


@contextmanager
def started(
    parts: Parts, *overrides: Provider, embedded: bool = True, settings: Settings = UNLIMITED
) -> Iterator[World]:
    """The application while it runs."""
    ports = {
        UnitOfWork: parts.work,
        PriceSource: parts.market,
        InstrumentSource: MemoryInstruments(CLASSES),
        Passwords: ArgonPasswords(time_cost=1, memory_kib=64),
        Clock: parts.time,
        Ids: parts.names,
        Revocations: parts.ended,
        JobSettings: JobSettings(attempts=1, poll_interval=0.005),
        Reports: parts.reports,
    }
    replaced = (provided(ports), Threads(), *overrides)
    wired = build_async_container(Sources(), *replaced, settings=settings)
    app = application(wired, embedded=embedded)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield World(app, client, parts)


class Threads(Provider):
    """Jobs in threads of this process, as no other can see its memory."""

    scope = Scope.APP

    @provide
    def hands(
        self, work: UnitOfWork, handlers: Handlers, clock: Clock, care: JobSettings
    ) -> JobExecutor:
        return InThreadExecutor(RunJob(work, handlers, clock, care))


def provided(parts: dict[Any, Any]) -> Provider:
    """Ready-made parts, by port."""
    provider = Provider(scope=Scope.APP)
    for port, part in parts.items():
        provider.provide(_giving(part), provides=port)
    return provider


def _giving(part: Any) -> Callable[[], Any]:
    return lambda: part
