"""`/api/models`: model portfolios, their versions and followers."""

from __future__ import annotations

from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from rebalancer.application.models import (
    CreateModel,
    DeleteModel,
    PreviewModel,
    PublishModel,
    ReadModels,
    RenameModel,
)
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.portfolio.models import ModelContent, PortfolioModel
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.bodies import LARGE_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.etags import IfMatch, IfNoneMatch, accepted_versions
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY, Key, replay_headers
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.models import (
    DraftBody,
    ModelBody,
    ModelDetailView,
    ModelPreviewView,
    ModelView,
    PreviewBody,
    PublishBody,
    PublishedView,
    RenameBody,
    model_detail_view,
    model_view,
    preview_view,
)
from rebalancer.entrypoints.schemas.wire import Page, paginate

_TWICE = {WITHOUT_KEY: "doing it twice is the same as once"}


@get("/", summary="List models")
async def list_models(
    owner: Owner, use: FromDishka[ReadModels], limit: Limit = 50, after: Cursor = None
) -> Page[ModelView]:
    """List your model portfolios, oldest first."""
    found = await run_in(READS, use.all, owner, after=after, limit=limit + 1)
    return paginate(found, limit, show=model_view, cursor=lambda one: one.id)


@post("/", summary="Create a model", responses=problem_responses(409, 422))
async def create_model(
    data: JSONBody[ModelBody],
    owner: Owner,
    use: FromDishka[CreateModel],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
) -> Response[ModelDetailView]:
    """Create a model with its first version. Portfolios can follow it from then on."""
    status, replayed = await run_in(
        WRITES,
        use,
        data.name,
        data.content(),
        note=data.note,
        key=key,
        id=ids(),
        owner=owner,
        now=clock(),
    )
    headers = replay_headers(replayed) | {"ETag": _etag(status.model)}
    headers["Location"] = f"/api/models/{status.model.id}"
    return Response(model_detail_view(status), headers=headers)


@get("/{model_id:uuid}", summary="Get a model")
async def read_model(
    model_id: FromPath[UUID], owner: Owner, use: FromDishka[ReadModels]
) -> Response[ModelDetailView]:
    """Get a model with its versions and followers."""
    status = await run_in(READS, use, model_id, owner=owner)
    return Response(model_detail_view(status), headers={"ETag": _etag(status.model)})


@patch("/{model_id:uuid}", summary="Rename a model", opt=_TWICE, responses=problem_responses(412))
async def rename_model(
    model_id: FromPath[UUID],
    data: JSONBody[RenameBody],
    owner: Owner,
    use: FromDishka[RenameModel],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[ModelDetailView]:
    """Give a model another name. Its versions never change."""
    accepted = accepted_versions(if_match, if_none_match, required=False).only
    status = await run_in(
        WRITES, use, model_id, data.name, owner=owner, accepted=accepted, now=clock()
    )
    return Response(model_detail_view(status), headers={"ETag": _etag(status.model)})


@delete(
    "/{model_id:uuid}", summary="Delete a model", opt=_TWICE, responses=problem_responses(409, 412)
)
async def delete_model(
    model_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[DeleteModel],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """Delete a model that no portfolio follows."""
    accepted = accepted_versions(if_match, if_none_match, required=False).only
    await run_in(WRITES, use, model_id, owner=owner, accepted=accepted, now=clock())


@post(
    "/{model_id:uuid}/preview",
    summary="Preview a version",
    status_code=200,
    responses=problem_responses(422),
    opt={WITHOUT_KEY: "it changes nothing"},
)
async def preview_model(
    model_id: FromPath[UUID],
    data: JSONBody[PreviewBody],
    owner: Owner,
    read: FromDishka[ReadModels],
    use: FromDishka[PreviewModel],
    clock: FromDishka[Clock],
) -> Response[ModelPreviewView]:
    """Show what each follower would trade if a draft were published; nothing is stored.

    Pinned followers are left out, since they do not move. `problems` of a follower keep the draft
    from being published, such as limits of its risk profile that are not acknowledged.
    """
    model, previews = await run_in(
        READS,
        use,
        model_id,
        data.draft(await _earlier(read, model_id, data, owner)),
        policy_name=data.policy,
        costs=data.cost_model(),
        acknowledged=data.acknowledge,
        owner=owner,
        now=clock(),
    )
    return Response(preview_view(model, previews), headers={"ETag": _etag(model)})


@post(
    "/{model_id:uuid}/publish",
    summary="Publish a version",
    status_code=200,
    responses=problem_responses(409, 412, 422),
)
async def publish_model(
    model_id: FromPath[UUID],
    data: JSONBody[PublishBody],
    owner: Owner,
    read: FromDishka[ReadModels],
    use: FromDishka[PublishModel],
    clock: FromDishka[Clock],
    key: Key = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[PublishedView]:
    """Publish a version, and give its targets to all followers that are not pinned.

    Either all of them move or nothing is published. `from_version` publishes the targets of an
    earlier version again, as a version with a new number.
    """
    accepted = accepted_versions(if_match, if_none_match, required=False).only
    status, moved, replayed = await run_in(
        WRITES,
        use,
        model_id,
        data.draft(await _earlier(read, model_id, data, owner)),
        note=data.note,
        acknowledged=data.acknowledge,
        accepted=accepted,
        key=key,
        owner=owner,
        now=clock(),
    )
    view = PublishedView(model=model_detail_view(status), moved=list(moved))
    headers = replay_headers(replayed) | {"ETag": _etag(status.model)}
    return Response(view, headers=headers)


async def _earlier(read: ReadModels, id: UUID, data: DraftBody, owner: UUID) -> ModelContent | None:
    """Return the content of the version that a draft names; None if it names none."""
    if data.from_version is None:
        return None
    return await run_in(READS, read.content, id, data.from_version, owner=owner)


def _etag(model: PortfolioModel) -> str:
    return f'"{model.version}"'


router = owner_router(
    "/models",
    [
        list_models,
        create_model,
        read_model,
        rename_model,
        delete_model,
        preview_model,
        publish_model,
    ],
    tag="models",
    max_body=LARGE_BODY,
)
