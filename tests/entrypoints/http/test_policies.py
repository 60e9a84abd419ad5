"""Policies over HTTP: rules, versions of learned ones, and their cards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.application.ports.policies import Policies
from rebalancer.domain.policy.rules import POLICIES
from tests.entrypoints.http.conftest import RunningApi, expect_problem, provide_values
from tests.networks import GATE, kept

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


@pytest.fixture
def taught(start_api: Callable[..., RunningApi], tmp_path: Path) -> RunningApi:
    """An API with two versions of `ppo`."""
    read = [kept(tmp_path / str(at), version=at, seed=at, evidence={"gate": GATE}) for at in (1, 2)]
    offered = MemoryPolicies(
        *((policy, card.model_card) for policy, card in read if card.model_card)
    )
    return start_api(provide_values({Policies: offered}))


def test_learned_policies_are_listed(taught: RunningApi) -> None:
    listed = taught.client.get("/api/policies").json()
    assert [one["name"] for one in listed] == [*POLICIES, "ppo", "ppo@1", "learned"]
    assert [one["kind"] for one in listed[-3:]] == ["learned"] * 3
    assert [one["version"] for one in listed[-4:]] == [None, 2, 1, None]
    assert listed[-3]["decides"] == "ppo@2"
    assert "no learned policy has passed the walk-forward" in listed[-1]["summary"]


def test_card_of_a_learned_policy(taught: RunningApi) -> None:
    card = taught.client.get("/api/policies/ppo").json()
    assert card == taught.client.get("/api/policies/ppo@2").json() | {
        "name": "ppo",
        "decides": "ppo@2",
    }
    learning = card["learning"]
    assert (learning["algorithm"], learning["seeds"]) == ("ppo", [11, 12])
    assert learning["trained_until"] == "2015-12-31"
    assert learning["evidence"]["gate"] == GATE
    assert learning["stages"][1] == {
        "stage": "ppo",
        "steps": 6_000_000,
        "note": "environment steps",
    }
    assert learning["actions"][0]["name"] == "risk"
    assert not learning["promoted"]


def test_card_of_a_rule_and_of_an_unknown_policy(taught: RunningApi) -> None:
    card = taught.client.get("/api/policies/trend").json()
    assert (card["lookback"], card["learning"], card["kind"]) == (200, None, "rule")
    assert card["parameters"] == {"window": 200, "band": 0.02}
    answer = taught.client.get("/api/policies/nil")
    assert "nil" in answer.json()["detail"]
    expect_problem(answer, 404)


def test_learned_policies_propose(taught: RunningApi) -> None:
    ada = taught.register()
    portfolio = ada.portfolio(holdings={"C": "10"})["id"]
    made = {
        name: ada.proposal(portfolio, policy=name) for name in ("ppo", "ppo@1", "learned", "band")
    }
    assert {name: one["policy"] for name, one in made.items()} == {name: name for name in made}
    assert len({one["input_hash"] for one in made.values()}) == len(made)
    assert any("ppo is version ppo@2" in note for note in made["ppo"]["notes"])
    asked = {"portfolio_id": portfolio, "policy": "ppo:edge"}
    expect_problem(ada.post("/api/rebalance/predict", asked), 422, "policy")
    asked = {"policies": ["monthly", "ppo", "learned"], "from": "2022-11-14"}
    assert ada.post("/api/backtest", asked).status_code == 202
