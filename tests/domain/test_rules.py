from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from math import sqrt

import attrs
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market import indicators
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy import allocation
from rebalancer.domain.policy.policy import Decision, Frequency, Policy
from rebalancer.domain.policy.rules import POLICIES, RulePolicy, parse_rule, split_policy_names
from rebalancer.domain.portfolio.book import Book
from tests.builders import a_book, names, one_of, prices

NAMED = [
    "buy_and_hold",
    "weekly",
    "monthly",
    "quarterly",
    "yearly",
    "band",
    "volatility_target",
    "trend",
    "momentum",
    "inverse_volatility",
    "risk_parity",
    "minimum_variance",
    "hierarchical_risk_parity",
]
VARIANTS = ("band:edge", "band:half", "band:relative")
SHORT = {  # so that each policy that needs history has it within few rows
    "volatility_target": "volatility_target:window=30",
    "trend": "trend:window=30",
    "momentum": "momentum:window=30,skip=5",
    "inverse_volatility": "inverse_volatility:window=30",
    "risk_parity": "risk_parity:window=30",
    "minimum_variance": "minimum_variance:window=30",
    "hierarchical_risk_parity": "hierarchical_risk_parity:window=30",
}
EVERY = (*(SHORT.get(name, name) for name in POLICIES), *VARIANTS)
laws = settings(deadline=None, max_examples=20)


def remarks_of(rule, book, market, row):
    return rule.remarks(rule.decide(book, market), book, market, row)


def a_rule(text: str) -> RulePolicy:
    found = parse_rule(text)
    assert isinstance(found, RulePolicy)
    return found


def days(*texts: str | None) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def closes(columns: Sequence[Sequence[float]]) -> PriceHistory:
    """Each asset's closes, oldest first, on consecutive business days."""
    table = np.array(columns, dtype=float).T
    return PriceHistory.of(
        names(table.shape[1]), np.busday_offset("1970-01-01", np.arange(len(table))), table
    )


