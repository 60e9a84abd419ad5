"""The composition root: which adapter stands behind which port. Nothing else imports adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import attrs
from dishka import (
    AsyncContainer,
    Container,
    Provider,
    Scope,
    from_context,
    make_async_container,
    make_container,
    provide,
)

from rebalancer.adapters.broker.paper import PaperBroker
from rebalancer.adapters.jobs.in_process import InProcessJobs, InProcessWorker
from rebalancer.adapters.jobs.left import LeftJobs
from rebalancer.adapters.market_data.csv_files import CsvInstruments, CsvPrices, PackagedInstruments
from rebalancer.adapters.market_data.sample import SURVIVORSHIP, SamplePrices
from rebalancer.adapters.memory.limits import MemoryRateLimits
from rebalancer.adapters.memory.revocations import MemoryRevocations
from rebalancer.adapters.memory.trials import MemoryTrials
from rebalancer.adapters.redis.connection import AsyncConnection, Connection
from rebalancer.adapters.redis.limits import RedisRateLimits
from rebalancer.adapters.redis.revocations import RedisRevocations
from rebalancer.adapters.report.evaluation import HtmlEvaluations
from rebalancer.adapters.report.html import HtmlReports
from rebalancer.adapters.report.training import HtmlTrainings
from rebalancer.adapters.rl.catalog import FolderPolicies
from rebalancer.adapters.rl.regimes import KeptRegimes
from rebalancer.adapters.rl.trainer import TorchTrainer
from rebalancer.adapters.trials import JsonlTrials
from rebalancer.application.accounts import (
    AssessRisk,
    LogIn,
    LogOut,
    ReadProfile,
    RefreshLogin,
    Register,
)
from rebalancer.application.background import BATCH, TRAIN, DoBatch, DoTraining
from rebalancer.application.backtests import (
    BACKTEST,
    DoBacktest,
    ReadSeries,
    RunBacktest,
    StartBacktest,
)
from rebalancer.application.evaluation import EvaluatePolicies, KeepEvidence, ReportEvidence
from rebalancer.application.health import (
    CheckHealth,
    Part,
    Parts,
    kept_part,
    prices_part,
    reports_part,
    store_part,
)
from rebalancer.application.jobs import (
    CancelJob,
    Care,
    DoJob,
    Handlers,
    Hands,
    ListJobs,
    PerformJob,
    ReadJob,
    RecoverJobs,
    RequeueJob,
    SubmitJob,
    Tidy,
)
from rebalancer.application.market_data import (
    DescribeAsset,
    DescribeMarket,
    DescribeRegime,
    ImportMarket,
    PrepareStores,
    ReadCloses,
    SearchAssets,
)
from rebalancer.application.portfolios import (
    ClosePortfolio,
    MeasurePerformance,
    OpenPortfolio,
    ReadPortfolio,
    ReadTransactions,
    RecordCashFlow,
    RecordTrades,
    RevisePortfolio,
)
from rebalancer.application.ports.accounts import Passwords, Revocations, Tokens
from rebalancer.application.ports.jobs import Job, JobRunner, Worker
from rebalancer.application.ports.limits import RateLimits
from rebalancer.application.ports.market import (
    InstrumentSource,
    MarketStore,
    PriceCache,
    PriceSource,
    Regimes,
)
from rebalancer.application.ports.policies import Policies, Trainer
from rebalancer.application.ports.portfolios import Broker
from rebalancer.application.ports.reports import (
    BacktestReports,
    EvaluationReports,
    Reports,
    TrainingReports,
)
from rebalancer.application.ports.store import Database, UnitOfWork
from rebalancer.application.ports.surroundings import Clock, Ids
from rebalancer.application.ports.trials import Trials
from rebalancer.application.rebalance import (
    AcceptProposal,
    ProposeForBook,
    ProposeForEveryone,
    ProposeForPortfolio,
    ProposeRebalance,
    ReadProposals,
    RejectProposal,
    SetTerms,
)
from rebalancer.application.training import TrainPolicy
from rebalancer.config import Settings
from rebalancer.domain.backtest.promotion import Thresholds
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.money import Currency

STORE, SAMPLE = Path("store"), Path("sample")
"""What to name in place of a price file: prices that were imported; the packaged ones."""


@attrs.frozen
class Sources:
    """Where market data come from.

    Attributes:
        prices: A CSV file; `STORE`: what was imported; None: the packaged sample.
        assets: An instrument list; None: the one that was imported where the prices are, else the
            packaged one.
        sample: Which part of the sample.
    """

    prices: Path | None = None
    assets: Path | None = None
    sample: Literal["stocks", "factors"] = "stocks"

    @classmethod
    def of(
        cls, settings: Settings, prices: Path | None = None, assets: Path | None = None
    ) -> Sources:
        """What is named on the command line, else in the settings; else what there is.

        That is the store where an operator has set one up for market data (MongoDB), so that all
        processes see the same; else the packaged sample. In the database nobody need expect prices:
        there they serve when they are named, as `STORE`. `SAMPLE` names the sample all the same.
        """
        named = prices or settings.prices or (SAMPLE if settings.mongo_url is None else STORE)
        return cls(
            prices=None if named == SAMPLE else named,
            assets=assets or settings.assets,
        )

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a reader of results on these prices must know."""
        return (SURVIVORSHIP,) if self.prices is None else ()


