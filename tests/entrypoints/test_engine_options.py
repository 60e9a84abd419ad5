"""Commands refuse an engine that cannot be used, before they write anything."""

import sqlite3
import sys

import pytest


def runs(database):
    with sqlite3.connect(database.removeprefix("sqlite:///")) as connection:
        return connection.execute("SELECT count(*) FROM batch_runs").fetchone()[0]


BATCH = ("batch", "--all", "--policy", "band", "--prices", "sample", "--engine", "ray")


def test_ray_that_is_not_installed_is_a_sentence(quickly, database, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.delenv(name, raising=False)
    done = quickly(*BATCH)
    assert done.code == 1 and "pip install 'rebalancer[ray]'" in done.stderr
    assert runs(database) == 0


def test_cluster_on_a_network_needs_a_token(quickly, database, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    done = quickly(*BATCH, "--address", "10.0.0.1:6379")
    assert done.refused("address: 10.0.0.1:6379 is on a network", "RAY_AUTH_MODE=token")
    assert runs(database) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--all", "--address", "127.0.0.1:6379"), "--address needs --engine ray"),
        (("--portfolios", "a.jsonl", "--out", "b.jsonl", "--engine", "ray"), "needs --all"),
        (("--all", "--background", "--engine", "ray"), "cannot be combined with --background"),
    ],
)
def test_conflicting_options_are_refused(quickly, arguments, message):
    assert quickly("batch", "--policy", "band", *arguments).refused(message)
