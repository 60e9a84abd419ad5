"""Check metrics, alerts, dashboard and traces with a real Prometheus and a running deployment.

A server with two processes and a worker run on Postgres and Valkey. Prometheus of Debian, which is
unpacked and not installed, scrapes both with the shipped rules.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.collector import Collector, collecting
from tests.servers import Postgres, Valkey, free_port, running

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deployment" / "observability"
REBALANCER = str(Path(sys.executable).with_name("rebalancer"))
PATIENCE = 240.0
"""Seconds that anything may take on a busy machine."""

INTERVAL = "30s"
"""Range that replaces Grafana's ``$__rate_interval``."""

EMPTY = frozenset({"rebalancer_provider_answered_timestamp_seconds"})
"""Metrics without a value in this run: no provider can be reached."""

_ANSWER = {"email": "ada@example.org", "password": "correct horse battery staple"}
_NAME = re.compile(r"\b(?:rebalancer_\w+|up)\b")


def main() -> int:
    """Run the check; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    programs = fetch_prometheus(Path(os.environ["OPS_CACHE"]) / "observability")
    check_rules(programs / "promtool")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = stack.enter_context(collecting())
        postgres = stack.enter_context(running(Postgres))
        valkey = stack.enter_context(running(Valkey))
        environment = os.environ | {
            "REBALANCER_DATABASE_URL": postgres.url,
            "REBALANCER_REDIS_URL": valkey.url,
            "REBALANCER_PRICES": "sample",
            "REBALANCER_ALPHA_VANTAGE_KEY": "of-no-account",  # so that there is a quota
            "REBALANCER_RATE_LIMIT": "0",
            "REBALANCER_CACHE": str(folder / "cache"),
            "REBALANCER_TRACE_RATIO": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        ports = {role: free_port() for role in ("server", "worker")}
        api = stack.enter_context(serve(folder, environment, ports["server"]))
        worker = stack.enter_context(work(folder, environment, ports["worker"]))
        prometheus = stack.enter_context(scrape(folder, programs / "prometheus", ports))
        trace = use(api, folder, environment)
        check_trace(collector, trace)
        check_expressions(prometheus)
        check_alert(prometheus, worker)
    return 0


def fetch_prometheus(cache: Path) -> Path:
    """Return the folder of Debian's prometheus and promtool, which are unpacked there once."""
    programs = cache / "unpacked" / "usr" / "bin"
    if not (programs / "promtool").exists():
        cache.mkdir(parents=True, exist_ok=True)
        apt = ["apt-get", "download", "-o", "APT::Sandbox::User=root", "prometheus"]
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(apt, cwd=cache, check=True)
        (package,) = cache.glob("prometheus_*.deb")
        part = cache / "part"
        shutil.rmtree(part, ignore_errors=True)
        subprocess.run(["dpkg", "-x", package, part], check=True)
        part.rename(cache / "unpacked")
    return programs


def check_rules(promtool: Path) -> None:
    """Check the shipped configuration and rules, and run the tests of the rules."""
    for arguments in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ):
        subprocess.run([promtool, *arguments], cwd=SHIPPED, check=True)
    print(f"shown: promtool accepts {len(alerts())} alerts, and their tests pass")


