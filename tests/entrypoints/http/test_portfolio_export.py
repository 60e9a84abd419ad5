"""Export of a portfolio for other tools."""

from __future__ import annotations

import io
import json
import zipfile

from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem


def test_portfolio_is_exported_for_other_tools(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio(cash={'USD': '500'})['id']}/export"
    answer = ada.get(f"{path}?format=ghostfolio")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert 'filename="ghostfolio-2026-11-02.json"' in answer.headers["content-disposition"]
    document = json.loads(answer.content)
    assert document["accounts"][0]["balance"] == 500
    assert document["meta"]["notes"]
    answer = ada.get(f"{path}?format=portfolio_performance")
    assert answer.headers["content-type"] == "application/zip"
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert "NOTES.txt" in names and "account-transactions-USD.csv" in names


def test_unknown_format_is_refused(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}/export"
    assert "ghostfolio" in expect_problem(ada.get(f"{path}?format=excel"), 400)
