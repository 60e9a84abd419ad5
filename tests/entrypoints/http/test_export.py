"""The export of an account."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.account_records import ImportAccount
from rebalancer.entrypoints.account_file import read_account
from tests.contracts.stores import a_user
from tests.entrypoints.http.conftest import (
    BACKTEST,
    ApiUser,
    RunningApi,
    expect_problem,
)

SECTIONS = (
    *("profile", "consents", "sessions", "passkeys", "api_keys", "portfolios", "ledger"),
    *("actions", "imports", "mapping_profiles", "shares", "received_shares", "proposals"),
    *("jobs", "notices", "notice_choices", "notice_targets", "notice_messages", "audit"),
    *("flow_decisions", "models", "model_versions"),
    *("alerts", "alert_episodes"),
)


def exported(user: ApiUser) -> zipfile.ZipFile:
    answer = user.get("/api/users/export")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == (
        'attachment; filename="rebalancer-2026-11-02.zip"'
    )
    assert answer.headers["cache-control"] == "no-store"
    return zipfile.ZipFile(io.BytesIO(answer.content))


def rows_of(archive: zipfile.ZipFile, section: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(archive.read(f"{section}.json"))
    return rows


def table_of(archive: zipfile.ZipFile, section: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read(f"{section}.csv").decode())))


def test_export_holds_everything_as_json_and_csv(api: RunningApi, ada: ApiUser) -> None:
    open_one = ada.portfolio(cash={"USD": "500"})["id"]
    closed = ada.portfolio()["id"]
    record = ada.proposal(open_one)["id"]
    assert ada.delete(f"/api/portfolios/{closed}").status_code == 204
    remark = {"remark": "=HYPERLINK(1)"}
    assert ada.post(f"/api/rebalance/{record}/reject", remark).status_code == 200
    job = ada.post("/api/backtest", BACKTEST).json()
    archive = exported(ada)
    assert archive.testzip() is None
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["version"] == 1
    for file in manifest["files"]:
        assert sha256(archive.read(file["name"])).hexdigest() == file["sha256"]
    names = {f"{name}.{kind}" for name in SECTIONS for kind in ("json", "csv")}
    assert set(archive.namelist()) == names | {"manifest.json", "README.txt", "account.jsonl"}
    for section in SECTIONS:
        assert len(rows_of(archive, section)) == len(table_of(archive, section)), section
    assert rows_of(archive, "profile")[0]["email"] == "ada@example.org"
    assert {one["id"] for one in rows_of(archive, "portfolios")} == {open_one, closed}
    assert {one["portfolio_id"] for one in rows_of(archive, "ledger")} == {open_one, closed}
    assert [one["id"] for one in rows_of(archive, "proposals")] == [record]
    assert [one["id"] for one in rows_of(archive, "jobs")] == [job["id"]]
    assert [one["method"] for one in rows_of(archive, "sessions")] == ["password"]
    assert rows_of(archive, "audit")[0]["action"] == "account_exported"
    amounts = [one["amount"] for one in rows_of(archive, "ledger")]
    assert [one["amount"] for one in table_of(archive, "ledger")] == amounts
    closings = {one["id"]: one["closed"] is None for one in rows_of(archive, "portfolios")}
    assert closings == {open_one: True, closed: False}
    assert [one["remark"] for one in rows_of(archive, "proposals")] == ["=HYPERLINK(1)"]
    assert [one["remark"] for one in table_of(archive, "proposals")] == ["'=HYPERLINK(1)"]


def test_archive_is_imported_into_another_installation(
    api: RunningApi, ada: ApiUser, tmp_path: Path
) -> None:
    portfolio = ada.portfolio(cash={"USD": "500"})["id"]
    ada.proposal(portfolio)
    path = tmp_path / "export.zip"
    path.write_bytes(ada.get("/api/users/export").content)
    other, there = MemoryWork(), a_user(email="ada@example.org")
    with other.begin() as tx:
        tx.users.add(there)
    records = read_account(path, owner=there.id)
    ImportAccount(other)(records, owner=there.id, now=api.time.now)
    with other.read() as tx, api.work.read() as here:
        for stored, origin in zip(
            tx.proposals.of_owner(there.id, limit=9),
            here.proposals.page(here.portfolios.get(UUID(portfolio)).owner, limit=9),
            strict=True,
        ):
            assert stored.proposal == origin.proposal
            assert stored.inputs == origin.inputs
        assert tx.portfolios.ledger(UUID(portfolio)) == here.portfolios.ledger(UUID(portfolio))


def test_export_holds_no_secrets(api: RunningApi, ada: ApiUser) -> None:
    archive = exported(ada)
    # The digests of imports are of files, and that of choices is how often notices are sent.
    others = ("imports.", "notice_choices.")
    names = [name for name in archive.namelist() if not name.startswith(others)]
    text = "".join(archive.read(name).decode() for name in names)
    with api.work.read() as tx:
        user = tx.users.by_email("ada@example.org")
    assert user is not None and user.password is not None
    assert user.password not in text and "digest" not in text and "public_key" not in text


def test_export_holds_nothing_of_others(api: RunningApi, ada: ApiUser) -> None:
    bob = api.register("bob@example.org")
    bob.portfolio(name="Secret of Bob")
    archive = exported(ada)
    text = "".join(archive.read(name).decode() for name in archive.namelist())
    assert "bob" not in text.casefold()


def test_export_needs_a_recent_proof_of_identity(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(minutes=11)
    assert "proof of identity" in expect_problem(ada.get("/api/users/export"), 403)


def test_large_ledger_is_exported_page_by_page(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}"
    trade = {"side": "buy", "symbol": "C", "quantity": "0.01", "price": "7.7"}
    for _ in range(6):
        answer = ada.post(f"{path}/transactions", {"trades": [trade] * 100})
        assert answer.status_code == 201, answer.text
    rows = rows_of(exported(ada), "ledger")
    assert len({row["id"] for row in rows}) == len(rows) == 601
