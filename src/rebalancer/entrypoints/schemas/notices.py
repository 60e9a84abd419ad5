"""Notices, the choices of their owners, and where they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

import attrs
from msgspec import Meta, field

from rebalancer.application.notice_texts import write_notice
from rebalancer.application.ports.mail import Delivery, Outcome
from rebalancer.application.ports.notices import NoticeCount
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.notices.choices import (
    APP,
    EMAIL,
    Digest,
    Language,
    NoticeChoices,
    QuietHours,
    find_zone,
)
from rebalancer.domain.notices.deliveries import DeliveryState, NoticeDelivery
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.notices.targets import (
    LONGEST_ADDRESS,
    LONGEST_NAME,
    Target,
    TargetKind,
    check_name,
)
from rebalancer.entrypoints.schemas.decoding import collect
from rebalancer.entrypoints.schemas.wire import Body, Page, View, about

_CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"


def _clock(example: str) -> Meta:
    return Meta(pattern=_CLOCK, examples=[example], description="Hours and minutes, as 22:30.")


class NoticeView(View, frozen=True, kw_only=True):
    """A notice, with its text."""

    id: UUID
    kind: NoticeKind
    severity: Literal["info", "warning", "critical"]
    portfolio_id: Annotated[UUID | None, about("null if it concerns the whole account.")]
    title: str
    text: str
    parameters: Annotated[
        dict[str, str], about("What the text states; numbers are exact decimals, 0.062 is 6.2%.")
    ]
    link: Annotated[str, about("Page of the app, such as /portfolios/ID.")]
    created: datetime
    read: Annotated[datetime | None, about("null while it is unread.")]
    resolved: Annotated[
        datetime | None, about("When the state that it reports ended; null before.")
    ]


class NoticePage(Page[NoticeView], frozen=True, kw_only=True):
    """One page of notices."""

    unread: Annotated[int, about("Number of all notices that were not read.")]


class UnreadView(View, frozen=True, kw_only=True):
    """How many notices were not read."""

    unread: int
    newest: Annotated[UUID | None, about("Id of the latest notice, read or not.")]


class ReadBody(Body, frozen=True, kw_only=True):
    """Which notices are marked as read; without a field all are."""

    id: Annotated[UUID | None, about("This one.")] = None
    through: Annotated[
        UUID | None, about("This one and all older ones, so that one not seen yet stays unread.")
    ] = None

    def check(self) -> None:
        """Check that one field is sent at most."""
        if self.id is not None and self.through is not None:
            raise InvalidRequest(
                "send id or through, not both", field="through", code="contradictory_fields"
            )


class QuietBody(Body, frozen=True, kw_only=True):
    """Hours of each day in which nothing is sent; they may span midnight."""

    start: Annotated[str, _clock("22:00")]
    end: Annotated[str, _clock("07:00")]


class SwitchBody(Body, frozen=True, kw_only=True):
    """Whether a kind of notice is sent to a channel."""

    channel: Annotated[
        str, Meta(max_length=40, examples=["email"], description="app, email, or a target's id.")
    ]
    kind: NoticeKind
    on: bool


class ChoicesBody(Body, frozen=True, kw_only=True):
    """Which notices an owner gets, where and when; a missing field takes its default."""

    language: Language
    zone: Annotated[
        str, Meta(max_length=64, examples=["Europe/Berlin"], description="Name of a time zone.")
    ]
    digest: Annotated[
        Digest, about("How often notices are sent: each at once, or several together.")
    ] = Digest.IMMEDIATELY
    digest_at: Annotated[str, _clock("08:00")] = "08:00"
    quiet: Annotated[
        QuietBody | None, about("What falls in these hours is sent afterwards, together.")
    ] = None
    paused: Annotated[bool, about("Whether notices are in the app alone.")] = False
    paused_until: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        about("When the pause ends; null: when paused is switched off."),
    ] = None
    switches: Annotated[
        list[SwitchBody],
        Meta(max_length=500, description="What differs from the defaults of the channels."),
    ] = field(default_factory=list)

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return what is wrong with the time zone, if anything."""
        return collect(find_zone, value) if name == "zone" else []

    def check(self) -> None:
        """Check the quiet hours."""
        self.choices()

    def choices(self) -> NoticeChoices:
        """Return the choices."""
        quiet = self.quiet
        switches: dict[str, dict[NoticeKind, bool]] = {}
        for one in self.switches:
            switches.setdefault(one.channel, {})[one.kind] = one.on
        return NoticeChoices(
            language=self.language,
            zone=self.zone,
            digest=self.digest,
            digest_at=time.fromisoformat(self.digest_at),
            quiet=None
            if quiet is None
            else QuietHours(time.fromisoformat(quiet.start), time.fromisoformat(quiet.end)),
            paused=self.paused,
            paused_until=self.paused_until,
            switches=switches,
        )


class QuietView(View, frozen=True, kw_only=True):
    """Hours of each day in which nothing is sent."""

    start: str
    end: str


class SwitchView(View, frozen=True, kw_only=True):
    """Whether a kind of notice is sent to a channel."""

    channel: Annotated[str, about("app, email, or the id of a target.")]
    kind: NoticeKind
    on: bool


