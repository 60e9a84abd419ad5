"""The local internet serves real clients, and shows them real faults."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import pytest

from tests.internet import Internet, Reply, Request, environment


def echo(request: Request) -> Reply:
    return Reply(body=json.dumps({"path": request.path, "q": request.parameter("q")}))


@pytest.fixture
def internet(tmp_path):
    hosts = {
        "api.example.com": echo,
        "cut.example.com": lambda _: Reply(body='{"whole": true}', cut_after=5),
        "gone.example.com": lambda _: Reply(hang_up=True),
        "broken.example.com": echo,
        "busy.example.com": lambda _: Reply(429, headers={"retry-after": "7"}),
    }
    with (
        Internet(hosts, broken_tls=("broken.example.com",)) as running,
        environment(running.environment(tmp_path)),
    ):
        yield running


def test_a_real_client_reaches_a_host_by_its_name(internet):
    answer = httpx.get("https://api.example.com/prices", params={"q": "VTI"})
    assert answer.json() == {"path": "/prices", "q": "VTI"}
    assert [one.path for one in internet.requests("api.example.com")] == ["/prices"]


def test_a_client_that_impersonates_a_browser_reaches_it_too(internet):
    requests = pytest.importorskip("curl_cffi.requests")
    session = requests.Session(impersonate="chrome")
    assert session.get("https://api.example.com/x?q=1").json()["q"] == "1"
    session.close()


def test_subprocesses_use_it_through_their_environment(internet):
    code = "import httpx; print(httpx.get('https://api.example.com/sub').json()['path'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "/sub"


@pytest.mark.parametrize("host", ["cut", "gone", "broken", "unknown"])
def test_faults_are_those_of_a_real_network(internet, host):
    with pytest.raises(httpx.TransportError):
        httpx.get(f"https://{host}.example.com/")


def test_statuses_and_headers_arrive(internet):
    answer = httpx.get("https://busy.example.com/")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


def test_one_connection_serves_many_requests(internet):
    with httpx.Client() as client:
        for number in range(20):
            assert client.get(f"https://api.example.com/{number}").status_code == 200
    assert len(internet.requests("api.example.com")) == 20
