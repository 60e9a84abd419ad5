"""Fields keep what is typed while the server draws them again."""

import flet as ft
from flet.controls.base_control import BaseControl
from flet.controls.object_patch import ObjectPatch
from flet.utils.object_model import patch_dataclass

from rebalancer_app.views.fields import TypedField


class Screen:
    """A screen with one field, and the browser that shows it."""

    def __init__(self) -> None:
        self.known = ""
        self.shown = ""
        self.field = TypedField(label="Name", value="")

    def type(self, text: str) -> ft.Event:
        """Type; return the change event, which the screen gets later."""
        self.shown = text
        patch_dataclass(self.field, {"value": text})
        return ft.Event(control=self.field, name="change", data=text)

    def handle(self, event: ft.Event) -> None:
        self.known = self.field.read_change(event)

    def draw(self) -> None:
        """Draw the field with the text that the screen knows, and send the difference."""
        drawn = TypedField(label="Name", value=self.known)
        for one in (self.field, drawn):
            object.__setattr__(one, "_frozen", True)
        patch, _, _ = ObjectPatch.from_diff(self.field, drawn, control_cls=BaseControl, frozen=True)
        for change in patch.patch:
            if change["path"] == ["value"]:
                self.shown = change["value"]
        self.field = drawn


def test_text_survives_a_drawing_that_began_before_it():
    screen = Screen()
    event = screen.type("Nest egg")
    screen.draw()  # knows nothing of the text yet
    assert screen.shown == "Nest egg"
    screen.handle(event)
    screen.draw()
    assert (screen.known, screen.shown) == ("Nest egg", "Nest egg")


def test_slow_server_keeps_fast_typing():
    screen = Screen()
    events = [screen.type(text) for text in ("a", "ab", "abc")]
    for event in events:
        screen.handle(event)
        screen.draw()
        assert screen.shown == "abc"
    assert screen.known == "abc"


def test_a_text_that_the_screen_changes_is_shown():
    screen = Screen()
    screen.handle(screen.type("1000"))
    screen.known = "1,000"
    screen.draw()
    assert screen.shown == "1,000"
    screen.handle(screen.type("1,0005"))
    screen.known = ""  # sent
    screen.draw()
    assert screen.shown == ""
