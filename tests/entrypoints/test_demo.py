import json
import re

import pytest

from rebalancer.domain.errors import Unavailable
from rebalancer.entrypoints.cli.screen import console
from rebalancer.entrypoints.cli.tour import tour


def test_demo_shows_proposal_backtest_and_api(rebalancer, tmp_path):
    done = rebalancer("demo", "--out", tmp_path / "there")
    assert (done.code, done.stderr) == (0, "")
    for text in (
        *("Orders", "why", "Not traded", "Before and after", "What simple rules would trade"),
        *(
            "buy_and_hold",
            "hierarchical_risk_parity",
            "ppo",
            "Sharpe",
            "survivors",
            "not personal advice",
        ),
    ):
        assert text in done.stdout, text
    walked = re.findall(r"^(POST|GET ) (/api/\S+)  (\d+), \d+ ms$", done.stdout, re.MULTILINE)
    assert [status for *_, status in walked] == [
        *("201", "200", "200", "200", "201", "201"),
        *("200", "200", "201"),
        *("201", "200", "201", "200", "200", "200", "201"),  # two currencies
    ]
    for text in (
        "AAPL 2020-08-31 split: 10 shares became 4 times as many",
        "KO 2020-09-14 dividend: 41.00 USD for 100 shares, exchanged for 34.52 EUR",
        "40 AAPL at 130.74 USD, 100 KO at 50.86 USD",
    ):
        assert text in done.stdout, text
    assert "executed on paper" in done.stdout and "no rebalancing" in done.stdout
    report, example = tmp_path / "there" / "backtest.html", tmp_path / "there" / "portfolio.json"
    assert f"Report with plots: {report}" in done.stdout
    assert "survivors" in report.read_text(encoding="utf-8")
    assert json.loads(example.read_text(encoding="utf-8"))["id"] == "demo"
    suggested = re.findall(r"^  \S*rebalancer (.+)$", done.stdout, flags=re.MULTILINE)
    assert len(suggested) == 3
    for command in suggested:
        tried = rebalancer(*command.split())
        assert (tried.code, tried.stderr) == (0, ""), command


def test_tour_fails_if_server_does_not_start(monkeypatch, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\necho no such thing >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(Unavailable, match="the server did not start: no such thing") as error:
        tour(console())
    assert error.value.code == "server_not_started"


def test_demo_rejects_unusable_folder(rebalancer, write):
    write("file", "")
    done = rebalancer("demo", "--out", "file")
    assert done.code == 2 and "out: cannot write file/portfolio.json" in done.stderr
