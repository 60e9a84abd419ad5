"""`/api/notices`: read notices, choose among them, and have them sent elsewhere."""

from __future__ import annotations

from hashlib import sha256
from html import escape
from typing import Annotated
from uuid import UUID

import attrs
from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from rebalancer.application.notice_requests import (
    AddTarget,
    ChooseNotices,
    ListDeliveries,
    ListTargets,
    MarkNotices,
    ReadNotices,
    RemoveTarget,
    RetryDelivery,
    TestTarget,
)
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.ports.notices import NoticeCount
from rebalancer.application.unsubscribing import Unsubscribe, Unsubscription
from rebalancer.domain.notices.choices import Language
from rebalancer.domain.notices.deliveries import DeliveryState
from rebalancer.domain.notices.targets import TargetKind
from rebalancer.entrypoints.http.auth import CurrentBearer, Owner, owner_router
from rebalancer.entrypoints.http.bodies import SMALL_BODY
from rebalancer.entrypoints.http.errors import problem_responses, response_spec
from rebalancer.entrypoints.http.etags import IfNoneMatch, is_known
from rebalancer.entrypoints.http.idempotency import ANSWER_HOLDS_SECRETS, WITHOUT_KEY
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.notices import (
    ChoicesBody,
    ChoicesView,
    MessageView,
    NewTargetView,
    NoticePage,
    ReadBody,
    TargetBody,
    TargetView,
    TestResult,
    UnreadView,
    choices_view,
    message_view,
    new_target_view,
    notice_view,
    show_test,
    target_view,
    unread_view,
)
from rebalancer.entrypoints.schemas.wire import Page, paginate

_ALL = ReadBody()

Token = Annotated[
    str, QueryParameter(max_length=200, description="Signed statement of whose mails are ended.")
]


@get("/", summary="List notices")
async def list_notices(
    owner: Owner,
    use: FromDishka[ReadNotices],
    unread: Annotated[bool, QueryParameter(description="Only notices that were not read.")] = False,
    portfolio_id: Annotated[
        UUID | None, QueryParameter(description="Only those about this portfolio.")
    ] = None,
    language: Annotated[
        Language | None, QueryParameter(description="Language of the texts; default: your choice.")
    ] = None,
    limit: Limit = 50,
    before: Cursor = None,
) -> NoticePage:
    """List notices, latest first."""
    found, count, choices = await run_in(
        READS, use, owner, unread=unread, portfolio=portfolio_id, before=before, limit=limit + 1
    )
    if language is not None:
        choices = attrs.evolve(choices, language=language)
    page = paginate(
        found, limit, show=lambda one: notice_view(one, choices), cursor=lambda one: one.id
    )
    return NoticePage(items=page.items, next=page.next, unread=count.unread)


@get(
    "/unread",
    summary="Count unread notices",
    responses={304: response_spec(None, description="Not modified")},
)
async def count_unread(
    owner: Owner, use: FromDishka[ReadNotices], if_none_match: IfNoneMatch = None
) -> Response[UnreadView]:
    """Count the notices that were not read. Asking again with the ETag is cheap."""
    count = await run_in(READS, use.count, owner)
    tag = _tag(count)
    if is_known(if_none_match, tag):
        return Response(None, status_code=304, headers={"ETag": tag})  # type: ignore[arg-type]  # 304 has no body
    return Response(unread_view(count), headers={"ETag": tag})


@post(
    "/read",
    status_code=200,
    summary="Mark notices as read",
    responses=problem_responses(404, 422),
    opt={WITHOUT_KEY: "marking a notice twice is the same as once"},
)
async def mark_read(
    owner: Owner,
    use: FromDishka[MarkNotices],
    clock: FromDishka[Clock],
    data: JSONBody[ReadBody] = _ALL,
) -> UnreadView:
    """Mark one notice as read, or all up to one, or all; get how many are unread then."""

    def mark() -> NoticeCount:
        if data.id is None:
            return use.all(owner, through=data.through, now=clock())
        return use(data.id, owner=owner, now=clock())

    return unread_view(await run_in(WRITES, mark))


