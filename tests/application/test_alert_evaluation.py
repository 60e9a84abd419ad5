"""Alerts are evaluated at closes and as time passes; each is told once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import attrs
import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.alert_evaluation import CHECK, LEASE, EvaluationReport
from rebalancer.application.alerts import ChangeAlerts, ReadAlerts
from rebalancer.domain.alerts.automation import AutomationSettings, Frequency
from rebalancer.domain.alerts.settings import AlertSettings
from rebalancer.domain.errors import NotFound
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.portfolio.ledger import EntryKind
from rebalancer.domain.rebalancing.lifecycle import ProposalOrigin, Stage
from tests.alerting import MONDAY, Desk

TUESDAY, WEDNESDAY, THURSDAY = date(2026, 1, 6), date(2026, 1, 7), date(2026, 1, 8)
BAND = AlertSettings(band=True, band_width=0.05, pause=0)


@pytest.fixture
def desk() -> Desk:
    return Desk(MemoryWork())


def kinds(desk: Desk) -> list[NoticeKind]:
    return [one.kind for one in desk.notices()]


def test_position_that_leaves_its_band_raises_one_alert_and_ends_it(desk: Desk) -> None:
    id = desk.open(BAND)
    assert desk.look() == EvaluationReport(1, 0, 0)

    desk.move(TUESDAY, 130.0)  # 6,500 of 11,500: 56.5 %, so both assets leave their bands
    assert desk.look() == EvaluationReport(1, 2, 0)
    desk.move(WEDNESDAY, 131.0)
    assert desk.look() == EvaluationReport(1, 0, 0)

    told = desk.notices()
    assert [one.kind for one in told] == [NoticeKind.POSITION_OUTSIDE_BAND] * 2
    first = next(one for one in told if one.parameters["symbol"] == "A")
    assert first.parameters == {
        "portfolio_name": "Pension",
        "symbol": "A",
        "weight": "0.565217",
        "target": "0.500000",
        "band": "0.050000",
    }
    assert first.key == f"alert:{id}:band:A:1"

    desk.move(THURSDAY, 100.0)
    assert desk.look() == EvaluationReport(1, 0, 0)
    assert all(one.ended is not None for one in desk.episodes(id))
    assert all(one.resolved == desk.now for one in desk.notices())

    desk.move(date(2026, 1, 9), 130.0)
    desk.look()
    assert sorted(one.number for one in desk.episodes(id)) == [1, 1, 2, 2]


def test_nothing_is_evaluated_again_before_something_changes(desk: Desk) -> None:
    id = desk.open(BAND)
    assert desk.look().portfolios == 1
    assert desk.look().portfolios == 0

    desk.pay(id, EntryKind.DEPOSIT, 500, date(2026, 1, 5))
    desk.wait(seconds=1)
    assert desk.look().portfolios == 1
    desk.wait(seconds=1)
    assert desk.look().portfolios == 0
    desk.now += CHECK
    assert desk.look().portfolios == 1


def test_drawdown_ignores_a_withdrawal(desk: Desk) -> None:
    id = desk.open(AlertSettings(drawdown=0.1), cash=5000)
    desk.look()

    desk.pay(id, EntryKind.WITHDRAWAL, 5000, date(2026, 1, 5))
    desk.move(TUESDAY, 85.0)  # 9,250 of 10,000: 7.5 % below the peak
    assert desk.look().alerts == 0
    desk.move(WEDNESDAY, 75.0)  # 12.5 % below
    assert desk.look().alerts == 1
    (told,) = desk.notices()
    assert told.parameters["drawdown"] == "0.125000"


def test_uninvested_deposit_raises_an_alert_after_its_days(desk: Desk) -> None:
    id = desk.open(AlertSettings(deposit_uninvested=2))
    desk.pay(id, EntryKind.DEPOSIT, 500, date(2026, 1, 2))  # back-dated by three days
    assert desk.look().alerts == 0
    desk.wait(days=2)
    assert desk.look().alerts == 0
    desk.wait(hours=1)
    assert desk.look().alerts == 1

    (told,) = desk.notices()
    assert told.kind is NoticeKind.DEPOSIT_UNINVESTED
    assert (told.parameters["amount"], told.parameters["since"]) == ("500.00", "2026-01-05")


def test_cash_and_stale_prices_raise_alerts(desk: Desk) -> None:
    desk.open(AlertSettings(cash_above=0.2, prices_stale=3), cash=5000)
    assert desk.look().alerts == 1
    desk.wait(days=4)  # Friday evening: the closes of Tuesday to Thursday are missing
    assert desk.look().alerts == 0
    desk.wait(days=3)  # Monday evening: and that of Friday
    assert desk.look().alerts == 2

    assert kinds(desk) == [NoticeKind.CASH, NoticeKind.PRICES_STALE, NoticeKind.PRICES_STALE]
    assert desk.notices()[0].parameters["share"] == "0.333333"


def test_lease_of_a_dead_worker_is_taken_over_with_the_same_alert(desk: Desk) -> None:
    id = desk.open(BAND)
    desk.look()
    desk.move(TUESDAY, 130.0)
    with desk.work.begin() as tx:  # it dies after this
        assert tx.alerts.claim(
            desk.now,
            worker=uuid4(),
            until=desk.now + LEASE,
            market="2026-01-06 x",
            settled=desk.now,
            limit=9,
        )

    assert desk.look().portfolios == 0
    desk.now += LEASE
    assert desk.look().alerts == 2
    assert {one.key for one in desk.notices()} == {f"alert:{id}:band:{one}:1" for one in "AB"}


def test_alerts_of_others_do_not_exist(desk: Desk) -> None:
    id = desk.open(BAND)
    with pytest.raises(NotFound):
        ReadAlerts(desk.work)(id, actor=uuid4(), now=desk.now)
    with pytest.raises(NotFound):
        ChangeAlerts(desk.work)(id, BAND, owner=uuid4(), now=desk.now)
    assert ("alerts_changed", "done", "") in desk.events()


def test_waiting_proposal_raises_an_alert_until_it_is_decided(desk: Desk) -> None:
    id = desk.open(
        AlertSettings(proposal_waits=2, proposal_expires=1),
        AutomationSettings(Frequency.SESSION),
    )
    desk.look()
    desk.move(TUESDAY, 130.0)
    assert desk.look().proposals == 1
    desk.wait(hours=3)
    assert desk.look().alerts == 1
    assert kinds(desk) == [NoticeKind.PROPOSAL_MADE, NoticeKind.PROPOSAL_WAITING]

    (made,) = desk.proposals(id)
    desk.accept(made.id, owner=desk.owner, now=desk.now)
    desk.wait(minutes=1)
    assert desk.look().alerts == 0
    assert desk.notices()[-1].resolved == desk.now
    assert desk.record(id).state.watches == ()


def test_schedule_begins_with_the_next_period_and_catches_up_once(desk: Desk) -> None:
    id = desk.open(automation=AutomationSettings(Frequency.WEEKLY))
    desk.look()
    desk.move(TUESDAY, 140.0)
    desk.look()
    assert desk.proposals(id) == []

    desk.move(date(2026, 1, 20), 140.0)  # no worker ran for two weeks
    assert desk.look().proposals == 1
    (made,) = desk.proposals(id)
    assert (made.origin, made.actor, made.stage) == (
        ProposalOrigin.SCHEDULE,
        None,
        Stage.PROPOSED,
    )
    desk.wait(hours=1)
    assert desk.look().proposals == 0
    assert ("automatic_proposal", "done", "") in desk.events()


def test_each_alert_asks_for_a_proposal(desk: Desk) -> None:
    id = desk.open(BAND, AutomationSettings(on_alert=True))
    desk.look()
    desk.move(TUESDAY, 130.0)
    assert desk.look().proposals == 1
    desk.move(WEDNESDAY, 100.0)
    desk.look()
    desk.move(THURSDAY, 130.0)
    assert desk.look().proposals == 1

    earlier, later = desk.proposals(id)
    assert earlier.stage_at(desk.now) is Stage.EXPIRED
    assert later.origin is ProposalOrigin.ALERT
    assert kinds(desk).count(NoticeKind.PROPOSAL_MADE) == 2


def test_waiting_automatic_proposal_is_superseded_and_a_requested_one_stays(desk: Desk) -> None:
    id = desk.open(automation=AutomationSettings(Frequency.SESSION))
    desk.look()
    desk.move(TUESDAY, 130.0)
    desk.look()
    (waiting,) = desk.proposals(id)
    desk.move(WEDNESDAY, 135.0)
    desk.now -= timedelta(hours=1)  # before it expires
    desk.look()

    earlier, later = desk.proposals(id)
    assert (earlier.id, earlier.stage) == (waiting.id, Stage.EXPIRED)
    assert earlier.remark == f"Superseded by proposal {later.id}."
    assert later.stage is Stage.PROPOSED


def test_nothing_to_trade_leaves_no_proposal(desk: Desk) -> None:
    id = desk.open(automation=AutomationSettings(Frequency.SESSION))
    desk.look()
    desk.move(TUESDAY, 100.0)
    desk.look()

    assert desk.proposals(id) == []
    assert desk.record(id).progress.outcome == "nothing_to_do"
    assert desk.notices() == []


def test_closed_portfolio_is_left_out(desk: Desk) -> None:
    id = desk.open(BAND)
    with desk.work.begin() as tx:
        tx.portfolios.close(id, owner=desk.owner, version=1, now=MONDAY)
    assert desk.look() == EvaluationReport()


LIVE = attrs.evolve(BAND, live=True)


def test_alert_at_quotes_lasts_until_closes_are_inside(desk: Desk) -> None:
    id = desk.open(LIVE)
    desk.look()
    desk.now = datetime(2026, 1, 6, 15, tzinfo=UTC)
    desk.quote(A=103.0)
    assert desk.watch() == EvaluationReport()
    desk.wait(seconds=10)
    desk.quote(A=130.0)
    assert desk.watch() == EvaluationReport(1, 2, 0)
    desk.wait(seconds=10)
    assert desk.watch() == EvaluationReport()

    desk.wait(minutes=40)  # the quote is stale, and Monday's closes are inside
    assert desk.watch() == EvaluationReport()
    assert desk.look().portfolios == 1
    assert all(one.ended is None for one in desk.episodes(id))
    desk.wait(days=1)
    desk.move(WEDNESDAY, 101.0)
    desk.look()
    assert all(one.ended == desk.now for one in desk.episodes(id))


def test_alert_at_quotes_is_answered_at_quotes(desk: Desk) -> None:
    id = desk.open(LIVE, AutomationSettings(on_alert=True))
    desk.look()
    desk.now = datetime(2026, 1, 6, 15, tzinfo=UTC)
    desk.quote(A=130.0, B=100.0)
    assert desk.watch() == EvaluationReport(1, 2, 1)

    (made,) = desk.proposals(id)
    assert made.expires == desk.now + timedelta(minutes=10)
    assert {one.symbol: one.price for one in made.proposal.orders} == {
        "A": Decimal(130),
        "B": Decimal(100),
    }


def test_alert_is_answered_at_closes_where_no_quote_is_known(desk: Desk) -> None:
    id = desk.open(LIVE, AutomationSettings(on_alert=True))
    desk.look()
    desk.move(TUESDAY, 130.0)
    desk.look()

    (made,) = desk.proposals(id)
    assert made.origin is ProposalOrigin.ALERT
    assert made.expires > desk.now + timedelta(minutes=10)


def test_quotes_count_only_where_their_owner_wants_it(desk: Desk) -> None:
    desk.open(BAND)
    desk.look()
    desk.now = datetime(2026, 1, 6, 15, tzinfo=UTC)
    desk.quote(A=130.0)
    assert desk.watch() == EvaluationReport()
    desk.now += CHECK
    assert desk.look() == EvaluationReport(1, 0, 0)


def test_implausible_quote_changes_nothing(desk: Desk) -> None:
    desk.open(LIVE)
    desk.look()
    desk.now = datetime(2026, 1, 6, 15, tzinfo=UTC)
    desk.quote(A=1.0)
    assert desk.watch() == EvaluationReport()
    assert desk.notices() == []
