"""Contract of `UnitOfWork` and its stores, see application/ports."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import Conflict, NotFound, Unavailable
from rebalancer.domain.jobs.backlog import Backlog
from rebalancer.domain.jobs.batch_run import ChunkDone, ChunksHeld, RunExists
from rebalancer.domain.jobs.job import JobChanged, JobState
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.portfolio.ledger import Entry, EntryKind, Ledger, Positions
from rebalancer.domain.portfolio.mandate import Mandate, PortfolioChanged
from rebalancer.domain.portfolio.owner import EmailTaken
from rebalancer.domain.portfolio.portfolio import Preferences
from rebalancer.domain.portfolio.target_groups import Inside, TargetGroup, TargetTree
from rebalancer.domain.rebalancing.lifecycle import ProposalClosed, Stage
from tests.builders import USD
from tests.contracts import stores
from tests.contracts.stores import (
    DAY,
    HOUR,
    NOW,
    a_deposit,
    a_fill,
    a_job,
    a_key,
    a_managed,
    a_proposal,
    a_run,
    a_token,
    a_user,
    all_pages,
    race,
    renamed,
    stored_portfolio,
    stored_proposal,
    stored_user,
    with_entries,
)

RACERS = 8


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


@pytest.fixture(scope="module")
def full(make):
    """Return a store that all tests of this module fill."""
    return make()


@pytest.fixture
def ada(work):
    return stored_user(work)


# Transactions.


def test_transaction_is_committed(work):
    user = a_user()
    with work.begin() as tx:
        tx.users.add(user)
        tx.tokens.add(token := a_token(user.id))
        assert tx.users.get(user.id) == user
    with work.read() as tx:
        assert tx.users.get(user.id) == user
        assert tx.tokens.get(token.digest) == token


@pytest.mark.parametrize("error", [NotFound("gone"), ValueError(), KeyboardInterrupt()])
def test_transaction_that_raises_is_rolled_back(work, ada, error):
    portfolio = stored_portfolio(work, ada, a_deposit())
    other, entry = a_user(), a_deposit(5)
    with pytest.raises(type(error)), work.begin() as tx:
        tx.users.add(other)
        tx.portfolios.save(with_entries(tx, portfolio, entry), entries=[entry])
        tx.proposals.add([a_proposal(portfolio)])
        raise error
    with work.read() as tx:
        assert tx.users.by_email(other.email) is None
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == portfolio
        assert len(tx.portfolios.ledger(portfolio.id).entries) == 1
        assert tx.proposals.page(ada.id, limit=9) == []


def test_transaction_left_by_return_is_committed(work):
    user = a_user()

    def register():
        with work.begin() as tx:
            tx.users.add(user)
            return user

    register()
    with work.read() as tx:
        assert tx.users.get(user.id) == user


def test_write_through_read_is_an_error_or_lost(work, ada):
    portfolio = stored_portfolio(work, ada)
    other = a_user()
    for write in (
        lambda tx: tx.users.add(other),
        lambda tx: tx.portfolios.save(renamed(portfolio)),
        lambda tx: tx.proposals.add([a_proposal(portfolio)]),
    ):
        try:
            with work.read() as tx:
                write(tx)
        except Unavailable:
            pass
    with work.begin() as tx:
        assert tx.users.by_email(other.email) is None
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == portfolio
        assert tx.proposals.page(ada.id, limit=9) == []
        tx.users.add(other)  # who has read before may write now


def test_reader_sees_one_snapshot(work, ada):
    portfolio = stored_portfolio(work, ada)
    with work.read() as tx:
        assert tx.portfolios.get(portfolio.id, owner=ada.id).version == 1
        with work.begin() as other:
            other.portfolios.save(renamed(portfolio))
            other.proposals.add([a_proposal(portfolio)])
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == portfolio
        assert tx.proposals.page(ada.id, limit=9) == []
    with work.read() as tx:
        assert tx.portfolios.get(portfolio.id, owner=ada.id).version == 2
        assert len(tx.proposals.page(ada.id, limit=9)) == 1


def test_reader_neither_waits_for_a_writer_nor_sees_uncommitted_rows(work, ada):
    portfolio = stored_portfolio(work, ada)
    with work.begin() as tx:
        tx.portfolios.save(renamed(portfolio))
        with work.read() as reader:
            assert reader.portfolios.get(portfolio.id, owner=ada.id) == portfolio


def test_concurrent_increments_lose_none(work, ada):
    portfolio = stored_portfolio(work, ada)

    def increment(_):
        for _ in range(5):
            while True:
                try:
                    with work.begin() as tx:
                        now = tx.portfolios.get(portfolio.id, owner=ada.id)
                        tx.portfolios.save(renamed(now))
                    break
                except (Conflict, Unavailable):
                    continue

    assert race(increment) == [None] * RACERS
    with work.read() as tx:
        assert tx.portfolios.get(portfolio.id, owner=ada.id).version == 1 + 5 * RACERS


def test_one_of_concurrent_changes_to_a_version_succeeds(work, ada):
    portfolio = stored_portfolio(work, ada, a_deposit())

    def deposit(number):
        entry = a_deposit(number + 1)
        with work.read() as tx:
            changed = with_entries(tx, tx.portfolios.get(portfolio.id, owner=ada.id), entry)
        gate.wait()
        with work.begin() as tx:
            tx.portfolios.save(changed, entries=[entry])
        return entry

    gate = threading.Barrier(RACERS, timeout=60)
    outcomes = race(deposit)
    kept = [one for one in outcomes if isinstance(one, Entry)]
    assert len(kept) == 1
    assert [type(one) for one in outcomes if one not in kept] == [PortfolioChanged] * (RACERS - 1)
    with work.read() as tx:
        assert tx.portfolios.ledger(portfolio.id).entries[1:] == tuple(kept)
        assert tx.portfolios.get(portfolio.id, owner=ada.id).version == 2


def test_one_of_two_concurrent_acceptances_succeeds(work, ada):
    portfolio = stored_portfolio(work, ada, a_deposit())
    record = stored_proposal(work, portfolio)

    def accept(number):
        with work.read() as tx:
            seen = tx.proposals.get(record.id, owner=ada.id)
        gate.wait()
        with work.begin() as tx:
            accepted = attrs.evolve(seen, stage=Stage.ACCEPTED, remark=str(number))
            tx.proposals.save(accepted, expected=seen.stage)
        return accepted

    for _ in range(5):
        gate = threading.Barrier(2, timeout=60)
        outcomes = race(accept, 2)
        (won,) = [one for one in outcomes if not isinstance(one, Exception)]
        (lost,) = [one for one in outcomes if isinstance(one, Exception)]
        assert isinstance(lost, ProposalClosed)
        with work.begin() as tx:
            assert tx.proposals.get(record.id, owner=ada.id) == won
            tx.proposals.save(attrs.evolve(won, stage=Stage.PROPOSED), expected=Stage.ACCEPTED)


def test_one_of_concurrent_uses_of_a_token_succeeds(work, ada):
    token = a_token(ada.id)
    with work.begin() as tx:
        tx.tokens.add(token)

    def use(_):
        with work.begin() as tx:
            return tx.tokens.mark_used(token.digest, NOW)

    assert sorted(race(use)) == [False] * (RACERS - 1) + [True]


def test_one_of_concurrent_requests_with_a_key_succeeds(work, ada):
    def ask(_):
        key = a_key(ada.id)
        with work.begin() as tx:
            tx.keys.add(key)
        return key

    outcomes = race(ask)
    (won,) = [one for one in outcomes if not isinstance(one, Exception)]
    assert [type(one) for one in outcomes if one is not won] == [Conflict] * (RACERS - 1)
    with work.read() as tx:
        assert tx.keys.get(ada.id, "a key") == won


def test_one_of_concurrent_registrations_of_an_address_succeeds(work):
    def register(_):
        return stored_user(work, email="ada@example.org")

    outcomes = race(register)
    (won,) = [one for one in outcomes if not isinstance(one, Exception)]
    assert [type(one) for one in outcomes if one is not won] == [EmailTaken] * (RACERS - 1)
    with work.read() as tx:
        assert tx.users.by_email("ada@example.org") == won


# Users.


def test_users_are_found_by_id_and_by_address(work, ada):
    other = stored_user(work)
    with work.read() as tx:
        assert tx.users.get(ada.id) == ada
        assert tx.users.by_email(ada.email) == ada
        assert tx.users.by_email(other.email) == other
        assert tx.users.by_email("nobody@example.org") is None
        with pytest.raises(NotFound):
            tx.users.get(uuid4())


def test_address_belongs_to_one_user(work, ada):
    with pytest.raises(EmailTaken), work.begin() as tx:
        tx.users.add(a_user(email=ada.email))
    with work.read() as tx:
        assert tx.users.by_email(ada.email) == ada


def test_user_is_replaced(work, ada):
    other = stored_user(work)
    renamed = attrs.evolve(ada, name="Ada L.", password="$another", assessed=NOW)
    with work.begin() as tx:
        tx.users.save(renamed)
    with work.read() as tx:
        assert tx.users.get(ada.id) == renamed
        assert tx.users.get(other.id) == other


def test_unknown_user_is_not_replaced(work):
    with pytest.raises(NotFound), work.begin() as tx:
        tx.users.save(a_user())


@given(user=stores.users)
def test_users_are_read_as_written(full, user):
    with full.begin() as tx:
        tx.users.add(user)
    with full.read() as tx:
        found = tx.users.get(user.id)
    assert found == user
    if user.assessment is not None:
        assert list(found.assessment.answers) == list(user.assessment.answers)


# Refresh tokens.


def test_token_is_used_once(work, ada):
    token = a_token(ada.id)
    with work.begin() as tx:
        tx.tokens.add(token)
        assert tx.tokens.get(token.digest) == token
        assert tx.tokens.has_family(token.family)
        assert not tx.tokens.has_family(token.owner)
        assert tx.tokens.mark_used(token.digest, NOW + HOUR)
        assert not tx.tokens.mark_used(token.digest, NOW + 2 * HOUR)
    with work.read() as tx:
        assert tx.tokens.get(token.digest) == attrs.evolve(token, used=NOW + HOUR)


def test_unknown_token_is_not_found_and_cannot_be_used(work):
    with work.begin() as tx:
        assert tx.tokens.get("unknown") is None
        assert not tx.tokens.mark_used("unknown", NOW)


def test_expired_tokens_of_one_owner_are_deleted(work, ada):
    grace = stored_user(work)
    ended, good = a_token(ada.id, expires=NOW), a_token(ada.id, expires=NOW + HOUR)
    hers = a_token(grace.id, expires=NOW)
    with work.begin() as tx:
        for token in (ended, good, hers):
            tx.tokens.add(token)
        tx.tokens.delete_expired(NOW, owner=ada.id)
    with work.read() as tx:
        kept = [tx.tokens.get(token.digest) for token in (ended, good, hers)]
    assert kept == [None, good, hers]


def test_revocation_deletes_one_family_only(work, ada):
    first = a_token(ada.id)
    child = a_token(ada.id, family=first.family)
    other = a_token(ada.id)
    with work.begin() as tx:
        for token in (first, child, other):
            tx.tokens.add(token)
        tx.tokens.mark_used(first.digest, NOW)
        tx.tokens.revoke(first.family)
        tx.tokens.revoke(uuid4())
    with work.read() as tx:
        assert tx.tokens.get(first.digest) is None
        assert tx.tokens.get(child.digest) is None
        assert tx.tokens.get(other.digest) == other


# Portfolios.


def test_targets_by_groups_are_stored(work, ada):
    inner = TargetGroup("Short", 0.25, assets={"A": 1.0}, band=0.02)
    bonds = TargetGroup(
        "Bonds",
        0.4,
        (inner,),
        {"B": 0.75},
        AssetClass.BOND,
        Inside.CURRENT,
        min_weight=0.1,
        max_weight=0.5,
    )
    split = {"F": {AssetClass.EQUITY: 0.6, AssetClass.BOND: 0.4}}
    tree = TargetTree((bonds,), {"F": 0.6})
    mandate = Mandate("Groups", USD, {}, target_groups=tree, look_through=split)
    portfolio = a_managed(ada.id, mandate=mandate)
    with work.begin() as tx:
        tx.portfolios.add(portfolio, ())
    with work.read() as tx:
        found = tx.portfolios.get(portfolio.id)
    assert found == portfolio
    assert found.mandate.targets == pytest.approx({"A": 0.1, "B": 0.3, "F": 0.6})


def test_portfolio_and_ledger_are_stored(work, ada):
    entries = [a_deposit(1000), a_deposit(5, note="Später")]
    portfolio = stored_portfolio(work, ada, *entries)
    with work.read() as tx:
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == portfolio
        assert tx.portfolios.ledger(portfolio.id) == Ledger(tuple(entries))


def test_portfolios_of_others_do_not_exist(work, ada):
    eve = stored_user(work)
    portfolio = stored_portfolio(work, ada, a_deposit())
    stolen = attrs.evolve(renamed(portfolio), owner=eve.id)
    for steal in (
        lambda tx: tx.portfolios.get(portfolio.id, owner=eve.id),
        lambda tx: tx.portfolios.save(stolen),
        lambda tx: tx.portfolios.close(portfolio.id, owner=eve.id, version=1, now=NOW),
    ):
        with pytest.raises(NotFound, match=str(portfolio.id)), work.begin() as tx:
            steal(tx)
    with work.read() as tx:
        assert tx.portfolios.page(eve.id, limit=9) == []
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == portfolio


def test_unknown_portfolio_is_not_found(work, ada):
    with work.begin() as tx:
        for seek in (
            lambda: tx.portfolios.get(uuid4(), owner=ada.id),
            lambda: tx.portfolios.save(a_managed(ada.id, version=2)),
            lambda: tx.portfolios.close(uuid4(), owner=ada.id, version=1, now=NOW),
        ):
            with pytest.raises(NotFound):
                seek()
        assert tx.portfolios.ledger(uuid4()) == Ledger()
        assert tx.portfolios.entries(uuid4(), limit=9) == []


def test_portfolio_is_replaced_by_its_next_version(work, ada):
    portfolio, other = stored_portfolio(work, ada), stored_portfolio(work, ada)
    mandate = Mandate(
        "New",
        USD,
        {"C": 1.0},
        preferences=Preferences(do_not_sell=frozenset({"C"}), max_departure=1.0),
        acknowledge_limits=True,
    )
    revised = portfolio.revise(mandate, NOW + HOUR)
    with work.begin() as tx:
        tx.portfolios.save(revised)
    with work.read() as tx:
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == revised
        assert tx.portfolios.get(other.id, owner=ada.id) == other


@pytest.mark.parametrize("version", [1, 3, 4])
def test_stale_or_skipped_version_is_rejected(work, ada, version):
    portfolio = stored_portfolio(work, ada)
    wrong = attrs.evolve(renamed(portfolio), version=version)
    with pytest.raises(PortfolioChanged), work.begin() as tx:
        tx.portfolios.save(wrong)
    with work.read() as tx:
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == portfolio


def test_stale_portfolio_writes_no_entry(work, ada):
    portfolio = stored_portfolio(work, ada)
    entry, late = a_deposit(1), a_deposit(2)
    with work.begin() as tx:
        stale = with_entries(tx, portfolio, late)
        tx.portfolios.save(with_entries(tx, portfolio, entry), entries=[entry])
        with pytest.raises(PortfolioChanged):
            tx.portfolios.save(stale, entries=[late])
    with work.read() as tx:
        assert tx.portfolios.ledger(portfolio.id).entries == (entry,)
        assert tx.portfolios.get(portfolio.id, owner=ada.id).positions.cash == 1


def test_entries_are_appended(work, ada):
    first, second, third = a_deposit(1), a_deposit(2, on=DAY - timedelta(days=9)), a_deposit(3)
    portfolio = stored_portfolio(work, ada, first)
    with work.begin() as tx:
        saved = with_entries(tx, portfolio, second, third)
        tx.portfolios.save(saved, entries=[second, third])
    with work.read() as tx:
        assert tx.portfolios.ledger(portfolio.id).entries == (first, second, third)
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == saved


def test_entry_is_written_once(work, ada):
    entry, other = a_deposit(), a_deposit(7)
    portfolio = stored_portfolio(work, ada, entry)
    with work.begin() as tx:
        again = attrs.evolve(renamed(portfolio), positions=Ledger((entry, other, entry)).positions)
        with pytest.raises(Conflict, match="already"):
            tx.portfolios.save(again, entries=[other, entry])
    with work.read() as tx:
        assert tx.portfolios.ledger(portfolio.id).entries == (entry,)
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == portfolio


def test_void_entries_stay_and_do_not_count(work, ada):
    first, second = a_deposit(), a_deposit(7)
    portfolio = stored_portfolio(work, ada, first, second)
    other = stored_portfolio(work, ada, second)
    reversal = second.reversal(recorded=NOW, note="a slip")
    with work.begin() as tx:
        ledger = tx.portfolios.ledger(portfolio.id).extended_by([reversal])
        tx.portfolios.save(tx.portfolios.get(portfolio.id).book(ledger, NOW), entries=[reversal])
    with work.read() as tx:
        assert tx.portfolios.ledger(portfolio.id).entries == (first, second, reversal)
        assert tx.portfolios.entries(portfolio.id, limit=1) == [reversal]
        assert tx.portfolios.get(portfolio.id).positions.cash == first.amount
        ids = [first.id, second.id, reversal.id]
        assert tx.portfolios.void(portfolio.id, ids) == {second.id}
        assert tx.portfolios.void(portfolio.id, []) == frozenset()
        assert tx.portfolios.void(other.id, ids) == frozenset()
    with pytest.raises(Conflict), work.begin() as tx:
        held = tx.portfolios.get(portfolio.id)
        again = attrs.evolve(held, version=held.version + 1)
        tx.portfolios.save(again, entries=[attrs.evolve(reversal, recorded=NOW + HOUR)])


def test_fills_are_summed_by_proposal(work, ada):
    paid = a_deposit(1000)
    portfolio = stored_portfolio(work, ada, paid)
    record = attrs.evolve(a_proposal(portfolio), stage=Stage.ACCEPTED, decided=NOW)
    trades = [
        attrs.evolve(
            a_deposit(),
            id=uuid4(),
            kind=EntryKind.BUY,
            symbol=symbol,
            quantity=Decimal(quantity),
            price=Decimal(1),
            amount=Decimal(quantity),
            proposal=record.id,
            partial=True,
        )
        for symbol, quantity in (("A", "2.5"), ("A", "4"), ("B", "3"))
    ]
    void = trades[1].reversal(recorded=NOW, partial=True)
    with work.begin() as tx:
        tx.proposals.add([record])
        ledger = tx.portfolios.ledger(portfolio.id).extended_by([*trades, void])
        tx.portfolios.save(portfolio.book(ledger, NOW), entries=[*trades, void])
    unknown = uuid4()
    with work.read() as tx:
        asked = {record.id: portfolio.id, unknown: portfolio.id}
        assert tx.portfolios.fills(asked) == {
            record.id: {"A": Decimal("2.5"), "B": Decimal(3)},
            unknown: {},
        }
        assert tx.portfolios.fills({}) == {}
        assert tx.portfolios.ledger(portfolio.id).open_proposals == {record.id}
    cancelled = record.cancel(NOW, "enough")
    with work.begin() as tx:
        tx.proposals.save(cancelled, expected=Stage.ACCEPTED)
    with work.read() as tx:
        assert tx.proposals.get(record.id) == cancelled


def test_ledgers_of_two_portfolios_may_share_an_id(work, ada):
    entry = a_deposit()
    one, two = stored_portfolio(work, ada, entry), stored_portfolio(work, ada, entry)
    with work.read() as tx:
        assert tx.portfolios.ledger(one.id) == tx.portfolios.ledger(two.id)
        assert tx.portfolios.entries(one.id, before=entry.id, limit=9) == []


def test_positions_that_differ_from_the_ledger_are_a_bug(work, ada):
    entry = a_deposit(1000)
    portfolio = stored_portfolio(work, ada, entry)
    wrong = attrs.evolve(renamed(portfolio), positions=Positions(cash=Decimal(1001)))
    late = a_deposit(5)
    for write in (
        lambda tx: tx.portfolios.add(attrs.evolve(wrong, id=uuid4()), [a_deposit(1000)]),
        lambda tx: tx.portfolios.save(wrong),
        lambda tx: tx.portfolios.save(renamed(portfolio), entries=[late]),
    ):
        with work.begin() as tx, pytest.raises(RuntimeError, match="agree"):
            write(tx)
    with work.read() as tx:
        assert tx.portfolios.page(ada.id, limit=9) == [portfolio]
        assert tx.portfolios.ledger(portfolio.id).entries == (entry,)


def test_closed_portfolio_is_not_found_but_its_ledger_is(work, ada):
    entry = a_deposit()
    portfolio, other = stored_portfolio(work, ada, entry), stored_portfolio(work, ada)
    with work.begin() as tx:
        tx.portfolios.close(portfolio.id, owner=ada.id, version=1, now=NOW)
    with work.begin() as tx:
        for seek in (
            lambda: tx.portfolios.get(portfolio.id, owner=ada.id),
            lambda: tx.portfolios.save(renamed(portfolio)),
            lambda: tx.portfolios.close(portfolio.id, owner=ada.id, version=1, now=NOW),
        ):
            with pytest.raises(NotFound):
                seek()
        assert tx.portfolios.page(ada.id, limit=9) == [other]
        assert tx.portfolios.chunk(limit=9) == [other]
        assert tx.portfolios.ledger(portfolio.id).entries == (entry,)
        assert tx.portfolios.entries(portfolio.id, limit=9) == [entry]


def test_only_the_current_version_is_closed(work, ada):
    portfolio = stored_portfolio(work, ada)
    with pytest.raises(PortfolioChanged), work.begin() as tx:
        tx.portfolios.close(portfolio.id, owner=ada.id, version=2, now=NOW)
    with work.read() as tx:
        assert tx.portfolios.get(portfolio.id, owner=ada.id) == portfolio


def test_many_portfolios_of_any_owner_are_read_at_once(work, ada):
    grace = stored_user(work)
    first, second = stored_portfolio(work, ada, a_deposit(5)), stored_portfolio(work, grace)
    closed = stored_portfolio(work, ada)
    with work.begin() as tx:
        tx.portfolios.close(closed.id, owner=ada.id, version=1, now=NOW)
    with work.read() as tx:
        found = tx.portfolios.get_many([second.id, first.id, closed.id, uuid4()])
        assert found == {first.id: first, second.id: second}
        assert tx.portfolios.get_many([]) == {}


def test_address_of_another_user_is_rejected(work, ada):
    grace = stored_user(work)
    with pytest.raises(EmailTaken), work.begin() as tx:
        tx.users.save(attrs.evolve(grace, email=ada.email))
    with work.read() as tx:
        assert tx.users.get(grace.id) == grace


def test_current_versions_are_returned(work, ada):
    one, two = stored_portfolio(work, ada), stored_portfolio(work, ada)
    with work.begin() as tx:
        tx.portfolios.save(renamed(two))
        assert tx.portfolios.versions({one.id, two.id, uuid4()}) == {one.id: 1, two.id: 2}
        assert tx.portfolios.versions([]) == {}


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_portfolios_of_an_owner_page_by_page_the_oldest_first(work, ada, size):
    eve = stored_user(work)
    mine = []
    for number in range(7):  # three moments, so that some are of the same one
        created = NOW + (number % 3) * HOUR
        mine.append(stored_portfolio(work, ada, created=created, changed=created))
        hers = stored_portfolio(work, eve, created=created)
    closed = stored_portfolio(work, ada, created=NOW + HOUR)
    with work.begin() as tx:
        tx.portfolios.close(closed.id, owner=ada.id, version=1, now=NOW)
    mine.sort(key=lambda portfolio: (portfolio.created, portfolio.id))
    with work.read() as tx:
        found = all_pages(lambda after: tx.portfolios.page(ada.id, after=after, limit=size), size)
        behind = [one for one in mine if (one.created, one.id) > (closed.created, closed.id)]
        assert tx.portfolios.page(ada.id, after=closed.id, limit=100) == behind
        for unknown in (hers.id, uuid4()):
            assert tx.portfolios.page(ada.id, after=unknown, limit=100) == []
    assert found == mine


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_chunks_of_all_owners_are_sorted_by_id(work, ada, size):
    eve = stored_user(work)
    every = [stored_portfolio(work, owner, a_deposit()) for owner in (ada, eve, ada, eve, ada)]
    closed = stored_portfolio(work, eve)
    with work.begin() as tx:
        tx.portfolios.close(closed.id, owner=eve.id, version=1, now=NOW)
    every.sort(key=lambda portfolio: portfolio.id)
    with work.read() as tx:
        assert all_pages(lambda after: tx.portfolios.chunk(after=after, limit=size), size) == every
        later = [portfolio for portfolio in every if portfolio.id > closed.id]
        assert tx.portfolios.chunk(after=closed.id, limit=100) == later
        first, _, third, _, last = [portfolio.id for portfolio in every]
        assert tx.portfolios.chunk(after=first, until=third) == every[1:3]
        assert tx.portfolios.chunk(until=first) == every[:1]
        assert tx.portfolios.chunk(after=third, until=UUID(int=2**128 - 1)) == every[3:]
        assert tx.portfolios.chunk(after=last) == []
        ids = [portfolio.id for portfolio in every]
        assert tx.portfolios.chunk_boundaries(size) == ids[size - 1 :: size]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_entries_page_by_page_the_latest_written_first(work, ada, size):
    written = [a_deposit(n + 1, on=DAY - timedelta(days=n % 3), recorded=NOW) for n in range(7)]
    portfolio = stored_portfolio(work, ada, *written[:4])
    stored_portfolio(work, ada, stranger := a_deposit())
    with work.begin() as tx:
        tx.portfolios.save(with_entries(tx, portfolio, *written[4:]), entries=written[4:])
    with work.read() as tx:

        def fetch(before):
            return tx.portfolios.entries(portfolio.id, before=before, limit=size)

        assert all_pages(fetch, size) == written[::-1]
        assert tx.portfolios.entries(portfolio.id, before=stranger.id, limit=9) == []
        assert tx.portfolios.entries(portfolio.id, before=uuid4(), limit=9) == []


def test_booked_actions_are_marked_without_a_new_version(work, ada):
    one, other = stored_portfolio(work, ada), stored_portfolio(work, ada)
    with work.begin() as tx:
        tx.portfolios.get(one.id)
        tx.portfolios.mark_booked("digest", {one.id: 1, other.id: 2, uuid4(): 1})
        tx.portfolios.mark_booked("digest", {})
        assert tx.portfolios.get_many([one.id])[one.id].booked_actions == "digest"
    with work.read() as tx:
        assert tx.portfolios.get(one.id) == attrs.evolve(one, booked_actions="digest")
        assert tx.portfolios.get(other.id) == other


@given(data=st.data())
def test_portfolios_and_entries_are_read_as_written(full, data):
    with full.begin() as tx:
        tx.users.add(user := a_user())
    portfolio, ledger = data.draw(stores.managed(user.id))
    with full.begin() as tx:
        tx.portfolios.add(portfolio, ledger.entries)
    with full.read() as tx:
        assert tx.portfolios.get(portfolio.id, owner=user.id) == portfolio
        assert tx.portfolios.ledger(portfolio.id) == ledger
        unknown = uuid4()
        found = tx.portfolios.ledgers([portfolio.id, unknown])
        assert found.keys() == {portfolio.id, unknown} and found[unknown] == Ledger()
        assert without_notes(found[portfolio.id]) == without_notes(ledger)
        assert tx.portfolios.entries(portfolio.id, limit=99) == list(reversed(ledger.entries))


def without_notes(ledger):
    """Return the entries without the notes that their owner wrote."""
    return [one if one.action else attrs.evolve(one, note="") for one in ledger.entries]


def test_ledgers_of_many_show_the_notes_of_booked_actions_alone(work, ada):
    written, booked = a_deposit(note="Why"), a_deposit(note="inferred", action="A 2024-01-02")
    portfolio = stored_portfolio(work, ada, written, booked)
    with work.read() as tx:
        assert [one.note for one in tx.portfolios.ledger(portfolio.id).entries] == [
            "Why",
            "inferred",
        ]
        assert tx.portfolios.ledgers([portfolio.id])[portfolio.id].entries[1] == booked


# Proposals.


def test_proposals_are_stored_and_found(work, ada):
    portfolio = stored_portfolio(work, ada)
    records = [a_proposal(portfolio) for _ in range(3)]
    with work.begin() as tx:
        tx.proposals.add(records)
        tx.proposals.add([])
    with work.read() as tx:
        for record in records:
            assert tx.proposals.get(record.id, owner=ada.id) == record


def test_proposals_of_others_do_not_exist(work, ada):
    eve = stored_user(work)
    portfolio = stored_portfolio(work, ada)
    record = stored_proposal(work, portfolio)
    stolen = attrs.evolve(record, owner=eve.id, stage=Stage.REJECTED)
    with work.begin() as tx:
        for steal in (
            lambda: tx.proposals.get(record.id, owner=eve.id),
            lambda: tx.proposals.get(uuid4(), owner=ada.id),
            lambda: tx.proposals.save(stolen, expected=Stage.PROPOSED),
            lambda: tx.proposals.save(a_proposal(portfolio), expected=Stage.PROPOSED),
        ):
            with pytest.raises(NotFound):
                steal()
        assert tx.proposals.page(eve.id, limit=9) == []
        assert tx.proposals.page(eve.id, portfolio_id=portfolio.id, limit=9) == []
        assert tx.proposals.get(record.id, owner=ada.id) == record


def test_proposal_is_replaced_at_the_expected_stage(work, ada):
    portfolio = stored_portfolio(work, ada)
    record, other = stored_proposal(work, portfolio), stored_proposal(work, portfolio)
    rejected = record.reject(NOW, "Not now")
    with work.begin() as tx:
        tx.proposals.save(rejected, expected=Stage.PROPOSED)
    with work.begin() as tx:
        with pytest.raises(ProposalClosed, match="rejected"):
            tx.proposals.save(attrs.evolve(record, remark="Again"), expected=Stage.PROPOSED)
        assert tx.proposals.get(record.id, owner=ada.id) == rejected
        assert tx.proposals.get(other.id, owner=ada.id) == other


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_proposals_page_by_page_the_latest_first(work, ada, size):
    one, two = stored_portfolio(work, ada), stored_portfolio(work, ada)
    eve = stored_user(work)
    hers = stored_proposal(work, stored_portfolio(work, eve), proposed=NOW + 9 * HOUR)
    mine = [
        stored_proposal(work, portfolio, proposed=NOW + (number % 3) * HOUR)
        for number, portfolio in enumerate([one, two, one, two, one, one, one])
    ]
    mine.sort(key=lambda record: (record.proposed, record.id), reverse=True)
    with work.read() as tx:
        for wanted in (None, one.id, two.id):

            def fetch(before, wanted=wanted):
                return tx.proposals.page(ada.id, portfolio_id=wanted, before=before, limit=size)

            some = [record for record in mine if wanted in (None, record.portfolio_id)]
            assert all_pages(fetch, size) == some
        for unknown in (hers.id, uuid4()):
            assert tx.proposals.page(ada.id, before=unknown, limit=9) == []
        elsewhere = next(record for record in mine if record.portfolio_id == two.id)
        assert tx.proposals.page(ada.id, portfolio_id=one.id, before=elsewhere.id, limit=9) == []
        assert tx.proposals.page(ada.id, portfolio_id=uuid4(), limit=9) == []


def test_proposals_for_closed_portfolios_are_left_out(work, ada):
    portfolio, other = stored_portfolio(work, ada), stored_portfolio(work, ada)
    record, kept = stored_proposal(work, portfolio), stored_proposal(work, other)
    with work.begin() as tx:
        tx.portfolios.close(portfolio.id, owner=ada.id, version=1, now=NOW)
    with work.begin() as tx:
        assert tx.proposals.page(ada.id, limit=9) == [kept]
        assert tx.proposals.page(ada.id, portfolio_id=portfolio.id, limit=9) == []
        with pytest.raises(NotFound):
            tx.proposals.get(record.id, owner=ada.id)
        with pytest.raises(NotFound):
            tx.proposals.save(record.reject(NOW), expected=Stage.PROPOSED)


def test_fills_of_a_proposal_are_in_the_ledger(work, ada):
    portfolio = stored_portfolio(work, ada, a_deposit())
    record = stored_proposal(work, portfolio)
    fill = a_fill(record)
    with work.begin() as tx:
        saved = with_entries(tx, portfolio, fill)
        tx.portfolios.save(saved, entries=[fill])
        done = attrs.evolve(record, stage=Stage.EXECUTED, executed=NOW)
        tx.proposals.save(done, expected=Stage.PROPOSED)
    with work.read() as tx:
        found = tx.portfolios.get(portfolio.id, owner=ada.id)
        assert found == saved
        assert found.positions.last_rebalance == DAY
        assert found.positions.holdings == {"A": 1}
        assert tx.portfolios.ledger(portfolio.id).entries[-1] == fill


@given(data=st.data())
def test_proposals_are_read_as_written(full, data):
    user, run = a_user(), a_run()
    portfolio = a_managed(user.id)
    record = data.draw(stores.proposals(portfolio, run.id))
    with full.begin() as tx:
        tx.users.add(user)
        tx.runs.add(run, [])
        tx.portfolios.add(portfolio, [])
        tx.proposals.add([record])
    with full.read() as tx:
        found = tx.proposals.get(record.id, owner=user.id)
    assert found == record
    assert found.inputs.portfolio.symbols == record.inputs.portfolio.symbols
    assert list(found.proposal.weights_before) == list(record.proposal.weights_before)


# Idempotency keys.


def test_keys_belong_to_their_owner(work, ada):
    eve = stored_user(work)
    mine, other, hers = a_key(ada.id), a_key(ada.id, "anothér key"), a_key(eve.id)
    with work.begin() as tx:
        for key in (mine, other, hers):
            tx.keys.add(key)
    with work.read() as tx:
        assert tx.keys.get(ada.id, mine.key) == mine
        assert tx.keys.get(ada.id, other.key) == other
        assert tx.keys.get(eve.id, hers.key) == hers
        assert tx.keys.get(eve.id, other.key) is None


def test_key_is_stored_once(work, ada):
    key = a_key(ada.id)
    with work.begin() as tx:
        tx.keys.add(key)
    with pytest.raises(Conflict), work.begin() as tx:
        tx.keys.add(attrs.evolve(key, fingerprint="another", result=uuid4()))
    with work.read() as tx:
        assert tx.keys.get(ada.id, key.key) == key


def test_first_answer_is_stored(work, ada):
    key = a_key(ada.id)
    with work.begin() as tx:
        tx.keys.add(key)
    for answer in ("the first: \u00e4", "another"):
        with work.begin() as tx:
            tx.keys.save_answer(ada.id, key.key, answer)
            tx.keys.save_answer(ada.id, "unknown", answer)
    with work.read() as tx:
        assert tx.keys.get(ada.id, key.key) == attrs.evolve(key, answer="the first: \u00e4")
        assert tx.keys.get(ada.id, "unknown") is None


def test_old_keys_are_deleted(work, ada):
    keys = [a_key(ada.id, str(n), created=NOW + n * HOUR) for n in range(4)]
    with work.begin() as tx:
        for key in keys:
            tx.keys.add(key)
        assert tx.keys.delete_before(NOW + 2 * HOUR) == 2
    with work.read() as tx:
        assert [tx.keys.get(ada.id, key.key) for key in keys] == [None, None, *keys[2:]]


# Jobs.


def test_jobs_are_stored_and_replaced(work, ada):
    job, other = a_job(owner=ada.id), a_job(owner=ada.id)
    done = attrs.evolve(
        job,
        state=JobState.SUCCEEDED,
        progress=1.0,
        result={"sharpe": 0.1, "nothing": None},
        finished=NOW + HOUR,
    )
    with work.begin() as tx:
        tx.jobs.add(job)
        tx.jobs.add(other)
        assert tx.jobs.get(job.id) == job
        tx.jobs.save(done)
    with work.read() as tx:
        assert tx.jobs.get(job.id) == done
        assert tx.jobs.get(job.id, owner=ada.id) == done
        assert tx.jobs.get(other.id) == other


def test_jobs_of_others_and_unknown_ones_do_not_exist(work, ada):
    eve, job = stored_user(work), a_job(owner=ada.id)
    with work.begin() as tx:
        tx.jobs.add(job)
        for seek in (
            lambda: tx.jobs.get(job.id, owner=eve.id),
            lambda: tx.jobs.get(uuid4()),
            lambda: tx.jobs.save(a_job(owner=ada.id)),
        ):
            with pytest.raises(NotFound):
                seek()


def test_overdue_and_running_jobs_are_listed_oldest_first(work, ada):
    waits = [a_job(owner=ada.id, due=NOW + HOUR * hours) for hours in (2, 0, 1)]
    doing = [
        a_job(
            owner=ada.id,
            state=JobState.RUNNING,
            attempts=1,
            due=due,
            last_heartbeat=NOW + HOUR * hours,
        )
        for due, hours in ((NOW - HOUR, 1), (NOW + HOUR / 2, 2), (NOW, 3))
    ]
    over = [
        a_job(owner=ada.id, state=state, due=NOW - HOUR, finished=NOW)
        for state in JobState
        if state.is_final
    ]
    with work.begin() as tx:
        for job in (*waits, *doing, *over):
            tx.jobs.add(job)
    with work.read() as tx:

        def stranded(due, limit=9):
            return tx.jobs.overdue_or_running(due=NOW + HOUR * due, limit=limit)

        assert stranded(0) == [doing[0], doing[2], doing[1]]
        assert stranded(3) == [
            doing[0],
            *sorted([waits[1], doing[2]], key=lambda job: job.id),
            (doing[1]),
            waits[2],
            waits[0],
        ]
        assert stranded(3, limit=1) == [doing[0]]
        late = max(job.due for job in waits)
        second = timedelta(seconds=1)
        ahead = tx.jobs.overdue_or_running(due=NOW - HOUR, latest=late - second, limit=9)
        assert {job.due for job in ahead if job.state is JobState.QUEUED} == {late}
        for latest in (late, None):
            none = tx.jobs.overdue_or_running(due=NOW - HOUR, latest=latest, limit=9)
            assert all(job.state is JobState.RUNNING for job in none)


def test_backlog_counts_due_and_running_jobs_by_kind(work, ada):
    eve = stored_user(work)
    with work.read() as tx:
        assert tx.jobs.backlog(NOW) == Backlog({}, {}, None)
    jobs = [
        a_job(owner=ada.id, due=NOW - HOUR),
        a_job(owner=eve.id, due=NOW - 2 * HOUR),
        a_job(owner=None, kind="train", due=NOW),
        a_job(owner=ada.id, due=NOW + HOUR),
        a_job(owner=eve.id, state=JobState.RUNNING, attempts=1, due=NOW - 9 * HOUR),
        *(
            a_job(owner=ada.id, state=state, due=NOW - 9 * HOUR, finished=NOW)
            for state in JobState
            if state.is_final
        ),
    ]
    with work.begin() as tx:
        for job in jobs:
            tx.jobs.add(job)
    with work.read() as tx:
        kind = jobs[0].kind
        assert tx.jobs.backlog(NOW) == Backlog({kind: 2, "train": 1}, {kind: 1}, NOW - 2 * HOUR)


def test_jobs_come_page_by_page_the_latest_first(work, ada):
    eve = stored_user(work)
    made = [
        a_job(owner=owner, state=state, created=NOW + HOUR * (number % 3))
        for number, (owner, state) in enumerate(
            itertools.product((ada.id, eve.id, None), (JobState.QUEUED, JobState.DEAD))
        )
    ]
    with work.begin() as tx:
        for job in made:
            tx.jobs.add(job)
    latest = sorted(made, key=lambda job: (job.created, job.id), reverse=True)
    dead = frozenset({JobState.DEAD})
    with work.read() as tx:
        assert all_pages(lambda last: tx.jobs.page(before=last, limit=2), 2) == latest
        assert tx.jobs.page(ada.id, limit=9) == [job for job in latest if job.owner == ada.id]
        assert tx.jobs.page(ada.id, states=dead, limit=9) == [made[1]]
        assert tx.jobs.page(states=dead, limit=9) == [
            job for job in latest if job.state is JobState.DEAD
        ]
        assert tx.jobs.page(states=dead, before=latest[2].id, limit=9) == [
            job for job in latest[3:] if job.state is JobState.DEAD
        ]
        assert tx.jobs.page(ada.id, before=made[2].id, limit=9) == []  # eve's
        assert tx.jobs.page(states=frozenset(), limit=9) == []


def test_job_read_in_a_write_transaction_is_locked(work, ada):
    job = a_job(owner=ada.id)
    with work.begin() as tx:
        tx.jobs.add(job)

    def begin(_):
        try:
            with work.begin() as tx:
                tx.jobs.save(tx.jobs.get(job.id).start(NOW))
        except JobChanged:
            return 0
        return 1

    with ThreadPoolExecutor(RACERS) as pool:
        assert sum(pool.map(begin, range(RACERS))) == 1
    with work.read() as tx:
        assert tx.jobs.get(job.id).attempts == 1


@given(
    request_=stores.json_objects,
    result=st.none() | stores.json_objects,
    error=st.none() | stores.texts,
    state=st.sampled_from(JobState),
    progress=stores.fractions,
    created=stores.moments,
    due=stores.moments,
    last_heartbeat=st.none() | stores.moments,
    finished=st.none() | stores.moments,
    attempts=st.integers(0, 100),
    cancelling=st.booleans(),
    owned=st.booleans(),
)
def test_jobs_are_read_as_written(
    full,
    request_,
    result,
    error,
    state,
    progress,
    created,
    due,
    last_heartbeat,
    finished,
    attempts,
    cancelling,
    owned,
):
    user = a_user()
    job = a_job(
        owner=user.id if owned else None,
        request=request_,
        result=result,
        error=error,
        state=state,
        progress=progress,
        created=created,
        due=due,
        trace=None if error is None else f"00-{'a' * 32}-{'b' * 16}-01",
        last_heartbeat=last_heartbeat,
        finished=finished,
        attempts=attempts,
        cancelling=cancelling,
    )
    with full.begin() as tx:
        tx.users.add(user)
        tx.jobs.add(job)
    with full.read() as tx:
        assert tx.jobs.get(job.id) == job


# Together.


def test_revocation_deletes_a_token_that_is_issued_meanwhile(work, ada):
    used, old = a_token(ada.id, used=NOW), a_token(ada.id)
    old = attrs.evolve(old, family=used.family)
    fresh = attrs.evolve(a_token(ada.id), family=used.family)
    with work.begin() as tx:
        tx.tokens.add(used)
        tx.tokens.add(old)
    begun = threading.Event()

    def end():
        begun.set()
        with work.begin() as tx:  # as after a reused token or a logout
            assert tx.tokens.get(used.digest) == used
            tx.tokens.revoke(used.family)

    with ThreadPoolExecutor(1) as threads:
        with work.begin() as tx:
            assert tx.tokens.get(old.digest) == old
            assert tx.tokens.mark_used(old.digest, NOW)
            ending = threads.submit(end)
            begun.wait()
            time.sleep(0.3)  # so that it waits for us
            tx.tokens.add(fresh)
        ending.result()
    with work.read() as tx:
        assert [tx.tokens.get(token.digest) for token in (used, old, fresh)] == [None] * 3


# Batch runs.


def test_run_is_unfinished_until_its_chunks_are_done(work, ada):
    ids = sorted(stored_portfolio(work, ada).id for _ in range(3))
    run = a_run()
    with work.begin() as tx:
        tx.runs.add(run, ids[:2])
        assert tx.runs.get(run.id) == attrs.evolve(run, chunks=3)
        assert tx.runs.find_unfinished(run.terms) == tx.runs.get(run.id)
        assert tx.runs.find_unfinished("other terms") is None
    taken = []
    for number in range(3):
        with work.begin() as tx:
            taken.append(tx.runs.claim(run.id))
        with work.begin() as tx:
            failures = [(ids[0], "no close")] if number == 1 else []
            tx.runs.complete(taken[-1], proposed=2, nothing=number, failures=failures)
    assert [(part.number, part.after, part.until) for part in taken] == [
        (0, None, ids[0]),
        (1, ids[0], ids[1]),
        (2, ids[1], None),
    ]
    with work.begin() as tx:
        tx.runs.finish(run.id, NOW + HOUR)
        tx.runs.finish(run.id, NOW + 2 * HOUR)
        assert tx.runs.get(run.id) == attrs.evolve(
            run, proposed=6, nothing=3, failed=1, chunks=3, done=3, finished=NOW + HOUR
        )
        assert tx.runs.claim(run.id) is None
        assert tx.runs.find_unfinished(run.terms) is None
        with pytest.raises(NotFound):
            tx.runs.get(uuid4())


def test_run_without_portfolios_has_one_chunk(work):
    run = a_run()
    with work.begin() as tx:
        tx.runs.add(run, [])
        part = tx.runs.claim(run.id)
        assert (part.after, part.until) == (None, None)
        tx.runs.finish(run.id, NOW)
        assert tx.runs.get(run.id).finished is None
        tx.runs.complete(part, proposed=0, nothing=0)
        tx.runs.finish(run.id, NOW)
        assert tx.runs.get(run.id).finished == NOW


def test_run_with_a_known_id_is_rejected_and_changes_nothing(work):
    run = a_run(release="1.2.3")
    with work.begin() as tx:
        tx.runs.add(run, [])
    with pytest.raises(RunExists), work.begin() as tx:
        tx.runs.add(attrs.evolve(run, policy="band", release="1.2.4"), [UUID(int=1)])
    with work.read() as tx:
        assert tx.runs.get(run.id) == attrs.evolve(run, chunks=1)


def test_claimed_chunk_is_claimed_again_when_no_other_is_left(work):
    run = a_run()
    with work.begin() as tx:
        tx.runs.add(run, [UUID(int=1)])
    numbers = []
    for _ in range(5):
        with work.begin() as tx:
            numbers.append(tx.runs.claim(run.id).number)
    assert numbers == [0, 1, 0, 1, 0]


def test_first_completion_of_a_chunk_counts(work, ada):
    portfolio = stored_portfolio(work, ada)
    run = a_run()
    with work.begin() as tx:
        tx.runs.add(run, [])
        part = tx.runs.claim(run.id)
    first, second = a_proposal(portfolio, run=run.id), a_proposal(portfolio, run=run.id)
    with work.begin() as tx:
        tx.runs.complete(part, proposed=1, nothing=0)
        tx.proposals.add([first])
    with pytest.raises(ChunkDone), work.begin() as tx:
        tx.proposals.add([second])
        tx.runs.complete(part, proposed=1, nothing=0)
    with work.read() as tx:
        assert tx.proposals.page(ada.id, limit=9) == [first]
        assert tx.runs.get(run.id).proposed == 1


def test_workers_that_share_a_run_complete_each_chunk_once(work):
    run = a_run()
    with work.begin() as tx:
        tx.runs.add(run, [UUID(int=n) for n in range(1, 40)])

    def share(_):
        done = 0
        while True:
            try:
                with work.begin() as tx:
                    part = tx.runs.claim(run.id)
                    if part is None:
                        tx.runs.finish(run.id, NOW)
                        return done
                with work.begin() as tx:
                    tx.runs.complete(part, proposed=1, nothing=0)
                done += 1
            except (ChunkDone, ChunksHeld, Unavailable):
                continue

    outcomes = race(share)
    assert sum(outcomes) == 40
    with work.read() as tx:
        ended = tx.runs.get(run.id)
    assert (ended.proposed, ended.done, ended.finished) == (40, 40, NOW)


def test_latest_unfinished_run_is_found(work):
    runs = [a_run(id=UUID(int=9 - n), started=NOW + n * HOUR) for n in (1, 3, 2)]
    with work.begin() as tx:
        for run in runs:
            tx.runs.add(run, [])
        tx.runs.add(a_run(started=NOW + 9 * HOUR, finished=NOW + 10 * HOUR), [])
        tx.runs.add(a_run(started=NOW + 9 * HOUR, terms="u" * 64), [])
        assert tx.runs.find_unfinished("t" * 64).id == runs[1].id


def test_latest_run_is_the_one_that_started_last(work):
    with work.read() as tx:
        assert tx.runs.latest() is None
    runs = [a_run(started=NOW + n * HOUR, finished=NOW + 5 * HOUR) for n in (1, 3, 2)]
    with work.begin() as tx:
        for run in runs:
            tx.runs.add(run, [])
    with work.read() as tx:
        assert tx.runs.latest() == attrs.evolve(runs[1], chunks=1)


def test_failures_of_a_run_are_listed_by_portfolio(work, ada):
    ids = [stored_portfolio(work, ada).id for _ in range(4)]
    run, other = a_run(), a_run()
    with work.begin() as tx:
        tx.runs.add(run, [UUID(int=1)])
        tx.runs.add(other, [])
        for one, failures in (
            (run, [(ids[2], "no close"), (ids[0], "Währung")]),
            (other, [(ids[0], "another run")]),
            (run, [(ids[1], "no cash")]),
        ):
            part = tx.runs.claim(one.id)
            tx.runs.complete(part, proposed=0, nothing=0, failures=failures)
    expected = sorted([(ids[2], "no close"), (ids[0], "Währung"), (ids[1], "no cash")])
    with work.read() as tx:
        assert tx.runs.failures(run.id) == expected
        assert tx.runs.failures(other.id) == [(ids[0], "another run")]
        assert tx.runs.failures(uuid4()) == []


def test_all_rows_of_an_owner_include_those_of_closed_portfolios(work, ada):
    kept, closed = (stored_portfolio(work, ada) for _ in range(2))
    proposals = [stored_proposal(work, one) for one in (kept, closed)]
    stored_proposal(work, stored_portfolio(work, stored_user(work)))
    with work.begin() as tx:
        tx.portfolios.close(closed.id, owner=ada.id, version=1, now=NOW)
    with work.read() as tx:

        def portfolios(after):
            return tx.portfolios.of_owner(ada.id, after=after, limit=1)

        def records(before):
            return tx.proposals.of_owner(ada.id, before=before, limit=1)

        assert {one.id for one in all_pages(portfolios, 1)} == {kept.id, closed.id}
        assert {one.id for one in all_pages(records, 1)} == {one.id for one in proposals}


# Turns of accounts.


def served(work, count, now=NOW):
    """Start jobs one after the other; return their owners in the order of their turns."""
    owners = []
    for number in range(count):
        with work.begin() as tx:
            job = tx.jobs.next_due(now + HOUR)
            tx.jobs.save(job.start(now + HOUR + timedelta(seconds=number)))
        owners.append(job.owner)
    return owners


def test_accounts_take_turns(work):
    owners = [stored_user(work).id for _ in range(6)]
    with work.begin() as tx:
        for number in range(101):
            created = NOW + timedelta(seconds=number)
            tx.jobs.add(a_job(owner=owners[number * 6 // 101], created=created, due=created))
    assert served(work, 8) == [*owners, *owners[:2]]
    newcomer = stored_user(work).id
    with work.begin() as tx:
        tx.jobs.add(a_job(owner=newcomer, due=NOW + HOUR))
    assert served(work, 2, NOW + HOUR) == [newcomer, owners[2]]


def test_oldest_job_that_is_due_has_the_turn_of_its_account(work, ada):
    late = a_job(owner=ada.id, due=NOW + HOUR)
    first, second = a_job(owner=ada.id), a_job(owner=ada.id, due=NOW + timedelta(seconds=1))
    operators = [a_job(due=NOW), a_job(due=NOW + timedelta(seconds=1))]
    with work.begin() as tx:
        for job in (late, second, first, *operators):
            tx.jobs.add(job)
        assert tx.jobs.next_due(NOW - HOUR) is None
    with work.read() as tx:
        assert tx.jobs.next_due(NOW + timedelta(seconds=2)).owner in (ada.id, None)
    found = []
    for _ in range(4):
        with work.begin() as tx:
            job = tx.jobs.next_due(NOW + timedelta(seconds=2))
            found.append(job.id)
            tx.jobs.save(job.start(NOW + timedelta(seconds=2 + len(found))))
    mine, others = [first.id, second.id], [one.id for one in operators]
    assert [one for one in found if one in mine] == mine
    assert [one for one in found if one in others] == others
    assert {found[0], found[1]} == {first.id, operators[0].id}  # they alternate
    with work.begin() as tx:
        assert tx.jobs.next_due(NOW + timedelta(seconds=2)) is None
        assert tx.jobs.next_due(NOW + HOUR) == late


def test_workers_that_start_together_start_different_jobs(work, ada):
    with work.begin() as tx:
        for _ in range(RACERS):
            tx.jobs.add(a_job(owner=ada.id))

    def start(_):
        while True:
            try:
                with work.begin() as tx:
                    job = tx.jobs.next_due(NOW)
                    if job is None:  # those that others have locked
                        continue
                    tx.jobs.save(job.start(NOW))
                return job.id
            except Unavailable:
                continue

    assert len(set(race(start))) == RACERS
