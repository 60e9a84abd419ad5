"""Records of an account: what it can take to another installation, and back.

The names of records and their fields are a documented format with a version (docs/export.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.accounts import find_by_email, load_account
from rebalancer.application.audit import record
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.accounts.shares import Right, Share
from rebalancer.domain.alerts.record import AlertRecord
from rebalancer.domain.alerts.watches import Episode
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict
from rebalancer.domain.portfolio.ledger import EMPTY, Entry
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.portfolio.models import ModelVersion, PortfolioModel
from rebalancer.domain.portfolio.planned_flows import FlowDecision
from rebalancer.domain.portfolio.questionnaire import Assessment
from rebalancer.domain.portfolio.saved_profiles import SavedProfile
from rebalancer.domain.portfolio.statement_imports import StatementImport
from rebalancer.domain.rebalancing.lifecycle import ProposalRecord

RECORDS_VERSION = 1
"""Version of the records."""

PAGE = 500
"""Rows that are read at a time."""

OWNER = "owner"
"""Stands for the owner's id, which differs between installations."""

Row = Mapping[str, Any]
"""Values of JSON by the name of a field."""


@attrs.frozen
class OwnerRecord:
    """What an account states about its owner."""

    email: str
    name: str
    assessment: Assessment | None
    assessed: datetime | None


@attrs.frozen
class PortfolioRecord:
    """A portfolio with its ledger.

    Attributes:
        entries: As recorded, the first one first.
        closed: When it was closed; None while it is open.
        decisions: What was decided about the dates of its planned flows.
    """

    portfolio: ManagedPortfolio
    entries: tuple[Entry, ...]
    closed: datetime | None
    decisions: tuple[FlowDecision, ...] = ()


@attrs.frozen
class Invitation:
    """An address with which a portfolio is shared."""

    id: UUID
    portfolio: UUID
    email: str
    right: Right
    created: datetime


@attrs.frozen
class ImportRecord:
    """An imported statement, with the ids of the entries that it added."""

    record: StatementImport
    entries: tuple[UUID, ...]


@attrs.frozen
class ModelRecord:
    """A model with its versions, the first one first."""

    model: PortfolioModel
    versions: tuple[ModelVersion, ...]


@attrs.frozen
class AccountRecords:
    """All records of an account, whose owner is the one of the installation that reads them."""

    owner: OwnerRecord
    portfolios: tuple[PortfolioRecord, ...] = ()
    invitations: tuple[Invitation, ...] = ()
    proposals: tuple[ProposalRecord, ...] = ()
    imports: tuple[ImportRecord, ...] = ()
    models: tuple[ModelRecord, ...] = ()
    profiles: tuple[SavedProfile, ...] = ()
    alerts: tuple[AlertRecord, ...] = ()

    @property
    def entries(self) -> int:
        """Number of entries of all ledgers."""
        return sum(len(one.entries) for one in self.portfolios)


