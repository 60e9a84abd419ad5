"""E-mail addresses have one spelling, and passwords one form on all keyboards."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.accounts.passwords import prepare_password
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.owner import normalize_email, spellings_of_email


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" Kim@Example.COM ", "kim@example.com"),
        ("kim@XN--MNCHEN-3YA.example", "kim@m\u00fcnchen.example"),
        ("kim@M\u00dcNCHEN.example", "kim@m\u00fcnchen.example"),
        ("kim@mu\u0308nchen.example", "kim@m\u00fcnchen.example"),
        ("kim@fu\u00dfball.example", "kim@fu\u00dfball.example"),  # not fussball: IDNA 2008
        ("STRA\u00dfE@example.com", "strasse@example.com"),
        ("Jose\u0301@example.com", "jos\u00e9@example.com"),
        ("kim@\uff45xample\u3002com", "kim@example.com"),
        ("kim+tag.b@mail.example.co.uk", "kim+tag.b@mail.example.co.uk"),
    ],
)
def test_address_has_one_spelling(typed: str, stored: str) -> None:
    assert normalize_email(typed) == stored
    assert normalize_email(stored) == stored
    assert spellings_of_email(typed)[0] == stored


@pytest.mark.parametrize(
    "typed",
    [
        "kim",
        "kim@example",
        "kim@@example.com",
        "kim @example.com",
        "@example.com",
        "kim@a_b.example",
        "kim@-a.example",
        "kim@i\u2764.example",
        f"{'k' * 65}@example.com",
        "\u00e9" * 33 + "@example.com",
        f"kim@{'a.' * 125}com",
        f"kim@{'a' * 64}.com",
    ],
)
def test_other_text_is_not_an_address(typed: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid e-mail address"):
        normalize_email(typed)


def test_invisible_character_in_address_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"U\+200B ZERO WIDTH SPACE"):
        normalize_email("kim\u200b@example.com")


def test_spelling_of_earlier_versions_is_still_found() -> None:
    assert spellings_of_email("Kim@fu\u00dfball.example")[1] == "kim@fussball.example"
    assert spellings_of_email("Kim@a_b.example") == ["kim@a_b.example"]
    assert spellings_of_email("Kim@example.com") == ["kim@example.com"]


@given(st.text(max_size=20), st.text(max_size=10))
def test_normalizing_twice_changes_nothing(local: str, host: str) -> None:
    try:
        once = normalize_email(f"{local}@{host}.example")
    except InvalidRequest:
        return
    assert normalize_email(once) == once


def test_password_is_prepared_as_rfc_8265_does() -> None:
    assert prepare_password("correct horse") == "correct horse"
    assert prepare_password("p\u00e4ss\u00a0wo\u3000rd") == "p\u00e4ss wo rd"
    assert prepare_password("Pa\u0308sswort") == "P\u00e4sswort"
    assert (
        prepare_password("\u03c3\u03c2 \uff21") == "\u03c3\u03c2 \uff21"
    )  # neither case nor width


@given(st.text())
def test_all_compositions_of_a_password_are_one(text: str) -> None:
    forms = {prepare_password(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert len(forms) == 1
    assert prepare_password(forms.copy().pop()) in forms
