"""Conversion of table rows to domain values and back: two functions per table."""

from __future__ import annotations

from decimal import Decimal
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

import attrs
import msgspec
from sqlalchemy import Row

from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.jobs.batch_run import BatchRun
from rebalancer.domain.jobs.job import Job, JobState
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.ledger import Entry, EntryKind, Positions
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate, UnreadablePortfolio
from rebalancer.domain.portfolio.owner import RefreshToken, User
from rebalancer.domain.portfolio.portfolio import Preferences
from rebalancer.domain.portfolio.questionnaire import Assessment
from rebalancer.domain.portfolio.risk import risk_profile
from rebalancer.domain.rebalancing.lifecycle import ProposalInputs, ProposalRecord, Stage
from rebalancer.domain.rebalancing.model import Proposal

COUNTS = ("proposed", "nothing_to_do", "failed")
"""Counters of a run, summed over its chunks."""


class Damaged(RuntimeError):
    """A stored row is invalid: a bug of this or another version, or a manual change."""


def user_row(user: User) -> dict[str, Any]:
    """Convert for `users`."""
    return attrs.asdict(user, recurse=False)


def user_of(row: Row[Any]) -> User:
    """Convert from `users`."""
    return User(**{**row._mapping, "assessment": _decode(row.assessment, Assessment)})


def token_row(token: RefreshToken) -> dict[str, Any]:
    """Convert for `refresh_tokens`."""
    return attrs.asdict(token, recurse=False)


def token_of(row: Row[Any]) -> RefreshToken:
    """Convert from `refresh_tokens`."""
    return RefreshToken(**row._mapping)


def portfolio_row(portfolio: ManagedPortfolio) -> dict[str, Any]:
    """Convert for `portfolios`."""
    mandate, positions = portfolio.mandate, portfolio.positions
    return {
        "id": portfolio.id,
        "owner": portfolio.owner,
        "name": mandate.name,
        "currency": mandate.currency.code,
        "targets": mandate.targets,
        "risk_profile": mandate.risk_profile.name if mandate.risk_profile else None,
        "preferences": mandate.preferences,
        "acknowledge_limits": mandate.acknowledge_limits,
        "cash": positions.cash,
        "holdings": positions.holdings,
        "uninvested": positions.uninvested,
        "last_rebalance": positions.last_rebalance,
        "last_entry": positions.last_entry,
        "version": portfolio.version,
        "created": portfolio.created,
        "changed": portfolio.changed,
    }


def portfolio_of(row: Row[Any]) -> ManagedPortfolio:
    """Convert from `portfolios`.

    Raises:
        Damaged: the row is invalid.
    """
    found = portfolio_or_error(row)
    if isinstance(found, UnreadablePortfolio):
        raise Damaged(f"portfolio {found.id}: {found.reason}")
    return found


def portfolio_or_error(row: Row[Any]) -> ManagedPortfolio | UnreadablePortfolio:
    """Convert from `portfolios`; return the reason if the row is invalid."""
    try:
        return _portfolio(row)
    except (RebalancerError, ValueError, KeyError) as error:
        return UnreadablePortfolio(row.id, f"the stored data are invalid: {error}")


def _portfolio(row: Row[Any]) -> ManagedPortfolio:
    mandate = Mandate(
        name=row.name,
        currency=_currency(row.currency),
        targets=_targets(row.targets),
        risk_profile=risk_profile(row.risk_profile) if row.risk_profile else None,
        preferences=_preferences(row.preferences),
        acknowledge_limits=row.acknowledge_limits,
    )
    positions = Positions(
        cash=row.cash,
        holdings=_holdings(row.holdings),
        uninvested=row.uninvested,
        last_rebalance=row.last_rebalance,
        last_entry=row.last_entry,
    )
    return ManagedPortfolio(
        id=row.id,
        owner=row.owner,
        mandate=mandate,
        positions=positions,
        version=row.version,
        created=row.created,
        changed=row.changed,
    )


