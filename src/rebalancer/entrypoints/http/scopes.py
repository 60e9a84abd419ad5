"""What an API key must allow for each request.

API keys read with GET; some requests only propose or compute, and all others that write need the
scope ``trade``. Routes of accounts, of sharing, of operators and of the choice of notices need
a login.
"""

from __future__ import annotations

import re

from rebalancer.domain.accounts.api_keys import Scope

_LOGIN_ONLY = re.compile(
    r"/api/(users|operators|shares|risk|stream-tickets)(/.*)?"
    r"|/api/portfolios/[^/]+/shares(/.*)?"
    r"|/api/notices/(?!unread$).*"
    r"|/api/automation/resume"
)
_PROPOSING = re.compile(
    r"/api/rebalance/predict"
    r"|/api/backtest"
    r"|/api/jobs/[^/]+/(cancel|requeue)"
    r"|/api/market/assets"
    r"|/api/portfolios/[^/]+/(projection|stress|targets)"
    r"|/api/models/[^/]+/preview"
    r"|/api/table-sketches"
)


def scope_of(method: str, path: str) -> Scope | None:
    """Return the scope that a request needs; None if no API key allows it."""
    path = path.rstrip("/")
    if _LOGIN_ONLY.fullmatch(path) or not path.startswith("/api/"):
        return None
    if method in ("GET", "HEAD", "OPTIONS"):
        return Scope.READ
    return Scope.PROPOSE if _PROPOSING.fullmatch(path) else Scope.TRADE
