"""Build the application: routes, errors, OpenAPI, startup and shutdown."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from typing import Any, TypeVar

from dishka import AsyncContainer
from dishka.integrations.litestar import setup_dishka
from litestar import Litestar, Router, get
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Server, Tag
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsPlugin
from litestar.response import Redirect
from litestar.static_files import create_static_files_router

from rebalancer.application.account_deletion import EraseAccounts
from rebalancer.application.alert_evaluation import EvaluateAlerts
from rebalancer.application.audit_trail import ExpireAuditTrail, SealAuditTrail
from rebalancer.application.decisions import CollectFills
from rebalancer.application.health import CheckHealth
from rebalancer.application.idempotency import StoreAnswer
from rebalancer.application.job_worker import RecoverJobs
from rebalancer.application.live_alerts import WatchQuotes
from rebalancer.application.live_values import DescribeWatched
from rebalancer.application.mail_delivery import DeliverMail
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.application.market_schedule import RunSchedule
from rebalancer.application.notice_delivery import DeliverNotices
from rebalancer.application.planned_flows import BookDueFlows
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.quotes import QuoteBoard
from rebalancer.application.ports.rate_limits import RateLimits
from rebalancer.application.ports.telemetry import Metrics, Tracer
from rebalancer.application.quotas import Quotas
from rebalancer.application.quote_subscription import (
    HoldSubscription,
    ListQuotedAssets,
    PostTicks,
)
from rebalancer.application.service_state import MeasureService
from rebalancer.application.telemetry import NO_METRICS
from rebalancer.config import Settings
from rebalancer.domain.errors import RebalancerError
from rebalancer.entrypoints import http
from rebalancer.entrypoints.http import routes
from rebalancer.entrypoints.http.admission import limit_body_time, refuse_ambiguous
from rebalancer.entrypoints.http.auth import BEARER, SCHEME, require_user
from rebalancer.entrypoints.http.bodies import (
    SMALL_BODY,
    StrictJson,
    read_body,
    reject_unknown_parameters,
)
from rebalancer.entrypoints.http.direct_requests import refuse_indirect_requests
from rebalancer.entrypoints.http.errors import (
    FETCH_REMEDIES,
    REMEDIES,
    handle_http_exception,
    handle_unexpected,
    log_failure,
    to_problem,
)
from rebalancer.entrypoints.http.health import Readiness, health
from rebalancer.entrypoints.http.idempotency import keep_answers, refuse_unsupported_key
from rebalancer.entrypoints.http.job_streams import JobStreams
from rebalancer.entrypoints.http.known_devices import note_devices
from rebalancer.entrypoints.http.methods import complete_methods
from rebalancer.entrypoints.http.openapi import (
    CompleteDocument,
    InteractivePage,
    StructSchemas,
    refuse_impossible_name,
    start_interactive_page,
    swagger_folder,
)
from rebalancer.entrypoints.http.quote_hub import QuoteHub
from rebalancer.entrypoints.http.quote_streams import QuoteStreams, StreamTimes
from rebalancer.entrypoints.http.rate_limits import RateLimiter
from rebalancer.entrypoints.http.request_batching import RequestBatcher
from rebalancer.entrypoints.http.request_metrics import count_requests
from rebalancer.entrypoints.http.request_origin import note_origins
from rebalancer.entrypoints.http.routes.rebalance import is_quick
from rebalancer.entrypoints.http.security_headers import add_security_headers
from rebalancer.entrypoints.http.threads import READS, run_in, share_connections
from rebalancer.entrypoints.maintenance import (
    SCHEDULE_INTERVAL,
    AlertEvaluation,
    MailDelivery,
    Maintenance,
    MarketSchedule,
    Measurement,
    NoticeDelivery,
    PeriodicTasks,
    RecordKeeping,
)
from rebalancer.entrypoints.processes import termination_event
from rebalancer.entrypoints.quote_subscriber import QuoteSubscriber
from rebalancer.entrypoints.schemas.proposal import DISCLAIMER
from rebalancer.entrypoints.schemas.wire import DecimalText
from rebalancer.wiring.quotes import QuoteSource

T = TypeVar("T")

STATIC = "/docs/static"


def application(
    container: AsyncContainer,
    *,
    embedded: bool = False,
    does_jobs: bool = False,
    fetches_assets: bool = False,
    documented: bool = True,
    direct_only: bool = False,
    job_streams: JobStreams | None = None,
    stream_times: StreamTimes | None = None,
    schedule_interval: float = SCHEDULE_INTERVAL,
) -> Litestar:
    """Build the API over the use cases of a container.

    Args:
        container: Provides the use cases.
        embedded: Whether the store is in this process, so that reading a row takes no time.
        does_jobs: Whether this process maintains the jobs, in place of a worker.
        fetches_assets: Whether assets that the store lacks can be fetched.
        documented: Whether ``/docs`` exists.
        direct_only: Whether requests through a proxy, or to another host name, are refused.
        job_streams: Streams the progress of jobs; None: with default intervals.
        stream_times: Intervals of streams of quotes; None: the default ones.
        schedule_interval: Seconds between two looks at the schedule of market data.
    """
    streams = JobStreams() if job_streams is None else job_streams
    times = stream_times or StreamTimes()
    remedies = REMEDIES | (FETCH_REMEDIES if fetches_assets else {})

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        streams.stopping = termination_event()
        prices = await container.get(PriceSource)
        with suppress(RebalancerError):  # /health/ready reports it
            await sync_to_thread(prices.closes, days=1)  # so that no request waits for the load
        clock, settings = await container.get(Clock), await container.get(Settings)
        if not embedded:
            share_connections(settings.database_pool)
        limits, tokens = await container.get(RateLimits), await container.get(Tokens)
        app.state.rate_limiter = limiter = RateLimiter(limits, tokens, clock, settings)
        if job_streams is None:
            streams.limit = (await container.get(Quotas)).streams
            streams.heartbeat = settings.stream_heartbeat
        hub = QuoteHub(await container.get(QuoteBoard), clock)
        source = await container.get(QuoteSource)
        app.state.quote_streams = QuoteStreams(
            hub=hub,
            streams=streams,
            describe=await container.get(DescribeWatched),
            clock=clock,
            is_live=source.is_on,
            times=times,
        )
        hub.start(streams.stopping)
        metrics = await container.get(Metrics)
        answers = keep_answers(app.asgi_handler, await container.get(StoreAnswer))
        limited = limiter.wrap(refuse_ambiguous(limit_body_time(answers, settings.body_timeout)))
        secured = add_security_headers(
            refuse_indirect_requests(limited) if direct_only else limited,
            encrypted=settings.tls_certificate is not None,
        )
        app.asgi_handler = note_origins(
            note_devices(secured),
            proxies=settings.trusted_proxies,
            observe=count_requests(metrics),
            tracer=await container.get(Tracer),
        )
        app.state.readiness = Readiness(await container.get(CheckHealth))
        background: list[PeriodicTasks | QuoteSubscriber] = []
        if metrics is not NO_METRICS:
            background.append(Measurement(await container.get(MeasureService)))
        if does_jobs:
            recover, delete = await container.get(RecoverJobs), await container.get(DeleteExpired)
            fills = await container.get(CollectFills)
            book = await container.get(BookDueFlows)
            background.append(Maintenance(recover, fills, delete, clock, book_flows=book))
            seal = await container.get(SealAuditTrail)
            expire, erase = (
                await container.get(ExpireAuditTrail),
                await container.get(EraseAccounts),
            )
            background.append(RecordKeeping(seal, expire, erase, clock))
            run = await container.get(RunSchedule)
            background.append(MarketSchedule(run, interval=schedule_interval))
            if settings.sends_mail:
                background.append(MailDelivery(await container.get(DeliverMail)))
            if source.is_on:
                hold = await container.get(HoldSubscription)
                assets, post = await container.get(ListQuotedAssets), await container.get(PostTicks)
                background.append(QuoteSubscriber(hold, assets, post, source.create))
            background.append(NoticeDelivery(await container.get(DeliverNotices)))
            evaluate, watch = await container.get(EvaluateAlerts), await container.get(WatchQuotes)
            background.append(AlertEvaluation(evaluate, watch))
        yield
        await hub.stop()
        for thread in reversed(background):
            await sync_to_thread(thread.stop)
        await container.close()

    schemas = StructSchemas()
    documentation = [
        lead_to_documentation,
        start_interactive_page,
        create_static_files_router(
            STATIC, [swagger_folder()], guards=[refuse_impossible_name], include_in_schema=False
        ),
    ]
    text = files(http).joinpath("description.md").read_text(encoding="utf-8")
    app = Litestar(
        route_handlers=[
            Router(
                "/api",
                route_handlers=find_routers(),
                guards=[
                    require_user,
                    reject_unknown_parameters,
                    refuse_unsupported_key,
                    read_body,
                ],
            ),
            health,
            *(documentation if documented else ()),
        ],
        state=State(
            {
                "batcher": RequestBatcher(is_quick=is_quick if embedded else lambda _: False),
                "read_row": _run_inline if embedded else partial(run_in, READS),
                "job_streams": streams,
            }
        ),
        logging_config=None,  # the program that starts the process configures logging
        dto=StrictJson,
        return_dto=None,
        type_encoders={DecimalText: str},
        plugins=[
            schemas,
            ProblemDetailsPlugin(
                ProblemDetailsConfig(
                    exception_to_problem_detail_map={
                        RebalancerError: partial(to_problem, remedies=remedies)
                    }
                )
            ),
        ],
        exception_handlers={HTTPException: handle_http_exception, Exception: handle_unexpected},
        after_exception=[log_failure],
        request_max_body_size=SMALL_BODY,
        openapi_config=None
        if not documented
        else OpenAPIConfig(
            title="rebalancer",
            version=version("rebalancer"),
            description=f"{text}\n{DISCLAIMER}\n",
            path="/docs",
            servers=[Server("/")],
            components=Components(security_schemes={BEARER: SCHEME}),
            tags=[
                Tag("users", "Accounts and logins"),
                Tag("factors", "Passkeys and second factors"),
                Tag("risk", "Risk questionnaire"),
                Tag("portfolios", "Portfolios and their transactions"),
                Tag("notices", "Notices about portfolios, and where they are sent"),
                Tag("models", "Model portfolios, which portfolios follow"),
                Tag("rebalance", "Proposals"),
                Tag("backtest", "Backtests"),
                Tag("jobs", "Background jobs"),
                Tag("operators", "Management of accounts, for operators"),
                Tag("policies", "Policies"),
                Tag("market", "Assets, prices and the market regime"),
                Tag("streams", "Live quotes"),
                Tag("health", "Health checks"),
            ],
            render_plugins=[
                InteractivePage(STATIC, "/docs/start.js"),
                CompleteDocument(schemas, JsonRenderPlugin()),
            ],
            create_examples=False,
            use_handler_docstrings=True,
            operation_id_creator=lambda handler, *_: handler.handler_name,
        ),
        lifespan=[lifespan],
    )
    setup_dishka(container, app)
    app.asgi_handler = complete_methods(app.asgi_handler, app.routes)
    return app


@get("/", include_in_schema=False)
async def lead_to_documentation() -> Redirect:
    """Redirect to the documentation."""
    return Redirect("/docs", status_code=307)


def find_routers() -> list[Router]:
    """Return the ``router`` of each module in `routes`."""
    names = sorted(module.name for module in pkgutil.iter_modules(routes.__path__))
    return [importlib.import_module(f"{routes.__name__}.{name}").router for name in names]


async def _run_inline(use: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Call a use case that takes less time than a thread takes to start."""
    return use(*arguments, **options)
