"""Catalogue of the metrics; docs/deployment.md describes how to collect them."""

from __future__ import annotations

from rebalancer.application.ports.telemetry import Counter, Histogram, Metric

HTTP_REQUESTS = Counter(
    "rebalancer_http_requests_total",
    "Requests by route, method and class of status.",
    ("route", "method", "status"),
)
HTTP_SECONDS = Histogram(
    "rebalancer_http_request_seconds",
    "Seconds from a request until its answer begins.",
    ("route", "method"),
    bounds=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)

CATALOG: tuple[Metric, ...] = (HTTP_REQUESTS, HTTP_SECONDS)
"""All metrics."""
