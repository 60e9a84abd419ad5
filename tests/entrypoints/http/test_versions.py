"""Versions prevent lost updates, and idempotency keys prevent double effects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.entrypoints.http.conftest import (
    UNKNOWN_ID,
    ApiUser,
    RunningApi,
    expect_problem,
    in_parallel,
)

MANDATE = {"name": "Revised", "targets": {"C": 0.4, "F": 0.4}}


def test_etag_changes_with_the_portfolio_and_prices(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}"
    first = ada.get(path)
    tag = first.headers["etag"]
    for seen in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        unchanged = ada.get(path, headers={"If-None-Match": seen})
        assert (unchanged.status_code, unchanged.content) == (304, b""), seen
        assert unchanged.headers["etag"] == tag
    for seen in ('"0.2020-01-01"', '"nonsense"', '""', tag[:-2] + '"'):
        assert ada.get(path, headers={"If-None-Match": seen}).status_code == 200
    for seen in ("nonsense", tag[:-1], ""):
        expect_problem(ada.get(path, headers={"If-None-Match": seen}), 400, "If-None-Match")
    api.market.reveal_day()  # its value changes
    after = ada.get(path, headers={"If-None-Match": tag})
    assert after.status_code == 200
    assert after.headers["etag"] != tag
    ada.post(f"{path}/cash-flows", {"kind": "deposit", "amount": "1"})
    assert ada.get(path, headers={"If-None-Match": after.headers["etag"]}).status_code == 200


def test_each_response_with_a_portfolio_has_its_etag(ada: ApiUser) -> None:
    opened = ada.post("/api/portfolios", MANDATE | {"cash": "100"})
    path = f"/api/portfolios/{opened.json()['id']}"
    assert opened.headers["etag"] == ada.get(path).headers["etag"]
    flow = ada.post(f"{path}/cash-flows", {"kind": "deposit", "amount": "1"})
    assert flow.headers["etag"] == ada.get(path).headers["etag"] != opened.headers["etag"]
    trade = {"side": "buy", "symbol": "C", "quantity": "1", "price": "7.7"}
    traded = ada.post(f"{path}/transactions", {"trades": [trade]})
    assert traded.headers["etag"] == ada.get(path).headers["etag"]
    revised = ada.put(path, MANDATE, headers={"If-Match": traded.headers["etag"]})
    assert revised.headers["etag"] == ada.get(path).headers["etag"]


def test_update_requires_the_current_version(api: RunningApi, ada: ApiUser) -> None:
    opened = ada.post("/api/portfolios", MANDATE)
    path, tag = f"/api/portfolios/{opened.json()['id']}", opened.headers["etag"]
    assert "If-Match" in expect_problem(ada.put(path, MANDATE), 428)
    assert "If-Match" in expect_problem(ada.ask("PATCH", path, json=MANDATE), 428)
    api.market.reveal_day()  # the version does not change
    assert ada.put(path, MANDATE, headers={"If-Match": tag}).status_code == 200
    assert "version 2" in expect_problem(ada.put(path, MANDATE, headers={"If-Match": tag}), 412)
    expect_problem(ada.delete(path, headers={"If-Match": tag}), 412)
    now = ada.get(path).headers["etag"]
    assert ada.delete(path, headers={"If-Match": now}).status_code == 204


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize("tag", ["", "x", "1 2", '"1" "2"', '"1', '"a b"', ",", "9" * 5000, "**"])
def test_malformed_etag_is_rejected(ada: ApiUser, tag: str) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}"
    for method in ("PUT", "PATCH", "DELETE"):
        body = None if method == "DELETE" else MANDATE
        refused = ada.ask(method, path, json=body, headers={"If-Match": tag})
        expect_problem(refused, 400, "If-Match")


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize(
    "tag", ['"x"', '"1.x"', '"-1"', '""', 'W/"é"', '"2", "3.2022-12-01"', '"1-x"']
)
def test_tag_of_another_state_does_not_match(ada: ApiUser, tag: str) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}"
    headers = {"If-Match": tag.encode("latin-1")}
    for method in ("PUT", "PATCH", "DELETE"):
        body = None if method == "DELETE" else MANDATE
        detail = expect_problem(ada.ask(method, path, json=body, headers=headers), 412)
        assert "is at version 1, not" in detail
    assert ada.get(path).headers["etag"].startswith('"1.')


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "W/{}",
        "*",
        '"7.2022-12-01", {}',
        '{},"7"',
        ' , "x" ,, W/{} ,',
        '"{state}-gzip"',
        '"{state}--gzip"',
        '"{state}-zstd"',
        '"{state};br"',
        'W/"{state}:gzip"',
        '"1"',
        "1",
    ],
)
def test_each_form_of_the_current_tag_matches(ada: ApiUser, method: str, form: str) -> None:
    opened = ada.post("/api/portfolios", MANDATE)
    path, tag = f"/api/portfolios/{opened.json()['id']}", opened.headers["etag"]
    headers = {"If-Match": form.format(tag, state=tag.strip('"'))}
    body = None if method == "DELETE" else MANDATE
    changed = ada.ask(method, path, json=body, headers=headers)
    assert changed.status_code in (200, 204), changed.text


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_marked_tags_revalidate_too(ada: ApiUser) -> None:
    opened = ada.post("/api/portfolios", MANDATE)
    path, state = f"/api/portfolios/{opened.json()['id']}", opened.headers["etag"].strip('"')
    for seen in (f'"{state}-gzip"', f'W/"{state}-br"', f'"x", "{state};zstd"'):
        assert ada.get(path, headers={"If-None-Match": seen}).status_code == 304, seen


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_changes_respect_if_none_match(ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}"
    for seen in ("*", '"1"', '"9", "1.2022-12-01"'):
        headers = {"If-Match": "*", "If-None-Match": seen}
        assert "excludes" in expect_problem(ada.put(path, MANDATE, headers=headers), 412)
        expect_problem(ada.delete(path, headers={"If-None-Match": seen}), 412)
    headers = {"If-Match": "*", "If-None-Match": '"9"'}
    assert ada.put(path, MANDATE, headers=headers).status_code == 200


def test_entries_respect_the_version_if_it_is_named(ada: ApiUser) -> None:
    opened = ada.post("/api/portfolios", MANDATE | {"cash": "100"})
    path, tag = f"/api/portfolios/{opened.json()['id']}", opened.headers["etag"]
    trade = {"side": "buy", "symbol": "C", "quantity": "1", "price": "7.8"}
    deposit = {"kind": "deposit", "amount": "5"}
    for place, body in (("cash-flows", deposit), ("transactions", {"trades": [trade]})):
        for stale in ('"77"', '"x"', '"1.2020-01-01-gzip"'):
            if stale[1] == tag[1]:
                continue
            expect_problem(ada.post(f"{path}/{place}", body, headers={"If-Match": stale}), 412)
        expect_problem(
            ada.post(f"{path}/{place}", body, headers={"If-Match": "x"}), 400, "If-Match"
        )
        key = {"Idempotency-Key": place}
        for _ in range(2):  # the repeated request gets the first answer, as nothing happens
            done = ada.post(f"{path}/{place}", body, headers={"If-Match": tag} | key)
            assert done.status_code == 201, done.text
        tag = done.headers["etag"]
    entry = done.json()["entries"][0]["id"]
    void = f"{path}/transactions/{entry}/void"
    expect_problem(ada.post(void, headers={"If-Match": '"1"'}), 412)
    assert ada.post(void, headers={"If-Match": f"W/{tag}"}).status_code == 201
    assert len(ada.get(f"{path}/transactions").json()["items"]) == 4


def test_star_does_not_create_a_portfolio(ada: ApiUser) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        body = None if method == "DELETE" else MANDATE
        path = f"/api/portfolios/{UNKNOWN_ID}"
        expect_problem(ada.ask(method, path, json=body, headers={"If-Match": "*"}), 404)


def requests_with_key(ada: ApiUser) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return requests that take a key: path, body and another body."""
    portfolio = ada.portfolio()["id"]
    trade = {"side": "buy", "symbol": "C", "quantity": "1", "price": "7.9"}
    proposal = ada.proposal(ada.portfolio()["id"])["id"]
    return [
        (
            f"/api/portfolios/{portfolio}/cash-flows",
            {"kind": "deposit", "amount": "5"},
            {"kind": "deposit", "amount": "5.01"},
        ),
        (
            f"/api/portfolios/{portfolio}/transactions",
            {"trades": [trade]},
            {"trades": [trade, trade]},
        ),
        (f"/api/rebalance/{proposal}/accept", {"mode": "paper"}, {"mode": "worksheet"}),
    ]


