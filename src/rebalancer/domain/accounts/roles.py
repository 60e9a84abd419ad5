"""Roles of users."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What an account is for.

    A person has portfolios. An adviser may also propose trades for portfolios that their owners
    share with the right to propose. An operator also manages accounts, but sees no portfolio of
    others.
    """

    PERSON = "person"
    ADVISER = "adviser"
    OPERATOR = "operator"
