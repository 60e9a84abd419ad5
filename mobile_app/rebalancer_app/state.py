"""What the whole app shares: the person, the connection, and how things are shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import flet as ft

from rebalancer_app import theme
from rebalancer_app.device import Device
from rebalancer_app.gateway.client import Client
from rebalancer_app.gateway.users import User
from rebalancer_app.model.formats import Formats
from rebalancer_app.texts import Texts, load_texts


@ft.observable
@dataclass(repr=False)  # it would show a whole server
class AppState:
    """State of one window or device; components that read it are drawn again when it changes.

    Attributes:
        client: The connection to the server.
        language: One of `texts.LANGUAGES`.
        region: Language tag that decides how numbers look, such as ``de-CH``.
        appearance: ``system``, ``light`` or ``dark``.
        is_dark: What the appearance means now.
        currency: Of the totals on Home; empty: the server chooses.
        width: Of the window, in logical pixels.
        amounts_hidden: Whether amounts of money are replaced by dots.
        user: The signed-in person; None until known.
        device: Where the app runs by itself; None in a browser.
        signed_in: Whether the connection has tokens; always in a browser.
        unread: Number of notices that were not read.
    """

    client: Client
    language: str = "en"
    region: str = "en-GB"
    appearance: str = "system"
    is_dark: bool = False
    width: float = 390.0
    currency: str = ""
    amounts_hidden: bool = False
    user: User | None = None
    device: Device | None = None
    signed_in: bool = True
    unread: int = 0
    changes: int = field(default=0)

    @property
    def texts(self) -> Texts:
        """Return the words of the language."""
        return load_texts(self.language)

    @property
    def formats(self) -> Formats:
        """Return the formats of the region."""
        return Formats.of(self.region)

    @property
    def colors(self) -> theme.Colors:
        """Return the colours of the appearance."""
        return theme.DARK if self.is_dark else theme.LIGHT

    def touch(self) -> None:
        """Have screens load again what a write has changed."""
        self.changes += 1


def now(state: AppState) -> datetime:
    """Return the present time in the zone of the process."""
    return datetime.now().astimezone()


Current: ft.ContextProvider[AppState | None] = ft.create_context(None)
"""The state, for components below the root."""


def use_app() -> AppState:
    """Return the state of the app; only inside a component."""
    state = ft.use_context(Current)
    assert state is not None  # the root provides it
    return state
