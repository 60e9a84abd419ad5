"""Metrics of requests, by route, method and class of status."""

from __future__ import annotations

from typing import Any

from rebalancer.application.metrics import HTTP_REQUESTS, HTTP_SECONDS
from rebalancer.application.ports.telemetry import Metrics
from rebalancer.entrypoints.http.request_origin import Observe

UNROUTED = "unrouted"
"""Route of requests that no route matches, or that were refused before one was chosen."""

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_STATUSES = {0: "aborted"} | {number: f"{number}xx" for number in range(1, 6)}


def route_of(scope: Any) -> str:
    """Return the template of the route of a request, such as ``/api/portfolios/{id}``."""
    return scope.get("path_template") or UNROUTED


def count_requests(metrics: Metrics) -> Observe:
    """Return a function that counts and times requests.

    Clients choose paths and methods, so labels have templates of routes and known methods alone. A
    stream is timed until it begins, as its length says nothing about the server.
    """

    def observe(scope: Any, status: int, seconds: float) -> None:
        route, method = route_of(scope), scope["method"]
        if method not in _METHODS:
            method = "other"
        metrics.add(HTTP_REQUESTS, route, method, _STATUSES.get(status // 100, "other"))
        metrics.observe(HTTP_SECONDS, seconds, route, method)

    return observe