def zigzag(size: float, rows: int, *, sideways: bool = False) -> list[float]:
    """Closes whose simple returns are +size and -size in turn (or in turns of two)."""
    path, price = [100.0], 100.0
    for t in range(rows - 1):
        price *= 1 + size * (-1 if (t // 2 if sideways else t) % 2 else 1)
        path.append(price)
    return path


# How a person writes a policy.


def test_every_policy_of_the_book_is_there() -> None:
    assert list(POLICIES) == NAMED
    for name in NAMED:
        assert parse_rule(name).name == name
        assert POLICIES[name].summary and POLICIES[name].source


@pytest.mark.parametrize(
    ("text", "frequency", "lookback", "band"),
    [
        ("buy_and_hold", Frequency.ONCE, 1, None),
        ("weekly", Frequency.WEEKLY, 1, None),
        ("monthly", Frequency.MONTHLY, 1, None),
        ("quarterly", Frequency.QUARTERLY, 1, None),
        ("yearly", Frequency.YEARLY, 1, None),
        ("band", Frequency.DAILY, 1, 0.02),
        ("volatility_target", Frequency.MONTHLY, 64, 0.02),
        ("trend", Frequency.MONTHLY, 200, 0.02),
        ("momentum", Frequency.MONTHLY, 253, 0.02),
        ("inverse_volatility", Frequency.MONTHLY, 64, 0.02),
        ("risk_parity", Frequency.MONTHLY, 64, 0.02),
        ("minimum_variance", Frequency.MONTHLY, 253, 0.02),
        ("hierarchical_risk_parity", Frequency.MONTHLY, 253, 0.02),
    ],
)
def test_defaults(text: str, frequency: Frequency, lookback: int, band: float | None) -> None:
    found = a_rule(text)
    assert (found.frequency, found.lookback, found.band) == (frequency, lookback, band)
    assert (found.landing, found.relative) == (0.0, False)
    assert found.prefers is (text == "band")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("band:edge", {"band": 0.02, "landing": 1.0}),
        ("band:half", {"band": 0.02, "landing": 0.5}),
        ("band:relative", {"band": 0.20, "relative": True}),
        ("band:band=0.05", {"band": 0.05}),
        ("band:edge,band=0.05", {"band": 0.05, "landing": 1.0}),
        ("band:edge:band=0.05", {"band": 0.05, "landing": 1.0}),
        ("band:relative,band=0.5", {"band": 0.5, "relative": True}),
        ("band:band=0.5,relative", {"band": 0.5, "relative": True}),
        ("band:relative,edge", {"band": 0.2, "relative": True, "landing": 1.0}),
        ("band:frequency=weekly", {"band": 0.02, "frequency": Frequency.WEEKLY}),
        ("trend:window=150,band=0.03", {"lookback": 150, "band": 0.03}),
        ("trend:frequency=daily", {"lookback": 200, "frequency": Frequency.DAILY}),
        ("risk_parity:window=20", {"lookback": 21}),
        ("  monthly  ", {"name": "monthly"}),
        ("band : edge , band = 0.05", {"band": 0.05, "landing": 1.0}),
    ],
)
def test_variants_and_parameters(text: str, expected: dict[str, object]) -> None:
    found = a_rule(text)
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.name == text.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "unknown policy ''; choose one of buy_and_hold, weekly"),
        ("Monthly", "unknown policy 'Monthly'"),
        ("band_edge", "hierarchical_risk_parity"),
        ("monthly:edge", "monthly has no parameter 'edge'; choose frequency="),
        ("buy_and_hold:edge", "remove it"),
        ("buy_and_hold:frequency=daily", "remove it"),
        ("band:window=20", "choose edge, half, relative, band=, frequency="),
        ("band:landing=0.3", "has no parameter 'landing=0.3'"),
        ("band:band", "has no parameter 'band'"),
        ("band:edge=1", "has no parameter 'edge=1'"),
        ("trend:window", "choose window=, band=, frequency="),
        ("trend:window=1", "trend:window is '1'; enter a whole number from 2 to 5000"),
        ("trend:window=5001", "from 2 to 5000"),
        ("trend:window=20.5", "whole number"),
        ("trend:window=nan", "whole number"),
        ("trend:window=inf", "whole number"),
        ("trend:window=", "whole number"),
        ("trend:window=many", "'many'"),
        ("band:band=-0.01", "band:band is '-0.01'; enter a number from 0 to 1"),
        ("band:band=1.01", "from 0 to 1"),
        ("band:band=nan", "from 0 to 1"),
        ("volatility_target:target=0", "from 0.0001 to 10"),
        ("volatility_target:cap=1.5", "from 0 to 1"),
        (
            "monthly:frequency=hourly",
            "unknown monthly:frequency 'hourly'; choose one of daily, weekly, monthly",
        ),
        ("monthly:frequency=once", "'once'"),
        ("monthly:frequency", "has no parameter 'frequency'"),
        ("trend:window=20,window=30", "'window=30' repeats or conflicts"),
        ("band:edge,half", "'half' repeats or conflicts"),
        ("band:edge:edge", "'edge' repeats or conflicts"),
        ("weekly:frequency=daily,frequency=daily", "repeats or conflicts"),
    ],
)
def test_what_is_wrong_and_what_there_is(text: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        parse_rule(text)
    assert says in str(error.value)
    assert error.value.field == "policy"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("monthly", ["monthly"]),
        ("monthly,band", ["monthly", "band"]),
        (" monthly , band,", ["monthly", "band"]),
        ("band:edge,monthly", ["band:edge", "monthly"]),
        ("trend:window=150,band=0.03,band", ["trend:window=150,band=0.03", "band"]),
        ("trend,window=150", ["trend:window=150"]),
        (
            "monthly,trend:window=150,band=0.03,band:edge",
            ["monthly", "trend:window=150,band=0.03", "band:edge"],
        ),
        ("band:edge,frequency=weekly", ["band:edge,frequency=weekly"]),
        (
            "volatility_target:target=0.10,window=42,band:band=0.05",
            ["volatility_target:target=0.10,window=42", "band:band=0.05"],
        ),
    ],
)
def test_several_policies(text: str, expected: list[str]) -> None:
    assert split_policy_names(text) == expected
    for name in expected:
        assert parse_rule(name).name == name


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_no_policy_is_named(text: str) -> None:
    with pytest.raises(
        InvalidRequest, match="no policy is given; choose at least one of buy_and_hold"
    ) as error:
        split_policy_names(text)
    assert error.value.field == "policy"


