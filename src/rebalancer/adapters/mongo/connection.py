"""Connections to MongoDB, what its errors mean to us, and what it is told to check itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl

from bson.errors import BSONError
from pymongo import IndexModel, MongoClient
from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WriteError,
)
from pymongo.monitoring import (
    ServerHeartbeatFailedEvent,
    ServerHeartbeatListener,
    ServerHeartbeatStartedEvent,
    ServerHeartbeatSucceededEvent,
)

from rebalancer.domain.errors import InvalidRequest, RebalancerError, Unavailable

log = logging.getLogger("rebalancer.mongo")

Document = dict[str, Any]

PATIENCE = 2.0
"""Seconds to find a server, and to reach it."""

WRITE_PATIENCE = 5.0
"""Seconds until most servers of a set have a write."""

OPERATION_TIMEOUT = 60.0
"""Seconds that the server may leave us without a byte."""

PAUSE = 1.0
"""Seconds for which readers are spared a server that did not answer."""

USUAL_DATABASE = "rebalancer"
"""Where the URL names none."""

INVALID, EXISTS, DUPLICATE = 121, 48, 11000
"""Codes of the server: a document that fails validation; a collection, or a key, that is there."""

_AWAY = "MongoDB does not answer"
_HUNG_UP = "operation cancelled"
"""The driver's words where a client is closed that was just asking how a server is."""

_UNKNOWN_COMMANDS = {59, 115, 238}
"""Codes of servers that speak the protocol, and lack a command or an option."""


def connect(
    url: str, *, patience: float = PATIENCE, operation_timeout: float = OPERATION_TIMEOUT
) -> Database[Document]:
    """A database, for any number of threads; it is not reached for yet.

    What is written is there once most servers of a replica set have it on disk. Only such is read,
    all of it from the same server, since a revision must not be newer than what it is of; no option
    in the URL changes that. Time limits in the URL take the place of ours.

    The client finds the servers again by itself after they were away. The log says when one does
    not answer, with the driver's words, and when it does again.

    Args:
        url: ``mongodb://host/name``.
        patience: See `PATIENCE`.
        operation_timeout: See `OPERATION_TIMEOUT`.

    Raises:
        InvalidRequest: the URL is malformed; it is not quoted, for the password in it.
    """
    limits: dict[str, float] = {
        "serverSelectionTimeoutMS": patience,
        "connectTimeoutMS": patience,
        "wTimeoutMS": WRITE_PATIENCE,
        "socketTimeoutMS": operation_timeout,
    }
    given = {name.lower() for name, _ in parse_qsl(url.partition("?")[2])}
    ours: dict[str, Any] = {
        name: round(seconds * 1000) for name, seconds in limits.items() if name.lower() not in given
    }
    try:
        client: MongoClient[Document] = MongoClient(
            url,
            appname="rebalancer",
            connect=False,
            tz_aware=True,
            uuidRepresentation="standard",
            w="majority",
            journal=True,  # on disk, too
            readConcernLevel="majority",
            readPreference="primary",
            event_listeners=[_Outages()],
            **ours,
        )
        return client.get_default_database(USUAL_DATABASE)
    except (InvalidURI, ConfigurationError, ValueError):
        raise InvalidRequest(
            "expected a URL such as mongodb://user:password@host/rebalancer, with no other options "
            "than MongoDB knows",
            field="REBALANCER_MONGO_URL",
        ) from None


class _Outages(ServerHeartbeatListener):
    """Tells the log when a server goes away, and when it is back: once, however many ask."""

    def __init__(self) -> None:
        self._away: set[object] = set()

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        """Nothing is known yet."""

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        """It answers."""
        if event.connection_id in self._away:
            self._away.discard(event.connection_id)
            log.warning("MongoDB at %s:%s answers again", *event.connection_id)

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        """It does not, or we have hung up."""
        if event.connection_id not in self._away and str(event.reply) != _HUNG_UP:
            self._away.add(event.connection_id)
            log.warning(
                "MongoDB at %s:%s does not answer: %s", *event.connection_id, _plain(event.reply)
            )


@contextmanager
def translated(error: type[Unavailable] = Unavailable) -> Iterator[None]:
    """Raise what the driver's errors mean to us.

    Args:
        error: What to raise where the server did not answer.

    Raises:
        InvalidRequest: the server refuses a document, or it is too large; names the field.
        Unavailable: it did not answer, or could not do it.
    """
    try:
        yield
    except DocumentTooLarge:
        raise InvalidRequest(
            "is larger than a document of MongoDB may be, 16 MB; keep fewer or shorter series",
            field="report",
        ) from None
    except PyMongoError as failed:
        raise meaning(failed, error) from failed
    except BSONError as failed:
        log.warning("MongoDB sent something that cannot be read: %s", failed)
        raise error("MongoDB sent something that cannot be read") from failed