class MarketData(Provider):
    """Prices and instruments from files, or from the packages."""

    scope = Scope.APP
    sources = from_context(provides=Sources, scope=Scope.APP)

    @provide
    def prices(self, sources: Sources) -> PriceSource:
        """A file, or the packaged sample."""
        if sources.prices is None:
            return SamplePrices(sources.sample)
        return CsvPrices(sources.prices)

    @provide
    def instruments(self, sources: Sources) -> InstrumentSource:
        """A file, or the packaged list."""
        return PackagedInstruments() if sources.assets is None else CsvInstruments(sources.assets)

    @provide
    def regimes(self) -> Regimes:
        """The ones that are shipped."""
        return KeptRegimes()


class KeptPrices(Provider):
    """Prices that were imported."""

    scope = Scope.APP

    @provide
    def prices(self, market: MarketStore) -> PriceSource:
        """The store's."""
        return market


class KeptInstruments(Provider):
    """Instruments that were imported."""

    scope = Scope.APP

    @provide
    def instruments(self, market: MarketStore) -> InstrumentSource:
        """The store's."""
        return market


USUAL_POLICIES = Path("policies")
"""Folder of one's own learned policies, unless the settings name another."""


class Deciders(Provider):
    """Who can decide."""

    scope = Scope.APP

    @provide
    def policies(self, settings: Settings) -> Policies:
        """Rules, shipped versions of learned policies, and those of a folder of one's own."""
        return FolderPolicies(settings.policies or USUAL_POLICIES)

    @provide
    def trainer(self) -> Trainer:
        """With torch, which it loads when it is asked to train."""
        return TorchTrainer()


class Pages(Provider):
    """How results are shown."""

    scope = Scope.APP

    @provide
    def backtests(self) -> BacktestReports:
        """Self-contained HTML."""
        return HtmlReports()

    @provide
    def evaluations(self) -> EvaluationReports:
        """Self-contained HTML, too."""
        return HtmlEvaluations()

    @provide
    def trainings(self) -> TrainingReports:
        """The same again."""
        return HtmlTrainings()


USUAL_TRIALS = Path("docs/trials.jsonl")
"""Record of trials that is kept where there is one, unless the settings name another."""


class Evidence(Provider):
    """What luck is reckoned from, and what promotion asks for."""

    scope = Scope.APP

    @provide
    def trials(self, settings: Settings) -> Trials:
        """A file; without one, none that outlives the process."""
        if settings.trials is None and not USUAL_TRIALS.exists():
            return MemoryTrials()
        return JsonlTrials(settings.trials or USUAL_TRIALS)

    @provide
    def thresholds(self, settings: Settings) -> Thresholds:
        """As the operator sets them."""
        return Thresholds(
            probability=settings.gate_probability,
            loss=settings.gate_loss,
            drawdown=settings.gate_drawdown,
            turnover=settings.gate_turnover,
        )


class Surroundings(Provider):
    """Time, names and settings."""

    scope = Scope.APP
    settings = from_context(provides=Settings, scope=Scope.APP)

    @provide
    def clock(self) -> Clock:
        """The machine's, in UTC."""
        return partial(datetime.now, UTC)

    @provide
    def ids(self) -> Ids:
        """Random ones."""
        return uuid4

    @provide
    def currency(self, settings: Settings) -> Currency:
        """Of the prices."""
        return Currency(settings.currency)


