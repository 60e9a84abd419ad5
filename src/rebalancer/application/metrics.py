"""Catalogue of the metrics; docs/deployment.md describes how to collect them."""

from __future__ import annotations

from rebalancer.application.ports.telemetry import Counter, Gauge, Histogram, Metric

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

JOBS_WAITING = Gauge("rebalancer_jobs_waiting", "Jobs that are due and wait.", ("kind",))
JOBS_RUNNING = Gauge("rebalancer_jobs_running", "Jobs that run.", ("kind",))
JOB_LONGEST_WAIT = Gauge(
    "rebalancer_jobs_longest_wait_seconds", "Seconds for which the oldest due job has waited."
)
JOB_ATTEMPTS = Counter(
    "rebalancer_job_attempts_total",
    "Ended attempts at jobs, by what became of the job: succeeded, failed, cancelled, dead after "
    "its last attempt, or queued for another one.",
    ("kind", "outcome"),
)
JOB_SECONDS = Histogram(
    "rebalancer_job_seconds",
    "Seconds that ended attempts at jobs took.",
    ("kind",),
    bounds=(0.1, 0.5, 2.0, 10.0, 30.0, 120.0, 600.0, 3600.0),
)

PROPOSALS = Counter(
    "rebalancer_proposals_total",
    "Proposals stored outside batches, by why they were made: request, schedule or alert.",
    ("origin",),
)
REQUESTED = "request"
"""Origin of proposals that were requested."""

ALERTS = Counter("rebalancer_alerts_total", "Alerts of portfolios that began.", ("kind",))

BATCH_PORTFOLIOS = Gauge(
    "rebalancer_batch_portfolios",
    "Portfolios that the latest batch has done: proposed, nothing to do, or failed.",
    ("outcome",),
)
BATCH_OUTCOMES = ("proposed", "nothing", "failed")
BATCH_CHUNKS_LEFT = Gauge(
    "rebalancer_batch_chunks_left", "Chunks of the latest batch that are not done."
)
BATCH_STARTED = Gauge(
    "rebalancer_batch_started_timestamp_seconds", "When the latest batch began, in Unix time."
)

PROVIDER_REQUESTS = Counter(
    "rebalancer_provider_requests_total",
    "Questions to providers of market data, by outcome: answered, or the kind of fault.",
    ("provider", "outcome"),
)
PROVIDER_SECONDS = Histogram(
    "rebalancer_provider_request_seconds",
    "Seconds that questions to providers took, with waits and retries.",
    ("provider",),
    bounds=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0),
)
PROVIDER_QUOTA = Gauge(
    "rebalancer_provider_quota", "Requests that a provider allows in a day.", ("provider",)
)
PROVIDER_QUOTA_LEFT = Gauge(
    "rebalancer_provider_quota_left", "Requests that are left of a provider today.", ("provider",)
)
PROVIDER_ANSWERED = Gauge(
    "rebalancer_provider_answered_timestamp_seconds",
    "When a provider last answered for a stored asset, in Unix time.",
    ("provider",),
)
NEWEST_CLOSE = Gauge(
    "rebalancer_prices_newest_close_timestamp_seconds",
    "Start of the day of the newest closes, in Unix time.",
)

CONNECTIONS_IN_USE = Gauge(
    "rebalancer_database_connections_in_use",
    "Connections to the database that are in use.",
    summed=True,
)
CONNECTIONS_LIMIT = Gauge(
    "rebalancer_database_connections_limit",
    "Most connections to the database.",
    summed=True,
)

MEASURED = Gauge(
    "rebalancer_measured_timestamp_seconds",
    "When the stores were last measured, in Unix time; other gauges are as old.",
)

CATALOG: tuple[Metric, ...] = (
    HTTP_REQUESTS,
    HTTP_SECONDS,
    JOBS_WAITING,
    JOBS_RUNNING,
    JOB_LONGEST_WAIT,
    JOB_ATTEMPTS,
    JOB_SECONDS,
    PROPOSALS,
    ALERTS,
    BATCH_PORTFOLIOS,
    BATCH_CHUNKS_LEFT,
    BATCH_STARTED,
    PROVIDER_REQUESTS,
    PROVIDER_SECONDS,
    PROVIDER_QUOTA,
    PROVIDER_QUOTA_LEFT,
    PROVIDER_ANSWERED,
    NEWEST_CLOSE,
    CONNECTIONS_IN_USE,
    CONNECTIONS_LIMIT,
    MEASURED,
)
"""All metrics."""