@get("/settings", summary="Read the choice of notices")
async def read_notice_settings(
    owner: Owner, use: FromDishka[ChooseNotices], targets: FromDishka[ListTargets]
) -> ChoicesView:
    """Get which notices are sent, where and when."""
    found = await run_in(READS, use.read, owner)
    return choices_view(found, await run_in(READS, targets, owner))


@put(
    "/settings",
    summary="Choose notices",
    responses=problem_responses(422),
    opt={WITHOUT_KEY: "choosing twice is the same as once"},
)
async def choose_notices(
    data: JSONBody[ChoicesBody],
    owner: Owner,
    use: FromDishka[ChooseNotices],
    targets: FromDishka[ListTargets],
    clock: FromDishka[Clock],
) -> ChoicesView:
    """Replace the choice of notices. Messages that wait follow it, too."""
    found = await run_in(WRITES, use, data.choices(), owner=owner, now=clock())
    return choices_view(found, await run_in(READS, targets, owner))


@get("/targets", summary="List webhooks and push services")
async def list_notice_targets(owner: Owner, use: FromDishka[ListTargets]) -> Page[TargetView]:
    """List targets, oldest first. Their addresses, which may hold passwords, are not shown."""
    found = await run_in(READS, use, owner)
    return Page(items=[target_view(one) for one in found], next=None)


