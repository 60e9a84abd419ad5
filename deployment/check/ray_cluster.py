"""The stage ``ray``: install Ray beside the packages of this environment, then check the engine."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run the contract of engines, and batches on two nodes; return the exit code."""
    python = install(Path(os.environ.get("OPS_CACHE", "out/ops-cache")).resolve() / "ray")
    with tempfile.TemporaryDirectory(prefix="rebalancer-tests-") as folder:
        contract = ("pytest", "-q", f"--basetemp={folder}/tests", "tests/contracts/test_engines.py")
        subprocess.run([str(python), "-m", *contract], check=True, cwd=ROOT)
    print("shown: local processes and a Ray cluster keep one contract", flush=True)
    batches = [str(python), "-m", "deployment.check.ray_batch"]
    return subprocess.run(batches, check=False, cwd=ROOT).returncode


def install(folder: Path) -> Path:
    """Create an environment with Ray that sees the packages of this one; return its Python."""
    python = folder / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    locked = ("--constraints", ROOT / "requirements.lock")
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, *locked, "ray"],
        check=True,
    )
    paths = [sysconfig.get_path("purelib"), ROOT / "src", ROOT / "mobile_app", ROOT]
    (site / "rebalancer.pth").write_text("".join(f"{path}\n" for path in paths))
    return python


if __name__ == "__main__":
    sys.exit(main())