@attrs.frozen
class ImportAccount:
    """Store the records of an account of another installation, all or nothing."""

    work: UnitOfWork

    def __call__(self, records: AccountRecords, *, owner: UUID, now: datetime) -> None:
        """Store portfolios, ledgers, imports, proposals and shares under their ids.

        The account keeps its name, its risk assessment and its mapping profiles; what it lacks is
        taken from the records.
        Automatic acceptance is off until the owner switches it on here.
        Shares become invitations, which their recipients accept again.

        Raises:
            Conflict: a portfolio of this id exists already, of any account.
            NotAuthenticated: the owner no longer exists.
        """
        with self.work.begin() as tx:
            user = load_account(tx, owner)
            ids = [one.portfolio.id for one in records.portfolios]
            taken = sorted(tx.portfolios.versions(ids))
            if taken:
                raise Conflict(
                    f"{len(taken)} of the {len(ids)} portfolios exist here already, such as "
                    f"{taken[0]}; import the file into an installation that does not have them",
                    code="portfolios_exist",
                )
            known = sorted(tx.models.known([one.model.id for one in records.models]))
            if known:
                raise Conflict(
                    f"model {known[0]} exists here already; import the file into an installation "
                    "that does not have it",
                    code="models_exist",
                )
            for found in records.models:
                tx.models.add(found.model, found.versions)
            lacking = attrs.evolve(user, name=user.name or records.owner.name)
            if user.assessment is None:
                lacking = attrs.evolve(
                    lacking, assessment=records.owner.assessment, assessed=records.owner.assessed
                )
            if lacking != user:
                tx.users.save(lacking)
            _add_portfolios(tx, records)
            for stored in records.portfolios:
                for decision in stored.decisions:
                    tx.flow_decisions.put(decision)
            for chosen in records.alerts:
                tx.alerts.save_settings(chosen)
            for imported in records.imports:
                tx.imports.add(imported.record, imported.entries)
            for profile in records.profiles:
                if tx.profiles.find(profile.profile.name, owner=owner) is None:
                    tx.profiles.save(profile)
            for one in records.invitations:
                recipient = find_by_email(tx, one.email)
                to = None if recipient is None else recipient.id
                tx.shares.add(
                    Share(one.id, one.portfolio, owner, one.email, one.right, to, one.created)
                )
            for stored in records.portfolios:
                if stored.closed is not None:
                    portfolio = stored.portfolio
                    tx.portfolios.close(
                        portfolio.id, owner=owner, version=portfolio.version, now=stored.closed
                    )
            details = {"portfolios": str(len(ids)), "entries": str(records.entries)}
            record(tx, Action.ACCOUNT_IMPORTED, at=now, subject=owner, details=details)


def _add_portfolios(tx: Transaction, records: AccountRecords) -> None:
    """Add portfolios, then proposals, then the entries that refer to proposals."""
    later = [one for one in records.portfolios if one.portfolio.version > 1]
    for one in records.portfolios:
        if one.portfolio.version == 1:
            tx.portfolios.add(one.portfolio, one.entries)
        else:
            before = attrs.evolve(one.portfolio, version=one.portfolio.version - 1, positions=EMPTY)
            tx.portfolios.add(before, ())
    for at in range(0, len(records.proposals), PAGE):
        tx.proposals.add(records.proposals[at : at + PAGE])
    for one in later:
        tx.portfolios.save(one.portfolio, entries=one.entries)


def read_records(tx: Transaction, owner: UUID) -> Iterator[Row]:
    """Yield the records of an account; the field ``record`` names the kind of each.

    At most a page of rows is in memory.
    """
    user = load_account(tx, owner)
    yield {"record": "owner", **pick(user, "email", "name", "assessment", "assessed")}
    for model in models_of(tx, owner):
        versions = [pick(one, *MODEL_VERSION) for one in reversed(tx.models.versions(model.id))]
        yield {"record": "model", **pick(model, *MODEL), "versions": versions}
    closings = tx.portfolios.closings(owner)
    portfolios = (
        *("id", "created", "changed", "version", "mandate", "positions", "booked_actions"),
        *("plan", "following", "goals"),
    )
    entries = tuple(field.name for field in attrs.fields(Entry))
    imports = (
        *("id", "portfolio", "layout", "file_name", "sha256", "created", "entries", "mapping"),
        "undone",
    )
    for portfolio in portfolios_of(tx, owner):
        yield {
            "record": "portfolio",
            **pick(portfolio, *portfolios),
            "closed": plain(closings.get(portfolio.id)),
        }
        for entry in entries_of(tx, portfolio.id):
            yield {"record": "entry", "portfolio": str(portfolio.id), **pick(entry, *entries)}
        for decision in tx.flow_decisions.of_portfolios([portfolio.id])[portfolio.id]:
            yield {"record": "flow_decision", **pick(decision, *FLOW_DECISION)}
        alerts = tx.alerts.find(portfolio.id)
        if alerts is not None:
            yield {"record": "alerts", **pick(alerts, *ALERTS)}
        for share in tx.shares.of_portfolio(portfolio.id):
            yield {"record": "share", **pick(share, "id", "portfolio", "email", "right", "created")}
        for imported in imports_of(tx, portfolio.id):
            ids = [str(id) for id in tx.imports.entries(imported.id)]
            yield {"record": "import", **pick(imported, *imports), "entry_ids": ids}
    for saved in tx.profiles.of_owner(owner):
        yield {"record": "mapping_profile", **profile_row(saved)}
    proposals = (
        *("id", "portfolio_id", "stage", "proposed", "expires", "decided", "executed", "cancelled"),
        *("remark", "proposal", "inputs"),
    )
    for one in proposals_of(tx, owner):
        actor = OWNER if one.actor == owner else plain(one.actor)
        origin = {} if one.origin is None else pick(one, "origin")
        yield {"record": "proposal", **pick(one, *proposals), "actor": actor, **origin}


