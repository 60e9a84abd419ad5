"""Encryption keys on the command line: create, use, renew and remove them."""

import io
import sqlite3
import sys

import pytest


def stored(folder):
    """Return all that the database file holds, as text."""
    with sqlite3.connect(folder / "rebalancer.db") as connection:
        return "\n".join(connection.iterdump())


def keys_of(*lines):
    return {"REBALANCER_ENCRYPTION_KEYS": ",".join(lines)}


def test_new_keys_have_an_id_and_are_valid_settings(quickly, tmp_path):
    named, dated = quickly("db", "new-key", "k-1"), quickly("db", "new-key")
    assert named.stdout.startswith("k-1:") and dated.stdout.startswith("20")
    (tmp_path / "keys").write_text(named.stdout + dated.stdout)
    both = {"REBALANCER_ENCRYPTION_KEYS_FILE": str(tmp_path / "keys")}
    assert quickly("db", "upgrade", env=both).code == 0
    assert quickly("db", "new-key", "not an id").refused("id:base64")


@pytest.mark.parametrize(
    "text", ["a", "a:AAAA", ":" + "A" * 43 + "=", "a:" + "A" * 43 + "=", "a b:c"]
)
def test_malformed_keys_are_refused_without_being_quoted(quickly, text):
    result = quickly("db", "current", env={"REBALANCER_ENCRYPTION_KEYS": text})
    assert result.refused("REBALANCER_ENCRYPTION_KEYS: write each key as id:base64")
    assert "AAAA" not in result.stderr


def test_texts_are_encrypted_renewed_and_decrypted_while_the_database_is_in_use(
    rebalancer, quickly, database, tmp_path, monkeypatch
):
    old, new = (quickly("db", "new-key", id).stdout.strip() for id in ("old", "new"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery staple\n"))
    assert quickly("user", "create", "--email", "ada@example.org").code == 0
    assert "ada@example.org" in stored(tmp_path)
    first = quickly("db", "rotate-keys", "--json", env=keys_of(old))
    assert first.json["rows"]["users"] == 1 and not first.json["removed"]
    assert "ada@example.org" not in stored(tmp_path)
    assert "ada@example.org" in quickly("user", "list", env=keys_of(old)).stdout

    for program, missing in ((("serve", "--port", "0"), {}), (("worker",), keys_of(new))):
        for result in (
            rebalancer(*program, env=missing),
            quickly("user", "list", env=missing),
        ):
            assert result.code != 0 and "encryption key" in result.stderr, result
        found = quickly("db", "check", env=missing)
        assert found.code == 3 and "encryption key" in found.stdout
    assert quickly("db", "downgrade", "0016", "--yes", env=keys_of(old)).refused("rotate-keys")

    renewed = quickly("db", "rotate-keys", env=keys_of(new, old))
    assert renewed.code == 0 and "renewed 2 data keys" in renewed.stdout
    assert "ada@example.org" in quickly("user", "list", env=keys_of(new)).stdout

    assert quickly("db", "backup", "all", env=keys_of(new)).code == 0
    backup = (tmp_path / "all").read_bytes()
    assert backup.startswith(b'{"format":"rebalancer-encrypted-1","key":"new"')
    elsewhere = {"REBALANCER_DATABASE_URL": "sqlite:///other.db"}
    quickly("db", "upgrade", env=elsewhere)
    assert quickly("db", "restore", "all", env=elsewhere | keys_of(old)).refused("'new'")
    assert quickly("db", "restore", "all", env=elsewhere).refused("not a valid backup")
    assert quickly("db", "restore", "all", env=elsewhere | keys_of(new)).code == 0

    off = keys_of(new) | {"REBALANCER_ENCRYPTION": "off"}
    last = quickly("db", "rotate-keys", env=off)
    assert "Deleted all data keys." in last.stdout
    assert "ada@example.org" in stored(tmp_path)
    assert "ada@example.org" in quickly("user", "list").stdout


def test_production_needs_keys_or_an_explicit_setting(quickly):
    production = {"REBALANCER_ENVIRONMENT": "production"}
    assert quickly("db", "upgrade", env=production).code == 0
    refused = quickly("db", "backup", "all", env=production)
    assert refused.refused("REBALANCER_ENCRYPTION_KEYS", "new-key")
    off = production | {"REBALANCER_ENCRYPTION": "off"}
    assert quickly("db", "backup", "all", env=off).code == 0