@post(
    "/targets",
    summary="Add a webhook or push service",
    responses=problem_responses(409, 422),
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def add_notice_target(
    data: JSONBody[TargetBody],
    owner: Owner,
    bearer: CurrentBearer,
    use: FromDishka[AddTarget],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> NewTargetView:
    """Have notices sent to a webhook or push service.

    The response has the secret with which a webhook checks signatures; it is not shown again. It
    needs a recent proof of identity.
    """
    target = await run_in(
        WRITES,
        use,
        TargetKind(data.kind),
        name=data.name,
        address=data.address,
        bearer=bearer,
        id=ids(),
        now=clock(),
    )
    return new_target_view(target)


@delete(
    "/targets/{target_id:uuid}",
    summary="Remove a webhook or push service",
    opt={WITHOUT_KEY: "removing a target twice is the same as once"},
)
async def remove_notice_target(
    target_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[RemoveTarget],
    clock: FromDishka[Clock],
) -> None:
    """Send nothing to a target any more; messages that wait for it are dropped."""
    await run_in(WRITES, use, target_id, owner=owner, now=clock())


@post(
    "/targets/{target_id:uuid}/test",
    status_code=200,
    summary="Test a webhook or push service",
    opt={WITHOUT_KEY: "a repeated test sends another message, up to a limit"},
)
async def test_notice_target(
    target_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[TestTarget],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> TestResult:
    """Send a test message at once, and get the answer of the target."""
    answer = await run_in(WRITES, use, target_id, owner=owner, message=ids(), now=clock())
    return show_test(answer)


@get("/messages", summary="List messages with notices")
async def list_notice_messages(
    owner: Owner,
    use: FromDishka[ListDeliveries],
    only: Annotated[
        DeliveryState | None,
        QueryParameter(name="state", description="Only messages in this state."),
    ] = None,
    limit: Limit = 50,
    before: Cursor = None,
) -> Page[MessageView]:
    """List messages to your mail address and your targets, latest first, for 30 days."""
    found = await run_in(READS, use, owner, state=only, before=before, limit=limit + 1)
    return paginate(found, limit, show=message_view, cursor=lambda one: one.id)


@post(
    "/messages/{message_id:uuid}/retry",
    status_code=200,
    summary="Send a failed message again",
    responses=problem_responses(409),
    opt={WITHOUT_KEY: "a message that waits already is not sent twice"},
)
async def retry_notice_message(
    message_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[RetryDelivery],
    clock: FromDishka[Clock],
) -> MessageView:
    """Send a message once more that has failed."""
    return message_view(await run_in(WRITES, use, message_id, owner=owner, now=clock()))


@get(
    "/unsubscribe",
    summary="Page that ends mails",
    media_type="text/html",
    responses={
        200: response_spec(str, description="A page with a button.", media_type="text/html"),
        **problem_responses(404),
    },
)
async def show_unsubscribe(token: Token, use: FromDishka[Unsubscribe]) -> Response[str]:
    """Show which mails the link of a mail ends, with a button. Opening it ends none."""
    return _page(*await run_in(READS, use.read, token), done=False)


@post(
    "/unsubscribe",
    status_code=200,
    summary="End mails by one click",
    media_type="text/html",
    responses={
        200: response_spec(str, description="A page that confirms it.", media_type="text/html"),
        **problem_responses(404),
    },
    opt={WITHOUT_KEY: "ending mails twice is the same as once"},
)
async def unsubscribe(
    token: Token, use: FromDishka[Unsubscribe], clock: FromDishka[Clock]
) -> Response[str]:
    """End the mails that the link of a mail names (RFC 8058), without a login."""
    return _page(*await run_in(WRITES, use, token, now=clock()), done=True)


_TEXTS = {
    Language.ENGLISH: {
        "title": "Mails with notices",
        "ask kind": "End mails of the kind “{kind}”?",
        "ask all": "End all mails with notices?",
        "done kind": "You get no more mails of the kind “{kind}”.",
        "done all": "You get no more mails with notices.",
        "more": "You can change this in the settings of the app. Mails about your account and its "
        "security still arrive.",
        "button": "End mails",
    },
    Language.GERMAN: {
        "title": "Mails mit Hinweisen",
        "ask kind": "Mails der Art „{kind}“ beenden?",
        "ask all": "Alle Mails mit Hinweisen beenden?",
        "done kind": "Sie bekommen keine Mails der Art „{kind}“ mehr.",
        "done all": "Sie bekommen keine Mails mit Hinweisen mehr.",
        "more": "Das können Sie in den Einstellungen der App ändern. Mails über Ihr Konto und "
        "seine Sicherheit kommen weiterhin an.",
        "button": "Mails beenden",
    },
}


def _page(found: Unsubscription, language: Language, *, done: bool) -> Response[str]:
    """Return a page that asks whether to end mails, or confirms that they were ended."""
    texts = _TEXTS[language]
    which = "all" if found.kind is None else "kind"
    kind = "" if found.kind is None else found.kind.value.replace("_", " ")
    text = texts[f"{'done' if done else 'ask'} {which}"].format(kind=kind)
    button = "" if done else f'<form method="post"><button>{texts["button"]}</button></form>'
    content = (
        f'<!DOCTYPE html><html lang="{language.value}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{texts['title']}</title><h1>{escape(text)}</h1>{button}<p>{texts['more']}</p>"
    )
    return Response(content, media_type="text/html", headers={"Cache-Control": "no-store"})


def _tag(count: NoticeCount) -> str:
    digest = sha256(f"{count.unread} {count.newest}".encode()).digest()
    return f'"{int.from_bytes(digest[:3])}"'


router = DishkaRouter(
    "/notices",
    route_handlers=[
        owner_router(
            "/",
            [
                list_notices,
                count_unread,
                mark_read,
                read_notice_settings,
                choose_notices,
                list_notice_targets,
                add_notice_target,
                remove_notice_target,
                test_notice_target,
                list_notice_messages,
                retry_notice_message,
            ],
            tag="notices",
        ),
        DishkaRouter(
            "/",
            route_handlers=[show_unsubscribe, unsubscribe],
            tags=["notices"],
            request_max_body_size=SMALL_BODY,
        ),
    ],
)
