"""Preview, commit, list and undo imports of statements."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4, uuid5

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.statements.generic_csv import CsvTables
from rebalancer.adapters.statements.registry import DiscoveredReaders
from rebalancer.application.asset_search import Search, SearchAssets, SearchEverywhere
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.import_planning import ImportOptions
from rebalancer.application.owner_entries import CashFlow, Trade
from rebalancer.application.performance import MeasurePerformance
from rebalancer.application.planned_flows import (
    ConfirmFlow,
    FlowConfirmation,
    RevisePlan,
    put_flow,
)
from rebalancer.application.portfolios import OpenPortfolio
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.application.statement_files import ReadStatement, StatementFile
from rebalancer.application.statement_imports import (
    CommitImport,
    ListImports,
    PreviewImport,
    UndoImport,
)
from rebalancer.application.stored_market import StoredMarket
from rebalancer.application.transactions import RecordCashFlow, RecordTrades
from rebalancer.domain.errors import Conflict, InvalidRequest, NotFound
from rebalancer.domain.market.actions import ActionKind, CorporateAction
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.import_balances import PositionChange
from rebalancer.domain.portfolio.import_duplicates import Certainty
from rebalancer.domain.portfolio.ledger import NotVoidable, Overdrawn
from rebalancer.domain.portfolio.mandate import AcceptedVersions, Mandate, PortfolioChanged
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.portfolio.planned_flows import Every, FlowKind, PlannedFlow

NOW = datetime(2024, 2, 1, tzinfo=UTC)
OWNER, ID = UUID(int=1), UUID(int=2)
DAYS = np.datetime64("2024-01-01") + np.arange(12)
"""Every day from Monday, 1 January on is a market day."""

HEADER = "date,kind,symbol,quantity,price,amount,cost,currency,note,id\n"
FILE = (
    HEADER
    + "2024-01-02,deposit,,,,1000.00,,,,d1\n"
    + "2024-01-03,buy,B,4,50,200.00,1.00,,,t1\n"
    + "2024-01-03,buy,B,4,50,200.00,1.00,,,t2\n"
)


class Desk:
    """Market, portfolio and use cases in memory."""

    def __init__(self, *actions: CorporateAction, owner: UUID = OWNER) -> None:
        self.market = StoredMarket(MemoryMarket(), check_interval=0.0)
        self.work = MemoryWork()
        self.now = NOW
        self.book = BookActions(self.work, lambda: NOW)
        self.market.save_bars(
            [
                Bars("A", DAYS, np.where(np.arange(12) < 6, 400.0, 100.0), adjusted=False),
                Bars("B", DAYS, np.full(12, 50.0), adjusted=False),
                Bars("B-USD", DAYS, np.full(12, 7.0), adjusted=False),
            ]
        )
        if actions:
            self.market.save_actions(actions, source="test")
        with self.work.begin() as tx:
            tx.users.add(User(owner, "ada@example.org", "Ada", "x", NOW))
        OpenPortfolio(self.work, self.market, self.market)(
            Mandate("p", Currency("USD"), {"A": 0.5, "B": 0.4}),
            cash=Decimal(0),
            on=DAYS[0].item(),
            id=ID,
            owner=owner,
            now=NOW,
        )
        read = ReadStatement(DiscoveredReaders(), CsvTables())
        search = SearchEverywhere(SearchAssets(self.market, self.market), ProviderChain({}))
        self._preview = PreviewImport(self.work, self.market, read, search, lambda: self.now)
        self._commit = CommitImport(self.work, self.market, read)
        self._undo = UndoImport(self.work, self.market)

    def preview(self, text: str = FILE, **options: Any) -> Any:
        return self._preview(
            StatementFile("a.csv", text.encode()),
            ImportOptions(**options),
            portfolio_id=ID,
            owner=OWNER,
            now=NOW,
        )[0]

    def commit(
        self, text: str = FILE, *, key: str | None = None, owner: UUID = OWNER, **options: Any
    ) -> Any:
        accepted = options.pop("accepted", AcceptedVersions())
        return self._commit(
            StatementFile("a.csv", text.encode()),
            ImportOptions(**options),
            portfolio_id=ID,
            owner=owner,
            accepted=accepted,
            key=key,
            id=uuid4(),
            now=NOW,
        )

    def undo(self, id: UUID, *, key: str | None = None) -> Any:
        return self._undo(id, portfolio_id=ID, owner=OWNER, key=key, now=NOW + timedelta(hours=1))

    @property
    def entries(self) -> tuple[Entry, ...]:
        with self.work.read() as tx:
            return tx.portfolios.ledger(ID).entries

    @property
    def state(self) -> Any:
        with self.work.read() as tx:
            return tx.portfolios.get(ID)

    @property
    def audited(self) -> list[str]:
        with self.work.read() as tx:
            return [event.action for event in tx.audit.page(OWNER, limit=9)]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_preview_shows_entries_and_positions_and_writes_nothing(desk: Desk) -> None:
    before = desk.state
    preview = desk.preview()
    assert (preview.layout, preview.title) == ("rebalancer_csv", "Rebalancer ledger (CSV)")
    assert [planned.line for planned in preview.plan.entries] == [2, 3, 4]
    assert preview.changes == (
        PositionChange(None, "USD", Decimal(0), Decimal(598)),  # 1000 - 2 * 201
        PositionChange("B", None, Decimal(0), Decimal(8)),
    )
    assert (preview.problems, preview.overdrafts) == ((), ())
    assert desk.state == before
    assert desk.entries == ()


def test_commit_adds_all_entries_and_the_same_file_changes_nothing_again(desk: Desk) -> None:
    version = desk.state.version
    made, preview, valued, replayed = desk.commit()
    assert (made.entries, made.layout, made.file_name, replayed) == (
        3,
        "rebalancer_csv",
        "a.csv",
        False,
    )
    assert valued.portfolio.positions.cash == Decimal(598)
    assert valued.portfolio.positions.holdings == {"B": Decimal(8)}
    assert [planned.entry for planned in preview.plan.entries] == list(desk.entries)
    after = desk.state
    assert after.version == version + 1
    again, preview, _, _ = desk.commit()
    assert again is None
    assert [one.certainty for one in preview.plan.duplicates] == [Certainty.RECORDED] * 3
    assert preview.earlier == made
    assert desk.state == after
    assert desk.audited.count("statement_imported") == 1


def test_repeated_request_takes_effect_once(desk: Desk) -> None:
    made, _, _, _ = desk.commit(key="k")
    again, _, _, replayed = desk.commit(key="k")
    assert (again, replayed) == (made, True)
    assert len(desk.entries) == 3
    with pytest.raises(Conflict) as raised:
        desk.commit(FILE + "2024-01-04,fee,,,,1.00,,,,\n", key="k")
    assert raised.value.code == "idempotency_key_reused"


def test_stale_version_is_refused(desk: Desk) -> None:
    with pytest.raises(PortfolioChanged):
        desk.commit(accepted=AcceptedVersions(frozenset({99})))
    assert desk.entries == ()


def test_portfolio_of_another_owner_does_not_exist(desk: Desk) -> None:
    with pytest.raises(NotFound):
        desk.commit(owner=UUID(int=9))


def test_line_with_an_error_keeps_all_from_being_added_unless_it_is_skipped(desk: Desk) -> None:
    text = FILE + "2024-01-04,buy,B,x,50,50,,,,\n"
    (problem,) = desk.preview(text).problems
    assert problem.message.startswith("1 line has an error, the first is line 5: quantity: 'x'")
    with pytest.raises(InvalidRequest) as raised:
        desk.commit(text)
    assert (raised.value.field, raised.value.code) == ("file", "lines_with_errors")
    assert desk.entries == ()
    made, _, _, _ = desk.commit(text, skip_errors=True)
    assert made.entries == 3


def test_unknown_instrument_is_suggested_mapped_and_remembered(desk: Desk) -> None:
    text = FILE + "2024-01-04,buy,BUSD,1,7,7.00,,,,\n"
    preview = desk.preview(text)
    (problem,) = preview.problems
    assert (problem.field, problem.code) == ("mapping", "unknown_instruments")
    assert [one.symbol for one in preview.suggestions["BUSD"]] == ["B-USD"]
    with pytest.raises(InvalidRequest, match="no symbol is known of BUSD"):
        desk.commit(text)
    made, _, valued, _ = desk.commit(text, mapping={"BUSD": "B-USD"})
    assert made.mapping == {"BUSD": "B-USD"}
    assert valued.portfolio.positions.holdings == {"B": Decimal(8), "B-USD": Decimal(1)}
    later = HEADER + "2024-01-05,buy,BUSD,2,7,14.00,,,,\n"
    assert desk.preview(later).problems == ()


def test_search_for_suggestions_ends_in_time() -> None:
    desk, asked = Desk(), []

    @attrs.frozen
    class SlowSearch(SearchEverywhere):
        """Each search takes six seconds."""

        def __call__(self, query: str, **options: Any) -> Search:
            asked.append(query)
            desk.now += timedelta(seconds=6)
            return Search((), ("a provider is slow",))

    search = SlowSearch(SearchAssets(desk.market, desk.market), ProviderChain({}))
    slow = attrs.evolve(desk._preview, search=search)
    rows = "".join(f"2024-01-04,buy,ZZZ{n},1,7,7.00,,,,\n" for n in range(5))
    preview, _ = slow(
        StatementFile("a.csv", (HEADER + rows).encode()),
        ImportOptions(),
        portfolio_id=ID,
        owner=OWNER,
        now=NOW,
    )
    assert asked == ["ZZZ0", "ZZZ1"]
    assert set(preview.suggestions) == {f"ZZZ{n}" for n in range(5)}
    assert preview.notes == ("a provider is slow",)


def test_overdrawn_result_is_reported_by_day_and_not_written(desk: Desk) -> None:
    text = HEADER + "2024-01-03,buy,B,4,50,200.00,1.00,,,\n2024-01-04,deposit,,,,500,,,,\n"
    preview = desk.preview(text)
    assert [(one.on, one.currency, one.balance) for one in preview.overdrafts] == [
        (date(2024, 1, 3), "USD", Decimal(-201))
    ]
    assert preview.changes[0] == PositionChange(None, "USD", Decimal(0), Decimal(299))
    with pytest.raises(Overdrawn, match=r"cash in USD would be -201\.00 at the end of 2024-01-03"):
        desk.commit(text)
    assert desk.entries == ()


def test_missing_cash_is_deposited_with_the_import_and_undone_with_it(desk: Desk) -> None:
    text = HEADER + "2024-01-03,buy,B,4,50,200.00,1.00,,,\n2024-01-04,deposit,,,,500,,,,\n"
    made, _, valued, _ = desk.commit(text, deposit_missing_cash=True)
    assert made.entries == 3
    assert valued.portfolio.positions.cash == Decimal(500)
    again, _, _, _ = desk.commit(text, deposit_missing_cash=True)
    assert again is None
    _, count, valued, _ = desk.undo(made.id)
    assert (count, valued.portfolio.positions.cash) == (3, Decimal(0))
    assert desk.commit(text, deposit_missing_cash=True)[0].entries == 3


def test_entry_recorded_by_hand_is_left_out_as_probable_duplicate(desk: Desk) -> None:
    flow = CashFlow(EntryKind.DEPOSIT, Decimal(1000), on=date(2024, 1, 2))
    record = RecordCashFlow(desk.work, desk.market)
    record(flow, portfolio_id=ID, owner=OWNER, id=uuid4(), now=NOW)
    made, preview, _, _ = desk.commit()
    assert made.entries == 2
    assert [(one.line, one.certainty) for one in preview.plan.duplicates] == [
        (2, Certainty.PROBABLE)
    ]


def test_undo_voids_exactly_the_entries_of_the_import_once(desk: Desk) -> None:
    other, _, _, _ = desk.commit(HEADER + "2024-01-02,deposit,,,,50.00,,,,x\n")
    made, _, _, _ = desk.commit()
    undone, count, valued, _ = desk.undo(made.id)
    assert (undone.undone, count) == (NOW + timedelta(hours=1), 3)
    assert valued.portfolio.positions.cash == Decimal(50)
    assert valued.portfolio.positions.holdings == {}
    with pytest.raises(Conflict) as raised:
        desk.undo(made.id)
    assert raised.value.code == "already_undone"
    listed = ListImports(desk.work)(ID, actor=OWNER, limit=9)
    assert {one.id: one.undone is None for one in listed} == {other.id: True, made.id: False}
    assert desk.audited.count("import_undone") == 1
    again, _, valued, _ = desk.commit()  # with other ids
    assert again.entries == 3
    assert valued.portfolio.positions.cash == Decimal(648)


def test_repeated_undo_takes_effect_once(desk: Desk) -> None:
    made, _, _, _ = desk.commit()
    first = desk.undo(made.id, key="k")
    again = desk.undo(made.id, key="k")
    assert (first[3], again[3]) == (False, True)
    assert first[:2] == again[:2]
    assert len(desk.entries) == 6


def test_undo_leaves_entries_that_their_owner_voided(desk: Desk) -> None:
    made, _, _, _ = desk.commit()
    last = desk.entries[-1]
    with desk.work.begin() as tx:
        stored, ledger = tx.portfolios.get(ID), tx.portfolios.ledger(ID)
        longer = ledger.extended_by([last.reversal(recorded=NOW)])
        tx.portfolios.save(stored.book(longer, NOW), entries=longer.added[-1:], ledger=longer)
    _, count, valued, _ = desk.undo(made.id)
    assert count == 2
    assert valued.portfolio.positions.cash == 0


def test_import_that_later_entries_need_cannot_be_undone(desk: Desk) -> None:
    made, _, _, _ = desk.commit()
    trade = Trade(EntryKind.SELL, "B", Decimal(5), Decimal(50), on=date(2024, 1, 5))
    RecordTrades(desk.work, desk.market, desk.book)(
        [trade], portfolio_id=ID, owner=OWNER, id=uuid5(ID, "sale"), now=NOW
    )
    before = desk.state
    with pytest.raises(NotVoidable, match="the import cannot be undone: without it"):
        desk.undo(made.id)
    assert desk.state == before
    with pytest.raises(NotFound):
        desk.undo(uuid4())


def test_days_become_market_days_and_may_precede_the_prices(desk: Desk) -> None:
    text = (
        HEADER
        + "2020-05-04,deposit,,,,100.00,,,,\n"
        + "2024-01-13,deposit,,,,100.00,,,,\n"  # a day after the last close
        + "2024-01-28,deposit,,,,100.00,,,,\n"
        + "2024-03-01,deposit,,,,100.00,,,,\n"
    )
    preview = desk.preview(text)
    days = [one.entry.on for one in preview.plan.entries]
    assert days == [date(2020, 5, 4), date(2024, 1, 12)]
    assert [(one.line, one.code) for one in preview.plan.errors] == [
        (4, "day_outside_prices"),
        (5, "day_in_future"),
    ]
    desk.commit(text, skip_errors=True)
    measure = MeasurePerformance(desk.work, desk.market, desk.market, desk.book)
    record = measure(ID, actor=OWNER).record
    assert record.gain == pytest.approx(0)


SPLIT = CorporateAction("A", DAYS[6].item(), ActionKind.SPLIT, Decimal(4))
DIVIDEND = CorporateAction("A", DAYS[2].item(), ActionKind.DIVIDEND, Decimal(8))
OLD = HEADER + "2024-01-01,deposit,,,,4000.00,,,,\n" + "2024-01-02,buy,A,10,400,4000.00,,,,\n"


def test_sale_of_units_of_a_split_that_the_statement_lacks_is_possible() -> None:
    desk = Desk(SPLIT)
    text = OLD + "2024-01-09,sell,A,40,100,4000.00,,,,\n"
    preview = desk.preview(text)
    assert (preview.problems, preview.booked) == ((), 1)
    made, _, valued, _ = desk.commit(text)
    assert made.entries == 3
    assert valued.portfolio.positions.holdings == {}
    assert valued.portfolio.positions.cash == Decimal(4000)


def test_split_and_dividend_of_both_statement_and_market_count_once() -> None:
    desk = Desk(SPLIT, DIVIDEND)
    made, _, valued, _ = desk.commit(OLD)
    assert valued.portfolio.positions.holdings == {"A": Decimal(40)}
    assert valued.portfolio.positions.cash == Decimal(80)
    header = HEADER.strip() + ",ratio\n"
    rest = header + "2024-01-05,dividend,A,,,80.00,,,,,\n2024-01-07,split,A,,,,,,,,4\n"
    _, _, valued, _ = desk.commit(rest)
    assert valued.portfolio.positions.holdings == {"A": Decimal(40)}
    assert valued.portfolio.positions.cash == Decimal(80)
    desk.undo(made.id)


def test_units_adjusted_for_a_split_that_the_market_books_are_recorded_as_traded() -> None:
    """10 bought at 400 are 40 at 100 in a file of a tool that adjusts units for later splits."""
    desk = Desk(SPLIT)
    adjusted = "2024-01-01,deposit,,,,4000.00,,,,\n2024-01-02,buy,A,40,100,4000.00,,,,\n"
    _, preview, valued, _ = desk.commit(HEADER + adjusted)
    assert [one.code for one in preview.plan.remarks] == ["split_undone"]
    assert (desk.entries[1].quantity, desk.entries[1].price) == (Decimal(10), Decimal(400))
    assert valued.portfolio.positions.holdings == {"A": Decimal(40)}
    _, again, _, _ = desk.commit(OLD)  # the same purchase, as another tool states it
    certainties = [one.certainty for one in again.plan.duplicates]
    assert certainties == [Certainty.RECORDED, Certainty.PROBABLE]


TRADES = HEADER + "2024-01-03,buy,B,4,50,200.00,,,,t1\n2024-01-05,buy,B,2,50,100.00,,,,t2\n"
"""Two purchases of 200 and 100, without the deposits that paid for them."""


def test_deposits_of_a_later_statement_replace_those_that_stood_for_missing_cash() -> None:
    desk = Desk()
    trades, _, valued, _ = desk.commit(TRADES, deposit_missing_cash=True)
    assert valued.portfolio.positions.cash == 0
    money = HEADER + "2024-01-02,deposit,,,,1000.00,,,,m1\n"
    preview = desk.preview(money)
    assert [(one.before, one.after) for one in preview.changes] == [(0, 700)]
    (remark,) = preview.plan.remarks
    assert "deposits of 300.00 USD, which stood for cash" in remark.message
    paid, _, valued, _ = desk.commit(money)
    assert (paid.entries, valued.portfolio.positions.cash) == (1, Decimal(700))
    assert desk.commit(money)[0] is None
    for again in (False, True):
        _, voided, valued, _ = desk.undo(paid.id)
        assert (voided, valued.portfolio.positions.cash) == (1, Decimal(0))
        if not again:
            paid, _, valued, _ = desk.commit(money)
            assert valued.portfolio.positions.cash == Decimal(700)
    _, voided, valued, _ = desk.undo(trades.id)
    assert (voided, valued.portfolio.positions.cash) == (4, Decimal(0))
    assert valued.portfolio.positions.holdings == {}


def test_cash_that_later_deposits_do_not_cover_stays_deposited() -> None:
    """120 of the 200 of the third are still needed, and nothing of the 100 of the fifth."""
    desk = Desk()
    desk.commit(TRADES, deposit_missing_cash=True)
    money = HEADER + "2024-01-02,deposit,,,,80.00,,,,m1\n2024-01-04,deposit,,,,120.00,,,,m2\n"
    made, preview, valued, _ = desk.commit(money)
    assert made.entries == 3
    assert [one.code for one in preview.plan.remarks] == [
        "missing_cash_replaced",
        "missing_cash_stays",
    ]
    assert "deposits of 180.00 USD" in preview.plan.remarks[0].message
    assert valued.portfolio.positions.cash == Decimal(20)  # 80 + 120 + 120 - 300


def test_deposit_equal_to_the_missing_cash_replaces_it() -> None:
    desk = Desk()
    desk.commit(TRADES, deposit_missing_cash=True)
    money = HEADER + "2024-01-03,deposit,,,,200.00,,,,m1\n"
    made, preview, valued, _ = desk.commit(money)
    assert (made.entries, preview.plan.duplicates) == (1, ())
    assert valued.portfolio.positions.cash == 0


def test_undoing_both_imports_in_any_order_leaves_nothing() -> None:
    desk = Desk()
    trades, *_ = desk.commit(TRADES, deposit_missing_cash=True)
    paid, *_ = desk.commit(HEADER + "2024-01-02,deposit,,,,1000.00,,,,m1\n")
    desk.undo(trades.id)
    _, _, valued, _ = desk.undo(paid.id)
    assert valued.portfolio.positions.cash == 0
    assert valued.portfolio.positions.holdings == {}


def test_deposit_of_a_statement_equals_the_booked_flow_of_nearly_its_day() -> None:
    desk = Desk()
    flow, early = uuid4(), desk.now - timedelta(days=31)
    planned = PlannedFlow(
        flow, FlowKind.DEPOSIT, Decimal(70), Every.MONTH, 2, early.date(), early.date()
    )
    RevisePlan(desk.work, desk.market)(
        put_flow(planned), portfolio_id=ID, owner=OWNER, id=flow, now=early
    )
    ConfirmFlow(desk.work, desk.market)(
        FlowConfirmation(date(2024, 1, 2)),
        flow_id=flow,
        portfolio_id=ID,
        owner=OWNER,
        now=desk.now,
    )
    rows = "2024-01-04,deposit,,,,70,,,,b1\n2024-01-09,deposit,,,,70,,,,b2\n"
    shown = desk.preview(HEADER + rows)
    assert [(one.line, one.certainty) for one in shown.plan.duplicates] == [(2, Certainty.PROBABLE)]
    assert [one.line for one in shown.plan.entries] == [3]  # a week later is another payment
