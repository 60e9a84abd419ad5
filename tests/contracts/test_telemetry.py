"""Contract of `Metrics` and `Tracer`, see application/ports/telemetry.py."""

import os
import subprocess
import sys

import attrs
import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rebalancer.adapters.memory.telemetry import MemoryMetrics, MemoryTracer
from rebalancer.adapters.opentelemetry.tracer import OpenTelemetryTracer, send_to
from rebalancer.adapters.prometheus.endpoint import FOLDER_VARIABLE, open_endpoint
from rebalancer.application.metrics import (
    CATALOG,
    CONNECTIONS_IN_USE,
    HTTP_REQUESTS,
    JOB_SECONDS,
    JOBS_WAITING,
)
from rebalancer.application.ports.telemetry import Counter, Gauge, Histogram, SpanKind
from rebalancer.application.telemetry import NO_METRICS, NO_TRACER
from rebalancer.application.trace_context import TraceContext, current_trace
from rebalancer.domain.errors import InvalidRequest, NotFound, Unavailable
from tests.collector import collecting

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


# Metrics.


def record(metrics):
    """Record some measurements, as a process of a service would."""
    metrics.add(HTTP_REQUESTS, "/health/live", "GET", "2xx")
    metrics.add(HTTP_REQUESTS, "/health/live", "GET", "2xx", amount=2)
    metrics.add(HTTP_REQUESTS, "/health/live", "GET", "5xx")
    for seconds in (0.05, 7, 5000):
        metrics.observe(JOB_SECONDS, seconds, "backtest")
    metrics.set(JOBS_WAITING, 7, "train")
    metrics.set(JOBS_WAITING, 5, "train")
    metrics.set(CONNECTIONS_IN_USE, 3)


def test_memory_holds_measurements_by_series():
    metrics = MemoryMetrics()
    record(metrics)
    assert metrics.values == {
        ("rebalancer_http_requests_total", "/health/live", "GET", "2xx"): 3,
        ("rebalancer_http_requests_total", "/health/live", "GET", "5xx"): 1,
        ("rebalancer_jobs_waiting", "train"): 5,
        ("rebalancer_database_connections_in_use",): 3,
    }
    assert metrics.observed == {("rebalancer_job_seconds", "backtest"): [0.05, 7, 5000]}


_TWO_PROCESSES = """
import multiprocessing, sys, urllib.request
from rebalancer.adapters.prometheus.endpoint import open_endpoint

def measure(_):
    from rebalancer.adapters.prometheus.metrics import PrometheusMetrics
    from tests.contracts.test_telemetry import record
    record(PrometheusMetrics())

def read(address):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(address).read().decode()

if __name__ == "__main__":
    with open_endpoint("127.0.0.1", 0) as address:
        workers = multiprocessing.get_context("fork").Pool(2)
        workers.map(measure, range(2), chunksize=1)
        print(read(address))
        print("--- ended")
        workers.terminate()
        workers.join()
        print(read(address))
"""


def test_endpoint_adds_up_processes_and_forgets_the_values_of_ended_ones():
    done = subprocess.run(
        [sys.executable, "-c", _TWO_PROCESSES], capture_output=True, text=True, check=True
    )
    alive, ended = done.stdout.split("--- ended")
    for text in (alive, ended):
        assert 'total{method="GET",route="/health/live",status="2xx"} 6.0' in text
        assert 'seconds_bucket{kind="backtest",le="0.1"} 2.0' in text
        assert 'seconds_bucket{kind="backtest",le="+Inf"} 6.0' in text
        assert 'seconds_count{kind="backtest"} 6.0' in text
    assert 'rebalancer_jobs_waiting{kind="train"} 5.0' in alive  # the latest value
    assert "rebalancer_database_connections_in_use 6.0" in alive
    assert "rebalancer_jobs_waiting{" not in ended
    assert "rebalancer_database_connections_in_use " not in ended


def test_metrics_that_are_off_discard_measurements():
    record(NO_METRICS)


def test_names_follow_the_conventions_of_prometheus():
    names = [metric.name for metric in CATALOG]
    assert len(set(names)) == len(names)
    for metric in CATALOG:
        assert metric.name.startswith("rebalancer_")
        assert metric.text.endswith(".")
        assert metric.name.endswith("_total") == isinstance(metric, Counter)
        if isinstance(metric, Histogram):
            assert metric.name.endswith("_seconds")
            assert sorted(set(metric.bounds)) == list(metric.bounds)
        assert not {"id", "user", "path", "portfolio", "symbol"} & set(metric.labels)
        assert isinstance(metric, Counter | Gauge | Histogram)


# Traces.


@attrs.frozen
class Recorder:
    """A tracer that records everything, and a function that returns its spans."""

    tracer: object
    spans: object


def in_memory():
    tracer = MemoryTracer()
    return Recorder(
        tracer,
        lambda: [
            (one.name, one.kind.value, one.trace, one.id, one.parent, one.attributes, one.failure)
            for one in tracer.spans
        ],
    )


