"""Import of a statement: choose the file, review it, add its entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from urllib.parse import quote

import flet as ft

from rebalancer_app.gateway import imports, profiles
from rebalancer_app.gateway.imports import (
    ImportPreview,
    ImportRecord,
    ImportRequest,
    UnknownInstrument,
)
from rebalancer_app.gateway.pages import Page
from rebalancer_app.gateway.profiles import TableFile
from rebalancer_app.model.statement_import import (
    ImportScreen,
    decode_statement,
    import_row,
    import_screen,
)
from rebalancer_app.model.table_profile import NONE, ProfileDraft, is_table
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import Action, use_action, use_resource
from rebalancer_app.views.table_profile import profile_form
from rebalancer_app.views.widgets import (
    card,
    drop_down,
    failure,
    icon_button,
    notice,
    primary_button,
    question,
    quiet,
    secondary_button,
    shown,
    skeleton,
    text_field,
    words,
)

File = tuple[str, str]
"""Name and text of a file."""

MOST_IMPORTS = 100


@ft.component
def ImportStatement() -> ft.View:
    """Review a statement of a broker, and add its entries."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    file, set_file = ft.use_state(cast("File | None", None))
    preview, set_preview = ft.use_state(cast("ImportPreview | None", None))
    mapping, set_mapping = ft.use_state(cast("dict[str, str]", {}))
    skips, set_skips = ft.use_state(False)
    deposits, set_deposits = ft.use_state(False)
    chosen = ft.use_ref(cast("File | None", None))
    draft, set_draft = ft.use_state(cast("ProfileDraft | None", None))
    using = ft.use_ref("")
    saved = use_resource(lambda: app.client.call(profiles.LIST))

    def request(*, dry_run: bool) -> ImportRequest:
        assert chosen.current is not None
        name, content = chosen.current
        given = {key: symbol.strip() for key, symbol in mapping.items() if symbol.strip()}
        named = using.current or None
        return ImportRequest(content, name, dry_run, given, skips, deposits, named)

    async def look(key: str) -> None:
        body = request(dry_run=True)
        answer = await app.client.call(imports.IMPORT, body, key=key, portfolio_id=id)
        set_preview(answer.data.preview)

    async def add(key: str) -> None:
        body = request(dry_run=False)
        await app.client.call(imports.IMPORT, body, key=key, portfolio_id=id)
        app.touch()
        go(f"/portfolios/{id}/activity")

    async def describe(_: str) -> None:
        assert chosen.current is not None
        name, content = chosen.current
        answer = await app.client.call(profiles.SKETCH, TableFile(content, name))
        set_draft(ProfileDraft.of(answer.data, name))

    async def save(key: str) -> None:
        assert draft is not None
        name = quote(draft.name.strip(), safe="")
        await app.client.call(profiles.SAVE, draft.profile(), name=name)
        using.current = draft.name.strip()
        await look(key)
        set_draft(None)
        saved.reload()

    looking, adding = use_action(look), use_action(add)
    describing, saving = use_action(describe), use_action(save)

    def use_profile(name: str) -> None:
        using.current = "" if name == NONE else name
        looking.run()

    def read(name: str, data: bytes) -> None:
        chosen.current = (name, decode_statement(data))
        set_file(chosen.current)
        set_preview(None)
        set_mapping({})
        set_draft(None)
        using.current = ""
        looking.run()

    controls: list[ft.Control] = [
        quiet(text("imports.hint"), app, "body"),
        _file_button(read, app),
    ]
    if file is not None:
        controls.append(words(file[0], app, strong=True))
    if draft is None:
        controls += failure(looking, app)
    if file is not None and is_table(file[0]):
        names = [] if saved.data is None else [one.name for one in saved.data.items]
        controls += _tables(names, using.current or NONE, use_profile, describing, app)
    if draft is not None:
        controls += profile_form(draft, set_draft, saving, app)
    elif preview is not None:
        screen = import_screen(preview, app.formats, text, hidden=app.amounts_hidden)
        controls += _review(screen, app)
        controls += [_unknown(one, mapping, set_mapping, app) for one in preview.unknown]
        if screen.can_skip:
            controls.append(_option(text("imports.skip_errors"), skips, set_skips))
        if screen.can_deposit or deposits:
            controls.append(_option(text("imports.deposit"), deposits, set_deposits))
        if not screen.is_ready or mapping or skips or deposits:
            controls.append(secondary_button(text("imports.check"), lambda _: looking.run(), app))
        controls += failure(adding, app)
        controls.append(
            primary_button(
                text("imports.add"),
                lambda _: adding.run(),
                app,
                disabled=adding.running or looking.running or not screen.is_ready,
            )
        )
    return detail_view(f"/portfolios/{id}/import", text("portfolio.import"), controls, app)


