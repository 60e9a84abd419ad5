"""Names of devices, from what clients say about themselves."""

from __future__ import annotations

_PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("SamsungBrowser", "Samsung Internet"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
    ("okhttp", "Android app"),
    ("CFNetwork", "Apple app"),
    ("Dart", "App"),
)
"""Part of the agent, and name; the first that fits, since browsers also name their ancestors."""

_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def describe_device(agent: str) -> str:
    """Return a short name of a client, such as ``Firefox on Linux``; it proves nothing."""
    program = next((name for part, name in _PROGRAMS if part in agent), "")
    system = next((name for part, name in _SYSTEMS if part in agent), "")
    if program and system:
        return f"{program} on {system}"
    return program or system or agent.partition("/")[0].strip()[:40] or "Unknown device"
