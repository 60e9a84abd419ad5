"""`rebalancer market show --indicators`."""

from __future__ import annotations


def test_indicators_are_shown_in_the_terminal_as_json_and_as_a_page(quickly, market, tmp_path):
    asked = ("market", "show", "A", "--prices", market, "--indicators", "rsi:14,bollinger,drawdown")
    shown = quickly(*asked, "--plot", "a.html")
    assert shown.code == 0, shown.stderr
    assert all(name in shown.stdout for name in ("rsi:14", "bollinger_upper", "drawdown", "█"))
    page = (tmp_path / "a.html").read_text()
    assert page.count("<polyline") == 6  # a close with three bands, and two others
    document = quickly(*asked, "--json").json
    assert len(document["days"]) == len(document["indicators"]["rsi:14"])
    assert document["indicators"]["rsi:14"][0] is None


def test_wrong_requests_name_the_option(quickly, market):
    asked = ("market", "show", "A", "--prices", market)
    assert quickly(*asked, "--indicators", "rsi:x").refused("indicators", "whole number")
    assert quickly(*asked, "--plot", "a.html").refused("plot", "--indicators")
    assert quickly(*asked, "--indicators", "obv").refused("needs volume")
