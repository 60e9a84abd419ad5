"""Commands whose database or Redis server cannot be used: a sentence and a documented exit code."""

import pytest
from sqlalchemy import make_url

from tests.packets import Relay
from tests.servers import ClusteredValkey, running


@pytest.fixture(scope="module")
def clustered():
    with running(ClusteredValkey) as server:
        yield server.url


@pytest.fixture(scope="module")
def dead_network(postgres_url):
    """Return the URL of a database whose packets are all dropped."""
    with Relay(make_url(postgres_url).port) as relay, relay.dropping():
        yield make_url(postgres_url).set(port=relay.port).render_as_string(hide_password=False)


@pytest.mark.parametrize("command", [("worker",), ("serve", "--port", "0")])
def test_redis_in_cluster_mode_is_refused_at_start(quickly, clustered, database, command):
    done = quickly(*command, env={"REBALANCER_REDIS_URL": clustered})
    assert done.code == 2
    assert "REBALANCER_REDIS_URL: cluster mode is not supported: " in done.stderr
    assert "with cluster mode off" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("db", "upgrade"),
        ("batch", "--all", "--policy", "band", "--prices", "sample"),
        ("worker",),
        ("serve", "--upgrade", "--port", "0"),
        ("portfolio", "list"),
    ],
)
def test_database_behind_a_dead_network_is_an_error_in_a_sentence(quickly, dead_network, command):
    done = quickly(*command, env={"REBALANCER_DATABASE_URL": dead_network})
    assert done.code == 1
    assert "Error: the database did not answer; try again" in done.stderr
    assert "bug" not in done.stderr
