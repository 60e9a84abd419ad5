"""Model portfolios and their followers in every store."""

from datetime import timedelta
from uuid import uuid4

import attrs
import pytest

from rebalancer.domain.errors import NotFound
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.portfolio.models import (
    ModelChanged,
    ModelContent,
    ModelVersion,
    PortfolioModel,
    follow,
)
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.portfolio.target_groups import TargetGroup, TargetTree
from tests.contracts.stores import NOW, stored_portfolio, stored_user

TREE = TargetTree((TargetGroup("Bonds", 0.9, assets={"F": 1.0}, asset_class=AssetClass.BOND),))
CONTENT = ModelContent({}, TREE, {"F": {AssetClass.BOND: 0.5, AssetClass.GOLD: 0.5}}, band=0.1)


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


def stored_model(work, user: User, *, minutes: int = 0) -> PortfolioModel:
    owner = user.id
    created = NOW + timedelta(minutes=minutes)
    model = PortfolioModel(uuid4(), owner, "Übung", 1, 1, created, created)
    first = ModelVersion(model.id, owner, 1, CONTENT, NOW, "Erste")
    with work.begin() as tx:
        tx.models.add(model, [first])
    return model


def test_models_are_read_as_written(work):
    owner = stored_user(work)
    model = stored_model(work, owner)
    published, second = model.publish(ModelContent({"A": 1.0}), "", NOW)
    with work.begin() as tx:
        tx.models.save(published, second)
    for begin in (work.begin, work.read):
        with begin() as tx:
            assert tx.models.get(model.id, owner=owner.id) == published
            assert tx.models.version(model.id, 1).content == CONTENT
            assert tx.models.version(model.id, 3) is None
            assert [one.number for one in tx.models.versions(model.id)] == [2, 1]
            assert [one.number for one in tx.models.versions(model.id, before=2)] == [1]
            assert tx.models.versions(model.id, limit=1) == [second]
            assert tx.models.versions(uuid4()) == []
            assert tx.models.known([model.id, uuid4()]) == {model.id}
            assert tx.models.known([]) == frozenset()


def test_models_of_others_are_not_found(work):
    model, other = stored_model(work, stored_user(work)), stored_user(work).id
    with work.read() as tx:
        for id, owner in ((model.id, other), (uuid4(), model.owner)):
            with pytest.raises(NotFound) as raised:
                tx.models.get(id, owner=owner)
            assert raised.value.code == "model_not_found"
        assert (tx.models.count(other), tx.models.page(other, limit=9)) == (0, [])


def test_stale_models_are_not_saved(work):
    model = stored_model(work, stored_user(work))
    with work.begin() as tx:
        tx.models.save(model.rename("Other", NOW))
    with pytest.raises(ModelChanged), work.begin() as tx:
        tx.models.save(*model.publish(CONTENT, "", NOW))
    with work.read() as tx:
        assert len(tx.models.versions(model.id)) == 1


def test_models_are_paged_oldest_first_and_deleted(work):
    owner = stored_user(work)
    made = [stored_model(work, owner, minutes=minutes) for minutes in (2, 0, 1)]
    with work.read() as tx:
        assert tx.models.count(owner.id) == 3
        assert tx.models.page(owner.id, limit=2) == [made[1], made[2]]
        assert tx.models.page(owner.id, after=made[2].id, limit=2) == [made[0]]
    with work.begin() as tx:
        tx.models.delete(made[1].id)
        tx.models.delete(uuid4())
    with work.read() as tx:
        assert tx.models.page(owner.id, limit=9) == [made[2], made[0]]
        assert tx.models.versions(made[1].id) == []


def test_followers_are_open_portfolios_by_id(work):
    owner = stored_user(work)
    model = stored_model(work, owner)
    found = sorted((stored_portfolio(work, owner) for _ in range(4)), key=lambda one: one.id)
    with work.begin() as tx:
        version = tx.models.version(model.id, 1)
        for portfolio in found[:3]:
            following = follow(version, portfolio.mandate, None, pinned=portfolio is found[1])
            mandate = version.content.apply_to(portfolio.mandate)
            tx.portfolios.save(portfolio.adopt(mandate, following, NOW))
        tx.portfolios.close(found[2].id, owner=owner.id, version=2, now=NOW)
    with work.read() as tx:
        followers = tx.portfolios.followers(model.id)
        assert [one.id for one in followers] == [found[0].id, found[1].id]
        assert [one.following.pinned for one in followers] == [False, True]
        assert followers[0].mandate.target_groups == TREE
        assert attrs.evolve(followers[0].following, pinned=True) == followers[1].following
        assert tx.portfolios.followers(uuid4()) == []
