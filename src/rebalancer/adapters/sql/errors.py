"""Translation of the errors of SQLite and Postgres into those of this package."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.schema import PrimaryKeyConstraint, UniqueConstraint

from rebalancer.adapters.sql.probe import damaged
from rebalancer.adapters.sql.tables import metadata
from rebalancer.application.secure_connections import describe_certificate_fault
from rebalancer.domain.accounts.factors import PasskeyTaken
from rebalancer.domain.errors import Conflict, InvalidRequest, RebalancerError, Unavailable
from rebalancer.domain.portfolio.ledger import Overdrawn
from rebalancer.domain.portfolio.owner import EmailTaken

log = logging.getLogger("rebalancer.database")


class Busy(Unavailable):
    """Another transaction holds what this one needs; a retry may succeed at once."""

    default_code = "database_busy"


ERRORS: Mapping[str, Callable[[], RebalancerError]] = {
    "away": lambda: Unavailable(
        "the database did not answer; try again", code="database_unavailable"
    ),
    "busy": lambda: Busy("the database is busy; try again"),
    "damaged": damaged,
    "duplicate": lambda: Conflict("this exists already", code="already_exists"),
    "encoding": lambda: Unavailable(
        "the database has the encoding SQL_ASCII, which checks no text; create a database with "
        "ENCODING 'UTF8' TEMPLATE template0, and use that",
        code="database_encoding",
    ),
    "foreign tables": lambda: Conflict(
        "the database contains tables with these names from another application; use a separate "
        "database",
        code="foreign_tables",
    ),
    "full": lambda: Unavailable(
        "the database is full; free some space, then try again", code="disk_full"
    ),
    "invalid text": lambda: InvalidRequest(
        "text must not contain the character U+0000", code="invalid_text"
    ),
    "no connection": lambda: Unavailable(
        "the database has no free connection; try again", code="database_connections_exhausted"
    ),
    "no parent": lambda: Conflict(
        "the object that this belongs to no longer exists", code="parent_missing"
    ),
    "outdated": lambda: Unavailable(
        "the database lacks a table or a column; upgrade the database", code="schema_outdated"
    ),
    "no privilege": lambda: Unavailable(
        "the database role lacks a privilege for this; use the role that owns the tables",
        code="database_privilege_missing",
    ),
    "read-only": lambda: Unavailable(
        "the database is read-only at present; try again", code="database_read_only"
    ),
    "slow": lambda: Unavailable("the database took too long; try again", code="database_timeout"),
    "uq_users_email": lambda: EmailTaken("this e-mail address is already registered; log in"),
    "uq_passkeys_credential": lambda: PasskeyTaken(
        "this passkey is registered already; sign in with it"
    ),
    "uq_users_email_index": lambda: EmailTaken("this e-mail address is already registered; log in"),
    "uq_ledger_entries_portfolio_id": lambda: Conflict(
        "the entry is in the ledger already", code="duplicate_entry"
    ),
    "pk_idempotency_keys": lambda: Conflict(
        "a request with this idempotency key is running; try again", code="request_running"
    ),
    # Databases and Python may differ in the lower case of a letter.
    "ck_users_lower_case": lambda: InvalidRequest(
        "invalid e-mail address; write it in lower case", field="email", code="invalid_email"
    ),
    "ck_portfolios_cash": lambda: Overdrawn("cash would be negative; deposit more first"),
}
"""Errors that callers understand, by kind or by the constraint that a correct client can violate.

