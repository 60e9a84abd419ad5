"""What the person has chosen for this device: language, region, currency, appearance."""

from __future__ import annotations

import contextlib

import flet as ft

from rebalancer_app.state import AppState
from rebalancer_app.texts import LANGUAGES

_PREFIX = "rebalancer."
APPEARANCES = ("system", "light", "dark")
CURRENCIES = ("USD", "EUR", "GBP", "CHF", "JPY", "CAD", "AUD")
"""Currencies to choose from, for totals and for new portfolios."""

REGIONS = ("en-GB", "en-US", "de-DE", "de-CH", "fr-FR", "sv-SE")


async def load(page: ft.Page, state: AppState) -> None:
    """Apply what was chosen before on this device."""
    stored = ft.SharedPreferences()
    with contextlib.suppress(Exception):  # a device without a store keeps the defaults
        language = await stored.get(f"{_PREFIX}language")
        region = await stored.get(f"{_PREFIX}region")
        currency = await stored.get(f"{_PREFIX}currency")
        appearance = await stored.get(f"{_PREFIX}appearance")
        if language in LANGUAGES:
            state.language = str(language)
        if region in REGIONS:
            state.region = str(region)
        if currency in CURRENCIES:
            state.currency = str(currency)
        if appearance in APPEARANCES:
            set_appearance(page, state, str(appearance))
            page.update()


async def keep(name: str, value: str) -> None:
    """Remember a choice on this device."""
    with contextlib.suppress(Exception):
        await ft.SharedPreferences().set(f"{_PREFIX}{name}", value)


def set_appearance(page: ft.Page, state: AppState, appearance: str) -> None:
    """Switch between the system's appearance, light and dark."""
    state.appearance = appearance
    page.theme_mode = ft.ThemeMode(appearance)
    dark = page.platform_brightness is ft.Brightness.DARK
    state.is_dark = dark if appearance == "system" else appearance == "dark"
