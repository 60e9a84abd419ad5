"""Mail over SMTP against a real server, with its faults."""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from uuid import uuid4

import attrs
import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from rebalancer.adapters.mail.console import ConsoleMail
from rebalancer.adapters.mail.smtp import SmtpServer
from rebalancer.application.ports.mail import Delivery, MailServerDown, Message, Outcome

SENDER = "Rebalancer <no-reply@bücher.example>"


def a_message(to="ada@example.org", text="Open\n\nhttps://app.example.org/" + "x" * 90 + "\n"):
    now = datetime(2024, 3, 8, 22, 30, tzinfo=UTC)
    return Message(uuid4(), to, "Rebalancer: Confirm", text, now)


class Inbox:
    """Handler of a server that gives the configured answers.

    Attributes:
        answers: Replies by command, such as ``RCPT``.
    """

    def __init__(self, **answers):
        self.answers = answers
        self.received = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        envelope.rcpt_tos.append(address)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(self, server, session, envelope):
        answer = self.answers.get("DATA", "250 OK")
        if answer.startswith("250"):
            self.received.append((envelope, session))
        return answer


@contextmanager
def serving(inbox, **options):
    """Run a server on a free port; yield the port."""
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Return the certificate file of an authority, and the context of a server that it signed."""
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return path, context


def check_login(server, session, envelope, mechanism, data):
    right = (data.login, data.password) == (b"ada@x", b"s/cret:")
    return AuthResult(success=right, handled=False)


def test_mail_is_sent_as_plain_text_with_headers(authority):
    ca, context = authority
    inbox, message = Inbox(), a_message()
    with serving(inbox, tls_context=context, require_starttls=True) as port:
        server = SmtpServer(f"smtp://localhost:{port}?ca={ca}", SENDER)
        assert server.send(message) == Delivery(Outcome.SENT)
    ((envelope, session),) = inbox.received
    assert session.ssl is not None
    assert envelope.mail_from == "no-reply@xn--bcher-kva.example"
    assert envelope.rcpt_tos == ["ada@example.org"]
    read = message_from_bytes(envelope.content, policy=default)
    assert read["From"] == "Rebalancer <no-reply@xn--bcher-kva.example>"
    assert read["Subject"] == "Rebalancer: Confirm"
    assert read["Message-ID"] == f"<{message.id}@xn--bcher-kva.example>"
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["Date"].datetime == message.created
    assert read.get_content_type() == "text/plain"
    assert read.get_content().replace("\r\n", "\n") == message.text


def test_mail_with_notices_has_headers_to_end_such_mails(authority):
    ca, context = authority
    inbox, url = Inbox(), f"https://app.example.org/api/notices/unsubscribe?token={'aB-_' * 25}"
    message = attrs.evolve(a_message(), unsubscribe=url)
    with serving(inbox, tls_context=context) as port:
        assert SmtpServer(f"smtp://localhost:{port}?ca={ca}", SENDER).send(message)
    ((envelope, _),) = inbox.received
    # Not encoded or cut, as mail programs read the header by itself (RFC 8058, section 3.1).
    header = next(
        line
        for line in envelope.content.replace(b"\r\n ", b" ").splitlines()
        if line.lower().startswith(b"list-unsubscribe:")
    )
    assert header.split(b":", 1)[1].strip() == f"<{url}>".encode()
    read = message_from_bytes(envelope.content, policy=default)
    assert read["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert SmtpServer("smtp://localhost", SENDER).compose(a_message())["List-Unsubscribe"] is None


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # the connection begins with TLS
def test_mail_is_sent_over_tls_with_login(authority):
    ca, context = authority
    inbox = Inbox()
    login = {"authenticator": check_login, "auth_required": True, "auth_require_tls": False}
    with serving(inbox, ssl_context=context, **login) as port:
        url = f"smtps://ada%40x:s%2Fcret%3A@localhost:{port}?ca={ca}"
        assert SmtpServer(url, SENDER).send(a_message()).outcome is Outcome.SENT
        wrong = url.replace("s%2Fcret", "wrong")
        with pytest.raises(MailServerDown, match="rejects the user or the password") as raised:
            SmtpServer(wrong, SENDER).send(a_message())
    assert len(inbox.received) == 1
    assert "wrong" not in str(raised.value)


def test_addresses_in_other_scripts_are_sent(authority):
    ca, context = authority
    inbox = Inbox()
    with serving(inbox, tls_context=context) as port:
        server = SmtpServer(f"smtp://localhost:{port}?ca={ca}", SENDER)
        assert server.send(a_message("zoé@bücher.example")).outcome is Outcome.SENT
        assert server.send(a_message("ada@bücher.example")).outcome is Outcome.SENT
    assert [envelope.rcpt_tos for envelope, _ in inbox.received] == [
        ["zoé@xn--bcher-kva.example"],
        ["ada@xn--bcher-kva.example"],
    ]


def test_mail_is_sent_unencrypted_only_if_configured():
    inbox = Inbox()
    with serving(inbox) as port:
        with pytest.raises(MailServerDown, match="does not offer STARTTLS"):
            SmtpServer(f"smtp://localhost:{port}", SENDER).send(a_message())
        assert inbox.received == []
        off = SmtpServer(f"smtp://localhost:{port}?tls=off", SENDER)
        assert off.send(a_message()).outcome is Outcome.SENT


@pytest.mark.parametrize("kind", ["starttls", "tls"])
def test_certificate_of_an_unknown_authority_is_refused(authority, kind):
    _, context = authority
    inbox = Inbox()
    options = {"tls_context" if kind == "starttls" else "ssl_context": context}
    with serving(inbox, **options) as port:
        scheme = "smtp" if kind == "starttls" else "smtps"
        with pytest.raises(MailServerDown, match="CERTIFICATE_VERIFY_FAILED"):
            SmtpServer(f"{scheme}://localhost:{port}", SENDER).send(a_message())
    assert inbox.received == []


@pytest.mark.parametrize(
    ("answers", "delivery"),
    [
        ({"RCPT": "450 greylisted"}, Delivery(Outcome.DEFERRED, "status 450")),
        ({"RCPT": "550 no ada@example.org here"}, Delivery(Outcome.REFUSED, "status 550")),
        ({"DATA": "452 full"}, Delivery(Outcome.DEFERRED, "status 452")),
        ({"DATA": "554 spam"}, Delivery(Outcome.REFUSED, "status 554")),
    ],
)
def test_refusal_is_permanent_or_not_by_its_code(answers, delivery):
    inbox = Inbox(**answers)
    with serving(inbox) as port:
        server = SmtpServer(f"smtp://localhost:{port}?tls=off", SENDER)
        assert server.send(a_message()) == delivery
    assert inbox.received == []


def test_server_that_closes_down_takes_no_mail():
    with serving(Inbox(RCPT="421 closing")) as port, pytest.raises(MailServerDown, match="421"):
        SmtpServer(f"smtp://localhost:{port}?tls=off", SENDER).send(a_message())


def test_server_that_is_not_there_is_down():
    with pytest.raises(MailServerDown, match="ConnectionRefusedError"):
        SmtpServer(f"smtp://user:secret@localhost:{free_port()}", SENDER).send(a_message())


def test_server_that_hangs_is_left_after_the_timeout():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"smtp://localhost:{silent.getsockname()[1]}"
        with pytest.raises(MailServerDown, match="did not answer in time"):
            SmtpServer(url, SENDER, timeout=0.2).send(a_message())


def test_mail_is_printed_in_development(capsys):
    message = a_message()
    assert ConsoleMail().send(message).outcome is Outcome.SENT
    printed = capsys.readouterr().err
    assert message.to in printed
    assert message.subject in printed
    assert message.text in printed
