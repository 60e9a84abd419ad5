"""Describe the columns of a table, so that it can be read."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import flet as ft

from rebalancer_app.model.table_profile import (
    AMOUNTS,
    COLUMNS,
    NONE,
    SIGNS,
    ProfileDraft,
    date_formats_of,
    first_rows,
    meanings_of,
    titles_of,
)
from rebalancer_app.state import AppState
from rebalancer_app.views.resources import Action
from rebalancer_app.views.widgets import (
    card,
    drop_down,
    failure,
    notice,
    primary_button,
    quiet,
    text_field,
    words,
)


def profile_form(
    draft: ProfileDraft,
    change: Callable[[ProfileDraft], None],
    saving: Action,
    app: AppState,
) -> list[ft.Control]:
    """Return the fields of a mapping profile, with the first rows of the table."""
    text = app.texts
    rows: list[ft.Control] = [quiet(one, app, "body") for one in first_rows(draft.sketch)]
    controls: list[ft.Control] = [
        words(text("table.rows", count=draft.sketch.row_count), app, "lead", strong=True),
        card(ft.Column(rows, spacing=4), app),
    ]
    titles = titles_of(draft, text)

    def column(name: str) -> ft.Control:
        return drop_down(
            text(f"table.column.{name}"),
            titles,
            draft.columns.get(name, NONE),
            lambda title: change(draft.with_column(name, title)),
            app,
        )

    controls += [column(name) for name in COLUMNS]
    controls += _kinds(draft, change, app)
    controls += [
        drop_down(
            text("table.date_format"),
            date_formats_of(draft, text),
            draft.date_format or NONE,
            lambda one: change(attrs.evolve(draft, date_format="" if one == NONE else one)),
            app,
        ),
        drop_down(
            text("table.decimal_mark"),
            [(NONE, text("table.by_file")), (".", text("table.point")), (",", text("table.comma"))],
            draft.decimal_mark or NONE,
            lambda one: change(attrs.evolve(draft, decimal_mark="" if one == NONE else one)),
            app,
        ),
        drop_down(
            text("table.signs"),
            [(one, text(f"table.sign.{one}")) for one in SIGNS],
            draft.signs,
            lambda one: change(attrs.evolve(draft, signs=one)),
            app,
        ),
        drop_down(
            text("table.amounts"),
            [(one, text(f"table.basis.{one}")) for one in AMOUNTS],
            draft.amounts,
            lambda one: change(attrs.evolve(draft, amounts=one)),
            app,
        ),
        text_field(
            text("table.name"),
            draft.name,
            lambda one: change(attrs.evolve(draft, name=one)),
            app,
        ),
    ]
    missing = draft.missing(text)
    controls += [notice(one, app) for one in missing]
    controls += failure(saving, app)
    controls.append(
        primary_button(
            text("table.save"),
            lambda _: saving.run(),
            app,
            disabled=saving.running or bool(missing),
        )
    )
    return controls


def _kinds(
    draft: ProfileDraft, change: Callable[[ProfileDraft], None], app: AppState
) -> list[ft.Control]:
    """Return the fields for the meanings of words, or of all rows without a column of kinds."""
    text = app.texts
    meanings = meanings_of(text)
    if "kind" not in draft.columns:
        return [
            drop_down(
                text("table.default_kind"),
                meanings,
                draft.default_kind or NONE,
                lambda one: change(attrs.evolve(draft, default_kind="" if one == NONE else one)),
                app,
            )
        ]

    def meaning(word: str) -> ft.Control:
        return drop_down(
            text("table.word", word=word),
            meanings,
            draft.kinds[word] or NONE,
            lambda one: change(draft.with_kind(word, one)),
            app,
        )

    return [meaning(word) for word in draft.kinds]
