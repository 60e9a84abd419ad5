"""Connections to MongoDB, translation of its errors, and schemas that the server checks."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
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

from rebalancer.application.resilience import CircuitBreaker, OutageLog
from rebalancer.application.secure_connections import describe_certificate_fault
from rebalancer.domain.errors import InvalidRequest, RebalancerError, Unavailable

log = logging.getLogger("rebalancer.mongo")

Document = dict[str, Any]

DEFAULT_DATABASE = "rebalancer"
"""Database if the URL names none."""

INVALID, EXISTS, DUPLICATE, UNAUTHORIZED = 121, 48, 11000, 13
"""Error codes: invalid document; collection exists; key exists; user lacks a privilege."""

_AWAY = "MongoDB does not answer"
_HUNG_UP = "operation cancelled"
"""Message of the driver when a client is closed during a heartbeat."""

_UNSUPPORTED = {59, 115, 238}
"""Error codes of servers that lack a command or an option."""


def connect(
    url: str,
    *,
    timeout: float = 2.0,
    write_timeout: float = 5.0,
    operation_timeout: float = 60.0,
    heartbeat: float = 3.0,
) -> Database[Document]:
    """Return a database for any number of threads, without connecting yet.

    A write is acknowledged by a majority of the replica set, from disk. Only such writes are read,
    from the primary, since a revision must not be newer than its data; options in the URL cannot
    change that. Time-outs in the URL replace the arguments. The client reconnects by itself.

    Args:
        url: ``mongodb://host/name``.
        timeout: Seconds to find a server and to connect.
        write_timeout: Seconds until a majority has a write.
        operation_timeout: Seconds for which the server may send nothing.
        heartbeat: Seconds between two checks of the server; one without an answer within
            ``timeout`` ends all operations, so that a dead network is found before
            ``operation_timeout``.

    Raises:
        InvalidRequest: the URL is malformed; the message omits it, as it holds a password.
    """
    limits = {
        "serverSelectionTimeoutMS": timeout,
        "connectTimeoutMS": timeout,
        "wTimeoutMS": write_timeout,
        "socketTimeoutMS": operation_timeout,
        "heartbeatFrequencyMS": heartbeat,
    }
    in_url = {name.lower() for name, _ in parse_qsl(url.partition("?")[2])}
    timeouts: dict[str, Any] = {
        name: round(seconds * 1000)
        for name, seconds in limits.items()
        if name.lower() not in in_url
    }
    try:
        client: MongoClient[Document] = MongoClient(
            url,
            appname="rebalancer",
            connect=False,
            tz_aware=True,
            uuidRepresentation="standard",
            w="majority",
            journal=True,
            readConcernLevel="majority",
            readPreference="primary",
            event_listeners=[_OutageListener()],
            **timeouts,
        )
        return client.get_default_database(DEFAULT_DATABASE)
    except (InvalidURI, ConfigurationError, ValueError):
        raise InvalidRequest(
            "the MongoDB URL is malformed; use a URL such as "
            "mongodb://user:password@host/rebalancer with options that MongoDB supports",
            field="REBALANCER_MONGO_URL",
            code="malformed_mongo_url",
        ) from None


class _OutageListener(ServerHeartbeatListener):
    """Logs the beginning and the end of each server's outage, each once."""

    def __init__(self) -> None:
        self._outages: dict[object, OutageLog] = {}

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        """Ignore the start of a heartbeat."""

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        self._outage_of(event.connection_id).succeeded()

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        """Log the beginning of an outage, unless the client was closed."""
        if str(event.reply) != _HUNG_UP:
            self._outage_of(event.connection_id).failed(_brief(event.reply))

    def _outage_of(self, server: tuple[str, int | None]) -> OutageLog:
        name = "MongoDB at {}:{}".format(*server)
        outage = OutageLog(log, f"{name} does not answer", f"{name} answers again")
        return self._outages.setdefault(server, outage)


circuit_breaker = partial(
    CircuitBreaker,
    lambda: Unavailable(_AWAY, code="mongo_unavailable"),
    lambda error: isinstance(error.__cause__, ConnectionFailure),
    trial=60.0,
)
"""Return a breaker that makes readers fail fast while MongoDB is down."""


