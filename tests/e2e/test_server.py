import re
import signal
import time

import pytest

from tests.e2e.conftest import answers, until
from tests.entrypoints.conftest import running

PASSWORD = "a long sentence is best"


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
        assert "strict-transport-security" not in opened.headers  # which TLS alone allows
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
    for workers in ("2", "1"):
        server = serve("--upgrade", "--demo", "--workers", workers)
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


@pytest.mark.parametrize("wait", [0.0, 3.0])  # while workers start, and while they serve
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