class Outage:
    """Spares readers the wait for a server that did not answer a moment ago, and their threads.

    One of them tries again after a while; whoever comes meanwhile is told at once.

    Args:
        pause: Seconds, see `PAUSE`.
        clock: Seconds; only differences matter.
    """

    def __init__(
        self, pause: float = PAUSE, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pause = pause
        self._clock = clock
        self._lock = Lock()
        self._until: float | None = None
        """When somebody tries again; None where it answers."""

    @contextmanager
    def spared(self) -> Iterator[None]:
        """Do as `translated` does, unless it is known that the server does not answer."""
        with self._lock:
            if self._until is not None:
                if self._clock() < self._until:
                    raise Unavailable(_AWAY)
                self._until = self._clock() + OPERATION_TIMEOUT  # it is our turn, for so long
        away = False
        try:
            with translated():
                yield
        except Unavailable as error:
            away = isinstance(error.__cause__, ConnectionFailure)
            raise
        finally:
            with self._lock:
                self._until = self._clock() + self._pause if away else None


def meaning(failed: PyMongoError, error: type[Unavailable] = Unavailable) -> RebalancerError:
    """What an error of the driver means to us, in words that strangers may read.

    The driver's own name servers and documents; they are for the log.
    """
    if isinstance(failed, WriteError) and failed.code == INVALID:
        return refused(failed.details or {})
    if isinstance(
        failed, ConnectionFailure
    ):  # AutoReconnect, ServerSelectionTimeout, NetworkTimeout
        return error(_AWAY)
    details = failed.details if isinstance(failed, BulkWriteError) else {}
    if isinstance(failed, WriteConcernError) or details.get("writeConcernErrors"):
        return error("MongoDB does not have it on most of its servers yet; try again")
    if isinstance(failed, ExecutionTimeout):
        return error("MongoDB took too long to answer; try again")
    log.warning("MongoDB could not do it: %s", _said(failed))
    return error("MongoDB could not do it; the log says why")


def _said(failed: PyMongoError) -> str:
    """Its message without the documents that it is about."""
    if isinstance(failed, BulkWriteError) and failed.details.get("writeErrors"):
        return str(failed.details["writeErrors"][0].get("errmsg"))
    return _plain(failed)


def _plain(failed: Exception) -> str:
    """Its message without what it is configured with, and without the server's whole answer."""
    said = str(failed).partition(", full error")[0]
    return said.partition(", Timeout:")[0].partition(" (configured")[0]


def refused(details: Mapping[str, Any]) -> InvalidRequest:
    """A write that the server's own check of documents has refused; names the field."""
    field = _failing(details.get("errInfo", {}).get("details", {}))
    return InvalidRequest("MongoDB refuses what stands there", field=field or "document")


def _failing(details: Any) -> str:
    """The first field that a server's explanation names, in however deep a nest."""
    if isinstance(details, Mapping):
        for key in ("propertyName", "missingProperties", "additionalProperties"):
            named = details.get(key)
            if isinstance(named, str):
                return named
            if isinstance(named, Sequence) and named:
                return str(named[0])
        details = list(details.values())
    if isinstance(details, list):
        return next((found for each in details if (found := _failing(each))), "")
    return ""


def prepare(
    database: Database[Document],
    name: str,
    validator: Mapping[str, Any],
    indexes: Sequence[IndexModel] = (),
) -> None:
    """Have the server check documents of a collection itself, and find them by indexes.

    What is there already stays; so does its data, which the check concerns when it changes.

    Raises:
        Unavailable: the server did not answer.
    """
    with translated():
        try:
            try:
                database.create_collection(name, validator=validator, check_exists=False)
            except OperationFailure as there:
                if there.code != EXISTS:
                    raise
                database.command("collMod", name, validator=validator)
        except OperationFailure as lacking:
            if lacking.code not in _UNKNOWN_COMMANDS:
                raise
            log.warning("MongoDB cannot check documents of %s itself: %s", name, lacking)
        if indexes:
            database[name].create_indexes(list(indexes))


class Preparation:
    """Makes ready what is written to: once a process, before it writes.

    A server that was away when the process began may have come with nothing in it.

    Args:
        prepare: Does it, as often as one likes.
    """

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare
        self._lock = Lock()
        self._done = False

    def __call__(self) -> None:
        """Do it, whether or not it was done.

        Raises:
            Unavailable: the server did not answer.
        """
        with self._lock:
            self._prepare()
            self._done = True

    def once(self) -> None:
        """Do it unless it was done.

        Raises:
            Unavailable: the server did not answer; the next one tries again.
        """
        if self._done:
            return
        with self._lock:
            if not self._done:
                self._prepare()
                self._done = True
