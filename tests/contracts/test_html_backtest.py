import json
import re
import sys
from html import unescape

import attrs
import numpy as np
import pytest
from markupsafe import escape

from rebalancer.adapters.report.backtest import LARGEST, POINTS, HtmlBacktests
from rebalancer.domain.backtest.evidence import ConfidenceInterval
from rebalancer.domain.backtest.result import Backtest, EquityPath, Performance, PolicyResult
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.caution import Caution

FIGURES = {
    "final_value": 7.341,
    "cagr": 0.0987,
    "volatility": 0.1612,
    "sharpe": 0.664,
    "sortino": 0.951,
    "calmar": 0.24,
    "max_drawdown": 0.4137,
    "longest_drawdown": 1234,
    "value_at_risk": 0.01571,
    "expected_shortfall": 0.0243,
    "turnover_per_year": 0.289,
    "orders": 5016,
    "orders_per_year": 228.0,
    "cost_paid": 0.0561,
    "average_exposure": 0.998,
    "tracking_error": 0.031,
    "information_ratio": -0.214,
    "turnover": 0.867,
}


def a_result(policy, *, rows, assets, seed=0, invested=1.0, **figures):
    rng = np.random.default_rng(seed)
    weights = invested * rng.dirichlet(np.ones(max(assets, 1)), rows)[:, :assets]
    path = EquityPath(
        values=np.exp(np.cumsum(invested * rng.normal(0.0003, 0.01, rows))),
        weights=weights,
        costs=invested * rng.uniform(0, 1e-5, rows),
        orders=rng.integers(0, 3, rows),
        turnover=invested * rng.uniform(0, 0.01, rows),
    )
    return PolicyResult(policy, path, Performance(**FIGURES | figures))


def with_values(result, values):
    return attrs.evolve(result, path=attrs.evolve(result.path, values=values))


def a_backtest(*policies, rows=300, assets=3, symbols=None, cautions=(), results=None):
    names = policies or ("rebalance:every=21", "band:width=0.05")
    return Backtest(
        np.datetime64("2020-01-01") + np.arange(rows),
        symbols or tuple(f"A{at}" for at in range(assets)),
        "10 bps of traded value, each side",
        results
        or tuple(
            a_result(name, rows=rows, assets=assets, seed=at) for at, name in enumerate(names)
        ),
        cautions,
    )


def render_backtest(backtest):
    return HtmlBacktests().render(backtest)


def own(page):
    """The page without the source of plotly.js."""
    return re.sub(r"<script>/\*\*\n\* plotly\.js.*?</script>", "", page, flags=re.DOTALL)


def data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))


def rows_of(page):
    """The table: policy -> what its cells read, marked cells with an asterisk."""
    found = {}
    for row in re.findall(r'<tr><th scope="row">.*?</tr>', page, re.DOTALL):
        name = re.search(r"<span>(.*?)</span>", row).group(1).replace("<wbr>", "")
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
        found[unescape(name)] = [re.sub(r"<b>(.*)</b>", r"*\1", cell) for cell in cells]
    return found


def test_page_is_self_contained():
    page = render_backtest(a_backtest())
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("* plotly.js v") == 1
    assert len(own(page)) < 100_000
    assert not re.search(r"""<script[^>]+src|<link|<img|<iframe|@import|url\(|https?:""", own(page))
    # What plotly.js could still ask for, the page forbids.
    assert "Content-Security-Policy\" content=\"default-src 'none'" in page


def test_rendering_is_deterministic():
    assert render_backtest(a_backtest(rows=2_000)) == render_backtest(a_backtest(rows=2_000))


def test_hostile_texts_are_escaped():
    nasty = "</script><script>alert('x')</script>&\"<b>"
    page = own(
        render_backtest(
            attrs.evolve(
                a_backtest(nasty, symbols=(nasty, "B", "C"), cautions=(Caution("nasty", nasty),)),
                cost_label=nasty,
            )
        )
    )
    assert "alert" in page
    assert "<script>alert" not in page
    assert page.count("</script>") == 2
    assert f"<li>{escape(nasty)}</li>" in page
    assert list(rows_of(page)) == [nasty]
    # plotly renders a few tags in names: it must see entities.
    found = data(page)
    assert found["policies"][0]["label"] in found["assets"]
    assert "<" not in "".join(found["assets"])
    assert nasty in map(unescape, found["assets"])


def test_table_has_every_figure_of_every_policy():
    names = [f"volatility_target:target=0.{at:02}" for at in range(14)]
    table = rows_of(own(render_backtest(a_backtest(*names))))
    assert list(table) == names
    assert " ".join(table[names[0]]) == (
        "7.34 9.9% 16.1% 41.4% 1,234 1.57% 2.43% 0.66 0.95 0.24 28.9% 5,016 228 5.61% 100% 3.1% "
        "\u22120.21 \u2013"
    )


def test_gain_over_monthly_rule_has_its_interval():
    result = attrs.evolve(
        a_result("trend", rows=300, assets=3), gain=ConfidenceInterval(0.1, -0.07, 0.27)
    )
    table = rows_of(own(render_backtest(a_backtest(results=(result,)))))
    assert table["trend"][-1] == "0.10<br><small>\u00b10.17</small>"


