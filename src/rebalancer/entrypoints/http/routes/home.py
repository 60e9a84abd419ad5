"""`/api/home`: all portfolios in one answer."""

from __future__ import annotations

from typing import Annotated

from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.params import QueryParameter

from rebalancer.application.home import SummarizeHome
from rebalancer.application.ports.clock import Clock
from rebalancer.domain.backtest.periods import Period
from rebalancer.domain.money import Currency
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.home import HomeView, home_view


@get("/", summary="Summarise all portfolios", responses=problem_responses(422))
async def summarize_home(
    owner: Owner,
    use: FromDishka[SummarizeHome],
    clock: FromDishka[Clock],
    currency: Annotated[
        str | None,
        QueryParameter(
            pattern="^[A-Z]{3}$",
            description="ISO 4217 code of the sums. Default: the one that most portfolios have.",
        ),
    ] = None,
    period: Annotated[Period, QueryParameter(description="Period of the history.")] = Period.YEAR,
) -> HomeView:
    """Summarise value, change, drift and what to do next, for all your portfolios.

    The history adds portfolios that have a value and an exchange rate. A change is the
    time-weighted return of all of them together, as if one account held them.
    """
    chosen = None if currency is None else Currency(currency)
    return home_view(await run_in(READS, use, owner, currency=chosen, now=clock()), period)


router = owner_router("/home", [summarize_home], tag="portfolios")
