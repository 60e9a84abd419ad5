"""A ledger that continues from checkpoints equals one that is added up from its first entry."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID, uuid5

import attrs
import msgspec
from hypothesis import event, given
from hypothesis import strategies as st

from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.portfolio.checkpoints import Checkpoint, RecordedEntries
from rebalancer.domain.portfolio.entries import REORGANISATIONS
from rebalancer.domain.portfolio.ledger import TRADES, Entry, EntryKind, Ledger, Overdrawn

NOW = datetime(2023, 1, 2, tzinfo=UTC)
SPACE = UUID(int=7)
SYMBOLS = ("A", "B", "C")
CURRENCIES = (None, None, "EUR")
PROPOSALS = (UUID(int=1), UUID(int=2))


@attrs.define
class Book:
    """The same ledger twice: added up each time, and continued from checkpoints."""

    recorded: tuple[Entry, ...] = ()
    kept: tuple[Checkpoint, ...] = ()

    def plain(self) -> Ledger:
        return Ledger(self.recorded)

    def continued(self) -> Ledger:
        numbered = {number + 1: entry for number, entry in enumerate(self.recorded)}
        return Ledger(stored=RecordedEntries(numbered, self.kept))

    def record(self, longer: Ledger, entries: Sequence[Entry], stores_checkpoint: bool) -> None:
        self.recorded += tuple(entries)
        if stores_checkpoint:  # older versions record entries without it
            state = attrs.evolve(longer.state, last=len(self.recorded))
            stays = tuple(one for one in self.kept if one.last <= longer.origin.last)
            self.kept = (*stays, state)


def outcome(do):
    try:
        return do()
    except RebalancerError as error:
        return type(error), error.code, error.message


amounts = st.integers(1, 40).map(Decimal)


@st.composite
def entries(draw, number, recorded, day):
    """Return entries that one request might record; many lead to errors."""
    id = uuid5(SPACE, str(number))
    on = date(2022, 1, draw(st.integers(max(1, day - 2), day) | st.just(day)))
    kind = draw(st.sampled_from([*EntryKind, *[EntryKind.DEPOSIT] * 8, *[EntryKind.BUY] * 6, None]))
    if kind is None:
        voidable = [one for one in recorded if one.voids is None]
        if not voidable:
            return []
        chosen = draw(st.sampled_from(voidable) | st.just(voidable[-1]))
        partial = chosen.proposal is not None and draw(st.booleans())
        return [chosen.reversal(recorded=NOW, partial=partial)]
    currency = draw(st.sampled_from(CURRENCIES))
    plain = {"id": id, "kind": kind, "on": on, "recorded": NOW, "amount": draw(amounts)}
    if kind in TRADES:
        proposal = draw(st.sampled_from([None, None, *PROPOSALS]))
        return [
            Entry(
                **plain | {"amount": draw(amounts) * (9 if kind is EntryKind.SELL else 1)},
                symbol=draw(st.sampled_from(SYMBOLS)),
                quantity=draw(amounts) / 4,
                price=Decimal(1),
                currency=currency,
                proposal=proposal,
                partial=proposal is not None and draw(st.booleans()),
            )
        ]
    if kind is EntryKind.EXCHANGE:
        there, back = ("EUR", None) if draw(st.booleans()) else (None, "EUR")
        return [
            Entry(
                **plain,
                currency=back,
                counter_currency=there,
                counter_amount=draw(amounts),
            )
        ]
    if kind in REORGANISATIONS:
        first, other = draw(st.permutations(SYMBOLS).map(lambda some: some[:2]))
        with_ratio = {} if kind is EntryKind.RENAME else {"ratio": draw(amounts) / 8}
        with_other = {} if kind is EntryKind.SPLIT else {"other": other}
        key = draw(st.sampled_from([None, "key"]))
        return [
            Entry(
                **plain | {"amount": Decimal(0)},
                symbol=first,
                action=key,
                **with_ratio,
                **with_other,
            )
        ]
    symbol = "A" if kind is EntryKind.RETURN_OF_CAPITAL else None
    found = [Entry(**plain, currency=currency, symbol=symbol)]
    if kind is EntryKind.DEPOSIT and draw(st.booleans()):  # in one request with its reversal
        found.append(attrs.evolve(found[0].reversal(recorded=NOW), voids=found[0].id))
        found.append(attrs.evolve(found[0], id=uuid5(id, "again")))
    return found


def facts(ledger: Ledger):
    """Return everything that use cases ask of a ledger."""
    return (
        repr(ledger.positions),
        attrs.evolve(ledger.state, last=0),
        list(ledger.state.cash),
        ledger.symbols,
        ledger.open_proposals,
        ledger.count,
        [ledger.currency_of(symbol) for symbol in SYMBOLS],
        [ledger.fills(proposal) for proposal in PROPOSALS],
    )


@given(st.data())
def test_continued_ledger_equals_one_that_is_added_up(data):
    book = Book(Ledger().added)
    day, back_dated = 1, 0
    for number in range(data.draw(st.integers(1, 25))):
        day = min(day + data.draw(st.sampled_from([0, 0, 1])), 28)
        batch = data.draw(entries(number, book.recorded, day))
        known = {one.id for one in book.recorded}
        if not batch or known & {one.id for one in batch}:
            continue
        plain, continued = book.plain(), book.continued()
        longer = outcome(lambda p=plain, b=batch: facts(p.extended_by(b)))
        extended = outcome(lambda c=continued, b=batch: facts(c.extended_by(b)))
        assert extended == longer
        since = date(2022, 1, day)
        assert continued.followed_by(batch).least_cash("EUR", since) == (
            plain.followed_by(batch).least_cash("EUR", since)
        )
        if longer[0] is Overdrawn:
            continue
        added = continued.extended_by(batch)
        back_dated += added.origin.last < len(book.recorded)
        book.record(added, batch, data.draw(st.sampled_from([True, True, True, False])))
        for one in book.recorded[-3:]:
            assert outcome(lambda o=one: book.continued().check_voidable(o)) == outcome(
                lambda o=one: book.plain().check_voidable(o)
            )
    event(f"earlier checkpoints: {min(back_dated, 3)}")
    assert book.continued() == book.plain()
    for checkpoint in book.kept:
        text = msgspec.json.encode(checkpoint)
        assert msgspec.json.decode(text, type=Checkpoint) == checkpoint
        assert repr(msgspec.json.decode(text, type=Checkpoint).cash) == repr(checkpoint.cash)


def test_appending_reads_no_entries():
    class Unread(RecordedEntries):
        def after(self, number):
            assert number >= 2, "read in full"
            return super().after(number)

    first = Entry(UUID(int=1), EntryKind.DEPOSIT, date(2022, 1, 3), NOW, Decimal(100))
    second = attrs.evolve(first, id=UUID(int=2))
    state = attrs.evolve(Ledger((first, second)).state, last=2)
    ledger = Ledger(stored=Unread({1: first, 2: second}, [state]))
    longer = ledger.extended_by([attrs.evolve(first, id=UUID(int=3))])
    assert (longer.positions.cash, longer.count, longer.origin.last) == (300, 3, 2)
    assert ledger.find(UUID(int=1)) == first
