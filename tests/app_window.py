"""The app in a browser, used as a person would: by what is written on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
from playwright.sync_api import Browser, Error, Locator, Page, TimeoutError

from rebalancer_app.texts import Texts, load_texts

PICTURES = Path(__file__).parent.parent / "out/failed-windows"
"""Where windows of failed tests are kept."""

PATIENCE = 180_000
"""Milliseconds, far more than needed: on a busy machine only a failure waits that long."""

_EXPECTED = ("WebGL", "GPU stall", "Injecting <script>", "Flutter app loaded", "favicon")
"""What a browser without a graphics card reports."""


_IS_DRAWN = """() => {
    const host = document.querySelector('flt-semantics-host');
    if (!host || !host.querySelector('flt-semantics')) {
        document.querySelector('flt-semantics-placeholder')?.click();
        return false;
    }
    const labels = [...host.querySelectorAll('[aria-label]')];
    const said = host.innerText + labels.map(node => node.getAttribute('aria-label')).join('');
    return said.trim() !== '' && !said.includes('Working...');
}"""
"""Whether something of the app is on the screen; before that its frame says that it works."""

_IS_SAID = """wanted => {
    const host = document.querySelector('flt-semantics-host') || document.body;
    const labels = [...host.querySelectorAll('[aria-label]')];
    const said = labels.map(node => node.getAttribute('aria-label')).join('\\n');
    return (host.innerText + '\\n' + said).includes(wanted);
}"""


_COUNT_LISTENERS = """(() => {
    const {addEventListener: add, removeEventListener: remove} = EventTarget.prototype;
    const count = (target, type, change) => {
        if (type === 'input') target.inputListeners = (target.inputListeners ?? 0) + change;
    };
    EventTarget.prototype.addEventListener = function (type, ...rest) {
        count(this, type, 1);
        return add.call(this, type, ...rest);
    };
    EventTarget.prototype.removeEventListener = function (type, ...rest) {
        count(this, type, -1);
        return remove.call(this, type, ...rest);
    };
})()"""
"""Counts what listens to the text of each field: Flutter does while it has the focus."""


@attrs.define
class AppWindow:
    """A window of a browser.

    Attributes:
        page: The window.
        address: Of the server.
        texts: In the language of the browser.
        complaints: Errors and warnings that the console showed.
    """

    page: Page
    address: str
    texts: Texts = attrs.field(factory=lambda: load_texts("en"))
    complaints: list[str] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: self._note(message))
        self.page.on(
            "pageerror",
            lambda error: self.complaints.append(f"{error.name}: {error.message} {error.stack}"),
        )

    def _note(self, message: Any) -> None:
        is_bad = message.type in ("error", "warning")
        if is_bad and not any(part in message.text for part in _EXPECTED):
            self.complaints.append(message.text)

    def open(self, route: str = "/") -> None:
        """Open a route and wait for the app; a person who is signed out sees the sign-in."""
        self.page.goto(self.address + route)
        self.page.wait_for_load_state("load")
        if self.page.locator("main.entrance").count() == 0:
            self.wait_for_app()

    def wait_for_app(self) -> None:
        """Wait until the app is drawn, and have it describe itself to screen readers."""
        # A click that comes before Flutter listens is lost.
        self.page.wait_for_function(_IS_DRAWN, polling=200)

    def sign_in(self, email: str, password: str, route: str = "/") -> None:
        """Sign in with a password."""
        self.open(route)
        self.page.get_by_label(self.texts("entrance.email")).fill(email)
        self.page.get_by_label(self.texts("settings.password")).fill(password)
        self.page.get_by_role("button", name=self.texts("entrance.sign_in"), exact=True).click()
        self.wait_for_app()

    def sign_out(self) -> None:
        """Sign out on the page for it."""
        self.page.goto(f"{self.address}/sign-out")
        self.page.get_by_role("button", name=self.texts("settings.sign_out")).click()
        self.page.wait_for_url(re.compile("/sign-in"))

    def open_tab(self, name: str) -> None:
        """Open a screen of the navigation."""
        tab = self.page.get_by_role("tab", name=name).or_(self.button(name)).first
        tab.wait_for(state="attached")
        tab.click()

    def enlarge_text(self, factor: float) -> None:
        """Have the browser show text larger, as a person sets it."""
        self.page.evaluate(
            "percent => { document.documentElement.style.fontSize = percent; }",
            f"{factor * 100:.0f}%",
        )

    def beyond_edges(self) -> list[str]:
        """Return what is on the screen and does not fit into its width."""
        return self.page.evaluate(  # type: ignore[no-any-return]  # JSON, as the script returns it
            """() => [...document.querySelectorAll('flt-semantics-host flt-semantics')]
                .filter(node => !node.querySelector('flt-semantics'))
                .map(node => [node.innerText || node.getAttribute('aria-label'),
                              node.getBoundingClientRect()])
                .filter(([text, box]) => text && box.width > 1
                        && (box.left < -1 || box.right > innerWidth + 1))
                .map(([text, box]) => `${text} (${box.left} to ${box.right})`)"""
        )

    def button(self, name: str, *, exact: bool = False) -> Locator:
        """Return a button by its words."""
        return self.page.get_by_role("button", name=name, exact=exact).first

    def tap(self, name: str, *, exact: bool = False) -> None:
        """Tap a button; one outside the window is scrolled to first."""
        target = self.button(name, exact=exact)
        target.wait_for(state="attached")
        self._scroll_to(target)
        target.click()

    def hold(self, name: str, milliseconds: float = 900) -> None:
        """Press a button long."""
        box = self.button(name).bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.mouse.down()
        self.page.wait_for_timeout(milliseconds)
        self.page.mouse.up()

    def fill(self, label: str, text: str, *, at: int = 0) -> None:
        """Write into a field of the app."""
        field = self.page.get_by_label(label, exact=True).nth(at)
        field.wait_for(state="attached")
        self._scroll_to(field)
        # What is typed before Flutter listens is lost; a field with autofocus may take the focus.
        for _ in range(PATIENCE // 5_000):
            field.click()
            with suppress(TimeoutError):
                self.page.wait_for_function(
                    "field => field.inputListeners > 0", arg=field.element_handle(), timeout=5_000
                )
                break
        field.fill(text)

    def see(self, text: str) -> None:
        """Wait until a text is on the screen, or is said of something on it."""
        self.page.wait_for_function(_IS_SAID, arg=text)

    def see_no_more(self, text: str) -> None:
        """Wait until a text is no longer on the screen, nor said of anything on it."""
        self.page.wait_for_function(f"text => !({_IS_SAID})(text)", arg=text)

    def wait_for_route(self, pattern: str) -> None:
        """Wait until the address of the window matches a pattern."""
        self.page.wait_for_url(re.compile(pattern))

    def shoot(self, path: Path) -> None:
        """Store a picture of the window."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(600)  # motion has ended
        self.page.screenshot(path=path)

    def _scroll_to(self, target: Locator) -> None:
        """Turn the wheel until something is within the window, as a person would."""
        size = self.page.viewport_size
        assert size is not None
        before = None
        for _ in range(30):
            box = target.bounding_box()
            if box is None or box == before:  # it does not scroll, such as a bar
                return
            before = box
            middle = box["y"] + box["height"] / 2
            if 60 < middle < size["height"] - 90 and box["height"] > 1:
                return
            self.page.mouse.move(size["width"] / 3, size["height"] / 2)
            self.page.mouse.wheel(0, 240 if middle >= size["height"] - 90 else -240)
            self.page.wait_for_timeout(120)


@contextmanager
def open_window(
    browser: Browser,
    address: str,
    *,
    width: int = 390,
    height: int = 844,
    dark: bool = False,
    locale: str = "en-GB",
    pixels: float = 1,
) -> Iterator[AppWindow]:
    """Open a window with a session of its own; ``pixels`` is how many a unit of length has."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale=locale,
        device_scale_factor=pixels,
        reduced_motion="reduce",
    )
    context.add_init_script(_COUNT_LISTENERS)
    window = AppWindow(context.new_page(), address, load_texts(locale[:2]))
    try:
        yield window
    except Exception as error:
        picture = PICTURES / f"{uuid4().hex[:12]}.png"
        with suppress(Error):
            window.shoot(picture)
            said = window.page.locator("flt-semantics-host").inner_text(timeout=1000)
            error.add_note(
                f"The window is in {picture}; it said: {said!r}; it complained: {window.complaints}"
            )
        raise
    finally:
        context.close()
