"""Model portfolios over HTTP."""

from __future__ import annotations

import pytest

from tests.entrypoints.http.conftest import MODEL, ApiUser, RunningApi

DRAFT = {"targets": {"C": 0.2, "F": 0.8}}


@pytest.fixture
def model(ada: ApiUser) -> str:
    return f"/api/models/{ada.model()['id']}"


@pytest.fixture
def follower(ada: ApiUser, model: str) -> str:
    """Return the path of a portfolio that follows the model."""
    path = f"/api/portfolios/{ada.portfolio(targets={'A': 1})['id']}"
    followed = ada.put(f"{path}/model", {"model_id": model.rpartition("/")[2]})
    assert followed.status_code == 200, followed.text
    assert followed.json()["targets"] == {"C": 0.5, "F": 0.5}
    return path


def test_draft_is_previewed_and_published(ada: ApiUser, model: str, follower: str) -> None:
    tag = ada.get(model).headers["ETag"]
    preview = ada.post(f"{model}/preview", DRAFT | {"policy": "monthly"})
    assert preview.status_code == 200, preview.text
    body = preview.json()
    assert (body["trading"], body["blocked"], preview.headers["ETag"]) == (1, 0, tag)
    assert ada.get(follower).json()["targets"] == {"C": 0.5, "F": 0.5}
    published = ada.post(f"{model}/publish", DRAFT | {"note": "x"}, headers={"If-Match": tag})
    assert published.status_code == 200, published.text
    assert published.json()["moved"] == [follower.rpartition("/")[2]]
    assert [one["number"] for one in published.json()["model"]["versions"]] == [2, 1]
    stale = ada.post(f"{model}/publish", DRAFT, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "model_changed")
    found = ada.get(follower).json()
    assert found["targets"] == {"C": 0.2, "F": 0.8}
    assert found["following"] == {
        "model_id": model.rpartition("/")[2],
        "version": 2,
        "pinned": False,
    }
    made = ada.proposal(follower.rpartition("/")[2], policy="monthly")
    (shown,) = body["followers"]
    assert [one["reason"] for one in shown["proposal"]["orders"]] == [
        one["reason"] for one in made["orders"]
    ]
    assert shown["proposal"]["input_hash"] == made["input_hash"]
    again = ada.post(f"{model}/publish", {"from_version": 1})
    assert again.status_code == 200, again.text
    assert ada.get(follower).json()["targets"] == {"C": 0.5, "F": 0.5}


def test_follower_keeps_its_targets_until_it_stops(ada: ApiUser, follower: str) -> None:
    tag = {"If-Match": ada.get(follower).headers["ETag"]}
    refused = ada.ask("PATCH", follower, json={"targets": {"C": 0.1}}, headers=tag)
    assert (refused.status_code, refused.json()["code"]) == (422, "stated_by_model")
    sent_back = ada.put(follower, ada.get(follower).json() | {"name": "New"}, headers=tag)
    assert sent_back.status_code == 200, sent_back.text
    stopped = ada.delete(f"{follower}/model")
    assert (stopped.status_code, stopped.json()["following"]) == (200, None)
    tag = {"If-Match": stopped.headers["ETag"]}
    assert ada.ask("PATCH", follower, json={"targets": {"C": 0.1}}, headers=tag).status_code == 200


def test_models_are_listed_renamed_and_deleted(ada: ApiUser, model: str, follower: str) -> None:
    renamed = ada.ask("PATCH", model, json={"name": "Half and half"})
    assert renamed.status_code == 200
    (listed,) = ada.get("/api/models").json()["items"]
    assert (listed["name"], listed["latest"]) == ("Half and half", 1)
    assert [one["name"] for one in ada.get(model).json()["followers"]] == ["Mine"]
    refused = ada.delete(model)
    assert (refused.status_code, refused.json()["code"]) == (409, "model_has_followers")
    assert ada.delete(follower).status_code == 204  # closed portfolios do not follow
    assert ada.delete(model).status_code == 204
    assert ada.get(model).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "targets"),
        ({"targets": {"C": 0.7, "F": 0.7}}, "targets"),
        ({"targets": {"NOPE": 1}}, "targets"),
        ({"targets": {"C": 1}, "band": 2}, "band"),
        ({"targets": {"C": 1}, "from_version": 1}, "from_version"),
        ({"from_version": 9}, "version"),
    ],
)
@pytest.mark.parametrize("store", ["memory"])
def test_invalid_drafts_name_their_field(
    ada: ApiUser, model: str, body: dict[str, object], field: str
) -> None:
    for path in ("preview", "publish"):
        refused = ada.post(f"{model}/{path}", body)
        assert refused.status_code in (400, 422), refused.text
        assert field in refused.text


@pytest.mark.parametrize("store", ["memory"])
def test_models_of_others_are_not_found(api: RunningApi, ada: ApiUser, model: str) -> None:
    alan = api.register("alan@example.org")
    assert alan.get(model).status_code == 404
    assert alan.post(f"{model}/publish", DRAFT).status_code == 404
    path = f"/api/portfolios/{alan.portfolio()['id']}/model"
    assert alan.put(path, {"model_id": model.rpartition("/")[2]}).status_code == 404
    assert alan.get("/api/models").json()["items"] == []
    assert ada.post("/api/models", MODEL).status_code == 201
