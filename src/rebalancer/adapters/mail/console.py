"""Mails on standard error, for development."""

from __future__ import annotations

import sys

from rebalancer.application.ports.mail import Delivery, Message, Outcome


class ConsoleMail:
    """Prints each mail, also the secrets of its links, in place of sending it."""

    def send(self, message: Message) -> Delivery:
        rule = "-" * 72
        text = f"{rule}\nTo: {message.to}\nSubject: {message.subject}\n\n{message.text}{rule}\n"
        sys.stderr.write(text)
        return Delivery(Outcome.SENT)
