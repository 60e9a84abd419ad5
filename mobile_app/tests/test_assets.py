"""Static files: names that change with the content, compression, and nothing else."""

import asyncio
import gzip
import json

import httpx
import pytest
from fake_server import FakeServer

from rebalancer_app import theme
from rebalancer_app.web.assets import APP, Assets
from rebalancer_app.web.server import WebClient


@pytest.fixture(scope="module")
def web():
    return WebClient(FakeServer())


def get(web, path, **headers):
    async def ask():
        transport = httpx.ASGITransport(web)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            request = client.build_request("GET", path, headers=headers)
            return await client.send(request)

    return asyncio.run(ask())


def test_names_change_with_the_content(tmp_path):
    (tmp_path / "main.dart.js").write_text("one")
    before = Assets(tmp_path).version
    assert Assets(tmp_path).version == before
    (tmp_path / "main.dart.js").write_text("other")
    assert Assets(tmp_path).version != before


def test_files_never_expire_except_the_service_worker(web):
    prefix = web.assets.prefix
    script = get(web, f"{prefix}pages/sign-in.js")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-type"].startswith("text/javascript")
    worker = get(web, f"{prefix}flutter_service_worker.js")
    assert worker.headers["cache-control"] == "no-cache"
    assert get(web, "/sign-in").headers["cache-control"] == "no-cache"


def test_files_are_compressed_for_browsers_that_take_it(web):
    path = f"{web.assets.prefix}pages/style.css"
    packed = get(web, path, **{"accept-encoding": "gzip, br"})
    plain = get(web, path, **{"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    kept, compressed = web.assets._content("pages/style.css")
    assert gzip.decompress(compressed) == kept


@pytest.mark.parametrize(
    "name",
    [
        "../server.py",
        "..%2fserver.py",
        "%2e%2e/%2e%2e/pyproject.toml",
        "pages/../../../server.py",
        "/etc/passwd",
        "pages/sign-in.html",
        "main.dart.js.map",
        "unknown.js",
        "",
    ],
)
def test_only_listed_files_are_served(web, name):
    response = get(web, f"{web.assets.prefix}{name}")
    assert response.status_code in (303, 404)  # a path outside leads to the sign-in
    assert "import" not in response.text and "root:" not in response.text


def test_the_client_knows_where_its_files_are(web):
    config = get(web, f"{web.assets.prefix}pages/config.js")
    assert web.assets.prefix in config.text and "noCdn: true" in config.text
    assert config.headers["content-type"].startswith("text/javascript")
    unused = get(web, f"{web.assets.prefix}pages/unused/44/wasm/rive_native.js")
    assert "RiveNative" in unused.text


def test_nothing_is_fetched_from_another_host(web):
    main, _ = web.assets._content("main.dart.js")
    assert b"@rive-app/flutter-native-wasm@" not in main
    fonts = json.loads(web.assets._content("assets/FontManifest.json")[0])
    families = {one["family"] for one in fonts}
    assert {theme.FONT, theme.STRONG_FONT, "MaterialIcons", "Roboto"} == families
    for one in fonts:
        for font in one["fonts"]:
            assert f"assets/{font['asset']}" in web.assets.files
    assert (APP / "fonts/Inter-Regular.otf").exists()
