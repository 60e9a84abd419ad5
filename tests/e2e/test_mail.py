"""A person registers and recovers from a stolen password by mail, while servers fail."""

from __future__ import annotations

import re
import signal
from collections import Counter
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd.controller import Controller

from tests.e2e.conftest import until
from tests.survival.system import free_port

EMAIL, STOLEN, NEW = "ada@example.org", "four words that leaked", "four words that are secret"


class Inbox:
    """Handler of a mail server that keeps what it gets."""

    def __init__(self):
        self.messages = []

    async def handle_DATA(self, server, session, envelope):
        self.messages.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"

    def token(self, subject):
        """Return the token of the latest mail with a subject; None without one."""
        texts = [one.get_content() for one in self.messages if subject in one["Subject"]]
        return re.search("#token=(.+)", texts[-1])[1].strip() if texts else None


@pytest.fixture
def inbox():
    """Return an inbox whose server has not started yet, and its port."""
    found = Inbox()
    controller = Controller(found, hostname="127.0.0.1", port=free_port())
    yield found, controller
    if controller.loop.is_running():
        controller.stop()


def test_person_recovers_from_a_stolen_password(serve, inbox):
    received, controller = inbox
    env = {
        "REBALANCER_SMTP_URL": f"smtp://127.0.0.1:{controller.port}?tls=off",
        "REBALANCER_MAIL_FROM": "Rebalancer <no-reply@example.org>",
        "REBALANCER_PUBLIC_URL": "https://app.example.org",
    }
    first = serve("--upgrade", env=env)
    credentials = {"email": EMAIL, "password": STOLEN}
    with first.client() as client:
        asked = client.post("/api/users/register", json=credentials)
        assert (asked.status_code, asked.json()) == (202, {"status": "check_mail"})
        until(lambda: "cannot send mail" in first.log.read_text(), first.process)
    first.stop(signal.SIGKILL)

    controller.start()
    second = serve(env=env)
    with second.client() as client:
        until(lambda: received.token("Confirm") is not None, second.process)
        token = received.token("Confirm")
        confirmed = client.post("/api/users/email/verify", json={"token": token})
        assert confirmed.json() == {"email": EMAIL}
        thief = client.post("/api/users/login", json=credentials).json()
        client.post("/api/users/password/forgotten", json={"email": EMAIL})
        until(lambda: received.token("Reset") is not None, second.process)
        body = {"token": received.token("Reset"), "new_password": NEW}
        assert client.post("/api/users/password/reset", json=body).status_code == 204
        until(lambda: any("changed" in one["Subject"] for one in received.messages))
        headers = {"Authorization": f"Bearer {thief['access_token']}"}
        assert client.get("/api/users/profile", headers=headers).status_code == 401
        refreshed = client.post(
            "/api/users/refresh", json={"refresh_token": thief["refresh_token"]}
        )
        assert refreshed.status_code == 401
        assert client.post("/api/users/login", json=credentials).status_code == 401
        login = client.post("/api/users/login", json=credentials | {"password": NEW})
        assert login.status_code == 200
    assert second.stop() == 0
    assert set(Counter(one["Message-ID"] for one in received.messages).values()) == {1}
    logged = first.log.read_text() + second.log.read_text()
    for secret in (token, body["token"], STOLEN, NEW, EMAIL):
        assert secret not in logged
