"""`rebalancer portfolio alerts` and `rebalancer alerts`."""

from __future__ import annotations

from tests.entrypoints.test_store_commands import PORTFOLIO, keep, register, store

__all__ = ["keep", "register", "store"]


def test_alerts_are_chosen_evaluated_and_listed(store, keep):
    (id,) = keep(PORTFOLIO | {"targets": {"C": 0.9}})
    assert "Alerts: none" in store("portfolio", "alerts", "show", id).stdout
    chosen = ("portfolio", "alerts", "set", id)
    assert store(*chosen, "--band", "--drift", "0.1", "--drawdown", "0.9").code == 0
    shown = store(*chosen, "--drawdown", "off", "--json").json["alerts"]["settings"]
    assert (shown["band"], shown["drift"], shown["drawdown"]) == (True, 0.1, None)
    assert store(*chosen, "--drift", "2").refused("drift")
    assert store(*chosen, "--drift", "much").refused("'much' is not a valid float")

    report = store("alerts", "evaluate", "--json").json
    assert report == {"portfolios": 1, "alerts": 4, "proposals": 0}  # A, B, C and the drift
    assert "Evaluated 0 portfolios: 0 new alerts" in store("alerts", "evaluate").stdout
    assert "band A: firing, since" in store("portfolio", "alerts", "show", id).stdout
    listed = store("portfolio", "alerts", "history", id, "--json").json
    assert sorted(one["subject"] for one in listed) == ["", "A", "B", "C"]
    assert "drift" in store("portfolio", "alerts", "history", id, "--limit", "10").stdout


def test_automation_is_chosen_and_stopped(store, keep):
    (id,) = keep(PORTFOLIO)
    change = ("portfolio", "alerts", "automate", id)
    found = store(*change, "--frequency", "monthly", "--auto-accept", "0.1", "20", "5000", "--json")
    limits = {"max_turnover": 0.1, "max_cost": "20", "max_order": "5000"}
    assert found.json["automation"]["auto_accept"] == limits
    assert store(*change, "--auto-accept", "x", "1", "1").refused("'x' is not a number")
    assert store(*change, "--frequency", "never").refused("no proposal is made")
    text = store(*change, "--no-auto-accept", "--on-alert").stdout
    assert "Automatic proposals: monthly, on alert" in text
    assert "Accepted: by the owner" in text

    assert "stopped for all accounts since" in store("alerts", "stop").stdout
    assert "stopped by the operator" in store("portfolio", "alerts", "show", id).stdout
    assert "may run again for all accounts" in store("alerts", "resume").stdout
