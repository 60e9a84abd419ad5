"""A stored portfolio of New York, Tokyo, London in pence and a coin, in euros."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID, uuid5

import attrs
import numpy as np
import pytest

from rebalancer.adapters.broker.paper import PaperBroker
from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.decisions import AcceptProposal
from rebalancer.application.portfolios import OpenPortfolio, ReadPortfolio
from rebalancer.application.rebalance import (
    BuildContext,
    ProposalRequest,
    ProposeForPortfolio,
    ReadProposals,
)
from rebalancer.domain.market.assembly import PricingTerms, assemble_history
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.costs import CostModel, Rates
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.portfolio.portfolio import Conversions
from rebalancer.domain.rebalancing.lifecycle import ProposalStale, Stage
from tests.builders import EUR

NOW = datetime(2024, 3, 1, 20, tzinfo=UTC)
OWNER = UUID(int=11)
LISTED = Instruments.of(
    [
        Instrument("ALV", currency="EUR"),
        Instrument("BTC", currency="USD", quantity_step=Decimal("0.0001")),
        Instrument("LON", currency="GBX"),
        Instrument("NYS", currency="USD"),
        Instrument("TKY", currency="JPY"),
    ]
)
CLOSES = {"ALV": 250.5, "BTC": 52345.67, "LON": 1234.5, "NYS": 180.25, "TKY": 2875.0}
RATES = {"EURUSD": 1.085, "EURJPY": 162.35, "EURGBP": 0.8555}
FRIDAY, SATURDAY, MONDAY = date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 4)
TWENTY = CostModel("twenty", Rates(commission_bps=10, fx_spread_bps=20))
SHARES = {"ALV": 0.3, "LON": 0.3, "NYS": 0.3}


def market(last: date) -> PriceHistory:
    """Return constant closes: of the coin on every day, of all others on weekdays."""
    days = np.arange(np.datetime64("2024-01-01"), np.datetime64(last) + 1)
    closes = np.tile([*CLOSES.values(), *RATES.values()], (len(days), 1))
    weekend = ~np.is_busday(days)
    others = np.array([name != "BTC" for name in (*CLOSES, *RATES)])
    closes[np.ix_(weekend, others)] = np.nan
    found = assemble_history((*CLOSES, *RATES), days, closes, PricingTerms("EUR", LISTED))
    assert found is not None
    return found


@attrs.define
class Desk:
    """Use cases over stores in memory, with the closes up to a day."""

    prices: MemoryPrices = attrs.field(factory=lambda: MemoryPrices(market(FRIDAY)))
    work: MemoryWork = attrs.field(factory=MemoryWork)

    def __attrs_post_init__(self) -> None:
        with self.work.begin() as tx:
            tx.users.add(User(OWNER, "ada@example.org", "Ada", password="", created=NOW))

    def open(
        self,
        targets: dict[str, float],
        holdings: dict[str, Decimal],
        conversions: Conversions = Conversions.AUTOMATIC,
    ) -> UUID:
        mandate = Mandate("Mixed", EUR, targets, conversions=conversions)
        opened = OpenPortfolio(self.work, self.prices, MemoryInstruments(LISTED))(
            mandate,
            cash=Decimal("2500.00"),
            foreign_cash={"USD": Decimal("1000.00"), "JPY": Decimal(50000)},
            holdings=holdings,
            id=uuid5(OWNER, str(targets)),
            owner=OWNER,
            now=NOW,
        )
        return opened.portfolio.id

    @property
    def book(self) -> BookActions:
        return BookActions(self.work, lambda: NOW)

    def propose(self, portfolio: UUID) -> UUID:
        context = BuildContext(self.prices, MemoryInstruments(LISTED), MemoryPolicies())
        use = ProposeForPortfolio(self.work, self.prices, context, self.book)
        ask = ProposalRequest(
            portfolio, OWNER, "monthly", TWENTY, id=uuid5(portfolio, "proposal"), now=NOW
        )
        return use(ask).current.record.id


HELD = {"LON": Decimal(300), "NYS": Decimal(40), "TKY": Decimal(100)}
TARGETS = {"ALV": 0.2, "BTC": 0.15, "LON": 0.2, "NYS": 0.2, "TKY": 0.2}


@pytest.mark.parametrize(
    ("mode", "cash", "foreign"),
    [
        (Conversions.AUTOMATIC, "801.36", {}),
        (Conversions.LISTED, "0.00", {"USD": Decimal("880.62")}),
    ],
)
def test_an_accepted_proposal_is_booked_to_the_cent(
    mode: Conversions, cash: str, foreign: dict[str, Decimal]
) -> None:
    desk = Desk()
    portfolio = desk.open(TARGETS, HELD, mode)
    read = ReadPortfolio(desk.work, desk.prices, desk.book)
    # 2,500.00 + 1,000 / 1.085 + 50,000 / 162.35 + 300 x 12.345 / 0.8555 + 40 x 180.25 / 1.085
    # + 100 x 2,875 / 162.35
    # = 2,500 + 921.6590 + 307.9766 + 4,329.0473 + 6,645.1613 + 1,770.8654 = 16,474.7096
    assert read(portfolio, actor=OWNER).value == Decimal("16474.71")
    proposal = desk.propose(portfolio)
    accept = AcceptProposal(desk.work, desk.prices, PaperBroker(), desk.book)
    status, _ = accept(proposal, owner=OWNER, now=NOW)
    assert status.stage is Stage.EXECUTED
    made = status.record.proposal
    assert made.not_traded == ()
    valued = read(portfolio, actor=OWNER)
    positions = valued.portfolio.positions
    assert positions.cash == made.cash_after == Decimal(cash)
    assert positions.foreign_cash == made.foreign_cash_after == foreign
    assert positions.holdings == {
        "ALV": Decimal(13),
        "BTC": Decimal("0.0512"),
        "LON": Decimal(229),
        "NYS": Decimal(20),
        "TKY": Decimal(186),
    }
    assert valued.value is not None
    assert abs(Decimal("16474.71") - made.cost - valued.value) <= Decimal("0.03")


def test_a_close_of_a_coin_at_the_weekend_makes_no_other_proposal_stale() -> None:
    desk = Desk()
    shares = desk.propose(desk.open(SHARES, {"NYS": Decimal(40)}))
    mixed = desk.propose(desk.open(TARGETS, HELD))
    desk.prices = MemoryPrices(market(SATURDAY))
    read = ReadProposals(desk.work, desk.prices)
    assert read(shares, actor=OWNER, now=NOW).stale is None
    stale = read(mixed, actor=OWNER, now=NOW).stale
    assert stale is not None
    assert "2024-03-02" in stale
    accept = AcceptProposal(desk.work, desk.prices, PaperBroker(), desk.book)
    with pytest.raises(ProposalStale):
        accept(mixed, owner=OWNER, now=NOW)
    accepted, _ = accept(shares, owner=OWNER, now=NOW)
    assert accepted.stage is Stage.EXECUTED


def test_a_newer_close_of_a_share_makes_its_proposal_stale() -> None:
    desk = Desk()
    shares = desk.propose(desk.open(SHARES, {"NYS": Decimal(40)}))
    desk.prices = MemoryPrices(market(MONDAY))
    stale = ReadProposals(desk.work, desk.prices)(shares, actor=OWNER, now=NOW).stale
    assert stale is not None
    assert "2024-03-04" in stale
