"""Mail: over SMTP if a server is configured, else on standard error."""

from __future__ import annotations

from dishka import Provider, Scope, provide

from rebalancer.application.account_mails import AccountPolicy
from rebalancer.application.mail_delivery import DeliverMail
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.mail import MailServer
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.config import Settings


class MailProvider(Provider):
    """Mail server, delivery of mails, and what accounts must confirm."""

    scope = Scope.APP

    @provide
    def policy(self, settings: Settings) -> AccountPolicy:
        return AccountPolicy(settings.sends_mail, settings.verifies_email, settings.terms_version)

    @provide
    def server(self, settings: Settings) -> MailServer:
        if settings.smtp_url is None:
            from rebalancer.adapters.mail.console import ConsoleMail

            return ConsoleMail()
        from rebalancer.adapters.mail.smtp import SmtpServer

        settings.check_mail()
        assert settings.mail_from is not None
        return SmtpServer(settings.smtp_url, settings.mail_from)

    @provide
    def deliver(
        self, work: UnitOfWork, server: MailServer, clock: Clock, settings: Settings
    ) -> DeliverMail:
        return DeliverMail(work, server, clock, settings.client_url)
