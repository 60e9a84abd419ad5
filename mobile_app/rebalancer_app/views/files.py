"""Files that a person saves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway.client import File
from rebalancer_app.state import use_app
from rebalancer_app.views.resources import open_page, use_action
from rebalancer_app.views.widgets import notice, secondary_button


@ft.component
def SaveButton(
    words: str, address: str, load: Callable[[], Awaitable[File]], proof: str | None = None
) -> ft.Control:
    """Show a button that saves a file: a browser fetches it, a device asks where to put it.

    Args:
        words: Of the button.
        address: Where a browser finds the file.
        load: Returns the file, on a device.
        proof: Route to come back to if the server wants a fresh proof of identity.
    """
    app = use_app()
    page = ft.context.page

    async def save(_: str) -> None:
        file = await load()
        await ft.FilePicker().save_file(file_name=file.name, src_bytes=file.data)

    action = use_action(save, proof=proof)

    def start(_: object) -> None:
        if page.web:
            open_page(address)
        else:
            action.run()

    return ft.Column(
        [
            secondary_button(words, start, app, icon=ft.Icons.DOWNLOAD, disabled=action.running),
            *([notice(action.message, app)] if action.message else []),
        ],
        spacing=theme.GRID,
    )
