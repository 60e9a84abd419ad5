"""Tokens of browsers: renewed once, sealed in a file, ended everywhere."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fake_server import EMAIL, PASSWORD, FakeServer
from starlette.websockets import WebSocket

from rebalancer_app.gateway import users
from rebalancer_app.gateway.client import Client
from rebalancer_app.gateway.problems import SignedOut
from rebalancer_app.gateway.users import Credentials
from rebalancer_app.state import AppState
from rebalancer_app.web.server import fresh_window
from rebalancer_app.web.sessions import WebSessions


def connect(server):
    return lambda: Client("http://localhost", transport=httpx.ASGITransport(server), pause=0)


async def sign_in(server, sessions):
    client = connect(server)()
    login = (await client.call(users.LOG_IN, Credentials(EMAIL, PASSWORD))).data
    return sessions.open(client, login)


def test_many_callers_renew_an_old_token_once():
    async def scenario():
        server = FakeServer(seconds=10)  # it counts as old from the beginning
        _, session = await sign_in(server, WebSessions(connect(server)))
        server.seconds = 600
        tokens = await asyncio.gather(*(session.access() for _ in range(20)))
        assert set(tokens) == {"access-2"}
        assert await asyncio.gather(*(session.renew("access-2") for _ in range(20))) == (
            ["access-3"] * 20
        )
        assert server.refreshes == 2

    asyncio.run(scenario())


def test_a_login_that_has_ended_is_forgotten(tmp_path):
    async def scenario():
        server = FakeServer()
        sessions = WebSessions(connect(server), b"secret", tmp_path / "sessions")
        cookie, session = await sign_in(server, sessions)
        server.refresh.clear()
        with pytest.raises(SignedOut):
            await session.renew(session.access_token)
        assert sessions.find(cookie) is None
        assert WebSessions(connect(server), b"secret", tmp_path / "sessions").find(cookie) is None

    asyncio.run(scenario())


def test_sessions_outlast_a_restart_under_seal(tmp_path):
    async def scenario():
        server, file = FakeServer(), tmp_path / "state" / "sessions"
        cookie, _ = await sign_in(server, WebSessions(connect(server), b"secret", file))
        assert file.stat().st_mode & 0o777 == 0o600
        stored = file.read_bytes()
        assert cookie.encode() not in stored and b"refresh-1" not in stored
        found = WebSessions(connect(server), b"secret", file).find(cookie)
        assert found is not None and "refresh" not in repr(found).replace("refresh=", "")
        assert await found.access() == "access-2"
        again = WebSessions(connect(server), b"secret", file).find(cookie)
        assert again.refresh == "refresh-2"  # the renewed token was stored

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", [b"", b"no token", None])
def test_a_damaged_file_counts_as_empty(tmp_path, damage, caplog):
    async def scenario():
        server, file = FakeServer(), tmp_path / "sessions"
        cookie, _ = await sign_in(server, WebSessions(connect(server), b"secret", file))
        if damage is None:
            restarted = WebSessions(connect(server), b"another secret", file)
        else:
            file.write_bytes(damage)
            restarted = WebSessions(connect(server), b"secret", file)
        assert restarted.find(cookie) is None
        assert "cannot be read" in caplog.text
        fresh, _ = await sign_in(server, restarted)
        assert restarted.find(fresh) is not None

    asyncio.run(scenario())


def test_an_expired_session_is_not_found():
    async def scenario():
        server = FakeServer(days=-1)
        sessions = WebSessions(connect(server))
        cookie, session = await sign_in(server, sessions)
        assert session.expires < datetime.now(UTC) - timedelta(hours=1)
        assert sessions.find(cookie) is None
        assert sessions.find("") is sessions.find(None) is None

    asyncio.run(scenario())


def test_the_oldest_session_gives_way():
    async def scenario():
        server = FakeServer()
        sessions = WebSessions(connect(server), most=2)
        cookies = [(await sign_in(server, sessions))[0] for _ in range(3)]
        assert [sessions.find(one) is None for one in cookies] == [True, False, False]

    asyncio.run(scenario())


def test_signing_out_ends_the_login_at_the_server():
    async def scenario():
        server = FakeServer()
        sessions = WebSessions(connect(server))
        cookie, session = await sign_in(server, sessions)
        await session.sign_out()
        assert sessions.find(cookie) is None
        assert server.refresh == set()

    asyncio.run(scenario())


def test_a_connection_never_finds_the_window_of_another():
    scope = {"type": "websocket", "path": "/ws", "headers": [(b"host", b"localhost")]}
    socket = WebSocket(scope, None, None)
    assert fresh_window(socket).url.path != fresh_window(socket).url.path


def test_a_log_of_the_state_shows_neither_the_server_nor_tokens():
    async def scenario():
        server = FakeServer()
        sessions = WebSessions(connect(server))
        _, session = await sign_in(server, sessions)
        state = repr(AppState(Client("http://localhost", tokens=session)))
        assert len(state) < 100
        assert session.access_token not in state

    asyncio.run(scenario())
