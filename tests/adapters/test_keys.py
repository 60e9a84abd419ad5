"""Derived keys and their rotation."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import jwt
import pytest

from rebalancer.adapters.security.keys import HkdfKeys
from rebalancer.adapters.security.tokens import JwtTokens
from rebalancer.application.ports.keys import ACCESS_TOKENS, RATE_LIMITS
from rebalancer.domain.errors import NotAuthenticated

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
OLD, NEW = "an old secret of more than 32 characters", "a new secret of more than 32 characters"
ADA, SESSION = UUID(int=1), UUID(int=2)


def tokens(*secrets: str, audience: str = "rebalancer") -> JwtTokens:
    return JwtTokens(HkdfKeys(secrets), audience)


def test_keys_differ_by_purpose_and_secret() -> None:
    found = [
        key
        for secret in (OLD, NEW)
        for purpose in (ACCESS_TOKENS, RATE_LIMITS)
        for key in HkdfKeys((secret,)).of(purpose)
    ]
    assert len({key.value for key in found}) == len({key.id for key in found}) == 4
    assert {len(key.value) for key in found} == {32}
    assert HkdfKeys((OLD,)).of(RATE_LIMITS) == HkdfKeys((OLD,)).of(RATE_LIMITS)
    assert found[0].value.hex() not in repr(found)
    assert OLD not in repr(HkdfKeys((OLD,)))


def test_keys_are_those_of_rfc_5869() -> None:
    """Compute HKDF by hand: extract, then the first block of expand."""
    import hashlib
    import hmac

    pseudo_random = hmac.digest(b"rebalancer", OLD.encode(), hashlib.sha256)
    expected = hmac.digest(pseudo_random, b"key: access-token\x01", hashlib.sha256)
    assert HkdfKeys((OLD,)).of(ACCESS_TOKENS)[0].value == expected


def test_tokens_of_an_earlier_secret_are_valid_until_it_is_removed() -> None:
    token, _ = tokens(OLD).create_access_token(ADA, SESSION, NOW)
    assert tokens(NEW, OLD).authenticate(token, NOW).owner == ADA
    with pytest.raises(NotAuthenticated) as refused:
        tokens(NEW).authenticate(token, NOW)
    assert refused.value.code == "access_token_expired"


def test_the_current_secret_signs() -> None:
    token, _ = tokens(NEW, OLD).create_access_token(ADA, SESSION, NOW)
    assert tokens(NEW).authenticate(token, NOW).session == SESSION
    assert jwt.get_unverified_header(token)["kid"] == HkdfKeys((NEW,)).of(ACCESS_TOKENS)[0].id


def test_tokens_of_another_deployment_are_refused() -> None:
    token, _ = tokens(OLD, audience="https://a.example").create_access_token(ADA, SESSION, NOW)
    with pytest.raises(NotAuthenticated):
        tokens(OLD, audience="https://b.example").authenticate(token, NOW)


def test_token_ends_with_its_session() -> None:
    soon = NOW.replace(minute=5)
    token, ends = tokens(OLD).create_access_token(ADA, SESSION, NOW, until=soon)
    assert ends == soon
    with pytest.raises(NotAuthenticated):
        tokens(OLD).authenticate(token, soon)
