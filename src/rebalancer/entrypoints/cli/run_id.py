"""The id of a batch run that several machines share, as an option of commands."""

from __future__ import annotations

import re
from uuid import UUID, uuid5

import click

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""Valid names, which include those of a Kubernetes Job."""

_RUNS = UUID("5ad8ca59-f9be-4cb8-8f45-18a6bfbfb8a4")
"""Namespace of the ids that names stand for."""


class RunId(click.ParamType[UUID]):
    """A UUID, or a name that stands for the same UUID on every machine."""

    name = "id"

    def convert(
        self, value: str | UUID, param: click.Parameter | None, ctx: click.Context | None
    ) -> UUID:
        """Return the id; fail with a sentence if the text is neither."""
        if isinstance(value, UUID):
            return value
        try:
            return UUID(value)
        except ValueError:
            if not _NAME.fullmatch(value):
                self.fail(
                    f"{value[:80]!r} is not an id; write a UUID, or a name of up to 63 letters, "
                    "digits, '.', '_' and '-' that starts and ends with a letter or digit",
                    param,
                    ctx,
                )
        return uuid5(_RUNS, value)
