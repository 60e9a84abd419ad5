"""Portfolios of two assets whose alerts are evaluated at closes that a test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import attrs
import numpy as np

from rebalancer.adapters.broker.paper import PaperBroker
from rebalancer.adapters.memory.market import MemoryCalendars, MemoryInstruments
from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.adapters.memory.quotes import MemoryQuoteBoard
from rebalancer.application.alert_evaluation import EvaluateAlerts, EvaluationReport
from rebalancer.application.alerts import ChangeAlerts, ChangeAutomation
from rebalancer.application.automatic_proposals import RunAutomation
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.decisions import AcceptProposal
from rebalancer.application.histories import ReadHistories
from rebalancer.application.history_provider import NoDetails
from rebalancer.application.live_alerts import WatchQuotes
from rebalancer.application.live_prices import ReadLivePrices
from rebalancer.application.live_values import DescribeWatched
from rebalancer.application.owner_entries import CashFlow
from rebalancer.application.portfolios import OpenPortfolio
from rebalancer.application.ports.portfolios import Broker
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.quotes import ReadQuotes
from rebalancer.application.rebalance import BuildContext, ProposeForPortfolio
from rebalancer.application.transactions import RecordCashFlow
from rebalancer.domain.alerts.automation import AutoAccept, AutomationSettings
from rebalancer.domain.alerts.record import AlertRecord
from rebalancer.domain.alerts.settings import AlertSettings
from rebalancer.domain.alerts.watches import Episode
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.live_quotes import LiveQuote, QuoteLimits
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.rebalancing.lifecycle import ProposalRecord
from tests.builders import USD

MONDAY = datetime(2026, 1, 5, 22, tzinfo=UTC)
WIDE = AutoAccept(max_turnover=1.0, max_cost=Decimal(1000), max_order=Decimal(100_000))


class MovingPrices(NoDetails):
    """Price source whose closes a test sets; both assets cost 100 until then."""

    def __init__(self) -> None:
        dates = np.busday_offset(np.datetime64("2026-01-05"), np.arange(-10, 1))
        self.history = PriceHistory.of(("A", "B"), dates, np.full((11, 2), 100.0))

    def add(self, day: date, a: float, b: float = 100.0) -> None:
        """Add the closes of a day."""
        self.history = PriceHistory.of(
            ("A", "B"),
            np.append(self.history.dates, np.datetime64(day, "D")),
            np.vstack([self.history.closes, [[a, b]]]),
        )

    def symbols(self) -> tuple[str, ...]:
        return self.history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        return self.history.window(symbols, days=days, until=until)


@attrs.define
class Desk:
    """Use cases of alerts over a store, at a time that a test moves."""

    work: UnitOfWork
    now: datetime = MONDAY
    prices: MovingPrices = attrs.field(factory=MovingPrices)
    broker: Broker = attrs.field(factory=PaperBroker)
    board: MemoryQuoteBoard = attrs.field(factory=MemoryQuoteBoard)
    owner: UUID = attrs.field(factory=uuid4)
    registers: bool = True

    def __attrs_post_init__(self) -> None:
        if not self.registers:
            return
        user = User(self.owner, f"{self.owner.hex}@example.org", "Ada", "", MONDAY)
        with self.work.begin() as tx:
            tx.users.add(user)

    def clock(self) -> datetime:
        return self.now

    def move(self, day: date, a: float, b: float = 100.0) -> None:
        """Add closes, and go to the evening of their day."""
        self.prices.add(day, a, b)
        self.now = datetime(day.year, day.month, day.day, 22, tzinfo=UTC)

    def wait(self, **time: float) -> None:
        """Let time pass."""
        self.now += timedelta(**time)

    def open(
        self,
        settings: AlertSettings | None = None,
        automation: AutomationSettings | None = None,
        *,
        holdings: Mapping[str, int] | None = None,
        cash: int = 0,
    ) -> UUID:
        """Open a portfolio that wants equal parts of both assets, and set its alerts."""
        id = uuid4()
        OpenPortfolio(self.work, self.prices, MemoryInstruments(Instruments()))(
            Mandate("Pension", USD, {"A": 0.5, "B": 0.5}),
            cash=Decimal(cash),
            holdings={
                symbol: Decimal(units) for symbol, units in (holdings or {"A": 50, "B": 50}).items()
            },
            id=id,
            owner=self.owner,
            now=self.now,
        )
        if settings is not None:
            ChangeAlerts(self.work)(id, settings, owner=self.owner, now=self.now)
        if automation is not None:
            self.automate(id, automation)
        return id

    def automate(self, id: UUID, automation: AutomationSettings) -> None:
        """Set the automation of a portfolio."""
        change = ChangeAutomation(self.work, MemoryPolicies())
        change(id, automation, bearer=None, now=self.now)

    def pay(self, id: UUID, kind: EntryKind, amount: int, on: date) -> None:
        """Record a deposit or a withdrawal."""
        flow = CashFlow(kind, Decimal(amount), on)
        record = RecordCashFlow(self.work, self.prices)
        record(flow, portfolio_id=id, id=uuid4(), owner=self.owner, now=self.now)

    @property
    def book(self) -> BookActions:
        return BookActions(self.work, self.clock)

    @property
    def accept(self) -> AcceptProposal:
        return AcceptProposal(self.work, self.prices, self.broker, self.book)

    @property
    def automation(self) -> RunAutomation:
        calendars = MemoryCalendars({})
        context = BuildContext(self.prices, MemoryInstruments(Instruments()), MemoryPolicies())
        describe = DescribeWatched(self.prices, MemoryInstruments(Instruments()), calendars, USD)
        minutes = timedelta(minutes=10)
        live = ReadLivePrices(ReadQuotes(self.board), describe, QuoteLimits(), minutes)
        propose = ProposeForPortfolio(self.work, self.prices, context, self.book, live=live)
        return RunAutomation(self.work, self.prices, calendars, propose, self.accept, self.clock)

    @property
    def evaluate(self) -> EvaluateAlerts:
        return EvaluateAlerts(
            self.work,
            self.prices,
            MemoryCalendars({}),
            self.book,
            ReadHistories(self.work),
            self.automation,
            ReadQuotes(self.board),
            self.clock,
            uuid4,
            MemoryInstruments(Instruments()),
        )

    @property
    def watch(self) -> WatchQuotes:
        """The evaluation at quotes, as of a process that has just started."""
        quotes = ReadQuotes(self.board)
        return WatchQuotes(self.work, self.prices, quotes, self.evaluate, self.clock)

    def quote(self, **prices: float) -> None:
        """Post trades of this moment."""
        self.board.post(
            [
                LiveQuote(symbol, price, "USD", self.now, self.now, "test")
                for symbol, price in prices.items()
            ]
        )

    def look(self, **options: Any) -> EvaluationReport:
        """Evaluate what is due."""
        return self.evaluate(**options)

    def record(self, id: UUID) -> AlertRecord:
        with self.work.read() as tx:
            found = tx.alerts.find(id)
        assert found is not None
        return found

    def episodes(self, id: UUID) -> list[Episode]:
        """Return the episodes of a portfolio, oldest first."""
        with self.work.read() as tx:
            return tx.alerts.episodes(id, limit=100)[::-1]

    def notices(self) -> list[Notice]:
        """Return the notices of the owner, oldest first."""
        with self.work.read() as tx:
            return tx.notices.page(self.owner, limit=100)[::-1]

    def proposals(self, id: UUID) -> list[ProposalRecord]:
        """Return the proposals of a portfolio, oldest first."""
        with self.work.read() as tx:
            return tx.proposals.page(self.owner, portfolio_id=id, limit=100)[::-1]

    def events(self) -> list[tuple[str, str, str]]:
        """Return action, outcome and reason of the audit trail's events, oldest first."""
        with self.work.read() as tx:
            found = tx.audit.page(self.owner, limit=100)[::-1]
        return [(one.action, one.outcome.value, one.details.get("reason", "")) for one in found]
