"""A proposal: what to trade, why, why not, what it costs, and the decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import rebalance as gateway
from rebalancer_app.gateway.rebalance import Acceptance, Proposal, Remark
from rebalancer_app.model.proposal import (
    OrderCard,
    ProposalScreen,
    execution_text,
    proposal_screen,
)
from rebalancer_app.state import AppState, now, use_app
from rebalancer_app.views.bars import before_after_bars
from rebalancer_app.views.files import SaveButton
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import Action, use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    confirmation,
    content_width,
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


@ft.component
def ProposalDetail() -> ft.View:
    """Show a proposal and let the person decide."""
    app = use_app()
    text = app.texts
    parameters = ft.use_route_params()
    portfolio, id = parameters.get("portfolio", ""), parameters.get("proposal", "")
    question, ask = ft.use_state("")
    remark, set_remark = ft.use_state("")
    done, set_done = ft.use_state("")
    found = use_resource(lambda: app.client.call(gateway.READ, proposal_id=id), (id,))

    async def accept(key: str, mode: str = "paper") -> None:
        ask("")
        await app.client.call(gateway.ACCEPT, Acceptance(mode), key=key, proposal_id=id)
        set_done(text("proposal.done" if mode == "paper" else "proposal.worksheet_done"))
        app.touch()

    async def accept_elsewhere(key: str) -> None:
        await accept(key, "worksheet")

    async def reject(key: str) -> None:
        ask("")
        await app.client.call(gateway.REJECT, Remark(remark), key=key, proposal_id=id)
        set_done(text("proposal.rejected"))
        app.touch()

    on_paper, elsewhere, refusal = (
        use_action(accept),
        use_action(accept_elsewhere),
        use_action(reject),
    )
    running = on_paper.running or elsewhere.running or refusal.running
    message = on_paper.message or elsewhere.message or refusal.message

    ft.use_dialog(
        _accept_dialog(found.data, on_paper, ask, app)
        if question == "accept" and found.data is not None
        else _reject_dialog(refusal, remark, set_remark, ask, app)
        if question == "reject"
        else None
    )

    def content(one: Proposal) -> Sequence[ft.Control]:
        screen = proposal_screen(one, app.formats, text, now(app))
        if done:  # until it is read again
            screen = attrs.evolve(screen, expires="")
        controls: list[ft.Control] = [_headline(screen, app)]
        if done:
            controls.append(confirmation(done, app))
        if message:
            controls.append(notice(message, app, icon=ft.Icons.ERROR_OUTLINE))
        if screen.state and not done:
            controls.append(notice(screen.state, app))
        for name, orders in (("sells", screen.sells), ("buys", screen.buys)):
            if orders:
                controls.append(words(text(f"proposal.{name}"), app, "lead", strong=True))
                controls += [_order(order, app) for order in orders]
        if screen.conversions:
            controls.append(words(text("proposal.conversions"), app, "lead", strong=True))
            controls += [words(line, app) for line in screen.conversions]
        if screen.not_traded:
            controls.append(_why_not(screen, app))
        controls.append(_facts(screen, app))
        if screen.bars:
            controls.append(_before_after(screen, app))
        if screen.others:
            controls.append(_compared(screen, app))
        controls += [quiet(note, app, "body") for note in screen.notes]
        if one.orders:
            controls.append(_copy_button(screen, app))
            controls.append(_save_button(id, app))
        if screen.can_fill:
            controls.append(
                primary_button(
                    text("proposal.record_fills"),
                    lambda _: go(f"/portfolios/{portfolio}/proposals/{id}/fills"),
                    app,
                )
            )
        if not screen.can_decide and not done:
            controls.append(
                secondary_button(
                    text("proposal.again"), lambda _: go(f"/portfolios/{portfolio}/rebalance"), app
                )
            )
        controls.append(quiet(screen.disclaimer, app))
        return controls

    waits = found.data is not None and found.data.stage == "proposed" and found.data.stale is None
    waiting = [skeleton(72, app), skeleton(96, app), skeleton(96, app), skeleton(160, app)]
    return detail_view(
        f"/portfolios/{portfolio}/proposals/{id}",
        text("proposal.title"),
        shown(found, content, waiting),
        app,
        reload=found.reload,
        bottom=_decision(on_paper, elsewhere, ask, running or found.is_old, app)
        if waits and not done
        else None,
    )


def _headline(screen: ProposalScreen, app: AppState) -> ft.Control:
    lines = [quiet(f"{screen.policy} · {screen.as_of}", app)]
    if screen.expires:
        lines.append(quiet(screen.expires, app))
    return ft.Column([words(screen.headline, app, "figure", strong=True), *lines], spacing=4)


def _order(order: OrderCard, app: AppState) -> ft.Control:
    lines: list[ft.Control] = [
        ft.Row(
            [
                words(order.title, app, "lead", strong=True, expand=True),
                words(order.amount, app, "lead", strong=True),
            ]
        ),
        quiet(order.details, app),
        *([words(order.gain, app, "note", strong=True)] if order.gain else []),
        words(order.reason, app),
    ]
    if order.filled:
        lines.append(words(order.filled, app, "note", strong=True))
    return card(ft.Column(lines, spacing=4), app)


def _why_not(screen: ProposalScreen, app: AppState) -> ft.Control:
    return ft.ExpansionTile(
        title=words(app.texts("proposal.why_not"), app, "lead", strong=True),
        controls=[
            ft.Container(
                ft.Column(
                    [words(symbol, app, strong=True), words(reason, app)],
                    spacing=2,
                    horizontal_alignment=ft.CrossAxisAlignment.START,
                ),
                padding=ft.Padding.symmetric(vertical=theme.GRID, horizontal=theme.GRID * 2),
                alignment=ft.Alignment.CENTER_LEFT,
            )
            for symbol, reason in screen.not_traded
        ],
        expanded=not (screen.sells or screen.buys),
        icon_color=app.colors.quiet,
        collapsed_icon_color=app.colors.quiet,
        tile_padding=ft.Padding.all(0),
    )


def _facts(screen: ProposalScreen, app: AppState) -> ft.Control:
    return card(
        ft.Column(
            [
                ft.Row(
                    [quiet(name, app, "body", expand=True), words(value, app, strong=True)],
                )
                for name, value in screen.facts
            ],
            spacing=theme.GRID,
        ),
        app,
    )


def _before_after(screen: ProposalScreen, app: AppState) -> ft.Control:
    return card(
        ft.Column(
            [
                words(app.texts("proposal.before_after"), app, "lead", strong=True),
                MovingBars(screen),
            ],
            spacing=theme.GRID * 1.5,
        ),
        app,
    )


@ft.component
def MovingBars(screen: ProposalScreen) -> ft.Control:
    """Draw the bars as they are before the orders, then move them."""
    app = use_app()
    moved, move = ft.use_state(False)
    ft.use_effect(lambda: move(True), [])
    return before_after_bars(screen.bars, screen.scale, content_width(app) - 36, app, moved=moved)


def _compared(screen: ProposalScreen, app: AppState) -> ft.Control:
    return card(
        ft.Column(
            [
                words(app.texts("proposal.compared"), app, "lead", strong=True),
                *[
                    ft.Row(
                        [
                            words(other.name, app, strong=True, expand=True),
                            quiet(f"{other.orders}, {other.cost}", app, "body"),
                        ]
                    )
                    for other in screen.others
                ],
            ],
            spacing=theme.GRID,
        ),
        app,
    )


def _copy_button(screen: ProposalScreen, app: AppState) -> ft.Control:
    page = ft.context.page

    async def copy(_: object) -> None:
        lines = [f"{order.title} ({order.details})" for order in (*screen.sells, *screen.buys)]
        await ft.Clipboard().set("\n".join(lines))
        page.show_dialog(ft.SnackBar(app.texts("proposal.copied")))

    return secondary_button(app.texts("proposal.share"), copy, app, icon=ft.Icons.COPY)


def _save_button(id: str, app: AppState) -> ft.Control:
    return SaveButton(
        app.texts("proposal.save"),
        f"/session/own/worksheet/{id}",
        lambda: app.client.download(gateway.WORKSHEET, proposal_id=id),
    )


def _decision(
    on_paper: Action, elsewhere: Action, ask: Callable[[str], None], disabled: bool, app: AppState
) -> ft.Control:
    """Return the buttons of the decision: pressing long accepts, pressing shortly asks."""
    text = app.texts
    return ft.Container(
        ft.Column(
            [
                primary_button(
                    text("proposal.accept"),
                    lambda _: ask("accept"),
                    app,
                    on_long_press=lambda _: on_paper.run(),
                    tooltip=text("proposal.accept_hint"),
                    disabled=disabled,
                ),
                ft.Row(
                    [
                        secondary_button(
                            text("proposal.worksheet"),
                            lambda _: elsewhere.run(),
                            app,
                            expand=True,
                            disabled=disabled,
                        ),
                        secondary_button(
                            text("proposal.reject"),
                            lambda _: ask("reject"),
                            app,
                            expand=True,
                            disabled=disabled,
                        ),
                    ]
                ),
            ],
            spacing=theme.GRID,
            horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
        ),
        bgcolor=app.colors.surface,
        border=ft.Border.only(top=ft.BorderSide(1, app.colors.line)),
        padding=theme.GRID * 2,
    )


def _accept_dialog(
    one: Proposal, on_paper: Action, ask: Callable[[str], None], app: AppState
) -> ft.AlertDialog:
    text = app.texts
    return question(
        text("proposal.accept_question"),
        words(execution_text(one, app.formats, text), app),
        text("proposal.accept_now"),
        on_paper.run,
        lambda: ask(""),
        app,
    )


def _reject_dialog(
    refusal: Action,
    remark: str,
    set_remark: Callable[[str], None],
    ask: Callable[[str], None],
    app: AppState,
) -> ft.AlertDialog:
    text = app.texts
    return question(
        text("proposal.reject_question"),
        text_field(text("proposal.reject_reason"), remark, set_remark, app),
        text("proposal.reject"),
        refusal.run,
        lambda: ask(""),
        app,
    )
