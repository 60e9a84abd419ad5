"""Notices: what writes and sends them, to mail addresses, webhooks and push services."""

from __future__ import annotations

from dishka import Provider, Scope, provide

from rebalancer.application.notice_delivery import DeliverNotices, SendToTarget
from rebalancer.application.notice_messages import NoticeWriter
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.keys import Keys
from rebalancer.application.ports.mail import MailServer
from rebalancer.application.ports.notices import PushServices, Webhooks
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.config import Settings


class NoticeProvider(Provider):
    """Clients of webhooks and push services, imported on demand, and the delivery of notices."""

    scope = Scope.APP

    @provide
    def webhooks(self, settings: Settings) -> Webhooks:
        from rebalancer.adapters.webhooks.http import HttpWebhooks
        from rebalancer.adapters.webhooks.networks import Networks

        return HttpWebhooks(Networks(settings.notice_networks))

    @provide
    def push(self, settings: Settings) -> PushServices:
        from rebalancer.adapters.webhooks.push import AppriseServices

        return AppriseServices(settings.notice_hosts)

    @provide
    def writer(self, keys: Keys, settings: Settings) -> NoticeWriter:
        return NoticeWriter(keys, settings.client_url)

    @provide
    def send(
        self, writer: NoticeWriter, webhooks: Webhooks, push: PushServices, clock: Clock
    ) -> SendToTarget:
        return SendToTarget(writer, webhooks, push, clock)

    @provide
    def deliver(
        self,
        work: UnitOfWork,
        server: MailServer,
        send: SendToTarget,
        clock: Clock,
        settings: Settings,
    ) -> DeliverNotices:
        return DeliverNotices(work, server if settings.sends_mail else None, send, clock)
