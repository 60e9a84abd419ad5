"""`/api/portfolios/{id}/imports`: preview, commit, list and undo imports of statements."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import attrs
from dishka.integrations.litestar import FromDishka
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from rebalancer.application.mapping_profiles import ReadMappingProfile
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.statement_files import LARGEST_FILE, StatementFile
from rebalancer.application.statement_imports import (
    CommitImport,
    ListImports,
    PreviewImport,
    UndoImport,
)
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.etags import IfMatch, IfNoneMatch, accepted_versions, etag
from rebalancer.entrypoints.http.forms import TAKES_FORM
from rebalancer.entrypoints.http.idempotency import Key, replay_headers
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.portfolio import PortfolioView, portfolio_view
from rebalancer.entrypoints.schemas.statement_imports import (
    ImportBody,
    ImportRecordView,
    PreviewView,
    import_record_view,
    preview_view,
)
from rebalancer.entrypoints.schemas.wire import Page, View, about, paginate

STATEMENT_BODY = LARGEST_FILE + 500_000
"""Bytes of a body with a file and a mapping."""


class ImportView(View, frozen=True, kw_only=True):
    """What an import changes, or has changed."""

    record: Annotated[
        ImportRecordView | None,
        about("The import; null for a dry run, and if the statement adds nothing."),
    ]
    preview: PreviewView
    portfolio: Annotated[PortfolioView | None, about("As changed; null for a dry run.")]


class UndoView(View, frozen=True, kw_only=True):
    """The import that was undone, and the portfolio without it."""

    record: ImportRecordView
    voided: Annotated[int, about("Number of entries that were voided.")]
    portfolio: PortfolioView


@post(
    "/{portfolio_id:uuid}/imports",
    summary="Import a statement",
    status_code=200,
    responses=problem_responses(409, 412, 422),
    opt={TAKES_FORM: True},
)
async def import_statement(
    portfolio_id: FromPath[UUID],
    data: JSONBody[ImportBody],
    owner: Owner,
    preview: FromDishka[PreviewImport],
    commit: FromDishka[CommitImport],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    profiles: FromDishka[ReadMappingProfile],
    key: Key = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[ImportView]:
    """Show what a statement of a broker or another tool would change, or add its entries.

    A form sends the file; JSON sends its text. All entries are added, or none. A transaction that
    was imported before is recognised, so the same file twice changes nothing. Only text is read.
    """
    file = StatementFile(data.file_name, data.content)
    accepted = accepted_versions(if_match, if_none_match, required=False)
    options = data.options()
    if data.profile_name is not None:
        saved = await run_in(READS, profiles, data.profile_name, owner=owner)
        options = attrs.evolve(options, profile=saved.profile)
    if data.dry_run:
        shown, portfolio = await run_in(
            READS,
            preview,
            file,
            options,
            portfolio_id=portfolio_id,
            owner=owner,
            now=clock(),
        )
        seen = preview_view(shown, portfolio.mandate.currency)
        return Response(ImportView(record=None, preview=seen, portfolio=None))
    made, shown, valued, replayed = await run_in(
        WRITES,
        commit,
        file,
        options,
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted,
        key=key,
        id=ids(),
        now=clock(),
    )
    view = ImportView(
        record=None if made is None else import_record_view(made),
        preview=preview_view(shown, valued.portfolio.mandate.currency),
        portfolio=portfolio_view(valued),
    )
    return Response(view, headers=replay_headers(replayed) | {"ETag": etag(valued)})


@get("/{portfolio_id:uuid}/imports", summary="List imports")
async def list_imports(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ListImports],
    limit: Limit = 50,
    before: Cursor = None,
) -> Page[ImportRecordView]:
    """List the imports of a portfolio, the latest first."""
    found = await run_in(READS, use, portfolio_id, actor=owner, before=before, limit=limit + 1)
    return paginate(found, limit, show=import_record_view, cursor=lambda made: made.id)


@post(
    "/{portfolio_id:uuid}/imports/{import_id:uuid}/undo",
    summary="Undo an import",
    status_code=200,
    responses=problem_responses(409, 412),
)
async def undo_import(
    portfolio_id: FromPath[UUID],
    import_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[UndoImport],
    clock: FromDishka[Clock],
    key: Key = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[UndoView]:
    """Void the entries of an import, all or none; it can be done once.

    Entries that later ones need, such as a purchase of units that were sold since, cannot be voided
    before those. The same file can be imported again afterwards.
    """
    made, count, valued, replayed = await run_in(
        WRITES,
        use,
        import_id,
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        key=key,
        now=clock(),
    )
    view = UndoView(record=import_record_view(made), voided=count, portfolio=portfolio_view(valued))
    return Response(view, headers=replay_headers(replayed) | {"ETag": etag(valued)})


router = owner_router(
    "/portfolios",
    [import_statement, list_imports, undo_import],
    tag="portfolios",
    max_body=STATEMENT_BODY,
)
