"""Sessions: start, end and refresh them, and ask for a recent proof of identity."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import attrs

from rebalancer.application.account_notices import notify
from rebalancer.application.audit import current_origin, record
from rebalancer.application.guessing import forgive_failures, note_device
from rebalancer.application.ports.accounts import Revocations, Tokens
from rebalancer.application.ports.store import Transaction
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.sessions import (
    LONGEST_AGENT,
    Bearer,
    Session,
    prefix_of,
    reauthentication_required,
)
from rebalancer.domain.audit.events import Action
from rebalancer.domain.portfolio.owner import RefreshToken, User

RETRY_PERIOD = timedelta(seconds=10)
"""Time after the exchange of a refresh token in which the same client may repeat it."""

MOST_SESSIONS = 50
"""Active sessions of a user; a further one ends the one that was not used for longest."""


@attrs.frozen
class Login:
    """Access token and refresh secret of a user, with the ends of their validity.

    Attributes:
        device: Token of a device that is new; None for a known one.
        deletion_cancelled: Whether this login has cancelled the deletion of the account.
    """

    user: User
    session: Session
    access: str = attrs.field(repr=False)
    access_ends: datetime
    refresh: str = attrs.field(repr=False)
    refresh_ends: datetime
    device: str | None = attrs.field(default=None, repr=False)
    deletion_cancelled: bool = False


def issue_login(
    tx: Transaction, tokens: Tokens, user: User, *, session_id: UUID, method: str, now: datetime
) -> Login:
    """Start a session of a user who has proved an identity, and return its tokens.

    The user is read again and locked, so that no session starts while an operator disables the
    account.

    Raises:
        NotAllowed: the account is disabled.
    """
    user = tx.users.get(user.id)
    user.check_enabled()
    for oldest in tx.sessions.active(user.id, now)[MOST_SESSIONS - 1 :]:
        tx.sessions.save(attrs.evolve(oldest, ended=now))
        tx.tokens.revoke(oldest.id)
    session = seen_now(Session.start(session_id, user.id, method, now), now)
    tx.sessions.add(session)
    record(
        tx,
        Action.LOGIN,
        at=now,
        actor=user.id,
        target=f"session:{session_id}",
        details={"method": method},
    )
    tx.tokens.delete_expired(now, owner=user.id)
    cancelled = _cancel_deletion(tx, user, now)
    login = issue_tokens(tx, tokens, user, session, now)
    login = attrs.evolve(login, deletion_cancelled=cancelled)
    if forgive_failures(tx, tokens, user.id, now):
        return login
    if tx.devices.of_owner(user.id):
        place = session.address or "unknown"
        notify(tx, user, MailKind.NEW_SIGN_IN, now=now, address=place, method=method)
    return attrs.evolve(login, device=note_device(tx, tokens, user.id, now))


def _cancel_deletion(tx: Transaction, user: User, now: datetime) -> bool:
    """Cancel the deletion of an account whose owner has signed in; return whether there was one."""
    if not tx.deletions.remove(user.id):
        return False
    record(tx, Action.DELETION_CANCELLED, at=now, actor=user.id)
    notify(tx, user, MailKind.DELETION_CANCELLED, now=now)
    return True


def issue_tokens(
    tx: Transaction, tokens: Tokens, user: User, session: Session, now: datetime
) -> Login:
    """Return new tokens of a session."""
    access, access_ends = tokens.create_access_token(user.id, session.id, now, until=session.ends)
    secret, ends = tokens.create_refresh_secret(), session.refresh_ends(now)
    tx.tokens.add(RefreshToken(tokens.digest(secret), session.id, user.id, now, ends))
    return Login(user, session, access, access_ends, secret, ends)


def seen_now(session: Session, now: datetime) -> Session:
    """Return a session that is used now, from where the current request comes."""
    origin = current_origin.get()
    agent = (origin.agent or "")[:LONGEST_AGENT]
    return attrs.evolve(session, used=now, address=prefix_of(origin.address), agent=agent)


def repeats_exchange(tx: Transaction, session: Session, token: RefreshToken, now: datetime) -> bool:
    """Return whether a used token is presented again because its answer was lost.

    The same client, by network and agent, must present it within `RETRY_PERIOD`. The token of the
    lost answer then counts as used, so that a thief who has it is noticed all the same, and there
    is one repetition at most.
    """
    client = seen_now(session, session.used)
    if token.used is None or not client.address or client != session:
        return False
    successors = tx.tokens.unused(session.id)
    return (
        now - token.used <= RETRY_PERIOD
        and [one.issued for one in successors] == [token.used]
        and tx.tokens.mark_used(successors[0].digest, now)
    )


def end_session(tx: Transaction, revocations: Revocations, session: Session, now: datetime) -> None:
    """End a session; its access tokens are refused once the transaction has been committed."""
    if session.ended is None:
        tx.sessions.save(attrs.evolve(session, ended=now))
    tx.tokens.revoke(session.id)
    tx.after_commit.append(partial(revocations.revoke, session.id))


def end_sessions(
    tx: Transaction,
    revocations: Revocations,
    owner: UUID,
    *,
    except_: UUID | None = None,
    now: datetime,
) -> int:
    """End the sessions of a user, but for one; return how many were active.

    All devices are unknown afterwards, since a thief may have logged in on one of them.
    """
    ended = [session for session in tx.sessions.active(owner, now) if session.id != except_]
    for session in ended:
        end_session(tx, revocations, session, now)
    tx.devices.forget(owner)
    return len(ended)


def require_recent(tx: Transaction, bearer: Bearer, now: datetime) -> Session:
    """Return the session of a bearer who has proved an identity recently.

    Raises:
        ReauthenticationRequired: the last proof is too old.
    """
    session = tx.sessions.find(bearer.session)
    if session is None:
        raise reauthentication_required()
    session.check_recent(now)
    return session


def session_of(tx: Transaction, token: RefreshToken) -> Session:
    """Return the session of a refresh token, locked before the token is.

    A server of an earlier version, which may run at the same time, starts logins without one.
    """
    found = tx.sessions.find(token.family)
    if found is None:
        found = Session.start(token.family, token.owner, "password", token.issued)
        tx.sessions.add(found)
    return found
