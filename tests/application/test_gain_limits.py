"""Limits on realised gains of stored portfolios: lots come from the ledger, in both uses."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.batch import ProposeForEveryone
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.rebalance import (
    BuildContext,
    ProposalRequest,
    ProposeForPortfolio,
    estimate_gains,
)
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.portfolio.portfolio import Preferences
from rebalancer.domain.rebalancing.lifecycle import ProposalRecord
from tests.application.test_gains import ENTRIES, EUR, ID, NOW, OWNER, market

PRICES = MemoryPrices(market())
LISTED = MemoryInstruments(Instruments.of([Instrument("A", currency="USD")]))
CONTEXT = BuildContext(PRICES, LISTED, MemoryPolicies())
TEN = CostModel.flat(10.0)


@attrs.frozen
class Office:
    """A stored portfolio that sells its 8 A, which cost 110 dollars each, at 120 dollars.

    A dollar is a euro on both days. Sales of the year have gained 412 euros.
    """

    wishes: Preferences
    prices: MemoryPrices = PRICES
    work: MemoryWork = attrs.field(factory=MemoryWork)

    def __attrs_post_init__(self) -> None:
        mandate = Mandate("p", EUR, {}, preferences=self.wishes)
        kept = ManagedPortfolio.open(mandate, id=ID, owner=OWNER, entries=ENTRIES, now=NOW)
        with self.work.begin() as tx:
            tx.users.add(User(OWNER, "ada@example.org", "Ada", password="", created=NOW))
            tx.portfolios.add(kept, ENTRIES)

    def propose(self, as_of: date | None = None) -> ProposalRecord:
        context = BuildContext(self.prices, LISTED, MemoryPolicies())
        book = BookActions(self.work, lambda: NOW)
        use = ProposeForPortfolio(self.work, self.prices, context, book)
        ask = ProposalRequest(ID, OWNER, "monthly", TEN, as_of=as_of, id=UUID(int=9), now=NOW)
        return use(ask).current.record

    def propose_in_batch(self) -> ProposalRecord:
        batch = ProposeForEveryone(
            self.work, PRICES, BookActions(self.work, lambda: NOW), lambda: NOW, release="1.0"
        )
        context = CONTEXT(policy_name="monthly", costs=TEN, currency="EUR")
        run = batch.begin(context, id=UUID(int=8), now=NOW)
        batch.run_chunks(run.id, context, now=NOW)
        with self.work.read() as tx:
            made = tx.proposals.page(OWNER, portfolio_id=ID, before=None, limit=5)
        (record,) = (one for one in made if one.run == run.id)
        return record


@pytest.mark.parametrize(
    ("wishes", "units", "gain"),
    [
        # 5 x 120 less 0.60, and 5 x 110; a sixth would make it 59.28.
        ({"max_realised_gain": "50"}, 5, "49.40"),
        # 28 are left: 2 x 120 less 0.24, and 2 x 110.
        ({"max_realised_gain_year": "440"}, 2, "19.76"),
        ({"max_realised_gain_year": "440", "max_realised_gain": "12"}, 1, "9.88"),
        ({"max_realised_gain": "1000"}, 8, "79.04"),
    ],
)
def test_lots_and_gains_of_the_year_come_from_the_ledger(
    wishes: dict[str, str], units: int, gain: str
) -> None:
    limits = {name: Decimal(limit) for name, limit in wishes.items()}
    office = Office(attrs.evolve(Preferences(), **limits))
    record = office.propose()
    (sale,) = record.proposal.orders
    assert sale.symbol == "A"
    assert sale.quantity == units
    assert [one.gain for one in record.proposal.sale_gains] == [Decimal(gain)]
    assert office.propose_in_batch().proposal == record.proposal


def test_stated_gain_is_that_of_the_ledger_after_the_sale() -> None:
    days = np.datetime64("2022-06-01") + np.arange(560)
    bars = [
        Bars("A", days, np.full(len(days), 123.457), adjusted=False),
        Bars("EURUSD", days, np.full(len(days), 1.0837)),
    ]
    listed = Instruments.of([Instrument("A", currency="USD")])
    found = MarketSnapshot.of(bars).history(PricingTerms("EUR", listed))
    assert found is not None
    office = Office(Preferences(max_realised_gain=Decimal(60)), prices=MemoryPrices(found))
    record = office.propose()
    (stated,) = record.proposal.sale_gains
    assert stated.gain is not None
    assert 0 < stated.gain <= 60
    with office.work.read() as tx:
        ledger = tx.portfolios.ledger(ID)
        mandate = tx.portfolios.get(ID).mandate
        assert estimate_gains(record.proposal, mandate, ledger, found, NOW) == (stated,)


def test_batch_states_gains_where_a_method_is_chosen() -> None:
    record = Office(Preferences(lot_method=LotMethod.UK_POOL)).propose_in_batch()
    (sold,) = record.proposal.sale_gains
    assert sold.method is LotMethod.UK_POOL
    assert sold.proceeds == Decimal("959.04")
    plain = Office(Preferences()).propose_in_batch()
    assert plain.proposal.sale_gains == ()
    assert plain.inputs.portfolio.lots is None


def test_stored_proposal_replays_with_its_lots() -> None:
    record = Office(Preferences(max_realised_gain=Decimal(50))).propose()
    context = CONTEXT(policy_name="monthly", costs=TEN, currency="EUR")
    replayed = context.replaying(record.inputs.portfolio, record.proposal.input_hash)
    assert replayed is not None
    other = attrs.evolve(record.inputs.portfolio, lots=None)
    assert context.replaying(other, record.proposal.input_hash) is None
