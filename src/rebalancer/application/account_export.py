"""Export of all data of an account, for its owner.

The sections and their fields are a documented format with a version (docs/export.md): fields may be
added, but not removed or changed in meaning without a new version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.account_records import (
    ALERTS,
    FLOW_DECISION,
    MODEL,
    MODEL_VERSION,
    PAGE,
    Row,
    all_pages,
    entries_of,
    episodes_of,
    imports_of,
    models_of,
    pick,
    plain,
    portfolios_of,
    profile_row,
    proposals_of,
    read_records,
)
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
class AccountExport:
    """All data of an account.

    Attributes:
        sections: For people and their programs.
        records: Reads what another installation can take over; see `read_records`.
    """

    sections: tuple[Section, ...]
    records: Callable[[], Iterator[Row]]


@attrs.frozen
class ExportAccount:
    """Read all data of an account from one snapshot."""

    work: UnitOfWork

    @contextmanager
    def __call__(self, bearer: Bearer, *, now: datetime) -> Iterator[AccountExport]:
        """Yield the export; its rows are read within the block.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
        """
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            record(tx, Action.ACCOUNT_EXPORTED, at=now, actor=bearer.owner)
        with self.work.read() as tx:
            yield AccountExport(
                _sections(tx, bearer.owner, now), lambda: read_records(tx, bearer.owner)
            )


def _sections(tx: Transaction, owner: UUID, now: datetime) -> tuple[Section, ...]:
    user = load_account(tx, owner)
    profile = {
        **pick(user, "id", "email", "name", "created", "role", "disabled", "assessed"),
        "assessment": plain(user.assessment),
        "second_factors": list(second_factors(tx, owner)),
    }
    consents: list[Row] = [
        {"kind": kind, "version": version, "given": plain(given)}
        for kind, version, given in (
            ("terms", user.terms, user.terms_accepted),
            ("email_confirmed", None, user.verified),
        )
        if given is not None
    ]
    closings = tx.portfolios.closings(owner)
    portfolios = (
        *("id", "created", "changed", "version", "mandate", "positions", "booked_actions"),
        *("plan", "following", "goals"),
    )
    entries = tuple(field.name for field in attrs.fields(Entry))
    proposals = (
        *("id", "portfolio_id", "stage", "proposed", "expires", "decided", "executed", "cancelled"),
        *("remark", "run", "actor", "origin", "proposal", "inputs"),
    )
    jobs = (
        *("id", "kind", "state", "request", "result", "error", "progress", "attempts", "created"),
        "finished",
    )
    return (
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
        Section(
            "portfolios",
            (*portfolios, "closed"),
            lambda: (
                {**pick(one, *portfolios), "closed": plain(closings.get(one.id))}
                for one in portfolios_of(tx, owner)
            ),
        ),
        Section("ledger", ("portfolio_id", *entries), lambda: _ledgers(tx, owner, entries)),
        _listed("models", MODEL, lambda: models_of(tx, owner)),
        _listed(
            "model_versions",
            ("model", *MODEL_VERSION),
            lambda: (
                version for one in models_of(tx, owner) for version in tx.models.versions(one.id)
            ),
        ),
        _listed(
            "flow_decisions",
            FLOW_DECISION,
            lambda: (
                decision
                for one in portfolios_of(tx, owner)
                for decision in tx.flow_decisions.of_portfolios([one.id])[one.id]
            ),
        ),
        Section("actions", _REVIEWS, lambda: _reviews(tx, owner)),
        _listed(
            "imports",
            (
                *("id", "portfolio", "layout", "file_name", "sha256", "created", "entries"),
                *("mapping", "undone"),
            ),
            lambda: (found for one in portfolios_of(tx, owner) for found in imports_of(tx, one.id)),
        ),
        Section(
            "mapping_profiles",
            ("name", "profile", "changed"),
            lambda: (profile_row(one) for one in tx.profiles.of_owner(owner)),
        ),
        _listed("alerts", (*ALERTS, "state", "progress"), lambda: tx.alerts.of_owner(owner)),
        _listed(
            "alert_episodes",
            ("portfolio", "kind", "subject", "number", "began", "ended", "value", "limit"),
            lambda: (
                found for one in portfolios_of(tx, owner) for found in episodes_of(tx, one.id)
            ),
        ),
        _listed(
            "shares",
            ("id", "portfolio", "email", "right", "created", "accepted"),
            lambda: (
                share
                for one in portfolios_of(tx, owner)
                for share in tx.shares.of_portfolio(one.id)
            ),
        ),
        _listed(
            "received_shares",
            ("id", "portfolio", "right", "created", "accepted"),
            lambda: all_pages(lambda last: tx.shares.received(owner, after=last, limit=PAGE)),
        ),
        _listed(
            "proposals",
            proposals,
            lambda: proposals_of(tx, owner),
        ),
        _listed(
            "jobs",
            jobs,
            lambda: all_pages(lambda last: tx.jobs.page(owner, before=last, limit=PAGE)),
        ),
        _listed(
            "notices",
            (
                *("id", "portfolio", "kind", "severity", "key", "parameters", "link", "created"),
                *("read", "resolved"),
            ),
            lambda: all_pages(lambda last: tx.notices.page(owner, before=last, limit=PAGE)),
        ),
        _listed(
            "notice_choices",
            (
                *("language", "zone", "digest", "digest_at", "quiet", "paused", "paused_until"),
                "switches",
            ),
            lambda: [tx.notice_choices.get(owner)],
        ),
        _listed(
            "notice_targets",
            ("id", "kind", "name", "address", "created", "delivered", "failed", "fault"),
            lambda: tx.notice_targets.of_owner(owner),
        ),
        _listed(
            "notice_messages",
            (
                *("id", "channel", "notices", "state", "created", "due", "attempts", "fault"),
                "closed",
            ),
            lambda: all_pages(
                lambda last: tx.notice_deliveries.page(owner, before=last, limit=PAGE)
            ),
        ),
        Section("audit", _AUDIT, lambda: _audit(tx, owner)),
    )


def _section(name: str, fields: tuple[str, ...], rows: Callable[[], list[Row]]) -> Section:
    return Section(name, fields, lambda: iter(rows()))


def _listed(name: str, fields: tuple[str, ...], objects: Callable[[], Any]) -> Section:
    """Return a section whose rows are some attributes of objects."""
    return Section(name, fields, lambda: (pick(one, *fields) for one in objects()))


def _ledgers(tx: Transaction, owner: UUID, fields: tuple[str, ...]) -> Iterator[Row]:
    for portfolio in portfolios_of(tx, owner):
        entries = entries_of(tx, portfolio.id)
        yield from (
            {"portfolio_id": str(portfolio.id), **pick(entry, *fields)} for entry in entries
        )


_REVIEWS = ("portfolio_id", "action", "entry", "on", "recorded", "state")


def _reviews(tx: Transaction, owner: UUID) -> Iterator[Row]:
    """Yield what became of each corporate action that a ledger has booked."""
    for portfolio in portfolios_of(tx, owner):
        reversals: dict[UUID, str] = {}
        for entry in entries_of(tx, portfolio.id):  # reversals come before what they void
            if entry.voids is not None:
                reversals[entry.voids] = "dismissed" if entry.action is None else "corrected"
            elif entry.action is not None:
                yield {
                    "portfolio_id": str(portfolio.id),
                    "entry": str(entry.id),
                    **pick(entry, "action", "on", "recorded"),
                    "state": reversals.get(entry.id, "booked"),
                }


_AUDIT = (
    *("id", "at", "action", "outcome", "own", "target", "via", "address", "agent", "request"),
    "details",
)


def _audit(tx: Transaction, owner: UUID) -> Iterator[Row]:
    def row(event: AuditEvent) -> Row:
        origin, own = event.origin, event.actor in (None, owner) and event.origin.via != "cli"
        return {
            **pick(event, "id", "at", "action", "outcome", "target"),
            "own": event.actor == owner,
            "via": origin.via,
            "address": origin.address if own else None,  # that of another person otherwise
            "agent": origin.agent if own else None,
            "request": origin.request,
            "details": plain(event.details),
        }

    return map(row, all_pages(lambda last: tx.audit.page(owner, before=last, limit=PAGE)))
