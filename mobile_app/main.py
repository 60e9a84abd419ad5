"""Start the app on a phone or a computer; a browser gets it from the server."""

from __future__ import annotations

import flet as ft

from rebalancer_app.main import main

if __name__ == "__main__":
    ft.run(main, assets_dir="rebalancer_app/assets")
