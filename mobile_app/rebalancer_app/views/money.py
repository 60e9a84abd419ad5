"""Deposits, withdrawals and trades that were made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import ledger, portfolios, rebalance
from rebalancer_app.gateway.ledger import CashFlow, Trade, Trades
from rebalancer_app.gateway.portfolios import Portfolio
from rebalancer_app.gateway.rebalance import Fill, Proposal
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.numbers import read_number
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    choices,
    failure,
    field_problem,
    notice,
    primary_button,
    quiet,
    shown,
    skeleton,
    text_field,
    words,
)


@ft.component
def Deposit() -> ft.View:
    """Record money that came."""
    return _money_view("deposit")


@ft.component
def Withdraw() -> ft.View:
    """Record money that went."""
    return _money_view("withdrawal")


def _money_view(kind: str) -> ft.View:
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    amount, set_amount = ft.use_state("")
    note, set_note = ft.use_state("")
    wrong, set_wrong = ft.use_state("")
    found = use_resource(lambda: app.client.call(portfolios.READ, portfolio_id=id), (id,))

    async def record(key: str) -> None:
        number = read_number(amount, app.formats)
        if number is None or number <= 0:
            set_wrong(text("money.amount_wrong"))
            return
        set_wrong("")
        flow = CashFlow(kind, number, note=note)
        await app.client.call(ledger.PAY, flow, key=key, portfolio_id=id)
        app.touch()
        go(f"/portfolios/{id}")

    action = use_action(record)

    def content(one: Portfolio) -> Sequence[ft.Control]:
        formats = app.formats
        held = formats.money(one.cash, one.currency)
        return [
            quiet(text("money.cash", amount=held), app, "body"),
            text_field(
                text("money.amount", currency=one.currency),
                amount,
                set_amount,
                app,
                keyboard_type=ft.KeyboardType.NUMBER,
                autofocus=True,
                error=wrong or field_problem(action, "amount", app),
                on_submit=lambda _: action.run(),
            ),
            text_field(text("money.note"), note, set_note, app, max_length=200),
            *failure(action, app, "amount"),
            primary_button(
                text(f"money.{kind}"), lambda _: action.run(), app, disabled=action.running
            ),
            quiet(text(f"money.{kind}_hint"), app),
        ]

    waiting = [skeleton(24, app, 200), skeleton(56, app), skeleton(56, app), skeleton(48, app)]
    route = "deposit" if kind == "deposit" else "withdraw"
    return detail_view(
        f"/portfolios/{id}/{route}", text(f"money.{kind}"), shown(found, content, waiting), app
    )


@ft.component
def RecordTrade() -> ft.View:
    """Record a trade that was made elsewhere."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    side, set_side = ft.use_state("buy")
    fields, set_fields = ft.use_state({"symbol": "", "quantity": "", "price": "", "cost": ""})
    wrong, set_wrong = ft.use_state(cast("dict[str, str]", {}))
    confirmed, confirm = ft.use_state(False)

    async def record(key: str) -> None:
        trade, mistakes = _read_trade(side, fields, app.formats, app)
        set_wrong(mistakes)
        if trade is None:
            return
        body = Trades([trade], confirm_price=confirmed)
        await app.client.call(ledger.TRADE, body, key=key, portfolio_id=id)
        app.touch()
        go(f"/portfolios/{id}")

    action = use_action(record)

    def field(name: str, **more: Any) -> ft.Control:
        return text_field(
            text(f"money.{name}"),
            fields[name],
            lambda value: set_fields({**fields, name: value}),
            app,
            error=wrong.get(name) or field_problem(action, name, app),
            **more,
        )

    far = action.problem is not None and action.problem.code == "price_implausible"
    number = ft.KeyboardType.NUMBER
    controls: list[ft.Control] = [
        choices(
            [("buy", text("money.buy")), ("sell", text("money.sell"))],
            side,
            set_side,
            app,
            label=text("money.side"),
        ),
        field("symbol", capitalization=ft.TextCapitalization.CHARACTERS, autofocus=True),
        field("quantity", keyboard_type=number),
        field("price", keyboard_type=number),
        field("cost", keyboard_type=number),
    ]
    if far or confirmed:
        controls.append(
            ft.Checkbox(
                label=text("money.confirm_price"),
                value=confirmed,
                on_change=lambda event: confirm(bool(event.control.value)),
            )
        )
    controls += failure(action, app, *fields)
    controls.append(
        primary_button(text("money.record"), lambda _: action.run(), app, disabled=action.running)
    )
    return detail_view(f"/portfolios/{id}/trade", text("portfolio.trade"), controls, app)


