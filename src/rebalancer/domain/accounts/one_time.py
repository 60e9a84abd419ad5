"""Secrets that are valid once and for a short time, such as the token of a mailed link."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs


@attrs.frozen
class OneTimeToken:
    """Secret that can be used once, for one purpose.

    Attributes:
        digest: Digest of the secret; the secret itself is not stored.
        purpose: What it permits, such as ``reset_password``; no other purpose accepts it.
        owner: User to whom it was given; None if there is no account.
        expires: End of its validity.
        document: What its use needs to know, as JSON.
    """

    digest: str = attrs.field(repr=False)
    purpose: str
    owner: UUID | None
    expires: datetime
    document: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