@contextmanager
def translated() -> Iterator[None]:
    """Translate the driver's errors in this block.

    Raises:
        InvalidRequest: the server rejects a document, or it is too large; names the field.
        Unavailable: the server did not answer, or could not do it.
    """
    try:
        yield
    except DocumentTooLarge:
        raise InvalidRequest(
            "the report is larger than MongoDB's limit of 16 MB; store fewer or shorter series",
            field="report",
            code="report_too_large",
        ) from None
    except PyMongoError as failed:
        raise _translate(failed) from failed
    except BSONError as failed:
        log.warning("MongoDB sent an unreadable document: %s", failed)
        raise Unavailable(
            "MongoDB sent an unreadable document", code="mongo_unreadable"
        ) from failed


def _translate(failed: PyMongoError) -> RebalancerError:
    """Return our error for one of the driver, without names of servers and documents."""
    if isinstance(failed, WriteError) and failed.code == INVALID:
        return rejected_document(failed.details or {})
    fault = describe_certificate_fault(str(failed))
    if fault is not None:
        return Unavailable(
            f"the certificate of the MongoDB server {fault}", code="mongo_certificate_invalid"
        )
    if isinstance(failed, ConnectionFailure):  # also a time-out of the network or of the search
        return Unavailable(_AWAY, code="mongo_unavailable")
    details = failed.details if isinstance(failed, BulkWriteError) else {}
    if isinstance(failed, WriteConcernError) or details.get("writeConcernErrors"):
        return Unavailable(
            "MongoDB has not stored the change on a majority of its servers yet; try again",
            code="mongo_not_replicated",
        )
    if isinstance(failed, ExecutionTimeout):
        return Unavailable("MongoDB took too long to answer; try again", code="mongo_timeout")
    errors = details.get("writeErrors")
    log.warning("MongoDB failed: %s", errors[0].get("errmsg") if errors else _brief(failed))
    return Unavailable("MongoDB failed; the log states the reason", code="mongo_failed")


def _brief(failed: Exception) -> str:
    """Return the driver's message without its configuration and the server's full answer."""
    text = str(failed).partition(", full error")[0]
    return text.partition(", Timeout:")[0].partition(" (configured")[0]


def rejected_document(details: Mapping[str, Any]) -> InvalidRequest:
    """Return the error for a write that the server's schema rejects; it names the field."""
    field = _rejected_field(details.get("errInfo", {}).get("details", {}))
    return InvalidRequest(
        "MongoDB rejects the value of this field",
        field=field or "document",
        code="mongo_rejected_document",
    )


def _rejected_field(details: Any) -> str:
    """Return the first field that a server's nested explanation names."""
    if isinstance(details, Mapping):
        for key in ("propertyName", "missingProperties", "additionalProperties"):
            named = details.get(key)
            if isinstance(named, str):
                return named
            if isinstance(named, Sequence) and named:
                return str(named[0])
        details = list(details.values())
    if isinstance(details, list):
        return next((found for each in details if (found := _rejected_field(each))), "")
    return ""


class Collections:
    """Creates collections with the schemas of ``schemas.json``, before the first write.

    A server that was away when the process started may come back empty. If the preparation fails,
    the next write tries again. Indexes are listed by the name of their collection.
    """

    def __init__(
        self, database: Database[Document], indexes: Mapping[str, Sequence[IndexModel]]
    ) -> None:
        self._database, self._indexes = database, indexes
        self._is_prepared, self._lock = False, Lock()

    def prepare(self) -> None:
        """Create the collections, their schemas and indexes; existing data stays.

        Raises:
            Unavailable: the server did not answer.
        """
        with translated():
            self._create()

    def prepare_once(self) -> None:
        """Prepare the collections unless this process has done so, or its user may not.

        A user who may only read and write documents relies on a user who has prepared them.
        """
        if not self._is_prepared:
            with self._lock, translated():
                if not self._is_prepared:
                    try:
                        self._create()
                    except OperationFailure as refused:
                        if refused.code != UNAUTHORIZED:
                            raise
                        log.info("the user of MongoDB may not prepare collections; skipped")
                        self._is_prepared = True

    def _create(self) -> None:
        schemas = json.loads((files("rebalancer.adapters.mongo") / "schemas.json").read_bytes())
        for name, indexes in self._indexes.items():
            self._set_schema(name, schemas[name])
            if indexes:
                self._database[name].create_indexes(list(indexes))
        self._is_prepared = True

    def _set_schema(self, name: str, schema: Document) -> None:
        try:
            try:
                self._database.create_collection(name, validator=schema, check_exists=False)
            except OperationFailure as there:
                if there.code != EXISTS:
                    raise
                self._database.command("collMod", name, validator=schema)
        except OperationFailure as lacking:
            if lacking.code not in _UNSUPPORTED:
                raise
            log.warning("MongoDB cannot check documents of %s itself: %s", name, lacking)
