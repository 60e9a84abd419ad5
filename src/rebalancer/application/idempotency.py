"""Requests that take effect once, however often their client repeats them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import attrs

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, DailyQuotaReached, Quotas
from rebalancer.domain.errors import Conflict
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.money import canonical_text

T = TypeVar("T")


@attrs.frozen
class ClientRequest:
    """A request that its client may repeat.

    Attributes:
        key: Name that the client chose.
        fingerprint: See `fingerprint`.
    """

    key: str
    fingerprint: str

    def earlier_result(self, tx: Transaction, owner: UUID) -> UUID | None:
        """Return the result of the same request of an owner; None before the first.

        Raises:
            Conflict: the key belongs to a different request.
        """
        return find_earlier_result(tx, owner, self.key, self.fingerprint)

    def store_result(self, tx: Transaction, owner: UUID, result: UUID, now: datetime) -> None:
        """Store the result, in the transaction of its effect.

        Raises:
            Conflict: another request with this key is running.
        """
        tx.keys.add(IdempotencyKey(owner, self.key, self.fingerprint, result=result, created=now))


def repeat_if_running(use: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Call a use case, and once more if the same request was running: it has ended by then."""
    try:
        return use(*arguments, **options)
    except Conflict as error:
        if error.code != "request_running":
            raise
        return use(*arguments, **options)


@attrs.frozen
class StoreAnswer:
    """Store the answers to requests, and read them."""

    work: UnitOfWork
    clock: Clock
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(self, owner: UUID, key: str, answer: str) -> None:
        """Store the answer to a request that has taken effect.

        Without room for it, a repeated request is answered from the present state.
        """
        with suppress(DailyQuotaReached), self.work.begin() as tx:
            self.quotas.take_bytes(tx, owner, len(answer), self.clock())
            tx.keys.save_answer(owner, key, answer)

    def read(self, owner: UUID, key: str) -> str | None:
        """Return the first answer; None if it is unknown."""
        with self.work.read() as tx:
            stored = tx.keys.get(owner, key)
        return None if stored is None else stored.answer


def fingerprint(*parts: object) -> str:
    """Return the SHA-256 of a request; equal numbers count as equal, whatever their digits."""
    return hashlib.sha256(repr(_canonical_parts(parts)).encode()).hexdigest()


def _canonical_parts(part: object) -> object:
    if isinstance(part, Decimal):
        return canonical_text(part)
    return [_canonical_parts(one) for one in part] if isinstance(part, tuple) else part


def find_earlier_result(tx: Transaction, owner: UUID, key: str | None, request: str) -> UUID | None:
    """Return the result of an earlier request with the same key; None without one.

    Raises:
        Conflict: the key belongs to a different request.
    """
    earlier = None if key is None else tx.keys.get(owner, key)
    if earlier is None:
        return None
    if earlier.fingerprint != request:
        raise Conflict(
            f"the idempotency key {key!r} was used for another request; choose a new key",
            code="idempotency_key_reused",
        )
    return earlier.result


def add_key(
    tx: Transaction, *, owner: UUID, key: str | None, request: str, result: UUID, now: datetime
) -> None:
    """Store the result of a request, if it has a key.

    Raises:
        Conflict: another request with this key is running.
    """
    if key is not None:
        tx.keys.add(IdempotencyKey(owner, key, request, result=result, created=now))
