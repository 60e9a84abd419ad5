"""Rules that tell errors of the data from moves of a price, each by an example."""

from datetime import UTC, date, datetime

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.market import close_quality
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import MarketSnapshot
from rebalancer.domain.market.close_quality import (
    SPIKE,
    check_closes,
    is_decimal_shift,
    is_implausible,
    is_large,
    is_other_asset,
    is_spike,
    is_split_ratio,
    is_unit_change,
)
from rebalancer.domain.market.gaps import accept_jumps, history_of
from rebalancer.domain.market.quality import (
    Decision,
    Decisions,
    Rule,
    Severity,
    Verdict,
)

NAN = np.nan
DAYS = np.busday_offset(np.datetime64("2024-01-01"), np.arange(60), roll="forward")
ONE = np.ones(1)


def found(*closes, days=DAYS, accepted=()):
    """Return rules and severities found in an asset's closes."""
    table = np.array(closes, dtype=np.float64)[:, None]
    _, findings = check_closes(["A"], days[: len(table)], table, accepted=accepted)
    return [(one.rule, one.severity) for one in findings]


def walk(length, *, seed=0, volatility=0.01):
    steps = np.random.default_rng(seed).normal(0, volatility, length)
    return 100.0 * np.exp(np.cumsum(steps))


@pytest.mark.parametrize(
    ("factor", "unit", "decimal", "implausible", "large", "split"),
    [
        (100, True, False, True, True, False),
        (1 / 100, True, False, True, True, False),
        (112, True, False, True, True, False),
        (1000, True, False, True, True, False),
        (1 / 900, True, False, True, True, False),
        (10.2, False, True, False, True, False),
        (0.092, False, True, False, True, False),
        (0.12, False, False, False, True, False),  # a crash by 88%
        (37, False, False, True, True, False),
        (1 / 20, False, False, True, True, False),  # a split of 20 for 1
        (14, False, False, False, True, False),
        (0.5, False, False, False, True, True),
        (4.1, False, False, False, True, True),
        (0.48, False, False, False, True, False),  # Apple on 2000-09-29
        (0.3, False, False, False, True, False),
        (1.7, False, False, False, False, False),
        (0.6, False, False, False, False, False),
    ],
)
def test_rules_by_the_factor_between_two_days(factor, unit, decimal, implausible, large, split):
    change = np.log(np.array([factor], dtype=np.float64))
    assert is_unit_change(change).tolist() == [unit]
    assert is_decimal_shift(change, ONE).tolist() == [decimal]
    assert is_implausible(change, ONE).tolist() == [implausible]
    assert is_large(change, ONE).tolist() == [large]
    assert is_split_ratio(change, ONE).tolist() == [split]


def test_changes_over_many_weekdays_may_be_larger():
    monthly = np.array([22.0])
    assert is_large(np.log([10.0, 0.1, 4.0]), monthly).all()  # a split of 10 for 1, not adjusted
    assert not is_large(np.log([3.5, 0.3]), monthly).any()
    assert not is_large(np.log([10.0]), np.array([65.0])).any()
    assert not is_decimal_shift(np.log([10.0]), monthly).any()
    assert is_implausible(np.log([60.0]), np.array([260.0])).all()
    assert is_unit_change(np.log([100.0])).all()


def test_spike_is_reverted_by_the_next_close():
    change = np.log([1.4, 1 / 1.38, 1.0, 1.5, 1.0, 0.6, 1.6])
    assert is_spike(change, np.ones(7)).tolist() == [
        *(True, False, False),
        *(False, False, True, False),
    ]


def test_pence_become_pounds():
    closes = np.column_stack([[500.0, 505, 5.04, 5.1, 5.0], [900.0, 901, 902, 903, 904]])
    history = history_of(["A.L", "B.L"], DAYS[:5], closes)
    (finding,) = history.findings
    assert (finding.rule, finding.severity) == (Rule.UNIT_CHANGE, Severity.ERROR)
    assert (finding.day, finding.until) == (date(2024, 1, 3), None)
    assert finding.text == (
        "A.L fell from 505.0 to 5.04 on 2024-01-03, a factor near 100: its unit may have changed, "
        "as between pence and pounds; its closes from then on are not used, only that of 2024-01-02"
    )
    assert list(history.withheld) == ["A.L"]
    assert history.last_prices.tolist() == [505.0, 904.0]
    assert history.last_known("A.L") == (date(2024, 1, 2), 505.0)
    assert history.tradable[:, 0].tolist() == [True, True, False, False, False]
    assert history.until(1).findings == ()
    assert history.until(1).withheld == {}