@contextmanager
def process(log: Path, command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the block runs, with its output in a file."""
    with log.open("wb") as output:
        started = subprocess.Popen(command, stdout=output, stderr=output, **options)
        try:
            yield started
        except BaseException:
            print(f"--- {log.name}", log.read_text(errors="replace")[-3000:], sep="\n")
            raise
        finally:
            started.terminate()
            try:
                started.wait(60)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def wait_for(what: str, condition: Callable[[], Any]) -> Any:
    """Return the first true value of a condition; raise if there is none in time."""
    latest = time.monotonic() + PATIENCE
    while True:
        with suppress(httpx.TransportError):
            if value := condition():
                return value
        if time.monotonic() > latest:
            raise TimeoutError(what)
        time.sleep(0.3)


@contextmanager
def serve(folder: Path, environment: dict[str, str], metrics: int) -> Iterator[httpx.Client]:
    """Run a server with two processes; yield a client of its API."""
    port = free_port()
    options = ["serve", "--upgrade", "--workers", "2", "--port", str(port)]
    environment = environment | {"REBALANCER_METRICS_PORT": str(metrics)}
    with (
        process(folder / "server.log", [REBALANCER, *options], env=environment, cwd=folder),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client,
    ):
        wait_for("the server", lambda: client.get("/health/ready").status_code == 200)
        yield client


@contextmanager
def work(
    folder: Path, environment: dict[str, str], metrics: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker, and wait for its liveness probe."""
    environment = environment | {"REBALANCER_METRICS_PORT": str(metrics)}
    live = f"http://127.0.0.1:{metrics}/health/live"
    with process(
        folder / "worker.log", [REBALANCER, "worker"], env=environment, cwd=folder
    ) as started:
        wait_for("the worker", lambda: httpx.get(live, trust_env=False).status_code == 200)
        yield started


@contextmanager
def scrape(folder: Path, program: Path, ports: dict[str, int]) -> Iterator[httpx.Client]:
    """Run Prometheus over the shipped rules with the ports of this run; yield a client."""
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(SHIPPED / "alerts.yml")]
    for target in config["scrape_configs"][0]["static_configs"]:
        target["targets"] = [f"127.0.0.1:{ports[target['labels']['role']]}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    command = [
        str(program),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (
        process(folder / "prometheus.log", command, cwd=folder),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client,
    ):
        wait_for("Prometheus", lambda: client.get("/-/ready").status_code == 200)
        wait_for("both targets", lambda: len(ask(client, "up == 1")) == 2)
        yield client


def use(api: httpx.Client, folder: Path, environment: dict[str, str]) -> str:
    """Use the deployment a little; return the id of the trace of a backtest."""
    api.post("/api/users/register", json=_ANSWER).raise_for_status()
    token = api.post("/api/users/login", json=_ANSWER).json()["access_token"]
    api.headers["Authorization"] = f"Bearer {token}"
    body = {"name": "Pension", "currency": "USD", "targets": {"AAPL": 0.5, "KO": 0.5}}
    opened = api.post("/api/portfolios", json=body | {"cash": "1000"})
    opened.raise_for_status()
    asked = api.post(
        "/api/rebalance/predict", json={"portfolio_id": opened.json()["id"], "policy": "monthly"}
    )
    asked.raise_for_status()
    subprocess.run(
        [REBALANCER, "batch", "--all", "--policy", "monthly", "--workers", "1"],
        env=environment,
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for path in ("/api/portfolios", "/api/nothing", "/health/ready"):
        for _ in range(20):
            api.get(path)
    # No provider can be reached here; its fault is an outcome, too.
    api.get("/api/market/assets", params={"query": "KO", "everywhere": "true"})
    started = api.post("/api/backtest", json={"policies": ["monthly"]})
    started.raise_for_status()
    job = f"/api/jobs/{started.json()['id']}"
    wait_for("the backtest", lambda: api.get(job).json()["state"] == "succeeded")
    print("shown: a portfolio, a proposal, a batch, and a backtest by the worker")
    return started.headers["x-request-id"]


def check_trace(collector: Collector, trace: str) -> None:
    """Check that one trace has the request, the job in the worker, and their transactions."""

    def named(name: str) -> list[Any]:
        return [one for one in collector.trace(trace) if one.name == name]

    wait_for("the span of the job", lambda: named("job backtest"))
    wait_for("the span of the request", lambda: named("POST /api/backtest"))
    (request,), (job,) = named("POST /api/backtest"), named("job backtest")
    parents = {one.parent for one in collector.trace(trace) if one.name.startswith("store ")}
    if request.parent or not {request.id, job.id} <= parents:
        raise AssertionError(f"the trace is incomplete: {collector.trace(trace)}")
    if job.parent not in {one.id for one in collector.trace(trace)}:
        raise AssertionError("the job does not belong to its request")
    spans = len(collector.trace(trace))
    print(f"shown: one trace from the request to the worker's job and the store, {spans} spans")


def check_expressions(prometheus: httpx.Client) -> None:
    """Ask every expression of the dashboard and the alerts, and every metric in them."""
    shown = dashboard()
    names = {name for one in (*shown, *alerts()) for name in _NAME.findall(one)}
    for name in sorted(names - EMPTY):
        wait_for(f"data of {name}", lambda name=name: ask(prometheus, name))  # type: ignore[misc]  # bound here
    for one in shown:
        if not EMPTY & set(_NAME.findall(one)):
            wait_for(f"data of {one}", lambda one=one: ask(prometheus, one))  # type: ignore[misc]  # bound here
    for one in alerts():
        ask(prometheus, one)
    print(
        f"shown: {len(shown)} expressions of the dashboard return data, {len(alerts())} of alerts "
        f"are valid, over {len(names)} metrics"
    )


def check_alert(prometheus: httpx.Client, worker: subprocess.Popen[bytes]) -> None:
    """Kill the worker, and wait until the alert about it is pending."""
    worker.kill()

    def state() -> str:
        found = prometheus.get("/api/v1/alerts").json()["data"]["alerts"]
        return next(
            (one["state"] for one in found if one["labels"]["alertname"] == "RebalancerDown"), ""
        )

    wait_for("the alert", lambda: state() in ("pending", "firing"))
    print("shown: RebalancerDown is raised after kill -9 of the worker")


def ask(prometheus: httpx.Client, expression: str) -> list[Any]:
    """Return the result of an expression; raise if it is invalid."""
    answer = prometheus.get("/api/v1/query", params={"query": expression}).json()
    if answer["status"] != "success":
        raise AssertionError(f"{expression}: {answer['error']}")
    result: list[Any] = answer["data"]["result"]
    return result


def dashboard() -> list[str]:
    """Return the expressions of the dashboard."""
    document = json.loads((SHIPPED / "dashboard.json").read_text(encoding="utf-8"))
    return [
        target["expr"].replace("$__rate_interval", INTERVAL)
        for panel in document["panels"]
        for target in panel.get("targets", ())
    ]


def alerts() -> list[str]:
    """Return the expressions of the alerts."""
    document = yaml.safe_load((SHIPPED / "alerts.yml").read_text(encoding="utf-8"))
    return [rule["expr"] for group in document["groups"] for rule in group["rules"]]


if __name__ == "__main__":
    sys.exit(main())
