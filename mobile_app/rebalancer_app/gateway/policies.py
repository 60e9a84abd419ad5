"""Policies that can make proposals."""

from __future__ import annotations

from datetime import date
from typing import Any

import attrs

from rebalancer_app.gateway.client import Endpoint


@attrs.frozen
class Policy:
    """A policy."""

    name: str
    kind: str
    version: int | None
    summary: str
    frequency: str
    decides: str | None


@attrs.frozen
class Learning:
    """How a learned policy was trained and judged."""

    algorithm: str
    created: date
    trained_until: date
    promoted: bool
    evidence: dict[str, Any]


@attrs.frozen
class Card:
    """All details of a policy."""

    name: str
    kind: str
    version: int | None
    summary: str
    decides: str | None
    learning: Learning | None


LIST = Endpoint("GET", "/api/policies", list[Policy])
READ = Endpoint("GET", "/api/policies/{name}", Card)
