"""Creation and use of one-time tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.store import Transaction
from rebalancer.domain.accounts.one_time import OneTimeToken


def create_one_time(
    tx: Transaction,
    tokens: Tokens,
    purpose: str,
    owner: UUID | None,
    lifetime: timedelta,
    document: Mapping[str, Any],
    now: datetime,
) -> str:
    """Store a new one-time token, and return its secret."""
    secret = tokens.create_refresh_secret()
    tx.one_time.add(
        OneTimeToken(
            digest=tokens.digest(secret),
            purpose=purpose,
            owner=owner,
            expires=now + lifetime,
            document=document,
        )
    )
    return secret


def take_one_time(
    tx: Transaction, tokens: Tokens, purpose: str, secret: str, now: datetime
) -> OneTimeToken | None:
    """Use a one-time token by its secret; see `OneTimeTokens.take`."""
    return tx.one_time.take(tokens.digest(secret), purpose, now)
