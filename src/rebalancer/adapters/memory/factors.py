"""Passkeys, secrets of authenticator apps and recovery codes in memory."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.not_found import require
from rebalancer.domain.accounts.factors import Passkey, PasskeyTaken, RecoveryCode, TotpSecret


@attrs.frozen
class MemoryPasskeys:
    rows: dict[UUID, Passkey]

    def add(self, passkey: Passkey) -> None:
        if self.by_credential(passkey.credential) is not None:
            raise PasskeyTaken("this passkey is registered already; sign in with it")
        self.rows[passkey.id] = passkey

    def get(self, id: UUID, *, owner: UUID) -> Passkey:
        found = self.rows.get(id)
        return require(found if found and found.owner == owner else None, "passkey", id)

    def by_credential(self, credential: bytes) -> Passkey | None:
        return next((one for one in self.rows.values() if one.credential == credential), None)

    def of_owner(self, owner: UUID) -> list[Passkey]:
        mine = [passkey for passkey in self.rows.values() if passkey.owner == owner]
        return sorted(mine, key=lambda passkey: (passkey.created, passkey.id))

    def save(self, passkey: Passkey) -> None:
        require(self.rows.get(passkey.id), "passkey", passkey.id)
        self.rows[passkey.id] = passkey

    def delete(self, id: UUID) -> None:
        self.rows.pop(id, None)

    def delete_all(self, owner: UUID) -> None:
        for passkey in self.of_owner(owner):
            del self.rows[passkey.id]


@attrs.frozen
class MemoryTotpSecrets:
    rows: dict[UUID, TotpSecret]

    def get(self, owner: UUID) -> TotpSecret | None:
        return self.rows.get(owner)

    def save(self, totp: TotpSecret) -> None:
        self.rows[totp.owner] = totp

    def delete(self, owner: UUID) -> None:
        self.rows.pop(owner, None)


@attrs.frozen
class MemoryRecoveryCodes:
    rows: dict[tuple[UUID, str], RecoveryCode]

    def replace(self, owner: UUID, digests: Collection[str], now: datetime) -> None:
        for key in [key for key in self.rows if key[0] == owner]:
            del self.rows[key]
        self.rows.update(((owner, one), RecoveryCode(owner, one, now)) for one in digests)

    def use(self, owner: UUID, digest: str, now: datetime) -> bool:
        code = self.rows.get((owner, digest))
        if code is None or code.used is not None:
            return False
        self.rows[owner, digest] = attrs.evolve(code, used=now)
        return True

    def unused(self, owner: UUID) -> int:
        return sum(code.owner == owner and code.used is None for code in self.rows.values())