def test_best_figure_is_marked_unless_all_are_equal():
    rows, assets = 300, 3
    results = (
        a_result("a", rows=rows, assets=assets, sharpe=0.661, max_drawdown=0.2),
        a_result("b", rows=rows, assets=assets, sharpe=0.662, max_drawdown=0.3),
        a_result("c", rows=rows, assets=assets, sharpe=0.4, max_drawdown=0.1, cagr=-0.00001),
    )
    page = own(render_backtest(a_backtest(results=results)))
    table = rows_of(page)
    assert [cells[7] for cells in table.values()] == ["*0.66", "*0.66", "0.40"]
    assert [cells[3] for cells in table.values()] == ["20.0%", "30.0%", "*10.0%"]
    assert [cells[0] for cells in table.values()] == ["7.34"] * 3
    assert table["c"][1] == "0.0%"


def test_undefined_figure_is_a_dash_and_never_the_best():
    results = (
        a_result("a", rows=9, assets=3, sharpe=float("nan"), calmar=float("inf")),
        a_result("b", rows=9, assets=3),
    )
    table = rows_of(own(render_backtest(a_backtest(results=results, rows=9))))
    assert table["a"][7] == table["a"][9] == "\u2013"
    assert "*" not in "".join(table["a"] + table["b"])


def test_box_of_cautions_is_shown_only_with_cautions():
    page = own(
        render_backtest(a_backtest(cautions=(Caution("survivors", "Only survivors are in here."),)))
    )
    assert "<li>Only survivors are in here.</li>" in page
    assert "<aside" not in own(render_backtest(a_backtest()))


def test_beyond_twenty_assets_the_smaller_share_one_area():
    report = a_backtest(assets=40)
    found = data(render_backtest(report))
    assert len(found["assets"]) == LARGEST + 1
    assert found["assets"][-1] == "others"
    for policy, result in zip(found["policies"], report.results, strict=True):
        areas = np.array(policy["weights"])
        assert areas.shape == (LARGEST + 1, 300)
        assert areas.sum(axis=0) == pytest.approx(10_000, abs=LARGEST)
        largest = report.symbols.index(found["assets"][0])
        assert areas[0] == pytest.approx(result.path.weights[:, largest] * 10_000, abs=0.5)


def test_up_to_twenty_assets_each_has_its_own_area():
    report = a_backtest(assets=20)
    assert sorted(data(render_backtest(report))["assets"]) == sorted(report.symbols)


def test_long_history_is_thinned_with_a_note():
    report = a_backtest(rows=9_000)
    page = render_backtest(report)
    found = data(page)
    assert POINTS // 2 < len(found["dates"]) <= POINTS
    assert found["dates"][0] == str(report.dates[0])
    assert found["dates"][-1] == str(report.dates[-1])
    assert f"draw 9,000 closes as {len(found['dates']):,} points" in page
    for policy, result in zip(found["policies"], report.results, strict=True):
        deepest = (1 - result.path.values / np.maximum.accumulate(result.path.values)).max()
        assert min(policy["drawdown"]) == pytest.approx(-100 * deepest, abs=0.01)
        assert policy["cost"][-1] == pytest.approx(100 * result.path.costs.sum(), abs=0.001)
        last = result.path.values[-253:]
        returns = last[1:] / last[:-1] - 1
        sharpe = returns.mean() / returns.std(ddof=1) * 252**0.5
        assert policy["sharpe"][-1] == pytest.approx(sharpe, abs=0.001)
        assert policy["sharpe"][0] is None


def test_single_policy_has_no_best_figure():
    page = own(render_backtest(a_backtest("equal")))
    assert "Backtest: 1 policy, 3 assets" in page
    assert "*" not in "".join(rows_of(page)["equal"])


def test_policy_in_cash_alone_is_drawn():
    idle = with_values(a_result("idle", rows=300, assets=3, invested=0.0), np.ones(300))
    found = data(render_backtest(a_backtest(results=(idle,))))["policies"][0]
    assert set(found["cash"]) == {10_000}
    assert set(map(max, found["weights"])) == {0}
    assert set(found["drawdown"]) == {0.0}
    assert set(found["sharpe"]) == {None}


def test_two_rows_have_no_rolling_sharpe():
    page = render_backtest(a_backtest(rows=2))
    assert data(page)["dates"] == ["2020-01-01", "2020-01-02"]
    assert 'id="sharpe"' not in own(page)
    assert "sharpe" not in data(page)["policies"][0]


def test_policy_that_lost_everything_is_drawn():
    values = np.r_[np.ones(150), np.zeros(150)]
    ruined = with_values(a_result("ruined", rows=300, assets=3), values)
    found = data(render_backtest(a_backtest(results=(ruined,))))["policies"][0]
    assert found["wealth"][-1] is None
    assert found["drawdown"][-1] == -100.0


def test_error_without_plotly_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(Unavailable, match=r"pip install 'rebalancer\[report\]'"):
        render_backtest(a_backtest())


def test_costs_of_the_first_close_are_drawn_as_drawdown():
    result = with_values(a_result("a", rows=9, assets=3), np.full(9, 0.95))
    found = data(render_backtest(a_backtest(rows=9, results=(result,))))["policies"][0]
    assert found["drawdown"] == [-5.0] * 9
