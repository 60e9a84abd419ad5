"""Texts of the mails to owners of accounts.

They quote nothing that strangers can enter, such as the name in a registration: a mail must not
carry the message of someone else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from rebalancer.application.ports.mail import Message
from rebalancer.domain.accounts.mail import Mail, MailKind

CONFIRM_PATH = "/confirm-email"
RESET_PATH = "/reset-password"
FORGOTTEN_PATH = "/forgotten-password"
"""Pages of the client, below the public address."""

SERVICE = "Rebalancer"


@attrs.frozen
class _Text:
    """Text of a kind of mail.

    Attributes:
        body: Paragraphs, with names of facts and of pages in braces.
        is_notice: Whether the recipient should act if the event was not expected.
    """

    subject: str
    body: str
    is_notice: bool = True


_NOT_YOU = (
    "If this was not you, reset your password now at {forgotten}. This signs out all devices."
)

_IGNORE = "If this was not you, ignore this message."

_TEXTS: Mapping[MailKind, _Text] = {
    MailKind.CONFIRM_REGISTRATION: _Text(
        "Confirm your e-mail address",
        "A new account was requested for this e-mail address. To create it, open this link within "
        "{validity}:\n\n{confirm}\n\n"
        f"{_IGNORE} No account is created unless the link is opened.",
        is_notice=False,
    ),
    MailKind.ALREADY_REGISTERED: _Text(
        "You already have an account",
        "A new account was requested for this e-mail address, which already has one. Nothing was "
        "changed.\n\nSign in with your password or your passkey. If you have forgotten the "
        f"password, reset it at {{forgotten}}.\n\n{_IGNORE}",
        is_notice=False,
    ),
    MailKind.CONFIRM_ADDRESS: _Text(
        "Confirm your e-mail address",
        "To use this e-mail address for your account, open this link within {validity}:\n\n"
        f"{{confirm}}\n\n{_IGNORE}",
        is_notice=False,
    ),
    MailKind.RESET_PASSWORD: _Text(
        "Reset your password",
        "To choose a new password, open this link within {validity}:\n\n{reset}\n\n"
        "The new password signs out all devices. Your second factor stays as it is.\n\n"
        f"{_IGNORE} Your password stays the same unless the link is opened.",
        is_notice=False,
    ),
    MailKind.NO_ACCOUNT: _Text(
        "No account with this e-mail address",
        "A new password was requested for this e-mail address, but no account uses it. If you "
        f"have an account, it was registered with another address.\n\n{_IGNORE}",
        is_notice=False,
    ),
    MailKind.PASSWORD_CHANGED: _Text(
        "Your password was changed",
        "The password of your account was changed on {time}. All other devices were signed out.",
    ),
    MailKind.EMAIL_CHANGED: _Text(
        "Your e-mail address was changed",
        "The e-mail address of your account was changed on {time}. Messages about the account now "
        "go to the new address.\n\nIf this was not you, contact the operator of the service.",
        is_notice=False,
    ),
    MailKind.NEW_SIGN_IN: _Text(
        "New sign-in to your account",
        "Your account was used on {time} from a device that was not known before:\n\n"
        "Network: {address}\nMethod: {method}",
    ),
    MailKind.FACTOR_ADDED: _Text(
        "A sign-in method was added",
        "On {time} this way to sign in was added to your account: {factor}.",
    ),
    MailKind.FACTOR_REMOVED: _Text(
        "A sign-in method was removed",
        "On {time} this way to sign in was removed from your account: {factor}.",
    ),
    MailKind.ACCOUNT_LOCKED: _Text(
        "Your account was locked",
        "An operator locked your account on {time}. All devices were signed out. To have it "
        "unlocked, contact the operator of the service.",
        is_notice=False,
    ),
    MailKind.ACCOUNT_UNLOCKED: _Text(
        "Your account was unlocked",
        "An operator unlocked your account on {time}. You can sign in again.",
        is_notice=False,
    ),
    MailKind.PORTFOLIO_SHARED: _Text(
        "A portfolio was shared",
        "One of your portfolios was shared with another person on {time}. Once the invitation is "
        "accepted, that person can read it. You can withdraw it in the settings of the portfolio.",
    ),
    MailKind.DELETION_SCHEDULED: _Text(
        "Your account will be deleted",
        "The deletion of your account was requested on {time}. The account and all its data will "
        "be erased on {date}. To keep the account, sign in before that day: this cancels the "
        "deletion.",
    ),
    MailKind.DELETION_CANCELLED: _Text(
        "Your account will not be deleted",
        "The deletion of your account was cancelled on {time}. Nothing was erased.",
    ),
}

_LINK = frozenset({"token", "validity"})

FACTS: Mapping[MailKind, frozenset[str]] = {
    MailKind.CONFIRM_REGISTRATION: _LINK,
    MailKind.CONFIRM_ADDRESS: _LINK,
    MailKind.RESET_PASSWORD: _LINK,
    MailKind.NEW_SIGN_IN: frozenset({"address", "method"}),
    MailKind.FACTOR_ADDED: frozenset({"factor"}),
    MailKind.FACTOR_REMOVED: frozenset({"factor"}),
    MailKind.DELETION_SCHEDULED: frozenset({"date"}),
}
"""Facts that a mail needs; kinds that are missing need none."""

_Page = Callable[[str], str]


def write_message(mail: Mail, public_url: str) -> Message:
    """Write the text of a mail, with links to pages below the public address of the client.

    The secret of a link stands in its fragment, which browsers send to no server.
    """
    text = _TEXTS[mail.kind]
    root = public_url.rstrip("/")
    token = mail.facts.get("token", "")
    facts = {name: mail.facts.get(name, "unknown") for name in FACTS.get(mail.kind, ())}
    facts |= {
        "time": mail.created.strftime("%d %B %Y at %H:%M UTC"),
        "forgotten": f"{root}{FORGOTTEN_PATH}",
        "confirm": f"{root}{CONFIRM_PATH}#token={token}",
        "reset": f"{root}{RESET_PATH}#token={token}",
    }
    body = f"{text.body}\n\n{_NOT_YOU}" if text.is_notice else text.body
    return Message(
        id=mail.id,
        to=mail.to,
        subject=f"{SERVICE}: {text.subject}",
        text=f"{body.format_map(facts)}\n\n-- \n{SERVICE}, {root}\n",
        created=mail.created,
    )