def test_a_policy_is_named_twice() -> None:
    with pytest.raises(InvalidRequest, match="band:edge is given twice") as error:
        split_policy_names("band:edge,band,band:edge")
    assert error.value.field == "policy"


@given(st.text(alphabet="abdeghlnortwy_:,=.015 ", max_size=30))
@settings(laws, max_examples=100)
def test_any_text_is_a_policy_or_a_clear_error(text: str) -> None:
    for read in (parse_rule, split_policy_names):
        try:
            read(text)
        except InvalidRequest as error:
            assert error.field == "policy"


# When a policy looks.


@pytest.mark.parametrize(
    ("frequency", "reviewed", "as_of", "due"),
    [
        (Frequency.DAILY, "2024-05-14", "2024-05-15", True),
        (Frequency.DAILY, "2024-05-15", "2024-05-15", False),
        (Frequency.WEEKLY, "2024-05-10", "2024-05-13", True),  # Friday to Monday
        (Frequency.WEEKLY, "2024-05-13", "2024-05-19", False),  # Monday to Sunday
        (Frequency.WEEKLY, "2024-12-30", "2025-01-03", False),  # one ISO week, two years
        (Frequency.WEEKLY, "2025-01-03", "2025-01-06", True),
        (Frequency.WEEKLY, "2020-12-31", "2021-01-03", False),  # week 53
        (Frequency.WEEKLY, "2021-01-01", "2021-01-04", True),
        (Frequency.WEEKLY, "1969-12-29", "1970-01-04", False),  # across the epoch
        (Frequency.WEEKLY, "1969-12-28", "1969-12-29", True),
        (Frequency.MONTHLY, "2024-01-31", "2024-02-01", True),
        (Frequency.MONTHLY, "2024-02-01", "2024-02-29", False),
        (Frequency.MONTHLY, "2023-02-28", "2024-02-28", True),
        (Frequency.QUARTERLY, "2024-03-28", "2024-04-01", True),
        (Frequency.QUARTERLY, "2024-04-01", "2024-06-28", False),
        (Frequency.QUARTERLY, "2023-12-29", "2024-01-02", True),
        (Frequency.QUARTERLY, "1969-12-31", "1970-01-01", True),
        (Frequency.QUARTERLY, "1969-10-01", "1969-12-31", False),
        (Frequency.YEARLY, "2023-12-29", "2024-01-02", True),
        (Frequency.YEARLY, "2024-01-02", "2024-12-31", False),
        (Frequency.ONCE, "2000-01-01", "2024-12-31", False),
        # A review after the as-of, as when the past is asked about.
        (Frequency.DAILY, "2024-05-15", "2024-05-14", False),
        (Frequency.MONTHLY, "2024-06-03", "2024-05-15", False),
    ],
)
def test_due(frequency: Frequency, reviewed: str, as_of: str, due: bool) -> None:
    assert frequency.due(days(reviewed), days(as_of)).tolist() == [due]


@pytest.mark.parametrize("frequency", Frequency)
def test_always_due_when_no_review_is_known(frequency: Frequency) -> None:
    answer = frequency.due(days(None, "2024-05-15"), days("2024-05-15", "2024-05-15"))
    assert answer.tolist() == [True, False]


