"""Metrics and traces, each switched on by a setting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from dishka import Provider, Scope, provide

from rebalancer.application.ports.telemetry import Metrics
from rebalancer.application.telemetry import NoMetrics
from rebalancer.config import PREFIX, Settings
from rebalancer.domain.errors import InvalidRequest, Unavailable


class TelemetryProvider(Provider):
    """Metrics of a service that has an endpoint for them; commands that end soon have none."""

    scope = Scope.APP

    @provide
    def metrics(self, settings: Settings) -> Metrics:
        if settings.metrics_port is None:
            return NoMetrics()
        from rebalancer.adapters.prometheus.endpoint import FOLDER_VARIABLE

        return _metrics_of_process() if FOLDER_VARIABLE in os.environ else NoMetrics()


@cache
def _metrics_of_process() -> Metrics:
    """Return the metrics that all containers of this process share, as they write one file."""
    from rebalancer.adapters.prometheus.metrics import PrometheusMetrics

    return PrometheusMetrics()


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