@ft.component
def RecordFills() -> ft.View:
    """Record the trades of an accepted proposal, all of them or in part."""
    app = use_app()
    text = app.texts
    parameters = ft.use_route_params()
    id, proposal_id = parameters.get("portfolio", ""), parameters.get("proposal", "")
    typed, set_typed = ft.use_state(cast("dict[tuple[str, str], str]", {}))
    wrong, set_wrong = ft.use_state("")
    found = use_resource(
        lambda: app.client.call(rebalance.READ, proposal_id=proposal_id), (proposal_id,)
    )

    def prefilled(one: Proposal, fill: Fill, name: str) -> str:
        given = typed.get((fill.symbol, name))
        if given is not None:
            return str(given)
        order = next(o for o in one.orders if o.symbol == fill.symbol and o.side == fill.side)
        values = {"quantity": fill.open, "price": order.price, "cost": order.cost}
        return app.formats.plain(values[name])

    async def record(key: str) -> None:
        assert found.data is not None
        trades = []
        for fill in found.data.fills:
            if not fill.open:
                continue
            numbers = {
                name: read_number(prefilled(found.data, fill, name), app.formats)
                for name in ("quantity", "price", "cost")
            }
            if any(number is None or number < 0 for number in numbers.values()):
                set_wrong(text("money.fill_wrong", symbol=fill.symbol))
                return
            quantity, price = numbers["quantity"], numbers["price"]
            if quantity and price:
                cost = numbers["cost"] or Decimal(0)
                trades.append(Trade(fill.side, fill.symbol, quantity, price, cost))
        if not trades:
            set_wrong(text("money.fill_none"))
            return
        set_wrong("")
        body = Trades(trades, UUID(proposal_id))
        await app.client.call(ledger.TRADE, body, key=key, portfolio_id=id)
        set_typed({})
        app.touch()
        go(f"/portfolios/{id}/proposals/{proposal_id}")

    action = use_action(record)

    def content(one: Proposal) -> Sequence[ft.Control]:
        waiting_for = [fill for fill in one.fills if fill.open]
        controls: list[ft.Control] = [quiet(text("money.fill_hint"), app, "body")]
        controls += [
            _fill_card(one, fill, prefilled, typed, set_typed, app) for fill in waiting_for
        ]
        message = wrong or action.message
        if message:
            controls.append(notice(message, app))
        controls.append(
            primary_button(
                text("money.record"), lambda _: action.run(), app, disabled=action.running
            )
        )
        return controls

    waiting = [skeleton(160, app), skeleton(160, app)]
    return detail_view(
        f"/portfolios/{id}/proposals/{proposal_id}/fills",
        text("proposal.record_fills"),
        shown(found, content, waiting),
        app,
    )


def _fill_card(
    one: Proposal,
    fill: Fill,
    prefilled: Callable[[Proposal, Fill, str], str],
    typed: dict[tuple[str, str], str],
    set_typed: Callable[[dict[tuple[str, str], str]], None],
    app: AppState,
) -> ft.Control:
    """Return the form of one order, filled in as if it had been executed as proposed."""
    text = app.texts

    def field(name: str) -> ft.Control:
        return text_field(
            text(f"money.{name}"),
            prefilled(one, fill, name),
            lambda value: set_typed({**typed, (fill.symbol, name): value}),
            app,
            keyboard_type=ft.KeyboardType.NUMBER,
        )

    title = text(
        f"proposal.{fill.side}", quantity=app.formats.quantity(fill.open), symbol=fill.symbol
    )
    return card(
        ft.Column(
            [words(title, app, "lead", strong=True), *map(field, ("quantity", "price", "cost"))],
            spacing=theme.GRID * 1.5,
        ),
        app,
    )


def _read_trade(
    side: str, fields: dict[str, str], formats: Formats, app: AppState
) -> tuple[Trade | None, dict[str, str]]:
    """Return the trade that was typed, or what is wrong by field."""
    text, wrong = app.texts, {}
    symbol = fields["symbol"].strip()
    if not symbol:
        wrong["symbol"] = text("money.symbol_missing")
    numbers = {}
    for name in ("quantity", "price", "cost"):
        typed = fields[name].strip()
        numbers[name] = Decimal(0) if name == "cost" and not typed else read_number(typed, formats)
        value = numbers[name]
        if value is None or value < 0 or (name != "cost" and not value):
            wrong[name] = text("money.number_wrong")
    if wrong:
        return None, wrong
    quantity, price, cost = (numbers[name] or Decimal(0) for name in ("quantity", "price", "cost"))
    return Trade(side, symbol, quantity, price, cost), {}
