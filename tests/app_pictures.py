"""`python -m tests.app_pictures`: take the pictures of the app that the documentation shows.

With the argument ``icons`` it draws the icons of packaged builds from the web client's instead.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser

from rebalancer.entrypoints.schemas import examples
from tests.app_window import AppWindow, open_window
from tests.browser import open_browser
from tests.e2e.conftest import serving

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs/images"
ICON = ROOT / "mobile_app/rebalancer_app/web/static/icon.svg"
ICONS = ROOT / "mobile_app/assets"
MOST_BYTES = 150_000
EXAMPLE = f"/portfolios/{examples.PORTFOLIO}"


def main() -> None:
    """Run a server and a browser, and take all pictures."""
    if sys.argv[1:] == ["icons"]:
        _draw_icons()
        return
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as serve:
        env = {"REBALANCER_PRICES": "sample", "REBALANCER_CACHE": folder}
        server = serve("--upgrade", "--demo", "--app", env=env)
        address = server.address.replace("127.0.0.1", "localhost")
        with open_browser() as browser:
            _take(browser, address, _light_phone)
            _take(browser, address, _dark_phone, dark=True)
            _take(browser, address, _desktop, width=1440, height=900, pixels=1)


def _draw_icons(size: int = 1024) -> None:
    """Draw an icon that fills its square, as iOS wants it, and one with room around for splashes.

    Android shows a circle of two thirds of each, so the mark of the splash keeps within it.
    """
    mark = ICON.read_text(encoding="utf-8")
    square = mark.replace('rx="22"', "")
    with open_browser() as browser:
        for name, drawn, share in (("icon", square, 1.0), ("splash", mark, 0.5)):
            page = browser.new_page(viewport={"width": size, "height": size})
            page.set_content(
                "<style>body { margin: 0; height: 100vh; display: grid; place-items: center }"
                f"svg {{ width: {share:.0%} }}</style>{drawn}"
            )
            ICONS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=ICONS / f"{name}.png", omit_background=True)
            page.close()


def _take(
    browser: Browser,
    address: str,
    show: Callable[[AppWindow], None],
    *,
    pixels: float = 1.5,
    **options: int | bool,
) -> None:
    with open_window(browser, address, pixels=pixels, locale="en-US", **options) as window:  # type: ignore[arg-type]  # by name
        window.sign_in(examples.EMAIL, examples.PASSWORD)
        show(window)


def _light_phone(window: AppWindow) -> None:
    window.see("Total value")
    window.tap("Max", exact=True)
    window.see("Since Jan 4, 2021")  # with it comes the chart
    _keep(window, "home")
    window.tap("Example")
    window.see("Allocation against targets")
    window.tap("Rebalance")
    window.tap("Work out a proposal")
    window.see("Hold to accept")
    _keep(window, "proposal")
    window.open(f"{EXAMPLE}/future")
    window.see("In nine cases")
    _keep(window, "future")


def _dark_phone(window: AppWindow) -> None:
    window.see("Total value")
    window.tap("Example")
    window.see("Allocation against targets")
    _keep(window, "portfolio-dark")
    window.tap("Performance")
    window.see("Your portfolio")
    _keep(window, "performance-dark")


def _desktop(window: AppWindow) -> None:
    window.see("Total value")
    window.tap("Example")
    window.see("Allocation against targets")
    _keep(window, "desktop")


def _keep(window: AppWindow, name: str) -> None:
    window.page.mouse.move(0, 0)
    path = FOLDER / f"app-{name}.png"
    window.shoot(path)
    size = path.stat().st_size
    sys.stdout.write(f"{path.name}: {size:,} bytes\n")
    if size > MOST_BYTES:
        sys.exit(f"{path} has more than {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
