"""Findings of imports and of stored prices: how they are listed, decided and resolved."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryMarket, MemoryPrices
from rebalancer.application.market_import import ImportMarket
from rebalancer.application.market_issues import DecideIssues, ListIssues, describe_issue
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.errors import Conflict, NotFound
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.bar_rows import BarRows
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.issues import IssueState
from rebalancer.domain.market.quality import Decision, Rule, Severity

DAYS = np.busday_offset(np.datetime64("2024-01-01"), np.arange(60), roll="forward")
NOW = datetime(2024, 6, 3, 12, tzinfo=UTC)
OPEN, ACCEPTED, REJECTED, RESOLVED = IssueState


def day(row) -> date:
    return DAYS[row].item()


class Deployment:
    """A stored market with imports and decisions, each an hour after the one before."""

    def __init__(self, *, calendars=None, today=None):
        self.now = NOW
        self.store = StoredMarket(
            MemoryMarket(), calendars=calendars, today=lambda: self.today, check_interval=0
        )
        self.today = today or NOW.date()

    def clock(self):
        self.now += timedelta(hours=1)
        return self.now

    def add(self, symbol="A", *, days=DAYS, actions=(), listed=None, **columns):
        """Import rows of one asset."""
        count = len(next(iter(columns.values()))) if columns else 0
        days = np.array(days[:count], dtype="datetime64[D]")
        empty = np.full(count, np.nan)
        fields = [
            np.array(columns.get(name, empty), dtype=np.float64)
            for name in ("close", "opens", "high", "low", "volume")
        ]
        rows = BarRows((symbol,), np.zeros(count, dtype=np.int32), days, *fields)
        return ImportMarket(self.store, self.clock)(
            None,
            Instruments.of(listed or ()),
            usual=Instruments(),
            bars=rows if count else None,
            actions=Actions.of(actions),
            sources={"bars": "bars.csv"},
        )

    def issues(self, **options):
        return [
            (one.rule, one.day, one.state) for one in ListIssues(self.store, self.store)(**options)
        ]

    def decide(self, decision, symbol="A", **options):
        return DecideIssues(self.store, self.clock)(Decision(decision), symbol, **options)


def test_pence_that_become_pounds_are_withheld_until_they_are_accepted():
    market = Deployment()
    market.add(close=[500, 505, 5.04, 5.1, 5.0])
    assert market.issues() == [(Rule.UNIT_CHANGE, day(2), OPEN)]
    assert list(market.store.withheld()) == ["A"]
    (accepted,) = market.decide("accept", rule=Rule.UNIT_CHANGE, day=day(2), note="true")
    assert accepted.state is ACCEPTED
    assert accepted.text.endswith("; true")
    assert market.store.withheld() == {}
    assert market.store.closes().last_closes.tolist() == [5.0]
    assert market.issues() == []
    assert market.issues(everything=True) == [(Rule.UNIT_CHANGE, day(2), ACCEPTED)]


def test_rejected_close_is_missing_until_an_import_changes_it():
    market = Deployment()
    closes = [100.0, 100, 140, 101, 100]
    market.add(close=closes)
    assert market.issues() == [(Rule.SPIKE, day(2), OPEN)]
    market.decide("reject")
    assert market.store.closes().closes[:, 0].tolist() == [100, 100, 101, 100]
    assert market.issues() == []
    market.add(close=closes)
    assert market.issues(everything=True) == [(Rule.SPIKE, day(2), REJECTED)]
    market.add(close=[100.0, 100, 102, 101, 100])
    assert market.store.closes().closes[2, 0] == 102
    assert market.issues(everything=True) == [(Rule.SPIKE, day(2), RESOLVED)]
    with pytest.raises(Conflict, match="a later import resolved the findings of A"):
        market.decide("accept")


def test_error_that_a_later_close_released_is_resolved():
    market = Deployment()
    market.add(close=[100.0, 100, 10_000, 101, 100])
    assert market.issues() == []
    assert market.issues(everything=True) == [(Rule.UNIT_CHANGE, day(2), RESOLVED)]


def test_findings_of_an_import_stay_open_until_a_later_import_is_clean():
    market = Deployment()
    told = market.add(close=[100.0, 0, 102], high=[101, 103, 103], low=[99, 99, 104])
    assert [one["rule"] for one in told.findings] == ["not_positive", "high_below_low"]
    assert market.issues() == [
        (Rule.NOT_POSITIVE, day(1), OPEN),
        (Rule.HIGH_BELOW_LOW, day(2), OPEN),
    ]
    revision = market.store.store.revision("verdicts")
    market.add(close=[100.0, 0, 102], high=[101, 103, 103], low=[99, 99, 104])
    assert market.store.store.revision("verdicts") == revision
    market.add(close=[100.0, 101, 102], high=[101, 103, 103], low=[99, 99, 101])
    assert market.issues() == []
    assert [state for _, _, state in market.issues(everything=True)] == [RESOLVED, RESOLVED]
    market.add(close=[100.0, 0, 102])
    assert market.issues() == [(Rule.NOT_POSITIVE, day(1), OPEN)]


@pytest.fixture
def early():
    """A market of 2024-01-03 with closes until 2024-01-08."""
    market = Deployment(today=day(2))
    market.now = datetime(2024, 1, 3, 12, tzinfo=UTC)
    market.add(close=[10.0, 11, 12, 13, 14, 15])
    return market


def test_closes_of_days_to_come_are_used_when_they_are_accepted(early):
    early.decide("accept", rule=Rule.FUTURE_DATE)
    assert early.store.closes().last_date == day(5)


def test_closes_of_days_to_come_are_used_when_their_day_has_come(early):
    market = early
    assert market.issues() == [(Rule.FUTURE_DATE, day(4), OPEN)]
    assert market.store.closes().last_date == day(3)
    market.today = day(3)
    assert market.store.closes().last_date == day(4)
    assert market.issues() == []


def test_implausible_dividend_is_used_once_it_is_accepted():
    market = Deployment()
    dividend = CorporateAction("A", day(30), ActionKind.DIVIDEND, Decimal(500))
    market.add(close=np.full(60, 100.0), actions=[dividend])
    (issue,) = ListIssues(market.store, market.store)()
    assert (issue.rule, issue.severity) == (Rule.IMPLAUSIBLE_DIVIDEND, Severity.ERROR)
    assert issue.text.startswith("A pays 500 per share, 500.0% of its last close of 100")
    assert len(market.store.closes().quotes.actions) == 0
    market.decide("accept")
    assert len(market.store.closes().quotes.actions) == 1
    market.add(actions=[CorporateAction("A", day(30), ActionKind.DIVIDEND, Decimal(5))])
    assert market.issues(everything=True) == [
        (Rule.IMPLAUSIBLE_DIVIDEND, day(30), OPEN)  # 5% that the closes do not show
    ]


def test_distributions_whose_value_is_unknown_are_named_until_it_is_known():
    market = Deployment()
    closes = np.full(60, 100.0)
    imported = market.add(
        close=closes,
        actions=[
            CorporateAction("A", day(20), ActionKind.DIVIDEND, Decimal("1.50"), "ARS"),
            CorporateAction("A", day(30), ActionKind.SPIN_OFF, Decimal("0.25"), other="B"),
            CorporateAction("A", day(40), ActionKind.DIVIDEND, Decimal(1), "USD"),
        ],
    )
    assert [one["text"] for one in imported.findings] == [
        f"A pays 1.5 ARS per share on {day(20)}, which no exchange rate converts to USD; returns "
        "do not include it",
        f"A spins off B on {day(30)}, which has no close since; returns do not include it",
    ]
    rule = Rule.UNVALUED_DISTRIBUTION
    assert market.issues(severity=Severity.WARNING) == [
        (rule, day(20), OPEN),
        (rule, day(30), OPEN),
    ]
    assert market.add("B", close=closes).findings == ()
    market.add("USDARS", close=closes)
    assert market.issues() == []


def test_import_names_a_distribution_that_the_price_does_not_show():
    market = Deployment()
    market.add(close=np.full(60, 100.0))
    dividend = CorporateAction("A", day(30), ActionKind.DIVIDEND, Decimal(60))
    (found,) = market.add(actions=[dividend]).findings
    assert (found["rule"], found["day"]) == ("implausible_dividend", day(30).isoformat())
    market.decide("accept")
    assert market.add(close=np.full(60, 100.0)).findings == ()


@pytest.mark.parametrize(
    ("kind", "other", "why"),
    [("rename", "NEW", "called NEW since {}"), ("delisting", None, "delisted on {}")],
)
def test_renamed_and_delisted_assets_miss_no_closes(kind, other, why):
    market = Deployment()
    market.add("OLD", close=np.full(40, 100.0))
    market.add("B", close=np.full(60, 100.0))
    assert market.issues() == [(Rule.STALE, day(39), OPEN)]
    ending = CorporateAction("OLD", day(40), ActionKind(kind), other=other)
    imported = market.add(actions=[ending])
    assert imported.withheld["OLD"] == why.format(day(40))
    assert imported.ended == ("OLD",)
    if other is not None:
        market.add(other, days=DAYS[40:], close=np.full(20, 100.0))
    assert market.issues() == []
    history = market.store.closes(until=day(40))
    assert list(history.withheld) == ["OLD"], "its last close is not carried past its end"
    assert market.store.closes(until=day(39)).withheld == {}


def test_renamed_asset_keeps_its_unit_and_class_under_the_new_symbol():
    market = Deployment()
    pence = Instrument("OLD", "Old plc", AssetClass.BOND, currency="GBX", market="XLON")
    market.add("OLD", close=np.full(40, 870.0))
    market.add("NEW", days=DAYS[40:], close=np.full(20, 877.18))
    market.add(actions=[CorporateAction("OLD", day(40), ActionKind.RENAME, other="NEW")])
    market.add(listed=[pence])
    history = market.store.closes()
    assert history.last_known("NEW") == (day(59), 8.7718)
    assert history.currency_of("NEW", "") == "GBP"
    assert market.store.instruments()["NEW"] == attrs.evolve(pence, symbol="NEW")
    market.add(listed=[Instrument("NEW", currency="GBX")])
    assert market.store.instruments()["NEW"] == Instrument("NEW", currency="GBX")


def test_wrong_exchange_rates_are_found_and_not_used():
    market = Deployment()
    market.add(close=np.full(60, 100.0))
    rates = np.full(60, 1.25)
    rates[50:] = 125.0
    (found,) = market.add("EURUSD", close=rates).findings
    assert (found["symbol"], found["rule"]) == ("EURUSD", "unit_change")
    assert market.issues() == [(Rule.UNIT_CHANGE, day(50), OPEN)]
    assert market.store.closes().in_currency("EUR").last_prices.tolist() == [80.0]
    market.decide("accept", "EURUSD")
    assert market.issues() == []
    assert market.store.closes().in_currency("EUR").last_prices.tolist() == [0.8]
    market.add("EURUSD", close=np.full(60, 1.25))
    assert market.store.closes().in_currency("EUR").last_prices.tolist() == [80.0]


def test_symbols_of_actions_without_prices_are_named():
    market = Deployment()
    market.add(close=np.full(60, 100.0))
    split = CorporateAction("TYPO", day(30), ActionKind.SPLIT, Decimal(2))
    assert market.add(actions=[split]).notes == (
        "There are no prices yet of these assets with corporate actions: TYPO.",
    )
    rename = CorporateAction("A", day(30), ActionKind.RENAME, other="TYPO")
    assert market.add(actions=[rename, split]).notes == ()


class Calendar:
    """Weekdays are sessions, but for a holiday."""

    def sessions(self, markets):
        days = np.arange("2023-12-01", "2024-12-01", dtype="datetime64[D]")
        days = days[np.is_busday(days) & (days != DAYS[20])]
        return dict.fromkeys(markets, days)


def test_missing_and_extra_sessions_and_old_closes_are_listed():
    market = Deployment(calendars=Calendar())
    listed = [Instrument(symbol, market="XNYS") for symbol in "ABC"]
    sessions = DAYS[np.arange(60) != 20]
    market.add("A", days=sessions, close=np.full(59, 10.0), listed=listed)
    market.add("B", days=np.delete(DAYS, 40), close=np.full(59, 10.0))
    market.add("C", days=sessions, close=np.full(40, 10.0))
    found = {(one.symbol, one.rule): one for one in ListIssues(market.store, market.store)()}
    assert found["B", Rule.MISSING_SESSION].text == (
        f"B has no close of a session of XNYS on {day(40)}"
    )
    assert found["B", Rule.EXTRA_SESSION].day == day(20)
    assert found["C", Rule.STALE].text.startswith(f"C has no close since {day(40)}")
    assert set(found) - {("C", Rule.MISSING_SESSION)} == {
        ("B", Rule.MISSING_SESSION),
        ("B", Rule.EXTRA_SESSION),
        ("C", Rule.STALE),
    }


def test_close_that_is_not_used_counts_for_its_session():
    market = Deployment(calendars=Calendar())
    closes = np.full(20, 10.0)
    closes[10] = 1000.0
    market.add(close=closes, listed=[Instrument("A", market="XNYS")])
    assert market.issues(everything=True) == [(Rule.UNIT_CHANGE, day(10), RESOLVED)]


def test_issues_are_selected_by_symbol_and_severity():
    market = Deployment()
    market.add("A", close=[500, 505, 5.04, 5.1, 5.0])
    market.add("B", close=[100.0, 100, 140, 101, 100])
    assert market.issues(symbol="B") == [(Rule.SPIKE, day(2), OPEN)]
    assert market.issues(severity=Severity.ERROR) == [(Rule.UNIT_CHANGE, day(2), OPEN)]
    with pytest.raises(NotFound, match="asset NONE does not exist"):
        market.issues(symbol="NONE")
    with pytest.raises(NotFound, match="B has no finding of rule stale on 2024-01-03"):
        market.decide("accept", "B", rule=Rule.STALE, day=day(2))


def test_verdicts_count_from_when_they_were_decided():
    market = Deployment()
    market.add(close=[500, 505, 5.04, 5.1, 5.0])
    before = market.now
    market.decide("accept")
    assert list(market.store.known_by(before).closes().withheld) == ["A"]
    assert market.store.known_by(market.now).closes().withheld == {}


def test_issues_of_a_file_have_no_decisions():
    history = history_of(["A"], DAYS[:4], np.array([500, 505, 5.04, 5.1])[:, None])
    (issue,) = ListIssues(MemoryPrices(history), None)()
    described = describe_issue(issue)
    assert (described["rule"], described["state"], described["decided"]) == (
        *("unit_change", "open"),
        None,
    )