@given(st.lists(st.dates(date(1950, 1, 1), date(2060, 1, 1)), min_size=1, max_size=50, unique=True))
@settings(laws, max_examples=50)
def test_reviews_are_the_first_rows_of_calendar_periods(dates: list[date]) -> None:
    dates.sort()
    calendars = {
        Frequency.DAILY: lambda day: day,
        Frequency.WEEKLY: lambda day: day - timedelta(days=day.weekday()),
        Frequency.MONTHLY: lambda day: (day.year, day.month),
        Frequency.QUARTERLY: lambda day: (day.year, (day.month - 1) // 3),
        Frequency.YEARLY: lambda day: day.year,
        Frequency.ONCE: lambda day: None,
    }
    for frequency, of in calendars.items():
        periods = [of(day) for day in dates]
        first = [t == 0 or periods[t] != periods[t - 1] for t in range(len(dates))]
        rows = np.array(dates, dtype="datetime64[D]")
        assert frequency.reviews(rows).tolist() == first
        for t in range(1, len(dates)):
            assert frequency.due(rows[t - 1 : t], rows[t : t + 1]).tolist() == [first[t]]


@pytest.mark.parametrize(
    ("holdings", "reviewed", "due"),
    [
        ([0, 0], None, True),
        ([0, 50], None, False),
        ([50, 50], "2020-01-02", False),
        ([0, 0], "2020-01-02", False),
    ],
)
def test_buy_and_hold_buys_once(holdings: list[float], reviewed: str | None, due: bool) -> None:
    book = a_book([[0.5, 0.5]], values=[holdings], reviewed=reviewed)
    decision = parse_rule("buy_and_hold").decide(book, prices(2, 3))
    assert decision.due.tolist() == [due]
    assert decision.band is None and decision.cash_band is None


# What a policy decides.


def test_calendar_rules_go_to_the_targets_and_all_the_way() -> None:
    book = a_book([[0.5, 0.3], [0.0, 0.0]], values=[[1, 2], [3, 4]], reviewed="2024-04-30")
    for name, due in (("weekly", True), ("monthly", True), ("quarterly", False), ("yearly", False)):
        decision = parse_rule(name).decide(book, prices(2, 3))
        assert decision.targets.tolist() == book.targets.tolist()
        assert decision.due.tolist() == [due, due]
        assert decision.band is None


def test_bands() -> None:
    book = a_book([[0.5, 0.3]], reviewed="2024-05-14")
    decision = parse_rule("band").decide(book, prices(2, 3))
    assert (decision.band, decision.cash_band) == (pytest.approx(0.02), pytest.approx(0.02))
    assert decision.due.tolist() == [True]
    assert decision.landing == 0
    decision = parse_rule("band:relative").decide(book, prices(2, 3))
    assert decision.band == pytest.approx(np.array([[0.1, 0.06]]))
    assert decision.cash_band == pytest.approx(0.02)


def test_only_band_policies_use_the_preferred_band() -> None:
    book = attrs.evolve(a_book([[0.5, 0.3]] * 2), band=np.array([np.nan, 0.07]))
    decision = parse_rule("band").decide(book, prices(2, 3))
    assert decision.band == pytest.approx(np.array([[0.02] * 2, [0.07] * 2]))
    assert decision.cash_band == pytest.approx(np.array([0.02, 0.07]))
    for name in set(EVERY) - {"band", *VARIANTS}:
        decision = parse_rule(name).decide(book, prices(2, 40))
        if decision.band is not None:
            assert decision.band == pytest.approx(0.02)


def test_volatility_target_by_hand() -> None:
    # Returns of 1% up and down in turn, 4 of them: deviation 1% sqrt(4/3) a day. The second asset
    # moves in turns of two: the covariance of the four is 0.
    market = closes([zigzag(0.01, 5), zigzag(0.02, 5, sideways=True)])
    daily = np.array([0.01, 0.02]) * sqrt(4 / 3)
    mix = sqrt((0.6 * daily[0]) ** 2 + (0.2 * daily[1]) ** 2) * sqrt(252)
    for target, cap in ((0.05, 1.0), (0.12, 0.5), (5.0, 1.0), (5.0, 0.7)):
        rule = parse_rule(f"volatility_target:window=4,target={target},cap={cap}")
        decision = rule.decide(a_book([[0.6, 0.2]]), market)
        scale = min(cap, target / mix)
        assert decision.targets == pytest.approx(np.array([[0.6, 0.2]]) * scale)
        assert decision.informed is None
        (remark,) = remarks_of(rule, a_book([[0.6, 0.2]]), market, 0)
        assert f"{mix:.1%}" in remark and f"{scale:.0%} of them" in remark


def test_momentum_by_hand() -> None:
    # Over rows 0 to 3, the last two left out: +20%, +10%, +10%, -5%. Ranks of four from below, the
    # two equal ones sharing theirs: 3, 1.5, 1.5, 0, counted as 2 below + equal = 7, 4, 4, 1.
    market = closes(
        [
            [100, 110, 115, 120, 1, 1],
            [10, 10, 9, 11, 90, 90],
            [20, 20, 20, 22, 22, 22],
            [100, 100, 99, 95, 300, 300],
        ]
    )
    rule = parse_rule("momentum:window=5,skip=2")
    decision = rule.decide(a_book([[0.2, 0.2, 0.2, 0.2]]), market)
    assert decision.targets == pytest.approx(np.array([[7, 4, 4, 1]]) / 16 * 0.8)
    uneven = rule.decide(a_book([[0.1, 0.3, 0.0, 0.4]]), market)
    # Among three: 2 x 2 + 1 = 5, 3 and 1, times the strategic weights.
    parts = np.array([[0.1 * 5, 0.3 * 3, 0.0, 0.4 * 1]])
    assert uneven.targets == pytest.approx(parts / parts.sum() * 0.8)
    assert rule.lookback == 6
    with pytest.raises(InvalidRequest, match="must be less than window="):
        parse_rule("momentum:window=20,skip=20")


def test_volatility_target_of_prices_that_stand_still() -> None:
    rule = parse_rule("volatility_target:window=4")
    decision = rule.decide(a_book([[0.6, 0.2], [0.0, 0.0]]), closes([[7.3] * 5, [0.1] * 5]))
    assert decision.targets.tolist() == [[0.6, 0.2], [0.0, 0.0]]
    assert len(remarks_of(rule, a_book([[0.0, 0.0]]), closes([[7.3] * 5, [0.1] * 5]), 0)) == 1


def test_trend_by_hand() -> None:
    rule = parse_rule("trend:window=4")
    # Averages 5, 5 and 5; the last closes are above, below and at them.
    market = closes([[9, 4, 4, 6, 6], [9, 6, 6, 4, 4], [9, 4, 6, 5, 5]])
    book = a_book([[0.5, 0.3, 0.1], [0.5, 0.0, 0.5]])
    decision = rule.decide(book, market)
    assert decision.targets.tolist() == [[0.5, 0.0, 0.1], [0.5, 0.0, 0.5]]
    assert remarks_of(rule, book, market, 0) == [
        "Cash replaces assets below their 4-day average: B."
    ]
    assert remarks_of(rule, book, market, 1) == ["Every targeted asset is above its 4-day average."]


@pytest.mark.parametrize("price", [0.1, 0.7, 7.3, 100.37, 1e-9 / 3, 12345.678])
def test_trend_keeps_a_price_that_stands_still_in_whatever_unit(price: float) -> None:
    for window in (2, 3, 10, 200):
        market = closes([[price] * window])
        rule = parse_rule(f"trend:window={window}")
        assert rule.decide(a_book([[0.5]]), market).targets.tolist() == [[0.5]]
        assert "above" in remarks_of(rule, a_book([[0.5]]), market, 0)[0]


def test_inverse_volatility_by_hand() -> None:
    market = closes([zigzag(0.01, 5), zigzag(0.02, 5), zigzag(0.04, 5)])
    rule = parse_rule("inverse_volatility:window=4")
    decision = rule.decide(a_book([[0.5, 0.1, 0.3], [0.0, 0.9, 0.1], [0.2, 0.0, 0.0]]), market)
    # 1 / volatility is 4 : 2 : 1 of what the given targets invest, 0.9; only targeted assets count.
    expected = [[0.9 * 4 / 7, 0.9 * 2 / 7, 0.9 / 7], [0, 2 / 3, 1 / 3], [0.2, 0, 0]]
    assert decision.targets == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    "name",
    ["inverse_volatility", "risk_parity", "minimum_variance", "hierarchical_risk_parity"],
)
def test_risk_rules_spread_the_strategic_share_over_the_targeted_assets(name: str) -> None:
    market = prices(5, 80, seed=3)
    book = a_book([[0.4, 0.3, 0.2, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0], [0.2] * 5])
    decision = parse_rule(SHORT[name]).decide(book, market)
    assert decision.targets.sum(axis=1) == pytest.approx([0.9, 0.0, 1.0])
    assert decision.targets[0, 3:].tolist() == [0, 0]
    # How the strategic share is split does not matter, nor do the assets that are not targeted.
    other = parse_rule(SHORT[name]).decide(
        a_book([[0.1, 0.3, 0.5]]), market.select(["A", "B", "C"])
    )
    assert decision.targets[0, :3] == pytest.approx(other.targets[0], abs=1e-9)


