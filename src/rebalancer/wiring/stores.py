"""Databases, document stores and Redis, each loaded when it is first used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import attrs
from dishka import Container, Provider, Scope, provide

from rebalancer.adapters.mapped.histories import MappedHistories
from rebalancer.adapters.redis.connection import AsyncConnection, Connection
from rebalancer.application.health import (
    UNKNOWN_ID,
    Dependencies,
    Dependency,
    describe_withheld,
    store_dependency,
    stored_prices_dependency,
)
from rebalancer.application.metrics import CONNECTIONS_IN_USE, CONNECTIONS_LIMIT
from rebalancer.application.ports.encryption import Encryption
from rebalancer.application.ports.market import (
    Calendars,
    MarketStore,
    PriceCache,
    PriceSource,
    RateSource,
)
from rebalancer.application.ports.reference import ReferenceStore
from rebalancer.application.ports.reports import Reports
from rebalancer.application.ports.store import Database, UnitOfWork
from rebalancer.application.ports.telemetry import Metrics, Tracer
from rebalancer.application.stored_market import StoredMarket
from rebalancer.application.telemetry import NO_METRICS, NO_TRACER, TracedWork
from rebalancer.config import Settings
from rebalancer.domain.errors import Unavailable
from rebalancer.wiring.market import Sources


@attrs.frozen
class ConnectionPool:
    """Connections to the database, shared by all stores of a process."""

    engine: Any


class DatabaseProvider(Provider):
    """Users, portfolios, proposals and jobs; SQLAlchemy is loaded at first use."""

    scope = Scope.APP

    @provide
    def pool(self, settings: Settings, metrics: Metrics) -> Iterator[ConnectionPool]:
        """Create the pool; it connects at first use and closes with the container."""
        from rebalancer.adapters.sql.engine import connect, watch_pool

        engine = connect(
            settings.database_url,
            pool=settings.database_pool,
            statement_timeout=settings.statement_timeout,
            pooled=settings.database_pooled,
        )
        if metrics is not NO_METRICS:
            most = watch_pool(engine, partial(metrics.set, CONNECTIONS_IN_USE))
            metrics.set(CONNECTIONS_LIMIT, most)
        yield ConnectionPool(engine)
        engine.dispose()

    @provide
    def work(
        self, pool: ConnectionPool, settings: Settings, encryption: Encryption, tracer: Tracer
    ) -> UnitOfWork:
        from rebalancer.adapters.sql.work import SqlWork

        settings.check_encryption()
        work = SqlWork(pool.engine, encryption, sends_mail=settings.sends_mail)
        return work if tracer is NO_TRACER else TracedWork(work, tracer)

    @provide
    def database(self, pool: ConnectionPool, encryption: Encryption) -> Database:
        from rebalancer.adapters.sql.database import SqlDatabase

        return SqlDatabase(pool.engine, encryption)


@attrs.frozen
class DocumentStores:
    """Market data, reports, and fundamentals and series, stored in the same place."""

    market: StoredMarket
    reports: Reports
    reference: ReferenceStore


class DocumentProvider(Provider):
    """Market data and reports: in MongoDB if it is configured, else in the database."""

    scope = Scope.APP

    @provide
    def stores(
        self,
        settings: Settings,
        pool: ConnectionPool,
        cache: PriceCache | None,
        sources: Sources,
        rates: RateSource,
        calendars: Calendars,
    ) -> Iterator[DocumentStores]:
        """Create both stores over one connection pool."""
        place = settings.mongo_url or str(pool.engine.url)
        name = sha256(f"{Path.cwd()} {place}".encode()).hexdigest()[:16]
        shared = MappedHistories(settings.cache_folder / name)

        def stored(store: MarketStore) -> StoredMarket:
            return StoredMarket(
                store,
                cache,
                shared,
                accepted=sources.accepted,
                currency=sources.currency or settings.currency,
                rates=rates,
                calendars=calendars,
            )

        if settings.mongo_url is None:
            from rebalancer.adapters.sql.market import SqlMarket
            from rebalancer.adapters.sql.reference import SqlReference
            from rebalancer.adapters.sql.reports import SqlReports

            yield DocumentStores(
                stored(SqlMarket(pool.engine)), SqlReports(pool.engine), SqlReference(pool.engine)
            )
            return
        try:
            from rebalancer.adapters.mongo import connection
            from rebalancer.adapters.mongo.market import MongoMarket
            from rebalancer.adapters.mongo.reference import MongoReference
            from rebalancer.adapters.mongo.reports import MongoReports
        except ImportError:
            raise Unavailable(
                "the MongoDB client is not installed: pip install 'rebalancer[servers]'",
                code="package_missing",
            ) from None
        database = connection.connect(settings.mongo_url)
        yield DocumentStores(
            stored(MongoMarket(database)), MongoReports(database), MongoReference(database)
        )
        database.client.close()

    @provide
    def market(self, stores: DocumentStores) -> StoredMarket:
        return stores.market

    @provide
    def reports(self, stores: DocumentStores) -> Reports:
        return stores.reports

    @provide
    def reference(self, stores: DocumentStores) -> ReferenceStore:
        return stores.reference


def check_redis(wired: Container) -> None:
    """Check the mode of the Redis server, if one is configured and answers.

    Raises:
        InvalidRequest: it runs in cluster mode.
    """
    connection = wired.get(cast(type[Connection], Connection | None))
    if connection is not None:
        connection.check_mode()


class RedisProvider(Provider):
    """State shared by processes through Redis; its client is loaded only if it is configured."""

    scope = Scope.APP

    @provide
    def connection(self, settings: Settings) -> Iterator[Connection | None]:
        """Connect for synchronous callers; None without Redis."""
        if settings.redis_url is None:
            yield None
            return
        connection = Connection(settings.redis_url, prefix=settings.redis_prefix)
        yield connection
        connection.close()

    @provide
    async def loop(self, connection: Connection | None) -> AsyncIterator[AsyncConnection | None]:
        """Connect for the event loop; None without Redis."""
        if connection is None:
            yield None
            return
        loop = AsyncConnection(connection)
        yield loop
        await loop.close()

    @provide
    def cache(self, connection: Connection | None) -> PriceCache | None:
        """Cache the market data that all processes read; None without Redis."""
        if connection is None:
            return None
        from rebalancer.adapters.redis.prices import RedisPriceCache

        return RedisPriceCache(connection)

    @provide
    def parts(
        self,
        work: UnitOfWork,
        prices: PriceSource,
        stores: DocumentStores,
        connection: Connection | None,
        settings: Settings,
        sources: Sources,
    ) -> Dependencies:
        market = Dependency(
            "prices", lambda: prices.closes(days=1), note=lambda: describe_withheld(prices)
        )
        if sources.stored:
            market = stored_prices_dependency(stores.market)
        parts = [store_dependency(work), market]
        if settings.mongo_url is not None:
            read, effect = stores.reports.get, "reports can be neither stored nor read"
            parts.append(Dependency("reports", lambda: read(UNKNOWN_ID), effect))
        if connection is not None:
            effects = {
                "cache": "each process reads prices from the store",
                "limits": "each process counts its own rate limits, and a revoked login may stay "
                "valid for a few seconds",
                "queue": "background jobs cannot be started",
            }
            parts += [
                Dependency(name, connection.check, effect) for name, effect in effects.items()
            ]
        return Dependencies(tuple(parts))
