"""The checks of real providers, on faked servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.internet import Internet, Reply, environment
from tests.live.__main__ import main
from tests.yahoo_world import World


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.delenv("REBALANCER_TIINGO_KEY", raising=False)
    world = World(today=datetime.now(UTC).date() - timedelta(1))
    hosts = {**world.hosts(), "api.tiingo.com": lambda _: Reply(401, "{}")}
    with Internet(hosts) as internet, environment(internet.environment(tmp_path)):
        yield world


def test_a_provider_that_answers_passes(world, capsys):
    assert main(["ecb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ecb", "ecb"]
    assert all(" ok " in line for line in lines)
    assert "EURUSD: " in lines[0]


def test_faults_are_named_and_end_with_exit_code_3(world, capsys, monkeypatch):
    world.down = True
    monkeypatch.setenv("REBALANCER_TIINGO_KEY", "planted-key-0123456789")
    assert main(["ecb", "tiingo"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert "FAULT" in lines[0]
    (bars, *_) = (line for line in lines if line.startswith("ecb"))
    assert "provider_unreachable: European Central Bank failed with status 503" in bars
    (refused,) = (line for line in lines if "wrong key" in line)
    assert "refused" in refused and " ok " in refused
    assert "planted-key" not in "".join(lines)


def test_providers_without_a_key_are_left_out(world, capsys):
    assert main(["tiingo"]) == 0
    assert "left out: REBALANCER_TIINGO_KEY is not set" in capsys.readouterr().out


def test_an_unknown_name_lists_the_known_ones(capsys):
    assert main(["nobody"]) == 2
    assert "yahoo" in capsys.readouterr().err
