"""Mails over SMTP (RFC 5321), encrypted unless configured otherwise."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from email.headerregistry import Address, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

import attrs
import idna

from rebalancer.application.ports.mail import Delivery, MailServerDown, Message, Outcome

TIMEOUT = 10.0
"""Seconds to wait for each answer of the server."""


class _Verbatim(UnstructuredHeader):
    """Header that is sent as it is: other long texts without blanks are encoded (RFC 2047)."""

    name: str

    def fold(self, *, policy: Policy) -> str:
        """Return the line."""
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _Verbatim)  # type: ignore[arg-type]  # a base is added

_POLICY = SMTP.clone(header_factory=_HEADERS)


@attrs.frozen
class SmtpServer:
    """Mail server that takes mails for any address.

    ``smtps`` begins with TLS; ``smtp`` requires STARTTLS, so that no one on the way can remove it,
    unless the URL ends with ``?tls=off``. Certificates are checked against the authorities of this
    machine, or those of ``?ca=FILE``.

    Attributes:
        url: Such as ``smtps://user:password@mail.example.org:465``.
        sender: Address in ``From``, with or without a name.
        timeout: Seconds to wait for each answer.
    """

    url: str = attrs.field(repr=False)
    sender: str
    timeout: float = TIMEOUT

    def send(self, message: Message) -> Delivery:
        """See `MailServer.send`."""
        try:
            server = self._connect()
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise MailServerDown(_describe(error)) from None
        try:
            delivery = self._send(server, self.compose(message))
        except (OSError, smtplib.SMTPServerDisconnected) as error:
            server.close()
            raise MailServerDown(_describe(error)) from None
        with suppress(OSError, smtplib.SMTPException):  # the answer counts, not the farewell
            server.quit()
        server.close()
        return delivery

    def compose(self, message: Message) -> EmailMessage:
        """Return a message as it is sent: plain text, with headers that stop automatic replies."""
        name, address = parseaddr(self.sender)
        sender, recipient = _address(address, name), _address(message.to)
        composed = EmailMessage(policy=_POLICY)
        composed["From"] = sender
        composed["To"] = recipient
        composed["Subject"] = message.subject
        composed["Date"] = message.created
        composed["Message-ID"] = f"<{message.id}@{sender.domain}>"
        composed["Auto-Submitted"] = "auto-generated"
        if message.unsubscribe:  # RFC 8058
            composed["List-Unsubscribe"] = f"<{message.unsubscribe}>"
            composed["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        composed.set_content(message.text)
        return composed

    def _connect(self) -> smtplib.SMTP:
        place = urlsplit(self.url)
        options = parse_qs(place.query)
        host = place.hostname or "localhost"
        context = ssl.create_default_context(cafile=options.get("ca", [None])[-1])
        server: smtplib.SMTP
        if place.scheme == "smtps":
            server = smtplib.SMTP_SSL(
                host, place.port or 465, timeout=self.timeout, context=context
            )
        else:
            server = smtplib.SMTP(host, place.port or 587, timeout=self.timeout)
        try:
            if place.scheme == "smtp" and options.get("tls") != ["off"]:
                server.starttls(context=context)
            if place.username:
                server.login(unquote(place.username), unquote(place.password or ""))
        except BaseException:
            server.close()
            raise
        return server

    def _send(self, server: smtplib.SMTP, composed: EmailMessage) -> Delivery:
        try:
            server.send_message(composed)
        except smtplib.SMTPRecipientsRefused as error:
            ((code, _),) = error.recipients.values()
            return _delivery(code)
        except smtplib.SMTPResponseException as error:
            return _delivery(error.smtp_code)
        except smtplib.SMTPNotSupportedError:
            return Delivery(Outcome.REFUSED, "the server takes no address in other scripts")
        return Delivery(Outcome.SENT)


def _delivery(code: int) -> Delivery:
    """Return what a status code means; the text of the server may quote the address."""
    if code == 421:  # RFC 5321, section 3.8: the server closes the connection
        raise MailServerDown("the mail server takes no mail now (421)")
    outcome = Outcome.REFUSED if code >= 500 else Outcome.DEFERRED
    return Delivery(outcome, f"status {code}")


def _address(text: str, name: str = "") -> Address:
    """Return an address with its domain in ASCII, as most servers need it."""
    local, _, host = text.rpartition("@")
    domain = host if host.isascii() else idna.encode(host, uts46=True).decode()
    return Address(name, username=local, domain=domain)


def _describe(error: Exception) -> str:
    """Describe why the server cannot be used, without addresses and passwords."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "the mail server rejects the user or the password; see REBALANCER_SMTP_URL"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "the mail server does not offer STARTTLS, or no way to log in that is known"
    if isinstance(error, ssl.SSLError):
        return f"no encrypted connection to the mail server: {error.reason or 'it failed'}"
    if isinstance(error, (TimeoutError, smtplib.SMTPServerDisconnected)):
        return "the mail server did not answer in time, or closed the connection"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server takes no mail (status {error.smtp_code})"
    return f"no connection to the mail server: {type(error).__name__}"
