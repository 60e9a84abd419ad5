import re
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

from tests.e2e.conftest import answers, until
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT, running

PASSWORD = "a long sentence is best"
KEY = "q8Zt-4mWc_R7yBn2Kd9sLx0PvGh6Ue3JfA1oTi5Ha"


def logged_in(client, email="ada@example.org"):
    who = {"email": email, "password": PASSWORD}
    assert client.post("/api/users/register", json=who).status_code == 201
    login = client.post("/api/users/login", json=who).json()
    client.headers["Authorization"] = f"Bearer {login['access_token']}"
    return login


def test_registration_to_performance_survives_a_restart(serve, tmp_path):
    (tmp_path / "rebalancer.db").unlink()  # so that the server creates it
    server = serve("--upgrade")
    with server.client() as client:
        login = logged_in(client)
        opened = client.post(
            "/api/portfolios",
            json={
                "name": "Retirement",
                "targets": {"AAPL": 0.3, "KO": 0.3, "PG": 0.3},
                "cash": "10000",
                "on": "2021-01-04",
            },
        )
        assert opened.status_code == 201, opened.text
        portfolio = opened.headers["Location"]
        asked = {"portfolio_id": opened.json()["id"], "as_of": "2021-01-04"}
        proposed = client.post("/api/rebalance/predict", json=asked)
        assert proposed.status_code == 201 and len(proposed.json()["orders"]) == 3
        accepted = client.post(f"{proposed.headers['Location']}/accept")
        assert (accepted.status_code, accepted.json()["stage"]) == (200, "executed")
        done = client.get(f"{portfolio}/performance", params={"benchmark": "KO"}).json()
        assert (done["first"], done["last"]) == ("2021-01-04", "2022-12-28")
        assert done["contributed"] == 10_000
        before = client.get(portfolio).json()
    assert server.stop() == 0

    text = server.log.read_text()
    secrets = (PASSWORD, login["access_token"], login["refresh_token"], "benchmark", "10000")
    assert not [secret for secret in secrets if secret in text]
    requests = [line for line in server.lines if line["message"] == "request"]
    assert {"method", "path", "status", "ms"} <= set(requests[0])
    assert [line["path"] for line in requests if line["method"] == "POST"][:3] == [
        "/api/users/register",
        "/api/users/login",
        "/api/portfolios",
    ]
    assert all({"time", "level", "logger", "process", "message"} <= set(x) for x in server.lines)

    again = serve()
    with again.client(headers={"Authorization": f"Bearer {login['access_token']}"}) as client:
        assert client.get(portfolio).json() == before
        assert client.get("/health/ready").json()["status"] == "ok"
    assert again.stop(signal.SIGINT) == 0


def test_demo_account_works_and_is_created_once(serve):
    for _ in range(2):
        server = serve("--upgrade", "--demo", "--workers", "2")
        line = server.process.stdout.readline()
        address, password = re.fullmatch("Log in as (.+) with the password: (.+)\n", line).groups()
        with server.client() as client:
            who = {"email": address, "password": password}
            login = client.post("/api/users/login", json=who)
            assert login.status_code == 200, line
            client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
            (portfolio,) = client.get("/api/portfolios").json()["items"]
            assert len(portfolio["holdings"]) == 4
            done = client.get(f"/api/portfolios/{portfolio['id']}/performance").json()
            assert done["first"] == "2021-01-04"
            docs = client.get("/docs")
            assert docs.status_code == 200 and f"{server.address}/docs" in server.first_line
        assert server.stop() == 0


def test_ended_login_stays_ended_after_a_crash(serve):
    account = {"email": "ada@example.org", "password": "correct horse battery staple"}
    server = serve("--upgrade")
    with server.client() as client:
        client.post("/api/users/register", json=account)
        ended, other = (client.post("/api/users/login", json=account).json() for _ in range(2))
        gone = {"refresh_token": ended["refresh_token"]}
        assert client.post("/api/users/logout", json=gone).status_code == 204
    server.stop(signal.SIGKILL)
    with serve().client() as client:
        statuses = [
            client.get(
                "/api/users/profile", headers={"Authorization": f"Bearer {token}"}
            ).status_code
            for token in (ended["access_token"], other["access_token"])
        ]
    assert statuses == [401, 200]


@pytest.mark.parametrize("wait", [0.0, 0.3, 3.0])  # while workers start, and while they serve
def test_workers_end_with_their_parent(serve, wait):
    server = serve("--upgrade", "--workers", "2")
    messages = [line["message"] for line in server.lines]
    workers = [
        int(line.rpartition(" ")[2]) for line in messages if line.startswith("Spawning worker")
    ]
    assert workers
    time.sleep(wait)
    server.stop(signal.SIGKILL)
    until(lambda: not answers(server) and not any(map(running, workers)))


def test_log_level_suppresses_lower_records(serve):
    server = serve("--upgrade", env={"REBALANCER_LOG_LEVEL": "error"})
    assert server.stop() == 0
    assert server.lines == []


@pytest.fixture
def refused(tmp_path):
    def run(*options, env=None):
        done = subprocess.run(
            [COMMAND, "serve", *options],
            capture_output=True,
            encoding="utf-8",
            env=ENVIRONMENT | (env or {}),
            cwd=tmp_path,
            timeout=120,
        )
        assert (done.returncode, done.stdout) == (2, ""), done
        (line,) = done.stderr.splitlines()
        return line

    return run


def test_database_without_current_schema_is_refused(refused, tmp_path):
    remedy = "Run `rebalancer db upgrade`, or `rebalancer serve --upgrade`."
    line = refused("--port", "0")
    assert "has no tables" in line and remedy in line
    subprocess.run([COMMAND, "db", "upgrade"], env=ENVIRONMENT, cwd=tmp_path, check=True)
    with sqlite3.connect(tmp_path / "rebalancer.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()
    line = refused("--port", "0")
    assert "is at revision 0000" in line and remedy in line
    assert "does not know" in refused("--port", "0", "--upgrade")


def test_port_in_use_is_refused(refused, serve):
    server = serve("--upgrade")
    port = server.address.rpartition(":")[2]
    assert f"port: cannot listen on port {port}: another program" in refused("--port", port)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port: cannot listen on port {port}" in refused("--port", port)


@pytest.mark.parametrize(
    ("options", "env", "fragment"),
    [
        (
            ["--host", "0.0.0.0"],
            {},
            "a secret key is required to listen on 0.0.0.0",
        ),
        ([], {"ENVIRONMENT": "production"}, "a secret key is required outside development"),
        (
            ["--demo"],
            {
                "ENVIRONMENT": "production",
                "SECRET_KEY": KEY,
                "ENCRYPTION": "off",
            },
            "demo: the demo account has a public password",
        ),
        (["--demo"], {"PRICES": "prices.csv"}, "demo: the demo account needs the sample prices"),
        ([], {"PRICES": "missing.csv"}, "missing.csv"),
        ([], {"DATABASE_URL": "mysql://host/db"}, "database: the URL names no database"),
        (
            ["--host", "unknown.invalid", "--upgrade"],
            {"SECRET_KEY": KEY},
            "host: 'unknown.invalid' is not an address, and its name cannot be resolved",
        ),
        (
            ["--host", "192.0.2.1", "--upgrade"],
            {"SECRET_KEY": KEY},
            "host: cannot bind to 192.0.2.1: not a local address",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list | dict) else "",
)
def test_invalid_setup_is_refused(refused, options, env, fragment):
    assert fragment in refused(*options, env={f"REBALANCER_{k}": v for k, v in env.items()})