Other unique and foreign keys mean that a row exists already, or that its parent is missing. A
violated check means that the domain let an invalid value through, which is a bug.
"""

_UNIQUE = {
    ", ".join(f"{table.name}.{column.name}" for column in constraint.columns): constraint.name
    for table in metadata.tables.values()
    for constraint in table.constraints
    if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
}
"""Names of unique constraints by their columns, which is all that SQLite reports."""

_SQLSTATES = {
    "40001": "busy",  # serialization_failure
    "40P01": "busy",  # deadlock_detected
    "55P03": "busy",  # lock_not_available
    "25P03": "slow",  # idle_in_transaction_session_timeout
    "25P04": "slow",  # transaction_timeout
    "57014": "slow",  # query_canceled
    "53100": "full",  # disk_full
    "53300": "no connection",  # too_many_connections
    "42P01": "outdated",  # undefined_table
    "42703": "outdated",  # undefined_column
    "25006": "read-only",  # read_only_sql_transaction
    "42501": "no privilege",  # insufficient_privilege
    "42P07": "foreign tables",  # duplicate_table
    "22021": "invalid text",  # character_not_in_repertoire
    "22P05": "invalid text",  # untranslatable_character
    "23503": "no parent",  # foreign_key_violation
    "XX001": "damaged",  # data_corrupted
    "XX002": "damaged",  # index_corrupted
}
"""Meaning of Postgres's error codes; see its documentation, appendix A."""

_SQLSTATE_CLASSES = {
    "08": "away",  # connection exceptions
    "28": "away",  # the login is invalid
    "3D": "away",  # the database does not exist
    "53": "busy",  # insufficient resources
    "57": "away",  # operator intervention, or a crash
    "58": "away",  # system errors, such as of a disk
}
"""Meaning of all other codes of a class."""

_SQLITE = {
    **dict.fromkeys(("BUSY", "LOCKED", "PROTOCOL"), "busy"),
    **dict.fromkeys(("IOERR", "CANTOPEN", "NOTADB"), "away"),
    "CORRUPT": "damaged",
    "FULL": "full",
    "READONLY": "read-only",
}
"""Meaning of SQLite's primary codes; see https://www.sqlite.org/rescode.html."""


def translate_error(original: Any) -> RebalancerError | None:
    """Translate an error of the driver; None if it is a bug.

    The driver's text is logged for operators only: it names servers and quotes stored values.
    """
    is_sqlite = hasattr(original, "sqlite_errorname")
    kind = _kind_in_sqlite(original) if is_sqlite else _kind_in_postgres(original)
    error = None if kind is None else ERRORS[kind]()
    fault = describe_certificate_fault(str(original)) if kind == "away" else None
    if fault is not None:
        error = Unavailable(
            f"the certificate of the database server {fault}", code="database_certificate_invalid"
        )
    if isinstance(error, Unavailable):
        level = logging.ERROR if error.code == "database_damaged" else logging.WARNING
        log.log(level, "%s: %s", error, str(original).partition("\n")[0])
    return error


def _kind_in_postgres(original: Any) -> str | None:
    state = getattr(original, "sqlstate", None)
    if state is None:  # an error of the client, which has no codes
        text = str(original)
        if "too many c" in text or "connection slots" in text:
            return "no connection"
        # The driver raises kinds of these, such as ConnectionTimeout; it may not be installed.
        families = {family.__name__ for family in type(original).__mro__}
        if "DataError" in families and "NUL" in text:
            return "invalid text"
        return "away" if families & {"OperationalError", "InterfaceError"} else None
    if state in ("23505", "23514"):  # unique_violation, check_violation
        name = str(original.diag.constraint_name)
        return name if name in ERRORS else "duplicate" if state == "23505" else None
    return _SQLSTATES.get(state) or _SQLSTATE_CLASSES.get(state[:2])


def _kind_in_sqlite(original: Any) -> str | None:
    kind, text = original.sqlite_errorname.split("_"), str(original)
    constraint = text.partition("failed: ")[2]
    match kind[1:]:
        case ["CONSTRAINT", "UNIQUE" | "PRIMARYKEY"]:
            name = str(_UNIQUE.get(constraint))
            return name if name in ERRORS else "duplicate"
        case ["CONSTRAINT", "FOREIGNKEY"]:
            return "no parent"
        case ["CONSTRAINT", "CHECK"] if constraint in ERRORS:
            return constraint
        case ["ERROR"] if text.endswith(" already exists"):
            return "foreign tables"
        case ["ERROR"] if re.match("no such (table|column)", text) or "has no column" in text:
            return "outdated"
    return _SQLITE.get(kind[1])
