"""`rebalancer db backup` and `restore`: files, output and exit codes."""

import os
import pty
import subprocess

import pytest

from tests.contracts.databases import new_database
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.entrypoints.test_store_commands import PORTFOLIO, keep, register, store

__all__ = ["keep", "register", "store"]


@pytest.fixture
def elsewhere(monkeypatch):
    """Use another database for the following commands."""
    return lambda url: monkeypatch.setenv("REBALANCER_DATABASE_URL", url)


def shown(store):
    listed = store("portfolio", "list", "--json").json
    return [store("portfolio", "show", one["id"], "--json").json for one in listed]


def test_backup_moves_data_to_postgres_and_back(store, keep, elsewhere, postgres_url):
    keep(*(PORTFOLIO | {"id": str(number)} for number in range(3)))
    before = shown(store)
    done = store("db", "backup", "all.jsonl.gz")
    assert (done.code, done.stderr) == (0, "")
    with new_database(postgres_url) as server:
        elsewhere(server)
        assert store("db", "upgrade").code == 0
        restored = store("db", "restore", "all.jsonl.gz")
        assert done.stdout == restored.stdout.replace("Restored", "Wrote").replace("from", "to")
        assert store("db", "check").stdout == "No findings.\n"
        assert shown(store) == before
        again = store("db", "backup", "back.jsonl.gz", "--json").json
        assert again["file"] == "back.jsonl.gz"
        assert again["rows"] == sum(again["tables"].values())
        assert again["tables"]["portfolios"] == 3 and again["tables"]["ledger_entries"] == 9
    elsewhere("sqlite:///another.db")
    assert store("db", "upgrade").code == 0
    assert store("db", "restore", "back.jsonl.gz", "--json").json == again
    assert shown(store) == before


def test_invalid_backups_and_restores_are_rejected(store, keep, elsewhere, write):
    keep(PORTFOLIO)
    assert store("db", "backup").refused("Missing argument 'FILE'")
    assert store("db", "backup", "all").code == 0
    assert store("db", "backup", "all").refused("file: all exists already")
    assert store("db", "backup", "no/folder").refused("file: cannot write no/folder: No such file")
    assert store("db", "restore", "all").refused("is not empty; restore into a new database")
    elsewhere("sqlite:///new.db")
    assert store("db", "restore", "all").refused("no tables yet", "rebalancer db upgrade")
    assert store("db", "backup", "new").refused(
        "the database has no tables", "rebalancer db upgrade"
    )
    assert store("db", "upgrade").code == 0
    assert store("db", "restore", "none").refused("file: cannot read none: No such file")
    whole = write("all", (write("half", b"").parent / "all").read_bytes())
    write("half", whole.read_bytes()[:-20])
    assert store("db", "restore", "half").refused("file: half is damaged")
    assert store("portfolio", "list", "--json").json == []
    assert store("db", "restore", "all").code == 0
    elsewhere("sqlite:////nowhere/at/all.db")
    for command in ("backup", "restore"):
        done = store("db", command, {"backup": "other", "restore": "all"}[command])
        assert (done.code, done.stdout) == (1, "") and "did not answer" in done.stderr


def test_progress_bar_is_shown_on_terminal(store, keep, tmp_path):
    keep(PORTFOLIO)
    for command, said in (("backup", "Writing"), ("restore", "Restoring")):
        ours, theirs = pty.openpty()
        if command == "restore":
            (tmp_path / "rebalancer.db").rename("old.db")
            assert store("db", "upgrade").code == 0
        process = subprocess.Popen(
            [COMMAND, "db", command, "all"], stdout=theirs, stderr=theirs, env=ENVIRONMENT
        )
        os.close(theirs)
        seen = b""
        while True:
            try:
                seen += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
        os.close(ours)
        assert process.wait(120) == 0
        assert said.encode() in seen and b"100%" in seen and b"rows/s" in seen
