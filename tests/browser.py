"""A real Chromium for tests, found on this machine or installed at first use."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

INSTALLED = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
"""Names of programs, the first of which that is on the path is used."""

_PATIENCE = 600
"""Seconds for an installation, of which a download takes most."""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run Chromium without a window; it is found, or installed, as `find_chromium` describes."""
    program = find_chromium()
    # Root cannot use Chromium's sandbox, and containers often run as root.
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        try:
            yield browser
        finally:
            browser.close()


def find_chromium(
    find: Callable[[], str | None] = lambda: _installed(),
    run: Callable[..., str] = lambda *command: _run(*command),
    *,
    may_use_apt: bool | None = None,
) -> str:
    """Return the path of Chromium.

    It is the installed one, or else Playwright's own; where both are missing, Playwright downloads
    its own, or else apt installs Debian's. Of several processes one installs and the others wait.

    Args:
        find: Returns the path of a Chromium that is there.
        run: Runs a command and returns what it printed.
        may_use_apt: Whether packages can be installed; None: if this is root on Debian.

    Raises:
        RuntimeError: there is none, and it cannot be installed; the message names the remedy.
    """
    if found := find():
        return found
    if may_use_apt is None:
        may_use_apt = os.geteuid() == 0 and shutil.which("apt-get") is not None
    packages = ("--quiet", "--yes", "--no-install-recommends", "chromium")
    attempts: list[list[tuple[str, ...]]] = [
        [(sys.executable, "-m", "playwright", "install", "chromium")]
    ]
    if may_use_apt:
        attempts.append([("apt-get", "update", "--quiet"), ("apt-get", "install", *packages)])
    lock = Path(tempfile.gettempdir()) / f"rebalancer-chromium-{os.geteuid()}.lock"
    printed: list[str] = []
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        if found := find():
            return found
        for commands in attempts:
            printed += [run(*command) for command in commands]
            if found := find():
                return found
    raise RuntimeError(
        "tests in a browser need Chromium, and it could not be installed; run `apt-get install "
        "chromium` as root, or `python -m playwright install --with-deps chromium`:\n"
        + "\n".join(printed)
    )


@contextmanager
def virtual_authenticator(page: Page) -> Iterator[CDPSession]:
    """Give a page a platform authenticator whose user is always present and verified."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    made = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield devtools
    devtools.send("WebAuthn.removeVirtualAuthenticator", made)


def _installed() -> str | None:
    """Return a Chromium that runs; a program may be there and lack its libraries."""
    for name in INSTALLED:
        if (path := shutil.which(name)) and _runs(path):
            return path
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if _runs(own) else None


def _runs(program: str) -> bool:
    try:
        asked = subprocess.run([program, "--version"], capture_output=True, timeout=60)
    except OSError:
        return False
    return asked.returncode == 0


def _run(*command: str) -> str:
    """Run a command; return it with the end of what it printed."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=env,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"$ {' '.join(command)}\n{error}"
    return f"$ {' '.join(command)}\n{done.stdout[-1000:]}"
