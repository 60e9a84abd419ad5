"""Events of the audit trail, and where their requests came from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Self
from uuid import UUID

import attrs

LONGEST_DETAIL = 200
"""Most characters of a detail or of a target."""


class Outcome(StrEnum):
    """What became of an attempt."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Action(StrEnum):
    """What was done, with the words that people read.

    Attributes:
        text: Description for the person whose account it is about.
    """

    text: str

    def __new__(cls, value: str, text: str) -> Self:
        """Create a member from its stored name and its description."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member

    # Accounts.
    REGISTER = "register", "Account registered"
    EMAIL_CHANGED = "email_changed", "E-mail address changed"
    EMAIL_VERIFIED = "email_verified", "E-mail address confirmed"
    PASSWORD_CHANGED = "password_changed", "Password changed"
    PASSWORD_RESET = "password_reset", "Password reset by a mailed link"
    PASSWORD_RESET_REQUESTED = "password_reset_requested", "Link to reset the password requested"
    PASSWORD_CHANGE_REFUSED = "password_change_refused", "Password change refused"
    TERMS_ACCEPTED = "terms_accepted", "Terms accepted"
    RISK_ASSESSED = "risk_assessed", "Risk questionnaire answered"
    ACCOUNT_EXPORTED = "account_exported", "All data of the account exported"
    ACCOUNT_IMPORTED = "account_imported", "Data of another installation imported"
    DELETION_REQUESTED = "deletion_requested", "Deletion of the account requested"
    DELETION_CANCELLED = "deletion_cancelled", "Deletion of the account cancelled"
    ACCOUNT_DELETED = "account_deleted", "Account deleted"

    # Sign-ins and sessions.
    LOGIN = "login", "Signed in"
    LOGIN_REFUSED = "login_refused", "Sign-in refused"
    LOGIN_LOCKED = "login_locked", "Sign-in locked for a while after too many failures"
    SECOND_FACTOR_REFUSED = "second_factor_refused", "Second step of a sign-in refused"
    REAUTHENTICATED = "reauthenticated", "Identity confirmed again"
    REAUTHENTICATION_REFUSED = "reauthentication_refused", "Confirmation of identity refused"
    REFRESH_REUSED = "refresh_reused", "Session ended because its token was used twice"
    LOGOUT = "logout", "Signed out"
    SESSION_ENDED = "session_ended", "Session ended"
    SESSIONS_ENDED = "sessions_ended", "All other sessions ended"

    # Factors and API keys.
    PASSKEY_ADDED = "passkey_added", "Passkey added"
    PASSKEY_RENAMED = "passkey_renamed", "Passkey renamed"
    PASSKEY_REMOVED = "passkey_removed", "Passkey removed"
    TOTP_ENABLED = "totp_enabled", "Authenticator app added"
    TOTP_DISABLED = "totp_disabled", "Authenticator app removed"
    RECOVERY_CODES_CREATED = "recovery_codes_created", "New recovery codes created"
    RECOVERY_CODE_USED = "recovery_code_used", "Recovery code used"
    API_KEY_CREATED = "api_key_created", "API key created"
    API_KEY_REVOKED = "api_key_revoked", "API key revoked"

    # Portfolios and proposals.
    PORTFOLIO_OPENED = "portfolio_opened", "Portfolio opened"
    PORTFOLIO_CHANGED = "portfolio_changed", "Settings of a portfolio changed"
    PORTFOLIO_CLOSED = "portfolio_closed", "Portfolio closed"
    PORTFOLIO_SHARED = "portfolio_shared", "Portfolio shared"
    PORTFOLIO_UNSHARED = "portfolio_unshared", "Sharing of a portfolio ended"
    SHARE_ACCEPTED = "share_accepted", "Shared portfolio accepted"
    SHARE_LEFT = "share_left", "Shared portfolio declined or given up"
    CORRECTION_RECORDED = "correction_recorded", "Ledger entry corrected"
    STATEMENT_IMPORTED = "statement_imported", "Statement imported"
    IMPORT_UNDONE = "import_undone", "Import of a statement undone"
    FLOWS_PLANNED = "flows_planned", "Planned deposits and withdrawals changed"
    MODEL_CREATED = "model_created", "Model portfolio created"
    MODEL_RENAMED = "model_renamed", "Model portfolio renamed"
    MODEL_PUBLISHED = "model_published", "Version of a model portfolio published"
    MODEL_DELETED = "model_deleted", "Model portfolio deleted"
    MODEL_FOLLOWED = "model_followed", "Portfolio follows a model"
    MODEL_UNFOLLOWED = "model_unfollowed", "Portfolio no longer follows a model"
    GOALS_SET = "goals_set", "Goals of a portfolio changed"
    PROPOSAL_ACCEPTED = "proposal_accepted", "Proposal accepted"
    PROPOSAL_REJECTED = "proposal_rejected", "Proposal rejected"
    PROPOSAL_CANCELLED = "proposal_cancelled", "Proposal cancelled"
    PROPOSAL_RECORDED = "proposal_recorded", "Execution of a proposal recorded"
    ALERTS_CHANGED = "alerts_changed", "Alerts of a portfolio changed"
    AUTOMATION_CHANGED = "automation_changed", "Automatic proposals of a portfolio changed"
    AUTOMATION_STOPPED = "automation_stopped", "Automation stopped"
    AUTOMATION_RESUMED = "automation_resumed", "Automation resumed"
    AUTOMATIC_PROPOSAL = "automatic_proposal", "Automatic proposal made"
    AUTOMATION_REFUSED = "automation_refused", "Automatic proposal or acceptance refused"

    # Notices.
    NOTICE_CHOICES_CHANGED = "notice_choices_changed", "Choice of notices changed"
    NOTICES_UNSUBSCRIBED = "notices_unsubscribed", "Mails with notices ended by a link"
    NOTICE_TARGET_ADDED = "notice_target_added", "Webhook or push service added"
    NOTICE_TARGET_REMOVED = "notice_target_removed", "Webhook or push service removed"

    # Operators.
    ACCOUNTS_LISTED = "accounts_listed", "Accounts listed by an operator"
    ACCOUNT_VIEWED = "account_viewed", "Account viewed by an operator"
    ACCOUNT_DISABLED = "account_disabled", "Account disabled"
    ACCOUNT_ENABLED = "account_enabled", "Account enabled"
    ACCOUNT_UNLOCKED = "account_unlocked", "Lock of sign-ins removed"
    ROLE_CHANGED = "role_changed", "Role changed"
    KEYS_ROTATED = "keys_rotated", "Encryption keys rotated"
    AUDIT_READ = "audit_read", "Audit trail read"
    AUDIT_CUT = "audit_cut", "Old events removed from the audit trail"


@attrs.frozen
class Origin:
    """Where a request came from.

    Attributes:
        via: ``http``, ``cli`` or ``worker``.
        address: IP address of the client.
        request: Id of the request, which log lines and answers carry, too.
        agent: Name that the client's program gave itself.
    """

    via: str = "worker"
    address: str | None = None
    request: str | None = None
    agent: str | None = None


def _read_only(given: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(given))


@attrs.frozen
class AuditEvent:
    """One line of the audit trail.

    It names accounts and objects by id, so that it holds no personal text but its origin's address
    and agent, which can be erased without breaking the chain.

    Attributes:
        at: Time of the event.
        action: Value of an `Action`, perhaps of a newer version.
        actor: Account that acted; None if it is unknown, or an operator at a terminal.
        subject: Account that the event is about.
        target: Object that was acted on, as ``kind:id``, such as ``portfolio:6b87...``.
        details: Further facts; never a secret, a hash, an address or a name.
    """

    id: UUID
    at: datetime
    action: str
    outcome: Outcome
    actor: UUID | None = None
    subject: UUID | None = None
    target: str | None = None
    origin: Origin = attrs.field(factory=Origin)
    details: Mapping[str, str] = attrs.field(factory=dict, converter=_read_only)

    def __attrs_post_init__(self) -> None:
        texts = (*self.details.values(), self.target or "")
        if too_long := [text for text in texts if len(text) > LONGEST_DETAIL]:
            raise ValueError(f"a text of an audit event has {len(too_long[0])} characters")
        if self.at.tzinfo is None:
            raise ValueError("the time of an audit event lacks a zone")