def test_each_risk_rule_follows_its_own_allocation_and_window() -> None:
    market = prices(3, 300, seed=9)
    book = a_book([[0.5, 0.3, 0.1]])
    held = book.targets > 0
    shrunk = indicators.shrunk_covariance(market, 252).of(book.assets, held)
    covariance = indicators.covariance(market, 63)
    expected = {
        "inverse_volatility": allocation.inverse_volatility(
            indicators.volatility(market, 63)[None, :], held
        ),
        "risk_parity": allocation.risk_parity(covariance[None, :, :], held),
        "minimum_variance": allocation.minimum_variance(shrunk, held),
        "hierarchical_risk_parity": allocation.hierarchical_risk_parity(shrunk, held),
    }
    for name, weights in expected.items():
        assert parse_rule(name).decide(book, market).targets == pytest.approx(0.9 * weights)


# Too little history.


@pytest.mark.parametrize("name", SHORT)
def test_without_history_enough_the_given_targets_hold_by_the_monthly_rule(name: str) -> None:
    rule = parse_rule(SHORT[name] + ",frequency=daily,band=0.05")
    market = prices(3, rule.lookback, seed=1)
    early = market.since(1)
    targets = [[0.5, 0.3, 0.1]]
    for reviewed, due in ((None, True), ("2024-04-30", True), ("2024-05-01", False)):
        book = a_book(targets, values=[[5, 3, 1]], reviewed=reviewed)
        decision = rule.decide(book, early)
        assert decision.informed is not None and decision.informed.tolist() == [False]
        assert decision.targets.tolist() == targets
        assert decision.due.tolist() == [due]
        assert decision.band is not None and not decision.band.any()
        assert decision.cash_band is not None and not decision.cash_band.any()
        (remark,) = remarks_of(rule, book, early, 0)
        assert f"needs {rule.lookback} closes" in remark and "monthly rule" in remark
    book = a_book(targets, values=[[5, 3, 1]], reviewed="2024-05-01")
    decision = rule.decide(book, market)
    assert decision.due.tolist() == [True]
    assert decision.informed is None
    assert decision.band == pytest.approx(0.05)
    assert not any("monthly rule" in remark for remark in remarks_of(rule, book, market, 0))


