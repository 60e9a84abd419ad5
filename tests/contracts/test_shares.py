"""Shared portfolios in every store."""

from datetime import timedelta
from uuid import uuid4

import attrs
import pytest

from rebalancer.domain.accounts.deletion import Deletion
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.shares import Right
from rebalancer.domain.errors import NotAllowed, NotFound
from tests.contracts.stores import (
    HOUR,
    NOW,
    a_share,
    stored_portfolio,
    stored_proposal,
    stored_share,
    stored_user,
)


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


@pytest.fixture
def ada(work):
    return stored_user(work)


@pytest.fixture
def adviser(work):
    return stored_user(work, role=Role.ADVISER)


@pytest.fixture
def portfolio(work, ada):
    return stored_portfolio(work, ada)


def expect(work, error, code, *, id, actor, right=Right.READ):
    """Check that both kinds of transaction raise the same error for a portfolio."""
    for begin in (work.begin, work.read):
        with begin() as tx, pytest.raises(error) as raised:
            tx.portfolios.get_for(id, actor.id, right)
        assert raised.value.code == code


def test_shares_are_read_as_written(work, portfolio, adviser):
    accepted = stored_share(work, portfolio, adviser, right=Right.PROPOSE, created=NOW + HOUR)
    invited = stored_share(work, portfolio, None)
    with work.read() as tx:
        assert tx.shares.get(accepted.id) == accepted
        assert tx.shares.get(invited.id, portfolio=portfolio.id) == invited
        assert tx.shares.of_portfolio(portfolio.id) == [invited, accepted]
        assert tx.shares.of_portfolio(uuid4()) == []


def test_shares_of_others_are_not_found(work, portfolio, adviser, ada):
    share = stored_share(work, portfolio, adviser)
    for wanted in ({"portfolio": uuid4()}, {"recipient": ada.id}):
        with work.begin() as tx, pytest.raises(NotFound):
            tx.shares.get(share.id, **wanted)
    with work.begin() as tx, pytest.raises(NotFound):
        tx.shares.save(a_share(portfolio, adviser))


def test_share_is_replaced_and_deleted(work, portfolio, adviser):
    share = stored_share(work, portfolio, adviser, accepted=None)
    later = attrs.evolve(share, accepted=NOW + HOUR, right=Right.PROPOSE)
    with work.begin() as tx:
        tx.shares.save(later)
    with work.begin() as tx:
        assert tx.shares.get(share.id) == later
        tx.shares.delete(share.id)
        tx.shares.delete(share.id)
    with work.read() as tx:
        assert tx.shares.of_portfolio(portfolio.id) == []


def test_shared_portfolio_is_found_for_its_recipient(work, portfolio, adviser, ada):
    stored_share(work, portfolio, adviser)
    for begin in (work.begin, work.read):
        with begin() as tx:
            assert tx.portfolios.get_for(portfolio.id, adviser.id) == portfolio
            assert tx.portfolios.get_for(portfolio.id, ada.id, Right.PROPOSE) == portfolio


def test_portfolios_of_strangers_do_not_exist(work, portfolio, adviser, ada):
    stored_share(work, portfolio, adviser)
    stranger = stored_user(work, role=Role.ADVISER)
    for right in Right:
        expect(work, NotFound, "portfolio_not_found", id=portfolio.id, actor=stranger, right=right)
        expect(work, NotFound, "portfolio_not_found", id=uuid4(), actor=adviser, right=right)


def test_invitation_gives_no_access(work, portfolio, adviser):
    stored_share(work, portfolio, adviser, accepted=None)
    expect(work, NotFound, "portfolio_not_found", id=portfolio.id, actor=adviser)
    with work.read() as tx:
        assert tx.portfolios.shared_page(adviser.id, limit=9) == []


def test_deleted_share_gives_no_access(work, portfolio, adviser):
    share = stored_share(work, portfolio, adviser)
    with work.begin() as tx:
        tx.shares.delete(share.id)
    expect(work, NotFound, "portfolio_not_found", id=portfolio.id, actor=adviser)


def test_closed_portfolio_is_not_shared(work, portfolio, adviser, ada):
    stored_share(work, portfolio, adviser)
    record = stored_proposal(work, portfolio)
    with work.begin() as tx:
        tx.portfolios.close(portfolio.id, owner=ada.id, version=portfolio.version, now=NOW)
    expect(work, NotFound, "portfolio_not_found", id=portfolio.id, actor=adviser)
    with work.read() as tx:
        assert tx.portfolios.shared_page(adviser.id, limit=9) == []
        assert tx.shares.received(adviser.id, limit=9) == []
        with pytest.raises(NotFound):
            tx.portfolios.get(portfolio.id, owner=adviser.id)
        with pytest.raises(NotFound):
            tx.proposals.get_for(record.id, adviser.id)


