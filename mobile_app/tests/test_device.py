"""Signing in on a device: its key store, its lock, and the address of its server."""

import asyncio
import json

import attrs
import httpx
import pytest
from fake_server import CODE, EMAIL, PASSWORD, FakeServer, Flaky

from rebalancer_app.device import (
    Device,
    MemorySecrets,
    NoQuestion,
    WrongAddress,
    check_address,
)
from rebalancer_app.gateway import users
from rebalancer_app.gateway.problems import Offline, Problem, SignedOut
from rebalancer_app.platform import (
    PlatformOwner,
    PlatformSecrets,
    platform_owner,
    platform_secrets,
)

ADDRESS = "https://server.example"


@attrs.define
class Someone:
    """Answers for the owner of the device."""

    agrees: bool = True
    asked: list[str] = attrs.field(factory=list)

    async def confirm(self, reason):
        self.asked.append(reason)
        return self.agrees


def device_for(server, secrets=None, owner=None):
    return Device(
        MemorySecrets() if secrets is None else secrets,
        owner or NoQuestion(),
        Flaky(httpx.ASGITransport(server)),
    )


def test_the_refresh_token_is_in_the_key_store_alone():
    async def scenario():
        server, secrets = FakeServer(), MemorySecrets()
        device = device_for(server, secrets)
        client = await device.sign_in("server.example", EMAIL, PASSWORD)
        stored = json.loads(secrets.held["rebalancer.login"])
        assert stored == {"address": ADDRESS, "refresh": "refresh-1"}
        assert "access-1" not in str(secrets.held)
        assert "refresh-1" not in repr(device) and "refresh-1" not in repr(secrets)
        assert (await client.call(users.PROFILE)).data.name == "Ada"

    asyncio.run(scenario())


def test_a_later_start_asks_for_the_owner():
    async def scenario():
        server, secrets, owner = FakeServer(), MemorySecrets(), Someone()
        await device_for(server, secrets).sign_in(ADDRESS, EMAIL, PASSWORD)
        device = device_for(server, secrets, owner)
        assert await device.is_locked()
        client = await device.restore("unlock it")
        assert owner.asked == ["unlock it"]
        assert device.address == ADDRESS
        assert (await client.call(users.PROFILE)).data.name == "Ada"
        await device.settle()
        assert json.loads(secrets.held["rebalancer.login"])["refresh"] == "refresh-2"

    asyncio.run(scenario())


def test_another_person_stays_out():
    async def scenario():
        server, secrets = FakeServer(), MemorySecrets()
        await device_for(server, secrets).sign_in(ADDRESS, EMAIL, PASSWORD)
        device = device_for(server, secrets, Someone(agrees=False))
        assert await device.restore("unlock it") is None
        assert server.refreshes == 0
        assert await device.is_locked()  # the owner can try again

    asyncio.run(scenario())


@pytest.mark.parametrize("stored", [None, "", "{", "[]", '{"address": "x"}'])
def test_the_owner_is_not_asked_without_a_stored_login(stored):
    async def scenario():
        owner, secrets = Someone(), MemorySecrets()
        if stored is not None:
            await secrets.set("rebalancer.login", stored)
        assert await device_for(FakeServer(), secrets, owner).restore("unlock it") is None
        assert owner.asked == []
        assert await secrets.get("rebalancer.login") is None

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [CODE, f" {CODE} ", f"x-{CODE}"])
def test_the_second_step_makes_the_device_known(code):
    async def scenario():
        server = FakeServer(second_step=True)
        device = device_for(server)
        with pytest.raises(Problem) as caught:
            await device.sign_in(ADDRESS, EMAIL, PASSWORD)
        ticket = caught.value.members["ticket"]
        if code.startswith("x"):
            with pytest.raises(SignedOut):
                await device.confirm(ticket, code)
            return
        await device.confirm(ticket, code)
        assert device.secrets.held["rebalancer.device"] == "device-1"
        server.second_step = False
        await device.sign_in(ADDRESS, EMAIL, PASSWORD)
        assert server.requests[-1][2]["device-token"] == "device-1"

    asyncio.run(scenario())


