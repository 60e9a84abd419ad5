"""Fields that keep what a person enters while the server draws them again."""

from __future__ import annotations

from typing import Any

import flet as ft
from flet.utils.object_model import patch_dataclass


class TypedField(ft.TextField):
    """A text field that a new drawing of the screen does not reset.

    The browser sends the new text first and the change event after it. A screen that is drawn
    between the two still has the older text, and would overwrite the new one. The field therefore
    keeps the text of the browser unless the screen has set another.
    """

    def init(self) -> None:
        """Remember the text that the screen has."""
        super().init()  # type: ignore[no-untyped-call]  # it has no annotations
        self._screen_text = self.value or ""

    def read_change(self, event: ft.Event[Any]) -> str:
        """Return the new text, and remember that the screen has it."""
        self._screen_text = str(event.data or "")
        return self._screen_text

    def _migrate_state(self, other: ft.BaseControl) -> None:
        super()._migrate_state(other)
        if isinstance(other, TypedField) and self._screen_text == other._screen_text:
            # As a change that came from the browser: nothing is sent back.
            patch_dataclass(self, {"value": other.value})
