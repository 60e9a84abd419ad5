"""Sessions of browsers: tokens stay on the server, the browser holds an unguessable cookie."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import attrs
from cryptography.fernet import Fernet, InvalidToken

from rebalancer_app.gateway.client import Client
from rebalancer_app.gateway.tokens import Tokens
from rebalancer_app.gateway.users import Login

log = logging.getLogger("rebalancer_app")


@attrs.define(eq=False, repr=False)
class WebSessions:
    """All sessions of this process, by the digest of their cookie.

    Attributes:
        connect: Makes a client without a session, for sessions that were read from the file.
        secret: Seals the file.
        file: Where sessions outlast a restart; None: nowhere.
        most: Most sessions; the oldest one gives way.
    """

    connect: Callable[[], Client]
    secret: bytes = b""
    file: Path | None = None
    most: int = 10_000
    _held: dict[str, Tokens] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._read()

    def open(self, client: Client, login: Login) -> tuple[str, Tokens]:
        """Return the cookie of a new session, and the session."""
        cookie = secrets.token_urlsafe(32)
        session = self._add(_digest(cookie), client, login.refresh_token, login.refresh_expires)
        session.take(login)
        if len(self._held) > self.most:
            self._held.pop(next(iter(self._held)))
        self._write()
        return cookie, session

    def find(self, cookie: str | None) -> Tokens | None:
        """Return the session of a cookie; None for an unknown one."""
        session = None if not cookie else self._held.get(_digest(cookie))
        if session is not None and session.expires <= datetime.now(UTC):
            session.ended()
            return None
        return session

    def _add(self, digest: str, client: Client, refresh: str, expires: datetime) -> Tokens:
        session = Tokens(client, refresh, expires, self._write, ended=lambda: self._forget(digest))
        self._held[digest] = session
        return session

    def _forget(self, digest: str) -> None:
        if self._held.pop(digest, None) is not None:
            self._write()

    def _fernet(self) -> Fernet:
        key = hmac.digest(self.secret, b"sessions of browsers", "sha256")
        return Fernet(base64.urlsafe_b64encode(key))

    def _read(self) -> None:
        """Read the sessions of the time before a restart; a damaged file counts as empty."""
        if self.file is None or not self.file.exists():
            return
        try:
            held = json.loads(self._fernet().decrypt(self.file.read_bytes()))
        except (InvalidToken, ValueError, OSError):
            log.warning("the file of sessions cannot be read; people have to sign in again")
            return
        for digest, (refresh, expires) in held.items():
            self._add(digest, self.connect(), refresh, datetime.fromisoformat(expires))

    def _write(self) -> None:
        if self.file is None:
            return
        held = {
            digest: (one.refresh, one.expires.isoformat()) for digest, one in self._held.items()
        }
        sealed = self._fernet().encrypt(json.dumps(held).encode())
        fresh = self.file.with_suffix(".new")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(sealed)
        fresh.replace(self.file)


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