def _tables(
    names: list[str],
    chosen: str,
    choose: Callable[[str], None],
    describing: Action,
    app: AppState,
) -> list[ft.Control]:
    """Return the choice of a saved profile, and the way to a new one."""
    text = app.texts
    controls: list[ft.Control] = []
    if names:
        options = [(NONE, text("table.by_titles")), *((one, one) for one in names)]
        controls.append(drop_down(text("table.profile"), options, chosen, choose, app))
    controls += failure(describing, app)
    controls.append(
        secondary_button(
            text("table.describe"), lambda _: describing.run(), app, disabled=describing.running
        )
    )
    return controls


@ft.component
def StatementImports() -> ft.View:
    """List the imports of a portfolio, which can be undone."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    asking, ask = ft.use_state(cast("ImportRecord | None", None))
    found = use_resource(
        lambda: app.client.call(imports.LIST, query={"limit": MOST_IMPORTS}, portfolio_id=id), (id,)
    )

    async def undo(key: str) -> None:
        assert asking is not None
        import_id = asking.id
        ask(None)
        await app.client.call(imports.UNDO, key=key, portfolio_id=id, import_id=import_id)
        app.touch()

    undoing = use_action(undo)
    ft.use_dialog(
        None
        if asking is None
        else question(
            text("imports.undo_question"),
            words(text("imports.undo_text", number=asking.entries), app),
            text("imports.undo_now"),
            undoing.run,
            lambda: ask(None),
            app,
        )
    )

    def content(page: Page[ImportRecord]) -> list[ft.Control]:
        controls: list[ft.Control] = [*failure(undoing, app)]
        if not page.items:
            controls.append(quiet(text("imports.none"), app, "body"))
        for one in page.items:
            title, details = import_row(one, app.formats, text)
            lines: list[ft.Control] = [words(title, app, strong=True), quiet(details, app)]
            row: list[ft.Control] = [ft.Column(lines, spacing=2, expand=True)]
            if one.undone is None:
                label = text("imports.undo", title=title)
                row.append(icon_button(ft.Icons.UNDO, label, lambda _, one=one: ask(one), app))
            controls.append(card(ft.Row(row, spacing=8), app))
        return controls

    return detail_view(
        f"/portfolios/{id}/imports",
        text("imports.title"),
        shown(found, content, [skeleton(64, app), skeleton(64, app)]),
        app,
        reload=found.reload,
    )


def _file_button(read: Callable[[str, bytes], None], app: AppState) -> ft.Control:
    async def pick(_: object) -> None:
        files = await ft.FilePicker().pick_files(
            file_type=ft.FilePickerFileType.CUSTOM,
            allowed_extensions=["csv", "txt", "tsv", "xml", "json", "ofx", "qfx"],
            with_data=True,
            cancel_upload_on_window_blur=False,
        )
        if files and files[0].bytes is not None:
            read(files[0].name, bytes(files[0].bytes))

    return secondary_button(app.texts("imports.file"), pick, app, icon=ft.Icons.UPLOAD_FILE)


def _review(screen: ImportScreen, app: AppState) -> list[ft.Control]:
    """Return what would change, and what keeps it from being imported."""
    text = app.texts
    controls: list[ft.Control] = [
        ft.Semantics(live_region=True, content=words(screen.summary, app, "lead", strong=True))
    ]
    if screen.duplicates:
        controls.append(quiet(screen.duplicates, app, "body"))
    controls += [notice(one, app) for one in screen.problems]
    if screen.changes:
        rows: list[ft.Control] = [
            words(text("imports.change", title=title, before=before, after=after), app)
            for title, before, after in screen.changes
        ]
        controls.append(card(ft.Column(rows, spacing=4), app))
    if screen.entries:
        controls.append(
            card(ft.Column([quiet(one, app, "body") for one in screen.entries], spacing=4), app)
        )
    controls += [quiet(one, app) for one in screen.remarks]
    return controls


def _unknown(
    one: UnknownInstrument,
    mapping: dict[str, str],
    set_mapping: Callable[[dict[str, str]], None],
    app: AppState,
) -> ft.Control:
    """Return the field for the symbol of an instrument, with its suggestions."""

    def choose(symbol: str) -> None:
        set_mapping({**mapping, one.key: symbol})

    named = " · ".join(dict.fromkeys(part for part in (one.key, one.isin, one.name) if part))
    controls: list[ft.Control] = [
        text_field(app.texts("imports.symbol", name=named), mapping.get(one.key, ""), choose, app)
    ]
    for suggestion in one.suggestions:
        label = " · ".join(part for part in (suggestion.symbol, suggestion.name) if part)
        controls.append(
            secondary_button(label, lambda _, symbol=suggestion.symbol: choose(symbol), app)
        )
    return ft.Column(controls, spacing=4)


def _option(label: str, value: bool, change: Callable[[bool], None]) -> ft.Control:
    return ft.Checkbox(
        label=label, value=value, on_change=lambda event: change(bool(event.control.value))
    )
