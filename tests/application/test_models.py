"""Model portfolios: create, follow, preview, publish, and what followers may change."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.batch import ProposeForEveryone
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.models import (
    CreateModel,
    DeleteModel,
    FollowModel,
    PreviewModel,
    PublishModel,
    ReadModels,
)
from rebalancer.application.planned_flows import RevisePlan, put_flow
from rebalancer.application.portfolios import OpenPortfolio, RevisePortfolio
from rebalancer.application.rebalance import BuildContext, ProposalRequest, ProposeForPortfolio
from rebalancer.domain.errors import Conflict, InvalidRequest, NotFound
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.mandate import AcceptedVersions, Mandate, PortfolioChanged
from rebalancer.domain.portfolio.models import ModelChanged, ModelContent
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.portfolio.planned_flows import Every, FlowKind, PlannedFlow
from rebalancer.domain.portfolio.portfolio import Preferences
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from rebalancer.domain.portfolio.target_groups import TargetGroup, TargetTree
from rebalancer.domain.rebalancing.model import ReasonCode
from tests.builders import CLASSES, USD, varied_prices

NOW = datetime(2023, 1, 2, 12, tzinfo=UTC)
OWNER, OTHER, MODEL = UUID(int=1), UUID(int=2), UUID(int=3)
HALVES = ModelContent({"C": 0.5, "F": 0.5})
BONDS = ModelContent({"C": 0.2, "F": 0.8})
COSTS = CostModel.flat(10)
_ONE = Decimal(1)
PRICES, LISTED = MemoryPrices(varied_prices()), MemoryInstruments(CLASSES)


class Desk:
    """A model, portfolios, and use cases in memory."""

    def __init__(self) -> None:
        self.work = MemoryWork()
        with self.work.begin() as tx:
            for id in (OWNER, OTHER):
                tx.users.add(User(id, f"{id.int}@example.org", "Ada", "x", NOW))
        CreateModel(self.work, PRICES)("Halves", HALVES, id=MODEL, owner=OWNER, now=NOW)
        self.context = BuildContext(PRICES, LISTED, MemoryPolicies())
        self.book = BookActions(self.work, lambda: NOW)
        self.follow_model = FollowModel(self.work, PRICES, LISTED)

    def open(self, **others: Any) -> UUID:
        id, holdings = uuid4(), others.pop("holdings", {})
        mandate = Mandate("Mine", USD, {"A": 1.0}, **others)
        OpenPortfolio(self.work, PRICES, LISTED)(
            mandate, cash=Decimal(10_000), holdings=holdings, id=id, owner=OWNER, now=NOW
        )
        return id

    def follower(self, number: int | None = None, **others: Any) -> UUID:
        id = self.open(**others)
        self.follow(id, number=number)
        return id

    def follow(self, id: UUID, **others: Any) -> Any:
        return self.follow_model(id, MODEL, owner=OWNER, now=NOW, **others)

    def publish(self, content: ModelContent = BONDS, **others: Any) -> Any:
        publish = PublishModel(self.work, PRICES, LISTED)
        return publish(MODEL, content, owner=OWNER, now=NOW, **others)

    def preview(self, content: ModelContent = BONDS, **others: Any) -> Any:
        preview = PreviewModel(self.work, PRICES, LISTED, self.context, self.book)
        _, found = preview(
            MODEL, content, policy_name="monthly", costs=COSTS, owner=OWNER, now=NOW, **others
        )
        return found

    def propose(self, id: UUID) -> Any:
        use = ProposeForPortfolio(self.work, PRICES, self.context, self.book)
        answer = use(ProposalRequest(id, OWNER, "monthly", COSTS, id=uuid4(), now=NOW))
        return answer.current.record.proposal

    def revise(self, id: UUID, **changes: Any) -> Any:
        revise = RevisePortfolio(self.work, PRICES, LISTED)
        return revise(
            lambda stored: attrs.evolve(stored.mandate, **changes), id=id, owner=OWNER, now=NOW
        )

    def portfolio(self, id: UUID) -> Any:
        with self.work.read() as tx:
            return tx.portfolios.get(id)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_followers_have_the_targets_of_the_latest_version(desk: Desk) -> None:
    id = desk.follower()
    assert desk.portfolio(id).mandate.targets == {"C": 0.5, "F": 0.5}
    status, moved, repeated = desk.publish(note="Less equity")
    assert (moved, repeated, status.model.latest, status.model.version) == ((id,), False, 2, 2)
    found = desk.portfolio(id)
    assert found.mandate.targets == {"C": 0.2, "F": 0.8}
    assert (found.version, found.following.version, found.following.pinned) == (3, 2, False)
    assert [one.number for one in status.versions] == [2, 1]
    assert status.versions[0].note == "Less equity"


def test_pinned_followers_stay(desk: Desk) -> None:
    id = desk.follower(number=1)
    _, moved, _ = desk.publish()
    assert (moved, desk.portfolio(id).version) == ((), 2)
    assert desk.preview() == []
    desk.follow(id)
    assert desk.portfolio(id).mandate.targets == {"C": 0.2, "F": 0.8}
    with pytest.raises(InvalidRequest) as raised:
        desk.follow(id, number=3)
    assert (raised.value.field, raised.value.code) == ("version", "model_version_not_found")


def test_publishing_an_old_version_again_restores_the_mandate(desk: Desk) -> None:
    ids = [desk.follower(preferences=Preferences(band=band)) for band in (None, 0.03)]
    before = [desk.portfolio(id).mandate for id in ids]
    tree = TargetTree((TargetGroup("Bonds", 0.9, assets={"F": 1.0}, asset_class=AssetClass.BOND),))
    desk.publish(ModelContent({}, tree, band=0.1))
    assert all(desk.portfolio(id).mandate.target_groups == tree for id in ids)
    assert {desk.portfolio(id).mandate.preferences.band for id in ids} == {0.1}
    desk.publish(ReadModels(desk.work).content(MODEL, 1, owner=OWNER))
    assert [desk.portfolio(id).mandate for id in ids] == before
    assert [desk.portfolio(id).following.version for id in ids] == [3, 3]


def test_preview_equals_the_proposals_after_publishing(desk: Desk) -> None:
    ids = [
        desk.follower(),
        desk.follower(preferences=Preferences(cash_reserve=Decimal(500), max_turnover=0.2)),
        desk.follower(risk_profile=RISK_PROFILES["aggressive"], acknowledge_limits=True),
        desk.open(
            preferences=Preferences(lot_method=LotMethod.HIGHEST_COST, max_realised_gain=_ONE),
            holdings={"A": Decimal(300_000), "C": Decimal(900)},
        ),
    ]
    desk.follow(ids[3])
    flow = PlannedFlow(
        uuid4(), FlowKind.WITHDRAWAL, Decimal(900), Every.MONTH, 9, NOW.date(), NOW.date()
    )
    RevisePlan(desk.work, PRICES)(
        put_flow(flow), portfolio_id=ids[0], owner=OWNER, id=flow.id, now=NOW
    )
    before = [desk.portfolio(id) for id in ids]
    found = {one.portfolio.id: one for one in desk.preview()}
    assert [desk.portfolio(id) for id in ids] == before  # nothing is stored
    desk.publish()
    for id in ids:
        made = desk.propose(id)
        assert found[id].problems == ()
        assert attrs.evolve(found[id].proposal, sale_gains=made.sale_gains) == made
    assert any("900.00 USD are kept" in note for note in found[ids[0]].proposal.notes)


def test_limits_are_acknowledged_for_each_portfolio(desk: Desk) -> None:
    equity = ModelContent({"C": 1.0})
    careful = desk.follower(risk_profile=RISK_PROFILES["conservative"], acknowledge_limits=True)
    plain = desk.follower()
    with desk.work.begin() as tx:  # as if it had been acknowledged for other targets only
        stored = tx.portfolios.get(careful)
        mandate = attrs.evolve(stored.mandate, acknowledge_limits=False)
        tx.portfolios.save(stored.adopt(mandate, stored.following, NOW))
    by_id = {one.portfolio.id: one for one in desk.preview(equity)}
    assert [one.code for one in by_id[careful].problems] == ["targets_exceed_limits"]
    assert by_id[careful].proposal is not None
    assert by_id[plain].problems == ()
    before = desk.portfolio(plain)
    with pytest.raises(InvalidRequest) as raised:
        desk.publish(equity)
    assert (raised.value.field, raised.value.code) == ("acknowledge", "targets_exceed_limits")
    assert str(careful) in raised.value.message
    assert desk.portfolio(plain) == before
    assert ReadModels(desk.work)(MODEL, owner=OWNER).model.latest == 1
    desk.publish(equity, acknowledged=[careful])
    assert desk.portfolio(careful).mandate.acknowledge_limits


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"targets": {"C": 0.6, "F": 0.4}}, "targets"),
        ({"look_through": {"C": {AssetClass.BOND: 1.0}}}, "look_through"),
        ({"preferences": Preferences(band=0.2)}, "preferences.band"),
    ],
)
def test_followers_do_not_change_what_the_model_states(
    desk: Desk, changes: dict[str, Any], field: str
) -> None:
    id = desk.follower()
    desk.publish(attrs.evolve(HALVES, band=0.1))
    with pytest.raises(InvalidRequest) as raised:
        desk.revise(id, **changes)
    assert (raised.value.field, raised.value.code) == (field, "stated_by_model")
    desk.revise(id, name="Renamed")
    valued = desk.follow_model.stop(id, owner=OWNER, now=NOW)
    assert valued.portfolio.following is None
    assert valued.portfolio.mandate.preferences.band is None
    assert valued.portfolio.mandate.targets == {"C": 0.5, "F": 0.5}
    desk.revise(id, targets={"C": 0.6, "F": 0.4})
    version = desk.portfolio(id).version
    desk.follow_model.stop(id, owner=OWNER, now=NOW)
    assert desk.portfolio(id).version == version


def test_model_with_followers_is_not_deleted(desk: Desk) -> None:
    id = desk.follower()
    delete = DeleteModel(desk.work)
    with pytest.raises(Conflict) as raised:
        delete(MODEL, owner=OWNER, now=NOW)
    assert raised.value.code == "model_has_followers"
    desk.follow_model.stop(id, owner=OWNER, now=NOW)
    delete(MODEL, owner=OWNER, now=NOW)
    with pytest.raises(NotFound):
        ReadModels(desk.work)(MODEL, owner=OWNER)


def test_stale_versions_are_refused(desk: Desk) -> None:
    id = desk.follower()
    with pytest.raises(ModelChanged):
        desk.publish(accepted=frozenset({7}))
    with pytest.raises(PortfolioChanged):
        desk.follow(id, accepted=AcceptedVersions(frozenset({1})))
    assert desk.portfolio(id).version == 2


def test_models_of_others_do_not_exist(desk: Desk) -> None:
    read = ReadModels(desk.work)
    for act in (
        lambda: read(MODEL, owner=OTHER),
        lambda: read.content(MODEL, 1, owner=OTHER),
        lambda: DeleteModel(desk.work)(MODEL, owner=OTHER, now=NOW),
        lambda: PublishModel(desk.work, PRICES, LISTED)(MODEL, BONDS, owner=OTHER, now=NOW),
    ):
        with pytest.raises(NotFound):
            act()
    assert read.all(OTHER, limit=9) == []


def test_follower_that_changes_meanwhile_is_moved_from_its_new_state(desk: Desk) -> None:
    id = desk.follower()

    class Meddling:
        """Changes the follower while the version is checked."""

        def __init__(self, times: int) -> None:
            self.left = times

        def instruments(self) -> Any:
            if self.left:
                self.left -= 1
                desk.revise(id, name="Renamed meanwhile", acknowledge_limits=True)
            return LISTED.instruments()

    publish = PublishModel(desk.work, PRICES, Meddling(1))
    publish(MODEL, BONDS, owner=OWNER, now=NOW)
    found = desk.portfolio(id).mandate
    assert (found.name, found.targets) == ("Renamed meanwhile", {"C": 0.2, "F": 0.8})
    again = PublishModel(desk.work, PRICES, Meddling(99))
    with pytest.raises(PortfolioChanged):
        again(MODEL, HALVES, owner=OWNER, now=NOW)
    assert ReadModels(desk.work)(MODEL, owner=OWNER).model.latest == 2


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: ModelContent({}), "targets"),
        (lambda: ModelContent({"C": 1.2}), "targets.C"),
        (lambda: ModelContent({"C": 0.5}, band=2.0), "band"),
    ],
)
def test_invalid_content_is_refused(make: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        make()
    assert raised.value.field == field


def test_unknown_symbols_are_refused(desk: Desk) -> None:
    for act in (desk.publish, desk.preview):
        with pytest.raises(InvalidRequest) as raised:
            act(ModelContent({"NOPE": 1.0}))
        assert raised.value.code == "unknown_symbol"


def test_preview_keeps_within_a_limit_on_realised_gains(desk: Desk) -> None:
    id = uuid4()
    wishes = Preferences(max_realised_gain=Decimal(0))
    OpenPortfolio(desk.work, PRICES, LISTED)(
        Mandate("Mine", USD, {"C": 1.0}, preferences=wishes),
        cash=Decimal(0),
        holdings={"C": Decimal(100)},
        id=id,
        owner=OWNER,
        now=NOW,
    )
    desk.follow(id)
    (one,) = desk.preview()
    # The cost of what was moved in is unknown, and counts as 0.
    assert one.proposal.orders == ()
    assert {left.reason_code for left in one.proposal.not_traded} == {ReasonCode.GAIN_LIMIT}
    desk.publish()
    assert desk.propose(id).not_traded == one.proposal.not_traded


def test_batch_counts_planned_withdrawals_as_single_proposals_do(desk: Desk) -> None:
    id = desk.follower()
    flow = PlannedFlow(
        uuid4(), FlowKind.WITHDRAWAL, Decimal(2500), Every.MONTH, 9, NOW.date(), NOW.date()
    )
    RevisePlan(desk.work, PRICES)(put_flow(flow), portfolio_id=id, owner=OWNER, id=flow.id, now=NOW)
    batch = ProposeForEveryone(desk.work, PRICES, desk.book, lambda: NOW, release="1.0")
    terms = desk.context(policy_name="monthly", costs=COSTS, currency="USD")
    run = batch.begin(terms, id=uuid4(), now=NOW)
    batch.run_chunks(run.id, terms, now=NOW)
    with desk.work.read() as tx:
        (stored,) = tx.proposals.page(OWNER, portfolio_id=id, limit=9)
    single = desk.propose(id)
    assert stored.proposal.input_hash == single.input_hash
    assert stored.proposal.orders == single.orders
    assert stored.proposal.cash_after >= 2500
