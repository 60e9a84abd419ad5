"""The chain of hashes that shows changed, removed and reordered events of the audit trail.

Events are written by many transactions at once, so they are sealed afterwards, one by one, under
one lock. A seal is the SHA-256 of the seal before and of the event. The address and the agent of
an event enter by a salted digest, so that they can be erased while the chain stays whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import attrs

from rebalancer.domain.audit.events import Action, AuditEvent, Origin

FIRST_DIGEST = "0" * 64
"""Digest before the first seal."""


@attrs.frozen
class Seal:
    """Link of the chain.

    Attributes:
        position: 1 for the first event ever sealed, without gaps.
        event: Id of the sealed event.
        digest: SHA-256 in hexadecimal.
    """

    position: int
    event: UUID
    digest: str
    sealed: datetime


@attrs.frozen
class Link:
    """Position and digest of a seal, from which the chain can be followed."""

    position: int = 0
    digest: str = FIRST_DIGEST

    def __str__(self) -> str:
        return f"{self.position}:{self.digest}"


@attrs.frozen
class Cut:
    """Removal of all events up to a position, after the end of their retention.

    Attributes:
        through: Last removed position and its digest, from which the chain continues.
        before: Events of an earlier time were removed.
        cut: Time of the removal.
    """

    through: Link
    before: datetime
    cut: datetime

    def details(self) -> dict[str, str]:
        """Return the details of the event that must witness this cut."""
        return {
            "position": str(self.through.position),
            "digest": self.through.digest,
            "before": self.before.astimezone(UTC).isoformat(),
        }


@attrs.frozen
class SealedEvent:
    """A seal with the stored event; None if the event is missing.

    Attributes:
        commitment: Stored digest of the origin's address and agent; None without them.
        salt: Salt of the commitment; None once the address and the agent are erased.
    """

    seal: Seal
    event: AuditEvent | None
    commitment: str | None = None
    salt: str | None = None


@attrs.frozen
class TrailCheck:
    """Outcome of checking the audit trail.

    Attributes:
        events: Checked events.
        pending: Events that are not sealed yet.
        start: Link from which the chain was followed: the last cut, or the beginning.
        head: Last link; note it elsewhere to detect the removal of the newest events.
        faults: Sentences about what is wrong; empty if nothing is.
    """

    events: int
    pending: int
    start: Link
    head: Link
    faults: tuple[str, ...]


def commit_to(origin: Origin, salt: str) -> str | None:
    """Return the salted digest of an origin's address and agent; None without both."""
    if origin.address is None and origin.agent is None:
        return None
    return sha256(json.dumps([salt, origin.address, origin.agent]).encode()).hexdigest()


def next_digest(previous: str, event: AuditEvent, commitment: str | None) -> str:
    """Return the digest of the seal of an event."""
    fields = [
        previous,
        str(event.id),
        event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        event.action,
        event.outcome,
        None if event.actor is None else str(event.actor),
        None if event.subject is None else str(event.subject),
        event.target,
        event.origin.via,
        event.origin.request,
        commitment,
        sorted(event.details.items()),
    ]
    return sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()


def seal_events(
    head: Link, events: Iterable[tuple[AuditEvent, str | None]], now: datetime
) -> list[Seal]:
    """Return the seals of events with their commitments, which follow a link in this order."""
    seals: list[Seal] = []
    for event, commitment in events:
        head = Link(head.position + 1, next_digest(head.digest, event, commitment))
        seals.append(Seal(head.position, event.id, head.digest, now))
    return seals


class ChainCheck:
    """Follows a chain and collects what is wrong.

    Args:
        start: Link before the first seal.
        noted: Link that was noted earlier and must still be in the chain.
    """

    def __init__(self, start: Link, noted: Link | None = None) -> None:
        self.head, self.events, self.faults = start, 0, list[str]()
        self._noted = noted
        if noted is not None and noted.position < start.position:
            self.faults.append(
                f"position {noted.position} was removed by a cut through {start.position}; "
                "compare with a later one"
            )
        self._compare()

    def follow(self, sealed: SealedEvent) -> None:
        """Check the next seal, in the order of positions."""
        seal, event, expected = sealed.seal, sealed.event, self.head.position + 1
        if seal.position != expected:
            self.faults.append(f"seals {expected} to {seal.position - 1} are missing")
        if event is None:
            self.faults.append(f"event {seal.event} at position {seal.position} is missing")
        else:
            self.events += 1
            self._check(event, sealed)
        self.head = Link(seal.position, seal.digest)
        self._compare()

    def finish(self) -> None:
        """Report a noted link that the chain does not reach."""
        if self._noted is not None and self._noted.position > self.head.position:
            self.faults.append(
                f"the chain ends at position {self.head.position}, before the noted "
                f"{self._noted.position}: its newest events were removed"
            )

    def _check(self, event: AuditEvent, sealed: SealedEvent) -> None:
        seal = sealed.seal
        if seal.digest != next_digest(self.head.digest, event, sealed.commitment):
            self.faults.append(
                f"event {event.id} at position {seal.position} or its seal was changed, or events "
                "before it were removed or reordered"
            )
        elif sealed.salt is not None and sealed.commitment != commit_to(event.origin, sealed.salt):
            self.faults.append(
                f"the address or the agent of event {event.id} at position {seal.position} was "
                "changed"
            )

    def _compare(self) -> None:
        noted = self._noted
        if noted is not None and noted.position == self.head.position and noted != self.head:
            self.faults.append(
                f"the digest at position {noted.position} differs from the noted one: the chain "
                "was rewritten"
            )


def check_trail(
    check: ChainCheck,
    cut: Cut | None,
    witnesses: Iterable[AuditEvent],
    *,
    pending: int,
    unsealed: Iterable[UUID],
) -> TrailCheck:
    """Return the outcome of a check that followed all seals.

    Args:
        check: Has followed every seal after the last cut.
        cut: The last cut.
        witnesses: Events among which that of the cut must be.
        pending: Events that wait for their seals.
        unsealed: Events that neither have a seal nor wait for one.
    """
    check.finish()
    faults = [*check.faults, *(f"event {id} was never sealed" for id in unsealed)]
    if cut is not None and not any(_witnesses(event, cut) for event in witnesses):
        faults.append(
            f"no event records the cut through position {cut.through.position}: events before it "
            "were removed without permission"
        )
    start = Link() if cut is None else cut.through
    return TrailCheck(check.events, pending, start, check.head, tuple(faults))


def _witnesses(event: AuditEvent, cut: Cut) -> bool:
    return event.action == Action.AUDIT_CUT and cut.details().items() <= event.details.items()
