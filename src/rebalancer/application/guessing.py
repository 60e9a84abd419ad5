"""Count attempts to log in, and recognise known devices."""

from __future__ import annotations

import hmac
from contextvars import ContextVar
from datetime import datetime
from operator import itemgetter
from uuid import UUID

import attrs

from rebalancer.application.audit import current_origin, record
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.keys import RATE_LIMITS, Keys
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.accounts.guessing import (
    ACCOUNT,
    FORGOTTEN,
    MOST_DEVICES,
    KnownDevice,
    Pace,
    networks_of,
)
from rebalancer.domain.audit.events import Action, Outcome

current_device: ContextVar[str | None] = ContextVar("current_device", default=None)
"""Token with which the client of this request shows that it has logged in before."""


@attrs.frozen
class CountAttempt:
    """Count an attempt to prove an identity by a password, before it is compared.

    Counts are in the store, so that processes share them. They are held under a digest: neither
    addresses nor the accounts that strangers try are stored.

    Attributes:
        networks: Whether networks are limited, too.
    """

    work: UnitOfWork
    tokens: Tokens
    keys: Keys
    networks: bool = True

    def __call__(self, owner: UUID | None, name: str, *, now: datetime) -> None:
        """Count an attempt on an account.

        On a device on which this user has logged in before, attempts are counted by themselves, so
        that strangers cannot lock the user out.

        Args:
            owner: The account; None if there is none of this name.
            name: What the client calls the account.
            now: Current time.

        Raises:
            TooManyAttempts: the client must wait, or log in by other means.
        """
        with self.work.read() as tx:  # a refused attempt takes no lock
            if trusted_device(tx, self.tokens, owner, now) is None:
                for key, pace in self._counted(owner, name):
                    found = tx.failures.find(key)
                    if found is not None:
                        found.add(pace, now)
        with self.work.begin() as tx:
            device = trusted_device(tx, self.tokens, owner, now)
            if device is not None:
                tx.devices.save(attrs.evolve(device, failures=device.failures + 1))
                return
            for key, pace in self._counted(owner, name):
                account = owner if pace is ACCOUNT else None
                failures = tx.failures.get(key, account, now).add(pace, now)
                tx.failures.save(failures)
                if account is not None and failures.count in (ACCOUNT.free + 1, ACCOUNT.most):
                    record(
                        tx,
                        Action.LOGIN_LOCKED,
                        at=now,
                        subject=account,
                        outcome=Outcome.REFUSED,
                        details={"attempts": str(int(failures.count))},
                    )

    def take_back(self, tx: Transaction, owner: UUID, *, now: datetime) -> None:
        """Take back the attempt of the networks, whose password was right."""
        if trusted_device(tx, self.tokens, owner, now, counted=1) is not None:
            return
        for key, pace in self._counted(owner, ""):
            if pace is not ACCOUNT:
                found = tx.failures.get(key, None, now)
                count = max(0.0, found.remaining(pace, now) - 1)
                tx.failures.save(attrs.evolve(found, count=count, last=now))

    def _counted(self, owner: UUID | None, name: str) -> list[tuple[str, Pace]]:
        """Return what an attempt is counted for, in one order for all transactions."""
        account = f"user:{owner}" if owner is not None else self._digest(f"account:{name}")
        counted = [(account, ACCOUNT)]
        if self.networks:
            address = current_origin.get().address
            counted += [(self._digest(network), pace) for network, pace in networks_of(address)]
        return sorted(counted, key=itemgetter(0))

    def _digest(self, text: str) -> str:
        key = self.keys.of(RATE_LIMITS)[0].value
        return hmac.digest(key, text.encode(errors="surrogatepass"), "sha256").hex()


def trusted_device(
    tx: Transaction, tokens: Tokens, owner: UUID | None, now: datetime, *, counted: int = 0
) -> KnownDevice | None:
    """Return the device of this request if the user has logged in on it before.

    Attempts of this request that are ``counted`` already do not make it unknown.
    """
    presented = current_device.get()
    if presented is None or owner is None:
        return None
    device = tx.devices.find(tokens.digest(presented))
    return device if device is not None and device.is_trusted(owner, now, counted) else None


def forgive_failures(tx: Transaction, tokens: Tokens, owner: UUID, now: datetime) -> bool:
    """Take back failures after a proof of identity; return whether the device is known.

    A proof on a known device says nothing about the attempts of others. It takes back their
    failures only once they have stopped.
    """
    device = trusted_device(tx, tokens, owner, now, counted=1)
    if device is None:
        tx.failures.clear(owner)
        return False
    tx.devices.save(attrs.evolve(device, used=now, failures=0))
    failed = tx.failures.find(f"user:{owner}")
    if failed is not None and now - failed.last > FORGOTTEN:
        tx.failures.clear(owner)
    return True


def note_device(tx: Transaction, tokens: Tokens, owner: UUID, now: datetime) -> str:
    """Remember the device of a login; return the token with which it shows this later."""
    for oldest in tx.devices.of_owner(owner)[MOST_DEVICES - 1 :]:
        tx.devices.delete(oldest.digest)
    secret = tokens.create_refresh_secret()
    tx.devices.save(KnownDevice(tokens.digest(secret), owner, now, now))
    return secret
