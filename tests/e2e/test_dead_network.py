"""The API while the packets of its database are dropped."""

from sqlalchemy import make_url

from tests.contracts.databases import new_database
from tests.e2e.conftest import until
from tests.packets import Relay

PATIENCE = 25.0
"""Seconds; 9 are needed on a machine at rest."""


def test_requests_get_503_within_seconds_while_packets_are_dropped(
    serve, postgres_url, postgres_template
):
    with (
        new_database(postgres_url, postgres_template) as url,
        Relay(make_url(url).port) as relay,
    ):
        there = make_url(url).set(port=relay.port).render_as_string(hide_password=False)
        server = serve(env={"REBALANCER_DATABASE_URL": there})
        login = {"email": "ada@example.org", "password": "correct horse battery staple"}
        with server.client(timeout=PATIENCE) as client:
            assert client.post("/api/users/login", json=login).status_code == 401
            with relay.dropping():
                for answer in (
                    client.post("/api/users/login", json=login),
                    client.get("/health/ready"),
                ):
                    assert answer.status_code == 503, answer.text
                    assert int(answer.headers["Retry-After"]) > 0
            until(lambda: client.get("/health/ready").status_code == 200, server.process)
