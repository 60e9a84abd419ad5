"""Notices of an account at the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rebalancer.entrypoints.cli.screen import console, print_json, wide_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rebalancer.application.ports.notices import NoticeCount
    from rebalancer.domain.notices.choices import NoticeChoices
    from rebalancer.domain.notices.deliveries import NoticeDelivery
    from rebalancer.domain.notices.notice import Notice


def print_notices(
    notices: Sequence[Notice],
    count: NoticeCount,
    choices: NoticeChoices,
    failed: Sequence[NoticeDelivery],
    as_json: bool,
) -> None:
    """Print notices with their texts, and messages that could not be delivered."""
    from rebalancer.application.notice_texts import write_notice
    from rebalancer.domain.notices.choices import find_zone

    zone = find_zone(choices.zone)
    texts = [write_notice(one, choices.language, zone).text for one in notices]
    if as_json:
        listed: list[dict[str, Any]] = [
            {
                "id": str(one.id),
                "kind": one.kind.value,
                "severity": one.severity.value,
                "portfolio_id": None if one.portfolio is None else str(one.portfolio),
                "text": text,
                "parameters": dict(one.parameters),
                "created": one.created.isoformat(),
                "read": None if one.read is None else one.read.isoformat(),
                "resolved": None if one.resolved is None else one.resolved.isoformat(),
            }
            for one, text in zip(notices, texts, strict=True)
        ]
        messages = [
            {
                "id": str(one.id),
                "channel": one.channel,
                "attempts": one.attempts,
                "fault": one.fault,
            }
            for one in failed
        ]
        print_json({"unread": count.unread, "notices": listed, "failed_messages": messages})
        return
    screen = console()
    if not notices:
        screen.print("No notices found.")
    else:
        title = f"Notices, {count.unread} unread"
        table = wide_table(screen, title, ("raised", "severity", "text", "state"), ())
        for one, text in zip(notices, texts, strict=True):
            state = "resolved" if one.resolved else "read" if one.read else "unread"
            raised = f"{one.created.astimezone(zone):%Y-%m-%d %H:%M}"
            table.add_row(raised, one.severity.value, text, state)
        screen.print(table)
    for message in failed:
        screen.print(
            f"Message {message.id} to {message.channel} failed after {message.attempts} attempts: "
            f"{message.fault}"
        )
