"""Rules for new passwords."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from rebalancer.adapters.security.strength import ZxcvbnStrength
from rebalancer.application.passwords import PasswordRules
from rebalancer.domain.accounts.passwords import context_words
from rebalancer.domain.errors import InvalidRequest

RULES = PasswordRules(ZxcvbnStrength())


def check(password, *, email="ada@example.org", name="Ada", second=False):
    return RULES.check(password, email=email, name=name, has_second_factor=second)


def refusal(password, **options):
    with pytest.raises(InvalidRequest) as refused:
        check(password, **options)
    assert repr(password) not in str(refused.value)
    return refused.value.code


@pytest.mark.parametrize(
    ("password", "second", "code"),
    [
        ("x" * 14, False, "invalid_password"),
        ("x" * 7, True, "invalid_password"),
        ("x" * 129, True, "invalid_password"),
        ("a\u0301" * 14, False, "invalid_password"),  # composed: 14 characters
        ("password12", True, "guessable_password"),
        ("invisible\u200b password", False, "hidden_character"),
    ],
)
def test_password_that_breaks_a_rule_is_refused(password, second, code):
    assert refusal(password, second=second) == code


def test_shorter_password_is_enough_with_a_second_factor():
    assert check("x7f9Kq2m", second=True) == "x7f9Kq2m"
    assert refusal("x7f9Kq2m") == "invalid_password"


@pytest.mark.parametrize(
    ("password", "email", "name"),
    [
        ("bobby.tables1234", "bobby.tables@example.org", ""),
        ("tables-example-1", "bobby.tables@example.org", ""),
        ("LovelaceLovelace1", "ada@example.org", "Ada Lovelace"),
        ("Rebalancer Rebalancer", "ada@example.org", ""),
    ],
)
def test_words_of_the_account_and_the_service_are_easy_to_guess(password, email, name):
    assert refusal(password, email=email, name=name) == "guessable_password"


def test_common_passwords_are_refused_whatever_their_length():
    common = FREQUENCY_LISTS["passwords"]
    assert len(common) > 3000
    long = [word for word in common if 8 <= len(word) <= 15]
    assert len(long) > 3000
    for word in long[:: len(long) // 300]:
        assert refusal(word, second=True) == "guessable_password"
        assert refusal(word * 2) == "guessable_password"


def test_only_the_beginning_of_a_long_password_is_examined():
    assert check("four random words, and then " + "4@8(63019|!1$+7%2" * 5)
    assert refusal("a" * 128) == "guessable_password"


@given(st.text(max_size=40), st.text(max_size=40))
def test_context_words_have_at_least_three_characters(email, name):
    words = context_words(email, name)
    assert words[0] == "rebalancer"
    assert all(len(word) >= 3 for word in words)