def entry_row(portfolio: UUID, entry: Entry) -> dict[str, Any]:
    """Convert for `ledger_entries`."""
    return {
        "portfolio": portfolio,
        "id": entry.id,
        "kind": entry.kind.value,
        "day": entry.on,
        "recorded": entry.recorded,
        "amount": entry.amount,
        "symbol": entry.symbol,
        "quantity": entry.quantity,
        "price": entry.price,
        "cost": entry.cost,
        "proposal": entry.proposal,
        "note": entry.note,
    }


def entry_of(row: Row[Any]) -> Entry:
    """Convert from `ledger_entries`."""
    return Entry(
        id=row.id,
        kind=EntryKind(row.kind),
        on=row.day,
        recorded=row.recorded,
        amount=row.amount,
        symbol=row.symbol,
        quantity=row.quantity,
        price=row.price,
        cost=row.cost,
        proposal=row.proposal,
        note=row.note,
    )


def proposal_row(record: ProposalRecord) -> dict[str, Any]:
    """Convert for `proposals`."""
    return {
        "id": record.id,
        "owner": record.owner,
        "portfolio": record.portfolio_id,
        "proposal": record.proposal,
        "seen": record.inputs,
        "proposed": record.proposed,
        "expires": record.expires,
        "stage": record.stage.value,
        "decided": record.decided,
        "executed": record.executed,
        "remark": record.remark,
        "run": record.run,
    }


def proposal_of(row: Row[Any]) -> ProposalRecord:
    """Convert from `proposals`."""
    return ProposalRecord(
        id=row.id,
        owner=row.owner,
        portfolio_id=row.portfolio,
        proposal=_decode(row.proposal, Proposal),
        inputs=_decode(row.seen, ProposalInputs),
        proposed=row.proposed,
        expires=row.expires,
        stage=Stage(row.stage),
        decided=row.decided,
        executed=row.executed,
        remark=row.remark,
        run=row.run,
    )


def key_row(key: IdempotencyKey) -> dict[str, Any]:
    """Convert for `idempotency_keys`."""
    return attrs.asdict(key, recurse=False)


def key_of(row: Row[Any]) -> IdempotencyKey:
    """Convert from `idempotency_keys`."""
    return IdempotencyKey(**row._mapping)


_JOB_COLUMNS = {"excused_attempts": "spared", "last_heartbeat": "alive"}
"""Columns of `jobs` whose names differ from the attribute of `Job`."""


def job_row(job: Job) -> dict[str, Any]:
    """Convert for `jobs`."""
    values = attrs.asdict(job, recurse=False) | {"state": job.state.value}
    return {_JOB_COLUMNS.get(name, name): value for name, value in values.items()}


def job_of(row: Row[Any]) -> Job:
    """Convert from `jobs`."""
    names = (field.name for field in attrs.fields(Job))
    values = {name: row._mapping[_JOB_COLUMNS.get(name, name)] for name in names}
    documents = {name: _decode(values[name], dict) for name in ("request", "result")}
    return Job(**{**values, **documents, "state": JobState(row.state)})


_RUN_COLUMNS = ("id", "terms", "policy", "as_of", "started", "finished")


def run_row(run: BatchRun) -> dict[str, Any]:
    """Convert for `batch_runs`; `batch_chunks` holds the progress."""
    values = {name: getattr(run, name) for name in _RUN_COLUMNS}
    return values | dict.fromkeys(COUNTS, 0)  # its chunks count


def run_of(row: Row[Any]) -> BatchRun:
    """Convert from `batch_runs` with its progress."""
    values = dict(row._mapping)
    return BatchRun(nothing=values.pop("nothing_to_do"), **values)


def _decode(document: str | None, type: Any) -> Any:
    """Decode and validate a document; attributes by name, Decimals and days as exact text."""
    return None if document is None else _decoder(type).decode(document)


_decoder = cache(msgspec.json.Decoder)
"""Return the decoder of a type, created once."""

# Part of every portfolio, so the lookup by type is skipped.
_targets = _decoder(dict[str, float]).decode
_holdings = _decoder(dict[str, Decimal]).decode

_currency = cache(Currency)


@lru_cache(maxsize=1024)
def _preferences(document: str) -> Preferences:
    """Decode preferences; equal documents share one immutable object."""
    found: Preferences = _decoder(Preferences).decode(document)
    return found
