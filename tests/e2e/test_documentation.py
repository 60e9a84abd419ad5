"""The commands of docs/api.md and the README work against a real server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"
DOCUMENTED = "http://localhost:8000"


def blocks(language: str, server: str, page: Path = PAGE) -> list[str]:
    """Return the code blocks of one language on a page, with this server's address."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block.replace(DOCUMENTED, server) for block in found]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_all_curl_commands_of_api_page_work_in_order(server: str, tmp_path: Path) -> None:
    commands = blocks("bash", server)
    assert len(commands) > 10
    script = "\n".join(["set -euo pipefail", *commands])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for text in ("Grace", '"profile"', "Coca-Cola", "executed", "no rebalancing", "succeeded"):
        assert text in done.stdout, text


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_readme_commands_end_with_executed_rebalance(server: str, tmp_path: Path) -> None:
    (commands,) = blocks("bash", server, ROOT / "README.md")
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{commands}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for text in ('"stage":"proposed"', '"stage":"executed"', "no rebalancing"):
        assert text in done.stdout, done.stdout


def test_python_client_of_api_page_works(server: str, tmp_path: Path) -> None:
    (code,) = blocks("python", server)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "no rebalancing" in done.stdout
    assert "buy" in done.stdout


def test_every_route_is_on_the_page() -> None:
    from rebalancer.entrypoints.http.app import application
    from rebalancer.wiring.container import build_async_container
    from rebalancer.wiring.market import Sources

    text = PAGE.read_text(encoding="utf-8")
    app = application(build_async_container(Sources()))
    for route in app.routes:
        if not route.path.startswith(("/api", "/health")):
            continue
        last = [part for part in route.path.split("/") if part and "{" not in part][-1]
        assert last in text, route.path


@pytest.mark.parametrize(
    "page",
    ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))],
)
def test_paths_on_page_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    named = re.findall(r"`(\w+/(?:\w+/)*(?:\w+\.py|\w+/))`", text)
    places = (ROOT, ROOT / "src" / "rebalancer", ROOT / "src" / "rebalancer" / "domain")
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert not [name for name in missing if not name.endswith("/NAME.py")]


def test_imports_of_the_readme_example_work() -> None:
    (example,) = blocks("python", "", ROOT / "README.md")
    exec("\n".join(line for line in example.splitlines() if line.startswith("from ")))
