"""Secret settings: their strength, files with them, and where the public key is refused."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from rebalancer.config import DEVELOPMENT_KEY, Settings
from rebalancer.domain.errors import InvalidRequest

GOOD = "9f3c1e7a5b2d8064c6a1f0e93b7d5482"


def read(**variables: str) -> Settings:
    return Settings.read({f"REBALANCER_{name}": value for name, value in variables.items()})


@pytest.mark.parametrize(
    "key",
    [
        "a" * 32,
        "ab" * 20,
        "change-me " * 4,
        "password" * 8,
        "0123456789abcdefghijklmnopqrstuvwxyz",
        "zyxwvutsrqponmlkjihgfedcba9876543210",
        "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeee",
    ],
)
def test_weak_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="needs random characters") as refused:
        read(SECRET_KEY=key)
    assert refused.value.field == "REBALANCER_SECRET_KEY"
    assert key not in str(refused.value)
    with pytest.raises(InvalidRequest, match="needs random characters"):
        read(SECRET_KEYS_OLD=f"{GOOD},{key}")


def test_random_keys_are_accepted() -> None:
    for _ in range(50):
        for key in (
            secrets.token_hex(16),
            secrets.token_hex(32),
            secrets.token_urlsafe(24),
            secrets.token_urlsafe(48),
        ):
            assert read(SECRET_KEY=key).secret_key == key


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    key, url = tmp_path / "key", tmp_path / "url"
    key.write_text(f"{GOOD}\n")
    url.write_text("postgresql://ada:s3cr3t@host/name")
    settings = read(SECRET_KEY_FILE=str(key), DATABASE_URL_FILE=str(url))
    assert settings.secret_key == GOOD
    assert settings.database_url == "postgresql://ada:s3cr3t@host/name"


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"SECRET_KEY_FILE": "/nowhere/key"}, "cannot read /nowhere/key: No such file"),
        ({"SECRET_KEY_FILE": "/"}, "cannot read /: Is a directory"),
        ({"SECRET_KEY_FILE": "/dev/zero"}, "is longer than"),
        ({"SECRET_KEY_FILE": "/dev/null"}, "is empty"),
        ({"SECRET_KEY_FILE": "/dev/null", "SECRET_KEY": GOOD}, "either this or REBALANCER_SECRET"),
        ({"HOST_FILE": "/etc/hostname"}, "unknown setting"),
    ],
)
def test_unusable_file_is_named(variables: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        read(**variables)
    assert refused.value.field == f"REBALANCER_{next(iter(variables))}"


def test_file_without_text_is_refused_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe secret")
    with pytest.raises(InvalidRequest, match="is not text in UTF-8"):
        read(SECRET_KEY_FILE=str(tmp_path / "key"))
    (tmp_path / "key").write_text("short")
    with pytest.raises(InvalidRequest, match="at least 32 characters") as refused:
        read(SECRET_KEY_FILE=str(tmp_path / "key"))
    assert refused.value.field == "REBALANCER_SECRET_KEY_FILE"


def test_earlier_keys_are_separated_by_commas() -> None:
    settings = read(SECRET_KEY=GOOD, SECRET_KEYS_OLD=f"{GOOD[::-1]}, {GOOD[3:] + '0a7'}")
    assert settings.secret_keys_old == (GOOD[::-1], f"{GOOD[3:]}0a7")
    assert GOOD not in repr(settings)
    assert GOOD[::-1] not in repr(settings)


@pytest.mark.parametrize(
    "variables",
    [
        {"ENVIRONMENT": "production"},
        {"HOST": "0.0.0.0"},
        {"HOST": "::"},
        {"HOST": "192.168.1.2"},
        {"TRUSTED_PROXIES": "1"},
        {"TRUSTED_PROXIES": "1", "SECRET_KEY": GOOD, "SECRET_KEYS_OLD": DEVELOPMENT_KEY},
    ],
)
def test_public_key_is_refused_where_others_can_reach_the_server(variables: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="a secret key is required"):
        read(**variables).check_serving()
    read(
        **{**variables, "SECRET_KEY": GOOD, "SECRET_KEYS_OLD": "", "ENCRYPTION": "off"}
    ).check_serving()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_public_key_is_accepted_on_this_machine(host: str) -> None:
    read(HOST=host).check_serving()
