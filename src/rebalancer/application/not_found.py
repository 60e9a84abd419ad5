"""Errors of stored objects that do not exist, the same from every store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from uuid import UUID

from rebalancer.domain.errors import NotFound

T = TypeVar("T")

NOT_FOUND: Mapping[str, Callable[[UUID | str], NotFound]] = {
    "API key": lambda id: NotFound(f"API key {id} does not exist", code="api_key_not_found"),
    "entry": lambda id: NotFound(f"entry {id} does not exist", code="entry_not_found"),
    "flow": lambda id: NotFound(f"planned flow {id} does not exist", code="flow_not_found"),
    "import": lambda id: NotFound(f"import {id} does not exist", code="import_not_found"),
    "delivery": lambda id: NotFound(f"message {id} does not exist", code="message_not_found"),
    "job": lambda id: NotFound(f"job {id} does not exist", code="job_not_found"),
    "mapping profile": lambda name: NotFound(
        f"no mapping profile is called {str(name)[:100]!r}; choose a saved one",
        code="mapping_profile_not_found",
    ),
    "notice": lambda id: NotFound(f"notice {id} does not exist", code="notice_not_found"),
    "model": lambda id: NotFound(f"model {id} does not exist", code="model_not_found"),
    "passkey": lambda id: NotFound(f"passkey {id} does not exist", code="passkey_not_found"),
    "portfolio": lambda id: NotFound(f"portfolio {id} does not exist", code="portfolio_not_found"),
    "proposal": lambda id: NotFound(f"proposal {id} does not exist", code="proposal_not_found"),
    "report": lambda id: NotFound(f"report {id} does not exist", code="report_not_found"),
    "run": lambda id: NotFound(f"run {id} does not exist", code="run_not_found"),
    "session": lambda id: NotFound(f"session {id} does not exist", code="session_not_found"),
    "share": lambda id: NotFound(f"share {id} does not exist", code="share_not_found"),
    "target": lambda id: NotFound(
        f"notice target {id} does not exist", code="notice_target_not_found"
    ),
    "user": lambda id: NotFound(f"user {id} does not exist", code="user_not_found"),
}


def require(found: T | None, kind: str, id: UUID | str) -> T:
    """Return a stored object; raise NotFound if it is None."""
    if found is None:
        raise NOT_FOUND[kind](id)
    return found
