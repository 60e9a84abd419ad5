"""Passkeys of a user: add, list, rename and remove them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.account_notices import notify
from rebalancer.application.accounts import load_account
from rebalancer.application.audit import record
from rebalancer.application.factors import (
    CHALLENGE_LIFETIME,
    TakeChallenge,
    first_recovery_codes,
    remove_factor,
)
from rebalancer.application.one_time import create_one_time
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.factors import FactorCodes, NewCredential, PasskeyCeremonies
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.sessions import require_recent
from rebalancer.domain.accounts.factors import MOST_PASSKEYS, Passkey, check_passkey_name
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, NotAuthenticated

_CREATION = "passkey_creation"
"""Purpose of the one-time token that is the challenge of a user's new passkey."""


@attrs.frozen
class StartPasskey:
    """Begin to add a passkey to the account of a user."""

    work: UnitOfWork
    tokens: Tokens
    ceremonies: PasskeyCeremonies

    def __call__(self, bearer: Bearer, *, now: datetime) -> Mapping[str, Any]:
        """Return the options with which a client creates the passkey.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
            Conflict: the user has too many passkeys.
            NotFound: passkeys are not set up on this service.
        """
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            user = load_account(tx, bearer.owner)
            known = tx.passkeys.of_owner(user.id)
            check_room(known)
            challenge = create_one_time(
                tx, self.tokens, _CREATION, user.id, CHALLENGE_LIFETIME, {}, now
            )
            return self.ceremonies.creation_options(
                challenge, user=user.id, email=user.email, name=user.name, exclude=known
            )


@attrs.frozen
class AddPasskey:
    """Add a passkey to the account of a user."""

    work: UnitOfWork
    tokens: Tokens
    codes: FactorCodes
    ceremonies: PasskeyCeremonies
    take_challenge: TakeChallenge

    def __call__(
        self, bearer: Bearer, *, name: str, credential: Mapping[str, Any], id: UUID, now: datetime
    ) -> tuple[Passkey, tuple[str, ...]]:
        """Return the new passkey, and recovery codes unless some are left.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
            InvalidRequest: the name is invalid, or the credential cannot be verified.
            NotAuthenticated: the challenge is invalid, or another user's.
            Conflict: the user has too many passkeys, or the passkey is registered already.
        """
        name = check_passkey_name(name)
        with self.work.read() as tx:
            require_recent(tx, bearer, now)
        answer = self.take_challenge(credential, _CREATION, now=now)
        if answer.token.owner != bearer.owner:
            raise NotAuthenticated(
                "the challenge belongs to another user; start again", code="challenge_invalid"
            )
        new = self.ceremonies.register(credential, answer.claimed.challenge)
        passkey = passkey_of(new, id=id, owner=bearer.owner, name=name, now=now)
        with self.work.begin() as tx:
            user = load_account(tx, bearer.owner)
            check_room(tx.passkeys.of_owner(bearer.owner))
            tx.passkeys.add(passkey)
            record(tx, Action.PASSKEY_ADDED, at=now, actor=bearer.owner, target=f"passkey:{id}")
            notify(tx, user, MailKind.FACTOR_ADDED, now=now, factor=_described(passkey))
            codes = first_recovery_codes(tx, self.tokens, self.codes, bearer.owner, now)
        return passkey, codes


@attrs.frozen
class ListPasskeys:
    """List the passkeys of a user."""

    work: UnitOfWork

    def __call__(self, owner: UUID) -> list[Passkey]:
        """Return the passkeys, oldest first."""
        with self.work.read() as tx:
            return tx.passkeys.of_owner(owner)


@attrs.frozen
class RenamePasskey:
    """Rename a passkey of a user."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID, name: str, now: datetime) -> Passkey:
        """Return the renamed passkey.

        Raises:
            InvalidRequest: the name is invalid.
            NotFound: the user has no such passkey.
        """
        name = check_passkey_name(name)
        with self.work.begin() as tx:
            passkey = attrs.evolve(tx.passkeys.get(id, owner=owner), name=name)
            tx.passkeys.save(passkey)
            record(tx, Action.PASSKEY_RENAMED, at=now, actor=owner, target=f"passkey:{id}")
        return passkey


@attrs.frozen
class RemovePasskey:
    """Remove a passkey of a user."""

    work: UnitOfWork

    def __call__(self, id: UUID, bearer: Bearer, *, now: datetime) -> None:
        """Remove the passkey.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
            NotFound: the user has no such passkey.
            Conflict: the user could not sign in any more, or only with a short password.
        """
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            user = load_account(tx, bearer.owner)
            passkey = tx.passkeys.get(id, owner=user.id)
            tx.passkeys.delete(id)
            remove_factor(tx, user, now)
            record(tx, Action.PASSKEY_REMOVED, at=now, actor=user.id, target=f"passkey:{id}")
            notify(tx, user, MailKind.FACTOR_REMOVED, now=now, factor=_described(passkey))


def passkey_of(new: NewCredential, *, id: UUID, owner: UUID, name: str, now: datetime) -> Passkey:
    """Return the passkey of a verified credential."""
    return Passkey(
        id=id,
        owner=owner,
        credential=new.id,
        public_key=new.public_key,
        sign_count=new.sign_count,
        name=name,
        transports=new.transports,
        backed_up=new.backed_up,
        created=now,
    )


def add_first_passkey(tx: Transaction, passkey: Passkey, now: datetime) -> None:
    """Store the passkey of a new account."""
    tx.passkeys.add(passkey)
    target = f"passkey:{passkey.id}"
    record(tx, Action.PASSKEY_ADDED, at=now, actor=passkey.owner, target=target)


def document_of_passkey(passkey: Passkey) -> Mapping[str, Any]:
    """Return what is stored of a passkey whose account is not confirmed yet."""
    return {
        "id": str(passkey.id),
        "credential": passkey.credential.hex(),
        "public_key": passkey.public_key.hex(),
        "sign_count": passkey.sign_count,
        "name": passkey.name,
        "transports": list(passkey.transports),
        "backed_up": passkey.backed_up,
    }


def passkey_from(document: Mapping[str, Any], owner: UUID, now: datetime) -> Passkey:
    """Return the passkey of a document, whose account is confirmed now."""
    return Passkey(
        id=UUID(document["id"]),
        owner=owner,
        credential=bytes.fromhex(document["credential"]),
        public_key=bytes.fromhex(document["public_key"]),
        sign_count=document["sign_count"],
        name=document["name"],
        transports=tuple(document["transports"]),
        backed_up=document["backed_up"],
        created=now,
    )


def _described(passkey: Passkey) -> str:
    return f"passkey {passkey.name}"


def check_room(known: list[Passkey]) -> None:
    """Raise Conflict if a user has as many passkeys as one may have."""
    if len(known) >= MOST_PASSKEYS:
        raise Conflict(
            f"there are {MOST_PASSKEYS} passkeys already; remove one first",
            code="too_many_passkeys",
        )
