"""The real application over memory and SQLite, with a fake clock, fake ids and fake prices."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
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
from rebalancer.adapters.memory.reference import MemoryReference
from rebalancer.adapters.memory.reports import MemoryReports
from rebalancer.adapters.memory.revocations import MemoryRevocations
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.security.passwords import ArgonPasswords
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.job_worker import Handlers, JobExecutor, JobSettings, RunJob
from rebalancer.application.ports.accounts import Passwords, Revocations
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.ports.jobs import JobRunner
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.providers import Fetched, Listing, Offer, UnknownSymbol
from rebalancer.application.ports.reference import ReferenceStore
from rebalancer.application.ports.reports import Reports
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.config import Settings
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.assembly import PricingTerms, quote_history
from rebalancer.domain.market.economics import EconomicSeries, Observation
from rebalancer.domain.market.fundamentals import Facts
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable
from rebalancer.entrypoints.http.app import application
from rebalancer.entrypoints.http.job_streams import JobStreams
from rebalancer.wiring.container import build_async_container
from rebalancer.wiring.market import Sources
from tests.authenticator import Authenticator
from tests.builders import CLASSES, varied_prices
from tests.contracts.databases import APPLICATION, as_role, new_database
from tests.contracts.jobs import InThreadExecutor

PASSWORD = "correct horse battery staple"
START = datetime(2026, 11, 2, 9, tzinfo=UTC)
HISTORY = varied_prices()
WITHOUT_LIMITS = Settings(rate_limit=0, login_limit=0)
"""No rate limits, except in tests of them."""
HIDDEN_DAYS = 5
"""Last days of the history that are hidden at the start of a test."""
STATEMENT = "date,kind,symbol,quantity,price,amount\n2022-11-14,deposit,,,,1\n"
"""A file with one deposit."""
PLANNED = {"kind": "deposit", "amount": "50", "every": "month", "day": 2}
"""A planned flow that is due on the day of `START`."""
DUE = {"scheduled": "2026-11-02"}
MODEL = {"name": "Halves", "targets": {"C": 0.5, "F": 0.5}}
"""A model to create."""
UNKNOWN_ID = UUID(int=7)
"""An id that does not exist."""


class FakeClock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **much: float) -> None:
        self.now += timedelta(**much)


class SequentialIds:
    """Ids that are never used twice, as the application may cache what they belong to."""

    def __init__(self) -> None:
        self._tests = itertools.count()
        self.reset()

    def reset(self) -> None:
        self._test, self._numbers = next(self._tests), itertools.count()

    def __call__(self) -> UUID:
        return uuid5(UNKNOWN_ID, f"{self._test}-{next(self._numbers)}")


class FakeLibrary:
    """Provider of fundamentals of C, and of one economic series; it finds no assets."""

    name, title, terms = "library", "The library", "none"
    offers = frozenset({Offer.FACTS, Offer.SEARCH, Offer.SERIES})

    def find(self, text: str, *, limit: int) -> Sequence[Listing]:
        return []

    def facts(self, symbol: str) -> Facts:
        if symbol != "C":
            raise UnknownSymbol(f"the library does not know {symbol}")
        return Facts(symbol, {"beta": 1.5}, {"sector": "Banks"}, date(2024, 3, 1))

    def series(self, id: str, *, since: date | None) -> EconomicSeries:
        if id != "DGS10":
            raise UnknownSymbol(f"the library does not know {id}")
        observed = Observation(date(2024, 3, 1), 4.25, date(2024, 3, 4))
        return EconomicSeries(id, "Yield", "Percent", (observed,))

    def bars(self, symbol: str, *, since: date | None, now: datetime) -> Fetched:
        raise UnknownSymbol("the library has no prices")

    def close(self) -> None:
        pass


class UnvaluableHistory(PriceHistory):
    """Prices of a provider with a defect that only a valuation meets."""

    def exact_closes(self) -> list[Decimal]:
        raise RuntimeError("a defect in a provider")


class FakePriceSource:
    """A price source that hides the last days, or fails."""

    def __init__(self, history: PriceHistory) -> None:
        self._history, self.currency = history, "USD"
        self.reset()

    def quote_in(self, currency: str) -> None:
        """Set the currency of the prices."""
        self.currency = currency
        self._hide(self._hidden)

    def reset(self) -> None:
        self.is_down = False
        self.is_unvaluable = False
        self.answers_left = 10**9
        self._lost: set[str] = set()
        self._hide(HIDDEN_DAYS)

    def lose(self, *symbols: str) -> None:
        """Forget assets, as a file from which their columns were removed."""
        self._lost |= set(symbols)

    def serve(self, history: PriceHistory) -> None:
        """Replace all prices, as an import does."""
        self._known = history

    def reveal_day(self) -> None:
        self._hide(self._hidden - 1)

    def symbols(self) -> tuple[str, ...]:
        return self._history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        if self.is_down or not self.answers_left:
            raise PricesUnavailable("the exchange is on fire")
        self.answers_left -= 1
        known = self._known
        if self._lost:
            known = known.select([one for one in known.symbols if one not in self._lost])
        if self.is_unvaluable:
            known = UnvaluableHistory(known.symbols, known.dates, known.closes, known.carried)
        return known.window(symbols, days=days, until=until)

    def _hide(self, hidden: int) -> None:
        self._hidden = hidden
        known = self._history.until(len(self._history) - 1 - hidden)
        self._known = quote_history(known, PricingTerms(self.currency))

    @property
    def last(self) -> str:
        return self.closes().last_date.isoformat()

    def day(self, back: int) -> str:
        """An earlier day with a close."""
        return str(self.closes().dates[-1 - back])


class BreakableStore:
    """A store that a test can take down, or make fail with an error of its own."""

    def __init__(self) -> None:
        self.reset(MemoryWork())

    def reset(self, work: UnitOfWork) -> None:
        self._work = work
        self.is_down = False
        self.failure: Exception | None = None

    @property
    def engine(self) -> Engine:
        assert isinstance(self._work, SqlWork)
        return self._work.engine

    def begin(self) -> Any:
        return self._opened(self._work.begin)

    def read(self) -> Any:
        return self._opened(self._work.read)

    def _opened(self, way: Callable[[], Any]) -> Any:
        if self.is_down:
            raise Unavailable("the database did not answer")
        if self.failure is not None:
            raise self.failure
        return way()


class ResettableRevocations:
    """Revocations of one test: ids repeat in the next one."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._revocations = MemoryRevocations()

    def revoke(self, family: UUID) -> None:
        self._revocations.revoke(family)

    async def is_revoked(self, family: UUID) -> bool:
        return await self._revocations.is_revoked(family)