@attrs.frozen
class Pool:
    """Connections to the database: one pool a process, whatever is kept there."""

    engine: Any


class Stores(Provider):
    """Where people and portfolios are kept. Loaded when it is asked for, as SQL takes its time."""

    scope = Scope.APP

    @provide
    def pool(self, settings: Settings) -> Iterator[Pool]:
        """To a file or a server; it connects when it is asked."""
        from rebalancer.adapters.sql.engine import connect

        engine = connect(
            settings.database_url,
            pool=settings.database_pool,
            statement_timeout=settings.statement_timeout,
        )
        yield Pool(engine)
        engine.dispose()

    @provide
    def work(self, pool: Pool) -> UnitOfWork:
        """A database."""
        from rebalancer.adapters.sql.work import SqlWork

        return SqlWork(pool.engine)

    @provide
    def database(self, pool: Pool) -> Database:
        """The same, as operators see it."""
        from rebalancer.adapters.sql.database import SqlDatabase

        return SqlDatabase(pool.engine)


@attrs.frozen
class Kept:
    """What is kept beside people and portfolios, all in the same place."""

    market: MarketStore
    reports: Reports


class Documents(Provider):
    """Where market data and reports are kept: in MongoDB if there is one, else in the database."""

    scope = Scope.APP

    @provide
    def kept(self, settings: Settings, pool: Pool, cache: PriceCache | None) -> Iterator[Kept]:
        """All of it, over one pool of connections."""
        if settings.mongo_url is None:
            from rebalancer.adapters.sql.market import SqlMarket
            from rebalancer.adapters.sql.reports import SqlReports

            yield Kept(SqlMarket(pool.engine, cache), SqlReports(pool.engine))
            return
        try:
            from rebalancer.adapters.mongo import connection
            from rebalancer.adapters.mongo.market import MongoMarket
            from rebalancer.adapters.mongo.reports import MongoReports
        except ImportError:
            raise Unavailable(
                "the client of MongoDB is not installed: pip install 'rebalancer[servers]'"
            ) from None
        database = connection.connect(settings.mongo_url)
        yield Kept(MongoMarket(database, cache), MongoReports(database))
        database.client.close()

    @provide
    def market(self, kept: Kept) -> MarketStore:
        """Bars and instruments."""
        return kept.market

    @provide
    def reports(self, kept: Kept) -> Reports:
        """Documents."""
        return kept.reports


class Security(Provider):
    """Passwords and tokens."""

    scope = Scope.APP

    @provide
    def passwords(self) -> Passwords:
        """Argon2id."""
        from rebalancer.adapters.security.passwords import ArgonPasswords

        return ArgonPasswords()

    @provide
    def tokens(self, settings: Settings) -> Tokens:
        """Signed with the secret key."""
        from rebalancer.adapters.security.tokens import JwtTokens

        return JwtTokens(settings.secret_key)

    @provide
    def revocations(
        self, connection: Connection | None, loop: AsyncConnection | None
    ) -> Revocations:
        """Shared, or of this process alone."""
        nearby = MemoryRevocations()
        if connection is None or loop is None:
            return nearby
        return RedisRevocations(connection, loop, nearby)

    @provide
    def limits(self, loop: AsyncConnection | None) -> RateLimits:
        """Shared, or of this process alone."""
        nearby = MemoryRateLimits()
        return nearby if loop is None else RedisRateLimits(loop, nearby)


