import re
import xml.etree.ElementTree as ElementTree

import attrs
import numpy as np
import pytest

from rebalancer.adapters.report import drawing
from rebalancer.adapters.report.drawing import Line, Whisker
from rebalancer.adapters.report.evaluation import POINTS, HtmlEvaluations
from rebalancer.application.reporting import tables
from rebalancer.domain.backtest.evaluation import CashReturns, evaluate
from rebalancer.domain.backtest.findings import conclude
from rebalancer.domain.backtest.thresholds import PromotionThresholds
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.policy.rules import parse_rule
from tests.builders import backtest_settings, prices


def an_evaluation(*names, assets=3, rows=400, seed=1, first=60, **options):
    history = prices(assets, rows, seed=seed)
    settings = backtest_settings(history, first=first)
    cash = [CashReturns("0", np.zeros(rows))]
    return evaluate([parse_rule(name) for name in names], settings, cash, **options)


NAMES = ("trend:window=40", "weekly")
PANELS = {
    "us.csv": an_evaluation(*NAMES, chosen_rule="band"),
    "eu.csv": an_evaluation(*NAMES, chosen_rule="band", seed=2, rows=380),
}
BEWARE = Caution("beware", "Beware.")
FINDINGS = conclude(
    PANELS,
    PromotionThresholds(),
    counted="Trials: 2, as given.",
    cautions=(BEWARE,),
)
PAGE = HtmlEvaluations().render(FINDINGS)


def drawings(page):
    found = re.findall(r'<svg class="drawing".*?</svg>', page, re.DOTALL)
    return {tree.get("aria-label"): tree for tree in map(ElementTree.fromstring, found)}


def labels(tree, kind="polyline"):
    return [each.findtext("title") for each in tree.iter(kind)]


def text_of(page):
    return re.sub(r"<[^>]+>", "", page.replace("<wbr>", ""))


def test_page_is_self_contained():
    assert PAGE.startswith("<!DOCTYPE html>") and PAGE.endswith("</main></body></html>\n")
    assert not re.search(r"https?:|src=|href=|@import|<script|url\(", PAGE)
    assert "<!--" not in PAGE and "/*palette*/" not in PAGE
    assert HtmlEvaluations().render(FINDINGS) == PAGE


def test_page_has_every_table_and_sentence_of_the_terminal():
    text = text_of(PAGE).replace("\u2212", "-")
    every = [tables.pooled(FINDINGS)]
    for name, done in PANELS.items():
        every += [tables.figures(name, done), tables.gains(done)]
        for sentence in tables.verdicts(done):
            assert sentence.replace("\u2212", "-") in unescaped(text)
    for table in every:
        assert table.title in unescaped(text)
        for section in table.sections:
            for row in section:
                for cell in row:
                    assert cell in unescaped(text)
    for expected in ("Trials: 2, as given.", "Beware.", "Thirds of the window"):
        assert expected in text
    for promotion in FINDINGS.promotions:
        assert promotion.lines[0] in unescaped(text)
        for each in promotion.criteria:
            assert each.sentence in unescaped(text)


def unescaped(text):
    return (
        text.replace("&gt;", ">").replace("&lt;", "<").replace("&#39;", "'").replace("&amp;", "&")
    )


def test_each_panel_has_curves_and_drawdowns_of_policies_and_baselines():
    found = drawings(PAGE)
    for panel in PANELS:
        for what in ("Growth of 1 invested", "Drawdown"):
            drawn = labels(found[f"{what}, {panel}"])
            assert drawn[:2] == list(NAMES)
            assert {"monthly", "band", "band (best on training data)"} <= set(drawn)
            assert "monthly, as exposed as trend:window=40" in drawn
        assert labels(found[f"Gain over monthly by trading cost, {panel}"]) == list(NAMES)


def test_intervals_are_drawn_by_panel_and_pooled():
    tree = drawings(PAGE)["Gain of Sharpe ratio, trend:window=40 over monthly"]
    gains = [panel.policies[0].strictest.baseline.gain for panel in PANELS.values()]
    gains.append(FINDINGS.pooled[0].strictest[0].gain)
    found = labels(tree, "g")
    for line, name, gain in zip(found, [*PANELS, "all together"], gains, strict=True):
        assert line == (
            f"{name}: {gain.estimate:+.2f}, 95% from {gain.low:+.2f} to {gain.high:+.2f}"
        )
    assert [each.get("class") for each in tree.iter("g")] == [None, None, "strong"]


def test_texts_are_escaped():
    nasty = '<img src="x">&'
    findings = attrs.evolve(
        FINDINGS,
        panels={nasty: PANELS["us.csv"]},
        cautions=(Caution("nasty", nasty),),
        counted=nasty,
    )
    page = HtmlEvaluations().render(findings)
    assert "<img" not in page
    assert page.count("&lt;img src=&#34;x&#34;&gt;&amp;") > 4
    drawings(page)