ALERTS = ("portfolio", "changed", "settings", "automation")
"""Fields of the alerts and the automation of a portfolio."""


FLOW_DECISION = ("portfolio", "flow", "scheduled", "outcome", "decided", "entry")
"""Fields of what was decided about a date of a planned flow."""


MODEL = ("id", "name", "version", "latest", "created", "changed")
"""Fields of a model."""

MODEL_VERSION = ("number", "content", "created", "note")
"""Fields of a version of a model."""


def all_pages(page: Callable[[UUID | None], Sequence[Any]]) -> Iterator[Any]:
    """Yield all objects, page by page."""
    last: UUID | None = None
    while found := page(last):
        yield from found
        last = found[-1].id


def portfolios_of(tx: Transaction, owner: UUID) -> Iterator[ManagedPortfolio]:
    """Yield open and closed portfolios, oldest first."""
    return all_pages(lambda last: tx.portfolios.of_owner(owner, after=last, limit=PAGE))


def models_of(tx: Transaction, owner: UUID) -> Iterator[PortfolioModel]:
    """Yield the models of an owner, oldest first."""
    return all_pages(lambda last: tx.models.page(owner, after=last, limit=PAGE))


def entries_of(tx: Transaction, portfolio: UUID) -> Iterator[Entry]:
    """Yield the entries of a ledger, latest recorded first."""
    return all_pages(lambda last: tx.portfolios.entries(portfolio, before=last, limit=PAGE))


def episodes_of(tx: Transaction, portfolio: UUID) -> Iterator[Episode]:
    """Yield past and present alerts of a portfolio, latest first."""
    return all_pages(lambda last: tx.alerts.episodes(portfolio, before=last, limit=PAGE))


def imports_of(tx: Transaction, portfolio: UUID) -> Iterator[StatementImport]:
    """Yield the imported statements of a portfolio, latest first."""
    return all_pages(lambda last: tx.imports.page(portfolio, before=last, limit=PAGE))


def proposals_of(tx: Transaction, owner: UUID) -> Iterator[ProposalRecord]:
    """Yield the proposals for open and closed portfolios, latest first."""
    return all_pages(lambda last: tx.proposals.of_owner(owner, before=last, limit=PAGE))


def profile_row(saved: SavedProfile) -> Row:
    """Return a saved mapping profile as values of JSON."""
    return {
        "name": saved.profile.name,
        "profile": saved.profile.document(),
        "changed": plain(saved.changed),
    }


def pick(source: object, *names: str) -> dict[str, Any]:
    """Return some attributes of an object as values of JSON."""
    return {name: plain(getattr(source, name)) for name in names}


def plain(value: Any) -> Any:
    """Convert to values of JSON; exact numbers are text."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if attrs.has(type(value)):
        return {
            field.name: plain(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if field.init and not field.name.startswith("_")
        }
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [plain(one) for one in items]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
