"""`/api/table-sketches`: what a table shows before a mapping profile states how it is read."""

from __future__ import annotations

from dishka.integrations.litestar import FromDishka
from litestar import post
from litestar.params import JSONBody

from rebalancer.application.mapping_profiles import (
    SketchTable,
)
from rebalancer.application.statement_files import StatementFile
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.forms import TAKES_FORM
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.routes.statement_imports import STATEMENT_BODY
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.mapping_profiles import (
    TableSketchView,
    table_sketch_view,
)
from rebalancer.entrypoints.schemas.statement_imports import ImportBody


@post(
    "/",
    summary="Sketch a table of transactions",
    status_code=200,
    responses=problem_responses(422),
    opt={TAKES_FORM: True, WITHOUT_KEY: "it stores nothing"},
)
async def sketch_table(
    data: JSONBody[ImportBody], owner: Owner, use: FromDishka[SketchTable]
) -> TableSketchView:
    """Show the first rows of a table, and guess what its columns state; nothing is stored.

    The body is that of an import, of which only the file counts.
    """
    file = StatementFile(data.file_name, data.content)
    return table_sketch_view(await run_in(READS, use, file))


router = owner_router("/table-sketches", [sketch_table], tag="portfolios", max_body=STATEMENT_BODY)
