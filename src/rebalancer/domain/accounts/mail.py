"""Mails to the owners of accounts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import attrs

MAIL_LIFETIME = timedelta(days=2)
"""Time after which a mail that could not be delivered is dropped."""


class MailKind(StrEnum):
    """Subject of a mail; `application.mail_texts` has the text of each."""

    CONFIRM_REGISTRATION = "confirm_registration"
    ALREADY_REGISTERED = "already_registered"
    CONFIRM_ADDRESS = "confirm_address"
    RESET_PASSWORD = "reset_password"
    NO_ACCOUNT = "no_account"
    PASSWORD_CHANGED = "password_changed"
    EMAIL_CHANGED = "email_changed"
    NEW_SIGN_IN = "new_sign_in"
    FACTOR_ADDED = "factor_added"
    FACTOR_REMOVED = "factor_removed"
    ACCOUNT_LOCKED = "account_locked"
    ACCOUNT_UNLOCKED = "account_unlocked"
    PORTFOLIO_SHARED = "portfolio_shared"
    DELETION_SCHEDULED = "deletion_scheduled"
    DELETION_CANCELLED = "deletion_cancelled"


@attrs.frozen
class Mail:
    """Mail that is to be sent.

    Attributes:
        to: Address of the recipient, as `normalize_email` returns it.
        facts: What its text mentions, by name; may hold the secret of a link.
        expires: Time after which it is dropped, such as the end of its link.
        attempts: Number of times that its delivery was begun.
    """

    id: UUID
    kind: MailKind
    to: str = attrs.field(repr=False)
    facts: Mapping[str, str] = attrs.field(repr=False)
    created: datetime
    expires: datetime
    attempts: int = 0
