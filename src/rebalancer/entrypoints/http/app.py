"""The application: routes, errors, the API's description, and what happens at start and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from uuid import UUID

from dishka import AsyncContainer
from dishka.integrations.litestar import setup_dishka
from litestar import Litestar, Router
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, Server, Tag
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsPlugin
from litestar.static_files import create_static_files_router
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition

from rebalancer.application.health import CheckHealth
from rebalancer.application.job_worker import RecoverJobs
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import PriceSource
from rebalancer.domain.errors import RebalancerError
from rebalancer.entrypoints.http.auth import BEARER, SCHEME
from rebalancer.entrypoints.http.backtests import backtests
from rebalancer.entrypoints.http.bodies import StrictJson, reject_unknown_parameters
from rebalancer.entrypoints.http.errors import (
    handle_http_exception,
    handle_unexpected,
    log_failure,
    to_problem,
)
from rebalancer.entrypoints.http.health import Readiness, health
from rebalancer.entrypoints.http.jobs import jobs
from rebalancer.entrypoints.http.ledger import ledger
from rebalancer.entrypoints.http.market import market
from rebalancer.entrypoints.http.openapi import (
    OpenApiJson,
    StructSchemas,
    SwaggerPage,
    swagger_folder,
)
from rebalancer.entrypoints.http.performance import performance
from rebalancer.entrypoints.http.policies import policies, read_policy
from rebalancer.entrypoints.http.portfolios import portfolios
from rebalancer.entrypoints.http.rate_limits import RateLimiter
from rebalancer.entrypoints.http.rebalance import brief, rebalance
from rebalancer.entrypoints.http.request_batching import RequestBatcher
from rebalancer.entrypoints.http.threads import run_in_thread, run_inline
from rebalancer.entrypoints.http.users import risk, users
from rebalancer.entrypoints.maintenance import Maintenance
from rebalancer.entrypoints.processes import told_to_end
from rebalancer.entrypoints.schemas.proposal import DISCLAIMER

STATIC = "/docs/static"
LARGEST_BODY = 1_000_000
"""Bytes; a portfolio of 500 assets takes a tenth of it."""

DESCRIPTION = f"""\
What to trade now, what it costs, why, and why not.

Register, log in, send the access token as `Authorization: Bearer ...`; answer the risk
questionnaire, open a portfolio, ask for a proposal, accept it, and see how the portfolio does.

* Money and quantities are **text**, such as `"1250.00"`, so that no digit is lost; weights and
  rates are numbers.
* An error is `application/problem+json`; `errors` names each field. 400: malformed, 422: it makes
  no sense here, 409: it contradicts the present state, 412: somebody was quicker.
* Whoever asks too often is told to wait: 429, with `Retry-After`. Where there are limits, each
  answer has `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds).
* Somebody else's resource does not exist: 404.

{DISCLAIMER}
"""


def application(
    container: AsyncContainer, *, embedded: bool = False, does_jobs: bool = False
) -> Litestar:
    """The API over everything that the container wires together.

    Args:
        container: Where use cases come from.
        embedded: Whether the store is in this process, so that reading one row takes no time.
        does_jobs: Whether this process looks after jobs, for want of a worker that does.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        app.state.stopping = told_to_end()
        prices = await container.get(PriceSource)
        with suppress(RebalancerError):  # what is wrong with them, /health/ready says
            await sync_to_thread(prices.closes, days=1)  # so that nobody waits for the first load
        app.state.limiting = limiting = await RateLimiter.of(container)
        app.asgi_handler = limiting.around(app.asgi_handler)
        app.state.readiness = Readiness(await container.get(CheckHealth))
        upkeep = (
            Maintenance(
                await container.get(RecoverJobs),
                await container.get(DeleteExpired),
                await container.get(Clock),
            )
            if does_jobs
            else None
        )
        yield
        if upkeep is not None:
            await sync_to_thread(upkeep.stop)
        await container.close()

    structs = StructSchemas()
    app = Litestar(
        route_handlers=[
            Router(
                "/api",
                route_handlers=[
                    users,
                    risk,
                    portfolios,
                    ledger,
                    performance,
                    rebalance,
                    backtests,
                    jobs,
                    policies,
                    read_policy,
                    market,
                ],
                guards=[reject_unknown_parameters],
            ),
            health,
            create_static_files_router(STATIC, [swagger_folder()], include_in_schema=False),
        ],
        state=State(
            {
                "batcher": RequestBatcher(brief=brief if embedded else lambda _: False),
                "read_row": run_inline if embedded else run_in_thread,
                "watching": Counter[UUID](),
            }
        ),
        logging_config=None,  # whoever starts the process says what is logged, and where
        dto=StrictJson,
        return_dto=None,
        plugins=[
            structs,
            ProblemDetailsPlugin(
                ProblemDetailsConfig(exception_to_problem_detail_map={RebalancerError: to_problem})
            ),
        ],
        exception_handlers={
            HTTPException: handle_http_exception,
            Exception: handle_unexpected,
        },
        after_exception=[log_failure],
        request_max_body_size=LARGEST_BODY,
        openapi_config=OpenAPIConfig(
            title="rebalancer",
            version=version("rebalancer"),
            description=DESCRIPTION,
            path="/docs",
            servers=[Server("/")],
            components=Components(security_schemes={BEARER: SCHEME}),
            tags=[
                Tag("users", "Who you are"),
                Tag("risk", "How much risk you bear"),
                Tag("portfolios", "What you hold and want"),
                Tag("rebalance", "What to trade now"),
                Tag("backtest", "Was it any good"),
                Tag("jobs", "Work in the background"),
                Tag("policies", "Who can decide"),
                Tag("market", "What is known of the market"),
                Tag("health", "Is everything up"),
            ],
            render_plugins=[
                SwaggerPage(structs, path="/", static=STATIC),
                OpenApiJson(structs, path="/openapi.json"),
            ],
            create_examples=False,
            use_handler_docstrings=True,
            operation_id_creator=_operation,
        ),
        lifespan=[lifespan],
    )
    setup_dishka(container, app)
    return app


def _operation(
    handler: HTTPRouteHandler, _: Method, __: list[str | PathParameterDefinition]
) -> str:
    """What generated clients call it."""
    return handler.handler_name
