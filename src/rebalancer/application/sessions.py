"""Sessions: start, end and refresh them, and ask for a recent proof of identity."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from uuid import UUID

import attrs

from rebalancer.application.ports.accounts import Revocations, Tokens
from rebalancer.application.ports.store import Transaction
from rebalancer.domain.accounts.sessions import Bearer, Session, reauthentication_required
from rebalancer.domain.portfolio.owner import RefreshToken, User


@attrs.frozen
class Login:
    """Access token and refresh secret of a user, with the ends of their validity."""

    user: User
    session: Session
    access: str = attrs.field(repr=False)
    access_ends: datetime
    refresh: str = attrs.field(repr=False)
    refresh_ends: datetime


def issue_login(
    tx: Transaction, tokens: Tokens, user: User, *, session_id: UUID, method: str, now: datetime
) -> Login:
    """Start a session of a user who has proved an identity, and return its tokens.

    Raises:
        NotAllowed: the account is disabled.
    """
    user.check_enabled()
    session = Session.start(session_id, user.id, method, now)
    tx.sessions.add(session)
    tx.tokens.delete_expired(now, owner=user.id)
    return issue_tokens(tx, tokens, user, session, now)


def issue_tokens(
    tx: Transaction, tokens: Tokens, user: User, session: Session, now: datetime
) -> Login:
    """Return new tokens of a session."""
    access, access_ends = tokens.create_access_token(user.id, session.id, now, until=session.ends)
    secret, ends = tokens.create_refresh_secret(), session.refresh_ends(now)
    tx.tokens.add(RefreshToken(tokens.digest(secret), session.id, user.id, now, ends))
    return Login(user, session, access, access_ends, secret, ends)


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
    """End the sessions of a user, but for one; return how many were active."""
    ended = [session for session in tx.sessions.active(owner, now) if session.id != except_]
    for session in ended:
        end_session(tx, revocations, session, now)
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
