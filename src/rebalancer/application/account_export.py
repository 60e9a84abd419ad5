"""Export of all data of an account, for its owner.

The sections and their fields are a documented format with a version (docs/export.md): fields may be
added, but not removed or changed in meaning without a new version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.accounts import load_account
from rebalancer.application.audit import record
from rebalancer.application.factors import second_factors
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.sessions import require_recent
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.audit.events import Action, AuditEvent
from rebalancer.domain.portfolio.ledger import Entry

EXPORT_VERSION = 1
"""Version of the format."""

PAGE = 500
"""Rows that are read at a time."""

Row = Mapping[str, Any]
"""Values of JSON by the name of a field."""


@attrs.frozen
class Section:
    """A list of rows with the same fields.

    Attributes:
        name: Of its files in an archive.
        fields: Names of the fields, in the order of columns.
        rows: Reads the rows; at most a page of them is in memory.
    """

    name: str
    fields: tuple[str, ...]
    rows: Callable[[], Iterator[Row]]


@attrs.frozen
class ExportAccount:
    """Read all data of an account from one snapshot."""

    work: UnitOfWork

    @contextmanager
    def __call__(self, bearer: Bearer, *, now: datetime) -> Iterator[list[Section]]:
        """Yield the sections; their rows are read within the block.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
        """
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            record(tx, Action.ACCOUNT_EXPORTED, at=now, actor=bearer.owner)
        with self.work.read() as tx:
            yield _sections(tx, bearer.owner, now)


def _sections(tx: Transaction, owner: UUID, now: datetime) -> list[Section]:
    user = load_account(tx, owner)
    profile = {
        **_pick(user, "id", "email", "name", "created", "role", "disabled", "assessed"),
        "assessment": _plain(user.assessment),
        "second_factors": list(second_factors(tx, owner)),
    }
    consents: list[Row] = [
        {"kind": kind, "version": version, "given": _plain(given)}
        for kind, version, given in (
            ("terms", user.terms, user.terms_accepted),
            ("email_confirmed", None, user.verified),
        )
        if given is not None
    ]
    portfolios = ("id", "created", "changed", "version", "mandate", "positions", "booked_actions")
    entries = tuple(field.name for field in attrs.fields(Entry))
    proposals = (
        *("id", "portfolio_id", "stage", "proposed", "expires", "decided", "executed", "cancelled"),
        *("remark", "run", "actor", "proposal", "inputs"),
    )
    jobs = (
        *("id", "kind", "state", "request", "result", "error", "progress", "attempts", "created"),
        "finished",
    )
    return [
        _section("profile", tuple(profile), lambda: [profile]),
        _section("consents", ("kind", "version", "given"), lambda: consents),
        _listed(
            "sessions",
            ("id", "created", "used", "authenticated", "method", "ends", "address", "agent"),
            lambda: tx.sessions.active(owner, now),
        ),
        _listed(
            "passkeys",
            ("id", "name", "transports", "backed_up", "created", "used"),
            lambda: tx.passkeys.of_owner(owner),
        ),
        _listed(
            "api_keys",
            ("id", "name", "scopes", "created", "expires", "used"),
            lambda: tx.api_keys.of_owner(owner),
        ),
        _listed("portfolios", portfolios, lambda: _portfolios(tx, owner)),
        Section("ledger", ("portfolio_id", *entries), lambda: _ledgers(tx, owner, entries)),
        _listed(
            "shares",
            ("id", "portfolio", "email", "right", "created", "accepted"),
            lambda: (
                share for one in _portfolios(tx, owner) for share in tx.shares.of_portfolio(one.id)
            ),
        ),
        _listed(
            "received_shares",
            ("id", "portfolio", "right", "created", "accepted"),
            lambda: _pages(lambda last: tx.shares.received(owner, after=last, limit=PAGE)),
        ),
        _listed(
            "proposals",
            proposals,
            lambda: _pages(lambda last: tx.proposals.of_owner(owner, before=last, limit=PAGE)),
        ),
        _listed(
            "jobs",
            jobs,
            lambda: _pages(lambda last: tx.jobs.page(owner, before=last, limit=PAGE)),
        ),
        Section("audit", _AUDIT, lambda: _audit(tx, owner)),
    ]


def _section(name: str, fields: tuple[str, ...], rows: Callable[[], list[Row]]) -> Section:
    return Section(name, fields, lambda: iter(rows()))


def _listed(name: str, fields: tuple[str, ...], objects: Callable[[], Any]) -> Section:
    """Return a section whose rows are some attributes of objects."""
    return Section(name, fields, lambda: (_pick(one, *fields) for one in objects()))


def _pages(page: Callable[[UUID | None], list[Any]]) -> Iterator[Any]:
    """Yield all objects, page by page."""
    last: UUID | None = None
    while found := page(last):
        yield from found
        last = found[-1].id


def _portfolios(tx: Transaction, owner: UUID) -> Iterator[Any]:
    return _pages(lambda last: tx.portfolios.of_owner(owner, after=last, limit=PAGE))


def _ledgers(tx: Transaction, owner: UUID, fields: tuple[str, ...]) -> Iterator[Row]:
    for portfolio in _portfolios(tx, owner):
        entries = _entries(tx, portfolio.id)
        yield from (
            {"portfolio_id": str(portfolio.id), **_pick(entry, *fields)} for entry in entries
        )


def _entries(tx: Transaction, portfolio: UUID) -> Iterator[Any]:
    return _pages(lambda last: tx.portfolios.entries(portfolio, before=last, limit=PAGE))


_AUDIT = (
    *("id", "at", "action", "outcome", "own", "target", "via", "address", "agent", "request"),
    "details",
)


def _audit(tx: Transaction, owner: UUID) -> Iterator[Row]:
    def row(event: AuditEvent) -> Row:
        origin, own = event.origin, event.actor in (None, owner) and event.origin.via != "cli"
        return {
            **_pick(event, "id", "at", "action", "outcome", "target"),
            "own": event.actor == owner,
            "via": origin.via,
            "address": origin.address if own else None,  # that of another person otherwise
            "agent": origin.agent if own else None,
            "request": origin.request,
            "details": _plain(event.details),
        }

    return map(row, _pages(lambda last: tx.audit.page(owner, before=last, limit=PAGE)))


def _pick(source: object, *names: str) -> dict[str, Any]:
    return {name: _plain(getattr(source, name)) for name in names}


def _plain(value: Any) -> Any:
    """Convert to values of JSON; exact numbers are text."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if attrs.has(type(value)):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if field.init and not field.name.startswith("_")
        }
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [_plain(one) for one in items]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
