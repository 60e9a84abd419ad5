"""API keys of a user: create, list, revoke and recognise them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from rebalancer.application.account_notices import notify
from rebalancer.application.accounts import load_account
from rebalancer.application.audit import record
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.sessions import require_recent
from rebalancer.domain.accounts.api_keys import (
    LONGEST_LIFETIME,
    MOST_KEYS,
    ApiKey,
    Scope,
    has_valid_checksum,
    order_scopes,
)
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, InvalidRequest, NotAuthenticated, Unavailable
from rebalancer.domain.text import check_line


@attrs.frozen
class CreateApiKey:
    """Create an API key."""

    work: UnitOfWork
    tokens: Tokens

    def __call__(
        self,
        bearer: Bearer,
        *,
        name: str,
        scopes: Iterable[Scope],
        lifetime: timedelta,
        id: UUID,
        now: datetime,
    ) -> tuple[ApiKey, str]:
        """Return what is stored, and the key itself, which is not.

        Raises:
            InvalidRequest: the name is empty, or the lifetime too long.
            Conflict: the user has as many keys as allowed.
            ReauthenticationRequired: the last proof of identity is too old.
        """
        check_line(name, field="name")
        name = unicodedata.normalize("NFC", name).strip()
        if not name:
            raise InvalidRequest(
                "the name is blank; enter what the key is for", field="name", code="invalid_name"
            )
        if not timedelta(0) < lifetime <= LONGEST_LIFETIME:
            raise InvalidRequest(
                f"a key is valid for 1 to {LONGEST_LIFETIME.days} days",
                field="days",
                code="invalid_lifetime",
            )
        secret = self.tokens.create_api_key()
        key = ApiKey(
            id=id,
            owner=bearer.owner,
            name=name,
            scopes=order_scopes(scopes),
            digest=self.tokens.digest(secret),
            created=now,
            expires=now + lifetime,
        )
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            tx.users.lock(bearer.owner)
            if len(tx.api_keys.of_owner(bearer.owner)) >= MOST_KEYS:
                raise Conflict(
                    f"you have {MOST_KEYS} API keys, the maximum; revoke one first",
                    code="quota_reached",
                )
            tx.api_keys.add(key)
            user = load_account(tx, bearer.owner)
            notify(tx, user, MailKind.FACTOR_ADDED, now=now, factor=f"API key {name}")
            record(
                tx,
                Action.API_KEY_CREATED,
                at=now,
                actor=bearer.owner,
                target=f"api_key:{id}",
                details={"scopes": " ".join(key.scopes)},
            )
        return key, secret


@attrs.frozen
class ListApiKeys:
    """List the API keys of a user."""

    work: UnitOfWork

    def __call__(self, owner: UUID) -> list[ApiKey]:
        """Return the keys, also expired ones, the oldest first."""
        with self.work.read() as tx:
            return tx.api_keys.of_owner(owner)


@attrs.frozen
class RevokeApiKey:
    """Revoke an API key."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID, now: datetime) -> None:
        """Delete the key; it is refused from then on.

        Raises:
            NotFound: the user has no such key.
        """
        with self.work.begin() as tx:
            tx.api_keys.delete(id, owner=owner)
            record(tx, Action.API_KEY_REVOKED, at=now, actor=owner, target=f"api_key:{id}")


@attrs.frozen
class AuthenticateApiKey:
    """Recognise an API key."""

    work: UnitOfWork
    tokens: Tokens

    def __call__(self, text: str, *, now: datetime) -> tuple[Bearer, bool]:
        """Return the user and the scopes of a key, and whether `note_use` is due.

        Raises:
            NotAuthenticated: the key is mistyped, unknown, revoked or expired.
            NotAllowed: the account is disabled.
        """
        key = None
        if has_valid_checksum(text):
            with self.work.read() as tx:
                key = tx.api_keys.by_digest(self.tokens.digest(text))
                if key is not None and key.is_valid(now):
                    load_account(tx, key.owner).check_enabled()
        if key is None or not key.is_valid(now):
            raise NotAuthenticated(
                "the API key is invalid, revoked or expired; create a new one",
                code="api_key_invalid",
            )
        return Bearer(key.owner, key.id, frozenset(key.scopes)), key.is_use_due(now)

    def note_use(self, bearer: Bearer, *, now: datetime) -> None:
        """Store the time of the last use of a key; it is lost if the store cannot be written."""
        with suppress(Unavailable), self.work.begin() as tx:
            tx.api_keys.note_use(bearer.session, now)
