"""Imports of statements over HTTP, as forms and as JSON."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest

from rebalancer.application.statement_files import LARGEST_FILE
from tests.entrypoints.http.conftest import STATEMENT, ApiUser, RunningApi, expect_problem

HEADER = "date,kind,symbol,quantity,price,amount,cost,currency,note,id\n"
FILE = HEADER + "2022-11-14,deposit,,,,1000.00,,,,d1\n2022-11-15,buy,C,10,7.70,77.00,1.00,,,t1\n"


@pytest.fixture
def path(ada: ApiUser) -> str:
    return f"/api/portfolios/{ada.portfolio(cash='0')['id']}/imports"


def send(
    user: ApiUser,
    path: str,
    content: bytes | str = FILE,
    *,
    name: str = "statement.csv",
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> httpx.Response:
    data = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()
    }
    file = content.encode() if isinstance(content, str) else content
    return user.ask("POST", path, files={"file": (name, file)}, data=data, headers=headers or {})


def test_form_is_previewed_by_default(ada: ApiUser, path: str) -> None:
    answer = send(ada, path)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["record"], body["portfolio"]) == (None, None)
    preview = body["preview"]
    assert (preview["layout"], preview["file_name"]) == ("rebalancer_csv", "statement.csv")
    assert [(one["line"], one["entry"]["kind"]) for one in preview["entries"]] == [
        (2, "deposit"),
        (3, "buy"),
    ]
    assert preview["changes"] == [
        {"symbol": None, "currency": "USD", "before": "0", "after": "922.00"},
        {"symbol": "C", "currency": None, "before": "0", "after": "10"},
    ]
    assert (preview["problems"], preview["entry_count"]) == ([], 2)
    assert ada.get(path).json() == {"items": [], "next": None}


def test_form_is_committed_listed_and_undone(ada: ApiUser, path: str) -> None:
    made = send(ada, path, dry_run=False)
    assert made.status_code == 200, made.text
    record = made.json()["record"]
    assert (record["entries"], record["file_name"], record["undone"]) == (2, "statement.csv", None)
    assert made.json()["portfolio"]["cash"] == "922.00"
    assert ada.get(path).json()["items"] == [record]
    same = send(ada, path, dry_run=False)
    assert same.json()["record"] is None
    assert same.json()["preview"]["earlier"] == record
    assert same.json()["preview"]["duplicate_count"] == 2
    undone = ada.post(f"{path}/{record['id']}/undo")
    assert undone.status_code == 200, undone.text
    assert (undone.json()["voided"], undone.json()["portfolio"]["cash"]) == (2, "0.00")
    assert undone.json()["record"]["undone"] is not None
    again = ada.post(f"{path}/{record['id']}/undo")
    expect_problem(again, 409)
    assert again.json()["code"] == "already_undone"


def test_json_does_the_same_as_a_form(ada: ApiUser, path: str) -> None:
    form = send(ada, path).json()
    body = {"file": FILE, "file_name": "statement.csv"}
    assert ada.post(path, body).json() == form


def test_file_of_another_encoding_reaches_the_reader(ada: ApiUser, path: str) -> None:
    answer = send(ada, path, FILE.encode("utf-8") + "2022-11-16,fee,,,,1,,,é,\n".encode("latin-1"))
    expect_problem(answer, 422, "file")
    assert answer.json()["code"] == "not_utf8"
    assert send(ada, path, b"\xef\xbb\xbf" + FILE.encode()).status_code == 200


def test_mapping_and_flags_of_a_form_are_read(ada: ApiUser, path: str) -> None:
    text = FILE + "2022-11-16,buy,CIT,1,7.70,7.70,,,,\n2022-11-16,buy,F,x,1,1,,,,\n"
    preview = send(ada, path, text).json()["preview"]
    assert [one["code"] for one in preview["problems"]] == [
        "lines_with_errors",
        "unknown_instruments",
    ]
    assert [(one["key"], one["lines"]) for one in preview["unknown"]] == [("CIT", [4])]
    assert preview["error_count"] == 1
    refused = send(ada, path, text, dry_run=False, skip_errors=True)
    expect_problem(refused, 422, "mapping")
    made = send(ada, path, text, dry_run="false", skip_errors="true", mapping={"CIT": "C"})
    assert made.status_code == 200, made.text
    assert made.json()["record"]["mapping"] == {"CIT": "C"}
    assert made.json()["portfolio"]["holdings"]["C"]["quantity"] == "11"


@pytest.mark.parametrize(
    ("content", "fields", "status", "code"),
    [
        (b"%PDF-1.7", {}, 422, "not_text"),
        (gzip.compress(FILE.encode(), mtime=0), {}, 422, "not_text"),
        (b"PK\x03\x04....xl/workbook.xml", {}, 422, "not_text"),
        (b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "http://x/"><a/>', {}, 422, "document_type"),
        (b"", {}, 422, "file_empty"),
        (b"Dear customer", {}, 422, "unknown_layout"),
        (FILE.encode(), {"layout": "no_such"}, 422, "unknown_layout"),
        (FILE.encode(), {"mapping": "{"}, 400, "invalid_json"),
        (FILE.encode(), {"mapping": "[1]"}, 400, None),
        (FILE.encode(), {"mapping": '{"A": 1}'}, 400, None),
        (FILE.encode(), {"dry_run": "perhaps"}, 400, None),
        (FILE.encode(), {"made_up": "x"}, 400, "unknown_field"),
    ],
)
@pytest.mark.parametrize("store", ["memory"])
def test_bad_form_is_refused(
    ada: ApiUser, path: str, content: bytes, fields: dict[str, Any], status: int, code: str | None
) -> None:
    answer = send(ada, path, content, **fields)
    expect_problem(answer, status)
    assert code in (None, answer.json()["code"]), answer.text


@pytest.mark.parametrize("store", ["memory"])
def test_table_is_read_by_a_mapping_profile(ada: ApiUser, path: str) -> None:
    text = "Day;What;Total\n14.11.2022;Money in;1.000,50\n"
    profile = {
        "name": "Mine",
        "columns": {"date": "Day", "kind": "What", "amount": "Total"},
        "kinds": {"money in": "deposit"},
        "date_format": "DD.MM.YYYY",
        "decimal_mark": ",",
        "delimiter": ";",
    }
    preview = send(ada, path, text, profile=profile).json()["preview"]
    assert preview["layout"] == "generic_csv"
    assert [one["entry"]["amount"] for one in preview["entries"]] == ["1000.50"]
    assert preview["profile"]["kinds"] == {"money in": "deposit"}
    again = ada.post(path, {"file": text, "profile": preview["profile"], "dry_run": False})
    assert again.status_code == 200, again.text
    assert again.json()["record"]["entries"] == 1
    wrong = ada.post(path, {"file": text, "profile": profile | {"columns": {"kind": "What"}}})
    expect_problem(wrong, 422)
    assert "profile.columns.date" in wrong.text
    made_up = ada.post(path, {"file": text, "profile": profile | {"made_up": 1}})
    expect_problem(made_up, 422, "profile.made_up")


@pytest.mark.parametrize("store", ["memory"])
def test_proposed_profile_of_a_table_is_shown(ada: ApiUser, path: str) -> None:
    text = "Date,Type,Amount,Currency\n2022-11-14,Deposit,1000.50,USD\n"
    preview = send(ada, path, text).json()["preview"]
    assert preview["layout"] == "generic_csv"
    assert preview["profile"]["columns"]["date"].lower() == "date"
    assert send(ada, path).json()["preview"]["profile"] is None


@pytest.mark.parametrize("store", ["memory"])
def test_malformed_form_is_refused(ada: ApiUser, path: str) -> None:
    for kind, content in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=a", b"x"),
        ("multipart/form-data; boundary=a", b"--a\r\nno header\r\n\r\nx\r\n--a--\r\n"),
        ("multipart/form-data; boundary=a", b""),
    ):
        answer = ada.ask("POST", path, content=content, headers={"Content-Type": kind})
        expect_problem(answer, 400)
    without = ada.ask("POST", path, files={"other": ("a.csv", b"x")})
    expect_problem(without, 400, "other")
    twice = ada.ask("POST", path, files=[("file", ("a", b"x")), ("file", ("b", b"y"))])
    expect_problem(twice, 400, "file")


@pytest.mark.parametrize("store", ["memory"])
def test_largest_file_is_accepted_and_a_larger_one_is_not(ada: ApiUser, path: str) -> None:
    padding = "\n" * (LARGEST_FILE - len(FILE))
    assert send(ada, path, FILE + padding).status_code == 200
    over = send(ada, path, FILE + padding + "\n")
    expect_problem(over, 422, "file")
    expect_problem(send(ada, path, FILE + "\n" * (LARGEST_FILE + 600_000)), 413)


@pytest.mark.parametrize("store", ["memory"])
def test_overdrawn_result_is_a_conflict(ada: ApiUser, path: str) -> None:
    text = HEADER + "2022-11-15,buy,C,10,7.70,77.00,1.00,,,t1\n"
    preview = send(ada, path, text).json()["preview"]
    assert [(one["on"], one["balance"]) for one in preview["overdrafts"]] == [
        ("2022-11-15", "-78.00")
    ]
    refused = send(ada, path, text, dry_run=False)
    expect_problem(refused, 409)
    assert refused.json()["code"] == "overdrawn"


@pytest.mark.parametrize("store", ["memory"])
def test_version_is_respected(ada: ApiUser, path: str) -> None:
    stale = {"If-Match": '"99"'}
    expect_problem(send(ada, path, dry_run=False, headers=stale), 412)
    record = send(ada, path, dry_run=False, headers={"If-Match": "*"}).json()["record"]
    undo = f"{path}/{record['id']}/undo"
    expect_problem(ada.post(undo, headers=stale), 412)
    assert ada.post(undo).status_code == 200


@pytest.mark.parametrize("store", ["memory"])
def test_repeated_form_with_a_key_takes_effect_once(ada: ApiUser, path: str) -> None:
    key = {"Idempotency-Key": "tap"}
    first = send(ada, path, dry_run=False, headers=key)
    again = send(ada, path, dry_run=False, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    other = send(ada, path, FILE + "2022-11-16,fee,,,,1,,,,\n", dry_run=False, headers=key)
    expect_problem(other, 409)


@pytest.mark.parametrize("store", ["memory"])
def test_forms_are_for_statements_alone(api: RunningApi, ada: ApiUser) -> None:
    answer = ada.ask("POST", "/api/portfolios", files={"file": ("a.csv", STATEMENT.encode())})
    expect_problem(answer, 415)


@pytest.mark.parametrize("store", ["memory"])
def test_imports_have_pages(ada: ApiUser, path: str) -> None:
    records = [
        ada.imported(
            path.split("/")[3],
            HEADER + f"2022-11-{day},deposit,,,,1,,,,{day}\n",
        )
        for day in (14, 15, 16)
    ]
    found = [one["id"] for page in ada.pages(path, "before", 2) for one in page]
    assert sorted(found) == sorted(one["id"] for one in records)


def test_deposits_replace_those_that_stood_for_missing_cash(ada: ApiUser, path: str) -> None:
    trades = HEADER + "2022-11-15,buy,C,10,7.70,77.00,,,,t1\n"
    made = send(ada, path, trades, dry_run=False, deposit_missing_cash=True)
    assert made.json()["portfolio"]["cash"] == "0.00"
    money = send(ada, path, HEADER + "2022-11-14,deposit,,,,100.00,,,,m1\n", dry_run=False)
    assert money.status_code == 200, money.text
    assert money.json()["portfolio"]["cash"] == "23.00"
    assert "missing_cash_replaced" in [one["code"] for one in money.json()["preview"]["remarks"]]
    undone = ada.post(f"{path}/{money.json()['record']['id']}/undo")
    assert undone.status_code == 200, undone.text
    assert (undone.json()["voided"], undone.json()["portfolio"]["cash"]) == (1, "0.00")
    undone = ada.post(f"{path}/{made.json()['record']['id']}/undo")
    assert (undone.json()["voided"], undone.json()["portfolio"]["cash"]) == (2, "0.00")
