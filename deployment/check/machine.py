"""What a machine must offer before a stage can run on it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess


def root() -> str | None:
    """Return why there is no root access; None if there is."""
    if os.geteuid() != 0:
        return "it needs root, for namespaces and mounts"
    return None


def network_namespaces() -> str | None:
    """Return why processes cannot get a network of their own; None if they can."""
    if platform.system() != "Linux":
        return f"it needs Linux, and this is {platform.system()}"
    missing = [tool for tool in ("ip", "nsenter", "unshare") if shutil.which(tool) is None]
    if missing:
        return f"it needs the programs {', '.join(missing)} (packages iproute2, util-linux)"
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        return f"namespaces cannot be created: {tried.stderr.strip()}"
    return None


def apt() -> str | None:
    """Return why Debian packages cannot be fetched; None if they can."""
    missing = [tool for tool in ("apt-get", "dpkg") if shutil.which(tool) is None]
    return f"it needs {' and '.join(missing)}, as on Debian" if missing else None


def source_packages() -> str | None:
    """Return why a cluster cannot be built from Debian's sources; None if it can."""
    if missing := [tool for tool in ("dpkg-source", "openssl") if shutil.which(tool) is None]:
        return f"it needs {' and '.join(missing)} (packages dpkg-dev, openssl)"
    return None