class ChoicesView(View, frozen=True, kw_only=True):
    """Which notices an owner gets, where and when."""

    language: Language
    zone: str
    digest: Digest
    digest_at: str
    quiet: QuietView | None
    paused: bool
    paused_until: datetime | None
    switches: Annotated[list[SwitchView], about("What differs from the defaults.")]
    channels: Annotated[
        list[SwitchView], about("All kinds in each channel: app, email, and your targets.")
    ]


class TargetBody(Body, frozen=True, kw_only=True):
    """A webhook or push service."""

    verbatim = ("address",)

    kind: Annotated[
        Literal["webhook", "push"],
        about("webhook: signed JSON to a URL; push: a service in the notation of apprise."),
        Meta(examples=["webhook"]),
    ]
    name: Annotated[str, Meta(max_length=LONGEST_NAME, examples=["Home"])]
    address: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=LONGEST_ADDRESS,
            examples=["https://93.184.216.34/rebalancer"],
            description="https:// for a webhook; such as ntfys://ntfy.sh/topic for a push service.",
        ),
    ]

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return what is wrong with the name, if anything."""
        return collect(check_name, value) if name == "name" else []


class TargetView(View, frozen=True, kw_only=True):
    """A webhook or push service; its address may hold a password, and is not shown."""

    id: UUID
    kind: TargetKind
    name: str
    host: Annotated[str, about("Service or host of the address.")]
    created: datetime
    delivered: Annotated[datetime | None, about("When it last took a message.")]
    failed: Annotated[datetime | None, about("When it last did not.")]
    fault: Annotated[str, about("Why it did not take the last message; empty if it did.")]


class NewTargetView(TargetView, frozen=True, kw_only=True):
    """A new target with its secret, which is shown only once."""

    secret: Annotated[
        str | None,
        about("Key of the signatures (Standard Webhooks); null for a push service."),
    ]


class TestResult(View, frozen=True, kw_only=True):
    """What became of a test message."""

    __test__ = False  # its name begins like that of a class of tests

    delivered: bool
    fault: Annotated[str, about("Why it was not; empty if it was.")]


class MessageView(View, frozen=True, kw_only=True):
    """A message with notices, and how far its delivery is."""

    id: Annotated[UUID, about("Also its Message-ID, or Idempotency-Key.")]
    channel: Annotated[str, about("email, or the id of a target.")]
    notices: Annotated[list[UUID], about("Ids of the notices in it.")]
    state: DeliveryState
    created: datetime
    due: Annotated[datetime, about("Time of the next attempt while it waits.")]
    attempts: int
    fault: Annotated[str, about("Why the last attempt failed; empty otherwise.")]
    closed: Annotated[datetime | None, about("When it was sent, dropped, or failed for good.")]


def notice_view(notice: Notice, choices: NoticeChoices) -> NoticeView:
    """Show a notice in the language and the time zone of its owner."""
    written = write_notice(notice, choices.language, find_zone(choices.zone))
    shown = attrs.asdict(notice, recurse=False)
    shown |= {"portfolio_id": notice.portfolio, "title": written.title, "text": written.text}
    shown |= {"severity": notice.severity.value, "parameters": dict(notice.parameters)}
    return NoticeView.of(shown)


def unread_view(count: NoticeCount) -> UnreadView:
    """Show how many notices were not read."""
    return UnreadView(unread=count.unread, newest=count.newest)


def choices_view(choices: NoticeChoices, targets: list[Target]) -> ChoicesView:
    """Show the choices of an owner, with what they mean for each channel."""
    channels = (APP, EMAIL, *(one.channel for one in targets))
    quiet = choices.quiet
    return ChoicesView(
        language=choices.language,
        zone=choices.zone,
        digest=choices.digest,
        digest_at=f"{choices.digest_at:%H:%M}",
        quiet=None
        if quiet is None
        else QuietView(start=f"{quiet.start:%H:%M}", end=f"{quiet.end:%H:%M}"),
        paused=choices.paused,
        paused_until=choices.paused_until,
        switches=[
            SwitchView(channel=channel, kind=kind, on=on)
            for channel, kinds in choices.switches.items()
            for kind, on in kinds.items()
        ],
        channels=[
            SwitchView(channel=channel, kind=kind, on=choices.is_on(kind, channel))
            for channel in channels
            for kind in NoticeKind
        ],
    )


def target_view(target: Target) -> TargetView:
    """Show a target without its address."""
    return TargetView.of(_shown(target))


def new_target_view(target: Target) -> NewTargetView:
    """Show a new target with its secret."""
    return NewTargetView.of({**_shown(target), "secret": target.secret or None})


def _shown(target: Target) -> Mapping[str, Any]:
    scheme, _, rest = target.address.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2].partition("?")[0]
    shown = attrs.asdict(target, recurse=False)
    return {**shown, "host": host if target.kind is TargetKind.WEBHOOK else scheme}


def show_test(answer: Delivery) -> TestResult:
    """Show what became of a test message."""
    return TestResult(delivered=answer.outcome is Outcome.SENT, fault=answer.reason)


def message_view(message: NoticeDelivery) -> MessageView:
    """Show a message and how far its delivery is."""
    shown = attrs.asdict(message, recurse=False)
    return MessageView.of(shown | {"notices": list(message.notices)})
