"""The text of API keys, and what scopes allow."""

from __future__ import annotations

import pytest

from rebalancer.domain.accounts.api_keys import (
    Scope,
    check_scope,
    format_api_key,
    has_valid_checksum,
    looks_like_api_key,
    order_scopes,
)
from rebalancer.domain.errors import InvalidRequest, NotAllowed

KEY = format_api_key(bytes(range(32)))


def test_key_has_one_form() -> None:
    assert KEY.startswith("rbk_0")
    assert len(KEY) == 4 + 43 + 6
    assert KEY[4:].isalnum()
    assert len({format_api_key(bytes([n]) * 32) for n in range(256)}) == 256
    assert has_valid_checksum(format_api_key(b"\xff" * 32))


def test_mistyped_key_has_a_wrong_checksum() -> None:
    assert has_valid_checksum(KEY)
    for at in range(4, len(KEY)):
        wrong = f"{KEY[:at]}{'x' if KEY[at] != 'x' else 'y'}{KEY[at + 1 :]}"
        assert looks_like_api_key(wrong)
        assert not has_valid_checksum(wrong)
    for text in ("", "rbk_", KEY[:-1], f"{KEY}0", f"{KEY}\n", KEY.upper(), f" {KEY}", "rbk_" * 20):
        assert not has_valid_checksum(text)


def test_scopes_are_ordered_once_each() -> None:
    assert order_scopes([Scope.TRADE, Scope.READ, Scope.TRADE]) == (Scope.READ, Scope.TRADE)
    with pytest.raises(InvalidRequest):
        order_scopes([])


@pytest.mark.parametrize("needed", [*Scope, None])
def test_login_allows_everything(needed: Scope | None) -> None:
    check_scope(None, needed)


def test_each_scope_includes_reading_and_no_other() -> None:
    for scope in Scope:
        check_scope(frozenset({scope}), Scope.READ)
        check_scope(frozenset({scope}), scope)
    for had, needed in (
        (Scope.READ, Scope.PROPOSE),
        (Scope.PROPOSE, Scope.TRADE),
        (Scope.TRADE, Scope.PROPOSE),
    ):
        with pytest.raises(NotAllowed, match=f"lacks the scope {needed}") as refused:
            check_scope(frozenset({had}), needed)
        assert refused.value.code == "scope_missing"
    with pytest.raises(NotAllowed) as refused:
        check_scope(frozenset(Scope), None)
    assert refused.value.code == "login_expected"
