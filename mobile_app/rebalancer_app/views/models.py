"""Model portfolios: list them, see versions, preview and publish, and follow one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast
from uuid import UUID

import attrs
import flet as ft

from rebalancer_app.gateway import models, portfolios
from rebalancer_app.gateway.client import Answer
from rebalancer_app.gateway.models import (
    Draft,
    Follow,
    Model,
    ModelDetail,
    NewModel,
    Preview,
    Publication,
)
from rebalancer_app.gateway.pages import Page
from rebalancer_app.model.models import (
    PreviewScreen,
    VersionRow,
    model_screen,
    preview_screen,
    typed_targets,
)
from rebalancer_app.model.targets import add_targets
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    failure,
    notice,
    primary_button,
    quiet,
    secondary_button,
    shown,
    skeleton,
    text_field,
    words,
)


@attrs.frozen
class _Both:
    """The models of a person, and one portfolio."""

    models: list[Model]
    portfolio: portfolios.Portfolio


@ft.component
def Models() -> ft.View:
    """List the models of the person, and create one from a portfolio's targets."""
    app = use_app()
    text = app.texts
    found = use_resource(lambda: app.client.call(models.LIST, query={"limit": 100}))
    name, set_name = ft.use_state("")
    symbols, set_symbols = ft.use_state("")

    async def create(key: str) -> None:
        chosen = [one.strip().upper() for one in symbols.split(",") if one.strip()]
        share = round(1 / len(chosen), 6) if chosen else 0.0
        body = NewModel(name.strip(), dict.fromkeys(chosen, share))
        made = await app.client.call(models.CREATE, body, key=key)
        app.touch()
        go(f"/models/{made.data.id}")

    action = use_action(create)

    def content(page: Page[Model]) -> Sequence[ft.Control]:
        controls: list[ft.Control] = [quiet(text("models.hint"), app, "body")]
        if not page.items:
            controls.append(quiet(text("models.none"), app, "body"))
        controls += [
            card(
                ft.Column(
                    [
                        words(one.name, app, "lead", strong=True),
                        quiet(text("models.latest", number=one.latest), app),
                    ],
                    spacing=4,
                ),
                app,
                on_click=lambda _, id=one.id: go(f"/models/{id}"),
                label=one.name,
            )
            for one in page.items
        ]
        controls += [
            words(text("models.new"), app, "lead", strong=True),
            text_field(text("models.name"), name, set_name, app, max_length=100),
            text_field(text("models.symbols"), symbols, set_symbols, app),
            *failure(action, app),
            primary_button(
                text("models.create"),
                lambda _: action.run(),
                app,
                disabled=action.running or not name.strip() or not symbols.strip(),
            ),
        ]
        return controls

    return detail_view(
        "/models",
        text("settings.models"),
        shown(found, content, [skeleton(72, app), skeleton(72, app)]),
        app,
        reload=found.reload,
    )


