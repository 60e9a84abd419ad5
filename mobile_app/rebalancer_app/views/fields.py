"""Fields that keep what a person enters while the server draws them again."""

from __future__ import annotations

from typing import Any

import flet as ft
from flet.utils.object_model import patch_dataclass


class TypedField(ft.TextField):
    """A text field that does not take back what is typed.

    The text of a field reaches the server before the event that tells the screen of it. A screen
    that is drawn between the two still has the older text, and would replace what the person
    typed since. The field therefore keeps its text unless the screen has changed its own.
    """

    def init(self) -> None:
        """Remember the text with which the screen draws the field."""
        super().init()  # type: ignore[no-untyped-call]  # it has no annotations
        self._told = self.value or ""

    def tell(self, event: ft.Event[Any]) -> str:
        """Return the text of a change, which the screen now knows."""
        self._told = str(event.data or "")
        return self._told

    def _migrate_state(self, other: ft.BaseControl) -> None:
        super()._migrate_state(other)
        if isinstance(other, TypedField) and self._told == other._told:
            # As a change that came from the browser: nothing is sent back.
            patch_dataclass(self, {"value": other.value})
