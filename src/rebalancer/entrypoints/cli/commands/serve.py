"""`rebalancer serve`: the API, and a ready-made login to try it with."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid5

import click

from rebalancer.entrypoints.cli.options import settings, sources, store

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.config import Settings

DEMO_EMAIL, DEMO_PASSWORD = "ada@example.org", "correct horse battery staple"
"""The ready-made login, for development alone: anyone can read it here."""

_HOLDINGS = {"AAPL": 60, "JNJ": 25, "KO": 80, "XOM": 90}
_TARGETS = {"AAPL": 0.25, "JNJ": 0.2, "KO": 0.2, "PG": 0.15, "XOM": 0.15}


@click.command()
@click.option("--host", help="Address to listen on. Default: $REBALANCER_HOST, or 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Port to listen on, 0 for a free one. Default: $REBALANCER_PORT, or 8000.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes. Default: $REBALANCER_WORKERS, or 1.",
)
@click.option("--upgrade", is_flag=True, help="First bring the database's tables up to date.")
@click.option(
    "--demo",
    is_flag=True,
    help="Make a login and a portfolio on the sample prices, and print them. Development only.",
)
def serve(
    host: str | None, port: int | None, workers: int | None, upgrade: bool, demo: bool
) -> None:
    """Answer over HTTP, until SIGTERM or Ctrl-C; the API's description is at /docs.

    Settings come from REBALANCER_* (see .env.example); the log is JSON on standard error, a line
    for each event and each request.

    \b
    Examples:
      rebalancer serve --upgrade --demo
      REBALANCER_SECRET_KEY=... rebalancer serve --host 0.0.0.0 --port 80 --workers 4
    """
    import attrs

    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.ports.store import Database
    from rebalancer.entrypoints import server
    from rebalancer.wiring.market import STORE

    chosen = settings()
    chosen = attrs.evolve(
        chosen,
        host=host or chosen.host,
        port=chosen.port if port is None else port,
        workers=workers or chosen.workers,
    )
    chosen.check_serving()
    if demo:
        _check_demo(chosen)
    with store() as wired:
        kept = sources(None, None).prices == STORE
        if not kept:
            wired.get(PriceSource).closes(days=1)  # what is wrong with a file is better known now
        if upgrade:
            wired.get(Database).upgrade()
        check_tables(wired)
        _prepare(wired, kept)
        ready = _ready_made(wired) if demo else ""

    def started(address: str) -> None:
        click.echo(f"Listening on {address}, described at {address}/docs{ready}")

    server.serve(chosen, started)


def _check_demo(chosen: Settings) -> None:
    """Raise unless a login that everybody knows does no harm."""
    from rebalancer.config import Environment
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.wiring.market import SAMPLE

    if chosen.environment is not Environment.DEVELOPMENT:
        raise InvalidRequest(
            "everybody knows this login: only where REBALANCER_ENVIRONMENT is development",
            field="demo",
        )
    if sources(None, None).prices != SAMPLE:
        raise InvalidRequest(
            "shows the sample: unset REBALANCER_PRICES, or set it to sample", field="demo"
        )


def check_tables(wired: Container) -> None:
    """Raise unless the database has the tables that this version expects."""
    from rebalancer.application.ports.store import Database
    from rebalancer.domain.errors import Conflict

    database = wired.get(Database)
    at, newest = database.revision(), database.newest()
    if at != newest:
        there = "has no tables yet" if at is None else f"is at revision {at}"
        raise Conflict(
            f"the database {there}, and this version needs {newest}: run `rebalancer db upgrade`, "
            "or serve with --upgrade"
        )


def _prepare(wired: Container, kept: bool) -> None:
    """Make ready what keeps market data and reports.

    That it does not answer, or has no prices yet, is told: once it does it mends itself.
    """
    from rebalancer.application.market_data import PrepareStores
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.domain.errors import Unavailable

    try:
        wired.get(PrepareStores)()
        if kept:
            wired.get(PriceSource).closes(days=1)
    except Unavailable as error:
        click.echo(f"Caution: {error}", err=True)


def _ready_made(wired: Container) -> str:
    """A login with a portfolio, made unless it is there, and how to use it."""
    from contextlib import suppress
    from datetime import date
    from decimal import Decimal

    import attrs

    from rebalancer.application.accounts import Register
    from rebalancer.application.portfolios import OpenPortfolio
    from rebalancer.application.ports.accounts import Passwords
    from rebalancer.application.ports.clock import Clock, Ids
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.domain.errors import Conflict
    from rebalancer.domain.money import Currency
    from rebalancer.domain.portfolio.mandate import Mandate
    from rebalancer.entrypoints.cli.stored_portfolios import user_called

    now, work, passwords = wired.get(Clock)(), wired.get(UnitOfWork), wired.get(Passwords)
    with suppress(Conflict):  # registered already
        wired.get(Register)(
            email=DEMO_EMAIL, password=DEMO_PASSWORD, name="Ada", id=wired.get(Ids)(), now=now
        )
    with work.read() as tx:
        user = user_called(tx, DEMO_EMAIL)
    if not passwords.verify(DEMO_PASSWORD, user.password):
        with work.begin() as tx:
            tx.users.save(attrs.evolve(user, password=passwords.hash(DEMO_PASSWORD)))
    id = uuid5(user.id, "example")
    with suppress(Conflict):  # there already, or closed
        wired.get(OpenPortfolio)(
            Mandate("Example", wired.get(Currency), _TARGETS),
            cash=Decimal(4000),
            holdings={symbol: Decimal(units) for symbol, units in _HOLDINGS.items()},
            on=date(2021, 1, 4),
            id=id,
            owner=user.id,
            now=now,
        )
    return f"\nLog in as {DEMO_EMAIL} with the password: {DEMO_PASSWORD}"