def test_seeds_are_shown_in_ascending_order():
    done = PANELS["us.csv"]
    judgement = attrs.evolve(done.policies[0].strictest, seeds=(0.3, -0.12, 0.1))
    evaluation = attrs.evolve(done.policies[0], judgements=(judgement,))
    page = HtmlEvaluations().render(
        attrs.evolve(FINDINGS, panels={"us.csv": attrs.evolve(done, policies=(evaluation,))})
    )
    cells = "<td>\u22120.12</td><td>+0.10</td><td>+0.30</td>"
    assert cells in page
    assert "its 3 seeds alone gain +0.10 over monthly (median), from -0.12 to +0.30." in text_of(
        page
    )
    assert "<h3>Seeds</h3>" not in PAGE


def test_short_window_is_shown_as_inconclusive():
    short = an_evaluation("weekly", rows=100, first=60)
    page = HtmlEvaluations().render(conclude({"short.csv": short}, PromotionThresholds()))
    assert "No panel is long enough for an interval." in page
    assert "a gain was not tested" in page
    assert "no conclusion" in page


def test_long_window_is_thinned_but_keeps_its_deepest_drawdown():
    long = an_evaluation("weekly", rows=3_000, first=10)
    page = HtmlEvaluations().render(conclude({"long.csv": long}, PromotionThresholds()))
    tree = drawings(page)["Drawdown, long.csv"]
    for line in tree.iter("polyline"):
        points = [tuple(map(float, each.split(","))) for each in line.get("points").split()]
        assert POINTS - 30 < len(points) <= POINTS
        assert points == sorted(points, key=lambda point: point[0])
    heights = [float(each.split(",")[1]) for each in line.get("points").split()]
    (text, y), *_ = [
        (each.text, float(each.get("y")) - 4)
        for each in tree.iter("text")
        if each.get("text-anchor") == "end" and each.text not in ("0%", "-0%")
    ]
    # The scale by one tick and by 0, the deepest point against the figure in the table.
    zero = float(next(each for each in tree.iter("line") if each.get("class") == "zero").get("y1"))
    deepest = (max(heights) - zero) / (y - zero) * float(text.rstrip("%")) / 100
    comparison = long.policies[0].strictest.comparisons[1]
    assert labels(tree)[-1] == comparison.against
    assert -deepest == pytest.approx(comparison.performance.max_drawdown, abs=0.003)


def test_line_is_drawn_to_scale():
    page = drawing.draw_lines(
        [Line("a", 0, np.array([0.0, 5.0, 10.0]), np.array([1.0, 10.0, 100.0]))],
        title="t",
        across=lambda low, high: [(each, f"{each:g}") for each in drawing.round_ticks(low, high)],
        up="{:g}".format,
        log=True,
        height=236.0,
    )
    tree = ElementTree.fromstring(page)
    (line,) = tree.iter("polyline")
    (x1, y1), (x2, y2), (x3, y3) = (
        tuple(map(float, each.split(","))) for each in line.get("points").split()
    )
    assert (x1, x3) == (58, 988)
    assert x2 == pytest.approx((x1 + x3) / 2, abs=0.1)
    assert y2 == pytest.approx((y1 + y3) / 2, abs=0.1)  # equal factors, equal heights
    assert 10 < y3 < y1 < 210
    assert {"1", "2", "5", "10", "20", "50", "100"} < {each.text for each in tree.iter("text")}


def test_whiskers_share_one_scale_that_contains_zero():
    tree = ElementTree.fromstring(
        drawing.draw_whiskers(
            [Whisker("a", 0, 0.2, 0.1, 0.3), Whisker("b", 1, 0.4, 0.2, 0.6, strong=True)], title="t"
        )
    )
    (zero,) = [each for each in tree.iter("line") if each.get("class") == "zero"]
    first, second = (float(each.get("cx")) for each in tree.iter("circle"))
    assert second - first == pytest.approx(first - float(zero.get("x1")), abs=0.2)
    ends = [
        (float(each.get("x1")), float(each.get("x2")))
        for each in tree.iter("line")
        if each.get("class") == "line"
    ]
    assert ends[1][1] - ends[1][0] == pytest.approx(2 * (ends[0][1] - ends[0][0]), abs=0.2)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 50, [0, 10, 20, 30, 40, 50]),
        (-0.33, 0.21, [-0.3, -0.2, -0.1, 0, 0.1, 0.2]),
        (0.5, 0.5, [0.5]),
    ],
)
def test_round_ticks(low, high, expected):
    assert drawing.round_ticks(low, high) == pytest.approx(expected)


def test_log_ticks_and_calendar_ticks():
    assert drawing.log_ticks(0.8, 12) == [1, 2, 5, 10]
    assert drawing.log_ticks(0.97, 1.31) == pytest.approx([1.0, 1.1, 1.2, 1.3])

    def ticks(first, last):
        days = (float(np.datetime64(each, "D").astype(int)) for each in (first, last))
        return [text for _, text in drawing.calendar_ticks(*days)]

    assert ticks("2000-06-01", "2012-06-01") == ["2002", "2004", "2006", "2008", "2010", "2012"]
    assert ticks("2020-01-01", "2020-07-15") == ["2020-01", "2020-04", "2020-07"]
    assert ticks("2020-01-06", "2020-01-08") == ["2020-01-06", "2020-01-07", "2020-01-08"]
    assert ticks("2020-01-06", "2020-01-07") == ["2020-01-06", "2020-01-07"]
