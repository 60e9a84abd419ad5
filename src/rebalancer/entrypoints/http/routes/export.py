"""`/api/users/export`: all data of one's account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import IO

from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.response import Stream

from rebalancer.application.account_export import ExportAccount
from rebalancer.application.ports.clock import Clock
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.entrypoints.account_archive import write_archive
from rebalancer.entrypoints.http.auth import CurrentBearer, Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses, response_spec
from rebalancer.entrypoints.http.threads import EXPORTS, READS, run_in

_IN_MEMORY = 4_000_000
"""Bytes of an archive from which on it is in a temporary file, which has no name."""

_CHUNK = 64_000


@get(
    "/",
    summary="Export the account",
    media_type="application/zip",
    responses={
        200: response_spec(
            bytes,
            description="A zip archive; docs/export.md describes it.",
            media_type="application/zip",
        ),
        **problem_responses(403),
    },
)
async def export_account(
    owner: Owner, bearer: CurrentBearer, use: FromDishka[ExportAccount], clock: FromDishka[Clock]
) -> Stream:
    """Get all data that the service stores about you: a zip archive with JSON and CSV files.

    It needs a recent proof of identity.
    """
    now = clock()
    file = await run_in(EXPORTS, _archive, use, bearer, now)
    name = f"rebalancer-{now:%Y-%m-%d}.zip"
    return Stream(
        _chunks(file),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _archive(use: ExportAccount, bearer: Bearer, now: datetime) -> IO[bytes]:
    """Return a file with the archive, at its beginning."""
    file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # `_chunks` closes it
    try:
        with use(bearer, now=now) as export:
            write_archive(file, export, now)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    try:
        while chunk := await run_in(READS, file.read, _CHUNK):
            yield chunk
    finally:
        file.close()


router = owner_router("/users/export", [export_account], tag="users")
