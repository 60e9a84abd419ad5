"""Requests that a client may repeat without effect."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs


@attrs.frozen
class IdempotencyKey:
    """A request that was carried out, so that its repetition is answered alike.

    Attributes:
        owner: Who asked.
        key: What they called the request.
        fingerprint: SHA-256 of what they asked for.
        result: Id of what came of it.
        created: When.
    """

    owner: UUID
    key: str
    fingerprint: str
    result: UUID
    created: datetime