@pytest.mark.parametrize("name", SHORT)
def test_only_portfolios_that_target_a_young_asset_lack_history(name: str) -> None:
    grown = np.array(prices(3, 80, seed=2, volatility=0.02).closes)
    grown[:70, 2] = np.nan
    market = PriceHistory.of(names(3), prices(3, 80).dates, grown)
    targets = [[0.6, 0.3, 0.0], [0.6, 0.2, 0.1]]
    decision = parse_rule(SHORT[name]).decide(a_book(targets, reviewed="2024-05-13"), market)
    assert decision.informed is not None and decision.informed.tolist() == [True, False]
    assert decision.targets[1].tolist() == targets[1]
    alone = parse_rule(SHORT[name]).decide(a_book(targets[:1], reviewed="2024-05-13"), market)
    assert decision.targets[0] == pytest.approx(alone.targets[0], abs=1e-12)
    assert alone.informed is None
    assert decision.band is not None and decision.band[:, 0] == pytest.approx([0.02, 0.0])


# Laws that every policy keeps.


@st.composite
def situations(draw: st.DrawFn) -> tuple[Book, PriceHistory]:
    """A market in which some assets are young, and portfolios of some of its assets."""
    assets, rows = draw(st.integers(1, 6)), draw(st.sampled_from([2, 30, 31, 40]))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    table = np.array(prices(assets, rows, seed=seed, volatility=0.02).closes)
    if rows > 30 and draw(st.booleans()):
        table[: rng.integers(1, rows - 1), rng.integers(assets)] = np.nan
    market = PriceHistory.of(names(assets), prices(1, rows).dates, table)
    count = draw(st.integers(1, 3))
    raw = rng.uniform(0, 1, (count, assets)) * (rng.random((count, assets)) < 0.8)
    invested = draw(st.sampled_from([1.0, 0.9, 0.3]))
    targets = invested * raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9)
    book = a_book(
        targets,
        values=rng.uniform(0, 100, (count, assets)) * (rng.random((count, assets)) < 0.7),
        reviewed=draw(st.sampled_from([None, "2024-04-12", "2024-05-14"])),
        band=draw(st.sampled_from([np.nan, 0.05])),
    )
    return book, market