def test_repeated_request_takes_effect_once(ada: ApiUser) -> None:
    for number, (path, body, other) in enumerate(requests_with_key(ada)):
        key = {"Idempotency-Key": f"key {number}"}
        first = ada.post(path, body, headers=key)
        assert first.is_success, first.text
        assert "idempotent-replayed" not in first.headers
        for _ in range(2):
            again = ada.post(path, body, headers=key)
            assert again.headers["idempotent-replayed"] == "true"
            assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert "idempotency key" in expect_problem(ada.post(path, other, headers=key), 409)
    for path, body, _ in requests_with_key(ada):
        assert "idempotency key" in expect_problem(
            ada.post(path, body, headers={"Idempotency-Key": "key 0"}), 409
        )


def test_key_of_failed_request_can_be_reused(ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}/cash-flows"
    key = {"Idempotency-Key": "again"}
    expect_problem(ada.post(path, {"kind": "withdrawal", "amount": "99999"}, headers=key), 409)
    assert ada.post(path, {"kind": "withdrawal", "amount": "9"}, headers=key).status_code == 201


def test_concurrent_requests_with_one_key_take_effect_once(ada: ApiUser) -> None:
    for number, (path, body, _) in enumerate(requests_with_key(ada)):
        key = {"Idempotency-Key": f"key {number}"}
        answers = in_parallel(8, lambda _, p=path, b=body, k=key: ada.post(p, b, headers=k))
        assert {answer.status_code for answer in answers} <= {200, 201}, answers[0].text
        assert len({answer.text for answer in answers}) == 1
        assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize("key", ["", "k" * 201])
def test_invalid_idempotency_key_is_rejected(ada: ApiUser, key: str) -> None:
    for path, body, _ in requests_with_key(ada):
        expect_problem(
            ada.post(path, body, headers={"Idempotency-Key": key}), 400, "Idempotency-Key"
        )
