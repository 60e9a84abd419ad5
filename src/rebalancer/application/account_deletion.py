"""Deletion of accounts: request it, and erase what is stored about them."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.account_notices import notify
from rebalancer.application.accounts import load_account
from rebalancer.application.audit import record
from rebalancer.application.encryption import erase_key
from rebalancer.application.ports.accounts import Revocations
from rebalancer.application.ports.reports import Reports
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.sessions import end_sessions, require_recent
from rebalancer.domain.accounts.deletion import Deletion, DeletionTerms
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, RebalancerError, Unavailable
from rebalancer.domain.jobs.job import JobChanged, JobState
from rebalancer.domain.portfolio.owner import User

log = logging.getLogger("rebalancer.accounts")

_UNFINISHED = frozenset({JobState.QUEUED, JobState.RUNNING})
_MOST_JOBS = 1000


@attrs.frozen
class RequestDeletion:
    """Schedule the deletion of an account: sessions and API keys end, and jobs are cancelled.

    Signing in again before the day cancels it (see `issue_login`).
    """

    work: UnitOfWork
    revocations: Revocations
    terms: DeletionTerms

    def __call__(self, bearer: Bearer, *, now: datetime) -> Deletion:
        """Return the scheduled deletion.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
            Conflict: the account is the last operator.
        """
        owner = bearer.owner
        with self.work.begin() as tx:
            user = load_account(tx, owner)
            require_recent(tx, bearer, now)
            if user.role is Role.OPERATOR and tx.users.enabled_operators() == {owner}:
                raise Conflict(
                    "this is the last operator; make another account an operator first",
                    code="last_operator",
                )
            deletion = self.terms.schedule(owner, now)
            tx.deletions.save(deletion)
            end_sessions(tx, self.revocations, owner, now=now)
            for key in tx.api_keys.of_owner(owner):
                tx.api_keys.delete(key.id, owner=owner)
            for job in tx.jobs.page(owner, states=_UNFINISHED, limit=_MOST_JOBS):
                with suppress(JobChanged):  # it has just ended
                    tx.jobs.save(tx.jobs.get(job.id).cancel(now))
            day = f"{deletion.due:%Y-%m-%d}"
            record(
                tx, Action.DELETION_REQUESTED, at=now, actor=owner, details={"erased_after": day}
            )
            notify(tx, user, MailKind.DELETION_SCHEDULED, now=now, date=day)
        return deletion


@attrs.frozen
class EraseAccounts:
    """Erase the accounts whose deletion is due.

    Attributes:
        batch: Most accounts per call.
    """

    work: UnitOfWork
    reports: Reports
    terms: DeletionTerms
    batch: int = 100

    def __call__(self, now: datetime) -> int:
        """Return how many accounts were erased; one that fails does not keep others.

        Raises:
            Unavailable: some could not be erased; call again soon.
        """
        with self.work.read() as tx:
            due = tx.deletions.due(now, limit=self.batch)
        erased = 0
        failures: dict[UUID, RebalancerError] = {}
        for deletion in due:
            try:
                erased += self._erase(deletion, now)
            except RebalancerError as error:
                failures[deletion.owner] = error
        if failures:
            owner, first = next(iter(failures.items()))
            raise Unavailable(
                f"{len(failures)} of {len(due)} accounts cannot be erased now; {owner}: {first}",
                code="erasure_delayed",
            )
        return erased

    def _erase(self, deletion: Deletion, now: datetime) -> bool:
        owner = deletion.owner
        with self.work.read() as tx:
            if not _is_due(tx.deletions.find(owner), now):
                return False
        # Reports may be in another database, or in this one, where a second writer would wait for
        # the transaction below. The deletion is still due if the rest fails.
        self.reports.delete_of(str(owner))
        with self.work.begin() as tx:
            user = tx.users.get(owner)  # before the deletion: logins lock in this order
            current = tx.deletions.find(owner)
            if current is None or not _is_due(current, now):
                return False
            keeps = self.terms.records is not None and current.anonymized is None
            self._erase_rows(tx, user, current, keeps=keeps, now=now)
        log.info("account %s was erased; records %s", owner, "kept" if keeps else "removed")
        return True

    def _erase_rows(
        self, tx: Transaction, user: User, deletion: Deletion, *, keeps: bool, now: datetime
    ) -> None:
        tx.deletions.erase(user, keep_records=keeps, now=now)
        if keeps and self.terms.records is not None:
            later = attrs.evolve(deletion, due=now + self.terms.records, anonymized=now)
            tx.deletions.save(later)
        record(
            tx,
            Action.ACCOUNT_DELETED,
            at=now,
            subject=user.id,
            details={"records": "kept" if keeps else "removed"},
        )
        tx.audit.erase_origins(involved=user.id)
        erase_key(tx, user.id)  # at last: what was written here had the key


def _is_due(deletion: Deletion | None, now: datetime) -> bool:
    """Return whether the account is to be erased; a deletion that was cancelled does not exist."""
    return deletion is not None and deletion.due <= now
