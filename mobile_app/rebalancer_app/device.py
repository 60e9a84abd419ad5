"""A phone or a computer of a person: its server, its sign-in, and what unlocks it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

import attrs
import httpx

from rebalancer_app.gateway import users
from rebalancer_app.gateway.client import Client, Endpoint
from rebalancer_app.gateway.problems import Offline, Problem
from rebalancer_app.gateway.tokens import Tokens
from rebalancer_app.gateway.users import Credentials, Login

_LOGIN, _DEVICE = "rebalancer.login", "rebalancer.device"
_DEVICE_HEADER = "Device-Token"
_LONG = timedelta(days=3650)


class SecretStore(Protocol):
    """The key store of the platform."""

    async def get(self, name: str) -> str | None:
        """Return a secret; None without one."""

    async def set(self, name: str, secret: str) -> None:
        """Store a secret."""

    async def remove(self, name: str) -> None:
        """Remove a secret, if it is there."""


class Owner(Protocol):
    """Asks for the finger, the face or the code of the owner of the device."""

    async def confirm(self, reason: str) -> bool:
        """Return whether it is the owner; True where the device cannot ask."""


class WrongAddress(Exception):
    """The typed address cannot be used."""


@attrs.define
class MemorySecrets:
    """Keeps secrets until the app ends, where the platform has no key store."""

    held: dict[str, str] = attrs.field(factory=dict, repr=False)

    async def get(self, name: str) -> str | None:
        """See `SecretStore.get`."""
        return self.held.get(name)

    async def set(self, name: str, secret: str) -> None:
        """See `SecretStore.set`."""
        self.held[name] = secret

    async def remove(self, name: str) -> None:
        """See `SecretStore.remove`."""
        self.held.pop(name, None)


@attrs.frozen
class NoQuestion:
    """Accepts every person as the owner, where the device cannot ask."""

    async def confirm(self, reason: str) -> bool:
        """See `Owner.confirm`."""
        return True


@attrs.define(eq=False, repr=False)
class Device:
    """Signs a person in on this device; the refresh token is in the key store alone.

    Attributes:
        secrets: The key store.
        owner: Asked before a login of an earlier start is used.
        transport: Carries the requests; None: the network.
        address: Of the server that was used last; empty before the first sign-in.
    """

    secrets: SecretStore
    owner: Owner
    transport: httpx.AsyncBaseTransport | None = None
    address: str = ""
    _tokens: Tokens | None = attrs.field(default=None, init=False)
    _writes: set[asyncio.Task[None]] = attrs.field(factory=set, init=False)

    async def restore(self, reason: str) -> Client | None:
        """Return the connection of an earlier sign-in; None without one, or if it stays locked."""
        stored = await self.secrets.get(_LOGIN)
        if stored is None:
            return None
        try:
            login = json.loads(stored)
            address, refresh = str(login["address"]), str(login["refresh"])
        except (ValueError, KeyError, TypeError):
            await self.secrets.remove(_LOGIN)
            return None
        self.address = address
        if not await self.owner.confirm(reason):
            return None
        return self._connect(address, refresh, datetime.now(UTC) + _LONG)

    async def is_locked(self) -> bool:
        """Return whether there is a sign-in that the owner can unlock."""
        return await self.secrets.get(_LOGIN) is not None

    async def sign_in(self, address: str, email: str, password: str) -> Client:
        """Sign in with a password and return the connection.

        Raises:
            WrongAddress: the address cannot be used.
            Problem: the server refuses; ``second_factor_required`` has a ``ticket`` for `confirm`.
            Offline: the server cannot be reached.
        """
        self.address = check_address(address)
        return await self._enter(users.LOG_IN, Credentials(email, password))

    async def confirm(self, ticket: str, code: str) -> Client:
        """Give the second step of a sign-in: a code of an authenticator app, or a recovery code.

        Raises:
            As `sign_in`.
        """
        typed = code.strip()
        is_code = typed.replace(" ", "").isdigit() and len(typed.replace(" ", "")) <= 8
        body = {"ticket": ticket, ("code" if is_code else "recovery_code"): typed}
        return await self._enter(users.SECOND_FACTOR, body)

    async def sign_out(self) -> None:
        """End the login here and, if it can be reached, at the server."""
        await self.secrets.remove(_LOGIN)
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            try:
                await tokens.sign_out()
            except (Problem, Offline):
                return

    async def settle(self) -> None:
        """Wait until renewed tokens are stored."""
        await asyncio.gather(*self._writes)

    async def _enter(self, endpoint: Endpoint[Login], body: Any) -> Client:
        known = await self.secrets.get(_DEVICE)
        headers: Mapping[str, str] = {_DEVICE_HEADER: known} if known else {}
        unsigned = Client(self.address, transport=self.transport)
        login = (await unsigned.call(endpoint, body, headers=headers)).data
        if login.device_token is not None:
            await self.secrets.set(_DEVICE, login.device_token)
        client = self._connect(self.address, login.refresh_token, login.refresh_expires)
        assert self._tokens is not None
        self._tokens.take(login)
        await self._store(login.refresh_token)
        return client

    def _connect(self, address: str, refresh: str, expires: datetime) -> Client:
        unsigned = Client(address, transport=self.transport)
        self._tokens = Tokens(unsigned, refresh, expires, self._changed, self._ended)
        return Client(address, tokens=self._tokens, transport=self.transport)

    def _changed(self) -> None:
        if self._tokens is not None:
            self._later(self._store(self._tokens.refresh))

    def _ended(self) -> None:
        self._later(self.secrets.remove(_LOGIN))

    def _later(self, write: Any) -> None:
        task = asyncio.get_running_loop().create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _store(self, refresh: str) -> None:
        await self.secrets.set(_LOGIN, json.dumps({"address": self.address, "refresh": refresh}))


def check_address(typed: str) -> str:
    """Return the address of a server as typed, with its scheme and without a path.

    Plain HTTP is for servers on this device or in a private network.

    Raises:
        WrongAddress: the address cannot be used.
    """
    text = typed.strip()
    parts = urlsplit(text if "://" in text else f"https://{text}")
    try:
        port = parts.port
    except ValueError:
        raise WrongAddress from None
    host = parts.hostname or ""
    if not host or parts.path.strip("/") or parts.query or parts.username or " " in host:
        raise WrongAddress
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_near(host)):
        raise WrongAddress
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")


def _is_near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False
