"""Statements of a period over HTTP."""

from __future__ import annotations

from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem


def test_statement_of_a_period_is_a_page(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio(name='Pension <1>')['id']}"
    answer = ada.get(f"{path}/statement")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="statement-2022-')
    assert "Pension &lt;1&gt;" in answer.text
    value = ada.get(path).json()["value"]
    assert f"{float(value):,.2f} USD" in answer.text


def test_period_without_a_close_is_refused(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}/statement"
    reversed_ = ada.get(f"{path}?from=2022-12-30&to=2022-12-01")
    assert "2022-12-30 is after 2022-12-01" in expect_problem(reversed_, 422)
    assert "from" in expect_problem(ada.get(f"{path}?from=yesterday"), 400)