class Shared(Provider):
    """What processes share through Redis, if there is one: its package is loaded only then."""

    scope = Scope.APP

    @provide
    def connection(self, settings: Settings) -> Iterator[Connection | None]:
        """For plain functions."""
        if settings.redis_url is None:
            yield None
            return
        connection = Connection(settings.redis_url, prefix=settings.redis_prefix)
        yield connection
        connection.close()

    @provide
    async def loop(self, connection: Connection | None) -> AsyncIterator[AsyncConnection | None]:
        """For the event loop."""
        if connection is None:
            yield None
            return
        loop = AsyncConnection(connection)
        yield loop
        await loop.close()

    @provide
    def cache(self, connection: Connection | None) -> PriceCache | None:
        """Of the market, so that each process need not read it from its store."""
        if connection is None:
            return None
        from rebalancer.adapters.redis.prices import RedisPriceCache

        return RedisPriceCache(connection)

    @provide
    def parts(
        self,
        work: UnitOfWork,
        prices: PriceSource,
        kept: Kept,
        connection: Connection | None,
        settings: Settings,
        sources: Sources,
    ) -> Parts:
        """What we depend on, as far as it is configured."""
        from_store = sources.prices == STORE
        parts = [store_part(work), kept_part(kept.market) if from_store else prices_part(prices)]
        if settings.mongo_url is not None:
            parts.append(reports_part(kept.reports))
        if connection is not None:
            without = {
                "cache": "each process reads prices from where they are kept",
                "limits": "each process limits on its own, and a login that was ended may serve "
                "out its minutes",
                "queue": "background jobs cannot be started",
            }
            parts += [Part(name, connection.check, how) for name, how in without.items()]
        return Parts(tuple(parts))


class Execution(Provider):
    """Who carries out orders, and who does jobs."""

    scope = Scope.APP

    @provide
    def broker(self) -> Broker:
        """On paper."""
        return PaperBroker()

    @provide
    def care(self, settings: Settings) -> Care:
        """As the operator sets it."""
        return Care(attempts=settings.job_attempts, limit=settings.job_timeout)

    @provide
    def do_backtest(
        self, run_backtest: RunBacktest, reports: Reports, clock: Clock, sources: Sources
    ) -> DoBacktest:
        """With the cautions that the prices call for."""
        return DoBacktest(run_backtest, reports, clock, sources.cautions)

    @provide
    def do_training(self, train: TrainPolicy, clock: Clock, settings: Settings) -> DoTraining:
        """On prices from wherever the job says."""

        def prices(place: Path) -> PriceSource:
            found: PriceSource = _on(Sources.of(settings, place), settings).get(PriceSource)
            return found

        return DoTraining(train, prices, clock)

    @provide
    def do_batch(self, clock: Clock, settings: Settings) -> DoBatch:
        """On the same."""

        def desk(prices: Path, assets: Path | None) -> tuple[SetTerms, ProposeForEveryone]:
            wired = _on(Sources.of(settings, prices, assets), settings)
            return wired.get(SetTerms), wired.get(ProposeForEveryone)

        return DoBatch(desk, clock)

    @provide
    def handlers(self, backtest: DoBacktest, training: DoTraining, batch: DoBatch) -> Handlers:
        """Who does what."""
        return Handlers({BACKTEST: backtest, TRAIN: training, BATCH: batch})

    @provide
    def hands(self, settings: Settings, sources: Sources, care: Care) -> Iterator[Hands]:
        """Child processes. Loaded when it is asked for, as only those who do jobs need it."""
        from rebalancer.adapters.jobs.processes import ChildProcesses

        hands = ChildProcesses(
            partial(perform, settings, sources),
            at_once=settings.jobs_at_once,
            limit=care.limit + care.outage,
        )
        yield hands
        hands.close()

    @provide
    def runner(
        self,
        do: DoJob,
        hands: Hands,
        clock: Clock,
        settings: Settings,
        connection: Connection | None,
    ) -> Iterator[JobRunner]:
        """The queue; without one, this process itself."""
        if connection is not None:
            yield from _queue(connection)
            return
        jobs = InProcessJobs(do, clock=clock, at_once=settings.jobs_at_once)
        yield jobs
        jobs.close(hands.close)

    @provide
    def recover(self, work: UnitOfWork, runner: JobRunner, clock: Clock, care: Care) -> RecoverJobs:
        """By the seconds of this process."""
        return RecoverJobs(work, runner, clock, care)

    @provide
    def worker(
        self,
        do: DoJob,
        hands: Hands,
        runner: JobRunner,
        settings: Settings,
        connection: Connection | None,
    ) -> Worker:
        """Takes from the queue; without one, from the store."""
        if connection is None:
            assert isinstance(runner, InProcessJobs)
            return InProcessWorker(runner, hands.close)
        from rebalancer.adapters.jobs.queue import QueueWorker

        return QueueWorker(
            connection.url,
            do,
            stop=hands.close,
            at_once=settings.jobs_at_once,
            name=connection.prefix,
        )


