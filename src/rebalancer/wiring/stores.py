"""Databases, document stores and Redis, each loaded when it is first used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import attrs
from dishka import (
    Provider,
    Scope,
    provide,
)

from rebalancer.adapters.redis.connection import AsyncConnection, Connection
from rebalancer.application.health import (
    Part,
    Parts,
    kept_part,
    prices_part,
    reports_part,
    store_part,
)
from rebalancer.application.ports.market import (
    PriceCache,
    PriceSource,
)
from rebalancer.application.ports.reports import (
    Reports,
)
from rebalancer.application.ports.store import Database, UnitOfWork
from rebalancer.application.stored_market import StoredMarket
from rebalancer.config import Settings
from rebalancer.domain.errors import Unavailable
from rebalancer.wiring.market import STORE, Sources


@attrs.frozen
class ConnectionPool:
    """Connections to the database: one pool a process, whatever is kept there."""

    engine: Any


class DatabaseProvider(Provider):
    """Where people and portfolios are kept. Loaded when it is asked for, as SQL takes its time."""

    scope = Scope.APP

    @provide
    def pool(self, settings: Settings) -> Iterator[ConnectionPool]:
        """To a file or a server; it connects when it is asked."""
        from rebalancer.adapters.sql.engine import connect

        engine = connect(
            settings.database_url,
            pool=settings.database_pool,
            statement_timeout=settings.statement_timeout,
        )
        yield ConnectionPool(engine)
        engine.dispose()

    @provide
    def work(self, pool: ConnectionPool) -> UnitOfWork:
        """A database."""
        from rebalancer.adapters.sql.work import SqlWork

        return SqlWork(pool.engine)

    @provide
    def database(self, pool: ConnectionPool) -> Database:
        """The same, as operators see it."""
        from rebalancer.adapters.sql.database import SqlDatabase

        return SqlDatabase(pool.engine)


@attrs.frozen
class DocumentStores:
    """What is kept beside people and portfolios, all in the same place."""

    market: StoredMarket
    reports: Reports


class DocumentProvider(Provider):
    """Where market data and reports are kept: in MongoDB if there is one, else in the database."""

    scope = Scope.APP

    @provide
    def kept(
        self, settings: Settings, pool: ConnectionPool, cache: PriceCache | None
    ) -> Iterator[DocumentStores]:
        """All of it, over one pool of connections."""
        if settings.mongo_url is None:
            from rebalancer.adapters.sql.market import SqlMarket
            from rebalancer.adapters.sql.reports import SqlReports

            market = StoredMarket(SqlMarket(pool.engine), cache)
            yield DocumentStores(market, SqlReports(pool.engine))
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
        market = StoredMarket(MongoMarket(database), cache)
        yield DocumentStores(market, MongoReports(database))
        database.client.close()

    @provide
    def market(self, kept: DocumentStores) -> StoredMarket:
        """Bars and instruments."""
        return kept.market

    @provide
    def reports(self, kept: DocumentStores) -> Reports:
        """DocumentProvider."""
        return kept.reports


class RedisProvider(Provider):
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
        kept: DocumentStores,
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
