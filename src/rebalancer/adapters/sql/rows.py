"""Conversion of table rows to domain values and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache, lru_cache
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Generic, TypeVar
from uuid import UUID

import attrs
import msgspec
from sqlalchemy import Row

from rebalancer.domain.accounts.api_keys import ApiKey, Scope
from rebalancer.domain.accounts.deletion import Deletion
from rebalancer.domain.accounts.factors import Passkey, TotpSecret
from rebalancer.domain.accounts.guessing import Failures, KnownDevice
from rebalancer.domain.accounts.mail import Mail, MailKind
from rebalancer.domain.accounts.one_time import OneTimeToken
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.sessions import Session
from rebalancer.domain.accounts.shares import Right, Share
from rebalancer.domain.errors import InvalidRequest, RebalancerError
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.jobs.batch_run import BatchRun
from rebalancer.domain.jobs.job import Job, JobState
from rebalancer.domain.market.synchronization import ScheduledTask, SyncState, TaskState
from rebalancer.domain.money import Currency
from rebalancer.domain.notices.choices import NoticeChoices
from rebalancer.domain.notices.deliveries import DeliveryState, NoticeDelivery
from rebalancer.domain.notices.kinds import NoticeKind, Severity
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.notices.targets import Target, TargetKind
from rebalancer.domain.portfolio.checkpoints import Checkpoint
from rebalancer.domain.portfolio.following import Following
from rebalancer.domain.portfolio.goals import SavingsGoal
from rebalancer.domain.portfolio.ledger import Entry, EntryKind, Positions
from rebalancer.domain.portfolio.mandate import (
    ActionBooking,
    ManagedPortfolio,
    Mandate,
    UnreadablePortfolio,
)
from rebalancer.domain.portfolio.models import ModelContent, ModelVersion, PortfolioModel
from rebalancer.domain.portfolio.owner import RefreshToken, User
from rebalancer.domain.portfolio.planned_flows import FlowDecision, FlowOutcome, FlowPlan
from rebalancer.domain.portfolio.portfolio import Conversions, Preferences
from rebalancer.domain.portfolio.questionnaire import Assessment
from rebalancer.domain.portfolio.risk import RiskProfile, risk_profile
from rebalancer.domain.portfolio.statement_imports import StatementImport
from rebalancer.domain.portfolio.target_groups import LookThrough, TargetTree
from rebalancer.domain.rebalancing.lifecycle import (
    ProposalInputs,
    ProposalOrigin,
    ProposalRecord,
    Stage,
)
from rebalancer.domain.rebalancing.model import Proposal

T = TypeVar("T")


class Damaged(RuntimeError):
    """A stored row is invalid: a bug of this or another version, or a manual change."""


class Converter(Generic[T]):
    """Converter between the objects of a class and the rows of its table.

    Args:
        type: Its attributes are columns.
        columns: Column by attribute, where the names differ.
        read: Conversion of a column's value by attribute, where the types differ; not for NULL.
    """

    def __init__(
        self, type: type[T], columns: Mapping[str, str] | None = None, **read: Callable[[Any], Any]
    ) -> None:
        names = [field.name for field in attrs.fields(type)]  # type: ignore[arg-type]  # attrs class
        self._type = type
        self._columns = [(columns or {}).get(name, name) for name in names]
        self._of_value, self._of_row = attrgetter(*names), attrgetter(*self._columns)
        self._read = [(names.index(name), convert) for name, convert in read.items()]

    def to_row(self, value: T) -> dict[str, Any]:
        """Convert for the table; SQLAlchemy encodes documents as JSON."""
        return {
            column: _WRITE[type(one)](one) if type(one) in _WRITE else one
            for column, one in zip(self._columns, self._of_value(value), strict=True)
        }

    def from_row(self, row: Row[Any]) -> T:
        """Convert from the table."""
        values = list(self._of_row(row))
        for at, convert in self._read:
            if values[at] is not None:
                values[at] = convert(values[at])
        return self._type(*values)


_WRITE: Mapping[type, Callable[[Any], Any]] = {
    Currency: attrgetter("code"),
    RiskProfile: attrgetter("name"),
    **dict.fromkeys(
        (
            *(ActionBooking, Conversions, EntryKind, JobState, MailKind, NoticeKind, Right, Role),
            *(DeliveryState, FlowOutcome, ProposalOrigin, Severity, Stage, TargetKind),
        ),
        attrgetter("value"),
    ),
}
"""Conversions of types that no column has."""


_decoder = cache(msgspec.json.Decoder)
"""Return the decoder of a type; attributes by name, Decimals and days as exact text."""


@lru_cache(maxsize=1024)
def _preferences(document: str) -> Preferences:
    """Decode preferences; equal documents share one immutable object."""
    found: Preferences = _decoder(Preferences).decode(document)
    return found


@lru_cache(maxsize=1024)
def _plan(document: str) -> FlowPlan:
    """Decode planned flows; equal documents share one immutable object."""
    found: FlowPlan = _decoder(FlowPlan).decode(document)
    return found


@lru_cache(maxsize=1024)
def _goals(document: str) -> tuple[SavingsGoal, ...]:
    """Decode goals; equal documents share one immutable object."""
    found: tuple[SavingsGoal, ...] = _decoder(tuple[SavingsGoal, ...]).decode(document)
    return found


NO_PASSWORD = "!"
"""Stands for a missing password, as in shadow(5): servers of earlier versions, which may run at the
same time, find no hash in it that any password matches."""

USERS = Converter(
    User,
    password=lambda text: None if text == NO_PASSWORD else text,
    assessment=_decoder(Assessment).decode,
    role=Role,
)
TOKENS = Converter(RefreshToken)
SHARES = Converter(Share, {"right": "granted"}, right=Right)
IMPORTS = Converter(StatementImport, {"sha256": "digest"}, mapping=_decoder(dict).decode)
FLOW_DECISIONS = Converter(FlowDecision, outcome=FlowOutcome)
MODELS = Converter(PortfolioModel)
MODEL_VERSIONS = Converter(ModelVersion, content=_decoder(ModelContent).decode)
PASSKEYS = Converter(Passkey, transports=_decoder(tuple[str, ...]).decode)
TOTP_SECRETS = Converter(TotpSecret)
MAILS = Converter(Mail, {"to": "recipient"}, kind=MailKind, facts=_decoder(dict).decode)
NOTICES = Converter(
    Notice, kind=NoticeKind, severity=Severity, parameters=_decoder(dict[str, str]).decode
)
NOTICE_CHOICES = _decoder(NoticeChoices).decode
NOTICE_TARGETS = Converter(Target, kind=TargetKind)
NOTICE_DELIVERIES = Converter(
    NoticeDelivery, state=DeliveryState, notices=_decoder(tuple[UUID, ...]).decode
)
ONE_TIME = Converter(OneTimeToken, document=_decoder(dict).decode)
SESSIONS = Converter(Session)
FAILURES = Converter(Failures)
DEVICES = Converter(KnownDevice)
API_KEYS = Converter(ApiKey, scopes=_decoder(tuple[Scope, ...]).decode)
DELETIONS = Converter(Deletion)
CHECKPOINTS = _decoder(Checkpoint).decode
ENTRIES = Converter(Entry, {"on": "day"}, kind=EntryKind)
PROPOSALS = Converter(
    ProposalRecord,
    {"portfolio_id": "portfolio", "inputs": "seen"},
    proposal=_decoder(Proposal).decode,
    inputs=_decoder(ProposalInputs).decode,
    stage=Stage,
    origin=ProposalOrigin,
)
KEYS = Converter(IdempotencyKey)
JOBS = Converter(
    Job,
    {"excused_attempts": "spared", "last_heartbeat": "alive"},
    request=_decoder(dict).decode,
    result=_decoder(dict).decode,
    state=JobState,
)
SYNC_STATES = Converter(SyncState)
TASKS = Converter(ScheduledTask, state=TaskState)
RUNS = Converter(BatchRun, {"nothing": "nothing_to_do"})
"""Runs with the progress of their chunks, which `batch_chunks` holds."""

_MANDATES = Converter(
    Mandate,
    currency=cache(Currency),
    targets=_decoder(dict[str, float]).decode,
    risk_profile=risk_profile,
    preferences=_preferences,
    corporate_actions=ActionBooking,
    conversions=Conversions,
    target_groups=_decoder(TargetTree).decode,
    look_through=_decoder(LookThrough).decode,
)
decode_details = _decoder(dict[str, str]).decode
_QUANTITIES = _decoder(dict[str, Decimal]).decode
_POSITIONS = Converter(Positions, holdings=_QUANTITIES, foreign_cash=_QUANTITIES)


def user_row(user: User) -> dict[str, Any]:
    """Convert for `users`."""
    row = USERS.to_row(user)
    return row if user.password is not None else {**row, "password": NO_PASSWORD}


def portfolio_row(portfolio: ManagedPortfolio) -> dict[str, Any]:
    """Convert for `portfolios`, which holds the mandate and the positions in one row."""
    return {
        **_MANDATES.to_row(portfolio.mandate),
        **_POSITIONS.to_row(portfolio.positions),
        "id": portfolio.id,
        "owner": portfolio.owner,
        "version": portfolio.version,
        "created": portfolio.created,
        "changed": portfolio.changed,
        "booked_actions": portfolio.booked_actions,
        "flow_plan": portfolio.plan,
        "model": None if portfolio.following is None else portfolio.following.model,
        "following": portfolio.following,
        "flows_automatic": bool(portfolio.plan and portfolio.plan.automatic),
        "goals": portfolio.goals,
    }


def _mandate_of(row: Row[Any]) -> Mandate:
    """Convert the mandate; targets that an earlier version has changed replace the groups.

    Earlier versions, which may run at the same time, leave the groups as they are.
    """
    try:
        return _MANDATES.from_row(row)
    except InvalidRequest as error:
        if error.code != "targets_stated_twice":
            raise
    flat: Any = SimpleNamespace(**row._asdict() | {"target_groups": None})
    return _MANDATES.from_row(flat)


def portfolio_of(row: Row[Any]) -> ManagedPortfolio:
    """Convert from `portfolios`; raise Damaged if the row is invalid."""
    found = portfolio_or_error(row)
    if isinstance(found, UnreadablePortfolio):
        raise Damaged(f"portfolio {found.id}: {found.reason}")
    return found


def portfolio_or_error(row: Row[Any]) -> ManagedPortfolio | UnreadablePortfolio:
    """Convert from `portfolios`; return the reason if the row is invalid."""
    try:
        return ManagedPortfolio(
            row.id,
            row.owner,
            _mandate_of(row),
            _POSITIONS.from_row(row),
            row.version,
            row.created,
            row.changed,
            row.booked_actions,
            _plan(row.flow_plan),
            None if row.following is None else _decoder(Following).decode(row.following),
            _goals(row.goals),
        )
    except (RebalancerError, ValueError, KeyError) as error:
        return UnreadablePortfolio(row.id, f"the stored data are invalid: {error}")
