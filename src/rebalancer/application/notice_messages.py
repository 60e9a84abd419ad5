"""Messages with notices: mails, bodies of webhooks, and texts of push services."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

import attrs

from rebalancer.application.mail_texts import SERVICE
from rebalancer.application.notice_texts import write_notice
from rebalancer.application.ports.keys import Keys
from rebalancer.application.ports.mail import Message
from rebalancer.application.unsubscribing import UNSUBSCRIBE_PATH, write_token
from rebalancer.domain.notices.choices import Language, NoticeChoices, find_zone
from rebalancer.domain.notices.deliveries import NoticeDelivery
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.notices.notice import Notice

MOST_LISTED = 50
"""Notices that a mail or a push message lists; the app shows all."""

SETTINGS_PATH = "/settings/notices"
"""Page of the client where owners choose."""

SECRET_PREFIX = "whsec_"
"""Begins the secret of a webhook, as Standard Webhooks writes it."""

_WORDS: Mapping[Language, Mapping[str, str]] = {
    Language.ENGLISH: {
        "several": "{count} notices",
        "more": "{count} more are in the app: {root}",
        "settings": "Choose your notices: {settings}",
        "kind": "No more mails of this kind: {unsubscribe}",
        "all": "No more mails with notices: {unsubscribe}",
        "test": "Test",
        "test text": "This is a test. Notices of Rebalancer will arrive here.",
    },
    Language.GERMAN: {
        "several": "{count} Hinweise",
        "more": "{count} weitere stehen in der App: {root}",
        "settings": "Wählen Sie Ihre Hinweise: {settings}",
        "kind": "Keine Mails dieser Art mehr: {unsubscribe}",
        "all": "Keine Mails mit Hinweisen mehr: {unsubscribe}",
        "test": "Test",
        "test text": "Dies ist ein Test. Hinweise von Rebalancer werden hier ankommen.",
    },
}


@attrs.frozen
class NoticeWriter:
    """Writes messages with notices in the language of their owner.

    Attributes:
        keys: Sign the links that end mails.
        public_url: Address of the client, to which links lead.
    """

    keys: Keys
    public_url: str

    def mail(
        self, delivery: NoticeDelivery, notices: Sequence[Notice], to: str, choices: NoticeChoices
    ) -> Message:
        """Write a mail, whose headers and text let the reader end such mails."""
        words = _WORDS[choices.language]
        kinds = {notice.kind for notice in notices}
        kind = kinds.pop() if len(kinds) == 1 else None
        one_click = self._unsubscribe_url(delivery.owner, kind)
        rest = one_click if kind is None else self._unsubscribe_url(delivery.owner, None)
        foot = [words["settings"].format(settings=self._page(SETTINGS_PATH))]
        if kind is not None:
            foot.append(words["kind"].format(unsubscribe=one_click))
        foot.append(words["all"].format(unsubscribe=rest))
        title, text = self.push(notices, choices)
        return Message(
            id=delivery.id,
            to=to,
            subject=f"{SERVICE}: {title}",
            text="\n\n".join([text, "-- \n" + "\n".join(foot)]) + "\n",
            created=notices[0].created,
            unsubscribe=one_click,
        )

    def push(self, notices: Sequence[Notice], choices: NoticeChoices) -> tuple[str, str]:
        """Return title and text of a message."""
        words, zone = _WORDS[choices.language], find_zone(choices.zone)
        written = [write_notice(one, choices.language, zone) for one in notices[:MOST_LISTED]]
        title = written[0].title
        if len(notices) > 1:
            title = words["several"].format(count=len(notices))
        paragraphs = [
            f"{text.text}\n{self._page(notice.link)}"
            for notice, text in zip(notices, written, strict=False)
        ]
        if len(notices) > MOST_LISTED:
            count = len(notices) - MOST_LISTED
            paragraphs.append(words["more"].format(count=count, root=self._page("/")))
        return title, "\n\n".join(paragraphs)

    def test(self, choices: NoticeChoices) -> tuple[str, str]:
        """Return title and text of a test message."""
        words = _WORDS[choices.language]
        return f"{SERVICE}: {words['test']}", words["test text"]

    def webhook(self, notices: Sequence[Notice], choices: NoticeChoices) -> bytes:
        """Return the body for a webhook, which is the same at every attempt."""
        zone = find_zone(choices.zone)
        listed = []
        for notice in notices:
            written = write_notice(notice, choices.language, zone)
            listed.append(
                {
                    "id": str(notice.id),
                    "kind": notice.kind.value,
                    "severity": notice.severity.value,
                    "portfolio": None if notice.portfolio is None else str(notice.portfolio),
                    "title": written.title,
                    "text": written.text,
                    "parameters": dict(notice.parameters),
                    "link": self._page(notice.link),
                    "created": notice.created.isoformat(),
                }
            )
        return _body("notices", notices[0].created, {"notices": listed})

    def webhook_test(self, choices: NoticeChoices, now: datetime) -> bytes:
        """Return the body of a test message for a webhook."""
        return _body("test", now, {"text": self.test(choices)[1]})

    def _page(self, path: str) -> str:
        return f"{self.public_url.rstrip('/')}{path}"

    def _unsubscribe_url(self, owner: UUID, kind: NoticeKind | None) -> str:
        query = urlencode({"token": write_token(self.keys, owner, kind)})
        return f"{self._page(UNSUBSCRIBE_PATH)}?{query}"


def _body(type: str, at: datetime, data: Mapping[str, object]) -> bytes:
    content = {"type": type, "timestamp": at.isoformat(), "data": data}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def sign_webhook(secret: str, id: UUID, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers of a message to a webhook.

    The signature is that of Standard Webhooks: HMAC-SHA256 of id, time and body. The id is the same
    at every attempt, also as ``Idempotency-Key``.
    """
    time = str(int(now.timestamp()))
    key = b64decode(secret.removeprefix(SECRET_PREFIX))
    signature = hmac.digest(key, f"{id}.{time}.".encode() + body, "sha256")
    return {
        "Content-Type": "application/json",
        "Idempotency-Key": str(id),
        "webhook-id": str(id),
        "webhook-timestamp": time,
        "webhook-signature": f"v1,{b64encode(signature).decode()}",
    }
