"""The dependency-injection container, and the jobs that child processes run in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

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
from rebalancer.adapters.history_files.registry import ListedWriters
from rebalancer.adapters.jobs.deferred import DeferredJobs
from rebalancer.adapters.jobs.in_process import InProcessJobs, InProcessWorker
from rebalancer.adapters.redis.connection import Connection
from rebalancer.adapters.report.backtest import HtmlBacktests
from rebalancer.adapters.report.evaluation import HtmlEvaluations
from rebalancer.adapters.report.indicators import HtmlIndicators
from rebalancer.adapters.report.statement import HtmlStatements
from rebalancer.adapters.report.training import HtmlTrainings
from rebalancer.adapters.report.walk_forward import HtmlWalkForwards
from rebalancer.adapters.statements.generic_csv import CsvTables
from rebalancer.adapters.statements.registry import DiscoveredReaders
from rebalancer.application.account_deletion import EraseAccounts
from rebalancer.application.asset_requests import FETCH, FetchJobHandler
from rebalancer.application.audit_trail import AuditRetention, SealAuditTrail
from rebalancer.application.background import BATCH, TRAIN, BatchJobHandler, TrainJobHandler
from rebalancer.application.backtests import DoBacktest, RunBacktest
from rebalancer.application.batch import ProposeForEveryone
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.indicators import IndicatorPlot
from rebalancer.application.job_worker import (
    ClaimJob,
    Handlers,
    JobExecutor,
    JobKinds,
    JobSettings,
    RecoverJobs,
    RunJob,
)
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.application.period_statements import PortfolioStatement
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.ports.history_files import HistoryWriters
from rebalancer.application.ports.jobs import JobRunner, Worker
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.portfolios import Broker
from rebalancer.application.ports.reports import Renderer, Reports
from rebalancer.application.ports.statements import MappedTables, StatementReaders
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.ports.telemetry import Metrics, Tracer
from rebalancer.application.projection import PROJECTION, DoProjection
from rebalancer.application.quotas import UNLIMITED, Quotas
from rebalancer.application.rebalance import BuildContext
from rebalancer.application.reporting.report import BACKTEST
from rebalancer.application.reporting.training import TrainingResult
from rebalancer.application.reporting.walk_forward import WalkForwardPage
from rebalancer.application.training import TrainPolicy
from rebalancer.config import Settings
from rebalancer.domain.accounts.deletion import DeletionTerms
from rebalancer.domain.backtest.findings import Findings
from rebalancer.domain.backtest.result import Backtest
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job
from rebalancer.domain.money import Currency
from rebalancer.wiring.engines import EngineProvider
from rebalancer.wiring.mail import MailProvider
from rebalancer.wiring.market import (
    MarketProvider,
    Sources,
    StoredInstrumentsProvider,
    StoredPricesProvider,
)
from rebalancer.wiring.notices import NoticeProvider
from rebalancer.wiring.policies import PolicyProvider
from rebalancer.wiring.providers import RemoteProvidersProvider
from rebalancer.wiring.quotes import QuoteProvider
from rebalancer.wiring.security import SecurityProvider, StoredRevocationsProvider
from rebalancer.wiring.stores import DatabaseProvider, DocumentProvider, RedisProvider
from rebalancer.wiring.telemetry import TelemetryProvider
from rebalancer.wiring.use_cases import UseCaseProvider


class ReportProvider(Provider):
    """HTML reports, self-contained, and files for other tools."""

    scope = Scope.APP

    backtests = provide(HtmlBacktests, provides=Renderer[Backtest])
    evaluations = provide(HtmlEvaluations, provides=Renderer[Findings])
    walk_forwards = provide(HtmlWalkForwards, provides=Renderer[WalkForwardPage])
    indicators = provide(HtmlIndicators, provides=Renderer[IndicatorPlot])
    statements = provide(HtmlStatements, provides=Renderer[PortfolioStatement])
    trainings = provide(HtmlTrainings, provides=Renderer[TrainingResult])
    history_files = provide(ListedWriters, provides=HistoryWriters)


class StatementProvider(Provider):
    """Readers of statements."""

    scope = Scope.APP
    readers = provide(DiscoveredReaders, provides=StatementReaders)
    tables = provide(CsvTables, provides=MappedTables)


class EnvironmentProvider(Provider):
    """Settings, clock, id generator and currency."""

    scope = Scope.APP
    settings = from_context(provides=Settings, scope=Scope.APP)

    @provide
    def clock(self) -> Clock:
        """Read the clock of this machine, in UTC."""
        return partial(datetime.now, UTC)

    @provide
    def ids(self) -> Ids:
        return uuid4

    @provide
    def quotas(self, settings: Settings) -> Quotas:
        return Quotas(
            portfolios=settings.most_portfolios,
            entries=settings.most_entries,
            proposals=settings.most_proposals,
            proposals_a_day=settings.most_proposals_a_day,
            profiles=settings.most_profiles,
            jobs=settings.most_jobs,
            streams=settings.most_streams,
            bytes_a_day=settings.most_megabytes_a_day * 1_000_000,
            registrations_a_day=settings.most_registrations_a_day,
        )

    @provide
    def currency(self, settings: Settings) -> Currency:
        return Currency(settings.currency)


class OperatorProvider(Provider):
    """What differs for operators at a terminal: quotas are for the clients of a server."""

    scope = Scope.APP

    @provide
    def quotas(self) -> Quotas:
        return UNLIMITED


class JobProvider(Provider):
    """Order execution, job handlers, the job queue and the worker."""

    scope = Scope.APP
    broker = provide(PaperBroker, provides=Broker)

    @provide
    def propose_for_everyone(
        self, work: UnitOfWork, prices: PriceSource, book: BookActions, clock: Clock
    ) -> ProposeForEveryone:
        return ProposeForEveryone(work, prices, book, clock, release=version("rebalancer"))

    @provide
    def delete_expired(self, work: UnitOfWork, settings: Settings) -> DeleteExpired:
        kept = timedelta(days=settings.proposal_days)
        return DeleteExpired(work, proposals_lifetime=kept)

    @provide
    def deletion_terms(self, settings: Settings) -> DeletionTerms:
        return DeletionTerms(
            grace=timedelta(days=settings.deletion_days),
            records=timedelta(days=settings.records_days) if settings.records_days else None,
        )

    @provide
    def erase_accounts(
        self, work: UnitOfWork, reports: Reports, terms: DeletionTerms
    ) -> EraseAccounts:
        return EraseAccounts(work, reports, terms)

    @provide
    def seal_audit_trail(self, work: UnitOfWork) -> SealAuditTrail:
        return SealAuditTrail(work)

    @provide
    def audit_retention(self, settings: Settings) -> AuditRetention:
        return AuditRetention(
            timedelta(days=settings.audit_days) if settings.audit_days else None,
            timedelta(days=settings.audit_address_days),
        )

    @provide
    def job_settings(self, settings: Settings) -> JobSettings:
        return JobSettings(attempts=settings.job_attempts, timeout=settings.job_timeout)

    @provide
    def do_backtest(
        self, run_backtest: RunBacktest, reports: Reports, clock: Clock, sources: Sources
    ) -> DoBacktest:
        return DoBacktest(run_backtest, reports, clock, sources.cautions)

    @provide
    def train_handler(
        self, train: TrainPolicy, clock: Clock, settings: Settings
    ) -> TrainJobHandler:

        def prices(place: Path, layout: str | None) -> PriceSource:
            wired = _child_container(Sources.of(settings, place, layout=layout), settings)
            found: PriceSource = wired.get(PriceSource)
            return found

        return TrainJobHandler(train, prices, clock)

    @provide
    def batch_handler(self, clock: Clock, settings: Settings) -> BatchJobHandler:

        def services(
            prices: Path, assets: Path | None, layout: str | None
        ) -> tuple[BuildContext, ProposeForEveryone]:
            sources = Sources.of(settings, prices, assets, layout=layout)
            wired = _child_container(sources, settings)
            return wired.get(BuildContext), wired.get(ProposeForEveryone)

        return BatchJobHandler(services, clock)

    @provide
    def kinds(self) -> JobKinds:
        return JobKinds((BACKTEST, TRAIN, BATCH, FETCH, PROJECTION))

    @provide
    def handlers(
        self,
        backtest: DoBacktest,
        training: TrainJobHandler,
        batch: BatchJobHandler,
        fetch: FetchJobHandler,
        projection: DoProjection,
    ) -> Handlers:
        return Handlers(
            {
                BACKTEST: backtest,
                TRAIN: training,
                BATCH: batch,
                FETCH: fetch,
                PROJECTION: projection,
            }
        )

    @provide
    def executor(
        self, settings: Settings, sources: Sources, job_settings: JobSettings
    ) -> Iterator[JobExecutor]:
        """Provide child processes; imported on demand, as only workers need them."""
        from rebalancer.adapters.jobs.processes import ChildProcesses

        executor = ChildProcesses(
            partial(run_job_in_child, settings, sources),
            at_once=settings.jobs_at_once,
            timeout=job_settings.timeout + job_settings.store_timeout,
        )
        yield executor
        executor.close()

    @provide
    def runner(
        self,
        claim: ClaimJob,
        executor: JobExecutor,
        clock: Clock,
        settings: Settings,
        connection: Connection | None,
    ) -> Iterator[JobRunner]:
        """Provide the queue; without Redis, this process itself."""
        if connection is not None:
            yield from _open_queue(connection)
            return
        jobs = InProcessJobs(claim, clock=clock, at_once=settings.jobs_at_once)
        yield jobs
        jobs.close(executor.close)

    @provide
    def recover(
        self,
        work: UnitOfWork,
        runner: JobRunner,
        clock: Clock,
        job_settings: JobSettings,
        metrics: Metrics,
    ) -> RecoverJobs:
        return RecoverJobs(work, runner, clock, job_settings, metrics=metrics)

    @provide
    def worker(
        self,
        claim: ClaimJob,
        executor: JobExecutor,
        runner: JobRunner,
        settings: Settings,
        connection: Connection | None,
    ) -> Worker:
        """Provide a worker on the queue; without Redis, on the store."""
        if connection is None:
            assert isinstance(runner, InProcessJobs)
            return InProcessWorker(runner, executor.close)
        from rebalancer.adapters.jobs.queue import QueueWorker

        return QueueWorker(
            connection.url,
            claim,
            stop=executor.close,
            at_once=settings.jobs_at_once,
            name=connection.prefix,
        )


class SubmitOnlyProvider(Provider):
    """Job queue of a process that ends soon and runs no jobs itself."""

    scope = Scope.APP

    @provide
    def runner(self, connection: Connection | None) -> Iterator[JobRunner]:
        """Provide the queue; without Redis, workers poll the store."""
        if connection is None:
            yield DeferredJobs()
        else:
            yield from _open_queue(connection)


def _open_queue(connection: Connection) -> Iterator[JobRunner]:
    """Yield the queue on a Redis server, named by the prefix of our keys there."""
    try:
        from rebalancer.adapters.jobs.queue import QueuedJobs
    except ImportError:
        raise Unavailable(
            "the job queue needs further packages: pip install 'rebalancer[servers]'",
            code="package_missing",
        ) from None
    jobs = QueuedJobs(connection.url, name=connection.prefix)
    yield jobs
    jobs.close()


def _providers(sources: Sources) -> tuple[Provider, ...]:
    parts: tuple[type[Provider], ...] = (
        *(MarketProvider, PolicyProvider, ReportProvider, StatementProvider, EnvironmentProvider),
        *(DatabaseProvider, DocumentProvider, SecurityProvider, RedisProvider),
        *(JobProvider, MailProvider, NoticeProvider, UseCaseProvider, RemoteProvidersProvider),
        *(QuoteProvider, TelemetryProvider, EngineProvider),
    )
    if sources.stored:
        parts += (StoredPricesProvider,)
        if not sources.assets:
            parts += (StoredInstrumentsProvider,)
    return tuple(part() for part in parts)


def build_container(
    sources: Sources, *overrides: Provider, settings: Settings | None = None
) -> Container:
    """Build the container; ``overrides`` replace earlier providers."""
    context = {Sources: sources, Settings: settings or Settings()}
    parts = (*_providers(sources), StoredRevocationsProvider())
    return make_container(*parts, *overrides, context=context)


def build_async_container(
    sources: Sources, *overrides: Provider, settings: Settings | None = None
) -> AsyncContainer:
    """Build the container for asynchronous callers; see `build_container`."""
    context = {Sources: sources, Settings: settings or Settings()}
    return make_async_container(*_providers(sources), *overrides, context=context)


def run_job_in_child(
    settings: Settings,
    sources: Sources,
    job: Job,
    *,
    should_stop: Callable[[], bool],
    exit_process: Callable[[], None],
) -> None:
    """Run a claimed job in a child process; see `ChildProcesses`."""
    wired = _child_container(sources, settings)
    tracer = wired.get(Tracer)
    run_job = RunJob(
        wired.get(UnitOfWork),
        wired.get(Handlers),
        wired.get(Clock),
        wired.get(JobSettings),
        should_stop=should_stop,
        exit_process=exit_process,
        metrics=wired.get(Metrics),
        tracer=tracer,
    )
    try:
        run_job(job)
    finally:
        tracer.flush()


@lru_cache(maxsize=8)
def _child_container(sources: Sources, settings: Settings) -> Container:
    """Return one container for all jobs of a child process, so that prices are read once."""
    return build_container(sources, settings=settings)
