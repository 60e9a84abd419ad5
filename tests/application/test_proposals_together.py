"""Asks that come at once are answered as if alone; a walk over the store can be resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import attrs
import pytest

from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.batch import ProposeForEveryone
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.owner_entries import CashFlow
from rebalancer.application.portfolios import OpenPortfolio
from rebalancer.application.ports.store import Transaction
from rebalancer.application.rebalance import (
    BuildContext,
    ProposalRequest,
    ProposalResult,
    ProposeForPortfolio,
)
from rebalancer.application.transactions import RecordCashFlow
from rebalancer.domain.errors import InvalidRequest, NotFound, RebalancerError, Unavailable
from rebalancer.domain.jobs.batch_run import BatchRun
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.ledger import EntryKind
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.portfolio.portfolio import Preferences
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from tests.builders import CLASSES, USD, varied_prices

NOW = datetime(2023, 1, 2, 9, tzinfo=UTC)
ROOT = UUID(int=7)
OWNER, STRANGER = uuid5(ROOT, "owner"), uuid5(ROOT, "stranger")
PRICES = MemoryPrices(varied_prices())
LISTED = MemoryInstruments(CLASSES)
POLICIES = MemoryPolicies()
TEN, FIVE = CostModel.flat(10.0), CostModel.flat(5.0)


@attrs.frozen
class House:
    """Use cases over stores in memory."""

    work: MemoryWork = attrs.field(factory=MemoryWork)

    def __attrs_post_init__(self) -> None:
        with self.work.begin() as tx:
            tx.users.add(User(OWNER, "ada@example.org", "Ada", password="", created=NOW))

    @property
    def propose(self) -> ProposeForPortfolio:
        context = BuildContext(PRICES, LISTED, POLICIES)
        return ProposeForPortfolio(self.work, PRICES, context, self.book)

    @property
    def book(self) -> BookActions:
        return BookActions(self.work, lambda: NOW)

    def open(self, number: int, **wishes: object) -> UUID:
        symbols = "ABCDEFGHI"
        chosen = [symbols[(number + step) % len(symbols)] for step in range(2 + number % 4)]
        mandate = Mandate(
            name=f"portfolio {number}",
            currency=USD,
            targets={symbol: 0.9 / len(chosen) for symbol in chosen},
            risk_profile=[None, RISK_PROFILES["balanced"]][number % 2],
            preferences=Preferences(**wishes),  # type: ignore[arg-type]
            acknowledge_limits=True,
        )
        opened = OpenPortfolio(self.work, PRICES, LISTED)(
            mandate,
            cash=Decimal(1_000 * (number + 1)),
            holdings={chosen[0]: Decimal(5 + number)},
            id=uuid5(ROOT, f"portfolio {number}"),
            owner=OWNER,
            now=NOW,
        )
        return opened.portfolio.id


def an_ask(portfolio: UUID, number: int, **changes: object) -> ProposalRequest:
    ask = ProposalRequest(portfolio, OWNER, "band", TEN, id=uuid5(ROOT, f"ask {number}"), now=NOW)
    return attrs.evolve(ask, **changes)  # type: ignore[arg-type]


def test_requests_together_give_the_same_results_as_alone() -> None:
    house, twin = House(), House()
    policies = ["band", "monthly", "trend:window=50", "inverse_volatility"]
    asks = []
    for number in range(12):
        portfolio = house.open(number)
        assert twin.open(number) == portfolio
        asks.append(
            an_ask(
                portfolio,
                number,
                policy_name=policies[number % 4],
                costs=[TEN, FIVE][number % 3 == 0],
                cash_flow=Decimal(100 * (number % 3 - 1)),
                as_of=None if number % 2 else date(2022, 12, 30),
                compared=number % 5 == 0,
            )
        )
    together = house.propose.together(asks)
    alone = [twin.propose(ask) for ask in asks]
    assert together == alone
    with house.work.read() as tx, twin.work.read() as other:
        assert tx.proposals.page(OWNER, limit=50) == other.proposals.page(OWNER, limit=50)
        assert len(tx.proposals.page(OWNER, limit=50)) == 12


def test_one_failing_request_does_not_affect_others() -> None:
    house = House()
    first, second = house.open(0), house.open(1)
    asks = [
        an_ask(first, 0),
        an_ask(second, 1, actor=STRANGER),
        an_ask(second, 2, policy_name="guess"),
        an_ask(second, 3, as_of=date(1999, 1, 1)),
        an_ask(second, 4, cash_flow=Decimal("0.001")),
        an_ask(second, 5, cash_flow=Decimal(-1_000_000)),
        an_ask(second, 6),
    ]
    answers = house.propose.together(asks)
    assert [type(answer) for answer in answers] == [
        ProposalResult,
        NotFound,
        InvalidRequest,
        InvalidRequest,
        InvalidRequest,
        InvalidRequest,
        ProposalResult,
    ]
    fields = [getattr(answer, "field", None) for answer in answers]
    assert fields == [None, None, "policy", "as_of", "cash_flow", "cash_flow", None]
    with house.work.read() as tx:
        kept = {record.id for record in tx.proposals.page(OWNER, limit=50)}
    assert kept == {asks[0].id, asks[6].id}


def test_proposal_records_its_inputs() -> None:
    house = House()
    portfolio = house.open(3)
    answer = house.propose(an_ask(portfolio, 0, cash_flow=Decimal("250.00")))
    assert not isinstance(answer, RebalancerError)
    seen, made = answer.current.record.inputs, answer.current.record.proposal
    terms = BuildContext(PRICES, LISTED, POLICIES)(policy_name="band", costs=TEN, currency="USD")
    assert terms.input_hash(seen.portfolio) == made.input_hash
    assert (seen.version, seen.planned, seen.newest) == (1, Decimal("250.00"), date(2022, 12, 30))
    assert set(seen.prices) == set(seen.portfolio.symbols)
    assert seen.market == PRICES.history.digest


def test_day_before_the_last_ledger_entry_is_rejected() -> None:
    house = House()
    portfolio = house.open(0)
    with pytest.raises(InvalidRequest, match="before the last entry") as refused:
        house.propose(an_ask(portfolio, 0, as_of=date(2022, 12, 29)))
    assert refused.value.field == "as_of"


class StoreThatGoesAway(MemoryWork):
    """Refuses writing transactions after a number of them; None: none."""

    writes_left: int | None = None

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        if self.writes_left == 0:
            raise Unavailable("gone")
        if self.writes_left is not None:
            self.writes_left -= 1
        with super().begin() as tx:
            yield tx


def test_batch_run_is_resumed_where_it_stopped() -> None:
    work = StoreThatGoesAway()
    house = House(work)
    ids = [house.open(number) for number in range(8)]
    broken = house.open(8, cash_reserve=Decimal(10_000_000))
    batch = ProposeForEveryone(
        work,
        PRICES,
        house.book,
        lambda: NOW + timedelta(hours=2),
        release="1.0",
        chunk_size=3,
        store_timeout=0.001,
        poll_interval=0.001,
    )
    terms = BuildContext(PRICES, LISTED, POLICIES)(policy_name="monthly", costs=TEN, currency="USD")

    def everyone(name: str, *, resume: bool = True, progress: Any = lambda _: None) -> BatchRun:
        run = batch.begin(terms, id=uuid5(ROOT, name), now=NOW, resume=resume)
        batch.run_chunks(run.id, terms, now=NOW, progress=progress)
        return batch.read(run.id)

    work.writes_left = 2
    with pytest.raises(Unavailable):
        everyone("run", resume=False)  # claims a chunk and completes none
    work.writes_left = 2
    with pytest.raises(Unavailable):
        everyone("other")  # one chunk
    work.writes_left = None
    seen: list[int] = []
    run = everyone("third", progress=seen.append)
    assert run.id == uuid5(ROOT, "run")
    assert (run.proposed + run.nothing, run.failed) == (8, 1)
    assert (run.started, run.finished) == (NOW, NOW + timedelta(hours=2))
    assert sum(seen) == 6  # the rest, no portfolio twice
    with work.read() as tx:
        records = tx.proposals.page(OWNER, limit=50)
        failures = tx.runs.failures(run.id)
    assert sorted(record.portfolio_id for record in records) == sorted(ids)
    assert {record.run for record in records} == {run.id}
    ((failed, why),) = failures
    assert failed == broken
    assert "preferences.cash_reserve" in why
    with pytest.raises(InvalidRequest, match="no unfinished run"):
        everyone("fourth")


def test_uninvested_deposits_reach_the_policy_as_a_cash_flow() -> None:
    house = House()
    portfolio = house.open(2)
    RecordCashFlow(house.work, PRICES)(
        CashFlow(EntryKind.DEPOSIT, Decimal("500.00")),
        portfolio_id=portfolio,
        owner=OWNER,
        id=uuid5(ROOT, "deposit"),
        now=NOW,
    )
    answer = house.propose(an_ask(portfolio, 0, policy_name="buy_and_hold"))
    assert answer.current.record.inputs.portfolio.cash_flow == Decimal("3500.00")
    assert all(order.side == "buy" for order in answer.current.record.proposal.orders)
