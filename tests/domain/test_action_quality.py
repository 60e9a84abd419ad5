"""Corporate actions that the prices as traded do not show, and true ones that look odd."""

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest

from rebalancer.domain.market.action_quality import (
    check_actions,
    find_huge,
    is_huge,
    is_not_shown,
    is_not_split,
)
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.quality import (
    Decision,
    Decisions,
    Rule,
    Severity,
    Verdict,
)

NOW = datetime(2024, 6, 3, tzinfo=UTC)
DAYS = np.busday_offset(np.datetime64("2024-01-01"), np.arange(60), roll="forward")


def day(row) -> date:
    return DAYS[row].item()


def action(row, value, kind="dividend", **others):
    return CorporateAction("A", day(row), ActionKind(kind), Decimal(str(value)), **others)


def flat(*steps, level=100.0):
    """Return constant closes, which change to a share of themselves on given rows."""
    closes = np.full(60, level) * (1 + 0.0005 * (-1.0) ** np.arange(60))
    for row, factor in steps:
        closes[row:] *= factor
    return closes


def value_of(action, _):
    return float(action.value)


def found(closes, *actions):
    """Return ex-day rows and texts of findings."""
    verdicts = check_actions("A", DAYS, closes, Actions.of(actions).entries, value_of, known=NOW)
    return [(int(np.searchsorted(DAYS, np.datetime64(one.day))), one.note) for one in verdicts]


def history(closes, actions, **terms):
    bars = [Bars("A", DAYS, closes, adjusted=False)]
    return MarketSnapshot.of(bars, Actions.of(actions)).history(PricingTerms("USD", **terms))


@pytest.mark.parametrize(
    ("paid", "after", "huge"),
    [
        (500, 99, True),  # pence on a price in pounds
        (60, 99, True),
        (60, 41, False),  # a special dividend of 60% that the price shows
        (95, 6, False),  # a liquidation
        (40, 99, False),
    ],
)
def test_distribution_of_half_the_price_is_an_error_unless_the_price_falls(paid, after, huge):
    assert is_huge(paid, 100.0, after) == huge


@pytest.mark.parametrize(
    ("paid", "after", "deviation", "missed"),
    [
        (13, 92, 0.005, True),  # a capital gain of 5 counted twice
        (8, 92, 0.005, False),
        (20, 81, 0.01, False),  # a special dividend
        (3, 99.5, 0.01, False),  # within the noise of a share
        (3, 99.5, 0.001, True),
        (1, 101, 0.001, False),
    ],
)
def test_notable_distribution_that_the_price_does_not_show(paid, after, deviation, missed):
    assert is_not_shown(paid, 100.0, after, deviation) == missed


def test_dividends_that_are_not_stated_per_share_of_their_day():
    assert is_not_split(0.80, 0.82, 4.0)
    assert not is_not_split(0.80, 0.205, 4.0)
    assert not is_not_split(0.80, 0.82, 1.05)
    assert is_not_split(0.10, 0.11, 0.1)


def test_findings_about_an_assets_actions():
    assert found(flat((30, 0.98)), action(30, 2)) == []
    ((row, text),) = found(flat((30, 0.92)), action(30, 13, "dividend"))
    assert (row, text.startswith("pays 13 per share, 13.0% of its last close of 99.95")) == (
        30,
        True,
    )
    ((row, _),) = found(flat((30, 0.92)), action(30, 8), action(30, 5, "capital_gain"))[:1]
    assert row == 30
    split = action(30, 4, "split")
    assert found(flat((30, 0.25)), action(10, 0.8), split, action(50, 0.2)) == []
    ((row, text),) = found(flat((30, 0.25)), action(10, 0.8), split, action(50, 0.8))
    assert (row, "with a split of 4 between" in text) == (50, True)


def test_special_dividends_and_dividends_on_the_day_of_a_split_pass():
    assert found(flat((30, 0.75)), action(30, 25)) == []
    assert found(flat((30, 0.98 / 4)), action(30, 2), action(30, 4, "split")) == []
    assert find_huge(DAYS, flat((30, 0.4)), [action(30, 60)], value_of) == []


def test_huge_distribution_is_not_used_until_it_is_accepted():
    closes, dividend = flat(), action(30, 500)
    hidden = history(closes, [dividend])
    assert hidden.quotes.prices is None
    assert len(hidden.quotes.actions) == 0
    accepted = Verdict("A", Rule.IMPLAUSIBLE_DIVIDEND, day(30), Decision.ACCEPT, NOW)
    used = history(closes, [dividend], decisions=Decisions.of([accepted]))
    assert used.closes[-1, 0] / used.closes[0, 0] > 5
    assert len(used.quotes.actions) == 1
    before = Decisions.of([accepted], known_by=datetime(2024, 1, 1, tzinfo=UTC))
    assert len(history(closes, [dividend], decisions=before).quotes.actions) == 0


def test_rejected_distribution_is_not_used():
    closes, dividend = flat((30, 0.92)), action(30, 13)
    assert len(history(closes, [dividend]).quotes.actions) == 1
    rejected = Verdict("A", Rule.IMPLAUSIBLE_DIVIDEND, day(30), Decision.REJECT, NOW)
    without = history(closes, [dividend], decisions=Decisions.of([rejected]))
    assert len(without.quotes.actions) == 0
    assert without.closes[30, 0] == closes[30]


def test_split_that_the_prices_show_three_days_late_hides_the_days_between():
    closes = flat((33, 0.25))
    late = history(closes, [action(30, 4, "split")])
    (finding,) = late.findings
    assert (finding.rule, finding.severity) == (Rule.SPLIT_NOT_IN_PRICES, Severity.ERROR)
    assert (finding.day, finding.until) == (day(30), day(33))
    assert late.tradable[[29, 30, 32, 33], 0].tolist() == [True, False, False, True]
    assert finding.clause.startswith(
        f"has a split on {day(30)} that its close of that day does not"
    )
    np.testing.assert_allclose(late.closes[-1, 0] / late.closes[0, 0], 1.0, rtol=0.01)


def test_split_that_the_prices_never_show_is_withheld_until_it_is_rejected():
    wrong = history(flat(), [action(30, 4, "split")])
    assert list(wrong.withheld) == ["A"]
    rejected = Verdict("A", Rule.SPLIT_NOT_IN_PRICES, day(30), Decision.REJECT, NOW)
    right = history(flat(), [action(30, 4, "split")], decisions=Decisions.of([rejected]))
    assert (right.withheld, right.findings) == ({}, ())


@pytest.mark.parametrize("ratio", [4, 20, 1.5, 0.1])
def test_split_with_its_action_passes(ratio):
    assert history(flat((30, 1 / ratio)), [action(30, ratio, "split")]).findings == ()


def test_reverse_split_of_190_with_its_action_passes():
    closes = flat((30, 190.0), level=0.05)
    ratio = Decimal(1) / Decimal(190)
    assert history(closes, [action(30, ratio, "split")]).findings == ()
    (finding,) = history(closes, []).findings
    assert finding.severity is Severity.ERROR
