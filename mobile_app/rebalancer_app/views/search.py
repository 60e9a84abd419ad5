"""Search of assets while a person types."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import cast

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import market
from rebalancer_app.gateway.market import Asset
from rebalancer_app.gateway.problems import Offline, Problem
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.widgets import card, quiet, text_field, words

PAUSE = 0.25
"""Seconds without a key after which the search begins."""

SHOWN = 8


@ft.component
def AssetSearch(
    choose: Callable[[Asset], None],
    label: str,
    taken: Collection[str] = (),
) -> ft.Control:
    """Show a field and the assets that fit what is typed.

    Args:
        choose: Called with the asset that the person takes.
        label: Name of the field.
        taken: Symbols that are not offered.
    """
    app = use_app()
    typed, set_typed = ft.use_state("")
    found, set_found = ft.use_state(cast("list[Asset] | None", None))
    message, set_message = ft.use_state("")
    latest = ft.use_ref("")

    async def search() -> None:
        wanted = typed.strip()
        latest.current = wanted
        if not wanted:
            set_found(None)
            return
        await asyncio.sleep(PAUSE)
        if latest.current != wanted:
            return
        try:
            answer = await app.client.call(
                market.SEARCH, query={"query": wanted, "limit": SHOWN + len(taken)}
            )
        except (Problem, Offline) as error:
            set_message(str(error) or app.texts("app.unreachable"))
            return
        if latest.current == wanted:
            set_message("")
            set_found([one for one in answer.data.items if one.symbol not in taken][:SHOWN])

    ft.use_effect(search, [typed, len(taken)])

    def take(asset: Asset) -> None:
        set_typed("")
        set_found(None)
        choose(asset)

    controls: list[ft.Control] = [
        text_field(label, typed, set_typed, app, prefix_icon=ft.Icons.SEARCH)
    ]
    if message:
        controls.append(quiet(message, app))
    elif found == []:
        controls.append(quiet(app.texts("market.not_found"), app))
    controls += [asset_row(one, take, app) for one in found or ()]
    return ft.Column(controls, spacing=theme.GRID)


def asset_row(asset: Asset, choose: Callable[[Asset], None], app: AppState) -> ft.Control:
    """Return an asset as a row that can be taken."""
    formats = app.formats
    price = ""
    if asset.price is not None and asset.currency is not None:
        price = formats.money(Decimal(str(round(asset.price, 4))), asset.currency)
    return card(
        ft.Row(
            [
                ft.Column(
                    [
                        words(asset.symbol, app, strong=True),
                        quiet(asset.name or asset.exchange, app),
                    ],
                    spacing=2,
                    expand=True,
                ),
                words(price, app),
            ]
        ),
        app,
        on_click=lambda _: choose(asset),
        label=f"{asset.symbol}, {asset.name}, {price}",
    )