def test_hundredfold_day_is_left_out_and_the_asset_released_the_day_after():
    closes = np.array([500.0, 505, 50600, 507, 508])[:, None]
    history = history_of(["A"], DAYS[:5], closes)
    assert history.closes[:, 0].tolist() == [500, 505, 505, 507, 508]
    assert history.withheld == {}
    (finding,) = history.findings
    assert finding.until == date(2024, 1, 4)
    assert finding.text.endswith("; its closes before 2024-01-04 are not used")
    on_the_day = history.until(2)
    assert list(on_the_day.withheld) == ["A"]
    assert on_the_day.findings[0].until is None
    assert history.tradable[:, 0].tolist() == [True, True, False, True, True]


def test_closes_alternating_between_units_are_used_in_the_first_unit():
    closes = np.array([500.0, 5.01, 502, 503, 5.04, 5.05, 506])[:, None]
    history = history_of(["A"], DAYS[:7], closes)
    assert history.closes[:, 0].tolist() == [500, 500, 502, 503, 503, 503, 506]
    assert [one.until for one in history.findings] == [date(2024, 1, 3), date(2024, 1, 9)]


def test_wrong_first_close_withholds_the_asset_for_twenty_closes_only():
    closes = np.append(50_000.0, 500.0 + np.arange(40.0))[:, None]
    history = history_of(["A"], DAYS[:41], closes)
    (finding,) = history.findings
    assert finding.until == DAYS[20].item()
    assert history.withheld == {}
    assert history.last_closes.tolist() == [539.0]
    assert list(history.until(19).withheld) == ["A"]


def test_jumps_of_accepted_symbols_are_true():
    assert found(500, 5, 5) == [(Rule.UNIT_CHANGE, Severity.ERROR)]
    assert found(500, 5, 5, accepted=["A"]) == []


def test_accepted_jumps_are_used_and_the_findings_of_others_stay():
    table = np.column_stack([[500.0, 5, 5, NAN], [9, 900, 900, NAN], [1, 1, 1, 1], [1, 2, 2, 2]])
    history = history_of(["A", "B", "C", "D"], DAYS[:4], table)
    accepted = accept_jumps(history, ["A", "D", "NOPE"])
    assert {one.symbol for one in accepted.findings} == {"B"}
    assert accepted.closes.tolist() == [[500, 9, 1, 1], [5, 9, 1, 2], [5, 9, 1, 2], [5, 9, 1, 2]]
    assert accepted.observed[:, 0].tolist() == [True, True, True, False]
    direct = history_of(history.symbols, DAYS[:4], table, accepted=["A", "D"])
    assert accepted.digest == direct.digest
    assert accept_jumps(history, ["C"]) is history


def test_split_that_is_not_adjusted_is_a_warning_if_small_and_an_error_if_large():
    assert found(100, 101, 50.4, 50.2) == [(Rule.SPLIT_RATIO, Severity.WARNING)]
    assert found(100, 101, 10.1, 10.2) == [(Rule.DECIMAL_SHIFT, Severity.ERROR)]
    assert found(100, 101, 5.05, 5.1) == [(Rule.IMPLAUSIBLE_MOVE, Severity.ERROR)]
    assert found(1, 1.01, 101, 102) == [(Rule.UNIT_CHANGE, Severity.ERROR)]


def test_true_moves_are_at_most_warnings():
    assert found(100, 101, 30, 31, 29) == [(Rule.LARGE_MOVE, Severity.WARNING)]  # a crash by 70%
    assert found(0.010, 0.017, 0.012, 0.0204) == []  # a penny share: +70%, -29%, +70%
    assert found(1.0, 1.7, 0.6, 1.02, 0.31) == [
        (Rule.LARGE_MOVE, Severity.WARNING),
        (Rule.LARGE_MOVE, Severity.WARNING),
    ]
    assert found(*[1.0] * 30) == []  # a money market fund: equal closes are valid
    coin = walk(60, volatility=0.12)
    assert all(severity is Severity.WARNING for _, severity in found(*coin))