class ApiUser:
    """A logged-in user; every problem in a response is checked."""

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

    def add_passkey(self, authenticator: Authenticator, name: str = "Phone") -> dict[str, Any]:
        """Add a passkey."""
        options = self.post("/api/users/passkeys/options")
        assert options.status_code == 200, options.text
        created = authenticator.create(options.json()["public_key"])
        added = self.post("/api/users/passkeys", {"name": name, "credential": created})
        assert added.status_code == 201, added.text
        return added.json()

    def portfolio(self, **fields: Any) -> dict[str, Any]:
        """Open a portfolio: 10,000 in cash, to be halved between C and F."""
        body = {"name": "Mine", "cash": "10000", "targets": {"C": 0.5, "F": 0.5}} | fields
        opened = self.post("/api/portfolios", body)
        assert opened.status_code == 201, opened.text
        return opened.json()

    def imported(self, portfolio: str, text: str = STATEMENT) -> dict[str, Any]:
        """Import a statement."""
        body = {"file": text, "dry_run": False}
        made = self.post(f"/api/portfolios/{portfolio}/imports", body)
        assert made.status_code == 200, made.text
        record: dict[str, Any] = made.json()["record"]
        return record

    def model(self, **fields: Any) -> dict[str, Any]:
        """Create a model that halves between C and F."""
        made = self.post("/api/models", MODEL | fields)
        assert made.status_code == 201, made.text
        return made.json()

    def planned(self, portfolio: str, **fields: Any) -> dict[str, Any]:
        """Plan a flow."""
        made = self.post(f"/api/portfolios/{portfolio}/flows", PLANNED | fields)
        assert made.status_code == 201, made.text
        return made.json()

    def proposal(self, portfolio: str, **fields: Any) -> dict[str, Any]:
        """Ask for a proposal."""
        asked = self.post("/api/rebalance/predict", {"portfolio_id": portfolio} | fields)
        assert asked.status_code == 201, asked.text
        return asked.json()

    def pages(self, path: str, cursor: str, limit: int) -> list[list[dict[str, Any]]]:
        """Return the items of all pages of a list."""
        found, params = [], {"limit": limit}
        while True:
            page = self.get(path, params=params).json()
            found.append(page["items"])
            if page["next"] is None:
                return found
            params[cursor] = page["next"]