class Submitting(Provider):
    """For a process that ends soon, and leaves the jobs that it submits to others."""

    scope = Scope.APP

    @provide
    def runner(self, connection: Connection | None) -> Iterator[JobRunner]:
        """The queue; without one, whoever looks into the store."""
        if connection is None:
            yield LeftJobs()
        else:
            yield from _queue(connection)


def _queue(connection: Connection) -> Iterator[JobRunner]:
    """The queue on the server that a connection is to, among whatever else is ours there."""
    try:
        from rebalancer.adapters.jobs.queue import QueuedJobs
    except ImportError:
        raise Unavailable(
            "the job queue needs other packages: pip install 'rebalancer[servers]'"
        ) from None
    jobs = QueuedJobs(connection.url, name=connection.prefix)
    yield jobs
    jobs.close()


class UseCases(Provider):
    """What the application can do."""

    scope = Scope.APP
    set_terms = provide(SetTerms)
    propose = provide(ProposeRebalance)
    propose_for_book = provide(ProposeForBook)
    propose_for_portfolio = provide(ProposeForPortfolio)
    propose_for_everyone = provide(ProposeForEveryone)
    read_proposals = provide(ReadProposals)
    accept = provide(AcceptProposal)
    reject = provide(RejectProposal)
    run_backtest = provide(RunBacktest)
    start_backtest = provide(StartBacktest)
    read_series = provide(ReadSeries)
    evaluate_policies = provide(EvaluatePolicies)
    keep_evidence = provide(KeepEvidence)
    report_evidence = provide(ReportEvidence)
    prepare_stores = provide(PrepareStores)
    import_market = provide(ImportMarket)
    train_policy = provide(TrainPolicy)
    submit_job = provide(SubmitJob)
    read_job = provide(ReadJob)
    list_jobs = provide(ListJobs)
    cancel_job = provide(CancelJob)
    requeue_job = provide(RequeueJob)
    do_job = provide(DoJob)
    tidy = provide(Tidy)
    describe_market = provide(DescribeMarket)
    describe_asset = provide(DescribeAsset)
    describe_regime = provide(DescribeRegime)
    search_assets = provide(SearchAssets)
    read_closes = provide(ReadCloses)
    register = provide(Register)
    log_in = provide(LogIn)
    refresh = provide(RefreshLogin)
    log_out = provide(LogOut)
    read_profile = provide(ReadProfile)
    assess = provide(AssessRisk)
    open_portfolio = provide(OpenPortfolio)
    read_portfolio = provide(ReadPortfolio)
    revise = provide(RevisePortfolio)
    close = provide(ClosePortfolio)
    record_cash_flow = provide(RecordCashFlow)
    record_trades = provide(RecordTrades)
    read_transactions = provide(ReadTransactions)
    measure = provide(MeasurePerformance)
    health = provide(CheckHealth)


def _providers(sources: Sources) -> tuple[Provider, ...]:
    parts: tuple[type[Provider], ...] = (
        *(MarketData, Deciders, Pages, Evidence, Surroundings),
        *(Stores, Documents, Security, Shared, Execution, UseCases),
    )
    if sources.prices == STORE:
        parts += (KeptPrices,) if sources.assets else (KeptPrices, KeptInstruments)
    return tuple(part() for part in parts)


def container(
    sources: Sources, *overrides: Provider, settings: Settings | None = None
) -> Container:
    """Everything wired together; later providers replace earlier ones."""
    context = {Sources: sources, Settings: settings or Settings()}
    return make_container(*_providers(sources), *overrides, context=context)


def async_container(
    sources: Sources, *overrides: Provider, settings: Settings | None = None
) -> AsyncContainer:
    """The same for callers that await."""
    context = {Sources: sources, Settings: settings or Settings()}
    return make_async_container(*_providers(sources), *overrides, context=context)


def perform(
    settings: Settings,
    sources: Sources,
    job: Job,
    *,
    told: Callable[[], bool],
    leave: Callable[[], None],
) -> None:
    """Do a job that has begun; what child processes do, see `ChildProcesses`."""
    wired = _on(sources, settings)
    do = PerformJob(
        wired.get(UnitOfWork),
        wired.get(Handlers),
        wired.get(Clock),
        wired.get(Care),
        told=told,
        leave=leave,
    )
    do(job)


@lru_cache(maxsize=8)
def _on(sources: Sources, settings: Settings) -> Container:
    """One for all jobs of a child process, so that prices are read once."""
    return container(sources, settings=settings)