def test_spike_is_known_the_day_after():
    table = np.array([100.0, 101, 145, 102, 101])[:, None]
    _, findings = check_closes(["A"], DAYS[:5], table)
    (spike,) = findings
    assert (spike.rule, spike.day, spike.known) == (
        Rule.SPIKE,
        date(2024, 1, 3),
        date(2024, 1, 4),
    )
    assert "was back on 2024-01-04" in spike.text
    history = history_of(["A"], DAYS[:5], table)
    assert history.until(2).findings == ()
    assert len(history.until(3).findings) == 1
    assert history.closes[2, 0] == 145  # a warning changes no close


def test_adjusted_reverse_split_is_not_a_jump():
    assert found(*(walk(60) * 190)) == []


def test_small_prices_are_written_with_all_their_digits():
    _, (finding,) = check_closes(["A"], DAYS[:2], np.array([[0.00000123], [0.0000031]]))
    assert "from 0.00000123 to 0.0000031 on" in finding.text


@given(
    st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4, 5, 6]), min_size=2, max_size=50),
    st.integers(0, 49),
)
def test_no_finding_uses_a_later_close(kinds, row):
    """What is found up to a row is what is found in a file that ends there."""
    factors = np.array([1.0, 100.0, 0.01, 2.0, 0.4, 40.0, NAN])[kinds]
    closes = 100.0 * (1 + 0.001 * np.arange(len(kinds))) * factors
    table = np.column_stack([np.full(len(kinds), 7.0), closes])
    row = min(row, len(kinds) - 1)
    whole = history_of(["A", "B"], DAYS[: len(kinds)], table).until(row)
    cut = history_of(["A", "B"], DAYS[: row + 1], table[: row + 1])
    assert whole.digest == cut.digest
    assert whole.findings == cut.findings
    assert whole.withheld == cut.withheld
    assert np.array_equal(whole.tradable, cut.tradable)


@given(st.permutations(range(4)))
@settings(deadline=None, max_examples=10)
def test_findings_of_an_asset_do_not_depend_on_the_others(order):
    table = np.column_stack([walk(30, seed=seed) for seed in range(4)])
    table[10, 1] *= 100
    table[12:, 2] /= 1000
    table[20:, 3] /= 2
    symbols = ["A", "B", "C", "D"]
    _, expected = check_closes(symbols, DAYS[:30], table)
    _, got = check_closes([symbols[at] for at in order], DAYS[:30], table[:, order])
    assert sorted(got, key=repr) == sorted(expected, key=repr)
    assert len(got) == 3


def decided(decision, *rows, rule=Rule.UNIT_CHANGE):
    when = datetime(2024, 6, 3, tzinfo=UTC)
    return Decisions.of(Verdict("A", rule, DAYS[row].item(), decision, when) for row in rows)


def test_accepted_change_is_a_true_move_and_later_ones_are_checked():
    closes = np.array([500.0, 505, 5.04, 5.1, 510.0, 511.0])[:, None]
    accepted = history_of(["A"], DAYS[:6], closes, decisions=decided(Decision.ACCEPT, 2))
    assert [one.day for one in accepted.findings] == [DAYS[4].item()]
    assert accepted.closes[:4, 0].tolist() == [500, 505, 5.04, 5.1]
    both = history_of(["A"], DAYS[:6], closes, decisions=decided(Decision.ACCEPT, 2, 4))
    assert (both.findings, both.withheld) == ((), {})


def test_accepted_spike_and_large_move_pass():
    spike = np.array([100.0, 100, 140, 101, 100])[:, None]
    large = np.array([100.0, 100, 40, 41, 40])[:, None]
    for closes in (spike, large):
        assert len(history_of(["A"], DAYS[:5], closes).findings) == 1
        accepted = history_of(["A"], DAYS[:5], closes, decisions=decided(Decision.ACCEPT, 2))
        assert accepted.findings == ()


