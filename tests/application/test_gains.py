"""Gains of stored portfolios, at the exchange rates of the stored market."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryPrices
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.gains import GainsReport, MeasureGains
from rebalancer.domain.errors import NotFound
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.lots.model import LotMethod, Term
from rebalancer.domain.portfolio.lots.years import TaxYear
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.owner import User

NOW = datetime(2024, 1, 1, tzinfo=UTC)
OWNER, ID = UUID(int=1), UUID(int=2)
DAYS = np.datetime64("2022-06-01") + np.arange(560)  # to 12 December 2023
EUR = Currency("EUR")


def market() -> PriceHistory:
    """Return closes of A, in US dollars, and a euro of 1.25 dollars, from 2023 on of 1.00."""
    later = np.datetime64("2023-01-01") <= DAYS
    known = DAYS[20:]  # the rate is known from 21 June 2022 on
    bars = [
        Bars("A", DAYS, np.where(later, 120.0, 100.0), adjusted=False),
        Bars("EURUSD", known, np.where(later[20:], 1.0, 1.25)),
    ]
    listed = Instruments.of([Instrument("A", currency="USD")])
    found = MarketSnapshot.of(bars).history(PricingTerms("EUR", listed))
    assert found is not None
    return found


def entry(kind: str, on: str, amount: object, **others: object) -> Entry:
    return Entry(
        uuid4(),
        EntryKind(kind),
        date.fromisoformat(on),
        NOW,
        Decimal(str(amount)),
        currency="USD",
        **others,  # type: ignore[arg-type]
    )


def trade(kind: str, on: str, quantity: int, price: int, cost: int = 0) -> Entry:
    return entry(
        kind,
        on,
        quantity * price,
        symbol="A",
        quantity=Decimal(quantity),
        price=Decimal(price),
        cost=Decimal(cost),
    )


BOUGHT = trade("buy", "2022-07-01", 10, 100, cost=5)
ENTRIES = (
    entry("deposit", "2022-07-01", 5000),
    BOUGHT,
    trade("buy", "2023-02-01", 10, 110),
    trade("sell", "2023-08-01", 12, 120, cost=4),
    entry("dividend", "2023-09-01", 20, symbol="A", withheld=Decimal(3)),
)


@attrs.define
class Office:
    """A stored portfolio, and the use case on it."""

    work: MemoryWork = attrs.field(factory=MemoryWork)

    def keep(self, *entries: Entry) -> None:
        mandate = Mandate("p", EUR, {"A": 0.5})
        kept = ManagedPortfolio.open(mandate, id=ID, owner=OWNER, entries=entries, now=NOW)
        with self.work.begin() as tx:
            tx.users.add(User(OWNER, "ada@example.org", "Ada", password="", created=NOW))
            tx.portfolios.add(kept, entries)

    def measure(self, actor: UUID = OWNER, **options: object) -> GainsReport:
        book = BookActions(self.work, lambda: NOW)
        use = MeasureGains(self.work, MemoryPrices(market()), book)
        return use(ID, actor=actor, **options)  # type: ignore[arg-type]


@pytest.fixture
def office() -> Office:
    made = Office()
    made.keep(*ENTRIES)
    return made


def test_gains_are_those_of_the_exchange_rates_of_both_days(office: Office) -> None:
    report = office.measure()
    (sold,) = report.realised.disposals
    # 10 of 1,005 dollars at 0.80 euros, and 2 of 110 dollars at 1 euro; 1,440 - 4 dollars.
    assert (sold.cost, sold.proceeds, sold.gain) == (1024, 1436, 412)
    # Of the proceeds, 10 / 12 are of the first lot.
    assert [use.gain for use in sold.uses] == [Decimal("392.67"), Decimal("19.33")]
    assert [use.term(sold.on) for use in sold.uses] == [Term.LONG, Term.SHORT]
    (year,) = report.realised.years
    assert (year.long_term, year.short_term) == (Decimal("392.67"), Decimal("19.33"))
    assert (year.dividends, year.withheld) == (20, 3)
    (held,) = report.open_lots
    assert (held.lot.quantity, held.lot.cost, held.value, held.gain) == (8, 880, 960, 80)
    assert (report.method, report.as_of) == (LotMethod.FIFO, date(2023, 12, 12))
    assert not report.notes


def test_method_and_year_are_those_that_are_asked_for(office: Office) -> None:
    report = office.measure(method=LotMethod.LIFO, year=TaxYear.calendar(2022))
    assert report.realised.disposals == ()
    assert [(str(one.year), one.gain) for one in report.realised.years] == [("2022", 0)]
    lifo = office.measure(method=LotMethod.LIFO).realised.disposals[0]
    # 10 of 110 dollars at 1 euro, and 2 / 10 of 1,005 dollars at 0.80 euros
    assert lifo.cost == Decimal("1260.80")


def test_missing_exchange_rate_is_stated() -> None:
    office = Office()
    early = trade("buy", "2022-06-10", 20, 100)
    office.keep(entry("deposit", "2022-06-10", 5000), early, ENTRIES[3])
    report = office.measure()
    (sold,) = report.realised.disposals
    assert (sold.cost, sold.gain, sold.proceeds) == (None, None, 1436)
    assert report.open_lots[0].gain is None
    assert report.realised.years[0].unknown == 1
    assert report.notes == (
        "No exchange rate from USD to EUR is known on 2022-06-10, so amounts of then are unknown; "
        "import earlier rates.",
    )


def test_old_exchange_rate_is_stated(office: Office) -> None:
    late = attrs.evolve(ENTRIES[4], id=uuid4(), on=date(2023, 12, 30))
    other = Office()
    other.keep(*ENTRIES, late)
    (note,) = other.measure().notes
    assert note == ("The exchange rate from USD to EUR that counts on 2023-12-30 is of 2023-12-12.")


def test_portfolio_of_others_does_not_exist(office: Office) -> None:
    with pytest.raises(NotFound):
        office.measure(actor=UUID(int=9))
