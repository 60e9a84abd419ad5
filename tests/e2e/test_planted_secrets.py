"""No secret is in the log, the audit trail or an error, not even at debug level."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pyotp
import pytest
import trustme
from sqlalchemy import make_url

from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.migrations import upgrade
from tests.adapters.test_mail_servers import Inbox, check_login, serving
from tests.contracts.databases import new_database
from tests.e2e.conftest import Running, until

EMAIL = "ada@example.org"
PASSWORDS = ("planted first password", "planted second password", "planted third password")
WRONG = "planted wrong password"
KEY, OLD_KEY = "Planted0Key-" + uuid4().hex, "Planted0OldKey-" + uuid4().hex
SMTP_LOGIN = "ada%40x:s%2Fcret%3A@"
PROPOSABLE = {"name": "Pension", "targets": {"AAPL": 1}, "cash": "1000"}


@contextmanager
def role_with_password(url: str, password: str) -> Iterator[str]:
    """Yield the URL of a database for a new role that owns it."""
    role = f"planted_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        operator.execute(f"GRANT ALL ON SCHEMA public TO {role}")
    try:
        own = make_url(url).set(username=role, password=password)
        yield own.render_as_string(hide_password=False)
    finally:
        with psycopg.connect(url, autocommit=True) as operator:
            operator.execute(f"DROP OWNED BY {role} CASCADE")
            operator.execute(f"DROP ROLE {role}")


class Client:
    """Client that remembers which secrets it has sent or got, and each answer that is an error."""

    def __init__(self, running: Running, inbox: Inbox) -> None:
        self._client, self._inbox = running.client(), inbox
        self.secrets: set[str] = {*PASSWORDS, WRONG, KEY, OLD_KEY}
        self.errors: list[str] = []
        self.token = ""

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = self._client.request(method, path, json=body, headers=headers, **options)
        hands_out_a_ticket = "second_factor_required" in answer.text
        if answer.status_code >= 400 and not hands_out_a_ticket:
            self.errors.append(answer.text)
        for name in ("access_token", "refresh_token", "device_token", "ticket", "secret", "key"):
            found = re.search(rf'"{name}":"([^"]+)"', answer.text)
            if found:
                self.secrets.add(found[1])
        return answer.json() if answer.content and answer.text.startswith(("{", "[")) else answer

    def close(self) -> None:
        self._client.close()

    def sign_in(self, password: str) -> Any:
        self.token = ""
        return self.ask("POST", "/api/users/login", {"email": EMAIL, "password": password})

    def mailed_token(self, path: str) -> str:
        """Wait for a mail with a link, and return the secret in it."""
        found: list[str] = []

        def arrived() -> bool:
            for envelope, _ in self._inbox.received:
                text = message_from_bytes(envelope.content, policy=default).get_content()
                found.extend(re.findall(rf"{path}#?\S*token=([A-Za-z0-9_-]+)", text))
            return bool(found)

        until(arrived)
        self.secrets.add(found[-1])
        return found[-1]


def walk_through_all_flows(client: Client) -> None:
    """Register, sign in, add factors, change and reset the password; make each mistake."""
    registration = {"email": EMAIL, "password": PASSWORDS[0], "name": "Ada"}
    assert client.ask("POST", "/api/users/register", registration) == {"status": "check_mail"}
    client.ask("POST", "/api/users/register", registration | {"passwort": WRONG})
    token = client.mailed_token("/confirm-email")
    client.ask("POST", "/api/users/email/verify", {"token": token})
    client.ask("POST", "/api/users/email/verify", {"token": token})
    client.sign_in(WRONG)
    login = client.sign_in(PASSWORDS[0])
    client.token = login["access_token"]
    portfolio = client.ask("POST", "/api/portfolios", PROPOSABLE)
    client.ask("POST", "/api/rebalance/predict", {"portfolio_id": portfolio["id"]})
    key = client.ask("POST", "/api/users/api-keys", {"name": "Report", "scopes": ["read"]})
    client.token = key["key"]
    client.ask("GET", "/api/portfolios")
    client.ask("POST", "/api/portfolios", PROPOSABLE)
    client.token = login["access_token"]
    secret = client.ask("POST", "/api/users/totp")["secret"]
    code = pyotp.TOTP(secret).now()
    codes = client.ask("POST", "/api/users/totp/confirm", {"code": code})["recovery_codes"]
    client.secrets.update(codes)
    for proof in ({"recovery_code": "planted-wrong-code"}, {"recovery_code": codes[0]}):
        ticket = client.sign_in(PASSWORDS[0])["ticket"]
        login = client.ask("POST", "/api/users/login/second-factor", {"ticket": ticket} | proof)
    client.token = login["access_token"]
    changed = {"current_password": PASSWORDS[0], "new_password": PASSWORDS[1]}
    client.ask("POST", "/api/users/password", changed)
    client.ask("POST", "/api/users/password", changed)
    client.ask("POST", "/api/users/password/forgotten", {"email": EMAIL})
    token = client.mailed_token("/reset-password")
    for _ in range(2):
        reset = {"token": token, "new_password": PASSWORDS[2]}
        client.token = ""
        client.ask("POST", "/api/users/password/reset", reset)
    client.ask("POST", "/api/users/refresh", {"refresh_token": login["refresh_token"]})
    # Secrets where they do not belong.
    client.ask("GET", f"/api/portfolios?token={PASSWORDS[0]}")
    client.ask("POST", "/api/users/login", {"email": PASSWORDS[0], "password": [PASSWORDS[1]]})
    client.ask("POST", "/api/users/refresh", {"refresh_token": 7, "token": PASSWORDS[0]})
    for token in (KEY, f"{login['access_token']}x", "planted.jwt.token"):
        client.token = token
        client.ask("GET", "/api/users/profile")


def spellings(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {secret, quote(secret, safe=""), encoded}


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # the connection begins with TLS
def test_no_secret_is_logged_recorded_or_quoted(
    serve: Callable[..., Running], postgres_url: str, tmp_path: Any
) -> None:
    authority, inbox = trustme.CA(), Inbox()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    mail = {"authenticator": check_login, "auth_required": True, "auth_require_tls": False}
    database_password = f"planted{uuid4().hex}"
    with (
        new_database(postgres_url) as administrated,
        role_with_password(administrated, database_password) as url,
        serving(inbox, ssl_context=context, **mail) as port,
    ):
        engine = connect(url)
        upgrade(engine)
        engine.dispose()
        running = serve(
            env={
                "REBALANCER_DATABASE_URL": url,
                "REBALANCER_SECRET_KEY": KEY,
                "REBALANCER_SECRET_KEYS_OLD": OLD_KEY,
                "REBALANCER_SMTP_URL": f"smtps://{SMTP_LOGIN}localhost:{port}?ca={ca}",
                "REBALANCER_MAIL_FROM": "no-reply@example.org",
                "REBALANCER_PUBLIC_URL": "https://app.example.org",
                "REBALANCER_LOG_LEVEL": "debug",
                "REBALANCER_LOGIN_LIMIT": "0",
            }
        )
        client = Client(running, inbox)
        client.secrets |= {database_password, "s/cret:"}
        walk_through_all_flows(client)
        with psycopg.connect(administrated) as operator:
            events = operator.execute("SELECT * FROM audit_events").fetchall()
            hashes = operator.execute("SELECT password FROM users").fetchall()
            operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with psycopg.connect(postgres_url, autocommit=True) as operator:
            name = make_url(url).database
            operator.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
            client.token = ""
            client.sign_in(PASSWORDS[2])  # fails: 503
            operator.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
        assert running.stop() == 0
        client.close()
    actions = {event[2] for event in events}
    assert actions >= {"register", "login", "login_refused", "api_key_created", "totp_enabled"}
    assert actions >= {"second_factor_refused", "password_changed", "password_reset"}
    client.secrets |= {found for (found,) in hashes}
    assert len(client.secrets) > 15
    log = running.log.read_text(encoding="utf-8")
    assert {"/api/users/login", "/api/users/password/reset"} <= {
        line.get("path") for line in running.lines
    }
    assert any("database" in line["logger"] for line in running.lines)  # the outage was logged
    for place, text in (("log", log), ("audit", str(events)), ("errors", "\n".join(client.errors))):
        for secret in client.secrets:
            assert not [one for one in spellings(secret) if one in text], (place, secret)
        assert EMAIL not in text, place
