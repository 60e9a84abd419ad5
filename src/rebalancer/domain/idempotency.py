"""Idempotency keys: a repeated request returns the result of the first."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs


@attrs.frozen
class IdempotencyKey:
    """A carried-out request, by the key that its client chose.

    Attributes:
        key: Name that the client gave to the request.
        fingerprint: SHA-256 of the request's content.
        result: Id of the resource that the request created.
        answer: The first answer, as its client got it; None until it is stored.
    """

    owner: UUID
    key: str
    fingerprint: str
    result: UUID
    created: datetime
    answer: str | None = None
