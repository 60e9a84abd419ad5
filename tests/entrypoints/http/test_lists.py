"""Pages of a list hold each item once, in order."""

from __future__ import annotations

import pytest

from tests.entrypoints.http.conftest import UNKNOWN_ID, ApiUser, RunningApi, expect_problem


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
def test_portfolios_are_listed_oldest_first(api: RunningApi, ada: ApiUser, limit: int) -> None:
    ids = []
    for number in range(7):
        if number % 2:
            api.time.advance(seconds=1)  # the others have the same time
        ids.append(ada.portfolio(name=str(number))["id"])
    pages = ada.pages("/api/portfolios", "after", limit)
    found = [one for page in pages for one in page]
    assert sorted(one["id"] for one in found) == sorted(ids)
    assert [one["created"] for one in found] == sorted(one["created"] for one in found)
    assert {len(page) for page in pages[:-1]} <= {limit}
    assert found[-1]["id"] in (ids[5], ids[6])


@pytest.mark.parametrize("limit", [1, 3, 200])
def test_proposals_are_listed_latest_first(api: RunningApi, ada: ApiUser, limit: int) -> None:
    mine, other = ada.portfolio()["id"], ada.portfolio()["id"]
    for number in range(8):
        if number % 3 == 0:
            api.time.advance(seconds=1)
        ada.proposal(other if number % 2 else mine)
    found = [one for page in ada.pages("/api/rebalance", "before", limit) for one in page]
    assert len({one["id"] for one in found}) == 8 == len(found)
    times = [one["proposed"] for one in found]
    assert times == sorted(times, reverse=True)
    path = f"/api/rebalance?portfolio_id={mine}"
    assert {one["portfolio_id"] for one in ada.get(path).json()["items"]} == {mine}
    params = {"portfolio_id": mine, "limit": 1}
    first = ada.get("/api/rebalance", params=params).json()
    second = ada.get("/api/rebalance", params=params | {"before": first["next"]}).json()
    assert first["items"][0]["id"] != second["items"][0]["id"]


@pytest.mark.parametrize("limit", [1, 4, 200])
def test_transactions_are_listed_latest_recorded_first(
    api: RunningApi, ada: ApiUser, limit: int
) -> None:
    path = f"/api/portfolios/{ada.portfolio(on=api.market.day(9))['id']}"
    for number in range(9):  # a later market day is recorded first
        deposit = {"kind": "deposit", "amount": f"{number + 1}", "on": api.market.day(number)}
        assert ada.post(f"{path}/cash-flows", deposit).status_code == 201
    pages = ada.pages(f"{path}/transactions", "before", limit)
    amounts = [one["amount"] for page in pages for one in page]
    assert amounts == [f"{number}.00" for number in range(9, 0, -1)] + ["10000.00"]


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_assets_are_listed_by_symbol(api: RunningApi, ada: ApiUser) -> None:
    for limit in (1, 4, 200):
        found = [
            one["symbol"]
            for page in ada.pages("/api/market/assets", "after", limit)
            for one in page
        ]
        assert found == list("ABCDEFGHIJ")
    assert ada.get("/api/market/assets?query=c").json()["items"][0]["symbol"] == "C"
    assert ada.get("/api/market/assets?query=nil").json() == {
        "items": [],
        "next": None,
        "notes": [],
    }


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_closes_of_an_asset(api: RunningApi, ada: ApiUser) -> None:
    answer = ada.get("/api/market/data/C", params={"start": api.market.day(4)}).json()
    assert [one["date"] for one in answer["closes"]] == [
        api.market.day(n) for n in range(4, -1, -1)
    ]
    monthly = ada.get("/api/market/data/C?interval=1mo").json()["closes"]
    months = [one["date"][:7] for one in monthly]
    assert months == sorted(set(months))
    expect_problem(ada.get("/api/market/data/NIL"), 404)
    expect_problem(ada.get("/api/market/data/C?start=2022-12-02&end=2022-12-01"), 422, "end")
    unknown = expect_problem(ada.get("/api/market/data/C?interval=1h"), 400, "interval")
    assert unknown == "interval: expected one of 1d, 1wk, 1mo; invalid enum value '1h'"
    api.market.is_down = True
    is_down = ada.get("/api/market/data/C")
    expect_problem(is_down, 503)
    assert is_down.headers["retry-after"] == "5"


def test_unknown_cursor_gives_an_empty_page(ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    ada.proposal(portfolio)
    for path, cursor in (
        ("/api/portfolios", "after"),
        ("/api/rebalance", "before"),
        (f"/api/portfolios/{portfolio}/transactions", "before"),
    ):
        page = ada.get(path, params={cursor: str(UNKNOWN_ID)}).json()
        assert page == {"items": [], "next": None}


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("limit=99999999999999999999999", "limit"),
        ("limit=-1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limt=5", "limt"),
        ("Limit=5", "Limit"),
        ("limit[]=5", "limit[]"),
        ("after=x", "after"),
        ("after=", "after"),
        ("before=00000000-0000-0000-0000-000000000007", "before"),
        ("=", "?"),
        ("%00=1", "\x00"),
        ("limit=5&%F0%9F%92%A9=1", "\N{PILE OF POO}"),
    ],
)
def test_invalid_query_parameter_is_named(ada: ApiUser, query: str, field: str) -> None:
    expect_problem(ada.get(f"/api/portfolios?{query}"), 400, field)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_unknown_query_parameter_error_lists_known_ones(ada: ApiUser) -> None:
    body = expect_problem(ada.get("/api/rebalance?portfolio=1"), 400, "portfolio")
    assert body.endswith("use before, limit, portfolio_id")
    assert expect_problem(ada.get("/api/users/profile?x=1"), 400, "x").endswith("remove it")
    assert ada.get("/api/users/profile?").status_code == 200
