"""Metrics and traces, each switched on by a setting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from dishka import Provider, Scope, provide

from rebalancer.application.ports.telemetry import Metrics, Tracer
from rebalancer.application.telemetry import NO_METRICS, NO_TRACER
from rebalancer.config import PREFIX, Settings
from rebalancer.domain.errors import InvalidRequest, Unavailable


class TelemetryProvider(Provider):
    """Metrics of a service that has an endpoint for them, and traces; each off by default."""

    scope = Scope.APP

    @provide
    def metrics(self, settings: Settings) -> Metrics:
        """Provide metrics to the processes of a service; commands that end soon record nothing."""
        if settings.metrics_port is None:
            return NO_METRICS
        from rebalancer.adapters.prometheus.endpoint import FOLDER_VARIABLE

        return _metrics_of_process() if FOLDER_VARIABLE in os.environ else NO_METRICS

    @provide
    def tracer(self, settings: Settings) -> Iterator[Tracer]:
        """Provide the tracer of this process; it sends the last spans when the container closes."""
        if settings.otlp_endpoint is None:
            yield NO_TRACER
            return
        tracer = _tracer_of_process(settings.otlp_endpoint, settings.trace_ratio)
        yield tracer
        tracer.flush()


@cache
def _metrics_of_process() -> Metrics:
    """Return the metrics that all containers of this process share, as they write one file."""
    from rebalancer.adapters.prometheus.metrics import PrometheusMetrics

    return PrometheusMetrics()


@cache
def _tracer_of_process(endpoint: str, ratio: float) -> Tracer:
    """Return the tracer that all containers of this process share, with one thread that sends."""
    try:
        from rebalancer.adapters.opentelemetry.tracer import send_to
    except ImportError:
        raise Unavailable(
            "traces need further packages: pip install 'rebalancer[observability]'",
            code="package_missing",
        ) from None
    return send_to(endpoint, ratio=ratio)


@contextmanager
def serve_metrics(settings: Settings) -> Iterator[str | None]:
    """Serve the metrics of this process and its children while the block runs.

    Yields the address of the endpoint, or None if it is off. Containers must be built inside.

    Raises:
        InvalidRequest: the port cannot be used.
        Unavailable: a package is not installed.
    """
    if settings.metrics_port is None:
        yield None
        return
    from rebalancer.adapters.prometheus.endpoint import open_endpoint

    with ExitStack() as opened:
        try:
            address = opened.enter_context(open_endpoint(settings.host, settings.metrics_port))
        except ImportError:
            raise Unavailable(
                "metrics need further packages: pip install 'rebalancer[observability]'",
                code="package_missing",
            ) from None
        except InvalidRequest as error:
            raise error.at(f"{PREFIX}METRICS_PORT") from None
        yield address
