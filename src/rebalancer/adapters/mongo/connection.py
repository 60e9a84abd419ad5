"""Connections to MongoDB, what its errors mean to us, and what it is told to check itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

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

from rebalancer.domain.errors import InvalidRequest, RebalancerError, Unavailable

log = logging.getLogger("rebalancer.mongo")

Document = dict[str, Any]

PATIENCE = 5.0
"""Seconds to find a server, to reach it, and until most servers of a set have a write."""

OPERATION_TIMEOUT = 60.0
"""Seconds that the server may leave us without a byte."""

USUAL_DATABASE = "rebalancer"
"""Where the URL names none."""

INVALID, EXISTS, DUPLICATE = 121, 48, 11000
"""Codes of the server: a document that fails validation; a collection, or a key, that is there."""

_UNKNOWN_COMMANDS = {59, 115, 238}
"""Codes of servers that speak the protocol, and lack a command or an option."""


def connect(
    url: str, *, patience: float = PATIENCE, operation_timeout: float = OPERATION_TIMEOUT
) -> Database[Document]:
    """A database, for any number of threads; it is not reached for yet.

    What is written is there once most servers of a replica set have it on disk, and only such is
    read.
    The client finds the servers again by itself after they were away.

    Args:
        url: ``mongodb://host/name``; its options take precedence over ours.
        patience: See `PATIENCE`.
        operation_timeout: See `OPERATION_TIMEOUT`.

    Raises:
        InvalidRequest: the URL is malformed.
    """
    try:
        client: MongoClient[Document] = MongoClient(
            url,
            appname="rebalancer",
            connect=False,
            tz_aware=True,
            uuidRepresentation="standard",
            w="majority",
            journal=True,  # on disk, too
            wTimeoutMS=round(patience * 1000),
            readConcernLevel="majority",
            serverSelectionTimeoutMS=round(patience * 1000),
            connectTimeoutMS=round(patience * 1000),
            socketTimeoutMS=round(operation_timeout * 1000),
        )
        return client.get_default_database(USUAL_DATABASE)
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise InvalidRequest(
            f"expected a URL such as mongodb://host/rebalancer: {error}", field="mongo"
        ) from None


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
        raise error(f"MongoDB sent something that cannot be read: {failed}") from failed


def meaning(failed: PyMongoError, error: type[Unavailable] = Unavailable) -> RebalancerError:
    """What an error of the driver means to us."""
    if isinstance(failed, WriteError) and failed.code == INVALID:
        return refused(failed.details or {})
    if isinstance(
        failed, ConnectionFailure
    ):  # AutoReconnect, ServerSelectionTimeout, NetworkTimeout
        said = str(failed).partition(", Timeout:")[0].partition(" (configured")[0]
        return error(f"MongoDB does not answer: {said}")
    details = failed.details if isinstance(failed, BulkWriteError) else {}
    if isinstance(failed, WriteConcernError) or details.get("writeConcernErrors"):
        return error("MongoDB does not have it on most of its servers yet; try again")
    if isinstance(failed, ExecutionTimeout):
        return error("MongoDB took too long to answer; try again")
    return error(f"MongoDB could not do it: {_said(failed)}")


def _said(failed: PyMongoError) -> str:
    """Its message without the documents that it is about."""
    if isinstance(failed, BulkWriteError) and failed.details.get("writeErrors"):
        return str(failed.details["writeErrors"][0].get("errmsg"))
    return str(failed).partition(", full error")[0]


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
