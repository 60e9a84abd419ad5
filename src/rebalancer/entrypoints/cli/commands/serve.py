"""`rebalancer serve`: serve the API, with a demo account if wanted."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid5

import attrs
import click

from rebalancer.application.ports.accounts import Passwords
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.config import PREFIX, Environment, Settings
from rebalancer.domain.errors import Conflict, InvalidRequest, Unavailable
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.entrypoints.cli.options import container, settings, sources
from rebalancer.entrypoints.cli.remedies import explain
from rebalancer.entrypoints.cli.stored_portfolios import find_user
from rebalancer.entrypoints.schemas import examples

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.entrypoints.connections import ConnectionLimits

DEMO_EMAIL, DEMO_PASSWORD = examples.EMAIL, examples.PASSWORD

_HOLDINGS = {"AAPL": 60, "JNJ": 25, "KO": 80, "XOM": 90}
_TARGETS = {"AAPL": 0.25, "JNJ": 0.2, "KO": 0.2, "PG": 0.15, "XOM": 0.15}


@click.command()
@click.option("--host", help="Address to listen on. Default: $REBALANCER_HOST, or 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Port to listen on; 0: any free port. Default: $REBALANCER_PORT, or 8000.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Processes. Default: $REBALANCER_WORKERS, or 1."
)
@click.option("--upgrade", is_flag=True, help="Create or upgrade the tables of the database first.")
@click.option(
    "--app", is_flag=True, help="Also serve the web client, at /. Default: $REBALANCER_APP, or no."
)
@click.option(
    "--demo",
    is_flag=True,
    help="Create a demo account with a portfolio on the sample prices, and print its password; "
    "the web client then offers it to everyone. Only in development.",
)
def serve(
    host: str | None, port: int | None, workers: int | None, upgrade: bool, app: bool, demo: bool
) -> None:
    """Serve the API over HTTP until SIGTERM or Ctrl-C, with its documentation at /docs.

    Settings come from REBALANCER_* variables (see .env.example). Events and requests are logged to
    standard error, one line of JSON each.

    \b
    Examples:
      rebalancer serve --upgrade --demo
      rebalancer serve --upgrade --demo --app
      REBALANCER_SECRET_KEY=... rebalancer serve --host 0.0.0.0 --port 80 --workers 4
    """
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.ports.store import Database
    from rebalancer.entrypoints import server
    from rebalancer.wiring.stores import check_redis
    from rebalancer.wiring.telemetry import serve_metrics

    chosen = settings()
    chosen = attrs.evolve(
        chosen,
        host=host or chosen.host,
        port=chosen.port if port is None else port,
        workers=workers or chosen.workers,
        app=app or chosen.app,
    )
    if app:
        os.environ[f"{PREFIX}APP"] = "on"  # each worker process reads its settings
    chosen.check_serving()
    chosen.check_mail()
    if demo:
        _check_demo(chosen)
    with container() as wired:
        stored = sources().stored
        if not stored:
            wired.get(PriceSource).closes(days=1)  # fails now if the prices cannot be read
        if upgrade:
            wired.get(Database).upgrade()
        check_tables(wired)
        check_redis(wired)
        _prepare(wired, stored)
        account = _create_demo_account(wired) if demo else ""

    def started(address: str, limits: ConnectionLimits) -> None:
        pages = f", documentation at {address}/docs" if chosen.docs else ""
        click.echo(f"Listening on {address}{pages}{account}")
        if chosen.app:
            click.echo(_describe_app(address, demo))
        if metrics is not None:
            click.echo(f"Metrics at {metrics}")
        click.echo(_describe_limits(chosen, limits))
        if chosen.has_public_key:
            click.echo(
                "Development key: only direct requests to localhost are answered; set "
                "REBALANCER_SECRET_KEY to serve others."
            )

    with serve_metrics(chosen) as metrics:
        server.serve(chosen, started, (DEMO_EMAIL, DEMO_PASSWORD) if demo else None)


def _describe_app(address: str, demo: bool) -> str:
    """Return where the web client is; passkeys need the name of this machine, not its number."""
    ways = "choose Look around, or create an account" if demo else "sign in or create an account"
    return f"Open {address.replace('//127.0.0.1', '//localhost')} for the app: {ways}."


def _describe_limits(chosen: Settings, limits: ConnectionLimits) -> str:
    """Return the limits that hold, as a sentence."""
    files = ""
    if limits.most < chosen.connections:
        files = f" ({chosen.connections} need more open files; raise `ulimit -n`)"
    client = f", {limits.most_of_client} of one address" if limits.most_of_client else ""
    rate = f"{chosen.rate_limit} requests" if chosen.rate_limit else "any number of requests"
    logins = f"{chosen.login_limit} logins" if chosen.login_limit else "any number of logins"
    return (
        f"Limits of a process: {limits.most} connections{files}{client}; {limits.idle:g} s for "
        f"the head of a request, {chosen.body_timeout:g} s for a body; of a user or address: "
        f"{rate} and {logins} a minute."
    )


def _check_demo(chosen: Settings) -> None:
    """Refuse an account with a public password outside development, or without the sample."""
    from rebalancer.wiring.market import SAMPLE

    if chosen.environment is not Environment.DEVELOPMENT:
        raise InvalidRequest(
            "the demo account has a public password; it is allowed only in development",
            field="demo",
            code="demo_not_allowed",
        )
    if sources().prices != SAMPLE:
        raise InvalidRequest(
            "the demo account needs the sample prices; set REBALANCER_PRICES to sample",
            field="demo",
            code="demo_not_allowed",
        )


def check_tables(wired: Container) -> None:
    """Check that the tables of the database are at the revision of this version, and their keys.

    Raises:
        Conflict: they are missing or at another revision.
        Unavailable: the encryption keys do not open what is stored.
    """
    from rebalancer.application.encryption import CheckKeys
    from rebalancer.application.ports.store import Database

    database = wired.get(Database)
    at, newest = database.revision(), database.newest()
    if at != newest:
        state = "has no tables" if at is None else f"is at revision {at}"
        raise Conflict(
            f"the database {state}; this version needs revision {newest}", code="schema_outdated"
        )
    wired.get(CheckKeys)()


def _prepare(wired: Container, stored: bool) -> None:
    """Prepare the stores of market data and reports.

    An unavailable store, or one without prices, gives a caution: the server recovers on its own.
    """
    from rebalancer.application.market_data import PrepareStores
    from rebalancer.application.ports.market import PriceSource

    try:
        wired.get(PrepareStores)()
        if stored:
            wired.get(PriceSource).closes(days=1)
    except Unavailable as error:
        click.echo(f"Caution: {explain(error)}", err=True)


def _create_demo_account(wired: Container) -> str:
    """Create the demo account and its portfolio if they are missing, and return how to log in."""
    from rebalancer.application.portfolios import OpenPortfolio
    from rebalancer.application.ports.accounts import Tokens
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.registration import Register
    from rebalancer.domain.accounts.sessions import Session
    from rebalancer.domain.portfolio.owner import RefreshToken

    now, work, passwords = wired.get(Clock)(), wired.get(UnitOfWork), wired.get(Passwords)
    with suppress(Conflict):  # already registered
        wired.get(Register)(
            email=DEMO_EMAIL,
            password=DEMO_PASSWORD,
            name="Ada",
            by_operator=True,
            id=wired.get(Ids)(),
            now=now,
        )
    with work.read() as tx:
        user = find_user(tx, DEMO_EMAIL)
    if not passwords.verify(DEMO_PASSWORD, user.password):
        with work.begin() as tx:
            tx.users.save(attrs.evolve(user, password=passwords.hash(DEMO_PASSWORD)))
    session = Session.start(uuid5(user.id, "example"), user.id, "password", now)
    token = RefreshToken(
        wired.get(Tokens).digest(examples.REFRESH_TOKEN),
        family=session.id,
        owner=user.id,
        issued=now,
        expires=session.refresh_ends(now),
    )
    with work.begin() as tx:
        if tx.sessions.find(session.id) is None:
            tx.sessions.add(session)
        else:
            tx.sessions.save(session)
        tx.tokens.revoke(session.id)
        tx.tokens.add(token)
    with suppress(Conflict):  # already open, or closed
        wired.get(OpenPortfolio)(
            Mandate("Example", wired.get(Currency), _TARGETS),
            cash=Decimal(4000),
            holdings={symbol: Decimal(units) for symbol, units in _HOLDINGS.items()},
            on=date(2021, 1, 4),
            id=examples.PORTFOLIO,
            owner=user.id,
            now=now,
        )
    return f"\nLog in as {DEMO_EMAIL} with the password: {DEMO_PASSWORD}"
