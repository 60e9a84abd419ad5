"""Static files under a name that changes with their content, compressed once, cached for ever."""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import flet_web
from starlette.requests import Request
from starlette.responses import Response

from rebalancer_app import theme

OWN = Path(__file__).parent / "static"
APP = Path(__file__).parent.parent / "assets"

_SKIPPED = (".map", ".symbols")
_COMPRESSED = (".js", ".mjs", ".wasm", ".json", ".html", ".css", ".otf", ".ttf", ".svg", ".frag")
_RIVE = b"https://cdn.jsdelivr.net/npm/@rive-app/flutter-native-wasm@"
"""An animation library that Flutter's client would fetch from another host; nothing uses it."""

_NO_RIVE = "window.RiveNative = () => Promise.reject(new Error('not included'));"
"""What is served in its place: Flutter calls this function and then works without the library."""

_FONTS = "assets/FontManifest.json"

_FOREVER = "public, max-age=31536000, immutable"


@attrs.frozen(slots=False)
class Assets:
    """Files of Flet's client, of the app and of the pages before sign-in.

    Attributes:
        folder: Of Flet's client.
    """

    folder: Path = attrs.field(factory=lambda: Path(flet_web.get_package_web_dir()))
    _packed: dict[str, tuple[bytes, bytes | None]] = attrs.field(
        factory=dict, init=False, repr=False
    )

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """Return each file by its name in URLs; the app's own go before Flet's."""
        found: dict[str, Path] = {}
        for root, prefix in ((self.folder, ""), (APP, "assets/"), (OWN, "pages/")):
            for path in sorted(root.rglob("*")):
                if path.is_file() and path.suffix not in _SKIPPED and path.suffix != ".html":
                    found[prefix + path.relative_to(root).as_posix()] = path
        return found

    @cached_property
    def version(self) -> str:
        """Return a name that changes with any file: from names, sizes and times."""
        digest = hashlib.sha256(Path(__file__).read_bytes())  # it makes some of them
        for name, path in self.files.items():
            stat = path.stat()
            digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:12]

    @property
    def prefix(self) -> str:
        """Return where the files lie."""
        return f"/static/{self.version}/"

    def respond(self, request: Request, name: str) -> Response:
        """Return a file, compressed if the browser takes that."""
        if name == "pages/config.js":
            return Response(self._config(), media_type="text/javascript", headers=_headers(True))
        if name.startswith("pages/unused/"):
            return Response(_NO_RIVE, media_type="text/javascript", headers=_headers(True))
        if name not in self.files:
            return Response("not found", status_code=404)
        plain, packed = self._content(name)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        kind = {".mjs": "text/javascript", ".wasm": "application/wasm"}.get(Path(name).suffix, kind)
        headers = _headers(name != "flutter_service_worker.js")
        if packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, media_type=kind, headers=headers | {"content-encoding": "gzip"})
        return Response(plain, media_type=kind, headers=headers)

    def _content(self, name: str) -> tuple[bytes, bytes | None]:
        held = self._packed.get(name)
        if held is None:
            plain = self.files[name].read_bytes()
            if name == "main.dart.js":
                plain = plain.replace(_RIVE, f"{self.prefix}pages/unused/".encode())
            elif name == _FONTS:
                plain = json.dumps(_fonts(json.loads(plain))).encode()
            packed = gzip.compress(plain, 6) if name.endswith(_COMPRESSED) else None
            held = self._packed[name] = (plain, packed)
        return held

    def _config(self) -> str:
        """Return what Flet's client has to know, as a script."""
        return f"""var flet = {{
  pyodide: false, multiView: false, noCdn: true,
  webSocketEndpoint: "/ws",
  entrypointBaseUrl: "{self.prefix}", assetBase: "{self.prefix}",
  canvasKitBaseUrl: "{self.prefix}canvaskit/", fontFallbackBaseUrl: "{self.prefix}assets/fonts/",
  routeUrlStrategy: "path", webRenderer: "canvaskit", appPackageUrl: ""
}};
flet.flutterAppLoaded = new Promise((resolve) => {{ flet.flutterAppResolve = resolve; }});
addEventListener("pageshow", (event) => {{
  const isApple = navigator.vendor && navigator.vendor.startsWith("Apple");
  if (event.persisted && isApple) location.reload();
}});
"""


def _fonts(manifest: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the fonts that the app loads at its start: its own, and Flutter's for icons."""
    icons = [entry for entry in manifest if entry["family"] == "MaterialIcons"]
    return icons + [
        {"family": family, "fonts": [{"asset": f"fonts/{file}"}]}
        for family, file in (
            (theme.FONT, "Inter-Regular.otf"),
            (theme.STRONG_FONT, "Inter-SemiBold.otf"),
            ("Roboto", "roboto.woff2"),  # what Flutter falls back to
        )
    ]


def _headers(unchanging: bool) -> dict[str, str]:
    return {"cache-control": _FOREVER if unchanging else "no-cache", "vary": "accept-encoding"}