def test_disabled_account_shares_nothing(work, portfolio, adviser, ada):
    stored_share(work, portfolio, adviser)
    with work.begin() as tx:
        tx.users.save(attrs.evolve(ada, disabled=NOW))
    expect(work, NotFound, "portfolio_not_found", id=portfolio.id, actor=adviser)
    with work.read() as tx:
        assert tx.portfolios.shared_page(adviser.id, limit=9) == []
        assert tx.shares.received(adviser.id, limit=9) == []


def test_account_that_is_about_to_be_deleted_shares_nothing(work, portfolio, adviser, ada):
    stored_share(work, portfolio, adviser)
    with work.begin() as tx:
        tx.deletions.save(Deletion(ada.id, requested=NOW, due=NOW + timedelta(days=14)))
    expect(work, NotFound, "portfolio_not_found", id=portfolio.id, actor=adviser)
    with work.read() as tx:
        assert tx.portfolios.shared_page(adviser.id, limit=9) == []
        assert tx.shares.received(adviser.id, limit=9) == []


def test_right_to_propose_needs_the_grant_and_the_role(work, portfolio, adviser):
    friend = stored_user(work)
    for recipient in (adviser, friend):
        stored_share(work, portfolio, recipient)
        expect(
            work,
            NotAllowed,
            "right_missing",
            id=portfolio.id,
            actor=recipient,
            right=Right.PROPOSE,
        )
        stored_share(work, portfolio, recipient, right=Right.PROPOSE)
    with work.begin() as tx:
        assert tx.portfolios.get_for(portfolio.id, adviser.id, Right.PROPOSE) == portfolio
        assert tx.portfolios.get_for(portfolio.id, friend.id) == portfolio
    expect(work, NotAllowed, "adviser_required", id=portfolio.id, actor=friend, right=Right.PROPOSE)


def test_changes_of_recipients_are_refused(work, portfolio, adviser):
    stored_share(work, portfolio, adviser, right=Right.PROPOSE)
    record = stored_proposal(work, portfolio)
    for begin in (work.begin, work.read):
        with begin() as tx, pytest.raises(NotAllowed) as raised:
            tx.portfolios.get(portfolio.id, owner=adviser.id)
        assert raised.value.code == "owner_required"
        with begin() as tx, pytest.raises(NotAllowed) as raised:
            tx.proposals.get(record.id, owner=adviser.id)
        assert raised.value.code == "owner_required"


def test_proposals_follow_their_portfolio(work, portfolio, adviser, ada):
    record = stored_proposal(work, portfolio)
    with work.begin() as tx, pytest.raises(NotFound) as raised:
        tx.proposals.get_for(record.id, adviser.id)
    assert raised.value.code == "proposal_not_found"
    with work.begin() as tx, pytest.raises(NotFound):
        tx.proposals.get(record.id, owner=adviser.id)
    stored_share(work, portfolio, adviser)
    for begin in (work.begin, work.read):
        with begin() as tx:
            assert tx.proposals.get_for(record.id, adviser.id) == record
            assert tx.proposals.get_for(record.id, ada.id, Right.PROPOSE) == record
        with begin() as tx, pytest.raises(NotAllowed) as raised:
            tx.proposals.get_for(record.id, adviser.id, Right.PROPOSE)
        assert raised.value.code == "right_missing"


def test_lists_hold_what_is_shared(work, ada, adviser):
    first, second, third = (
        stored_portfolio(work, ada, created=NOW + HOUR * age) for age in range(3)
    )
    shares = [
        stored_share(work, one, adviser, created=NOW - HOUR * age)
        for age, one in enumerate((first, second, third))
    ]
    stored_share(work, first, adviser, right=Right.PROPOSE, created=NOW + HOUR)  # a second one
    own = stored_portfolio(work, adviser)
    with work.read() as tx:
        assert tx.portfolios.shared_page(adviser.id, limit=2) == [first, second]
        assert tx.portfolios.shared_page(adviser.id, after=second.id, limit=2) == [third]
        assert tx.portfolios.shared_page(adviser.id, after=own.id, limit=2) == []
        assert tx.portfolios.shared_page(ada.id, limit=2) == []
        assert tx.portfolios.page(adviser.id, limit=9) == [own]
        assert tx.shares.received(adviser.id, limit=2) == [shares[2], shares[1]]
        assert tx.shares.received(adviser.id, after=shares[1].id, limit=1) == [shares[0]]
        assert tx.shares.received(ada.id, after=shares[1].id, limit=9) == []


def test_shares_of_an_account_are_deleted_in_both_directions(work, portfolio, adviser, ada):
    other = stored_user(work)
    theirs = stored_portfolio(work, adviser)
    stored_share(work, portfolio, adviser)
    stored_share(work, theirs, other)
    left = stored_share(work, portfolio, other)
    with work.begin() as tx:
        assert tx.shares.delete_of(adviser.id) == 2
    with work.read() as tx:
        assert tx.shares.of_portfolio(portfolio.id) == [left]
        assert tx.shares.of_portfolio(theirs.id) == []
