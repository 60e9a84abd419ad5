"""Who can decide: in memory and from folders, the same promises."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.adapters.rl.catalog import FolderPolicies
from rebalancer.application.promotions import best_version
from rebalancer.domain.errors import Conflict, InvalidRequest, NotFound
from rebalancer.domain.policy.model_card import PolicyKind
from rebalancer.domain.policy.policy import Frequency, identity
from rebalancer.domain.policy.rules import POLICIES, RulePolicy
from rebalancer.domain.policy.versions import BestRule, VersionedPolicy
from tests.builders import a_context, varied_prices
from tests.networks import FAILED_WALK_FORWARD, GATE, TRAINING, WALK_FORWARD, a_learned, keep, kept

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
VERSIONS: list[dict[str, Any]] = [
    {"seed": 1},
    {"seed": 2, "version": 2, "chosen_rule": "momentum"},
    {"seed": 3, "name": "dqn"},
]


@pytest.fixture(params=["memory", "folder"])
def policies(request, tmp_path):
    """Three versions, of which two are `ppo`."""
    if request.param == "memory":
        read = [kept(tmp_path / str(at), shipped=True, **one) for at, one in enumerate(VERSIONS)]
        return MemoryPolicies(*((policy, card.model_card) for policy, card in read))
    for version in VERSIONS:
        keep(tmp_path / "shipped", **version)
    return FolderPolicies(tmp_path / "policies", shipped=tmp_path / "shipped")


def test_rules_are_called_with_their_parameters(policies):
    found = policies.policy(" trend:window=150 ")
    assert isinstance(found, RulePolicy)
    assert (found.name, found.lookback) == ("trend:window=150", 150)
    with pytest.raises(InvalidRequest, match="trend has no parameter 'edge'"):
        policies.policy("trend:edge")


def test_a_learned_policy_goes_by_its_name_and_by_its_version(policies):
    for text, version in {
        "ppo": "ppo@2",
        "ppo@2": "ppo@2",
        " ppo@1 ": "ppo@1",
        "dqn": "dqn@1",
    }.items():
        found = policies.policy(text)
        assert isinstance(found, VersionedPolicy)
        assert (found.name, found.version) == (text.strip(), version)
        assert found.frequency is Frequency.WEEKLY and found.lookback == 253


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("nonsense", "unknown policy 'nonsense'; choose one of buy_and_hold, "),
        ("nonsense", "hierarchical_risk_parity, dqn, dqn@1, ppo, ppo@2, ppo@1, learned"),
        ("ppo@3", "unknown policy 'ppo@3'"),
        ("PPO", "unknown policy 'PPO'"),
        ("", "unknown policy ''"),
        ("ppo:edge", "ppo has no parameters; remove 'edge'"),
        ("ppo@1:band=0.05", "ppo@1 has no parameters"),
        ("learned:window=3", "learned has no parameters"),
        ("ppo:", "ppo has no parameters"),
    ],
)
def test_what_is_wrong_and_what_there_is(policies, text, fragment):
    with pytest.raises(InvalidRequest) as refused:
        policies.policy(text)
    assert fragment in str(refused.value)
    assert refused.value.field == "policy"


def test_cards_of_all(policies):
    cards = policies.cards()
    assert [card.name for card in cards] == [*POLICIES, "dqn", "ppo", "ppo@1", "learned"]
    assert [card.kind for card in cards] == [PolicyKind.RULE] * len(POLICIES) + [
        PolicyKind.LEARNED
    ] * 4
    for card in cards:
        assert card.summary and card.source
        assert policies.policy(card.name).name == card.name
        assert policies.card(card.name) == card
        assert policies.policy(card.name).lookback == card.lookback


def test_the_card_of_a_rule(policies):
    card = policies.card("volatility_target")
    assert card.parameters == {"target": 0.12, "window": 63, "cap": 1.0, "band": 0.02}
    assert (card.lookback, card.model_card, card.decides) == (64, None, None)
    assert policies.card("band").variants == ("edge", "half", "relative")


def test_the_card_of_a_version(policies):
    card, exact = policies.card("ppo"), policies.card("ppo@2")
    assert (card.name, card.decides) == ("ppo", "ppo@2")
    assert (exact.name, exact.decides) == ("ppo@2", None)
    assert card.model_card == exact.model_card
    assert (card.model_card.version, card.model_card.promoted) == (2, False)
    assert card.model_card.shipped
    assert policies.card("ppo@1").model_card.weights != card.model_card.weights


@pytest.mark.parametrize("name", ["nonsense", "ppo@3", "band:edge", ""])
def test_no_such_card(policies, name):
    with pytest.raises(NotFound, match=r"unknown policy .*; choose one of buy_and_hold, .*learned"):
        policies.card(name)


def test_learned_is_best_rule_without_promotion(policies):
    found = policies.policy("learned")
    assert isinstance(found, BestRule)
    assert (found.name, found.rule.name) == ("learned", "trend")  # that of dqn, which comes first
    card = policies.card("learned")
    assert (card.decides, card.model_card) == ("trend", None)
    assert card.summary == (
        "no learned policy has passed the walk-forward, so the best rule, trend, decides"
    )


def test_a_version_that_passed_the_walk_forward_can_be_promoted(policies):
    card = policies.store_evidence("ppo", {"walk_forward": WALK_FORWARD, "sharpe": 0.12})
    assert card.name == "ppo@2"
    assert card.model_card.evidence["sharpe"] == 0.12
    card = policies.promote("ppo", now=NOW)
    assert (card.name, card.decides, card.model_card.promoted) == ("learned", "ppo@2", True)
    assert policies.card("learned") == card
    found = policies.policy("learned")
    assert isinstance(found, VersionedPolicy) and (found.name, found.version) == (
        "learned",
        "ppo@2",
    )
    assert policies.card("ppo").model_card.promoted
    assert not policies.card("dqn").model_card.promoted
    policies.store_evidence("dqn@1", {"walk_forward": WALK_FORWARD})
    assert policies.promote("dqn@1", now=NOW.replace(month=12)).decides == "dqn@1"
    assert not policies.card("ppo").model_card.promoted


def without(gate, *path):
    """A gate that lacks something."""
    cut = copy.deepcopy(gate)
    place = cut
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return cut


@pytest.mark.parametrize(
    ("evidence", "fragment"),
    [
        ({}, "the evidence of ppo@1 lacks a walk-forward"),
        ({"gate": GATE}, "the evidence of ppo@1 lacks a walk-forward; judge it"),
        ({"walk_forward": None}, "the evidence of ppo@1 lacks a walk-forward"),
        ({"walk_forward": {"passed": True, "criteria": []}}, "lacks a walk-forward"),
        (
            {"walk_forward": FAILED_WALK_FORWARD},
            "ppo@1 failed the criteria for serving: orders: orders as a multiple of monthly's: "
            "0.80; at most 0.60 is allowed",
        ),
        ({"walk_forward": FAILED_WALK_FORWARD | {"passed": True}}, "for serving: orders"),
        ({"walk_forward": WALK_FORWARD | {"passed": None}}, "failed the criteria for serving"),
        ({"walk_forward": without(WALK_FORWARD, "passed")}, "failed the criteria for serving"),
        (
            {"walk_forward": without(WALK_FORWARD, "criteria", 0, "passed")},
            "failed the criteria for serving: drawdown",
        ),
    ],
)
def test_nothing_else_can_be_promoted(policies, evidence, fragment):
    policies.store_evidence("ppo@1", evidence)
    with pytest.raises(Conflict) as refused:
        policies.promote("ppo@1", now=NOW)
    assert fragment in str(refused.value)
    assert isinstance(policies.policy("learned"), BestRule)


def test_promoted_version_serves_only_while_its_evidence_passes(policies):
    policies.store_evidence("ppo", {"walk_forward": WALK_FORWARD})
    policies.promote("ppo", now=NOW)
    policies.store_evidence("ppo", {"gate": GATE})
    found = policies.policy("learned")
    assert isinstance(found, BestRule)
    assert found.explanation == (
        "ppo@2 was promoted, but has not passed the walk-forward, so the best rule, trend, decides"
    )
    policies.store_evidence("ppo", {"walk_forward": FAILED_WALK_FORWARD})
    assert isinstance(policies.policy("learned"), BestRule)


def test_best_version_has_the_smallest_drawdown_then_the_fewest_orders(policies):
    def evidence(drawdown, orders):
        one, other = WALK_FORWARD["criteria"]
        criteria = [one | {"figure": drawdown}, other | {"figure": orders}]
        return {"walk_forward": WALK_FORWARD | {"criteria": criteria}}

    with pytest.raises(Conflict, match="no version of a learned policy has passed"):
        best_version(policies.cards())
    policies.store_evidence("ppo@1", evidence(-0.2, 0.4))
    assert best_version(policies.cards()) == "ppo@1"
    policies.store_evidence("ppo@2", evidence(-0.15, 0.1))
    assert best_version(policies.cards()) == "ppo@1"
    policies.store_evidence("dqn@1", evidence(-0.2, 0.3))
    assert best_version(policies.cards()) == "dqn@1"
    policies.store_evidence("dqn@1", {"walk_forward": FAILED_WALK_FORWARD})
    assert best_version(policies.cards()) == "ppo@1"


def test_without_evidence_nothing_is_promoted(policies):
    with pytest.raises(Conflict, match="dqn@1 has no evidence; judge it by walk-forward"):
        policies.promote("dqn", now=NOW)


@pytest.mark.parametrize("name", ["learned", "band", "ppo@3", "nonsense"])
def test_only_versions_are_judged_and_promoted(policies, name):
    for ask in (
        lambda: policies.promote(name, now=NOW),
        lambda: policies.store_evidence(name, {"walk_forward": WALK_FORWARD}),
    ):
        with pytest.raises(NotFound, match="choose one of dqn, dqn@1, ppo, ppo@2, ppo@1"):
            ask()


def test_what_was_trained_becomes_the_next_version(policies):
    learned = a_learned(7)
    card = policies.add(learned, TRAINING)
    assert (card.name, card.model_card.version, card.model_card.shipped) == ("ppo@3", 3, False)
    assert card.model_card.training == TRAINING
    assert (card.model_card.networks, card.model_card.chosen_rule) == (2, "trend")
    assert card.model_card.evidence == {} and not card.model_card.promoted
    assert policies.card("ppo").decides == "ppo@3"
    served = policies.policy("ppo")
    assert served.version == "ppo@3"
    for mine, kept_ in zip(served.networks, learned.networks, strict=True):
        for one, other in zip(mine.weights, kept_.weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)
    location = policies.location("ppo@3")
    assert location is None or location.endswith("ppo-3")
    fresh = policies.add(a_learned(8, name="fresh"), TRAINING)
    assert (fresh.name, fresh.model_card.version) == ("fresh@1", 1)
    assert fresh.model_card.weights != card.model_card.weights
    assert identity(policies.policy("fresh")) != identity(served)


@pytest.mark.parametrize("name", ["band", "learned", "dqn", "Big", ""])
def test_names_that_nothing_trained_can_have(policies, name):
    with pytest.raises(InvalidRequest):
        policies.add(a_learned(name=name), TRAINING)
    with pytest.raises(NotFound):
        policies.location("ppo@3")


def test_other_weights_give_another_input_hash(policies):
    market = varied_prices()
    named = {text: policies.policy(text) for text in ("ppo", "ppo@1", "dqn", "learned", "trend")}
    digests = set()
    for policy in named.values():
        fixed = a_context(market)
        digests.add(type(fixed)(policy, market, fixed.instruments, fixed.costs, "USD").digest)
    assert len(digests) == len(named)
    policies.store_evidence("ppo@1", {"walk_forward": WALK_FORWARD})
    before = identity(policies.policy("learned"))
    policies.promote("ppo@1", now=NOW)
    assert identity(policies.policy("learned")) != before
    assert identity(policies.policy("ppo@1")) == identity(named["ppo@1"])