def decided(chosen: Policy, book: Book, market: PriceHistory) -> Decision:
    """A decision whose arrays are all there."""
    found = chosen.decide(book, market)
    none = np.full(book.targets.shape, -1.0)
    return attrs.evolve(
        found,
        band=none if found.band is None else found.band,
        cash_band=none[:, 0] if found.cash_band is None else found.cash_band,
        informed=np.ones(len(book), dtype=bool) if found.informed is None else found.informed,
    )


def assert_same(one: Decision, other: Decision, *, atol: float = 0.0) -> None:
    np.testing.assert_allclose(one.targets, other.targets, rtol=0, atol=atol)
    np.testing.assert_allclose(one.band, other.band, rtol=0, atol=atol)
    np.testing.assert_allclose(one.cash_band, other.cash_band, rtol=0, atol=atol)
    np.testing.assert_array_equal(one.due, other.due)
    np.testing.assert_array_equal(one.informed, other.informed)
    assert one.landing == other.landing


@pytest.mark.parametrize("text", EVERY)
@laws
@given(situation=situations())
def test_targets_are_feasible(text: str, situation: tuple[Book, PriceHistory]) -> None:
    book, market = situation
    decision = decided(parse_rule(text), book, market)
    assert decision.targets.shape == book.targets.shape
    assert np.isfinite(decision.targets).all()
    assert (decision.targets >= 0).all()
    assert (decision.targets.sum(axis=1) <= book.targets.sum(axis=1) + 1e-12).all()
    assert (decision.targets.sum(axis=1) <= 1 + 1e-12).all()
    assert not decision.targets[book.targets == 0].any()
    assert decision.due.dtype == bool and decision.due.shape == (len(book),)


@pytest.mark.parametrize("text", EVERY)
@laws
@given(situation=situations())
def test_the_same_input_gives_the_same_decision(
    text: str, situation: tuple[Book, PriceHistory]
) -> None:
    book, market = situation
    before = (np.array(book.values), np.array(book.targets), np.array(market.closes))
    again = PriceHistory.of(market.symbols, market.dates, market.closes)
    assert_same(decided(parse_rule(text), book, market), decided(parse_rule(text), book, again))
    assert_same(decided(parse_rule(text), book, market), decided(parse_rule(text), book, market))
    for array, now in zip(before, (book.values, book.targets, market.closes), strict=True):
        np.testing.assert_array_equal(array, now)