def test_rejected_close_is_taken_for_missing():
    table = np.column_stack([[100.0, 100, 140, 101], [7.0, 7, 7, 7]])
    decisions = decided(Decision.REJECT, 2, rule=Rule.SPIKE)
    used = decisions.without_rejected(["A", "B"], DAYS[:4], table)
    assert np.isnan(used).tolist() == [[False] * 2, [False] * 2, [True, False], [False] * 2]
    assert not np.isnan(table).any()
    assert decisions.without_rejected(["B"], DAYS[:4], table[:, 1:]) is not None
    volumes = decided(Decision.REJECT, 2, rule=Rule.VOLUME_ANOMALY)
    assert volumes.without_rejected(["A", "B"], DAYS[:4], table) is table


def test_symbol_that_another_asset_has_after_a_gap():
    weekdays = np.array([1.0, 1, 90, 1, 1])
    change = np.log([1.01, 0.99, 15.0, 1.0, 1.0])
    assert is_other_asset(change, weekdays).tolist() == [False, False, True, False, False]
    suspended = np.log([1.01, 0.99, 0.5, 1.0, 1.0])
    assert not is_other_asset(suspended, weekdays).any()
    yearly = np.array([260.0, 260, 260])
    assert not is_other_asset(np.log([4.0, 0.3, 9.0]), yearly).any()  # closes of every year
    days = np.concatenate([DAYS[:30], DAYS[30:] + np.timedelta64(140, "D")])
    closes = np.concatenate([np.full(30, 12.0), np.full(30, 180.0)])
    (finding,) = check_closes(["A"], days, closes[:, None])[1]
    assert (finding.rule, finding.severity) == (Rule.TICKER_REUSED, Severity.ERROR)
    assert "another asset may have its symbol now" in finding.text


@pytest.mark.parametrize(
    ("closes", "rule"),
    [
        ((100, 101, 16_200, 16_190, 16_210), Rule.IMPLAUSIBLE_MOVE),  # quoted in yen for euro
        ((100, 101, 245_397, 102, 101), Rule.IMPLAUSIBLE_MOVE),  # one adjusted close
        ((400, 404, 101, 100, 101), Rule.SPLIT_RATIO),  # a split without its action
        ((100, 101, 10_100, 102, 101), Rule.UNIT_CHANGE),
    ],
)
def test_reported_defects_are_found(closes, rule):
    assert [each for each, _ in found(*closes)] == [rule]


def test_crash_of_a_true_price_is_a_warning_and_equal_closes_pass():
    assert found(100, 99, 45, 44, 43) == [(Rule.LARGE_MOVE, Severity.WARNING)]
    assert found(*[1.0] * 40) == []


def test_closes_of_days_to_come_are_not_used_unless_they_are_accepted():
    table = np.column_stack([[1.0, 1, 1, 1], [7.0, 7, 7, 7]])
    snapshot = MarketSnapshot(("A", "B"), DAYS[:4], table)
    terms = PricingTerms("USD", latest=DAYS[1].item())
    assert len(snapshot.history(terms)) == 2
    accepted = decided(Decision.ACCEPT, 2, rule=Rule.FUTURE_DATE)
    history = snapshot.history(attrs.evolve(terms, decisions=accepted))
    assert (len(history), history.observed[2].tolist()) == (4, [True, False])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(
        st.sampled_from([SPIKE, -SPIKE, 0.31, -0.29999999999, 0.3, 0.6, -0.7, 4.6, -4.6, 0.01]),
        max_size=8,
    ),
)
def test_only_assets_with_jumps_need_a_check(seed, steps):
    """Few assets have a change that a rule may find; logarithms are taken of those alone."""
    random = np.random.default_rng(seed)
    moves = random.normal(0, 0.01, (60, 3))
    moves[random.integers(0, 60, len(steps)), random.integers(0, 2, len(steps))] = steps
    table = np.exp(np.cumsum(moves, axis=0))
    table[random.random(table.shape) < 0.1] = NAN
    largest = [
        np.abs(np.diff(np.log(closes[~np.isnan(closes)]))).max(initial=0.0) for closes in table.T
    ]
    expected = [column for column, size in enumerate(largest) if size >= SPIKE]
    for given_closes in (table, np.asfortranarray(table)):
        assert close_quality._columns_with_jumps(given_closes).tolist() == expected