@pytest.mark.parametrize("offline", [False, True])
def test_signing_out_ends_the_login_here_and_at_the_server(offline):
    async def scenario():
        server, secrets = FakeServer(), MemorySecrets()
        device = device_for(server, secrets)
        await device.sign_in(ADDRESS, EMAIL, PASSWORD)
        device.transport.failures = 9 if offline else 0
        await device.sign_out()
        await device.settle()
        assert "rebalancer.login" not in secrets.held
        assert bool(server.refresh) == offline
        await device.sign_out()

    asyncio.run(scenario())


def test_a_login_that_was_ended_elsewhere_is_removed():
    async def scenario():
        server, secrets = FakeServer(), MemorySecrets()
        device = device_for(server, secrets)
        client = await device.sign_in(ADDRESS, EMAIL, PASSWORD)
        server.access.clear()
        server.refresh.clear()
        with pytest.raises(SignedOut):
            await client.call(users.PROFILE)
        await device.settle()
        assert not await device.is_locked()

    asyncio.run(scenario())


def test_a_server_out_of_reach_is_offline():
    async def scenario():
        device = device_for(FakeServer())
        device.transport.failures = 9
        with pytest.raises(Offline):
            await device.sign_in(ADDRESS, EMAIL, PASSWORD)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        (" server.example/ ", "https://server.example"),
        ("https://server.example:8443", "https://server.example:8443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://192.168.1.5:8000", "http://192.168.1.5:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses_are_completed(typed, address):
    assert check_address(typed) == address


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "https://",
        "http://server.example",
        "http://8.8.8.8",
        "ftp://server.example",
        "https://ada:pw@server.example",
        "server.example/app",
        "https://server.example?x=1",
        "two words.example",
        "server.example:port",
    ],
)
def test_other_addresses_are_refused(typed):
    with pytest.raises(WrongAddress):
        check_address(typed)


@attrs.define
class Storage:
    """A key store as `flet_secure_storage` has it."""

    held: dict = attrs.field(factory=dict)

    async def get(self, name):
        return self.held.get(name)

    async def set(self, name, value):
        self.held[name] = value

    async def remove(self, name):
        self.held.pop(name, None)


def test_the_key_store_of_the_platform():
    async def scenario():
        secrets = PlatformSecrets(Storage())
        assert await secrets.get("a") is None
        await secrets.set("a", "1")
        assert await secrets.get("a") == "1"
        await secrets.remove("a")
        assert await secrets.get("a") is None

    asyncio.run(scenario())


class Refusal(Exception):
    def __init__(self, code):
        self.code = type("Code", (), {"name": code})


@attrs.define
class Authentication:
    """A lock as `flet_local_auth` has it."""

    supported: bool = True
    result: object = True

    async def is_device_supported(self):
        return self.supported

    async def authenticate(self, reason):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("lock", "opened"),
    [
        (Authentication(), True),
        (Authentication(result=False), False),
        (Authentication(supported=False), True),
        (Authentication(result=Refusal("USER_CANCELED")), False),
        (Authentication(result=Refusal("BIOMETRIC_LOCKOUT")), False),
        (Authentication(result=Refusal("NO_CREDENTIALS_SET")), True),
        (Authentication(result=RuntimeError("broken")), False),
    ],
)
def test_the_lock_of_the_platform(lock, opened):
    assert asyncio.run(PlatformOwner(lock).confirm("unlock it")) is opened


def test_builds_without_the_extensions_keep_the_login_in_memory_and_do_not_ask(monkeypatch):
    for name in ("flet_secure_storage", "flet_local_auth"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    assert isinstance(platform_secrets(), MemorySecrets)
    assert isinstance(platform_owner(True), NoQuestion)
    assert isinstance(platform_owner(False), NoQuestion)


def test_builds_with_the_extensions_use_them(monkeypatch):
    modules = __import__("sys").modules
    store = type("Module", (), {"SecureStorage": Storage})
    lock = type("Module", (), {"LocalAuthentication": Authentication})
    monkeypatch.setitem(modules, "flet_secure_storage", store)
    monkeypatch.setitem(modules, "flet_local_auth", lock)
    assert isinstance(platform_secrets(), PlatformSecrets)
    assert isinstance(platform_owner(True), PlatformOwner)