def of_open_telemetry():
    exporter = InMemorySpanExporter()
    tracer = OpenTelemetryTracer(exporter, ratio=1.0)

    def spans():
        tracer.flush()
        return [
            (
                one.name,
                one.kind.name.lower(),
                f"{one.context.trace_id:032x}",
                f"{one.context.span_id:016x}",
                None if one.parent is None else f"{one.parent.span_id:016x}",
                dict(one.attributes),
                one.status.description,
            )
            for one in exporter.get_finished_spans()
        ]

    return Recorder(tracer, spans)


@pytest.fixture(params=[in_memory, of_open_telemetry])
def recorder(request):
    return request.param()


@pytest.fixture
def begun():
    """Begin a sampled trace."""
    noted = current_trace.set(TraceContext.begin(TRACE, sampled=True))
    yield
    current_trace.reset(noted)


def test_spans_form_a_tree_in_the_current_trace(recorder, begun):
    assert recorder.tracer.samples()
    with recorder.tracer.span("request", SpanKind.SERVER) as span:
        with recorder.tracer.span("store read", SpanKind.CLIENT):
            inside = current_trace.get()
        span.rename("GET /health/live")
        span.note("http.response.status_code", 200)
    inner, outer = recorder.spans()
    assert outer[:3] == ("GET /health/live", "server", TRACE)
    assert outer[4:] == (None, {"http.response.status_code": 200}, None)
    assert inner[:3] == ("store read", "client", TRACE)
    assert inner[4] == outer[3]
    assert inside == TraceContext(TRACE, inner[3], sampled=True)
    assert current_trace.get() == TraceContext.begin(TRACE, sampled=True)


def test_span_belongs_to_the_span_of_another_process(recorder):
    noted = current_trace.set(TraceContext(TRACE, "00f067aa0ba902b7", sampled=True))
    with recorder.tracer.span("job backtest", SpanKind.CONSUMER):
        pass
    current_trace.reset(noted)
    ((name, kind, trace, _, parent, _, _),) = recorder.spans()
    assert (name, kind, trace, parent) == ("job backtest", "consumer", TRACE, "00f067aa0ba902b7")


@pytest.mark.parametrize("context", [None, TraceContext.begin(TRACE, sampled=False)])
def test_trace_that_is_not_sampled_is_not_recorded(recorder, context):
    noted = current_trace.set(context)
    with recorder.tracer.span("request", SpanKind.SERVER) as span:
        span.rename("GET /health/live")
        span.note("http.response.status_code", 500)
        span.fail("status 500")
        assert current_trace.get() == context
    current_trace.reset(noted)
    assert recorder.spans() == []


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (NotFound("no portfolio has this id", code="portfolio_not_found"), None),
        (Unavailable("the database did not answer", code="database_unavailable"), True),
        (ZeroDivisionError("Ada's portfolio"), "ZeroDivisionError"),
    ],
)
def test_faults_are_marked_without_their_texts_and_refusals_are_answers(
    recorder, begun, error, failure
):
    with pytest.raises(type(error)), recorder.tracer.span("store read", SpanKind.CLIENT):
        raise error
    ((*_, noted),) = recorder.spans()
    assert noted == ("database_unavailable" if failure is True else failure)


def test_tracer_that_is_off_records_nothing(begun):
    assert not NO_TRACER.samples()
    with NO_TRACER.span("request", SpanKind.SERVER) as span:
        span.rename("GET /health/live")
        span.note("http.response.status_code", 500)
        span.fail("status 500")
    NO_TRACER.flush()


def test_share_of_new_traces_is_recorded():
    tracer = OpenTelemetryTracer(InMemorySpanExporter(), ratio=0.25)
    sampled = sum(tracer.samples() for _ in range(10_000))
    assert 2_200 < sampled < 2_800  # 7 standard deviations


def test_spans_arrive_at_a_collector(begun):
    with collecting() as collector:
        tracer = send_to(collector.endpoint, ratio=1.0)
        with tracer.span("request", SpanKind.SERVER):
            pass
        tracer.flush()
    ((name, trace),) = [(one.name, one.trace) for one in collector.spans]
    assert (name, trace) == ("request", TRACE)


def test_endpoint_that_is_in_use_is_named():
    with open_endpoint("127.0.0.1", 0) as address:
        port = httpx.URL(address).port
        with (
            pytest.raises(InvalidRequest, match=f"port {port} of 127.0.0.1: another program"),
            open_endpoint("127.0.0.1", port),
        ):
            pass


def test_folder_of_a_killed_service_is_deleted_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    abandoned, recent = (tmp_path / f"rebalancer-metrics-{name}" for name in "ab")
    for folder in (abandoned, recent, tmp_path / "others"):
        folder.mkdir()
    os.utime(abandoned, (0, 0))
    with open_endpoint("127.0.0.1", 0):
        (own,) = set(tmp_path.glob("rebalancer-metrics-*")) - {recent}
        assert os.environ[FOLDER_VARIABLE] == str(own) != str(abandoned)
        os.utime(own, (0, 0))
        with open_endpoint("127.0.0.1", 0):
            assert own.exists()
    assert os.environ[FOLDER_VARIABLE] == str(tmp_path)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "others", recent]