@ft.component
def ModelDetailScreen() -> ft.View:
    """Show a model; preview and publish a draft of its next version."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("model", "")
    found = use_resource(lambda: app.client.call(models.READ, model_id=id), (id,))
    typed, set_typed = ft.use_state(cast("dict[str, str]", {}))
    added, set_added = ft.use_state("")
    note, set_note = ft.use_state("")
    preview, set_preview = ft.use_state(cast("Preview | None", None))
    accepts, set_accepts = ft.use_state(False)
    source = ft.use_ref(cast("int | None", None))

    def fields() -> dict[str, str]:
        known: dict[str, str] = {}
        if found.data is not None:
            known = typed_targets(found.data.versions[0].targets, app.formats)
        return known | typed

    async def look(_: str) -> None:
        set_accepts(False)
        draft = Draft(from_version=source.current)
        if source.current is None:
            draft = Draft(add_targets(fields(), app.formats, text).shares)
        answer = await app.client.call(models.PREVIEW, draft, model_id=id)
        set_preview(answer.data)

    async def publish(key: str) -> None:
        assert preview is not None
        rows = preview_screen(preview, app.formats, text).rows
        exceeding = [row.exceeds for row in rows if row.exceeds is not None]
        body = Publication(
            from_version=source.current,
            acknowledge=exceeding if accepts else [],
            note=note.strip(),
        )
        if source.current is None:
            shares = add_targets(fields(), app.formats, text).shares
            body = attrs.evolve(body, targets=shares)
        await app.client.call(models.PUBLISH, body, key=key, model_id=id, etag=found.etag)
        set_preview(None)
        set_typed({})
        set_note("")
        app.touch()

    looking, publishing = use_action(look), use_action(publish)

    def run_look(version: int | None) -> None:
        source.current = version
        looking.run()

    def content(model: ModelDetail) -> Sequence[ft.Control]:
        screen = model_screen(model, app.formats, text)
        controls: list[ft.Control] = [words(text("models.followers"), app, "lead", strong=True)]
        if not screen.followers:
            controls.append(quiet(text("models.no_followers"), app, "body"))
        controls += [quiet(f"{name} · {state}", app, "body") for name, state in screen.followers]
        controls.append(words(text("models.draft"), app, "lead", strong=True))
        if model.versions[0].target_groups is not None:
            controls.append(quiet(text("models.groups"), app))
        else:
            controls += _editor(fields(), set_typed, added, set_added, app)
            controls.append(secondary_button(text("models.preview"), lambda _: run_look(None), app))
        controls += failure(looking, app)
        if preview is not None:
            shown_preview = preview_screen(preview, app.formats, text)
            controls += _preview(shown_preview, accepts, set_accepts, app)
            controls.append(text_field(text("money.note"), note, set_note, app, max_length=500))
            controls += failure(publishing, app)
            needs = any(row.exceeds is not None for row in shown_preview.rows)
            controls.append(
                primary_button(
                    text("models.publish"),
                    lambda _: publishing.run(),
                    app,
                    disabled=publishing.running
                    or not shown_preview.is_ready
                    or (needs and not accepts),
                )
            )
        controls.append(words(text("models.versions"), app, "lead", strong=True))
        for row in screen.versions:
            controls.append(_version(row, row.number == model.latest, run_look, app))
        return controls

    title = found.data.name if found.data is not None else ""
    return detail_view(
        f"/models/{id}",
        title,
        shown(found, content, [skeleton(96, app), skeleton(160, app)]),
        app,
        reload=found.reload,
    )


def _editor(
    fields: dict[str, str],
    change: Callable[[dict[str, str]], None],
    added: str,
    set_added: Callable[[str], None],
    app: AppState,
) -> list[ft.Control]:
    """Return a field for each target in percent, one for a further symbol, and their sum."""
    text = app.texts
    state = add_targets(fields, app.formats, text)

    def share(symbol: str, value: str) -> ft.Control:
        return text_field(
            text("models.share", symbol=symbol),
            value,
            lambda given: change({**fields, symbol: given}),
            app,
            keyboard_type=ft.KeyboardType.NUMBER,
        )

    controls = [share(symbol, value) for symbol, value in fields.items()]

    def add(_: object) -> None:
        symbol = added.strip().upper()
        if symbol:
            change({**fields, symbol: fields.get(symbol, "")})
            set_added("")

    controls += [
        text_field(text("models.symbol"), added, set_added, app, on_submit=add),
        secondary_button(text("models.add"), add, app),
        words(state.text, app, color=app.colors.text if state.is_valid else app.colors.loss),
    ]
    return controls


def _preview(
    screen: PreviewScreen, accepts: bool, accept: Callable[[bool], None], app: AppState
) -> list[ft.Control]:
    """Return what each follower would trade, and the limits to acknowledge."""
    text = app.texts
    controls: list[ft.Control] = [
        ft.Semantics(live_region=True, content=words(screen.summary, app, "lead", strong=True))
    ]
    for row in screen.rows:
        lines: list[ft.Control] = [words(row.name, app, strong=True)]
        if row.summary:
            lines.append(quiet(row.summary, app))
        lines += [quiet(line, app) for line in row.lines]
        controls.append(card(ft.Column(lines, spacing=4), app))
    if any(row.exceeds is not None for row in screen.rows):
        controls.append(quiet(text("models.acknowledge_hint"), app))
        controls.append(
            ft.Checkbox(
                label=text("models.acknowledge"),
                value=accepts,
                on_change=lambda event: accept(bool(event.control.value)),
            )
        )
    return controls


def _version(
    row: VersionRow, is_latest: bool, look: Callable[[int | None], None], app: AppState
) -> ft.Control:
    """Return a version; an earlier one can be published again."""
    lines: list[ft.Control] = [
        words(row.title, app, strong=True),
        quiet(row.targets, app),
    ]
    if row.note:
        lines.append(quiet(row.note, app))
    if not is_latest:
        lines.append(secondary_button(app.texts("models.again"), lambda _: look(row.number), app))
    return card(ft.Column(lines, spacing=4), app)


@ft.component
def FollowModel() -> ft.View:
    """Choose the model that a portfolio follows, or none."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    chosen = ft.use_ref("")
    accepts, accept = ft.use_state(False)

    async def read() -> Answer[_Both]:
        one = await app.client.call(portfolios.READ, portfolio_id=id)
        page = await app.client.call(models.LIST, query={"limit": 100})
        return Answer(_Both(page.data.items, one.data), one.etag, one.received, one.is_old)

    found = use_resource(read, (id,))

    async def act(_: str) -> None:
        if chosen.current:
            body = Follow(UUID(chosen.current), accepts)
            await app.client.call(models.FOLLOW, body, portfolio_id=id, etag=found.etag)
        else:
            await app.client.call(models.UNFOLLOW, portfolio_id=id, etag=found.etag)
        app.touch()
        go(f"/portfolios/{id}")

    action = use_action(act)

    def run(model: str) -> None:
        chosen.current = model
        action.run()

    def content(both: _Both) -> Sequence[ft.Control]:
        current = both.portfolio.following
        controls: list[ft.Control] = [quiet(text("models.follow_hint"), app, "body")]
        controls += failure(action, app)
        exceeds = action.problem is not None and action.problem.code == "targets_exceed_limits"
        if exceeds or accepts:
            controls.append(quiet(text("models.acknowledge_hint"), app))
            controls.append(
                ft.Checkbox(
                    label=text("models.acknowledge"),
                    value=accepts,
                    on_change=lambda event: accept(bool(event.control.value)),
                )
            )
        if not both.models:
            controls.append(notice(text("models.none"), app))
        for one in both.models:
            follows = current is not None and current.model_id == one.id
            label = text("models.follows" if follows else "models.follow", name=one.name)
            controls.append(
                secondary_button(
                    label,
                    lambda _, model=str(one.id): run(model),
                    app,
                    disabled=follows or action.running,
                )
            )
        if current is not None:
            controls.append(
                secondary_button(
                    text("models.unfollow"), lambda _: run(""), app, disabled=action.running
                )
            )
        controls.append(secondary_button(text("settings.models"), lambda _: go("/models"), app))
        return controls

    return detail_view(
        f"/portfolios/{id}/model",
        text("portfolio.model"),
        shown(found, content, [skeleton(48, app), skeleton(48, app)]),
        app,
        reload=found.reload,
    )
