"""The key store and the lock of the platform, as far as this build includes them."""

from __future__ import annotations

import logging
from typing import Any

import attrs

from rebalancer_app.device import MemorySecrets, NoQuestion, Owner, SecretStore

log = logging.getLogger("rebalancer_app")


@attrs.frozen
class PlatformSecrets:
    """Keeps secrets in Keychain, Keystore or their like.

    Attributes:
        storage: A `flet_secure_storage.SecureStorage`.
    """

    storage: Any

    async def get(self, name: str) -> str | None:
        """See `SecretStore.get`."""
        found = await self.storage.get(name)
        return None if found is None else str(found)

    async def set(self, name: str, secret: str) -> None:
        """See `SecretStore.set`."""
        await self.storage.set(name, secret)

    async def remove(self, name: str) -> None:
        """See `SecretStore.remove`."""
        await self.storage.remove(name)


@attrs.frozen
class PlatformOwner:
    """Asks for finger, face or the code of the device.

    Attributes:
        authentication: A `flet_local_auth.LocalAuthentication`.
    """

    authentication: Any

    async def confirm(self, reason: str) -> bool:
        """See `Owner.confirm`; a device without any lock is not asked."""
        try:
            if not await self.authentication.is_device_supported():
                return True
            return bool(await self.authentication.authenticate(reason))
        except Exception as error:
            code = getattr(getattr(error, "code", None), "name", "")
            log.info("the owner was not confirmed: %s", code or type(error).__name__)
            return code == "NO_CREDENTIALS_SET"


def platform_secrets() -> SecretStore:
    """Return the key store of the platform; memory where the build lacks it."""
    try:
        from flet_secure_storage import SecureStorage
    except ImportError:
        return MemorySecrets()
    return PlatformSecrets(SecureStorage())


def platform_owner(has_lock: bool) -> Owner:
    """Return what asks for the owner; nothing where the platform or the build has no lock."""
    if not has_lock:
        return NoQuestion()
    try:
        from flet_local_auth import LocalAuthentication
    except ImportError:
        return NoQuestion()
    return PlatformOwner(LocalAuthentication())