@pytest.mark.parametrize("text", EVERY)
@laws
@given(situation=situations(), seed=st.integers(0, 1000))
def test_the_order_of_assets_does_not_matter(
    text: str, situation: tuple[Book, PriceHistory], seed: int
) -> None:
    book, market = situation
    order = np.random.default_rng(seed).permutation(len(market.symbols))
    one = decided(parse_rule(text), book, market)
    # The columns of the market and the slots of the book.
    mixed = PriceHistory.of(
        [market.symbols[i] for i in order], market.dates, market.closes[:, order]
    )
    book_mixed = attrs.evolve(book, values=book.values[:, order], targets=book.targets[:, order])
    other = decided(parse_rule(text), book_mixed, mixed)
    assert one.band is not None
    moved = attrs.evolve(one, targets=one.targets[:, order], band=one.band[:, order])
    assert_same(moved, other, atol=1e-6 if "minimum_variance" in text else 1e-9)
    # Only the columns of the market: each slot knows its own.
    rank = np.argsort(order)
    assert_same(
        one,
        decided(parse_rule(text), attrs.evolve(book, assets=rank[book.assets]), mixed),
        atol=1e-6 if "minimum_variance" in text else 1e-9,
    )


@pytest.mark.parametrize("text", EVERY)
@laws
@given(
    situation=situations(),
    price=st.sampled_from([1e-6, 0.37, 130.0, 1e7]),
    money=st.sampled_from([1e-6, 0.9, 1e7]),
)
def test_the_currency_unit_does_not_matter(
    text: str, situation: tuple[Book, PriceHistory], price: float, money: float
) -> None:
    book, market = situation
    scaled = PriceHistory.of(market.symbols, market.dates, market.closes * price)
    rich = attrs.evolve(
        book, values=book.values * money, cash=book.cash * money, flow=book.flow * money
    )
    assert_same(
        decided(parse_rule(text), book, market),
        decided(parse_rule(text), rich, scaled),
        atol=1e-6 if "minimum_variance" in text else 1e-9,
    )


@pytest.mark.parametrize("text", EVERY)
@laws
@given(situation=situations(), shock=st.sampled_from([0.01, 3.0]), seed=st.integers(0, 1000))
def test_the_future_is_not_seen(
    text: str, situation: tuple[Book, PriceHistory], shock: float, seed: int
) -> None:
    book, market = situation
    rng = np.random.default_rng(seed)
    later = np.abs(market.last_closes) * np.exp(
        shock * rng.standard_normal((5, len(market.symbols)))
    )
    assume(np.isfinite(later).all())
    longer = PriceHistory.of(
        market.symbols,
        np.concatenate([market.dates, market.dates[-1] + np.arange(1, 6)]),
        np.concatenate([market.closes, later]),
    )
    longer.returns(30)  # what the whole history remembers must not leak into its past
    indicators.volatility(longer, 30)
    assert_same(
        decided(parse_rule(text), book, market),
        decided(parse_rule(text), book, longer.until(len(market) - 1)),
    )


@pytest.mark.parametrize("text", EVERY)
@laws
@given(situation=situations())
def test_a_portfolio_does_not_depend_on_its_neighbours(
    text: str, situation: tuple[Book, PriceHistory]
) -> None:
    book, market = situation
    together = decided(parse_rule(text), book, market)
    assert together.band is not None and together.cash_band is not None
    for row in range(len(book)):
        alone = one_of(book, row)
        found = decided(parse_rule(text), alone, market)
        np.testing.assert_allclose(found.targets[0], together.targets[row], atol=1e-9)
        assert found.due[0] == together.due[row]
        assert found.informed is not None and together.informed is not None
        assert found.informed[0] == together.informed[row]


@pytest.mark.parametrize("text", EVERY)
def test_unused_slots_hold_nothing(text: str) -> None:
    market = prices(3, 40, seed=4)
    book = a_book([[0.5, 0.3, 0.0, 0.0]], values=[[1, 2, 0, 0]])
    padded = attrs.evolve(
        book,
        assets=np.array([[1, 2, 0, 0]]),
        present=np.array([[True, True, False, False]]),
    )
    plain = attrs.evolve(a_book([[0.5, 0.3]], values=[[1, 2]]), assets=np.array([[1, 2]]))
    wide, narrow = (parse_rule(text).decide(each, market).targets for each in (padded, plain))
    assert wide[0, 2:].tolist() == [0, 0]
    np.testing.assert_allclose(wide[0, :2], narrow[0], atol=1e-12)
