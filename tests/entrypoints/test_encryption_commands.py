"""Encryption keys on the command line: create, rotate, start with and without them."""

import json
import sqlite3

PASSWORD = "a long sentence is best\n"


def text_of(folder):
    with sqlite3.connect(folder / "rebalancer.db") as connection:
        return "\n".join(connection.iterdump())


def test_keys_are_created_used_renewed_and_removed(rebalancer, tmp_path):
    key = rebalancer("db", "new-key", "old").output.strip()
    assert key.startswith("old:") and len(key) == 48
    (tmp_path / "keys").write_text(key)
    keys = {"REBALANCER_ENCRYPTION_KEYS_FILE": str(tmp_path / "keys")}
    plain = rebalancer("db", "upgrade")
    assert plain.exit_code == 0
    created = rebalancer("user", "create", "--email", "ada@example.org", "--password-stdin")
    assert created.exit_code in (0, 2)