class HoldingRunner:
    """A job runner that holds submitted jobs, or rejects them when it is full."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.waiting: list[Any] = []
        self.full = False

    def submit(self, job: Any) -> None:
        if self.full:
            raise Unavailable("too many jobs are waiting; try again in a minute")
        self.waiting.append(job)


class Fakes:
    """The fakes around the application."""

    def __init__(self) -> None:
        self.time, self.names = FakeClock(), SequentialIds()
        self.market, self.work = FakePriceSource(HISTORY), BreakableStore()
        self.reports = MemoryReports()
        self.ended = ResettableRevocations()
        self.runner = HoldingRunner()

    def reset(self, work: UnitOfWork) -> None:
        """Return to the initial state, over an empty store."""
        for part in (self.time, self.names, self.market, self.ended, self.runner):
            part.reset()
        self.work.reset(work)


@attrs.frozen
class RunningApi:
    """The application and its fakes."""

    app: Litestar
    client: TestClient[Litestar]
    fakes: Fakes

    @property
    def time(self) -> FakeClock:
        return self.fakes.time

    @property
    def market(self) -> FakePriceSource:
        return self.fakes.market

    @property
    def work(self) -> BreakableStore:
        return self.fakes.work

    @property
    def runner(self) -> HoldingRunner:
        """The runner of jobs, where jobs stay queued."""
        return self.fakes.runner

    def register(self, email: str = "ada@example.org") -> ApiUser:
        """Register and log in."""
        credentials = {"email": email, "password": PASSWORD}
        registered = checked(self.client.post("/api/users/register", json=credentials))
        assert registered.status_code == 201, registered.text
        return self.log_in(email)

    def log_in(self, email: str = "ada@example.org") -> ApiUser:
        """Log in."""
        credentials = {"email": email, "password": PASSWORD}
        given = checked(self.client.post("/api/users/login", json=credentials))
        assert given.status_code == 200, given.text
        return ApiUser(self.client, given.json())

    def statements(self) -> StatementLog:
        """Count SQL statements from now on."""
        return StatementLog(self.work.engine)


class StatementLog:
    """Records SQL statements in a block, without transactions and pragmas."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self.all: list[str] = []

    def __enter__(self) -> StatementLog:
        event.listen(self._engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        if not statement.startswith(("PRAGMA", "BEGIN")):
            with self._lock:
                self.all.append(statement)


def checked(answer: httpx.Response) -> httpx.Response:
    """Check that a problem follows RFC 9457 and reveals no secrets; return the response."""
    if answer.status_code >= 400 and "/health/" not in str(answer.url):
        assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
        found = answer.json() if answer.request.method != "HEAD" else {}
        if found:
            assert found["status"] == answer.status_code
            facts = {"ticket", "methods", "expires_in"}
            allowed = facts if found["code"] == "second_factor_required" else set()
            assert set(found) <= {"title", "status", "detail", "errors", "type", "code"} | allowed
            assert found["title"] and found["detail"]
            assert found["type"] == f"urn:rebalancer:problem:{found['code']}"
            for error in found.get("errors", ()):
                assert error["field"] and error["message"] and error["code"], found
        for secret in ("Traceback", 'File "', "sqlalchemy", "SELECT ", "INSERT ", "/site-packages"):
            assert secret not in answer.text
    return answer


def expect_problem(answer: httpx.Response, status: int, *fields: str) -> str:
    """Check the status and the fields of a problem; return its detail."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    named = [error["field"] for error in body.get("errors", ())]
    assert not fields or named == list(fields), body
    return str(body["detail"])


def in_parallel(count: int, ask: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    """Send requests at the same time from threads; return the responses."""
    together = threading.Barrier(count)

    def one(number: int) -> httpx.Response:
        together.wait()
        return ask(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


BACKTEST = {"policies": ["monthly", "band", "buy_and_hold"], "from": "2022-11-14", "cost_bps": 5}


def start_backtest(user: ApiUser) -> dict[str, Any]:
    """Start a backtest; return its job."""
    response = user.post("/api/backtest", BACKTEST)
    assert response.status_code == 202, response.text
    return response.json()


def finished_job(user: ApiUser, path: str) -> dict[str, Any]:
    """Poll a job until it ends."""
    return wait_until(lambda: (job := user.get(path).json())["finished"] and job)


def wait_until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Poll a condition until it holds; return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.005)
    return value


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest) -> str:
    """Name the store of the application; parametrise it to use one."""
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
            url = as_role(stack.enter_context(new_database(server, template)), APPLICATION)
        engine = connect(url)
        stack.callback(engine.dispose)
        yield SqlWork(engine)


@pytest.fixture(scope="session")
def shared() -> Iterator[RunningApi]:
    """Start one application for all tests of this process; each test resets it."""
    with run_api(Fakes()) as api:
        yield api


@pytest.fixture
def api(shared: RunningApi, work: UnitOfWork) -> RunningApi:
    """Return the application in its initial state."""
    shared.fakes.reset(work)
    return shared


@pytest.fixture(scope="session")
def shared_by_settings() -> Iterator[Callable[..., RunningApi]]:
    """Start an application for all tests of this process that want the same settings."""
    with ExitStack() as stack:

        @cache
        def share(settings: Settings, holding: bool) -> RunningApi:
            fakes = Fakes()
            runner = [provide_values({JobRunner: fakes.runner})] if holding else []
            streams = JobStreams(poll_interval=0.01, heartbeat=0.02, limit=2) if holding else None
            api = run_api(fakes, *runner, embedded=False, settings=settings, job_streams=streams)
            return stack.enter_context(api)

        yield share


@pytest.fixture
def share_api(
    shared_by_settings: Callable[..., RunningApi], work: UnitOfWork
) -> Callable[..., RunningApi]:
    """Return an application with settings, in its initial state; other tests use it too.

    Its rate limits, if any, would remember the requests of those.
    """

    def share(settings: Settings = WITHOUT_LIMITS, *, holding: bool = False) -> RunningApi:
        assert not (settings.rate_limit or settings.login_limit)
        api = shared_by_settings(settings, holding)
        api.fakes.reset(work)
        return api

    return share


@pytest.fixture
def holding(share_api: Callable[..., RunningApi]) -> RunningApi:
    """Return an application whose jobs stay queued; its streams of them poll often."""
    return share_api(holding=True)


@pytest.fixture
def start_api(work: UnitOfWork) -> Iterator[Callable[..., RunningApi]]:
    """Start an application with fakes of the test, which takes longer than to share one."""
    with ExitStack() as stack:

        def start(
            *overrides: Provider,
            settings: Settings = WITHOUT_LIMITS,
            job_streams: JobStreams | None = None,
        ) -> RunningApi:
            fakes = Fakes()
            fakes.reset(work)
            # As with a remote store: every use case runs in a thread.
            return stack.enter_context(
                run_api(
                    fakes,
                    *overrides,
                    embedded=False,
                    settings=settings,
                    job_streams=job_streams,
                )
            )

        yield start


@pytest.fixture
def ada(api: RunningApi) -> ApiUser:
    return api.register()


@contextmanager
def run_api(
    fakes: Fakes,
    *overrides: Provider,
    embedded: bool = True,
    settings: Settings = WITHOUT_LIMITS,
    job_streams: JobStreams | None = None,
) -> Iterator[RunningApi]:
    """Run the application."""
    fakes.market.quote_in(settings.currency)
    ports = {
        UnitOfWork: fakes.work,
        PriceSource: fakes.market,
        InstrumentSource: MemoryInstruments(CLASSES),
        Passwords: ArgonPasswords(time_cost=1, memory_kib=64),
        Clock: fakes.time,
        Ids: fakes.names,
        Revocations: fakes.ended,
        JobSettings: JobSettings(attempts=1, poll_interval=0.005),
        Reports: fakes.reports,
        ReferenceStore: MemoryReference(),
        ProviderChain: ProviderChain({"library": FakeLibrary()}),
    }
    replaced = (provide_values(ports), ThreadExecutor(), *overrides)
    wired = build_async_container(Sources(), *replaced, settings=settings)
    app = application(wired, embedded=embedded, job_streams=job_streams)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield RunningApi(app, client, fakes)


class ThreadExecutor(Provider):
    """Runs jobs in threads, because other processes cannot see the memory of this one."""

    scope = Scope.APP

    @provide
    def hands(
        self, work: UnitOfWork, handlers: Handlers, clock: Clock, care: JobSettings
    ) -> JobExecutor:
        return InThreadExecutor(RunJob(work, handlers, clock, care))


def provide_values(fakes: dict[Any, Any]) -> Provider:
    """Provide values by port."""
    provider = Provider(scope=Scope.APP)
    for port, part in fakes.items():
        provider.provide(_returning(part), provides=port)
    return provider


def _returning(part: Any) -> Callable[[], Any]:
    return lambda: part
