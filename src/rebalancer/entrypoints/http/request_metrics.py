"""Metrics of requests, by route, method and class of status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rebalancer.application.metrics import HTTP_REQUESTS, HTTP_SECONDS
from rebalancer.application.ports.telemetry import Metrics

Observe = Callable[[Any, int, float], None]
"""Takes the scope of an answered request, its status, and the seconds until its answer began."""

UNROUTED = "unrouted"
"""Route of requests that no route matches, or that were refused before one was chosen."""

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_STATUSES = {0: "aborted"} | {number: f"{number}xx" for number in range(1, 6)}


def route_of(scope: Any) -> str:
    """Return the template of the route of a request, such as ``/api/portfolios/{id}``."""
    return scope.get("path_template") or UNROUTED


def method_of(scope: Any) -> str:
    """Return the method of a request, or ``other``."""
    method: str = scope["method"]
    return method if method in _METHODS else "other"


def count_requests(metrics: Metrics) -> Observe:
    """Return a function that counts and times requests.

    Clients choose paths and methods, so labels have templates of routes and known methods alone. A
    stream is timed until it begins: its length does not measure the server.
    """

    def observe(scope: Any, status: int, seconds: float) -> None:
        route, method = route_of(scope), method_of(scope)
        metrics.add(HTTP_REQUESTS, route, method, _STATUSES.get(status // 100, "other"))
        metrics.observe(HTTP_SECONDS, seconds, route, method)

    return observe
